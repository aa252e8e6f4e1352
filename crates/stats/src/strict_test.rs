use crate::evidence::p_value_of_log_e;
use crate::grid::walk;
use crate::{Alpha, BetaBinomial, Comparison, Distribution, Error, Quantile};

/// The strict two-arm test of one quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrictTest {
    /// ln E against equal quantiles.
    pub log_e: f64,
    /// min(1, 1/E), two-sided and valid at every look.
    pub p_value: f64,
}

/// Tests equality of a quantile without any approximation.
///
/// **Estimand**: whether both arms have the same `quantile` within every stratum.
///
/// **Formula**: let C be an arm's count of observations up to a value q, and k the number in \[C(q-),
/// C(q)\] that is closest to the minimum of ln E of [`BetaBinomial`] with probability `quantile`; `G(q)` is
/// ln E there. Then
///
/// ```text
/// ln E = sum over strata of min over q of [G_control(q) + G_variation(q)],   p = min(1, 1/E)
/// ```
///
/// **Source**: Howard & Ramdas 2022, "Sequential estimation of quantiles", Theorem 5, with beta-binomial
/// mixtures; one stratum is `confseq`'s `quantile_ab_p_value`. The sum over strata is ours: observations of
/// different strata multiply one product martingale.
///
/// **Assumptions**: the observations of an arm in a stratum are independent and identically distributed. Shared
/// swings of the load violate that; [`label_log_e`](crate::label_log_e) does not need it.
///
/// **Guarantee**: exact for every n. P(E ever reaches 1/alpha) <= alpha when no stratum has a difference.
/// Very conservative: it needs 1.1 to 2.6 times the requests of
/// [`quantile_effect`](crate::quantile_effect), and falsely rejected in 0 to 0.4 % of simulated experiments at
/// 5 %. Bucketing keeps it exact.
///
/// `tuned_for` is the number of requests *per arm* at which it is tightest at level 0.05, for a report with
/// [`TunedFor`](crate::TunedFor) n* usually 2 n*. Fails when it is not positive and finite.
///
/// **Numerics**: O(buckets); only values between the two arms' quantiles are tried, because both terms grow
/// outside. Weights of the strata do not enter.
///
/// **Behaviour at the edges**: no stratum with data in both arms, and all values tied, give E <= 1 and p = 1.
/// Observations at infinity are slower than everything and tie with each other.
///
/// ```
/// use latency_experiment_stats::{Comparison, Distribution, Quantile, strict_test};
///
/// let control = Distribution::from_points((1..=1_000).map(|ms| (ms, 10)))?;
/// let variation = Distribution::from_points((1..=1_000).map(|ms| (ms + ms / 10, 10)))?;
/// let comparison = Comparison::pair(control, variation)?;
/// assert!(strict_test(&comparison, Quantile::P50, 10_000.0)?.p_value < 1e-6);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn strict_test(
    comparison: &Comparison,
    quantile: Quantile,
    tuned_for: f64,
) -> Result<StrictTest, Error> {
    let mixture = BetaBinomial::new(quantile.get(), tuned_for, Alpha::DEFAULT)?;
    let log_e = comparison
        .strata()
        .iter()
        .map(|stratum| stratum_log_e(&stratum.control, &stratum.variation, quantile, mixture))
        .sum();
    Ok(StrictTest { log_e, p_value: p_value_of_log_e(log_e) })
}

/// The least of both arms' ln E over all values that their common quantile may have.
fn stratum_log_e(
    control: &Distribution,
    variation: &Distribution,
    quantile: Quantile,
    mixture: BetaBinomial,
) -> f64 {
    let [a, b] = [control, variation].map(|arm| ArmEvidence::new(arm, quantile, mixture));
    let mut least = f64::INFINITY;
    let (mut before_a, mut before_b) = (0, 0);
    let mut try_value = |up_to_a: u64, up_to_b: u64| {
        // Below both quantiles the next value is at least as good, above both the one before.
        let below = a.is_below(up_to_a) && b.is_below(up_to_b);
        let above = a.is_above(before_a) && b.is_above(before_b);
        if !below && (!above || least == f64::INFINITY) {
            least = f64::min(least, a.log_e(before_a, up_to_a) + b.log_e(before_b, up_to_b));
        }
        (before_a, before_b) = (up_to_a, up_to_b);
    };
    // Buckets of one comparison never overlap, so that the walk cannot fail.
    let _ = walk(control.cumulative(), variation.cumulative(), |_, a, b| {
        try_value(a, b);
    });
    try_value(control.count(), variation.count());
    least
}

/// One arm's evidence against each candidate quantile.
struct ArmEvidence {
    mixture: BetaBinomial,
    n: f64,
    /// The real number of observations up to the quantile at which ln E is least.
    center: f64,
}

impl ArmEvidence {
    fn new(arm: &Distribution, quantile: Quantile, mixture: BetaBinomial) -> Self {
        let n = arm.count() as f64;
        Self { mixture, n, center: minimum(mixture, quantile.get(), n) }
    }

    /// ln E when between `before` and `up_to` observations lie up to the candidate.
    fn log_e(&self, before: u64, up_to: u64) -> f64 {
        let count = self.center.max(before as f64).min(up_to as f64);
        self.mixture.log_e_at(count, self.n)
    }

    fn is_below(&self, up_to: u64) -> bool {
        (up_to as f64) < self.center
    }

    fn is_above(&self, before: u64) -> bool {
        before as f64 > self.center
    }
}

/// The k in `0..=n` at which ln E is least: near p n + 1/2 - p, refined by golden sections.
fn minimum(mixture: BetaBinomial, p: f64, n: f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let log_e = |k: f64| mixture.log_e_at(k, n);
    let guess = p * n + 0.5 - p;
    let (mut low, mut high) = ((guess - 1.0).max(0.0), (guess + 1.0).min(n));
    let (mut left, mut right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_left, mut at_right) = (log_e(left), log_e(right));
    for _ in 0..36 {
        if at_left < at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - GOLDEN * (high - low);
            at_left = log_e(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + GOLDEN * (high - low);
            at_right = log_e(right);
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(control: &Distribution, variation: &Distribution, quantile: Quantile) -> StrictTest {
        let pair = Comparison::pair(control.clone(), variation.clone()).unwrap();
        strict_test(&pair, quantile, 1_000.0).unwrap()
    }

    #[test]
    fn skipping_values_outside_the_quantiles_loses_nothing() {
        let arm = |factor: u64, count: u64| {
            let points = (1..200).map(|step| (step * factor % 997 + 1, step % 5 * count));
            let mut points: Vec<(u64, u64)> = points.collect();
            points.sort_unstable();
            points.dedup_by_key(|point| point.0);
            Distribution::from_points(points).unwrap()
        };
        let (control, variation) = (arm(7, 3), arm(11, 4));
        for quantile in [Quantile::new(0.02).unwrap(), Quantile::P50, Quantile::P99] {
            let mixture = BetaBinomial::new(quantile.get(), 1_000.0, Alpha::DEFAULT).unwrap();
            let arms = [&control, &variation];
            let evidence = arms.map(|arm| ArmEvidence::new(arm, quantile, mixture));
            let direct = (1..=998_u64).map(|value| {
                let at = |index: usize| {
                    let arm: &Distribution = arms[index];
                    evidence[index].log_e(arm.count_up_to(value - 1), arm.count_up_to(value))
                };
                at(0) + at(1)
            });
            let least = direct.fold(f64::INFINITY, f64::min);
            assert_eq!(test(&control, &variation, quantile).log_e, least);
        }
    }

    #[test]
    fn nothing_and_ties_are_no_evidence() {
        let empty = Distribution::default();
        let tied = Distribution::from_points([(5, 4_000)]).unwrap();
        assert_eq!(test(&empty, &tied, Quantile::P50), StrictTest { log_e: 0.0, p_value: 1.0 });
        assert!(test(&tied, &tied, Quantile::P99).log_e <= 0.0);
        let failing = empty.with_at_infinity(9_000).unwrap();
        assert!(test(&tied, &failing, Quantile::P50).p_value < 1e-9);
        assert_eq!(test(&failing, &failing, Quantile::P50).p_value, 1.0);
    }

    #[test]
    fn swapping_the_arms_changes_nothing() {
        let fast = Distribution::from_points((1..500).map(|value| (value, 3))).unwrap();
        let slow = Distribution::from_points((1..500).map(|value| (value * 2, 2))).unwrap();
        let (there, back) = (test(&fast, &slow, Quantile::P95), test(&slow, &fast, Quantile::P95));
        assert!((there.log_e - back.log_e).abs() < 1e-9);
    }
}
