use crate::Alpha;

/// A point estimate, its interval and the level of the interval, which never travel apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The point estimate; `None` where the data do not determine one.
    pub point: Option<f64>,
    /// Lower end: negative infinity, or 0 for a ratio, when the data do not bound it.
    pub lower: f64,
    /// Upper end: infinity when the data do not bound it.
    pub upper: f64,
    /// Probability with which the interval may miss, over all looks for a confidence sequence.
    pub alpha: Alpha,
}

impl Estimate {
    /// A difference about which nothing is known.
    pub fn unknown_difference(alpha: Alpha) -> Self {
        Self { point: None, lower: f64::NEG_INFINITY, upper: f64::INFINITY, alpha }
    }

    /// A ratio about which nothing is known.
    pub fn unknown_ratio(alpha: Alpha) -> Self {
        Self { point: None, lower: 0.0, upper: f64::INFINITY, alpha }
    }

    /// Whether `value` is inside the interval, its ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }

    /// A ratio as a lift: everything minus 1, so that 1.1 becomes +0.1 and a bound of 0 becomes -1.
    #[must_use]
    pub fn to_lift(self) -> Self {
        Self {
            point: self.point.map(|point| point - 1.0),
            lower: self.lower - 1.0,
            upper: self.upper - 1.0,
            alpha: self.alpha,
        }
    }
}
