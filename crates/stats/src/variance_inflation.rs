use crate::special::chi_squared_tail;
use crate::{DesignEffect, Error};

/// Fewest intervals for a judgement.
const MIN_INTERVALS: usize = 30;

/// The p-value below which an inflation is believed.
const MAX_P_VALUE: f64 = 0.001;

/// The inflation from which one is worth a warning.
const MIN_FACTOR: f64 = 1.25;

/// How the arms differed in one interval of time, such as between two periodic snapshots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntervalContrast {
    difference: f64,
    variance: f64,
}

impl IntervalContrast {
    /// A difference with the variance it would have if requests were independent.
    ///
    /// Fails when the difference is not finite or the variance not positive and finite.
    pub fn new(difference: f64, variance: f64) -> Result<Self, Error> {
        if !difference.is_finite() {
            return Err(Error::NotFinite { what: "difference", value: difference });
        }
        if !(variance > 0.0 && variance.is_finite()) {
            return Err(Error::NotPositive { what: "variance", value: variance });
        }
        Ok(Self { difference, variance })
    }

    /// The difference in the shares of slow (or failed) requests; pairs are (slow, requests).
    ///
    /// `None` without requests in an arm and where the shares leave no variance.
    pub fn of_shares(control: (u64, u64), variation: (u64, u64)) -> Option<Self> {
        let [(slow_a, a), (slow_b, b)] =
            [control, variation].map(|(slow, all)| (slow.min(all) as f64, all as f64));
        let pooled = (slow_a + slow_b) / (a + b);
        let variance = pooled * (1.0 - pooled) * (1.0 / a + 1.0 / b);
        Self::new(slow_b / b - slow_a / a, variance).ok()
    }
}

/// Whether the difference between the arms varied more over time than independent requests would.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VarianceInflation {
    /// The variance inflation factor: about 1 for independent requests.
    pub factor: f64,
    /// p-value against a factor of at most 1.
    pub p_value: f64,
    /// Intervals used.
    pub intervals: usize,
    /// Whether it deserves a warning: 30 intervals or more, p below 0.001, a factor above 1.25.
    pub inflated: bool,
}

impl VarianceInflation {
    /// What to multiply variances by: the factor when it deserves a warning, otherwise nothing.
    pub fn design_effect(&self) -> DesignEffect {
        if self.inflated {
            DesignEffect::new(self.factor).unwrap_or(DesignEffect::NONE)
        } else {
            DesignEffect::NONE
        }
    }
}

/// Diagnoses clustered requests and effects that change over time.
///
/// **Estimand**: the variance of the difference between the arms from interval to interval, relative to
/// what independent requests with a constant effect would give.
///
/// **Formula**: with differences d, their variances v and the inverse-variance mean d., over T intervals
///
/// ```text
/// VIF = sum (d_t - d.)^2 / v_t / (T - 1),     (T - 1) VIF ~ chi-squared with T - 1 degrees of freedom
/// ```
///
/// **Source**: Cochran's Q (Cochran 1954), as the heterogeneity test of meta-analyses.
///
/// **Assumptions**: requests of different intervals are assigned independently. **Guarantee**: asymptotic
/// in requests per interval; the p-value is for one look. Load that swings for both arms alike does not
/// inflate (0.998 simulated), sticky users do (4.95 at 20 requests each), and so does noise per arm and
/// interval.
///
/// On a warning: multiply variances by [`design_effect`](VarianceInflation::design_effect), suspend automatic
/// promotion, keep rollbacks.
///
/// `None` below two intervals.
///
/// ```
/// use latency_experiment_stats::{IntervalContrast, variance_inflation};
///
/// let swinging: Vec<IntervalContrast> = (0..40)
///     .map(|t| IntervalContrast::new(if t % 2 == 0 { 3.0 } else { -3.0 }, 1.0))
///     .collect::<Result<_, _>>()?;
/// let found = variance_inflation(&swinging).unwrap();
/// assert!(found.inflated && (found.factor - 9.23).abs() < 0.01);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn variance_inflation(intervals: &[IntervalContrast]) -> Option<VarianceInflation> {
    let count = intervals.len();
    if count < 2 {
        return None;
    }
    // Weights relative to the most precise interval neither overflow nor vanish.
    let least = intervals.iter().fold(f64::INFINITY, |least, one| f64::min(least, one.variance));
    let weight = |one: &IntervalContrast| least / one.variance;
    let total: f64 = intervals.iter().map(weight).sum();
    let mean = intervals.iter().map(|one| weight(one) / total * one.difference).sum::<f64>();
    let statistic: f64 =
        intervals.iter().map(|one| (one.difference - mean).powi(2) / one.variance).sum();
    // Differences near the largest number overflow when squared.
    let statistic = statistic.min(f64::MAX);
    let degrees = (count - 1) as f64;
    let (factor, p_value) = (statistic / degrees, chi_squared_tail(statistic, degrees));
    let inflated = count >= MIN_INTERVALS && p_value < MAX_P_VALUE && factor > MIN_FACTOR;
    Some(VarianceInflation { factor, p_value, intervals: count, inflated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(count: u32, difference: impl Fn(f64) -> f64) -> Vec<IntervalContrast> {
        let one = |t: u32| IntervalContrast::new(difference(f64::from(t)), 0.5 + f64::from(t % 3));
        (0..count).map(|t| one(t).unwrap()).collect()
    }

    #[test]
    fn a_constant_effect_is_not_inflated() {
        let calm = variance_inflation(&intervals(60, |_| 4.0)).unwrap();
        assert_eq!((calm.p_value, calm.inflated), (1.0, false));
        assert!(calm.factor < 1e-20);
        assert_eq!(calm.design_effect(), DesignEffect::NONE);
    }

    #[test]
    fn few_intervals_do_not_warn() {
        let wild = |t: f64| 50.0 * (t % 2.0);
        let few = variance_inflation(&intervals(29, wild)).unwrap();
        assert!(few.p_value < 1e-6 && !few.inflated);
        let enough = variance_inflation(&intervals(30, wild)).unwrap();
        assert!(enough.inflated && enough.design_effect().get() == enough.factor);
        assert_eq!(variance_inflation(&intervals(1, wild)), None);
    }

    #[test]
    fn impossible_intervals_are_refused() {
        assert!(IntervalContrast::new(f64::NAN, 1.0).is_err());
        assert!(IntervalContrast::new(1.0, 0.0).is_err());
        assert_eq!(IntervalContrast::of_shares((0, 0), (1, 5)), None);
        assert_eq!(IntervalContrast::of_shares((5, 5), (7, 7)), None);
        let shares = IntervalContrast::of_shares((10, 100), (30, 100)).unwrap();
        assert!((shares.difference - 0.2).abs() < 1e-15);
        assert!((shares.variance - 0.2 * 0.8 * 0.02).abs() < 1e-15);
        let huge = [f64::MAX, -f64::MAX].map(|d| IntervalContrast::new(d, 1e-300).unwrap());
        assert!(variance_inflation(&huge).unwrap().factor.is_finite());
    }
}
