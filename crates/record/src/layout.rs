//! The bucket layout: integer nanoseconds, 128 buckets per octave.
//!
//! Log-linear with grouping power 7, which is the layout of `HdrHistogram` at two significant
//! digits: every bucket is at most 1/128 (0.78 %) as wide as its lower edge, values below 256 are
//! exact. The layout ends at 2³⁶ ns (68.7 s); everything from there on shares one overflow bucket.
//!
//! A *page* is the 128 buckets of one octave, the unit in which recorders allocate memory.

//!
//! Models have two buckets per octave and only two octaves, because each cell is one more thing
//! whose interleavings are tried.

/// Buckets per page, hence per octave.
pub(crate) const PAGE_BUCKETS: usize = 1 << GROUPING_POWER;
/// Pages of the layout: `[0, 128)`, `[128, 256)`, `[256, 512)`, … up to 2³⁶.
pub(crate) const PAGES: usize = (OVERFLOW_POWER - GROUPING_POWER + 1) as usize;
/// Buckets of the layout without the overflow bucket.
pub(crate) const BUCKETS: usize = PAGES * PAGE_BUCKETS;
/// Index of the overflow bucket.
pub(crate) const OVERFLOW: usize = BUCKETS;
/// Smallest value, in nanoseconds, that falls into the overflow bucket: 2³⁶.
pub(crate) const OVERFLOW_NS: u64 = 1 << OVERFLOW_POWER;

const OVERFLOW_POWER: u32 = if cfg!(loom) { 2 } else { 36 };
const GROUPING_POWER: u32 = if cfg!(loom) { 1 } else { 7 };

/// Index of the bucket that holds `value_ns`: `0..BUCKETS`, or [`OVERFLOW`].
pub(crate) const fn index_of(value_ns: u64) -> usize {
    let position = position_of(value_ns);
    if position < OVERFLOW { position } else { OVERFLOW }
}

/// The same, were the layout without end: from [`OVERFLOW`] on beyond it.
#[inline(always)]
pub(crate) const fn position_of(value_ns: u64) -> usize {
    // `| 128` folds the two exact pages into the general form: their shift is zero.
    let octave = (value_ns | 1 << GROUPING_POWER).ilog2();
    let shift = octave - GROUPING_POWER;
    ((shift as usize) << GROUPING_POWER) + (value_ns >> shift) as usize
}

/// Inclusive bounds, in nanoseconds, of the bucket with this index.
pub(crate) const fn bounds_of(index: usize) -> (u64, u64) {
    if index >= OVERFLOW {
        return (OVERFLOW_NS, u64::MAX);
    }
    let page = index >> GROUPING_POWER;
    let shift = page.saturating_sub(1);
    let first = (index - (shift << GROUPING_POWER)) as u64;
    (first << shift, ((first + 1) << shift) - 1)
}

/// Inclusive bounds, in nanoseconds, of all the buckets of a page together.
pub(crate) const fn page_bounds_of(page: usize) -> (u64, u64) {
    (bounds_of(page * PAGE_BUCKETS).0, bounds_of((page + 1) * PAGE_BUCKETS - 1).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_whole_range_without_gap_or_overlap() {
        let mut next = 0;
        for index in 0..=OVERFLOW {
            let (lower, upper) = bounds_of(index);
            assert_eq!(lower, next, "bucket {index} starts where the one before it ended");
            assert!(upper >= lower);
            assert_eq!(index_of(lower), index);
            assert_eq!(index_of(upper), index);
            next = upper.wrapping_add(1);
        }
        assert_eq!(next, 0, "the overflow bucket ends at u64::MAX");
    }

    #[test]
    fn buckets_are_exact_below_256_and_at_most_a_128th_wide_above() {
        for index in 0..BUCKETS {
            let (lower, upper) = bounds_of(index);
            let width = upper - lower + 1;
            if lower < 256 {
                assert_eq!(width, 1);
            } else {
                assert!(width * 128 <= lower, "bucket {index} is {width} wide at {lower}");
            }
        }
    }

    #[test]
    fn layout_agrees_with_hdrhistogram_at_two_significant_digits() {
        let hdr = hdrhistogram::Histogram::<u64>::new_with_bounds(1, OVERFLOW_NS - 1, 2).unwrap();
        for index in 0..BUCKETS {
            let (lower, upper) = bounds_of(index);
            assert_eq!(
                (hdr.lowest_equivalent(lower), hdr.highest_equivalent(lower)),
                (lower, upper)
            );
        }
    }

    #[test]
    fn pages_cover_their_buckets() {
        assert_eq!(page_bounds_of(0), (0, 127));
        assert_eq!(page_bounds_of(1), (128, 255));
        assert_eq!(page_bounds_of(2), (256, 511));
        assert_eq!(page_bounds_of(PAGES - 1), (OVERFLOW_NS / 2, OVERFLOW_NS - 1));
    }
}
