//! The request that this thread is serving at this moment.
//!
//! While a layer polls its inner service, the request's scope is on top of a stack that belongs to
//! the thread; when the poll returns, it goes back into the future. Nested layers stack up. So
//! code anywhere below the layer reads its arm without a parameter, and consulting a flag is noted
//! there.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::core::{Arms, Core};
use crate::request_id::RequestId;
use crate::route_table::Route;

/// What is known of a request while it is served.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) core: &'static Core,
    pub(crate) id: RequestId,
    pub(crate) arms: Arms,
    pub(crate) route: &'static Route,
    /// What sections took so far, in nanoseconds, when the response is to tell.
    pub(crate) timings: Vec<(&'static str, u64)>,
    /// Bit i: flag i was consulted.
    exposed: u16,
    /// The same for tasks that the handler spawned, once it shared its assignments with them.
    shared: Option<Arc<AtomicU16>>,
}

thread_local! {
    static STACK: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

impl Scope {
    pub(crate) fn new(core: &'static Core, id: RequestId, arms: Arms) -> Self {
        Self {
            core,
            id,
            arms,
            route: core.routes.unmatched,
            timings: Vec::new(),
            exposed: 0,
            shared: None,
        }
    }

    /// The flags that the request consulted, on its own task or on one that it shared with.
    #[inline]
    pub(crate) fn exposed(&self) -> u16 {
        self.exposed | self.shared.as_ref().map_or(0, |shared| shared.load(Ordering::Acquire))
    }

    /// Takes over what was noted in another copy of the same scope.
    fn take_over(&mut self, other: &Self) {
        self.exposed |= other.exposed;
        if self.shared.is_none() {
            self.shared.clone_from(&other.shared);
        }
        if self.timings.len() < other.timings.len() {
            self.timings.clone_from(&other.timings);
        }
    }

    #[inline]
    pub(crate) fn expose(&mut self, flag: usize) {
        self.exposed |= 1 << flag;
    }

    /// The exposures that other tasks may add to.
    pub(crate) fn share(&mut self) -> Arc<AtomicU16> {
        Arc::clone(self.shared.get_or_insert_default())
    }
}

/// Puts a scope on top of this thread's stack until the guard is dropped, which takes it back
/// with all that was noted, also when the code in between panics.
#[inline]
pub(crate) fn enter(home: &mut Option<Scope>) -> Entered<'_> {
    let entered = STACK.try_with(|stack| {
        if let Some(scope) = home.take() {
            stack.borrow_mut().push(scope);
            return true;
        }
        false
    });
    // While a thread is being torn down there is no stack; the request then has no scope.
    Entered { home, entered: entered.unwrap_or(false) }
}

/// See [`enter`].
pub(crate) struct Entered<'a> {
    home: &'a mut Option<Scope>,
    entered: bool,
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.entered {
            *self.home = STACK.try_with(|stack| stack.borrow_mut().pop()).ok().flatten();
        }
    }
}

/// Keeps a copy of a scope that a layer further out entered up to date: when the guard is dropped,
/// also by a panic, it takes over what was noted there.
#[inline]
pub(crate) fn observe(copy: &mut Option<Scope>) -> Observed<'_> {
    Observed(copy)
}

/// See [`observe`].
pub(crate) struct Observed<'a>(&'a mut Option<Scope>);

impl Drop for Observed<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(copy) = self.0 {
            with_core(copy.core, |outer| {
                if outer.id == copy.id {
                    copy.take_over(outer);
                }
            });
        }
    }
}

/// Runs `read` with the innermost scope that `wanted` accepts.
#[inline]
pub(crate) fn with<R>(
    wanted: impl Fn(&Scope) -> bool,
    read: impl FnOnce(&mut Scope) -> R,
) -> Option<R> {
    let result = STACK.try_with(|stack| {
        stack.borrow_mut().iter_mut().rev().find(|scope| wanted(scope)).map(read)
    });
    result.ok().flatten()
}

/// Runs `read` with the innermost scope of this core.
#[inline]
pub(crate) fn with_core<R>(core: &'static Core, read: impl FnOnce(&mut Scope) -> R) -> Option<R> {
    with(|scope| std::ptr::eq(scope.core, core), read)
}
