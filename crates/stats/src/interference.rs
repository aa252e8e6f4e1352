use crate::special::{quantile as normal_quantile, t_two_sided};
use crate::{Alpha, Distribution, Quantile, quantile_confidence_interval};

/// The level of the intervals from which standard errors are read.
const ERROR_LEVEL: f64 = 0.05;

/// The control's latencies in one epoch, and how much of the requests the variation took then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlEpoch<'a> {
    /// Share of all requests that the variations were assigned, 0 to 1.
    pub share: f64,
    /// Latencies of the control.
    pub control: &'a Distribution,
}

/// Whether the control moved with the split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interference {
    /// Change of ln median of the control per unit of the share: 0.5 means that it is 65 % slower when
    /// everything else runs the variation than when nothing does.
    pub slope: f64,
    /// p-value against a slope of 0.
    pub p_value: f64,
    /// Epochs used.
    pub epochs: usize,
}

/// Looks for interference: a control whose median moves when the split changes.
///
/// **Estimand**: the slope of ln median of the control over the share of requests in the variations. Arms
/// that share workers, caches or databases slow each other down, which a comparison of arms at one split
/// cannot see.
///
/// **Formula**: least squares weighted by the inverse variance of ln median, whose standard error is the
/// width of the order-statistic interval over 2 z; the slope's error is widened by the root of the residual
/// chi-squared per degree of freedom where that exceeds 1, and judged by t with epochs - 2 degrees.
///
/// **Source**: random-effects meta-regression in its multiplicative form, Thompson & Sharp 1999.
///
/// **Guarantee**: a warning, not a test: load that changes together with the split looks the same, and three or
/// four epochs find only large slopes. A [`switchback`](crate::switchback) measures the effect.
///
/// `None` with fewer than three epochs whose median has a finite positive interval, or without a change of
/// the share. Shares that are not numbers from 0 to 1 are left out.
///
/// ```
/// use latency_experiment_stats::{ControlEpoch, Distribution, interference};
///
/// // The control slows down as more requests go to a variation that occupies the workers for longer.
/// let epochs = [(0.01, 1_000), (0.05, 1_021), (0.25, 1_130), (0.5, 1_284)].map(|(share, base)| {
///     (share, Distribution::from_points((0..400).map(|step| (base + step, 50))).unwrap())
/// });
/// let epochs = epochs.each_ref().map(|(share, control)| ControlEpoch { share: *share, control });
/// let found = interference(&epochs).unwrap();
/// assert!((found.slope - 0.43).abs() < 0.01 && found.p_value < 0.001);
/// ```
pub fn interference(epochs: &[ControlEpoch<'_>]) -> Option<Interference> {
    let points: Vec<Point> = epochs.iter().filter_map(Point::of).collect();
    let total: f64 = points.iter().map(|point| point.weight).sum();
    let mean = |value: &dyn Fn(&Point) -> f64| {
        points.iter().map(|point| point.weight / total * value(point)).sum::<f64>()
    };
    let (share, log_median) = (mean(&|point| point.share), mean(&|point| point.log_median));
    let spread = mean(&|point| (point.share - share).powi(2));
    // Equal shares differ from their mean by rounding.
    if points.len() < 3 || spread <= 1e-12 {
        return None;
    }
    let slope = mean(&|point| (point.share - share) * (point.log_median - log_median)) / spread;
    let residual = |point: &Point| point.log_median - log_median - slope * (point.share - share);
    let degrees = points.len() as f64 - 2.0;
    let dispersion = total * mean(&|point| residual(point).powi(2)) / degrees;
    let error = (dispersion.max(1.0) / (total * spread)).sqrt();
    let t = (slope / error).clamp(f64::MIN, f64::MAX);
    let finite = slope.is_finite() && !t.is_nan();
    finite.then(|| Interference { slope, p_value: t_two_sided(t, degrees), epochs: points.len() })
}

struct Point {
    share: f64,
    log_median: f64,
    /// Inverse variance of the logarithm of the median.
    weight: f64,
}

impl Point {
    fn of(epoch: &ControlEpoch<'_>) -> Option<Self> {
        let alpha = Alpha::new(ERROR_LEVEL).ok()?;
        let median = quantile_confidence_interval(epoch.control, Quantile::P50, alpha);
        // An interval within one bucket has that bucket's width; a single value at least a unit.
        let (lower, upper) = (median.lower.max(1.0), median.upper.max(median.lower + 1.0));
        let error = (upper / lower).ln() / (-2.0 * normal_quantile(0.5 * ERROR_LEVEL));
        let log_median = median.point?.max(1.0).ln();
        let usable = (0.0..=1.0).contains(&epoch.share)
            && median.lower.is_finite()
            && error > 0.0
            && error.is_finite();
        usable.then_some(Self { share: epoch.share, log_median, weight: (error * error).recip() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(base: u64) -> Distribution {
        Distribution::from_points((0..300).map(|step| (base + 2 * step, 40))).unwrap()
    }

    fn look(epochs: &[(f64, &Distribution)]) -> Option<Interference> {
        let epochs = epochs.iter().map(|&(share, control)| ControlEpoch { share, control });
        let epochs: Vec<ControlEpoch<'_>> = epochs.collect();
        interference(&epochs)
    }

    #[test]
    fn a_control_that_stands_still_is_no_interference() {
        let (same, near) = (control(500), control(502));
        let still = look(&[(0.01, &same), (0.1, &near), (0.3, &same), (0.5, &near)]).unwrap();
        assert!(still.p_value > 0.05 && still.epochs == 4, "{still:?}");
        // Moves that the split does not explain widen the error.
        let (slow, fast) = (control(900), control(300));
        let drift = look(&[(0.01, &slow), (0.1, &fast), (0.3, &slow), (0.5, &same)]).unwrap();
        assert!(drift.p_value > 0.05, "{drift:?}");
    }

    #[test]
    fn too_little_to_judge_is_none() {
        let (some, empty) = (control(500), Distribution::default());
        let few = Distribution::from_points([(5, 2)]).unwrap();
        assert_eq!(look(&[]), None);
        assert_eq!(look(&[(0.1, &some), (0.5, &some)]), None);
        assert_eq!(look(&[(0.1, &some); 5]), None);
        assert_eq!(look(&[(0.1, &some), (0.5, &some), (0.7, &empty), (0.9, &few)]), None);
        assert_eq!(look(&[(0.1, &some), (0.5, &some), (f64::NAN, &some)]), None);
        let failing = empty.with_at_infinity(90).unwrap();
        assert_eq!(look(&[(0.1, &failing), (0.5, &failing), (0.9, &failing)]), None);
    }
}
