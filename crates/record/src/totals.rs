//! The counts of one series in one shard that do not fit its cells.

use crate::Sums;
use crate::layout::{OVERFLOW, PAGE_BUCKETS, PAGES};

/// 64-bit counts in the layout of this crate, allocated by the octave.
#[derive(Debug)]
pub(crate) struct Totals {
    pages: [Option<Box<[u64; PAGE_BUCKETS]>>; PAGES],
    overflow: u64,
    sum: u128,
    /// `None` once it exceeded 128 bits, which takes latencies of centuries.
    sum_sq: Option<u128>,
}

impl Default for Totals {
    fn default() -> Self {
        Self { pages: [const { None }; PAGES], overflow: 0, sum: 0, sum_sq: Some(0) }
    }
}

impl Totals {
    pub(crate) fn add_values(&mut self, index: usize, count: u64) {
        let cell = if index == OVERFLOW {
            &mut self.overflow
        } else {
            let page = &mut self.pages[index / PAGE_BUCKETS];
            &mut page.get_or_insert_with(|| Box::new([0; PAGE_BUCKETS]))[index % PAGE_BUCKETS]
        };
        *cell = cell.saturating_add(count);
    }

    pub(crate) fn add_sums(&mut self, sum: u128, sum_sq: Option<u128>) {
        self.sum = self.sum.saturating_add(sum);
        self.sum_sq = self.sum_sq.zip(sum_sq).and_then(|(ours, theirs)| ours.checked_add(theirs));
    }

    pub(crate) fn page(&self, octave: usize) -> Option<&[u64; PAGE_BUCKETS]> {
        self.pages[octave].as_deref()
    }

    pub(crate) fn overflow(&self) -> u64 {
        self.overflow
    }

    pub(crate) fn sums(&self) -> Sums {
        Sums { sum: Some(self.sum), sum_sq: self.sum_sq }
    }
}
