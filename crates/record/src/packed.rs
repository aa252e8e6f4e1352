//! Buckets of the layout of this crate in eight bytes each.
//!
//! A snapshot of thousands of series is written into memory that was never touched before: most of
//! its time goes by with the bytes it takes.

use crate::Bucket;
use crate::layout::{self, BUCKETS, PAGE_BUCKETS, PAGES};

/// A bucket with its count. The upper 16 bits say which, in ascending order: an octave and one of
/// its buckets, or the whole octave; after the last octave comes the overflow bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed(u64);

const COUNT_BITS: u32 = 48;
/// Places per octave, of which the buckets take the first and the whole octave takes the last.
const PLACES: usize = 256;

impl Packed {
    /// Largest count that fits: 89 years of 100,000 requests per second.
    pub(crate) const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;
    /// Stands where nothing is yet.
    pub(crate) const NOTHING: Self = Self(0);

    /// The bucket at this offset in the octave. The count must not exceed [`MAX_COUNT`](Self::MAX_COUNT).
    #[inline]
    pub(crate) const fn of_octave(octave: usize, offset: usize, count: u64) -> Self {
        Self::at((octave * PLACES + offset) as u64, count)
    }

    /// All of an octave as one bucket.
    pub(crate) const fn whole(octave: usize, count: u64) -> Self {
        Self::of_octave(octave, PLACES - 1, count)
    }

    /// The overflow bucket.
    pub(crate) const fn overflow(count: u64) -> Self {
        Self::of_octave(PAGES, 0, count)
    }

    #[inline]
    pub(crate) const fn at(place: u64, count: u64) -> Self {
        Self(place << COUNT_BITS | count)
    }

    /// Which bucket it is, in ascending order.
    #[inline]
    pub(crate) const fn place(self) -> u64 {
        self.0 >> COUNT_BITS
    }

    #[inline]
    pub(crate) const fn count(self) -> u64 {
        self.0 & Self::MAX_COUNT
    }

    pub(crate) const fn is_whole(self) -> bool {
        self.place() as usize % PLACES == PLACES - 1
    }

    /// `None` when the bucket is not of this layout or its count does not fit.
    pub(crate) fn of_bucket(bucket: Bucket) -> Option<Self> {
        let Bucket { lower, upper, count } = bucket;
        let index = layout::index_of(lower);
        let (octave, offset) = (index / PAGE_BUCKETS, index % PAGE_BUCKETS);
        if count > Self::MAX_COUNT {
            None
        } else if layout::bounds_of(index) == (lower, upper) {
            Some(Self::of_octave(octave, offset, count))
        } else {
            let whole = index < BUCKETS && layout::page_bounds_of(octave) == (lower, upper);
            whole.then(|| Self::whole(octave, count))
        }
    }

    #[inline]
    pub(crate) fn bucket(self) -> Bucket {
        let (octave, offset) = (self.place() as usize / PLACES, self.place() as usize % PLACES);
        let (lower, upper) = if offset < PAGE_BUCKETS {
            layout::bounds_of(octave * PAGE_BUCKETS + offset)
        } else {
            layout::page_bounds_of(octave)
        };
        Bucket { lower, upper, count: self.count() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::OVERFLOW;

    #[test]
    fn every_bucket_and_octave_is_packed_in_order_and_unpacked_again() {
        let mut before = None;
        for index in 0..=OVERFLOW {
            let (lower, upper) = layout::bounds_of(index);
            let bucket = Bucket { lower, upper, count: 3 };
            let packed = Packed::of_bucket(bucket).unwrap();
            assert_eq!((packed.bucket(), packed.is_whole()), (bucket, false));
            assert!(before < Some(packed.place()), "{bucket:?} comes after what is below it");
            before = Some(packed.place());
        }
        for octave in 0..PAGES {
            let (lower, upper) = layout::page_bounds_of(octave);
            let bucket = Bucket { lower, upper, count: Packed::MAX_COUNT };
            let packed = Packed::of_bucket(bucket).unwrap();
            assert_eq!((packed, packed.bucket()), (Packed::whole(octave, bucket.count), bucket));
            assert!(
                packed.is_whole() && packed.place() < Packed::of_octave(octave + 1, 0, 1).place()
            );
        }
    }

    #[test]
    fn other_layouts_and_larger_counts_are_not_packed() {
        for (lower, upper, count) in
            [(0, 1, 1), (256, 256, 1), (0, 255, 1), (1 << 36, 1 << 37, 1), (0, 0, 1 << 48)]
        {
            assert_eq!(Packed::of_bucket(Bucket { lower, upper, count }), None);
        }
    }
}
