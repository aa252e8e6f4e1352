//! The request that this thread is serving at this moment.
//!
//! While a layer calls or polls its inner service, the request's scope is the innermost one of the
//! thread; the scopes of nested layers are chained. So code anywhere below the layer reads its arm
//! without a parameter, and consulting a flag is noted there.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::Request;
use latency_experiment_record::AtomicRef;

use crate::arms::Arms;
use crate::assignments::Assignments;
use crate::core::Core;
use crate::request_id::RequestId;
use crate::route::Claim;
use crate::route_table::Route;

/// What is known of a request while it is served.
///
/// One thread at a time uses it. What changes is atomic all the same, so that futures which hold it
/// are `Sync`; without contention that costs nothing, because nothing here is read-modify-write.
pub(crate) struct Scope {
    pub(crate) core: &'static Core,
    /// The random bits of the ID, or a hash of what the client sent.
    id: [u64; 2],
    pub(crate) arms: Arms,
    /// As far as it is known before the response.
    route: AtomicRef<Route>,
    /// Bit i: flag i was consulted.
    exposed: AtomicU16,
    more: OnceLock<Box<More>>,
    /// The scope that was the innermost one before, while this one is entered.
    outer: AtomicPtr<Scope>,
}

/// Whose scope it is: a layer's and a request's. Copies of a scope have equal keys.
#[derive(Clone, Copy)]
pub(crate) struct ScopeKey {
    pub(crate) core: &'static Core,
    id: [u64; 2],
}

impl PartialEq for ScopeKey {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.core, other.core) && self.id == other.id
    }
}

/// What few requests have.
#[derive(Default)]
pub(crate) struct More {
    /// The ID, when the client sent it.
    sent_id: Option<Arc<str>>,
    /// The route that the client named, while no response has confirmed it.
    claim: Option<Claim>,
    /// Exposures noted by tasks that the handler spawned, once it shared its assignments with them.
    exposed: OnceLock<Arc<AtomicU16>>,
    /// What sections took so far, in nanoseconds, when the response is to tell.
    timings: Mutex<Vec<(&'static str, u64)>>,
}

impl Scope {
    #[inline]
    pub(crate) fn new(
        core: &'static Core,
        id: [u64; 2],
        arms: Arms,
        route: &'static Route,
        more: OnceLock<Box<More>>,
    ) -> Self {
        Self {
            core,
            id,
            arms,
            route: AtomicRef::new(route),
            exposed: AtomicU16::new(0),
            more,
            outer: AtomicPtr::default(),
        }
    }

    pub(crate) fn request_id(&self) -> RequestId {
        RequestId::from_parts(self.id, self.more.get().and_then(|more| more.sent_id.clone()))
    }

    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.more.get()?.claim.as_ref()
    }

    #[inline]
    pub(crate) fn route(&self) -> &'static Route {
        self.route.get().expect("it is set from the beginning")
    }

    pub(crate) fn set_route(&self, route: &'static Route) {
        self.route.set(route);
    }

    /// The flags that the request consulted, on its own task or on one that it shared with.
    #[inline]
    pub(crate) fn exposed(&self) -> u16 {
        let own = self.exposed.load(Ordering::Relaxed);
        own | self.more.get().map_or(0, |more| more.exposed())
    }

    #[inline]
    pub(crate) fn expose(&self, flag: usize) {
        self.note_exposed(1 << flag);
    }

    #[inline]
    fn note_exposed(&self, flags: u16) {
        self.exposed.store(self.exposed.load(Ordering::Relaxed) | flags, Ordering::Relaxed);
    }

    /// The exposures that other tasks may add to.
    pub(crate) fn share(&self) -> Arc<AtomicU16> {
        Arc::clone(self.more().exposed.get_or_init(Arc::default))
    }

    pub(crate) fn add_timing(&self, section: &'static str, ns: u64) {
        self.more().lock_timings().push((section, ns));
    }

    pub(crate) fn timings(&self) -> Vec<(&'static str, u64)> {
        self.more.get().map_or_else(Vec::new, |more| more.lock_timings().clone())
    }

    /// Adds to the request what code below the layer was promised.
    pub(crate) fn tell_request<B>(&self, request: &mut Request<B>) {
        self.core.request_ids.tell_request(self, request.headers_mut());
        if self.core.request_extension {
            request.extensions_mut().insert(Assignments::of(self));
        }
    }

    /// What tells the request from all others.
    #[inline]
    pub(crate) fn key(&self) -> ScopeKey {
        ScopeKey { core: self.core, id: self.id }
    }

    /// Takes over what was noted in another copy of the same scope.
    pub(crate) fn take_over(&self, other: &Self) {
        self.note_exposed(other.exposed.load(Ordering::Relaxed));
        let Some(theirs) = other.more.get() else { return };
        if let Some(shared) = theirs.exposed.get() {
            self.more().exposed.get_or_init(|| Arc::clone(shared));
        }
        let timings = theirs.lock_timings().clone();
        if timings.len() > self.timings().len() {
            *self.more().lock_timings() = timings;
        }
    }

    fn more(&self) -> &More {
        self.more.get_or_init(Box::default)
    }
}

impl More {
    #[cold]
    #[inline(never)]
    pub(crate) fn new(sent_id: Option<Arc<str>>, claim: Option<Claim>) -> OnceLock<Box<Self>> {
        let empty = sent_id.is_none() && claim.is_none();
        let more = || Box::new(Self { sent_id, claim, ..Self::default() });
        if empty { OnceLock::new() } else { OnceLock::from(more()) }
    }

    fn exposed(&self) -> u16 {
        self.exposed.get().map_or(0, |exposed| exposed.load(Ordering::Acquire))
    }

    fn lock_timings(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, u64)>> {
        self.timings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Scope {
    /// A copy that shares exposures with other tasks as the original does.
    fn clone(&self) -> Self {
        let sent_id = self.more.get().and_then(|more| more.sent_id.clone());
        let more = More::new(sent_id, None);
        let copy = Self::new(self.core, self.id, self.arms, self.route(), more);
        copy.take_over(self);
        copy
    }
}

thread_local! {
    /// The innermost scope of this thread. It has no destructor and needs no borrowing, so that
    /// entering a scope takes a few instructions.
    static INNERMOST: Cell<*const Scope> = const { Cell::new(ptr::null()) };
}

/// Makes a scope the innermost one of this thread until the guard is dropped, also by a panic.
#[inline]
pub(crate) fn enter(scope: &Scope) -> Entered<'_> {
    scope.outer.store(INNERMOST.get().cast_mut(), Ordering::Relaxed);
    INNERMOST.set(scope);
    Entered(scope)
}

/// See [`enter`].
///
/// [`with`] relies on this: whoever gets one keeps it in a local variable that is dropped on the
/// same thread before the scope can be moved or dropped, or forgets it and sees to it that
/// [`leave`] is called in its place, also by a panic. And no scope is entered twice at a time.
pub(crate) struct Entered<'a>(&'a Scope);

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        leave(self.0);
    }
}

/// Makes the innermost scope what it was before this one was entered.
#[inline]
pub(crate) fn leave(scope: &Scope) {
    INNERMOST.set(scope.outer.load(Ordering::Relaxed));
}

/// Runs `read` with the innermost scope that `wanted` accepts.
#[inline]
#[allow(
    unsafe_code,
    reason = "moving each scope in and out of thread-local storage took 230 instructions per request"
)]
pub(crate) fn with<R>(
    wanted: impl Fn(&Scope) -> bool,
    read: impl FnOnce(&Scope) -> R,
) -> Option<R> {
    let mut innermost = INNERMOST.get();
    // SAFETY: `INNERMOST` is null or points to a scope that a guard on the stack of this very thread
    // borrows (`Entered`, or `Running`, which leaves the scope when it ends in whichever way).
    // `enter` sets it, and the end of the guard puts back what was there before. Guards on a stack
    // end in the reverse order of their beginnings, so what is put back is null or the scope of an
    // older guard that still lives; the same holds for each `outer`, which is written once per
    // entering. A borrowed scope is alive, does not move, and nobody has a mutable reference to it.
    // The reference made here ends before this function returns, while all those guards live:
    // `read` cannot leak it, for it has an anonymous lifetime.
    while let Some(scope) = unsafe { innermost.as_ref() } {
        if wanted(scope) {
            return Some(read(scope));
        }
        innermost = scope.outer.load(Ordering::Relaxed);
    }
    None
}

/// Runs `read` with the innermost scope of this core.
#[inline]
pub(crate) fn with_core<R>(core: &'static Core, read: impl FnOnce(&Scope) -> R) -> Option<R> {
    with(|scope| ptr::eq(scope.core, core), read)
}

/// Keeps a copy of a scope that a layer further out entered up to date: when the guard is dropped,
/// also by a panic, it takes over what was noted there.
#[inline]
pub(crate) fn observe(copy: &Scope) -> Observed<'_> {
    Observed(copy)
}

/// See [`observe`].
pub(crate) struct Observed<'a>(&'a Scope);

impl Drop for Observed<'_> {
    #[inline]
    fn drop(&mut self) {
        catch_up(self.0);
    }
}

/// Takes over what was noted in the scope that a layer further out entered.
#[inline]
pub(crate) fn catch_up(copy: &Scope) {
    let key = copy.key();
    with(|outer| outer.key() == key, |outer| copy.take_over(outer));
}
