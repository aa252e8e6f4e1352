//! The counts of one series over many shards, while they are being added up.

use crate::layout::{self, OVERFLOW, PAGE_BUCKETS, PAGES};
use crate::packed::Packed;
use crate::{Bucket, Histogram, Sums};

/// 64-bit counts in the layout of this crate, allocated by the octave.
#[derive(Debug)]
pub(crate) struct Totals {
    /// What a page holds counts only when its octave is among the filled ones.
    pages: [Option<Box<[u64; PAGE_BUCKETS]>>; PAGES],
    /// Bit i: octave i is filled.
    filled: u32,
    coarse: [u64; PAGES],
    overflow: u64,
    sum: u128,
    /// `None` once it exceeded 128 bits, which takes latencies of centuries.
    sum_sq: Option<u128>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            pages: [const { None }; PAGES],
            filled: 0,
            coarse: [0; PAGES],
            overflow: 0,
            sum: 0,
            sum_sq: Some(0),
        }
    }
}

impl Totals {
    pub(crate) fn add_values(&mut self, index: usize, count: u64) {
        if index == OVERFLOW {
            self.overflow = self.overflow.saturating_add(count);
        } else {
            let octave = index / PAGE_BUCKETS;
            if !self.is_filled(octave) {
                self.add_page(octave, [0; PAGE_BUCKETS].into_iter());
            }
            let cell = &mut self.page(octave)[index % PAGE_BUCKETS];
            *cell = cell.saturating_add(count);
        }
    }

    pub(crate) fn add_page(&mut self, octave: usize, counts: impl Iterator<Item = u64>) {
        let filled = self.is_filled(octave);
        let cells = self.page(octave).iter_mut().zip(counts);
        if filled {
            // Nothing is ever counted 2⁶⁴ times.
            cells.for_each(|(cell, count)| *cell = cell.wrapping_add(count));
        } else {
            cells.for_each(|(cell, count)| *cell = count);
            self.filled |= 1 << octave;
        }
    }

    fn is_filled(&self, octave: usize) -> bool {
        self.filled >> octave & 1 == 1
    }

    pub(crate) fn add_coarse(&mut self, octave: usize, count: u64) {
        self.coarse[octave] = self.coarse[octave].saturating_add(count);
    }

    pub(crate) fn add_sums(&mut self, sum: u128, sum_sq: Option<u128>) {
        self.sum = self.sum.saturating_add(sum);
        self.sum_sq = self.sum_sq.zip(sum_sq).and_then(|(ours, theirs)| ours.checked_add(theirs));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (octave, page) in other.pages.iter().enumerate() {
            if let Some(page) = page.as_deref().filter(|_| other.is_filled(octave)) {
                self.add_page(octave, page.iter().copied());
            }
            self.add_coarse(octave, other.coarse[octave]);
        }
        self.overflow = self.overflow.saturating_add(other.overflow);
        self.add_sums(other.sum, other.sum_sq);
    }

    fn page(&mut self, octave: usize) -> &mut [u64; PAGE_BUCKETS] {
        self.pages[octave].get_or_insert_with(|| Box::new([0; PAGE_BUCKETS]))
    }

    /// The histogram of these counts, which are then none, without giving memory back: for the
    /// next series. `room` is overwritten and kept for the same reason.
    ///
    /// An octave that any shard counted coarsely becomes one bucket: finer counts of other shards
    /// cannot stand beside it without overlapping it.
    pub(crate) fn take_histogram(&mut self, room: &mut Vec<Packed>) -> Histogram {
        let sums = Sums { sum: Some(self.sum), sum_sq: self.sum_sq };
        let (used, count) = self.pack(room);
        let histogram = if count > Packed::MAX_COUNT {
            self.to_wide_histogram(sums)
        } else {
            Histogram::of_packed(room[..used].to_vec(), count, sums)
        };
        *self = Self { pages: std::mem::take(&mut self.pages), ..Self::default() };
        histogram
    }

    /// Writes the buckets into `room`; returns how many there are and the sum of their counts.
    fn pack(&self, room: &mut Vec<Packed>) -> (usize, u64) {
        room.resize(layout::BUCKETS + 1, Packed::NOTHING);
        let (mut used, mut total) = (0, 0u64);
        for (octave, page) in self.pages.iter().enumerate() {
            let page = page.as_deref().filter(|_| self.is_filled(octave));
            if self.coarse[octave] > 0 {
                let fine: u64 = page.map_or(0, |page| page.iter().sum());
                let count = self.coarse[octave].saturating_add(fine);
                room[used] = Packed::whole(octave, count & Packed::MAX_COUNT);
                total = total.saturating_add(count);
                used += 1;
            } else if let Some(page) = page {
                let room = &mut room[used..used + PAGE_BUCKETS];
                let mut filled = 0;
                // Empty cells are scattered over a page, so a branch for each of them would be
                // mispredicted: every cell is written, and the next one over it if it was empty.
                for (offset, &count) in page.iter().enumerate() {
                    room[filled] = Packed::of_octave(octave, offset, count & Packed::MAX_COUNT);
                    filled += usize::from(count > 0);
                    total = total.saturating_add(count);
                }
                used += filled;
            }
        }
        if self.overflow > 0 {
            room[used] = Packed::overflow(self.overflow & Packed::MAX_COUNT);
            total = total.saturating_add(self.overflow);
            used += 1;
        }
        (used, total)
    }

    /// The histogram of counts that are too large to be packed.
    #[cold]
    fn to_wide_histogram(&self, sums: Sums) -> Histogram {
        let mut buckets = Vec::new();
        let mut push = |(lower, upper), count| buckets.push(Bucket { lower, upper, count });
        for (octave, page) in self.pages.iter().enumerate() {
            let page = page.as_deref().filter(|_| self.is_filled(octave));
            if self.coarse[octave] > 0 {
                let fine: u64 = page.map_or(0, |page| page.iter().sum());
                push(layout::page_bounds_of(octave), self.coarse[octave].saturating_add(fine));
            } else {
                for (offset, &count) in page.into_iter().flatten().enumerate() {
                    if count > 0 {
                        push(layout::bounds_of(octave * PAGE_BUCKETS + offset), count);
                    }
                }
            }
        }
        if self.overflow > 0 {
            push(layout::bounds_of(OVERFLOW), self.overflow);
        }
        Histogram::try_new(buckets, sums).expect(
            "the layout is ascending, and 64-bit counts of nanoseconds take centuries to overflow",
        )
    }
}
