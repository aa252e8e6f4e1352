use crate::Error;

/// By what factor the variance of an estimate exceeds that of independent requests.
///
/// Give it to [`Comparison::with_design_effect`](crate::Comparison::with_design_effect). From random groups of
/// sticky subjects ([`random_groups`](crate::random_groups)) or from a
/// [`VarianceInflation`](crate::VarianceInflation).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct DesignEffect(f64);

impl DesignEffect {
    /// Independent requests.
    pub const NONE: Self = Self(1.0);

    /// Checks that `factor` is positive and finite.
    pub fn new(factor: f64) -> Result<Self, Error> {
        if factor > 0.0 && factor.is_finite() {
            Ok(Self(factor))
        } else {
            Err(Error::NotPositive { what: "design effect", value: factor })
        }
    }

    /// The factor.
    pub fn get(self) -> f64 {
        self.0
    }
}
