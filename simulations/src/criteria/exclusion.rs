use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Estimate, Quantile, geometric_mean_effect, mean_effect,
    quantile_effect,
};

/// The intervals of a report, in order.
pub(crate) const INTERVALS: [&str; 5] = ["p50", "p95", "p99", "mean", "geometric mean"];

/// Fewest requests per arm with which a report judges.
pub(crate) const FEWEST: u64 = 20;

/// Notes which intervals do not contain the true ratio. One that missed once has missed, so that it need not
/// be computed again.
pub(crate) fn note_misses(
    comparison: &Comparison,
    boundary: Boundary,
    truth: f64,
    missed: &mut [bool],
) {
    if comparison.control_count().min(comparison.variation_count()) < FEWEST {
        return;
    }
    let alpha = Alpha::DEFAULT;
    let quantile = |quantile| quantile_effect(comparison, quantile, boundary, alpha).ratio;
    let intervals: [&dyn Fn() -> Estimate; 5] = [
        &|| quantile(Quantile::P50),
        &|| quantile(Quantile::P95),
        &|| quantile(Quantile::P99),
        &|| mean_effect(comparison, boundary, alpha).ratio,
        &|| geometric_mean_effect(comparison, boundary, alpha).ratio,
    ];
    for (missed, interval) in missed.iter_mut().zip(intervals) {
        *missed = *missed || !interval().contains(truth);
    }
}
