use crate::comparison::LEVEL_SLACK;
use crate::steps::Arm;
use crate::{Alpha, Boundary, Comparison, Distribution, Edges, Estimate, Evidence, Quantile};

/// How a quantile of the variation differs from that of the control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileEffect {
    /// Which quantile.
    pub quantile: Quantile,
    /// The control's post-stratified quantile: a bucket midpoint. `None` without data in both arms.
    pub control: Option<f64>,
    /// The variation's, likewise.
    pub variation: Option<f64>,
    /// Variation minus control, in the unit of the data.
    pub difference: Estimate,
    /// Variation over control; [`Estimate::to_lift`] makes it a lift.
    pub ratio: Estimate,
    /// Evidence against equal quantiles.
    pub evidence: Evidence,
    /// Harmonic information of the comparison, in requests.
    pub information: f64,
}

/// Compares a quantile of the two arms: difference and ratio with intervals, z, e-value and p-value.
///
/// **Estimand**: the `quantile` of each arm's weighted distribution `sum_h w_h F_h`, that is of the latencies
/// that all requests would have had in that arm, and their difference and ratio.
///
/// **Formula**: let `P_h` be the share of both arms' requests of stratum h up to the quantile of both arms
/// together, interpolated inside the bucket that holds it, and c the boundary's radius. Then
///
/// ```text
/// V_A, V_B   = sum w_h^2 P_h (1 - P_h) / n_A,h   and likewise with n_B,h
/// shift_A, B = c V_A / sqrt(V_A + V_B)           and likewise with V_B
/// ratio      : Q_B(p - shift_B) / Q_A(p + shift_A)  to  Q_B(p + shift_B) / Q_A(p - shift_A)
/// z          = sum w_h (F_A,h - F_B,h) / sqrt(V_A + V_B)   at that quantile
/// ```
///
/// and the difference likewise. This inverts the two-sample exceedance score test at the pooled quantile,
/// without a density estimate and without resampling. z is positive where the variation is slower. One
/// stratum gives the closed two-sample form with V = p (1 - p) / n.
///
/// **Source**: score inversion after Price & Bonett 2002; radius of [`NormalMixture`](crate::NormalMixture)
/// (Waudby-Smith et al. 2024).
///
/// **Assumptions**: requests were assigned to arms independently. Arrivals and load may vary in any way
/// that is the same for both arms.
///
/// **Guarantee**: asymptotic in the requests per arm. With [`Boundary::ConfidenceSequence`], with
/// probability 1 - alpha the interval covers at all looks together; with [`Boundary::FixedN`] at one.
/// Bucketing only widens: each end is the outward edge of its bucket.
///
/// **Numerics**: O(buckets) once per comparison, then a logarithmic search per level.
///
/// **Behaviour at the edges**: a level at or below 0 reads as 0 (ratio) or negative infinity (difference),
/// one above 1 as infinity: not enough data for this quantile. Observations at infinity are slower than
/// everything; a quantile among them is infinite. An empty arm gives unbounded intervals, z = 0, E = 1.
/// Ties count half through the interpolation; all values equal gives z = 0.
///
/// ```
/// use latency_experiment_stats::{Alpha, Boundary, Comparison, Distribution, Quantile, quantile_effect};
///
/// // 10,000 requests each; the variation takes 20 % longer throughout.
/// let control = Distribution::from_points((100..200).map(|ms| (ms, 100)))?;
/// let variation = Distribution::from_points((100..200).map(|ms| (ms + ms / 5, 100)))?;
/// let comparison = Comparison::pair(control, variation)?;
///
/// let effect = quantile_effect(&comparison, Quantile::P50, Boundary::default(), Alpha::DEFAULT);
/// let lift = effect.ratio.to_lift();
/// assert!((lift.point.unwrap() - 0.19).abs() < 0.01);
/// assert!(lift.lower > 0.15 && lift.upper < 0.25);
/// assert!(effect.evidence.p_value < 1e-6);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn quantile_effect(
    comparison: &Comparison,
    quantile: Quantile,
    boundary: Boundary,
    alpha: Alpha,
) -> QuantileEffect {
    let [effect] = quantile_effects(comparison, quantile, boundary, [alpha]);
    effect
}

/// [`quantile_effect`] at several levels, for little more than the cost of one.
pub fn quantile_effects<const LEVELS: usize>(
    comparison: &Comparison,
    quantile: Quantile,
    boundary: Boundary,
    alphas: [Alpha; LEVELS],
) -> [QuantileEffect; LEVELS] {
    let p = quantile.get();
    if comparison.strata().is_empty() {
        return alphas.map(|alpha| unknown(comparison, quantile, boundary, alpha));
    }
    let control = comparison.first_reaching(Arm::Control, p).midpoint();
    let variation = comparison.first_reaching(Arm::Variation, p).midpoint();
    let score = score(comparison, p);
    alphas.map(|alpha| {
        let unknown = unknown(comparison, quantile, boundary, alpha);
        let point = QuantileEffect {
            control: Some(control),
            variation: Some(variation),
            difference: Estimate { point: number(variation - control), ..unknown.difference },
            ratio: Estimate { point: number(variation / control), ..unknown.ratio },
            ..unknown
        };
        with_intervals(point, comparison, boundary, &score)
    })
}

fn unknown(
    comparison: &Comparison,
    quantile: Quantile,
    boundary: Boundary,
    alpha: Alpha,
) -> QuantileEffect {
    QuantileEffect {
        quantile,
        control: None,
        variation: None,
        difference: Estimate::unknown_difference(alpha),
        ratio: Estimate::unknown_ratio(alpha),
        evidence: boundary.no_evidence(),
        information: comparison.information(),
    }
}

/// Adds intervals and evidence to the points.
fn with_intervals(
    point: QuantileEffect,
    comparison: &Comparison,
    boundary: Boundary,
    score: &Score,
) -> QuantileEffect {
    let variance = score.control_variance + score.variation_variance;
    // Strata that the quantile separates perfectly leave nothing random to judge by.
    if variance <= 0.0 {
        return point;
    }
    let (p, alpha, information) =
        (point.quantile.get(), point.ratio.alpha, comparison.information());
    let deviation = variance.sqrt();
    let radius = boundary.radius(information, alpha) / deviation;
    let read = |arm, variance: f64| {
        let shift = radius * variance;
        (comparison.first_reaching(arm, p - shift), comparison.first_reaching(arm, p + shift))
    };
    let (control_low, control_high) = read(Arm::Control, score.control_variance);
    let (variation_low, variation_high) = read(Arm::Variation, score.variation_variance);
    QuantileEffect {
        difference: Estimate {
            lower: lowest_difference(variation_low, control_high),
            upper: 0.0 - lowest_difference(control_low, variation_high), // 0.0 - x: no negative zero
            ..point.difference
        },
        ratio: Estimate {
            lower: lowest_ratio(variation_low, control_high),
            upper: highest_ratio(variation_high, control_low),
            ..point.ratio
        },
        evidence: boundary.evidence(score.difference / deviation, information, alpha),
        ..point
    }
}

/// The exceedance score at the pooled quantile.
struct Score {
    /// Weighted `F_A - F_B` there: positive where the variation is slower.
    difference: f64,
    control_variance: f64,
    variation_variance: f64,
}

fn score(comparison: &Comparison, p: f64) -> Score {
    let strata = comparison.strata();
    let deff = comparison.design_effect();
    let steps = comparison.steps();
    let index = steps.first(|index| steps.pooled(index) >= p - LEVEL_SLACK);
    // Behind the last bucket come the observations at infinity, up to which everything counts.
    let edge = |index: usize| steps.grid().edges().get(index).map(|edges| edges.1);
    let (before, here) = (index.checked_sub(1).and_then(edge), edge(index));
    let share_before = index.checked_sub(1).map_or(0.0, |before| steps.pooled(before));
    let share_here = here.map_or(1.0, |_| steps.pooled(index));
    let inside = if share_here > share_before {
        ((p - share_before) / (share_here - share_before)).clamp(0.0, 1.0)
    } else {
        1.0
    };

    let mut score = Score { difference: 0.0, control_variance: 0.0, variation_variance: 0.0 };
    for stratum in strata {
        let (a, b) = (&stratum.control, &stratum.variation);
        let (n_a, n_b) = (a.count() as f64, b.count() as f64);
        let interpolate = |arm: &Distribution, all: f64| {
            let (low, high) = if arm.grid().is(steps.grid()) {
                let high = here.map(|_| arm.count_of_first(index + 1));
                (Some(arm.count_of_first(index)), high)
            } else {
                (before.map(|edge| arm.count_up_to(edge)), here.map(|edge| arm.count_up_to(edge)))
            };
            (1.0 - inside) * low.unwrap_or(0) as f64 + inside * high.map_or(all, |high| high as f64)
        };
        let (below_a, below_b) = (interpolate(a, n_a), interpolate(b, n_b));
        let pooled = ((below_a + below_b) / (n_a + n_b)).clamp(0.0, 1.0);
        let spread = deff * stratum.weight * stratum.weight * pooled * (1.0 - pooled);
        score.difference += stratum.weight * (below_a / n_a - below_b / n_b);
        score.control_variance += spread / n_a;
        score.variation_variance += spread / n_b;
    }
    score
}

/// The least that `minuend - subtrahend` can be, when each is only known between its edges.
fn lowest_difference(minuend: Edges, subtrahend: Edges) -> f64 {
    let difference = minuend.lower - subtrahend.upper;
    if difference.is_nan() { f64::NEG_INFINITY } else { difference }
}

/// The least that the ratio can be; 0 when nothing keeps it away from there.
fn lowest_ratio(numerator: Edges, denominator: Edges) -> f64 {
    if numerator.lower <= 0.0 || denominator.upper == f64::INFINITY {
        return 0.0;
    }
    numerator.lower / denominator.upper
}

/// The most that the ratio can be; infinite when nothing bounds it.
fn highest_ratio(numerator: Edges, denominator: Edges) -> f64 {
    if denominator.lower <= 0.0 || numerator.upper == f64::INFINITY {
        return f64::INFINITY;
    }
    numerator.upper / denominator.lower
}

fn number(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stratum, mann_whitney, mean_effect};

    fn arm(points: &[(u64, u64)]) -> Distribution {
        Distribution::from_points(points.iter().copied()).unwrap()
    }

    fn effect(
        control: &Distribution,
        variation: &Distribution,
        quantile: Quantile,
    ) -> QuantileEffect {
        let pair = Comparison::pair(control.clone(), variation.clone()).unwrap();
        quantile_effect(&pair, quantile, Boundary::default(), Alpha::DEFAULT)
    }

    /// Three overlapping strata with counts from a formula.
    fn strata() -> Comparison {
        let points = |first: u64, end: u64, count: &dyn Fn(u64) -> u64| {
            Distribution::from_points((first..end).step_by(2).map(|value| (value, count(value))))
        };
        let stratum = |h: u64, weight: f64| Stratum {
            control: points(1 + 5 * h, 60 + 7 * h, &|value| (value * 7 + 3 * h) % 11).unwrap(),
            variation: points(1 + 5 * h, 66 + 7 * h, &|value| (value * 5 + 2 * h) % 13).unwrap(),
            weight,
        };
        Comparison::new([stratum(0, 50.0), stratum(1, 30.0), stratum(2, 20.0)]).unwrap()
    }

    #[test]
    fn strata_agree_with_a_direct_evaluation_of_the_formulas() {
        // Computed value by value from the definitions, without any of the searches used here.
        let comparison = strata();
        let p90 = Quantile::new(0.9).unwrap();
        let effect = quantile_effect(&comparison, p90, Boundary::default(), Alpha::DEFAULT);
        let actual = [
            effect.difference.lower,
            effect.difference.upper,
            effect.evidence.z,
            effect.evidence.log_e.unwrap(),
            effect.information,
        ];
        close(
            &actual,
            &[-1.0, 12.0, 3.930_143_671_131_571, 2.096_979_959_231_06, 262.450_118_746_53],
        );
        let mean = mean_effect(&comparison, Boundary::default(), Alpha::DEFAULT);
        let actual =
            [mean.ratio.point.unwrap(), mean.ratio.lower, mean.ratio.upper, mean.evidence.z];
        close(
            &actual,
            &[
                1.114_487_260_527_51,
                0.947_322_385_546_295,
                1.311_150_114_078_471,
                3.096_963_462_950_856,
            ],
        );
    }

    fn close(actual: &[f64], expected: &[f64]) {
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-11 * expected.abs(), "{actual} {expected}");
        }
    }

    #[test]
    fn too_little_data_bounds_nothing() {
        let empty = Distribution::default();
        let nothing = effect(&empty, &arm(&[(5, 100)]), Quantile::P50);
        assert_eq!((nothing.control, nothing.difference.point), (None, None));
        assert_eq!(nothing.ratio, Estimate::unknown_ratio(Alpha::DEFAULT));
        assert_eq!(nothing.evidence.p_value, 1.0);

        let few = effect(&arm(&[(5, 2)]), &arm(&[(9, 2)]), Quantile::P99);
        assert_eq!(few.ratio.point, Some(1.8));
        assert_eq!((few.ratio.lower, few.ratio.upper), (0.0, f64::INFINITY));
        assert_eq!(few.difference.lower, f64::NEG_INFINITY);
    }

    #[test]
    fn ties_are_no_evidence() {
        let tied = effect(&arm(&[(5, 90_000)]), &arm(&[(5, 70_000)]), Quantile::P95);
        assert_eq!(tied.evidence.z, 0.0);
        assert_eq!((tied.ratio.lower, tied.ratio.upper), (1.0, 1.0));
    }

    #[test]
    fn failures_are_infinitely_slow() {
        let control = arm(&[(10, 50_000), (20, 50_000)]);
        let failing = control.with_at_infinity(20_000).unwrap();
        let p95 = effect(&control, &failing, Quantile::P95);
        assert_eq!(p95.variation, Some(f64::INFINITY));
        assert_eq!((p95.ratio.lower, p95.difference.lower), (f64::INFINITY, f64::INFINITY));
        assert!(p95.evidence.p_value < 1e-12 && p95.evidence.z > 0.0);
        // The other way round the variation is certainly faster, by an unknown factor.
        let back = effect(&failing, &control, Quantile::P95);
        assert_eq!((back.ratio.lower, back.ratio.upper), (0.0, 0.0));
        // Both failing: nothing to compare at p95, all to compare at the median.
        let both = effect(&failing, &failing, Quantile::P95);
        assert_eq!(
            (both.ratio.point, both.ratio.lower, both.ratio.upper),
            (None, 0.0, f64::INFINITY)
        );
        assert!(effect(&failing, &failing, Quantile::new(0.3).unwrap()).ratio.contains(1.0));
    }

    #[test]
    fn strata_that_the_quantile_separates_leave_nothing_to_judge() {
        let split = |low: u64| Stratum::by_requests(arm(&[(low, 500)]), arm(&[(low + 1, 500)]));
        let comparison = Comparison::new([split(10), split(1_000)]).unwrap();
        let effect =
            quantile_effect(&comparison, Quantile::P50, Boundary::default(), Alpha::DEFAULT);
        assert_eq!(effect.ratio.point, Some(1.1));
        assert_eq!((effect.ratio.lower, effect.ratio.upper), (0.0, f64::INFINITY));
        assert_eq!(effect.evidence.p_value, 1.0);
    }

    #[test]
    fn a_stratum_without_one_arm_is_dropped() {
        let whole = Stratum::by_requests(arm(&[(1, 30)]), arm(&[(2, 30)]));
        let half = Stratum::by_requests(arm(&[(1, 20)]), Distribution::default());
        let comparison = Comparison::new([whole, half]).unwrap();
        assert_eq!(comparison.dropped_share(), 0.25);
        assert_eq!((comparison.control_count(), comparison.variation_count()), (30, 30));
        assert_eq!(mann_whitney(&comparison).unwrap().probability_faster, 0.0);
    }
}
