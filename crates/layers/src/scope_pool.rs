//! Scopes to be used again.
//!
//! Each thread keeps the free scopes that it used last; taking one and putting it back is a handful
//! of instructions. A request may end on another thread than it began on, so what a thread has too
//! many of goes to a shared pool, in batches, and comes back from there: a lock once in
//! [`BATCH`] requests that changed threads. There are as many scopes as requests were ever in flight
//! at once, and up to [`MOST_FREE`] per thread.

use std::cell::Cell;
use std::mem;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::Core;
use crate::request_id::RequestId;
use crate::route_table::Route;
use crate::scope::Scope;

/// Most free scopes of a thread.
const MOST_FREE: usize = 64;
/// Scopes that go to the shared pool or come from there under one lock.
const BATCH: usize = 32;
/// Scopes that are allocated together.
const CHUNK: usize = 8;

/// What no thread keeps.
static SHARED: Mutex<Vec<&'static Scope>> = Mutex::new(Vec::new());

thread_local! {
    // It has no destructor and needs no borrowing, so that using it takes a few instructions. A
    // thread that was never here, or is being torn down, is full and has nothing: everything takes
    // the slow way.
    static FREE: Free = const {
        Free { first: Cell::new(None), len: Cell::new(MOST_FREE), open: Cell::new(false) }
    };
    static LAST_WISH: LastWish = const { LastWish };
}

/// The free scopes of a thread: a list through [`Scope::outer`].
struct Free {
    first: Cell<Option<&'static Scope>>,
    len: Cell<usize>,
    open: Cell<bool>,
}

/// Gives the free scopes of a thread to the others when it ends.
struct LastWish;

/// A scope for one request. It goes back to the pool when it is dropped.
pub(crate) struct PooledScope(&'static Scope);

impl PooledScope {
    /// Begins to serve a request. Its ID and its arms are to be set.
    #[inline]
    pub(crate) fn begin(core: &'static Core, route: &'static Route) -> Self {
        let scope = FREE.with(|free| free.pop().unwrap_or_else(|| free.refill()));
        scope.begin(core, route);
        Self(scope)
    }

    /// Begins to serve the request with this ID. Its arms are to be set.
    pub(crate) fn begin_as(core: &'static Core, id: &RequestId, route: &'static Route) -> Self {
        let (words, sent) = id.clone().into_parts();
        let scope = Self::begin(core, route);
        scope.set_id(words);
        if let Some(sent) = sent {
            scope.set_sent_id(sent);
        }
        scope
    }

    /// The scope, which does not go back until what [`of`](Self::of) makes of it is dropped.
    #[inline]
    pub(crate) fn keep(self) -> &'static Scope {
        let scope = self.0;
        mem::forget(self);
        scope
    }

    /// What [`keep`](Self::keep) took apart. To be called once.
    #[inline]
    pub(crate) fn of(scope: &'static Scope) -> Self {
        Self(scope)
    }

    /// Gives it back to the pool as dropping it does, after a [plain](crate::timed::Timed::is_plain)
    /// request, which leaves nothing in it.
    #[inline]
    pub(crate) fn put_back_plain(self) {
        FREE.with(|free| free.push(self.0));
        mem::forget(self);
    }

    /// The scope, for as long as it is not dropped.
    #[inline]
    pub(crate) fn get(&self) -> &'static Scope {
        self.0
    }
}

impl Deref for PooledScope {
    type Target = Scope;

    #[inline]
    fn deref(&self) -> &Scope {
        self.0
    }
}

impl Drop for PooledScope {
    #[inline]
    fn drop(&mut self) {
        self.0.end();
        FREE.with(|free| free.push(self.0));
    }
}

impl Free {
    #[inline]
    fn pop(&self) -> Option<&'static Scope> {
        let scope = self.first.get()?;
        self.first.set(scope.outer.get());
        self.len.set(self.len.get() - 1);
        Some(scope)
    }

    #[inline]
    fn push(&self, scope: &'static Scope) {
        self.link(scope);
        if self.len.get() > MOST_FREE {
            self.spill();
        }
    }

    #[inline]
    fn link(&self, scope: &'static Scope) {
        scope.outer.set(self.first.get());
        self.first.set(Some(scope));
        self.len.set(self.len.get() + 1);
    }

    #[cold]
    #[inline(never)]
    fn refill(&self) -> &'static Scope {
        let mut shared = lock_shared();
        let wanted = if self.is_open() { BATCH } else { 1 };
        let left = shared.len().saturating_sub(wanted);
        shared.drain(left..).for_each(|scope| self.link(scope));
        drop(shared);
        let scope = self.pop().unwrap_or_else(|| {
            for scope in Box::leak(Box::<[Scope; CHUNK]>::default()) {
                self.link(scope);
            }
            self.pop().expect("a chunk is not empty")
        });
        if !self.is_open() {
            self.give_all_but(0);
        }
        scope
    }

    #[cold]
    #[inline(never)]
    fn spill(&self) {
        let kept = if self.is_open() { MOST_FREE - BATCH } else { 0 };
        self.give_all_but(kept);
    }

    fn give_all_but(&self, kept: usize) {
        let mut shared = lock_shared();
        while self.len.get() > kept
            && let Some(scope) = self.pop()
        {
            shared.push(scope);
        }
    }

    /// Whether this thread keeps free scopes: from the first time that it is here, until it is torn
    /// down.
    fn is_open(&self) -> bool {
        if !self.open.get() && LAST_WISH.try_with(|_| ()).is_ok() {
            self.open.set(true);
            self.len.set(usize::from(self.first.get().is_some()));
        }
        self.open.get()
    }
}

impl Drop for LastWish {
    fn drop(&mut self) {
        FREE.with(|free| {
            free.give_all_but(0);
            free.open.set(false);
            free.len.set(MOST_FREE);
        });
    }
}

fn lock_shared() -> MutexGuard<'static, Vec<&'static Scope>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::{OnceLock, mpsc};
    use std::thread;

    use latency_experiment_flags::{Flag, FlagSet};

    use crate::{Config, Experiments};

    /// A scope of an experiment that all tests share.
    fn take() -> PooledScope {
        static EXPERIMENTS: OnceLock<Experiments> = OnceLock::new();
        let experiments = EXPERIMENTS.get_or_init(|| {
            Experiments::new(Config::new(FlagSet::try_new([Flag::new("flag")]).unwrap()))
        });
        let route = experiments.core.revisions.current().tables.routes.unmatched;
        PooledScope::begin(experiments.core, route)
    }

    fn address(scope: &PooledScope) -> usize {
        std::ptr::from_ref(scope.get()).addr()
    }

    #[test]
    fn a_scope_is_used_again_and_never_twice_at_a_time() {
        let first = take();
        let (second, place) = (take(), address(&first));
        assert_ne!(address(&second), place);
        drop(first);
        assert_eq!(address(&take()), place);
    }

    #[test]
    fn the_next_request_finds_nothing_of_the_one_before() {
        let scope = take();
        scope.add_timing("section", 1);
        assert_eq!(scope.timings(), [("section", 1)]);
        let place = address(&scope);
        drop(scope);
        let again = take();
        assert_eq!((address(&again), again.timings()), (place, Vec::new()));
    }

    #[test]
    fn requests_that_end_on_another_thread_take_no_more_scopes() {
        let (sender, receiver) = mpsc::sync_channel::<PooledScope>(8);
        let ends = thread::spawn(move || {
            receiver.iter().map(|scope| address(&scope)).collect::<HashSet<_>>()
        });
        for _ in 0..10_000 {
            sender.send(take()).unwrap();
        }
        drop(sender);
        let places = ends.join().unwrap().len();
        assert!(places <= 2 * MOST_FREE + BATCH + CHUNK, "{places} scopes for 10 at a time");
    }

    #[test]
    fn threads_that_end_leave_their_scopes_to_the_others() {
        let places = (0..1_000).map(|_| {
            thread::spawn(|| {
                let scopes: Vec<_> = (0..10).map(|_| take()).collect();
                scopes.iter().map(address).collect::<Vec<_>>()
            })
        });
        let places: HashSet<_> = places.flat_map(|thread| thread.join().unwrap()).collect();
        // Other tests hold some of the shared ones meanwhile.
        assert!(places.len() <= 8 * MOST_FREE, "{} scopes for 10 at a time", places.len());
    }

    #[test]
    fn a_thread_that_is_torn_down_still_gets_scopes_and_keeps_none() {
        struct Last(Cell<Option<mpsc::Sender<usize>>>);
        impl Drop for Last {
            fn drop(&mut self) {
                for _ in 0..100 {
                    let scopes = [take(), take()];
                    assert_ne!(address(&scopes[0]), address(&scopes[1]));
                }
                let kept = std::iter::successors(FREE.with(|free| free.first.get()), |scope| {
                    scope.outer.get()
                });
                self.0.take().unwrap().send(kept.count()).unwrap();
            }
        }
        thread_local! {
            static LAST: Last = const { Last(Cell::new(None)) };
        }
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            // Made first, so that it is dropped last.
            LAST.with(|last| last.0.set(Some(sender)));
            drop(take());
        });
        thread.join().unwrap();
        assert_eq!(receiver.recv(), Ok(0));
    }
}
