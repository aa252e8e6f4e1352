use crate::special::{deviance, increasing_root, ln_beta_cdf, stirling_error};
use crate::{Alpha, Error};

/// The smallest concentration of the prior: tunings for a handful of trials would ask for a negative one.
const MIN_CONCENTRATION: f64 = 1e-3;

/// The beta-binomial mixture: an e-value for "each trial succeeds with probability p" that is exact at
/// every look.
///
/// **Formula**: for k successes in n trials, with B the beta function,
///
/// ```text
/// ln E = ln B(p K + k, (1-p) K + n - k) - ln B(p K, (1-p) K) - k ln p - (n-k) ln(1-p)
/// K    = tuned_for / C(alpha) - 1
/// ```
///
/// One-sided, for "succeeds with more than p", both beta functions are integrals over the rates above p,
/// and the tuning constant is C(2 alpha).
///
/// **Source**: Howard et al. 2021, section 3.2, the one- and two-sided beta-binomial mixtures; the same as
/// `confseq`'s `beta_binomial_log_mixture`.
///
/// **Guarantee**: P(E ever reaches 1/alpha) <= alpha when every trial succeeds with probability p (one-sided:
/// at most p) given the past. Exact for every n, no approximation.
///
/// `tuned_for` is the number of trials at which the boundary of level alpha is tightest. K is at least
/// 0.001.
///
/// **Numerics**: written with deviances and Stirling errors, ln E is exact to 1e-6 at n = 1e9 and exactly 0
/// at n = 0.
///
/// ```
/// use latency_experiment_stats::{Alpha, BetaBinomial};
///
/// let fair = BetaBinomial::new(0.5, 1_000.0, Alpha::DEFAULT)?;
/// assert!(fair.log_e(510, 1_000) < 0.0);
/// assert!(fair.log_e(600, 1_000).exp() > 1e5);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BetaBinomial {
    success: f64,
    two_sided: Prior,
    one_sided: Prior,
}

impl BetaBinomial {
    /// A boundary for the probability `success`, strictly between 0 and 1, that is tightest after `tuned_for`
    /// trials at level `alpha`.
    pub fn new(success: f64, tuned_for: f64, alpha: Alpha) -> Result<Self, Error> {
        if !(success > 0.0 && success < 1.0) {
            return Err(Error::NotAProbability { what: "success probability", value: success });
        }
        if !(tuned_for > 0.0 && tuned_for.is_finite()) {
            return Err(Error::NotPositive { what: "tuned_for", value: tuned_for });
        }
        Ok(Self {
            success,
            two_sided: Prior::new(success, tuned_for / alpha.tuning_constant() - 1.0),
            one_sided: Prior::new(success, tuned_for / alpha.doubled().tuning_constant() - 1.0),
        })
    }

    /// ln E after `successes` in `trials`; more successes than trials count as all of them.
    pub fn log_e(&self, successes: u64, trials: u64) -> f64 {
        self.log_e_at(successes.min(trials) as f64, trials as f64)
    }

    /// ln E against "at most this probability" after `successes` in `trials`.
    pub fn log_e_one_sided(&self, successes: u64, trials: u64) -> f64 {
        let (k, n) = (successes.min(trials) as f64, trials as f64);
        let (p, Prior { a, b, .. }) = (self.success, self.one_sided);
        let above =
            |successes: f64, failures: f64| ln_beta_cdf(1.0 - p, p, b + failures, a + successes);
        self.one_sided.log_e(k, n, p) + above(k, n - k) - above(0.0, 0.0)
    }

    /// [`log_e`](Self::log_e) at a real number of successes, for searching.
    pub(crate) fn log_e_at(&self, successes: f64, trials: f64) -> f64 {
        self.two_sided.log_e(successes, trials, self.success)
    }

    /// Standard deviation of the normal approximation around the hypothesised count.
    pub(crate) fn spread_at(&self, trials: f64) -> f64 {
        let Prior { a, b, .. } = self.two_sided;
        ((a + b + trials) * self.success * (1.0 - self.success)).sqrt()
    }

    /// Derivative of [`log_e_at`](Self::log_e_at) in the successes, to the accuracy of a search step.
    pub(crate) fn slope_at(&self, successes: f64, trials: f64) -> f64 {
        let success = (self.two_sided.a + successes - 0.5).max(0.05);
        let failure = (self.two_sided.b + trials - successes - 0.5).max(0.05);
        (success / failure).ln() - (self.success / (1.0 - self.success)).ln()
    }
}

/// Confidence sequence for a success probability: every p that [`BetaBinomial`] tuned for `tuned_for`
/// trials at level 0.05 does not reject at level `alpha`.
///
/// **Guarantee**: with probability 1 - alpha the interval holds the true probability at all looks, exactly
/// for every n when trials are independent with a constant probability. **Numerics**: each end solves
/// ln E = ln(1/alpha) to 1e-13. Without trials it is \[0, 1\].
///
/// **Source**: `confseq`'s `bernoulli_confidence_interval`.
pub fn bernoulli_confidence_sequence(
    successes: u64,
    trials: u64,
    tuned_for: f64,
    alpha: Alpha,
) -> Result<(f64, f64), Error> {
    let (success, failure) = bernoulli_bounds(successes, trials, tuned_for, alpha)?;
    Ok((success, 1.0 - failure))
}

/// The least probability of success, and that of failure, in [`bernoulli_confidence_sequence`]: near 1 the
/// complement keeps the digits.
pub(crate) fn bernoulli_bounds(
    successes: u64,
    trials: u64,
    tuned_for: f64,
    alpha: Alpha,
) -> Result<(f64, f64), Error> {
    // The reference tunes at a fixed level, so that intervals of different levels nest.
    let probe = BetaBinomial::new(0.5, tuned_for, Alpha::DEFAULT)?;
    if trials == 0 {
        return Ok((0.0, 0.0));
    }
    let concentration = probe.two_sided.a + probe.two_sided.b;
    let (k, n) = (successes.min(trials) as f64, trials as f64);
    let lower = |k: f64| lowest_probability(k, n, concentration, alpha.log_threshold());
    // Successes with p are failures with 1 - p.
    Ok((lower(k), lower(n - k)))
}

/// The smallest p at which ln E of `k` successes in `n` trials is below `threshold`.
fn lowest_probability(k: f64, n: f64, concentration: f64, threshold: f64) -> f64 {
    // ln E overflows closer to 0, and is settled there.
    const SMALLEST: f64 = 1e-200;
    let excess = |p: f64| Prior::new(p, concentration).log_e(k, n, p) - threshold;
    if k == 0.0 || excess(SMALLEST) < 0.0 {
        return 0.0;
    }
    let observed = (k / n).min(1.0 - f64::EPSILON);
    increasing_root(|p| -excess(p), SMALLEST, observed, 1e-14 * observed)
}

/// ln of the Dirichlet-multinomial Bayes factor: counts `observed` against the probabilities `shares`, which
/// sum to 1, with a Dirichlet prior of mean `shares` and the given concentration.
///
/// Shares of zero are skipped. Two categories give the beta-binomial mixture.
pub(crate) fn dirichlet_log_e(observed: &[u64], shares: &[f64], concentration: f64) -> f64 {
    let total: f64 = observed.iter().map(|count| *count as f64).sum();
    let counts = observed.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    let categories = counts.map(|(count, share)| {
        let prior = share * concentration;
        let difference = *count as f64 - total * share;
        gamma_part(prior, *count as f64) + deviance(difference, share * (total + concentration))
    });
    categories.sum::<f64>() - gamma_part(concentration, total)
}

/// lnGamma(prior + count) - lnGamma(prior) without the terms that the deviance holds.
fn gamma_part(prior: f64, count: f64) -> f64 {
    stirling_error(prior + count) - stirling_error(prior) - 0.5 * (count / prior).ln_1p()
}

/// A beta prior around the hypothesised probability, with the parts of ln E that do not depend on data.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Prior {
    a: f64,
    b: f64,
    errors: f64,
}

impl Prior {
    fn new(success: f64, concentration: f64) -> Self {
        let concentration = concentration.max(MIN_CONCENTRATION);
        let (a, b) = (success * concentration, (1.0 - success) * concentration);
        let errors = stirling_error(a) + stirling_error(b) - stirling_error(a + b);
        Self { a, b, errors }
    }

    fn log_e(&self, k: f64, n: f64, p: f64) -> f64 {
        if n == 0.0 {
            return 0.0;
        }
        let Self { a, b, errors } = *self;
        let total = a + b;
        let failures = n - k;
        let difference = k - n * p;
        deviance(difference, p * (total + n)) + deviance(-difference, (1.0 - p) * (total + n))
            - 0.5 * ((k / a).ln_1p() + (failures / b).ln_1p() - (n / total).ln_1p())
            + stirling_error(a + k)
            + stirling_error(b + failures)
            - stirling_error(total + n)
            - errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_categories_are_the_beta_binomial() {
        let mixture = BetaBinomial::new(0.3, 900.0, Alpha::DEFAULT).unwrap();
        let concentration = mixture.two_sided.a + mixture.two_sided.b;
        for (k, n) in [(0, 7), (7, 7), (310, 1_000), (1, 100_000)] {
            let other = dirichlet_log_e(&[k, n - k], &[0.3, 0.7], concentration);
            assert!((mixture.log_e(k, n) - other).abs() < 1e-9, "{k} of {n}");
        }
    }

    #[test]
    fn no_trials_are_no_evidence() {
        for (p, tuned_for) in [(0.5, 1.0), (1e-9, 1e9), (0.999, 1e-3)] {
            let mixture = BetaBinomial::new(p, tuned_for, Alpha::DEFAULT).unwrap();
            assert_eq!(mixture.log_e(0, 0), 0.0);
            assert_eq!(mixture.log_e_one_sided(0, 0), 0.0);
        }
        assert_eq!(bernoulli_confidence_sequence(0, 0, 100.0, Alpha::DEFAULT), Ok((0.0, 1.0)));
    }

    #[test]
    fn expectation_under_the_null_hypothesis_is_one() {
        let mixture = BetaBinomial::new(0.2, 30.0, Alpha::DEFAULT).unwrap();
        let n = 12;
        let (mut two, mut one, mut binomial) = (0.0, 0.0, 0.8_f64.powi(n));
        for k in 0..=n {
            two += binomial * mixture.log_e(k as u64, n as u64).exp();
            one += binomial * mixture.log_e_one_sided(k as u64, n as u64).exp();
            binomial *= f64::from(n - k) / f64::from(k + 1) * 0.25;
        }
        assert!((two - 1.0).abs() < 1e-12 && (one - 1.0).abs() < 1e-12, "{two} {one}");
    }
}
