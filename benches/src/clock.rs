//! The clock that the programs measure with.

use std::time::{Duration, Instant};

/// A moment of the machine's monotonic clock.
#[allow(clippy::disallowed_methods, reason = "the benches measure the layers from outside them")]
pub fn now() -> Instant {
    Instant::now()
}

/// How long `run` takes.
pub fn time(run: impl FnOnce()) -> Duration {
    let start = now();
    run();
    now().duration_since(start)
}
