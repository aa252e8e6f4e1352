use std::fmt;

use crate::Error;

/// Declares a number strictly between 0 and 1 that is checked once, at the edge.
macro_rules! open_unit_interval {
    ($(#[$docs:meta])* $name:ident, $what:literal) => {
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $name(f64);

        impl $name {
            /// Checks that `value` is strictly between 0 and 1.
            pub fn new(value: f64) -> Result<Self, Error> {
                if value > 0.0 && value < 1.0 {
                    Ok(Self(value))
                } else {
                    Err(Error::NotAProbability { what: $what, value })
                }
            }

            /// The number.
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = Error;

            fn try_from(value: f64) -> Result<Self, Error> {
                Self::new(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

open_unit_interval! {
    /// The level of a quantile, strictly between 0 and 1: 0.99 is the p99.
    Quantile, "quantile"
}

open_unit_interval! {
    /// The error probability of an interval or a test, strictly between 0 and 1.
    Alpha, "alpha"
}

open_unit_interval! {
    /// The probability that a planned experiment finds the effect it was planned for.
    Power, "power"
}

open_unit_interval! {
    /// The share of requests that the variation gets, out of those of the variation and the control
    /// together.
    Share, "share"
}

impl Quantile {
    /// The median.
    pub const P50: Self = Self(0.5);
    /// The 95th percentile.
    pub const P95: Self = Self(0.95);
    /// The 99th percentile.
    pub const P99: Self = Self(0.99);
}

impl Alpha {
    /// The level of a report unless the plan says otherwise: 0.05.
    pub const DEFAULT: Self = Self(0.05);

    /// One of `parts` equal parts of the level, for a Bonferroni correction. Zero parts count as one.
    #[must_use]
    pub fn split(self, parts: usize) -> Self {
        // The smallest positive number keeps the invariant when the division underflows.
        Self((self.0 / parts.max(1) as f64).max(f64::MIN_POSITIVE))
    }

    /// ln(1/alpha): the log e-value at which a test of this level rejects.
    pub fn log_threshold(self) -> f64 {
        -self.0.ln()
    }

    /// C(alpha) = 2 ln(1/alpha) + ln(1 + 2 ln(1/alpha)), which places the tightest point of a mixture
    /// boundary of level alpha (Waudby-Smith et al. 2024, after Howard et al. 2021, section 3.5).
    pub(crate) fn tuning_constant(self) -> f64 {
        let two_log = 2.0 * self.log_threshold();
        two_log + two_log.ln_1p()
    }

    /// The level whose tuning constant a one-sided boundary uses: 2 alpha, kept below 1 because the
    /// constant vanishes there.
    pub(crate) fn doubled(self) -> Self {
        Self((2.0 * self.0).min(0.99))
    }
}

impl Power {
    /// An even chance: the median run length of a sequential experiment.
    pub const MEDIAN: Self = Self(0.5);
    /// The customary 80 %.
    pub const DEFAULT: Self = Self(0.8);
}

impl Share {
    /// Half of the requests.
    pub const HALF: Self = Self(0.5);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_and_nan_are_refused() {
        for value in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Quantile::new(value).is_err(), "{value}");
        }
        assert_eq!(
            Alpha::new(1.5).unwrap_err().to_string(),
            "alpha 1.5 must be strictly between 0 and 1"
        );
    }

    #[test]
    fn tuning_constant_has_its_published_values() {
        assert!((Alpha::new(0.05).unwrap().tuning_constant() - 7.9361).abs() < 1e-4);
        assert!((Alpha::new(0.01).unwrap().tuning_constant() - 11.534).abs() < 5e-4);
    }

    #[test]
    fn splitting_never_reaches_zero() {
        assert_eq!(Alpha::DEFAULT.split(2).get(), 0.025);
        assert_eq!(Alpha::DEFAULT.split(0), Alpha::DEFAULT);
        assert!(Alpha(f64::MIN_POSITIVE).split(usize::MAX).get() > 0.0);
    }
}
