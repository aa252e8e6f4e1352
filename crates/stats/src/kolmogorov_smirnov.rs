use crate::grid::walk;
use crate::{Comparison, Distribution};

/// The largest vertical distance between the two distribution functions, for display only.
///
/// **Estimand**: the greatest difference, over all thresholds, between the shares of requests that each arm
/// answers within the threshold. **Formula**: max over values of `|F_B - F_A|`; over strata the weighted
/// average of the strata's distances. **Source**: Kolmogorov 1933, Smirnov 1939.
///
/// **Guarantee**: none: no test belongs to it here, because a sequential one needs seven times the requests of
/// [`dominance_log_e`](crate::dominance_log_e). Without an effect it is about 1.2 over the root of the harmonic
/// information. Bucketing can only lower it. Observations at infinity are above every threshold.
///
/// **Behaviour at the edges**: `None` without data in both arms; 0 for ties, 1 for arms that do not overlap.
///
/// ```
/// use latency_experiment_stats::{Comparison, Distribution, ks_distance};
///
/// let control = Distribution::from_points([(10, 50), (20, 50)])?;
/// let variation = Distribution::from_points([(10, 20), (20, 80)])?;
/// let distance = ks_distance(&Comparison::pair(control, variation)?).unwrap();
/// assert!((distance - 0.3).abs() < 1e-12);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn ks_distance(comparison: &Comparison) -> Option<f64> {
    let strata = comparison.strata();
    (!strata.is_empty()).then(|| {
        strata.iter().map(|s| s.weight * distance(&s.control, &s.variation)).sum::<f64>().min(1.0)
    })
}

fn distance(a: &Distribution, b: &Distribution) -> f64 {
    let (n, m) = (a.count() as f64, b.count() as f64);
    let mut most = 0.0;
    // Buckets of one comparison never overlap, so that the walk cannot fail.
    let _ = walk(a.cumulative(), b.cumulative(), |_, a, b| {
        let difference = b as f64 / m - a as f64 / n;
        most = f64::max(most, difference.abs());
    });
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(a: &Distribution, b: &Distribution) -> Option<f64> {
        ks_distance(&Comparison::pair(a.clone(), b.clone()).unwrap())
    }

    #[test]
    fn edges_are_explicit() {
        let one = Distribution::from_points([(1, 9)]).unwrap();
        let two = Distribution::from_points([(2, 4)]).unwrap();
        assert_eq!(between(&one, &one), Some(0.0));
        assert_eq!(between(&one, &two), Some(1.0));
        assert_eq!(between(&one, &Distribution::default()), None);
        let failing = one.with_at_infinity(9).unwrap();
        assert_eq!(between(&one, &failing), Some(0.5));
    }
}
