use std::marker::PhantomData;
use std::mem;

use latency_experiment_record::Outcome;

use crate::scope::{self, Scope};

/// A request, or its body, that an inner service is working on at this moment.
///
/// It is made before the inner service runs, and [`returned`](Self::returned) is called after. In
/// between the thread is within the scope that `W` stands for. When it is dropped without, a panic
/// is passing through, which ends the request. `thread::panicking` is not asked, for it is also true
/// when an innocent request is dropped by somebody else's unwinding.
#[must_use]
pub(crate) struct Running<E: End, W: Within>(E, PhantomData<W>);

/// What a panic ends.
pub(crate) trait End: Copy {
    fn scope(self) -> &'static Scope;
    fn end_early(self, outcome: Outcome);
}

/// Which scope the inner service runs in.
pub(crate) trait Within {
    fn enter(scope: &'static Scope);
    fn leave(scope: &'static Scope);
}

/// The request's own scope.
pub(crate) struct OwnScope;

/// The scope that a layer further out entered. What was noted there is taken over, for that scope
/// is gone when this request is dropped.
pub(crate) struct OuterScope;

impl Within for OwnScope {
    #[inline]
    fn enter(scope: &'static Scope) {
        scope::enter(scope);
    }

    #[inline]
    fn leave(scope: &'static Scope) {
        scope::leave(scope);
    }
}

impl Within for OuterScope {
    #[inline]
    fn enter(_: &'static Scope) {}

    #[inline]
    fn leave(scope: &'static Scope) {
        scope::catch_up(scope);
    }
}

impl<E: End, W: Within> Running<E, W> {
    #[inline]
    pub(super) fn new(end: E) -> Self {
        end.scope().start_busy();
        W::enter(end.scope());
        Self(end, PhantomData)
    }

    #[inline]
    pub(crate) fn returned(self) {
        self.leave();
        mem::forget(self);
    }

    /// The same for a request that perhaps takes no part.
    #[inline]
    pub(crate) fn returned_if(running: Option<Self>) {
        if let Some(running) = running {
            running.returned();
        }
    }

    #[inline]
    fn leave(&self) {
        W::leave(self.0.scope());
        self.0.scope().stop_busy();
    }
}

impl<E: End, W: Within> Drop for Running<E, W> {
    #[cold]
    #[inline]
    fn drop(&mut self) {
        self.leave();
        self.0.end_early(Outcome::Panicked);
    }
}
