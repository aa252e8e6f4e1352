use crate::special::{t_critical, t_two_sided};
use crate::{Alpha, Distribution, Error, Estimate};

/// A comparison of two means by Welch's t test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// The t statistic; positive means that the variation is slower. Always finite.
    pub t: f64,
    /// Welch-Satterthwaite degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Two-sided p-value for one look at the planned sample size.
    pub p_value: f64,
    /// Variation minus control, or variation over control for logarithms.
    pub effect: Estimate,
}

/// Welch's t test on the values: the difference of the arithmetic means.
///
/// **Estimand**: mean of the variation minus mean of the control. **Formula**: with s^2 the sample variances,
///
/// ```text
/// t  = (m_B - m_A) / sqrt(s_A^2 / n_A + s_B^2 / n_B)
/// df = (s_A^2 / n_A + s_B^2 / n_B)^2 / [ (s_A^2 / n_A)^2 / (n_A - 1) + (s_B^2 / n_B)^2 / (n_B - 1) ]
/// ```
///
/// **Source**: Welch 1947; scipy's `ttest_ind(equal_var=False)`.
///
/// **Assumptions**: independent requests, finite variances. Skewed latencies need many requests: on small
/// shares its error is far off, which is why [`mean_effect`](crate::mean_effect) takes the larger
/// coefficient of variation of both arms. **Guarantee**: asymptotic, **for one look at a sample size fixed
/// in advance**.
///
/// **Behaviour at the edges**: `None` with fewer than two requests in an arm, where an arm has no mean
/// (observations at infinity), and when neither arm has any spread.
///
/// ```
/// use latency_experiment_stats::{Alpha, Distribution, welch};
///
/// let control = Distribution::from_points([(10, 5), (12, 5)])?;
/// let variation = Distribution::from_points([(13, 5), (15, 5)])?;
/// let test = welch(&control, &variation, Alpha::DEFAULT).unwrap();
/// assert_eq!((test.effect.point, test.degrees_of_freedom), (Some(3.0), 18.0));
/// assert!(test.p_value < 1e-4);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn welch(control: &Distribution, variation: &Distribution, alpha: Alpha) -> Option<Welch> {
    let of = |arm: &Distribution| Sample::new(arm.count(), arm.mean()?, arm.variance()?);
    of(control)?.compare(of(variation)?, alpha)
}

/// Welch's t test on the logarithms of the values: the ratio of the geometric means.
///
/// **Estimand**: geometric mean of the variation over that of the control. **Formula**: [`welch`] on ln of the
/// geometric bucket midpoints, the interval of the difference then exponentiated. Latencies are closer to
/// lognormal than to normal, so that it needs fewer requests than `welch` to be accurate and to find a
/// change. **Source, assumptions, guarantee, edges**: as for `welch`; values below one unit count as one.
pub fn welch_log(control: &Distribution, variation: &Distribution, alpha: Alpha) -> Option<Welch> {
    let of = |arm: &Distribution| Sample::new(arm.count(), arm.log_mean()?, arm.log_variance()?);
    of(control)?.compare(of(variation)?, alpha).map(Welch::exponentiated)
}

impl Welch {
    /// The comparison of logarithms as one of ratios.
    pub(crate) fn exponentiated(self) -> Self {
        let Estimate { point, lower, upper, alpha } = self.effect;
        let effect =
            Estimate { point: point.map(f64::exp), lower: lower.exp(), upper: upper.exp(), alpha };
        Self { effect, ..self }
    }
}

/// Size, mean and variance of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Sample {
    pub(crate) fn new(count: u64, mean: f64, variance: f64) -> Option<Self> {
        (count >= 2).then_some(Self { count: count as f64, mean, variance })
    }

    /// The sample of the logarithms of positive `values`.
    ///
    /// `None` below two of them. Fails on a value that is not positive and finite, named `what`.
    pub(crate) fn of_logarithms(values: &[f64], what: &'static str) -> Result<Option<Self>, Error> {
        if let Some(&value) = values.iter().find(|value| !(**value > 0.0 && value.is_finite())) {
            return Err(Error::NotPositive { what, value });
        }
        let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        Ok(Self::of(&logarithms))
    }

    /// The sample of finite `values`; `None` below two of them.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        // Around the first value, so that equal values have a variance of exactly 0.
        let center = *values.first()?;
        let mean = center + values.iter().map(|value| value - center).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self::new(values.len() as u64, mean, squares / (count - 1.0))
    }

    pub(crate) fn mean(self) -> f64 {
        self.mean
    }

    /// Squared standard error of the mean.
    pub(crate) fn squared_error(self) -> f64 {
        self.variance / self.count
    }

    /// Welch's test of `other` minus this one.
    pub(crate) fn compare(self, other: Self, alpha: Alpha) -> Option<Welch> {
        let (a, b) = (self.squared_error(), other.squared_error());
        let squared = a + b;
        // Shares of the variance, so that squares of small numbers do not vanish.
        let (share_a, share_b) = (a / squared, b / squared);
        let degrees = 1.0
            / (share_a * share_a / (self.count - 1.0) + share_b * share_b / (other.count - 1.0));
        if !(squared > 0.0 && squared.is_finite() && degrees > 0.0) {
            return None;
        }
        let (difference, error) = (other.mean - self.mean, squared.sqrt());
        let half_width = t_critical(alpha.get(), degrees) * error;
        let t = (difference / error).clamp(f64::MIN, f64::MAX);
        Some(Welch {
            t,
            degrees_of_freedom: degrees,
            p_value: t_two_sided(t, degrees),
            effect: Estimate {
                point: Some(difference),
                lower: difference - half_width,
                upper: difference + half_width,
                alpha,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_to_compare_is_none() {
        let arm =
            |points: &[(u64, u64)]| Distribution::from_points(points.iter().copied()).unwrap();
        let some = arm(&[(1, 5), (2, 5)]);
        let failing = some.with_at_infinity(1).unwrap();
        let tied = arm(&[(7, 9)]);
        for (a, b) in [
            (&some, &Distribution::default()),
            (&some, &arm(&[(3, 1)])),
            (&some, &failing),
            (&tied, &tied),
        ] {
            assert_eq!(welch(a, b, Alpha::DEFAULT), None);
            assert_eq!(welch_log(a, b, Alpha::DEFAULT), None);
        }
        // One arm without spread leaves the degrees of freedom of the other.
        let one = welch(&some, &tied, Alpha::DEFAULT).unwrap();
        assert_eq!(one.degrees_of_freedom, 9.0);
    }
}
