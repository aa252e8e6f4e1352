//! Buckets of the layout of this crate in two bytes each, as long as they hold few values.
//!
//! A snapshot of thousands of series is written into memory that was never touched before, so its
//! time goes by with the bytes it takes. Buckets are therefore kept by the octave, each octave
//! with counts as wide as its largest one needs:
//!
//! | bytes | |
//! |---|---|
//! | 1 | octave, or [`PAGES`] for the overflow bucket |
//! | 1 | n, how many buckets of it hold anything, at least 1 |
//! | 1 | w, the bytes per count: 1, 2, 4 or 8 |
//! | n | offsets of the buckets in the octave, ascending; [`WHOLE`] alone is the octave as one bucket |
//! | n × w | their counts, the low byte first |
//!
//! Octaves ascend. Equal buckets have equal bytes.

use std::ops::Range;
use std::sync::Arc;
use std::{fmt, mem};

use crate::Bucket;
use crate::layout::{self, BUCKETS, PAGE_BUCKETS, PAGES};

/// Ascending buckets of the layout of this crate.
///
/// All series of a snapshot share one allocation, which lives as long as one of them.
#[derive(Clone, Default)]
pub(crate) struct Runs {
    shared: Arc<Vec<u8>>,
    range: Range<usize>,
    buckets: usize,
    /// Whether a bucket stands for a whole octave.
    whole: bool,
}

/// Puts bytes together: of one histogram after the other, of each octave by octave.
#[derive(Debug, Default)]
pub(crate) struct RunsWriter {
    bytes: Vec<u8>,
    start: usize,
    whole: bool,
    buckets: usize,
    count: u64,
}

/// What was written of one histogram.
#[derive(Debug)]
pub(crate) struct Written {
    range: Range<usize>,
    buckets: usize,
    whole: bool,
    /// The sum of its counts.
    pub(crate) count: u64,
}

/// Iterates over the buckets of [`Runs`].
#[derive(Clone, Debug)]
pub(crate) struct RunsIter<'a> {
    current: Option<Run<'a>>,
    rest: &'a [u8],
    left: usize,
}

/// The buckets of one octave.
#[derive(Clone, Copy, Debug)]
struct Run<'a> {
    octave: usize,
    width: usize,
    offsets: &'a [u8],
    counts: &'a [u8],
    /// All of it, as it is written.
    bytes: &'a [u8],
}

/// The offset that stands for all of an octave.
const WHOLE: u8 = u8::MAX;
const HEADER: usize = 3;

type Page = [u64; PAGE_BUCKETS];

impl RunsWriter {
    /// Adds the counts of an octave, above all that were added before; nothing when all are 0.
    #[inline]
    pub(crate) fn octave(&mut self, octave: usize, counts: impl Iterator<Item = u64>) {
        let (mut offsets, mut filled_counts) = ([0; PAGE_BUCKETS], [0; PAGE_BUCKETS]);
        let mut filled = 0;
        // Empty buckets are scattered over an octave, so a branch for each of them would be
        // mispredicted: each is written, and the next one over it if it was empty.
        for (offset, count) in (0..PAGE_BUCKETS).zip(counts) {
            offsets[filled % PAGE_BUCKETS] = offset as u8;
            filled_counts[filled % PAGE_BUCKETS] = count;
            filled += usize::from(count > 0);
        }
        self.run(octave, &offsets[..filled], &filled_counts[..filled]);
    }

    /// Adds an octave as one bucket.
    pub(crate) fn whole(&mut self, octave: usize, count: u64) {
        self.whole |= count > 0;
        self.run(octave, &[WHOLE], &[count]);
    }

    /// Adds the overflow bucket, after everything else.
    pub(crate) fn overflow(&mut self, count: u64) {
        self.run(PAGES, &[0], &[count]);
    }

    fn run(&mut self, octave: usize, offsets: &[u8], counts: &[u64]) {
        if offsets.is_empty() {
            return;
        }
        let bits = counts.iter().fold(0, |bits, count| bits | count);
        let width = (bits.ilog2() / 8 + 1).next_power_of_two();
        self.buckets += offsets.len();
        // As many counts as an octave has cannot overflow below 2⁵⁶; a sum that may has a branch.
        self.count = if bits >> 56 == 0 {
            self.count.saturating_add(counts.iter().sum())
        } else {
            counts.iter().fold(self.count, |sum, &count| sum.saturating_add(count))
        };
        self.bytes.extend_from_slice(&[octave as u8, offsets.len() as u8, width as u8]);
        self.bytes.extend_from_slice(offsets);
        let counts = counts.iter();
        match width {
            1 => self.bytes.extend(counts.map(|&count| count as u8)),
            2 => self.bytes.extend(counts.flat_map(|&count| (count as u16).to_le_bytes())),
            4 => self.bytes.extend(counts.flat_map(|&count| (count as u32).to_le_bytes())),
            _ => self.bytes.extend(counts.flat_map(|&count| count.to_le_bytes())),
        }
    }

    fn copy(&mut self, run: Run<'_>) {
        self.bytes.extend_from_slice(run.bytes);
        self.buckets += run.offsets.len();
        self.whole |= run.is_whole();
    }

    /// Ends a histogram; what is added from now on belongs to the next one.
    pub(crate) fn end(&mut self) -> Written {
        let range = mem::replace(&mut self.start, self.bytes.len())..self.bytes.len();
        Written {
            range,
            buckets: mem::take(&mut self.buckets),
            whole: mem::take(&mut self.whole),
            count: mem::take(&mut self.count),
        }
    }

    /// What was written, to be shared by all of its histograms.
    pub(crate) fn into_shared(self) -> Arc<Vec<u8>> {
        Arc::new(self.bytes)
    }

    fn into_runs(mut self) -> Runs {
        let written = self.end();
        self.bytes.shrink_to_fit();
        Runs::new(&self.into_shared(), written)
    }
}

impl Runs {
    pub(crate) fn new(shared: &Arc<Vec<u8>>, written: Written) -> Self {
        let Written { range, buckets, whole, .. } = written;
        Self { shared: Arc::clone(shared), range, buckets, whole }
    }

    /// `None` when a bucket is not of this layout. The buckets ascend and hold something.
    pub(crate) fn of_buckets(buckets: &[Bucket]) -> Option<Self> {
        let mut writer = RunsWriter::default();
        let mut page = [0; PAGE_BUCKETS];
        let mut filling = None;
        for &Bucket { lower, upper, count } in buckets {
            let index = layout::index_of(lower);
            let octave = index / PAGE_BUCKETS;
            if let Some(before) = filling.take_if(|filling| *filling != octave) {
                writer.octave(before, page.into_iter());
                page = [0; PAGE_BUCKETS];
            }
            if layout::bounds_of(index) == (lower, upper) {
                if index < BUCKETS {
                    page[index % PAGE_BUCKETS] = count;
                    filling = Some(octave);
                } else {
                    writer.overflow(count);
                }
            } else if index < BUCKETS && layout::page_bounds_of(octave) == (lower, upper) {
                writer.whole(octave, count);
            } else {
                return None;
            }
        }
        if let Some(octave) = filling {
            writer.octave(octave, page.into_iter());
        }
        Some(writer.into_runs())
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets
    }

    /// `false`, without a call, when a bucket stands for a whole octave.
    pub(crate) fn for_each_position(&self, mut see: impl FnMut(usize, u64)) -> bool {
        if self.whole {
            return false;
        }
        for run in self.runs() {
            run.each(|offset, count| see(run.octave * PAGE_BUCKETS + offset, count));
        }
        true
    }

    pub(crate) fn iter(&self) -> RunsIter<'_> {
        RunsIter { current: None, rest: self.bytes(), left: self.len() }
    }

    /// Both together, where their counts together are known to fit 64 bits. An octave that is one
    /// bucket in either is one in both.
    pub(crate) fn merge(&self, other: &Self) -> Self {
        let mut writer = RunsWriter::default();
        writer.bytes.reserve(self.bytes().len() + other.bytes().len());
        let (mut ours, mut theirs) = (self.runs().peekable(), other.runs().peekable());
        loop {
            match (ours.peek().copied(), theirs.peek().copied()) {
                (Some(a), Some(b)) if a.octave == b.octave => {
                    if a.is_whole() || b.is_whole() {
                        writer.whole(a.octave, a.total() + b.total());
                    } else {
                        let mut page = a.page();
                        b.each(|offset, count| page[offset] += count);
                        writer.octave(a.octave, page.into_iter());
                    }
                    ours.next();
                    theirs.next();
                }
                (Some(a), b) if b.is_none_or(|b| a.octave < b.octave) => {
                    writer.copy(a);
                    ours.next();
                }
                (_, Some(b)) => {
                    writer.copy(b);
                    theirs.next();
                }
                (_, None) => return writer.into_runs(),
            }
        }
    }

    /// What is here and not there; `None` when there is something that is not here.
    pub(crate) fn subtract(&self, earlier: &Self) -> Option<Self> {
        let mut writer = RunsWriter::default();
        let mut before = earlier.runs().peekable();
        for now in self.runs() {
            let Some(before) = before.next_if(|before| before.octave == now.octave) else {
                writer.copy(now);
                continue;
            };
            if now.is_whole() {
                // The octave may have become one bucket since then.
                match now.total().checked_sub(before.total())? {
                    0 => {}
                    left => writer.whole(now.octave, left),
                }
            } else if before.is_whole() {
                return None;
            } else {
                let mut page = now.page();
                let mut missing = false;
                before.each(|offset, count| {
                    missing |= page[offset] < count;
                    page[offset] = page[offset].wrapping_sub(count);
                });
                if missing {
                    return None;
                }
                writer.octave(now.octave, page.into_iter());
            }
        }
        before.next().is_none().then(|| writer.into_runs())
    }

    fn bytes(&self) -> &[u8] {
        &self.shared[self.range.clone()]
    }

    fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let mut rest = self.bytes();
        std::iter::from_fn(move || Run::split_off(&mut rest))
    }
}

impl PartialEq for Runs {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Runs {}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Run<'a> {
    fn split_off(rest: &mut &'a [u8]) -> Option<Self> {
        let &[octave, buckets, width, ..] = *rest else { return None };
        let (buckets, width) = (usize::from(buckets), usize::from(width));
        let bytes = rest.split_off(..HEADER + buckets * (1 + width))?;
        let (offsets, counts) = bytes[HEADER..].split_at(buckets);
        Some(Self { octave: octave.into(), width, offsets, counts, bytes })
    }

    fn is_whole(self) -> bool {
        self.offsets == [WHOLE]
    }

    fn total(self) -> u64 {
        let mut total = 0;
        self.each(|_, count| total += count);
        total
    }

    fn page(self) -> Page {
        let mut page = [0; PAGE_BUCKETS];
        self.each(|offset, count| page[offset] = count);
        page
    }

    /// Calls `see` with the offset and the count of each bucket.
    fn each(self, mut see: impl FnMut(usize, u64)) {
        if self.width == 1 {
            for (&offset, &count) in self.offsets.iter().zip(self.counts) {
                see(offset.into(), count.into());
            }
        } else {
            for (&offset, count) in self.offsets.iter().zip(self.counts.chunks_exact(self.width)) {
                see(offset.into(), integer(count));
            }
        }
    }

    fn pop(&mut self) -> Option<Bucket> {
        let (&offset, offsets) = self.offsets.split_first()?;
        let (count, counts) = self.counts.split_at(self.width);
        (self.offsets, self.counts) = (offsets, counts);
        let (lower, upper) = if offset == WHOLE {
            layout::page_bounds_of(self.octave)
        } else {
            layout::bounds_of(self.octave * PAGE_BUCKETS + usize::from(offset))
        };
        Some(Bucket { lower, upper, count: integer(count) })
    }
}

/// The integer of these bytes, the low byte first.
fn integer(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        _ => bytes.iter().rev().fold(0, |integer, &byte| integer << 8 | u64::from(byte)),
    }
}

impl Iterator for RunsIter<'_> {
    type Item = Bucket;

    fn next(&mut self) -> Option<Bucket> {
        loop {
            if let Some(bucket) = self.current.as_mut().and_then(Run::pop) {
                self.left -= 1;
                return Some(bucket);
            }
            self.current = Some(Run::split_off(&mut self.rest)?);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::OVERFLOW;

    fn bucket((lower, upper): (u64, u64), count: u64) -> Bucket {
        Bucket { lower, upper, count }
    }

    #[test]
    fn every_bucket_and_octave_survives_with_counts_of_every_width() {
        for count in [1, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, u64::MAX] {
            let all: Vec<_> =
                (0..=OVERFLOW).map(|index| bucket(layout::bounds_of(index), count)).collect();
            let octaves: Vec<_> =
                (0..PAGES).map(|octave| bucket(layout::page_bounds_of(octave), count)).collect();
            for buckets in [all, octaves] {
                let runs = Runs::of_buckets(&buckets).unwrap();
                assert_eq!(runs.iter().collect::<Vec<_>>(), buckets);
                assert_eq!(runs.iter().size_hint().0, buckets.len());
            }
        }
    }

    #[test]
    fn other_layouts_are_not_held() {
        for bounds in [(0, 1), (256, 256), (0, 255), (1 << 36, 1 << 37), (129, 255)] {
            assert_eq!(Runs::of_buckets(&[bucket(bounds, 1)]), None);
        }
    }
}
