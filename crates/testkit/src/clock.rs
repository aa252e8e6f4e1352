//! A clock that is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use latency_experiment_record::Clock;

/// A clock that stands still until it is told otherwise. Clones share their time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock on.
    ///
    /// # Panics
    ///
    /// When the step is longer than five centuries.
    pub fn advance(&self, step: Duration) {
        let step_ns = u64::try_from(step.as_nanos()).expect("a step of less than five centuries");
        self.0.fetch_add(step_ns, Ordering::SeqCst);
    }

    /// Sets the clock to so many nanoseconds, also backwards, as broken clocks do.
    pub fn set_ns(&self, now_ns: u64) {
        self.0.store(now_ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn raw(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed_ns(&self, start: u64, end: u64) -> u64 {
        end.saturating_sub(start)
    }
}
