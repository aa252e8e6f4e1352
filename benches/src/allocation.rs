//! Allocations per request. The program has to install the
//! [`CountingAllocator`](crate::allocator::CountingAllocator).

use crate::allocator::Allocations;
use crate::cases::Case;

/// Requests before the counting starts: enough to have touched the usual octaves of the histograms.
const WARM_UP: u64 = 20_000;
/// Requests that are counted. Now and then a latency falls into an octave that none of its series
/// fell into before, and its first touch allocates: a mean of 0.001 is no allocation per request.
const MEASURED: u64 = 100_000;

/// What one request allocates, on average.
#[derive(Clone, Copy, Debug)]
pub struct PerRequest {
    /// How many allocations.
    pub allocations: f64,
    /// How many bytes, whether given back or not.
    pub bytes: f64,
}

/// What a request of this case allocates once all is warm.
pub fn per_request(case: &Case) -> PerRequest {
    let mut requests = case.service()(0);
    requests(WARM_UP.max(case.warm_up));
    case.upkeep();
    let (counted, ()) = Allocations::during(|| requests(MEASURED));
    case.upkeep();
    let mean = |total: u64| (total as f64 / MEASURED as f64 * 1_000.0).round() / 1_000.0;
    PerRequest { allocations: mean(counted.count), bytes: mean(counted.bytes) }
}
