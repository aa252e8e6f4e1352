use std::marker::PhantomData;
use std::mem;

use latency_experiment_record::Outcome;

use crate::scope::{self, Scope};

/// A request, or its body, that an inner service is working on at this moment; `None` where the
/// request takes no part.
///
/// It is made before the inner service runs, and [`returned`](Self::returned) is called after. In
/// between the thread is within the scope that `W` stands for. When it is dropped without, a panic
/// is passing through, which ends the request. `thread::panicking` is not asked, for it is also true
/// when an innocent request is dropped by somebody else's unwinding.
#[must_use]
pub(crate) struct Running<E: End, W: Within> {
    end: Option<E>,
    /// The innermost scope before.
    outer: Option<&'static Scope>,
    within: PhantomData<W>,
}

/// What a panic ends.
pub(crate) trait End: Copy {
    fn scope(self) -> &'static Scope;
    fn end_early(self, outcome: Outcome);
}

/// Which scope the inner service runs in.
pub(crate) trait Within {
    /// Gives what was the innermost scope before.
    fn enter(scope: Option<&'static Scope>) -> Option<&'static Scope>;
    fn leave(scope: Option<&'static Scope>, outer: Option<&'static Scope>);
}

/// The request's own scope.
pub(crate) struct OwnScope;

/// The scope that a layer further out entered. What was noted there is taken over, for that scope
/// is gone when this request is dropped.
pub(crate) struct OuterScope;

impl Within for OwnScope {
    #[inline(always)]
    fn enter(scope: Option<&'static Scope>) -> Option<&'static Scope> {
        match scope {
            Some(scope) => scope::enter(scope),
            None => scope::innermost(),
        }
    }

    // Without a branch, where there is no scope, too: else the compiler makes two ways of it, and what
    // the inner service gave is moved once more where they meet.
    #[inline(always)]
    fn leave(_: Option<&'static Scope>, outer: Option<&'static Scope>) {
        scope::leave(outer);
    }
}

impl Within for OuterScope {
    #[inline]
    fn enter(_: Option<&'static Scope>) -> Option<&'static Scope> {
        None
    }

    #[inline]
    fn leave(scope: Option<&'static Scope>, _: Option<&'static Scope>) {
        if let Some(scope) = scope {
            scope::catch_up(scope);
        }
    }
}

impl<E: End, W: Within> Running<E, W> {
    #[inline(always)]
    pub(super) fn new(end: Option<E>) -> Self {
        let scope = end.map(End::scope);
        if let Some(scope) = scope {
            scope.start_busy();
        }
        Self { end, outer: W::enter(scope), within: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn returned(self) {
        self.leave();
        mem::forget(self);
    }

    #[inline(always)]
    fn leave(&self) {
        W::leave(self.end.map(End::scope), self.outer);
    }
}

impl<E: End, W: Within> Drop for Running<E, W> {
    #[inline(always)]
    fn drop(&mut self) {
        self.leave();
        if let Some(end) = self.end {
            end.scope().stop_busy();
            end.end_early(Outcome::Panicked);
        }
    }
}
