use crate::Error;

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

/// A bucket with the observations up to and including it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) lower: u64,
    pub(crate) upper: u64,
    pub(crate) cumulative: u64,
}

/// Something that belongs to one bucket. The default stands for "before the first bucket".
pub(crate) trait Span: Default {
    /// Lower and upper edge, both inclusive.
    fn span(&self) -> (u64, u64);
}

impl Span for Cell {
    fn span(&self) -> (u64, u64) {
        (self.lower, self.upper)
    }
}

/// Walks two sorted sequences in step. `visit` gets each bucket of either and the last item of both
/// sequences that ends at or before it.
///
/// Fails where buckets overlap without being equal.
pub(crate) fn walk<A: Span, B: Span>(
    a: &[A],
    b: &[B],
    mut visit: impl FnMut((u64, u64), &A, &B),
) -> Result<(), Error> {
    let (before_a, before_b) = (A::default(), B::default());
    let (mut last_a, mut last_b) = (&before_a, &before_b);
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (first, second) = (a[i].span(), b[j].span());
        let span = if first == second {
            (last_a, last_b) = (&a[i], &b[j]);
            (i, j) = (i + 1, j + 1);
            first
        } else if first.1 < second.0 {
            last_a = &a[i];
            i += 1;
            first
        } else if second.1 < first.0 {
            last_b = &b[j];
            j += 1;
            second
        } else {
            return Err(Error::MixedBuckets { first, second });
        };
        visit(span, last_a, last_b);
    }
    for rest in &a[i..] {
        visit(rest.span(), rest, last_b);
        last_a = rest;
    }
    for rest in &b[j..] {
        visit(rest.span(), last_a, rest);
    }
    Ok(())
}
