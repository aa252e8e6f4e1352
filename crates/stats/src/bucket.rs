/// A histogram cell: `count` observations in `lower..=upper`.
///
/// Both edges are inclusive, in the unit of the data. `upper == u64::MAX` marks an overflow bucket, whose
/// upper edge counts as infinity. An exactly known value is a bucket with equal edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest value that falls into the bucket.
    pub lower: u64,
    /// Largest value that falls into the bucket.
    pub upper: u64,
    /// Observations in it.
    pub count: u64,
}

/// Where an observation lies: between these two values, both inclusive.
///
/// An observation above everything measured has both edges at infinity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edges {
    /// Lower edge.
    pub lower: f64,
    /// Upper edge; infinity in an overflow bucket.
    pub upper: f64,
}

impl Edges {
    /// Below everything: what a level at or under 0 asks for.
    pub(crate) const BELOW: Self = Self { lower: f64::NEG_INFINITY, upper: f64::NEG_INFINITY };
    /// Above everything: what a level over 1 asks for.
    pub(crate) const ABOVE: Self = Self { lower: f64::INFINITY, upper: f64::INFINITY };

    pub(crate) fn of(lower: u64, upper: u64) -> Self {
        let upper = if upper == u64::MAX { f64::INFINITY } else { upper as f64 };
        Self { lower: lower as f64, upper }
    }

    /// The point estimate of an observation in these edges, (lower + upper) / 2.
    pub fn midpoint(self) -> f64 {
        if self.lower == self.upper { self.lower } else { 0.5 * (self.lower + self.upper) }
    }
}
