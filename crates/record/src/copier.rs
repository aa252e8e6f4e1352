//! Copies series out of the shards, one after the other.

use std::collections::BTreeMap;

use crate::layout::{PAGE_BUCKETS, PAGES};
use crate::runs::{Runs, RunsWriter, Written};
use crate::shard::{Reading, SeriesId, Shard};
use crate::slowest::{SlowRequest, Slowest};
use crate::totals::Totals;
use crate::{Histogram, SeriesKey, Sums};

/// Adds up what shards know of series, into one allocation for all of them.
pub(crate) struct Copier<'a> {
    shards: &'a [&'static Shard],
    readings: Vec<Reading<'static>>,
    writer: RunsWriter,
    copied: Vec<(SeriesKey, Written, Sums)>,
    slowest: BTreeMap<SeriesKey, Vec<SlowRequest>>,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(shards: &'a [&'static Shard]) -> Self {
        Self {
            shards,
            readings: Vec::new(),
            writer: RunsWriter::default(),
            copied: Vec::new(),
            slowest: BTreeMap::new(),
        }
    }

    /// Copies a series, unless it holds nothing.
    pub(crate) fn copy(&mut self, series: SeriesId, key: SeriesKey) {
        self.readings.extend(self.shards.iter().filter_map(|shard| shard.read(series)));
        self.readings.iter().for_each(Reading::touch);
        for octave in 0..PAGES {
            self.copy_octave(octave);
        }
        let spilled = self.readings.iter().filter_map(Reading::spilled);
        let overflow = spilled.map(Totals::overflow).fold(0, u64::saturating_add);
        if overflow > 0 {
            self.writer.overflow(overflow);
        }
        let (mut sums, mut slowest) = (Sums::ZERO, Slowest::default());
        for reading in self.readings.drain(..) {
            let (more, slow) = reading.end();
            sums = sums.plus(more);
            slowest.extend(slow.into_list());
        }
        let written = self.writer.end();
        if written.count == 0 {
            return;
        }
        if !slowest.is_empty() {
            self.slowest.insert(key.clone(), slowest.into_list());
        }
        self.copied.push((key, written, sums));
    }

    fn copy_octave(&mut self, octave: usize) {
        let readings = &self.readings;
        let coarse = readings.iter().map(|reading| reading.coarse(octave));
        let coarse = coarse.fold(0, u64::saturating_add);
        let mut pages = readings.iter().filter_map(|reading| reading.page(octave)).fuse();
        let mut spilled =
            readings.iter().filter_map(|reading| reading.spilled()?.page(octave)).peekable();
        let (first, second, third) = (pages.next(), pages.next(), pages.next());
        if coarse > 0 || third.is_some() || spilled.peek().is_some() {
            // The general case.
            let mut page = [0u64; PAGE_BUCKETS];
            for more in [first, second, third].into_iter().flatten().chain(pages) {
                page.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
            for more in spilled {
                page.iter_mut().zip(more).for_each(|(c, more)| *c = c.saturating_add(*more));
            }
            if coarse > 0 {
                // An octave that any shard counted coarsely becomes one bucket: finer counts of
                // other shards cannot stand beside it without overlapping it.
                self.writer.whole(octave, page.iter().copied().fold(coarse, u64::saturating_add));
            } else {
                self.writer.octave(octave, page.into_iter());
            }
        } else if let Some(first) = first {
            match second {
                Some(second) => self.writer.octave(octave, first.zip(second).map(|(a, b)| a + b)),
                None => self.writer.octave(octave, first),
            }
        }
    }

    /// All that was copied: the histograms, and the slowest requests where any are known.
    pub(crate) fn finish(
        self,
    ) -> (BTreeMap<SeriesKey, Histogram>, BTreeMap<SeriesKey, Vec<SlowRequest>>) {
        let shared = self.writer.into_shared();
        let series = self.copied.into_iter().map(|(key, written, sums)| {
            let count = written.count;
            (key, Histogram::of_runs(Runs::new(&shared, written), count, sums))
        });
        (series.collect(), self.slowest)
    }
}
