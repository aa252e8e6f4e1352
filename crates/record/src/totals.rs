//! The counts of one series over many shards, while they are being added up.

use crate::layout::{OVERFLOW, PAGE_BUCKETS, PAGES};
use crate::runs::RunsWriter;
use crate::{Histogram, Sums};

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
    /// next series. So is the writer.
    ///
    /// An octave that any shard counted coarsely becomes one bucket: finer counts of other shards
    /// cannot stand beside it without overlapping it.
    pub(crate) fn take_histogram(&mut self, writer: &mut RunsWriter) -> Histogram {
        let mut total = 0u64;
        for (octave, page) in self.pages.iter().enumerate() {
            let page = page.as_deref().filter(|_| self.is_filled(octave));
            let fine: u64 = page.map_or(0, |page| page.iter().sum());
            let count = self.coarse[octave].saturating_add(fine);
            total = total.saturating_add(count);
            if self.coarse[octave] > 0 {
                writer.whole(octave, count);
            } else if let Some(page) = page {
                writer.octave(octave, page);
            }
        }
        if self.overflow > 0 {
            writer.overflow(self.overflow);
            total = total.saturating_add(self.overflow);
        }
        let sums = Sums { sum: Some(self.sum), sum_sq: self.sum_sq };
        *self = Self { pages: std::mem::take(&mut self.pages), ..Self::default() };
        Histogram::of_runs(writer.take(), total, sums)
    }
}
