//! The sections of one route, found without a lock.

use std::sync::{Mutex, OnceLock, PoisonError};

use latency_experiment_record::{Outcome, reserved};
use xxhash_rust::xxh3::xxh3_64;

use crate::revision::FlagEpoch;
use crate::series_table::SeriesTable;
use crate::slots::Slots;

/// Most sections of one route before further ones share one named `_overflow`.
const MAX_SECTIONS: usize = 64;

/// A section of a route, and the series that were resolved for it so far.
pub(crate) struct SectionSeries {
    pub(crate) name: &'static str,
    /// By flag; the place in each is that of the outcome in [`SECTION_OUTCOMES`].
    pub(crate) series: Box<[SeriesTable]>,
}

/// How a section can end.
pub(crate) const SECTION_OUTCOMES: [Outcome; 2] = [Outcome::Completed, Outcome::Cancelled];

pub(crate) struct SectionTable {
    /// Most routes have no sections.
    slots: OnceLock<Box<Slots<SectionSeries>>>,
    known: Mutex<usize>,
    epochs: &'static [FlagEpoch],
}

impl SectionTable {
    pub(crate) fn new(epochs: &'static [FlagEpoch]) -> Self {
        Self { slots: OnceLock::new(), known: Mutex::new(0), epochs }
    }

    /// The section of this name; it becomes known when the bound allows it, else it is the
    /// overflow section. `None` only when there is no room near either, in a table of 64 names.
    #[inline]
    pub(crate) fn intern(&self, name: &'static str) -> Option<&SectionSeries> {
        self.find(name).or_else(|| self.insert(name))
    }

    #[inline]
    fn find(&self, name: &str) -> Option<&SectionSeries> {
        self.slots.get()?.find(xxh3_64(name.as_bytes()), |section| section.name == name)
    }

    #[cold]
    fn insert(&self, name: &'static str) -> Option<&SectionSeries> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if *known < MAX_SECTIONS { name } else { reserved::OVERFLOW };
        if self.find(name).is_none() {
            let tables =
                self.epochs.iter().map(|epoch| SeriesTable::new(SECTION_OUTCOMES.len(), epoch));
            let section = SectionSeries { name, series: tables.collect() };
            let slots = self.slots.get_or_init(|| Box::new(Slots::new()));
            if slots.insert(xxh3_64(name.as_bytes()), section) {
                *known += 1;
            }
        }
        self.find(name)
    }
}
