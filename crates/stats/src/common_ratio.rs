use std::cell::Cell;

use crate::comparison::information;
use crate::log_cdf::{LogCdf, shares_at};
use crate::special::increasing_root_between;
use crate::{Alpha, Boundary, Comparison, Estimate, Evidence, Quantile};

/// Fewest requests per arm with which a stratum takes part.
const MIN_COUNT: u64 = 5;

/// A score this close to zero, in standard errors, is zero but for rounding.
const FLAT: f64 = 1e-9;

/// To which the log ratio is found.
const TOLERANCE: f64 = 1e-10;

/// The log ratio at which the slope of the score is first measured.
const FIRST_STEP: f64 = 0.05;

/// No ratio of two 64-bit values lies beyond exp of this.
const LARGEST_LOG_RATIO: f64 = 46.0;

/// The change that strata have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommonRatio {
    /// Variation over control within a stratum; [`Estimate::to_lift`] makes it a lift.
    pub ratio: Estimate,
    /// Evidence against a common ratio of 1.
    pub evidence: Evidence,
    /// Strata with enough requests in both arms.
    pub strata: usize,
}

/// Estimates the factor by which a quantile changed within strata.
///
/// **Estimand**: the r with `Q_B,h(p) = r Q_A,h(p)` if it were the same in all strata; otherwise their
/// information-weighted compromise. It says what the change does to the typical route, where
/// [`quantile_effect`](crate::quantile_effect) says what all requests together feel. It does not depend on
/// the mix of the strata and is the most precise of the overall figures.
///
/// **Formula**: r solves `sum_h W_h [F_B,h(r q_h) - F_A,h(q_h)] = 0` with `W_h = n_A n_B / (n_A + n_B)` and
/// `q_h` the p-quantile of the control pooled with the rescaled variation. The interval holds every r whose
/// score is within c `sqrt(sum W_h^2 p (1 - p) (1/n_A,h + 1/n_B,h))`, c the boundary's radius.
///
/// **Source**: stratified score inversion (aligned ranks, Hodges & Lehmann 1962, for a quantile score).
/// **Assumptions and guarantee**: as for `quantile_effect`; asymptotic.
///
/// **Numerics**: distribution functions are linear in the log value inside buckets; r is found to 1e-10.
///
/// **Behaviour at the edges**: strata with fewer than 5 requests in an arm are left out; without any, the
/// result is unbounded. Ends that the data do not reach are 0 and infinity. Weights of the strata do not
/// enter.
///
/// ```
/// use latency_experiment_stats::{
///     Alpha, Boundary, Comparison, Distribution, Quantile, common_ratio,
/// };
///
/// // Two routes of very different speed, both 10 % slower in the variation.
/// let route = |base: u64| {
///     let control = Distribution::from_points((100..200).map(|step| (step * base, 50)));
///     let variation = Distribution::from_points((100..200).map(|step| (step * base * 11 / 10, 50)));
///     Ok::<_, latency_experiment_stats::Error>((control?, variation?))
/// };
/// let comparison = Comparison::nested([[route(1_000)?], [route(1_000_000)?]])?;
/// let common = common_ratio(&comparison, Quantile::P50, Boundary::default(), Alpha::DEFAULT);
/// assert!((common.ratio.point.unwrap() - 1.1).abs() < 0.005);
/// assert!(common.ratio.lower > 1.07 && common.ratio.upper < 1.13);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn common_ratio(
    comparison: &Comparison,
    quantile: Quantile,
    boundary: Boundary,
    alpha: Alpha,
) -> CommonRatio {
    let p = quantile.get();
    let strata: Vec<Scored<'_>> = comparison
        .strata()
        .iter()
        .filter(|s| s.control.count().min(s.variation.count()) >= MIN_COUNT)
        .map(|stratum| {
            let control = LogCdf::new(&stratum.control);
            Scored {
                control,
                variation: LogCdf::new(&stratum.variation),
                n_control: stratum.control.count() as f64,
                n_variation: stratum.variation.count() as f64,
                weight: information(&stratum.control, &stratum.variation),
                near: Cell::new(control.bucket_of(p)),
            }
        })
        .collect();
    if strata.is_empty() {
        let ratio = Estimate::unknown_ratio(alpha);
        return CommonRatio { ratio, evidence: boundary.no_evidence(), strata: 0 };
    }
    let information: f64 = strata.iter().map(|stratum| stratum.weight).sum();
    // W^2 (1/n_A + 1/n_B) = W.
    let deff = comparison.design_effect();
    let deviation = (deff * p * (1.0 - p) * information).sqrt();
    let information = information / deff;
    let score = |log_ratio: f64| -> f64 {
        strata.iter().map(|stratum| stratum.score(p, log_ratio)).sum::<f64>() / deviation
    };
    let radius = boundary.radius(information, alpha);
    let search = Search::new(&score);
    // Between sparse values the score can be zero over a stretch; its middle favours neither arm.
    let low = search.log_ratio_at(-FLAT);
    let high = low.and_then(|low| {
        let same = score(low + 4.0 * TOLERANCE) >= FLAT;
        if same { Some(low) } else { search.log_ratio_at(FLAT) }
    });
    let middle = low.zip(high).map(|(low, high)| 0.5 * (low + high));
    let ratio = Estimate {
        point: middle.map(f64::exp),
        lower: search.log_ratio_at(-radius).map_or(0.0, f64::exp),
        upper: search.log_ratio_at(radius).map_or(f64::INFINITY, f64::exp),
        alpha,
    };
    // The score grows with r; at r = 1 it is negative where the variation is slower.
    let evidence = boundary.evidence(-search.at_zero, information, alpha);
    CommonRatio { ratio, evidence, strata: strata.len() }
}

struct Scored<'a> {
    control: LogCdf<'a>,
    variation: LogCdf<'a>,
    n_control: f64,
    n_variation: f64,
    weight: f64,
    /// The control's bucket in which the last score was found; the next is asked for at nearly its ratio.
    near: Cell<usize>,
}

impl Scored<'_> {
    /// Grows with `log_ratio`: the smaller the control's share at the pooled quantile, the larger the
    /// variation's.
    fn score(&self, p: f64, log_ratio: f64) -> f64 {
        let all = self.n_control + self.n_variation;
        let mut near = self.near.get();
        let (control, variation) = shares_at(
            (self.control, self.n_control / all),
            (self.variation, self.n_variation / all),
            log_ratio.exp(),
            p,
            &mut near,
        );
        self.near.set(near);
        self.weight * (variation - control)
    }
}

/// Finds where the increasing score reaches a target.
struct Search<'a, F> {
    score: &'a F,
    /// The score at a ratio of 1.
    at_zero: f64,
    /// How much the log ratio changes per standard error, around a ratio of 1.
    scale: f64,
}

impl<'a, F: Fn(f64) -> f64> Search<'a, F> {
    fn new(score: &'a F) -> Self {
        let at_zero = score(0.0);
        let step = if at_zero < 0.0 { FIRST_STEP } else { -FIRST_STEP };
        let slope = (score(step) - at_zero) / step;
        // A flat score gives no hint; any positive step finds the way.
        let scale = if slope > 1e-9 { 1.0 / slope } else { FIRST_STEP };
        Self { score, at_zero, scale }
    }

    /// `None` where no ratio of two 64-bit values reaches the target.
    fn log_ratio_at(&self, target: f64) -> Option<f64> {
        let excess = |log_ratio: f64| (self.score)(log_ratio) - target;
        let limit = |log_ratio: f64| log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO);
        // Where a straight score would reach the target; then outwards until it is behind.
        let guess = limit((target - self.at_zero) * self.scale);
        let mut step = 0.02 * self.scale * (target - self.at_zero).abs().max(1.0);
        let mut near = (guess, excess(guess));
        let towards = if near.1 < 0.0 { 1.0 } else { -1.0 };
        loop {
            if near.0 * towards >= LARGEST_LOG_RATIO {
                return None;
            }
            let far = limit(near.0 + towards * step);
            let far = (far, excess(far));
            if far.1 * towards >= 0.0 {
                let (low, high) = if towards > 0.0 { (near, far) } else { (far, near) };
                return Some(increasing_root_between(excess, low, high, TOLERANCE));
            }
            near = far;
            step *= 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Distribution;

    fn route(base: u64, factor: f64, count: u64) -> (Distribution, Distribution) {
        let arm = |factor: f64| {
            let points = (100..200).map(|step| ((factor * (step * base) as f64) as u64, count));
            Distribution::from_points(points).unwrap()
        };
        (arm(1.0), arm(factor))
    }

    fn ratio(comparison: &Comparison) -> CommonRatio {
        common_ratio(comparison, Quantile::P50, Boundary::default(), Alpha::DEFAULT)
    }

    #[test]
    fn the_mix_of_routes_does_not_matter() {
        let few = [[route(1_000, 0.9, 10)], [route(77_000, 0.9, 400)]];
        let many = [[route(1_000, 0.9, 400)], [route(77_000, 0.9, 10)]];
        for groups in [few, many] {
            let common = ratio(&Comparison::nested(groups).unwrap());
            assert!((common.ratio.point.unwrap() - 0.9).abs() < 0.005, "{common:?}");
            assert!(common.ratio.upper < 1.0 && common.evidence.z < 0.0, "{common:?}");
            assert_eq!(common.strata, 2);
        }
    }

    #[test]
    fn too_little_data_bounds_nothing() {
        let four = Distribution::from_points([(1, 4)]).unwrap();
        let none = ratio(&Comparison::pair(four.clone(), four).unwrap());
        assert_eq!((none.strata, none.ratio), (0, Estimate::unknown_ratio(Alpha::DEFAULT)));
        let few = Distribution::from_points([(1, 3), (2, 3)]).unwrap();
        let wide = ratio(&Comparison::pair(few.clone(), few).unwrap());
        assert_eq!((wide.ratio.lower, wide.ratio.upper), (0.0, f64::INFINITY));
        assert!((wide.ratio.point.unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn failures_are_infinitely_slow() {
        let (control, variation) = route(1_000, 1.0, 100);
        let failing = variation.with_at_infinity(9_000).unwrap();
        let common = ratio(&Comparison::pair(control, failing).unwrap());
        assert!(common.ratio.lower > 1.2 && common.evidence.p_value < 1e-9, "{common:?}");
    }
}
