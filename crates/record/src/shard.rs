//! The counts of one thread.
//!
//! A shard has one writer at a time: the thread that owns it, or whoever holds the lock of the
//! shared shard. Therefore an increment is a plain load and store, never a locked instruction,
//! and no cache line that a request writes is written by another thread. Snapshots read the same
//! cells at any moment; each store releases and each load acquires, so whoever sees the end of a
//! request counted also sees its start counted.
//!
//! A cell holds 32 bits. Before one overflows it is emptied into `spill`, under the lock that a
//! snapshot holds while it copies the series: a count is in one of the two places, never in both.

use std::array;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::Sums;
use crate::atomic_ref::AtomicRef;
use crate::layout::{self, OVERFLOW, PAGE_BUCKETS, PAGES};
use crate::segments::Segments;
use crate::slowest::{SlowRequest, Slowest};
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, OnceLock};
use crate::totals::Totals;

/// Index of a series in the tables of its recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesId(pub(crate) u32);

impl SeriesId {
    /// The ID as an integer, for tables that store it in an atomic.
    #[inline]
    pub const fn to_raw(self) -> u32 {
        self.0
    }

    /// The ID that [`to_raw`](Self::to_raw) gave. An integer from elsewhere is harmless but
    /// records into a series that no snapshot shows.
    #[inline]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

// Aligned, so that two threads never share a cache line.
#[repr(align(64))]
pub(crate) struct Shard {
    /// The first series, once they are touched: those that are found in the fewest instructions.
    first_series: [AtomicRef<Cells>; FIRST_SERIES],
    series: Segments<Cells, CHUNK_SERIES>,
    budget: &'static PageBudget,
    spare_pages: Mutex<SparePages>,
    /// The first counters, which are found in the fewest instructions.
    first_counters: [AtomicU64; FIRST_COUNTERS],
    counters: Segments<AtomicU64, CHUNK_COUNTERS>,
    coarsened: AtomicU64,
    spill: Mutex<HashMap<u32, Totals>>,
    slowest: Mutex<HashMap<u32, Slowest>>,
}

// What is allocated together.
const FIRST_PAGES: usize = if cfg!(loom) { 1 } else { 4 };
const MOST_PAGES: usize = if cfg!(loom) { 2 } else { 32 };
const CHUNK_SERIES: usize = if cfg!(loom) { 2 } else { 4 };
const FIRST_SERIES: usize = if cfg!(loom) { 1 } else { 256 };
const FIRST_COUNTERS: usize = if cfg!(loom) { 4 } else { 128 };
const CHUNK_COUNTERS: usize = if cfg!(loom) { 4 } else { 64 };
/// Cells of a page per cache line.
const LINE_CELLS: usize = 16;
/// Largest count of a cell; tiny in models.
const MAX_CELL: u32 = if cfg!(loom) { 2 } else { u32::MAX };
/// Largest sum to which as many values can be added as there is [room](Cells::room) for: below 2³⁶ ns
/// a value adds less than 2⁴¹ to each of them.
const MAX_SUM: u64 = u64::MAX - ((MAX_ROOM as u64) << 41);
/// How many values are added to a series before what it holds is looked at again.
const MAX_ROOM: u32 = if cfg!(loom) { 1 } else { 1 << 22 };
/// The low 32 bits.
const LOW: u64 = u32::MAX as u64;

/// One series in one shard.
#[derive(Default)]
#[repr(align(64))]
struct Cells {
    /// Empty where the octave was never touched.
    pages: [AtomicRef<Page>; PAGES],
    sum: AtomicU64,
    // Σ value² in two sums, of the low 32 bits and of the rest: each can be read on its own, where
    // a carry between two words would be seen half done.
    sum_sq_low: AtomicU64,
    sum_sq_high: AtomicU64,
    /// What a value must exceed to be among the slowest.
    slow_ns: AtomicU64,
    /// How many more values can be added before any of this could overflow.
    room: AtomicU32,
    /// Counts per octave, once the page budget is spent.
    coarse: OnceLock<Box<[AtomicU64; PAGES]>>,
}

/// A value with the bucket that it belongs to, which is found once where it goes into many series.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    value_ns: u64,
    /// Index of the bucket; beyond the layout, any beyond its buckets.
    bucket: usize,
}

impl Sample {
    /// The sample of a value in nanoseconds.
    #[inline]
    pub fn of(value_ns: u64) -> Self {
        Self { value_ns, bucket: layout::position_of(value_ns) }
    }

    /// The value, in nanoseconds.
    #[inline]
    pub fn value_ns(self) -> u64 {
        self.value_ns
    }
}

/// What a shard knows of a series, while nothing of it can be spilled.
pub(crate) struct Reading<'a> {
    series: SeriesId,
    cells: &'a Cells,
    pages: [Option<&'a Page>; PAGES],
    spill: MutexGuard<'a, HashMap<u32, Totals>>,
    slowest: Slowest,
}

#[repr(align(64))]
struct Page([AtomicU32; PAGE_BUCKETS]);

/// Pages that were allocated and not used so far.
#[derive(Default)]
struct SparePages {
    pages: &'static [Page],
    /// How many were allocated last: more each time, so that few experiments waste little and those of
    /// many series lie close together.
    allocated: usize,
}

impl SparePages {
    fn take(&mut self) -> &'static Page {
        if self.pages.is_empty() {
            self.allocated = (2 * self.allocated).clamp(FIRST_PAGES, MOST_PAGES);
            self.pages = (0..self.allocated).map(|_| Page::default()).collect::<Vec<_>>().leak();
        }
        let (page, rest) = self.pages.split_first().expect("some were left or allocated");
        self.pages = rest;
        page
    }
}

/// How many more pages a recorder may allocate, over all its shards.
pub(crate) struct PageBudget(pub(crate) AtomicU64);

impl PageBudget {
    fn take(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Adds to a cell that only the calling thread writes.
#[inline]
fn add(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(amount), Release);
}

impl Shard {
    pub(crate) fn new(budget: &'static PageBudget) -> Self {
        Self {
            first_series: array::from_fn(|_| AtomicRef::empty()),
            series: Segments::new(),
            budget,
            spare_pages: Mutex::default(),
            first_counters: array::from_fn(|_| AtomicU64::new(0)),
            counters: Segments::new(),
            coarsened: AtomicU64::new(0),
            spill: Mutex::default(),
            slowest: Mutex::default(),
        }
    }

    /// Adds to a counter, wrapping around. Only the owner of the shard may call it.
    #[inline]
    pub(crate) fn count(&self, counter: usize, amount: u64) {
        match self.first_counters.get(counter) {
            Some(counter) => add(counter, amount),
            None => self.count_far(counter, amount),
        }
    }

    #[inline(never)]
    fn count_far(&self, counter: usize, amount: u64) {
        if let Some(counter) = self.counters.touch(counter) {
            add(counter, amount);
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn keep_slow(&self, series: SeriesId, request: SlowRequest) {
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = slowest.entry(series.0).or_default();
        slowest.add(request);
        if let Some(cells) = self.series.get(series.0 as usize) {
            cells.slow_ns.store(slowest.threshold_ns(), Relaxed);
        }
    }

    pub(crate) fn counter(&self, counter: usize) -> u64 {
        let counter = self.first_counters.get(counter).or_else(|| self.counters.get(counter));
        counter.map_or(0, |counter| counter.load(Acquire))
    }

    pub(crate) fn coarsened(&self) -> u64 {
        self.coarsened.load(Acquire)
    }

    /// Records a value, and tells whether it is among the slowest of its series in this shard. Only
    /// the owner of the shard may call it.
    ///
    /// What is unusual ends in a tail call, here as in [`record_into`](Self::record_into): so the usual
    /// way needs few registers, and none that are to be saved.
    #[inline(never)]
    pub(crate) fn record(&self, series: SeriesId, sample: Sample) -> bool {
        match self.first_series.get(series.0 as usize).and_then(AtomicRef::get) {
            Some(cells) => self.record_into(cells, series, sample),
            None => self.record_far(series, sample),
        }
    }

    #[inline(never)]
    fn record_far(&self, series: SeriesId, sample: Sample) -> bool {
        let index = series.0 as usize;
        let Some(cells) = self.series.touch(index) else { return false };
        if let Some(first) = self.first_series.get(index) {
            first.set(cells);
        }
        self.record_into(cells, series, sample)
    }

    /// Whether there is room is looked at before anything is written.
    #[inline(always)]
    fn record_into(&self, cells: &Cells, series: SeriesId, sample: Sample) -> bool {
        let (octave, offset) = (sample.bucket / PAGE_BUCKETS, sample.bucket % PAGE_BUCKETS);
        if let Some(page) = cells.pages.get(octave).and_then(AtomicRef::get)
            && cells.take_room()
        {
            // Sums first: a snapshot reads them last, so that they may lead the buckets, never lag.
            cells.add_to_sums(sample.value_ns);
            page.0[offset].store(page.0[offset].load(Relaxed) + 1, Release);
            return sample.value_ns > cells.slow_ns.load(Relaxed);
        }
        self.record_with_room(series, sample)
    }

    /// Makes room for the value, or records it where there is none to be had.
    #[cold]
    #[inline(never)]
    fn record_with_room(&self, series: SeriesId, sample: Sample) -> bool {
        let Sample { value_ns, bucket } = sample;
        let Some(cells) = self.series.touch(series.0 as usize) else { return false };
        let slow = value_ns > cells.slow_ns.load(Relaxed);
        let octave = bucket / PAGE_BUCKETS;
        if octave >= PAGES {
            self.record_overflow(series, value_ns);
            return slow;
        }
        if cells.room.load(Relaxed) == 0 {
            self.make_room(cells, series);
        }
        if cells.pages[octave].get().or_else(|| self.add_page(cells, octave)).is_none() {
            self.record_coarse(cells, octave, value_ns);
            return slow;
        }
        self.record(series, sample)
    }

    /// Empties what could overflow before it is looked at again.
    fn make_room(&self, cells: &Cells, series: SeriesId) {
        if cells.sums_are_full() {
            self.spill_sums(cells, series);
        }
        let pages = cells.pages.iter().map(AtomicRef::get).enumerate();
        for (octave, page) in pages.filter_map(|(octave, page)| Some((octave, page?))) {
            for (offset, cell) in page.0.iter().enumerate() {
                if cell.load(Relaxed) > MAX_CELL - MAX_ROOM {
                    self.spill_cell(series, octave * PAGE_BUCKETS + offset, cell);
                }
            }
        }
        cells.room.store(MAX_ROOM, Relaxed);
    }

    /// Pages are allocated a few at a time, and live as long as the process, as their shard does.
    fn add_page(&self, cells: &Cells, octave: usize) -> Option<&'static Page> {
        // An octave that was counted coarsely stays coarse.
        let coarse = cells.coarse.get().is_some_and(|coarse| coarse[octave].load(Relaxed) > 0);
        if coarse || !self.budget.take() {
            return None;
        }
        let page = self.spare_pages.lock().unwrap_or_else(PoisonError::into_inner).take();
        cells.pages[octave].set(page);
        Some(page)
    }

    fn record_coarse(&self, cells: &Cells, octave: usize, value_ns: u64) {
        cells.take_room();
        cells.add_to_sums(value_ns);
        let coarse = cells.coarse.get_or_init(|| Box::new(array::from_fn(|_| AtomicU64::new(0))));
        add(&coarse[octave], 1);
        add(&self.coarsened, 1);
    }

    fn record_overflow(&self, series: SeriesId, value_ns: u64) {
        let mut spill = self.lock_spill();
        let totals = spill.entry(series.0).or_default();
        totals.add_values(OVERFLOW, 1);
        totals.add_sums(value_ns.into(), Some(u128::from(value_ns) * u128::from(value_ns)));
    }

    fn spill_cell(&self, series: SeriesId, index: usize, cell: &AtomicU32) {
        let mut spill = self.lock_spill();
        spill.entry(series.0).or_default().add_values(index, cell.load(Relaxed).into());
        cell.store(0, Release);
    }

    fn spill_sums(&self, cells: &Cells, series: SeriesId) {
        let mut spill = self.lock_spill();
        let (sum, sum_sq) = cells.sums(Relaxed);
        spill.entry(series.0).or_default().add_sums(sum, Some(sum_sq));
        for cell in [&cells.sum, &cells.sum_sq_low, &cells.sum_sq_high] {
            cell.store(0, Release);
        }
    }

    /// What this shard knows of a series, if anything. Any thread may call it at any time; nothing
    /// is spilled until the reading is dropped.
    pub(crate) fn read(&self, series: SeriesId) -> Option<Reading<'_>> {
        // Whatever is kept of a series elsewhere, it has cells.
        let cells = self.series.get(series.0 as usize)?;
        // Before the cells: whoever is among the slowest is in the buckets, too.
        let slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = slowest.get(&series.0).cloned().unwrap_or_default();
        let spill = self.lock_spill();
        let pages = cells.pages.each_ref().map(AtomicRef::get);
        Some(Reading { series, cells, pages, spill, slowest })
    }

    fn lock_spill(&self) -> MutexGuard<'_, HashMap<u32, Totals>> {
        // No code below the lock can panic half-way through an update.
        self.spill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl Reading<'_> {
    /// Asks for all of the pages. They are far from each other, and reading them one cache line
    /// after the other would mean to wait for memory each time; so the lines arrive together.
    pub(crate) fn touch(&self) {
        let lines = self.pages.iter().flatten().flat_map(|page| page.0.iter().step_by(LINE_CELLS));
        black_box(lines.fold(0u32, |sum, cell| sum.wrapping_add(cell.load(Relaxed))));
    }

    /// The counts of an octave, unless it was never touched.
    pub(crate) fn page(&self, octave: usize) -> Option<impl Iterator<Item = u64>> {
        self.pages[octave].map(|page| page.0.iter().map(|cell| cell.load(Acquire).into()))
    }

    /// What was counted with one bucket for all of an octave.
    pub(crate) fn coarse(&self, octave: usize) -> u64 {
        self.cells.coarse.get().map_or(0, |coarse| coarse[octave].load(Acquire))
    }

    /// What did not fit the cells.
    pub(crate) fn spilled(&self) -> Option<&Totals> {
        self.spill.get(&self.series.0)
    }

    /// Ends the reading with the sums, which may lead the counts but never lag, and the slowest.
    pub(crate) fn end(self) -> (Sums, Slowest) {
        let (sum, sum_sq) = self.cells.sums(Acquire);
        let cells = Sums { sum: Some(sum), sum_sq: Some(sum_sq) };
        let sums = self.spilled().map_or(cells, |spilled| cells.plus(spilled.sums()));
        (sums, self.slowest)
    }
}

impl Cells {
    /// Takes the room of one value, if there is any.
    #[inline(always)]
    fn take_room(&self) -> bool {
        let room = self.room.load(Relaxed).checked_sub(1);
        room.inspect(|&left| self.room.store(left, Relaxed)).is_some()
    }

    fn sums_are_full(&self) -> bool {
        let sums = [&self.sum, &self.sum_sq_low, &self.sum_sq_high];
        sums.into_iter().any(|sum| sum.load(Relaxed) > MAX_SUM)
    }

    #[inline(always)]
    fn add_to_sums(&self, value_ns: u64) {
        let square = u128::from(value_ns) * u128::from(value_ns);
        add(&self.sum, value_ns);
        add(&self.sum_sq_low, square as u64 & LOW);
        add(&self.sum_sq_high, (square >> 32) as u64);
    }

    fn sums(&self, order: std::sync::atomic::Ordering) -> (u128, u128) {
        let low = u128::from(self.sum_sq_low.load(order));
        let high = u128::from(self.sum_sq_high.load(order));
        (self.sum.load(order).into(), (high << 32) + low)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
