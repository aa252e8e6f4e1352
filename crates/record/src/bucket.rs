//! Histogram cells, and the view that shows those of a histogram.

use std::iter::FusedIterator;
use std::slice;

use crate::layout::{self, OVERFLOW};
use crate::runs::{Runs, RunsIter};

/// A histogram cell: how many values lie in `[lower, upper]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest value of the bucket, in nanoseconds.
    pub lower: u64,
    /// Largest value of the bucket, in nanoseconds; `u64::MAX` in the overflow bucket.
    pub upper: u64,
    /// How many values the bucket holds; never 0.
    pub count: u64,
}

impl Bucket {
    /// How many buckets the recorder's layout has: 128 for each octave up to 2³⁶ ns, and one above.
    pub const POSITIONS: usize = OVERFLOW + 1;

    /// The position of the bucket with these bounds in the recorder's layout, below
    /// [`POSITIONS`](Self::POSITIONS); `None` for bounds of another layout.
    ///
    /// ```
    /// use latency_experiment_record::Bucket;
    ///
    /// assert_eq!(Bucket::position_of((256, 257)), Some(256));
    /// assert_eq!(Bucket::bounds_at(256), (256, 257));
    /// assert_eq!(Bucket::position_of((256, 300)), None);
    /// ```
    pub fn position_of(bounds: (u64, u64)) -> Option<usize> {
        let position = layout::index_of(bounds.0);
        (layout::bounds_of(position) == bounds).then_some(position)
    }

    /// The bounds of the bucket at this position of the recorder's layout, both inclusive, in
    /// nanoseconds; those of the last bucket beyond it.
    pub fn bounds_at(position: usize) -> (u64, u64) {
        layout::bounds_of(position)
    }
}

/// The buckets of a histogram that hold anything, ascending.
///
/// They are put together while they are iterated over: a histogram keeps
/// two to nine bytes of each, not 24.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a>(pub(crate) &'a Held);

/// Iterates over [`Buckets`].
#[derive(Clone, Debug)]
pub struct BucketsIter<'a>(Iter<'a>);

/// How a histogram keeps its buckets. Equal buckets are always kept in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All of them are of the layout of this crate.
    Runs(Runs),
    /// Any others.
    Any(Vec<Bucket>),
}

#[derive(Clone, Debug)]
enum Iter<'a> {
    Runs(RunsIter<'a>),
    Any(slice::Iter<'a, Bucket>),
}

impl Held {
    pub(crate) fn new(buckets: Vec<Bucket>) -> Self {
        Runs::of_buckets(&buckets).map_or_else(|| Self::Any(buckets), Self::Runs)
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::Runs(Runs::default())
    }
}

impl<'a> Buckets<'a> {
    /// How many buckets hold anything.
    pub fn len(self) -> usize {
        match self.0 {
            Held::Runs(runs) => runs.len(),
            Held::Any(buckets) => buckets.len(),
        }
    }

    /// Whether none holds anything.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Calls `see` with the position in the recorder's layout and the count of each bucket, ascending:
    /// several times faster than putting the buckets together. `false`, without a call, when some
    /// bucket is of another layout or stands for a whole octave.
    pub fn for_each_position(self, see: impl FnMut(usize, u64)) -> bool {
        match self.0 {
            Held::Runs(runs) => runs.for_each_position(see),
            Held::Any(_) => false,
        }
    }

    /// The buckets, one after the other.
    pub fn iter(self) -> BucketsIter<'a> {
        BucketsIter(match self.0 {
            Held::Runs(runs) => Iter::Runs(runs.iter()),
            Held::Any(buckets) => Iter::Any(buckets.iter()),
        })
    }
}

impl<'a> IntoIterator for Buckets<'a> {
    type Item = Bucket;
    type IntoIter = BucketsIter<'a>;

    fn into_iter(self) -> BucketsIter<'a> {
        self.iter()
    }
}

impl Iterator for BucketsIter<'_> {
    type Item = Bucket;

    #[inline]
    fn next(&mut self) -> Option<Bucket> {
        match &mut self.0 {
            Iter::Runs(runs) => runs.next(),
            Iter::Any(buckets) => buckets.next().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Iter::Runs(runs) => runs.size_hint(),
            Iter::Any(buckets) => buckets.size_hint(),
        }
    }
}

impl ExactSizeIterator for BucketsIter<'_> {}

impl FusedIterator for BucketsIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Histogram, Sums};

    #[test]
    fn positions_and_bounds_are_inverse_and_foreign_bounds_have_no_position() {
        for position in 0..Bucket::POSITIONS {
            assert_eq!(Bucket::position_of(Bucket::bounds_at(position)), Some(position));
        }
        for foreign in [(0, 1), (256, 256), (257, 258), (1 << 36, 1 << 37), (1 << 37, u64::MAX)] {
            assert_eq!(Bucket::position_of(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn positions_are_seen_with_the_counts_of_the_buckets_or_not_at_all() {
        let histogram = |bounds: &[(u64, u64)]| {
            let buckets =
                bounds.iter().map(|&(lower, upper)| Bucket { lower, upper, count: lower + 1 });
            Histogram::try_new(buckets.collect(), Sums::UNKNOWN).unwrap()
        };
        let seen = |histogram: &Histogram| {
            let mut seen = Vec::new();
            let all = histogram.buckets().for_each_position(|position, count| {
                seen.push((Bucket::bounds_at(position), count));
            });
            (all, seen)
        };
        let own = histogram(&[(3, 3), (256, 257), OVERFLOW_BOUNDS]);
        let expected: Vec<_> = own
            .buckets()
            .iter()
            .map(|bucket| ((bucket.lower, bucket.upper), bucket.count))
            .collect();
        assert_eq!(seen(&own), (true, expected));
        for foreign in [&[(3, 3), (256, 300)][..], &[(3, 3), (256, 511)]] {
            assert_eq!(seen(&histogram(foreign)), (false, Vec::new()), "{foreign:?}");
        }
    }

    const OVERFLOW_BOUNDS: (u64, u64) = (1 << 36, u64::MAX);
}
