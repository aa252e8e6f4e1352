//! The counts of one series over many shards, while they are being added up.

use crate::layout::{self, OVERFLOW, PAGE_BUCKETS, PAGES};
use crate::{Bucket, Histogram, Sums};

/// 64-bit counts in the layout of this crate, allocated by the octave.
#[derive(Debug)]
pub(crate) struct Totals {
    pages: [Option<Box<[u64; PAGE_BUCKETS]>>; PAGES],
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
            let cell = &mut self.page(index / PAGE_BUCKETS)[index % PAGE_BUCKETS];
            *cell = cell.saturating_add(count);
        }
    }

    pub(crate) fn add_page(&mut self, octave: usize, counts: impl Iterator<Item = u64>) {
        for (cell, count) in self.page(octave).iter_mut().zip(counts) {
            *cell = cell.saturating_add(count);
        }
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
            if let Some(page) = page {
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

    /// Back to no counts at all, without giving memory back: for the next series.
    pub(crate) fn clear(&mut self) {
        for page in self.pages.iter_mut().flatten() {
            page.fill(0);
        }
        *self = Self { pages: std::mem::take(&mut self.pages), ..Self::default() };
    }

    /// The histogram of these counts. An octave that any shard counted coarsely becomes one
    /// bucket: finer counts of other shards cannot stand beside it without overlapping it.
    pub(crate) fn to_histogram(&self) -> Histogram {
        let filled = self.pages.each_ref().map(|page| page.as_deref().map_or(0, filled));
        let most = filled.iter().map(|filled| filled.count_ones() as usize).sum::<usize>() + PAGES;
        let mut buckets = Vec::with_capacity(most);
        let mut push = |(lower, upper), count| buckets.push(Bucket { lower, upper, count });
        for (octave, page) in self.pages.iter().enumerate() {
            if self.coarse[octave] > 0 {
                let fine: u64 = page.as_deref().map_or(0, |page| page.iter().sum());
                push(layout::page_bounds_of(octave), self.coarse[octave].saturating_add(fine));
            } else if let Some(page) = page {
                let mut left = filled[octave];
                while left != 0 {
                    let offset = left.trailing_zeros() as usize % PAGE_BUCKETS;
                    push(layout::bounds_of(octave * PAGE_BUCKETS + offset), page[offset]);
                    left &= left - 1;
                }
            }
        }
        if self.overflow > 0 {
            push(layout::bounds_of(OVERFLOW), self.overflow);
        }
        Histogram::try_new(buckets, Sums { sum: Some(self.sum), sum_sq: self.sum_sq }).expect(
            "the layout is ascending, and 64-bit counts of nanoseconds take centuries to overflow",
        )
    }
}

/// Bit i: cell i is not empty. Empty cells are scattered over a page, so a branch for each of them
/// would be mispredicted; this has none.
fn filled(page: &[u64; PAGE_BUCKETS]) -> u128 {
    let mut bits = [0u8; PAGE_BUCKETS / 8];
    for (bits, cells) in bits.iter_mut().zip(page.chunks_exact(8)) {
        *bits = cells.iter().rev().fold(0, |bits, &cell| bits << 1 | u8::from(cell > 0));
    }
    u128::from_le_bytes(bits)
}
