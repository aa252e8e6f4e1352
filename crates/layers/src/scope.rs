//! The request that this thread is serving at this moment.
//!
//! While a layer calls or polls its inner service, the request's scope is the innermost one of the
//! thread; the scopes of nested layers are chained. So code anywhere below the layer reads its arm
//! without a parameter, and consulting a flag is noted there.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use latency_experiment_flags::MAX_FLAGS;
use latency_experiment_record::AtomicRef;

use crate::arms::{Arms, FlagArm, FlagArmCell};
use crate::assignments::Assignments;
use crate::core::Core;
use crate::request_id::RequestId;
use crate::route::Claim;
use crate::route_table::Route;
use crate::scope_pool::PooledScope;
use crate::timed::Timed;

/// What is known of a request while it is served.
///
/// Scopes come from a [pool](crate::scope_pool) and live as long as the process. So a thread can hold
/// a plain reference to the one that it is within, and the future of a request is moved at the cost
/// of one pointer for it.
///
/// One thread at a time uses it. It is reached by shared references, so all of it is atomic, which
/// without contention costs little, because nothing here is read-modify-write: plain cells would
/// spare 9 of 470 instructions.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Scope {
    core: AtomicRef<Core>,
    /// The random bits of the ID, or a hash of what the client sent.
    id: [AtomicU64; 2],
    /// As far as it is known before the response.
    route: AtomicRef<Route>,
    /// The scope that was the innermost one before, while this one is entered. Of a free scope, the
    /// next free one.
    pub(crate) outer: AtomicRef<Scope>,
    /// What the end of the request needs to know of its beginning.
    pub(crate) timed: Timed,
    /// By flag; left over from an earlier request where the present one has no such flag.
    arms: [FlagArmCell; MAX_FLAGS],
    /// Whether there is any `more`: never while the request is [plain](Timed::is_plain).
    has_more: AtomicBool,
    more: Mutex<Option<Box<More>>>,
}

const _: () = assert!(size_of::<Scope>() == 128);

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
struct More {
    /// The ID, when the client sent it.
    sent_id: Option<Arc<str>>,
    /// The route that the client named, while no response has confirmed it.
    claim: Option<Claim>,
    /// Exposures noted by tasks that the handler spawned, once it shared its assignments with them.
    exposed: Option<Arc<AtomicU16>>,
    /// What sections took so far, in nanoseconds, when the response is to tell.
    timings: Vec<(&'static str, u64)>,
}

impl Scope {
    #[inline]
    pub(crate) fn begin(&self, core: &'static Core, route: &'static Route) {
        self.core.set(core);
        self.route.set(route);
    }

    /// The random bits of the ID, or a hash of what the client sent.
    #[inline]
    pub(crate) fn set_id(&self, id: [u64; 2]) {
        self.id[0].store(id[0], Relaxed);
        self.id[1].store(id[1], Relaxed);
    }

    /// The ID, of which a hash is there already, is what the client sent.
    pub(crate) fn set_sent_id(&self, id: Arc<str>) {
        self.write_more(|more| more.sent_id = Some(id));
    }

    /// Forgets what few requests have, so that the next one begins without.
    #[inline]
    pub(crate) fn end(&self) {
        if self.has_more() {
            self.forget_more();
        }
    }

    #[inline]
    pub(crate) fn core(&self) -> &'static Core {
        self.core.get().expect("it is set from the beginning")
    }

    #[inline]
    pub(crate) fn is_of(&self, core: &'static Core) -> bool {
        self.core.get().is_some_and(|own| ptr::eq(own, core))
    }

    fn id(&self) -> [u64; 2] {
        [self.id[0].load(Relaxed), self.id[1].load(Relaxed)]
    }

    pub(crate) fn request_id(&self) -> RequestId {
        RequestId::from_parts(self.id(), self.read_more(|more| more.sent_id.clone()).flatten())
    }

    /// Takes the claim out, if there is one.
    pub(crate) fn take_claim(&self) -> Option<Claim> {
        self.read_more(|more| more.claim.take()).flatten()
    }

    pub(crate) fn set_claim(&self, claim: Claim) {
        self.write_more(|more| more.claim = Some(claim));
    }

    #[inline]
    pub(crate) fn route(&self) -> &'static Route {
        self.route.get().expect("it is set from the beginning")
    }

    #[inline]
    pub(crate) fn set_route(&self, route: &'static Route) {
        self.route.set(route);
    }

    /// The arm of the flag at this position, below [`MAX_FLAGS`].
    #[inline]
    pub(crate) fn arm_of(&self, flag: usize) -> FlagArm {
        // The remainder is the position itself, and spares a check.
        self.arms[flag % MAX_FLAGS].get()
    }

    #[inline]
    pub(crate) fn set_arm(&self, flag: usize, arm: FlagArm) {
        self.arms[flag % MAX_FLAGS].set(arm);
    }

    pub(crate) fn arms(&self) -> Arms {
        Arms::new(|flag| self.arm_of(flag))
    }

    /// Notes that the request consulted the flag, and returns what it gets.
    #[inline]
    pub(crate) fn expose(&self, flag: usize) -> FlagArm {
        self.set_arm(flag, self.arm_of(flag).exposed());
        self.arm_of(flag)
    }

    /// Notes what was consulted on tasks that the request shared its assignments with. What they
    /// consult later does not count.
    #[inline]
    pub(crate) fn settle_exposures(&self) {
        if self.has_more() {
            self.settle_shared_exposures();
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_shared_exposures(&self) {
        let shared = self.read_more(|more| more.exposed.clone()).flatten();
        let exposed = shared.map_or(0, |exposed| exposed.load(Acquire));
        (0..MAX_FLAGS).filter(|flag| exposed >> flag & 1 == 1).for_each(|flag| {
            self.expose(flag);
        });
    }

    /// The exposures that other tasks may add to.
    pub(crate) fn share(&self) -> Arc<AtomicU16> {
        self.write_more(|more| Arc::clone(more.exposed.get_or_insert_default()))
    }

    pub(crate) fn add_timing(&self, section: &'static str, ns: u64) {
        self.write_more(|more| more.timings.push((section, ns)));
    }

    pub(crate) fn timings(&self) -> Vec<(&'static str, u64)> {
        self.read_more(|more| more.timings.clone()).unwrap_or_default()
    }

    /// Adds to the request what code below the layer was promised.
    pub(crate) fn tell_request<B>(&self, request: &mut Request<B>) {
        let core = self.core();
        core.request_ids.tell_request(self, request.headers_mut());
        if core.request_extension {
            request.extensions_mut().insert(Assignments::of(self));
        }
    }

    /// What tells the request from all others.
    #[inline]
    pub(crate) fn key(&self) -> ScopeKey {
        ScopeKey { core: self.core(), id: self.id() }
    }

    /// A scope for the same request, which shares exposures with other tasks as this one does.
    pub(crate) fn copy(&self) -> PooledScope {
        let copy = PooledScope::begin_as(self.core(), &self.request_id(), self.route());
        for flag in 0..MAX_FLAGS {
            copy.set_arm(flag, self.arm_of(flag));
        }
        copy.take_over(self);
        copy
    }

    /// Takes over what was noted in another copy of the same scope.
    pub(crate) fn take_over(&self, other: &Self) {
        (0..MAX_FLAGS).filter(|&flag| other.arm_of(flag).is_exposed()).for_each(|flag| {
            self.expose(flag);
        });
        let theirs = other.read_more(|theirs| (theirs.exposed.clone(), theirs.timings.clone()));
        let Some((exposed, timings)) = theirs else { return };
        if exposed.is_none() && timings.is_empty() {
            return;
        }
        self.write_more(|more| {
            more.exposed = more.exposed.take().or(exposed);
            if timings.len() > more.timings.len() {
                more.timings = timings;
            }
        });
    }

    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.has_more.load(Relaxed)
    }

    fn lock_more(&self) -> MutexGuard<'_, Option<Box<More>>> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when the request has nothing that most requests have not.
    fn read_more<R>(&self, read: impl FnOnce(&mut More) -> R) -> Option<R> {
        if !self.has_more() {
            return None;
        }
        self.lock_more().as_deref_mut().map(read)
    }

    fn write_more<R>(&self, write: impl FnOnce(&mut More) -> R) -> R {
        self.timed.configure();
        self.has_more.store(true, Relaxed);
        write(self.lock_more().get_or_insert_default())
    }

    #[cold]
    #[inline(never)]
    fn forget_more(&self) {
        self.has_more.store(false, Relaxed);
        drop(self.lock_more().take());
    }
}

thread_local! {
    /// The innermost scope of this thread. It has no destructor and needs no borrowing, so that
    /// entering a scope takes a few instructions.
    static INNERMOST: Cell<Option<&'static Scope>> = const { Cell::new(None) };
}

/// The scope of the request that this thread is serving at this moment.
#[inline(always)]
pub(crate) fn innermost() -> Option<&'static Scope> {
    INNERMOST.get()
}

/// Makes a scope the innermost one of this thread, until [`leave`] is called with what was the
/// innermost one before, which is returned. No scope is entered twice at a time.
#[inline(always)]
pub(crate) fn enter(scope: &'static Scope) -> Option<&'static Scope> {
    let outer = INNERMOST.get();
    scope.outer.set(outer);
    INNERMOST.set(Some(scope));
    outer
}

/// The same until the guard is dropped, also by a panic.
pub(crate) fn enter_until_dropped(scope: &PooledScope) -> Entered<'_> {
    enter(scope.get());
    Entered(scope)
}

/// See [`enter_until_dropped`].
pub(crate) struct Entered<'a>(&'a PooledScope);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        leave(self.0.get().outer.get());
    }
}

/// Makes the innermost scope what it was before one was entered.
#[inline(always)]
pub(crate) fn leave(outer: Option<&'static Scope>) {
    INNERMOST.set(outer);
}

/// Runs `read` with the innermost scope that `wanted` accepts.
#[inline]
pub(crate) fn with<R>(
    wanted: impl Fn(&'static Scope) -> bool,
    read: impl FnOnce(&'static Scope) -> R,
) -> Option<R> {
    let mut scope = INNERMOST.get()?;
    if !wanted(scope) {
        scope = find_outside(scope, wanted)?;
    }
    Some(read(scope))
}

/// The scopes of nested layers are few, and code mostly asks for the innermost one.
#[cold]
#[inline(never)]
fn find_outside(
    inner: &'static Scope,
    wanted: impl Fn(&'static Scope) -> bool,
) -> Option<&'static Scope> {
    let outside = std::iter::successors(inner.outer.get(), |scope| scope.outer.get());
    outside.into_iter().find(|&scope| wanted(scope))
}

/// Runs `read` with the innermost scope of this core.
#[inline]
pub(crate) fn with_core<R>(
    core: &'static Core,
    read: impl FnOnce(&'static Scope) -> R,
) -> Option<R> {
    with(move |scope| scope.is_of(core), read)
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
