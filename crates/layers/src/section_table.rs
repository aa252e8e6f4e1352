//! The sections of one route, found without a lock.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, PoisonError};

use latency_experiment_record::reserved;
use xxhash_rust::xxh3::xxh3_64;

use crate::slots::Slots;

/// Most sections of one route before further ones share one named `_overflow`.
const MAX_SECTIONS: usize = 64;

/// A section of a route, and the series that were resolved for it so far.
pub(crate) struct SectionSeries {
    pub(crate) name: &'static str,
    /// Series by flag, arm, outcome and exposure: the ID plus one, or 0 while it is not resolved.
    pub(crate) series: Box<[AtomicU32]>,
}

pub(crate) struct SectionTable {
    slots: Slots<SectionSeries>,
    known: Mutex<usize>,
    series_per_section: usize,
}

impl SectionTable {
    pub(crate) fn new(series_per_section: usize) -> Self {
        Self { slots: Slots::new(), known: Mutex::new(0), series_per_section }
    }

    /// The section of this name; it becomes known when the bound allows it, else it is the
    /// overflow section. `None` only when there is no room near either, in a table of 64 names.
    #[inline]
    pub(crate) fn intern(&self, name: &'static str) -> Option<&SectionSeries> {
        self.find(name).or_else(|| self.insert(name))
    }

    #[inline]
    fn find(&self, name: &str) -> Option<&SectionSeries> {
        self.slots.find(xxh3_64(name.as_bytes()), |section| section.name == name)
    }

    #[cold]
    fn insert(&self, name: &'static str) -> Option<&SectionSeries> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if *known < MAX_SECTIONS { name } else { reserved::OVERFLOW };
        if self.find(name).is_none() {
            let series = (0..self.series_per_section).map(|_| AtomicU32::new(0)).collect();
            if self.slots.insert(xxh3_64(name.as_bytes()), SectionSeries { name, series }).is_ok() {
                *known += 1;
            }
        }
        self.find(name)
    }
}
