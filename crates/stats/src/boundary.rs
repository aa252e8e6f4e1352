use crate::special::{quantile, two_sided};
use crate::{Alpha, Error, Evidence, NormalMixture};

/// The harmonic information at which a confidence sequence is tightest: n* in requests, where a
/// comparison of `n_a` with `n_b` requests has information `n_a n_b / (n_a + n_b)`.
///
/// At an even split that is a quarter of all requests, at a small share about the variation's requests.
/// Fix it before the data; the best choice is the information at which the experiment is planned to end.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct TunedFor(f64);

impl TunedFor {
    /// Tightest at 20,000 requests of an even split.
    pub const DEFAULT: Self = Self(5_000.0);

    /// The floor. Tuned for less, the boundaries act on samples too small for their normal
    /// approximation and miss up to 13 % at a nominal 5 %.
    pub const MIN: Self = Self(1_000.0);

    /// Checks that `information` is finite and at least [`TunedFor::MIN`].
    pub fn new(information: f64) -> Result<Self, Error> {
        if information.is_finite() && information >= Self::MIN.0 {
            Ok(Self(information))
        } else {
            Err(Error::TunedForTooLittle { value: information })
        }
    }

    /// `information`, raised to the floor where it lies below (or is not a number).
    pub fn at_least_min(information: f64) -> Self {
        // `max` prefers the number where one side is not.
        let floored = information.max(Self::MIN.0);
        Self(if floored.is_finite() { floored } else { f64::MAX })
    }

    /// The information, in requests.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for TunedFor {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How often the analysis may be looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Boundary {
    /// At every moment: the interval holds at all looks together with probability 1 - alpha.
    ConfidenceSequence {
        /// Where the interval is tightest.
        tuned_for: TunedFor,
    },
    /// Once, at a sample size fixed in advance. Looking more often rejects a true null hypothesis in
    /// most experiments.
    FixedN,
}

impl Default for Boundary {
    fn default() -> Self {
        Self::ConfidenceSequence { tuned_for: TunedFor::DEFAULT }
    }
}

impl Boundary {
    /// Half width of the interval in standard errors; infinite without information.
    pub(crate) fn radius(self, information: f64, alpha: Alpha) -> f64 {
        match self {
            Self::ConfidenceSequence { tuned_for } => {
                Self::mixture(tuned_for, alpha).radius(information, alpha)
            }
            Self::FixedN if information > 0.0 => -quantile(0.5 * alpha.get()),
            Self::FixedN => f64::INFINITY,
        }
    }

    /// What a statistic of `z` standard errors says about a difference of zero.
    ///
    /// At level alpha it rejects exactly when [`radius`](Self::radius) is below |z|.
    pub(crate) fn evidence(self, z: f64, information: f64, alpha: Alpha) -> Evidence {
        match self {
            Self::ConfidenceSequence { tuned_for } => {
                Evidence::sequential(z, Self::mixture(tuned_for, alpha).log_e(z, information))
            }
            Self::FixedN => Evidence { z, log_e: None, p_value: two_sided(z) },
        }
    }

    /// Evidence when there are no data to judge by.
    pub(crate) fn no_evidence(self) -> Evidence {
        Evidence::none(matches!(self, Self::ConfidenceSequence { .. }))
    }

    fn mixture(tuned_for: TunedFor, alpha: Alpha) -> NormalMixture {
        NormalMixture::tuned(tuned_for.get(), alpha)
    }
}
