//! When a request began, and how far it is.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

use crate::route::MethodLabel;

/// What the end of a request needs to know of its beginning.
#[derive(Default)]
pub(crate) struct Timed {
    /// The reading of the clock.
    started: AtomicU64,
    /// A [`Phase`].
    phase: AtomicU8,
    // Of a plain request these are not set.
    /// What polls took, in ticks of the clock.
    busy_ticks: AtomicU64,
    /// The reading of the clock before the present poll.
    busy_since: AtomicU64,
    grpc: AtomicBool,
    /// The index of a [`MethodLabel`].
    method: AtomicU8,
}

/// How far a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// It has not ended, and a status and a size will be all that there is to its end: it is not gRPC,
    /// its method is neither HEAD nor CONNECT, its core is [plain](crate::core::Core::plain), and its
    /// scope has nothing more than most have.
    Plain,
    /// It has not ended.
    Configured,
    Ended,
}

impl Timed {
    #[inline]
    pub(crate) fn start_plain(&self, started: u64) {
        self.started.store(started, Relaxed);
        self.set_phase(Phase::Plain);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn start(&self, started: u64, method: MethodLabel, grpc: bool) {
        self.started.store(started, Relaxed);
        self.busy_ticks.store(0, Relaxed);
        self.grpc.store(grpc, Relaxed);
        self.method.store(method.index(), Relaxed);
        self.set_phase(Phase::Configured);
    }

    /// From now on the end of the request takes more than a status and a size.
    pub(crate) fn configure(&self) {
        if self.is_plain() {
            self.start(self.started.load(Relaxed), MethodLabel::GET, false);
        }
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.set_phase(Phase::Ended);
    }

    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.phase_is(Phase::Plain)
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.phase_is(Phase::Ended)
    }

    /// The reading of the clock when the request began.
    #[inline]
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }

    /// The clock reads this before a poll.
    pub(crate) fn start_busy(&self, now: u64) {
        self.busy_since.store(now, Relaxed);
    }

    /// The clock reads this after a poll.
    pub(crate) fn stop_busy(&self, now: u64) {
        // A clock that stepped back took no time.
        let ticks = now.saturating_sub(self.busy_since.load(Relaxed));
        self.busy_ticks.store(self.busy_ticks.load(Relaxed).saturating_add(ticks), Relaxed);
    }

    /// What polls took, in ticks of the clock.
    pub(crate) fn busy_ticks(&self) -> u64 {
        self.busy_ticks.load(Relaxed)
    }

    pub(crate) fn is_grpc(&self) -> bool {
        !self.is_plain() && self.grpc.load(Relaxed)
    }

    pub(crate) fn method_is(&self, method: MethodLabel) -> bool {
        !self.is_plain() && self.method.load(Relaxed) == method.index()
    }

    #[inline]
    fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    #[inline]
    fn phase_is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }
}
