//! A stretch of work of one thread.

use std::time::{Duration, Instant};

use crate::clock;

/// When a piece of work started and ended, and how long its thread had to wait for a processor.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    start: Instant,
    end: Instant,
    waited: Duration,
}

/// Share of its time that an undisturbed piece of work may have waited.
const DISTURBED: f64 = 0.02;

impl Span {
    /// The span of `run`, on the calling thread.
    pub fn of(run: impl FnOnce()) -> Self {
        let before = waited();
        let start = clock::now();
        run();
        let end = clock::now();
        Self { start, end, waited: waited().saturating_sub(before) }
    }

    /// From start to end.
    pub fn length(self) -> Duration {
        self.end.duration_since(self.start)
    }

    /// How long both were going on at the same time.
    pub fn shared(self, other: Self) -> Duration {
        self.end.min(other.end).saturating_duration_since(self.start.max(other.start))
    }

    /// Whether nothing else took the processor away meanwhile.
    pub fn is_undisturbed(self) -> bool {
        self.waited.as_secs_f64() <= DISTURBED * self.length().as_secs_f64()
    }
}

/// How long the calling thread was ready to run and did not, since its start; zero where the system
/// does not tell.
fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or_default())
}
