//! Histogram cells, and the view that shows those of a histogram.

use std::iter::FusedIterator;
use std::slice;

use crate::packed::Packed;

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

/// The buckets of a histogram that hold anything, ascending.
///
/// They are put together while they are iterated over: a histogram keeps 8 bytes of each, not 24.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a>(pub(crate) &'a Held);

/// Iterates over [`Buckets`].
#[derive(Clone, Debug)]
pub struct BucketsIter<'a>(Iter<'a>);

/// How a histogram keeps its buckets. Equal buckets are always kept in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All of them are of the layout of this crate, with counts that a recorder may reach.
    Packed(Vec<Packed>),
    /// Any others.
    Any(Vec<Bucket>),
}

#[derive(Clone, Debug)]
enum Iter<'a> {
    Packed(slice::Iter<'a, Packed>),
    Any(slice::Iter<'a, Bucket>),
}

impl Held {
    pub(crate) fn new(buckets: Vec<Bucket>) -> Self {
        let packed = buckets.iter().map(|&bucket| Packed::of_bucket(bucket)).collect();
        Option::map_or_else(packed, || Self::Any(buckets), Self::Packed)
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::Packed(Vec::new())
    }
}

impl<'a> Buckets<'a> {
    /// How many buckets hold anything.
    pub fn len(self) -> usize {
        match self.0 {
            Held::Packed(packed) => packed.len(),
            Held::Any(buckets) => buckets.len(),
        }
    }

    /// Whether none holds anything.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The buckets, one after the other.
    pub fn iter(self) -> BucketsIter<'a> {
        BucketsIter(match self.0 {
            Held::Packed(packed) => Iter::Packed(packed.iter()),
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

    fn next(&mut self) -> Option<Bucket> {
        match &mut self.0 {
            Iter::Packed(packed) => packed.next().map(|packed| packed.bucket()),
            Iter::Any(buckets) => buckets.next().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Iter::Packed(packed) => packed.size_hint(),
            Iter::Any(buckets) => buckets.size_hint(),
        }
    }
}

impl DoubleEndedIterator for BucketsIter<'_> {
    fn next_back(&mut self) -> Option<Bucket> {
        match &mut self.0 {
            Iter::Packed(packed) => packed.next_back().map(|packed| packed.bucket()),
            Iter::Any(buckets) => buckets.next_back().copied(),
        }
    }
}

impl ExactSizeIterator for BucketsIter<'_> {}

impl FusedIterator for BucketsIter<'_> {}
