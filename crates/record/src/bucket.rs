//! Histogram cells, and the view that shows those of a histogram.

use std::iter::FusedIterator;
use std::slice;

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
