use crate::special::{increasing_root, ln_cdf};
use crate::{Alpha, Error};

/// The two-sided normal mixture boundary, which turns a running z-score into an interval and an e-value
/// that are valid at every look.
///
/// **Formula**:
///
/// ```text
/// x      = C(alpha) information / tuned_for
/// ln E   = -1/2 ln(1 + x) + 1/2 z^2 x / (1 + x)
/// radius = sqrt((1 + x) / x (ln(1 + x) + 2 ln(1/alpha)))   in standard errors
/// ```
///
/// C(alpha) = 2 ln(1/alpha) + ln(1 + 2 ln(1/alpha)) puts the tightest point at `tuned_for`.
///
/// **Source**: Robbins 1970; Howard et al. 2021, eq. 14; as an asymptotic confidence sequence with estimated
/// variance Waudby-Smith et al. 2024, Theorem 2.2. The same as the mixture sequential probability ratio
/// test with a plug-in variance.
///
/// **Guarantee**: for every sequence of looks, P(exists a look with E >= 1/alpha) <= alpha under the null
/// hypothesis, exactly for Gaussian increments with known variance and asymptotically otherwise.
///
/// Information is any quantity that grows like 1 / variance of the estimate: harmonic requests, requests,
/// or pairs of blocks, the same as in `tuned_for`.
///
/// ```
/// use latency_experiment_stats::{Alpha, NormalMixture};
///
/// let mixture = NormalMixture::new(5_000.0, Alpha::DEFAULT)?;
/// // Peeking costs: the fixed-n interval would be 1.96 standard errors wide on each side.
/// assert!((mixture.radius(5_000.0, Alpha::DEFAULT) - 3.0).abs() < 0.05);
/// assert!(mixture.log_e(4.0, 5_000.0).exp() > 20.0);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormalMixture {
    rho: f64,
}

impl NormalMixture {
    /// A boundary of level `alpha` that is tightest where the information is `tuned_for`.
    ///
    /// `tuned_for` must be positive and finite. For requests use [`Boundary`](crate::Boundary), whose
    /// [`TunedFor`](crate::TunedFor) also keeps the floor below which the approximation fails.
    pub fn new(tuned_for: f64, alpha: Alpha) -> Result<Self, Error> {
        check_tuning(tuned_for)?;
        Ok(Self::tuned(tuned_for, alpha))
    }

    pub(crate) fn tuned(tuned_for: f64, alpha: Alpha) -> Self {
        Self { rho: tuned_for / alpha.tuning_constant() }
    }

    /// Half width of the confidence sequence of level `alpha`, in standard errors.
    ///
    /// Infinite without information.
    pub fn radius(self, information: f64, alpha: Alpha) -> f64 {
        let x = information / self.rho;
        if x > 0.0 && x.is_finite() {
            ((1.0 + x) / x * (x.ln_1p() + 2.0 * alpha.log_threshold())).sqrt()
        } else {
            f64::INFINITY
        }
    }

    /// ln E for the hypothesis that the statistic of `z` standard errors has mean zero.
    ///
    /// 0 without information and for a z that is not a number.
    pub fn log_e(self, z: f64, information: f64) -> f64 {
        let x = information / self.rho;
        if !(x > 0.0 && x.is_finite()) || z.is_nan() {
            return 0.0;
        }
        0.5 * (z * z * (x / (1.0 + x)) - x.ln_1p())
    }
}

/// The one-sided normal mixture, for "is the mean above zero?".
///
/// **Formula**: with Phi the normal distribution function,
///
/// ```text
/// x    = C(2 alpha) information / tuned_for
/// ln E = 1/2 ln(4 / (1 + x)) + 1/2 z^2 x / (1 + x) + ln Phi(z sqrt(x / (1 + x)))
/// ```
///
/// **Source**: Howard et al. 2021, section 3.2, the one-sided normal mixture. **Guarantee**: as for
/// [`NormalMixture`], with the null hypothesis "at most zero at every time".
///
/// **Numerics**: ln Phi by a continued fraction in the far tail, so that strongly negative z give finite
/// logarithms; the radius solves ln E = ln(1/alpha) to 1e-13.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneSidedNormalMixture {
    rho: f64,
}

impl OneSidedNormalMixture {
    /// A boundary of level `alpha` that is tightest where the information is `tuned_for`, which must be
    /// positive and finite. Levels from 0.495 on are tuned as 0.495.
    pub fn new(tuned_for: f64, alpha: Alpha) -> Result<Self, Error> {
        check_tuning(tuned_for)?;
        Ok(Self { rho: tuned_for / alpha.doubled().tuning_constant() })
    }

    /// How many standard errors below the estimate the one-sided confidence sequence of level `alpha`
    /// ends. Infinite without information.
    pub fn radius(self, information: f64, alpha: Alpha) -> f64 {
        let x = information / self.rho;
        if !(x > 0.0 && x.is_finite()) {
            return f64::INFINITY;
        }
        let threshold = alpha.log_threshold();
        let excess = |z: f64| self.log_e(z, information) - threshold;
        // ln E is at most 0 at z = 0, and at least that of the two-sided mixture of the same rho above:
        // the root lies below the two-sided radius.
        let high = ((1.0 + x) / x * (x.ln_1p() + 2.0 * threshold)).sqrt();
        increasing_root(excess, 0.0, high, 1e-13 * high)
    }

    /// ln E for the hypothesis that the statistic of `z` standard errors has mean at most zero.
    ///
    /// 0 without information and for a z that is not a number.
    pub fn log_e(self, z: f64, information: f64) -> f64 {
        let x = information / self.rho;
        if !(x > 0.0 && x.is_finite()) || z.is_nan() {
            return 0.0;
        }
        let shrinkage = x / (1.0 + x);
        let tail = ln_cdf(z * shrinkage.sqrt());
        // Both terms grow without bound in opposite directions when z is very negative.
        0.5 * ((4.0_f64).ln() - x.ln_1p() + z * z * shrinkage) + tail
    }
}

fn check_tuning(tuned_for: f64) -> Result<(), Error> {
    if tuned_for > 0.0 && tuned_for.is_finite() {
        Ok(())
    } else {
        Err(Error::NotPositive { what: "tuned_for", value: tuned_for })
    }
}
