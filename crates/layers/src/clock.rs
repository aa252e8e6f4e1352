//! The one place that reads the machine's clock.

use latency_experiment_record::Clock;

/// The machine's monotonic clock: the CPU's time stamp counter where it is steady, else what the
/// operating system offers.
#[derive(Clone, Debug)]
pub struct MachineClock(quanta::Clock);

impl MachineClock {
    /// The clock of this machine. The first one of a process is calibrated, which takes some
    /// milliseconds.
    pub fn new() -> Self {
        Self(quanta::Clock::new())
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MachineClock {
    #[inline]
    fn raw(&self) -> u64 {
        self.0.raw()
    }

    #[inline]
    fn elapsed_ns(&self, start: u64, end: u64) -> u64 {
        // Between cores the counter may step back by a few ticks; that is no time, not centuries.
        if end <= start { 0 } else { self.0.delta_as_nanos(start, end) }
    }
}

/// The clock that an [`Experiments`](crate::Experiments) reads: known at compile time in
/// production, so that reading it needs no indirect call.
pub(crate) enum AnyClock {
    Machine(MachineClock),
    Injected(Box<dyn Clock>),
}

impl AnyClock {
    #[inline]
    pub(crate) fn raw(&self) -> u64 {
        match self {
            Self::Machine(clock) => clock.raw(),
            Self::Injected(clock) => clock.raw(),
        }
    }

    #[inline]
    pub(crate) fn elapsed_ns(&self, start: u64, end: u64) -> u64 {
        match self {
            Self::Machine(clock) => clock.elapsed_ns(start, end),
            Self::Injected(clock) => clock.elapsed_ns(start, end),
        }
    }

    /// The time since a reading, in nanoseconds.
    #[inline]
    pub(crate) fn ns_since(&self, start: u64) -> u64 {
        match self {
            Self::Machine(clock) => clock.elapsed_ns(start, clock.raw()),
            Self::Injected(clock) => clock.elapsed_ns(start, clock.raw()),
        }
    }
}
