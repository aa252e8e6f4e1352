//! A histogram that only holds counts.

use std::cmp::Reverse;
use std::iter;

use crate::Error;
use crate::bucket::{Bucket, Buckets, Held};
use crate::layout;
use crate::runs::Runs;

/// An immutable histogram: ascending, disjoint buckets with counts above zero, and beside them
/// the exact sums where they are known.
///
/// Recorders write the layout of this crate (128 buckets per octave), but any layout is held,
/// because a document may come from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    held: Held,
    count: u64,
    sums: Sums,
}

/// The exact sum and sum of squares of the values, each absent when it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Σ value, in nanoseconds.
    pub sum: Option<u128>,
    /// Σ value², in square nanoseconds.
    pub sum_sq: Option<u128>,
}

impl Sums {
    /// The sums of no value.
    pub const ZERO: Self = Self { sum: Some(0), sum_sq: Some(0) };
    /// Nothing is known: moments come from the buckets.
    pub const UNKNOWN: Self = Self { sum: None, sum_sq: None };

    /// The sums of both; what exceeds 128 bits is not known any more.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.combine(other, u128::checked_add)
    }

    fn combine(self, other: Self, op: impl Fn(u128, u128) -> Option<u128>) -> Self {
        let both = |a: Option<u128>, b: Option<u128>| op(a?, b?);
        Self { sum: both(self.sum, other.sum), sum_sq: both(self.sum_sq, other.sum_sq) }
    }
}

impl Default for Sums {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Histogram {
    /// A histogram of these buckets.
    ///
    /// Fails when a bucket is empty or its bounds are reversed, when buckets are out of order or
    /// overlap, and when the counts together exceed `u64`.
    pub fn try_new(buckets: Vec<Bucket>, sums: Sums) -> Result<Self, Error> {
        let mut count = 0u64;
        let mut previous: Option<u64> = None;
        for (position, bucket) in buckets.iter().enumerate() {
            let at = || format!("buckets[{position}]");
            let Bucket { lower, upper, count: in_bucket } = *bucket;
            if lower > upper {
                return Err(Error::document(
                    at(),
                    format!("lower bound {lower} is above upper bound {upper}"),
                ));
            }
            if in_bucket == 0 {
                return Err(Error::document(
                    at(),
                    "count is 0, but only counts above 0 are written",
                ));
            }
            if let Some(previous) = previous.filter(|&previous| lower <= previous) {
                return Err(Error::document(
                    at(),
                    format!(
                        "lower bound {lower} is not above {previous}, the upper bound of the bucket before: buckets must ascend and not overlap"
                    ),
                ));
            }
            previous = Some(upper);
            count = count.checked_add(in_bucket).ok_or_else(|| {
                Error::document(
                    at(),
                    format!("the counts up to here exceed {}, the largest 64-bit count", u64::MAX),
                )
            })?;
        }
        Ok(Self { held: Held::new(buckets), count, sums })
    }

    /// A histogram of buckets whose counts are known to add up to `count`.
    pub(crate) fn of_runs(runs: Runs, count: u64, sums: Sums) -> Self {
        Self { held: Held::Runs(runs), count, sums }
    }

    /// The buckets that hold anything, ascending.
    pub fn buckets(&self) -> Buckets<'_> {
        Buckets(&self.held)
    }

    /// How many values are held: the sum of the bucket counts.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The exact sums, as far as they are known. While recording goes on, they may lead the
    /// buckets by the values that were being recorded during the copy.
    pub fn sums(&self) -> Sums {
        self.sums
    }

    /// Both histograms together. Where one has a wide bucket and the other finer ones inside it,
    /// the finer ones become part of the wide one. Fails when buckets overlap in any other way, or
    /// when a count exceeds `u64`.
    pub fn merge(&self, other: &Self) -> Result<Self, Error> {
        let sums = self.sums.plus(other.sums);
        if let (Held::Runs(ours), Held::Runs(theirs)) = (&self.held, &other.held)
            && let Some(count) = self.count.checked_add(other.count)
        {
            return Ok(Self::of_runs(ours.merge(theirs), count, sums));
        }
        let mut merged =
            Vec::<Bucket>::with_capacity(self.buckets().len().max(other.buckets().len()));
        for bucket in in_order(self.buckets(), other.buckets()) {
            match merged.last_mut().filter(|last| bucket.lower <= last.upper) {
                Some(last) if bucket.upper <= last.upper => {
                    last.count = last.count.checked_add(bucket.count).ok_or_else(|| {
                        Error::mismatch(
                            "buckets",
                            format!(
                                "the counts of [{}, {}] together exceed 64 bits",
                                last.lower, last.upper
                            ),
                        )
                    })?;
                }
                Some(last) => {
                    return Err(Error::mismatch(
                        "buckets",
                        format!(
                            "[{}, {}] and [{}, {}] overlap: the two histograms have different bucket layouts",
                            last.lower, last.upper, bucket.lower, bucket.upper
                        ),
                    ));
                }
                None => merged.push(bucket),
            }
        }
        Self::try_new(merged, sums).map_err(|error| Error::mismatch("buckets", error.to_string()))
    }

    /// What was recorded after `earlier`, an earlier state of this same histogram. Fails when
    /// `earlier` holds something that this histogram does not.
    pub fn subtract(&self, earlier: &Self) -> Result<Self, Error> {
        let sums = self.sums.combine(earlier.sums, u128::checked_sub);
        if let (Held::Runs(now), Held::Runs(before)) = (&self.held, &earlier.held)
            && let Some(left) = now.subtract(before)
        {
            return Ok(Self::of_runs(left, self.count - earlier.count, sums));
        }
        let mut before = earlier.buckets().iter().peekable();
        let mut left = Vec::new();
        for bucket in self.buckets() {
            let mut count = bucket.count;
            // An octave may have become one wide bucket since then.
            while let Some(known) =
                before.next_if(|known| bucket.lower <= known.lower && known.upper <= bucket.upper)
            {
                count = count.checked_sub(known.count).ok_or_else(|| {
                    Error::mismatch(
                        "buckets",
                        format!("bucket [{}, {}] counts {} now but more before: the earlier snapshot is not earlier", bucket.lower, bucket.upper, bucket.count),
                    )
                })?;
            }
            if count > 0 {
                left.push(Bucket { count, ..bucket });
            }
        }
        if let Some(missing) = before.next() {
            return Err(Error::mismatch(
                "buckets",
                format!(
                    "bucket [{}, {}] of the earlier snapshot is not in the later one",
                    missing.lower, missing.upper
                ),
            ));
        }
        Self::try_new(left, sums)
    }

    /// The same counts in a [`hdrhistogram::Histogram`] at two significant digits, which has the
    /// bucket layout of this crate.
    ///
    /// Buckets of another layout are entered at their midpoint. Values of the overflow bucket are
    /// entered at its lower bound, 68.7 s, because their size is not known.
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let mut hdr = new_hdr();
        for bucket in self.buckets() {
            let value = if bucket.upper == u64::MAX {
                bucket.lower
            } else {
                bucket.lower.midpoint(bucket.upper)
            };
            hdr.saturating_record_n(value, bucket.count);
        }
        hdr
    }
}

/// The buckets of two histograms, ascending, and wide before fine where they start together.
fn in_order<'a>(a: Buckets<'a>, b: Buckets<'a>) -> impl Iterator<Item = Bucket> + 'a {
    let key = |bucket: &Bucket| (bucket.lower, Reverse(bucket.upper));
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    iter::from_fn(move || match (a.peek(), b.peek()) {
        (Some(first), Some(second)) if key(second) < key(first) => b.next(),
        (None, _) => b.next(),
        _ => a.next(),
    })
}

/// Covers the layout and, at its very end, the lower bound of the overflow bucket.
fn new_hdr() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, layout::OVERFLOW_NS, 2)
        .expect("bounds and digits are constants that HdrHistogram accepts")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(u64, u64, u64)]) -> Histogram {
        let buckets =
            buckets.iter().map(|&(lower, upper, count)| Bucket { lower, upper, count }).collect();
        Histogram::try_new(buckets, Sums::UNKNOWN).unwrap()
    }

    #[test]
    fn merge_keeps_the_order_and_adds_equal_buckets() {
        let merged = histogram(&[(1, 1, 2), (5, 6, 1)])
            .merge(&histogram(&[(0, 0, 4), (5, 6, 2), (9, 9, 1)]))
            .unwrap();
        assert_eq!(merged, histogram(&[(0, 0, 4), (1, 1, 2), (5, 6, 3), (9, 9, 1)]));
        assert_eq!(merged.count(), 10);
    }

    #[test]
    fn merge_refuses_buckets_that_overlap_without_being_equal() {
        let error = histogram(&[(0, 9, 1)]).merge(&histogram(&[(5, 12, 1)])).unwrap_err();
        assert!(
            error.is_mismatch() && error.to_string().contains("different bucket layouts"),
            "{error}"
        );
    }

    #[test]
    fn fine_buckets_become_part_of_a_wide_one_in_any_order() {
        let (wide, fine) = (histogram(&[(4, 7, 3)]), histogram(&[(4, 4, 1), (6, 7, 2), (8, 8, 5)]));
        let merged = histogram(&[(4, 7, 6), (8, 8, 5)]);
        assert_eq!(
            (wide.merge(&fine).unwrap(), fine.merge(&wide).unwrap()),
            (merged.clone(), merged.clone())
        );
        assert_eq!(merged.subtract(&fine).unwrap(), wide);
    }

    #[test]
    fn subtract_inverts_merge_and_refuses_what_was_never_there() {
        let (a, b) = (histogram(&[(1, 1, 2), (5, 6, 1)]), histogram(&[(0, 0, 4), (5, 6, 2)]));
        assert_eq!(a.merge(&b).unwrap().subtract(&a).unwrap(), b);
        assert!(a.subtract(&b).unwrap_err().to_string().contains("earlier"));
    }

    #[test]
    fn counts_beyond_64_bits_are_refused() {
        let full = histogram(&[(1, 1, u64::MAX)]);
        assert!(full.merge(&histogram(&[(1, 1, 1)])).unwrap_err().to_string().contains("64"));
        assert!(full.merge(&histogram(&[(2, 2, 1)])).unwrap_err().to_string().contains("64"));
    }

    #[test]
    fn hdr_conversion_keeps_every_count() {
        let hdr = histogram(&[(0, 0, 3), (256, 257, 5), (1 << 36, u64::MAX, 7)]).to_hdr();
        assert_eq!(hdr.len(), 15);
        assert_eq!((hdr.count_at(0), hdr.count_at(257), hdr.count_at(1 << 36)), (3, 5, 7));
    }
}
