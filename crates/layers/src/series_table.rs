//! The series of one flag that were resolved so far.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use latency_experiment_flags::RANDOM_GROUPS;
use latency_experiment_record::{ArmId, SeriesId};

use crate::arms::FlagArm;
use crate::revision::FlagEpoch;

/// A dense table of series by place, arm, exposure and, for sticky flags, random group. What a
/// *place* is, the owner knows: of a route it is size class, outcome and milestone.
///
/// A cell holds the ID plus one, or 0 while the series is not resolved.
pub(crate) struct SeriesTable {
    /// Cells per place: two for each arm.
    stride: usize,
    cells: Box<[AtomicU32]>,
    /// Those of the random groups after the first, for a sticky flag.
    further_groups: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

impl SeriesTable {
    pub(crate) fn new(places: usize, epoch: &FlagEpoch) -> Self {
        let stride = ArmId::table_len(epoch.variations.len()) * 2;
        let further_groups = if epoch.sticky { usize::from(RANDOM_GROUPS) - 1 } else { 0 };
        Self {
            stride,
            cells: empty_cells(places * stride),
            further_groups: (0..further_groups).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The series of a place, if it is resolved.
    ///
    /// # Panics
    ///
    /// When there is no such place or arm.
    #[inline]
    pub(crate) fn get(&self, place: usize, arm: FlagArm) -> Option<SeriesId> {
        self.cell(place, arm).load(Relaxed).checked_sub(1).map(SeriesId::from_raw)
    }

    /// The same of the first random group, or of a flag without groups.
    #[inline(always)]
    pub(crate) fn get_ungrouped(&self, place: usize, arm: FlagArm) -> Option<SeriesId> {
        let cell = self.cells.get(place * self.stride + arm.place())?;
        cell.load(Relaxed).checked_sub(1).map(SeriesId::from_raw)
    }

    pub(crate) fn set(&self, place: usize, arm: FlagArm, series: SeriesId) {
        self.cell(place, arm).store(series.to_raw() + 1, Relaxed);
    }

    #[inline]
    fn cell(&self, place: usize, arm: FlagArm) -> &AtomicU32 {
        let index = place * self.stride + arm.place();
        match arm.group() {
            0 => &self.cells[index],
            group => self.cell_of_group(group, index),
        }
    }

    /// The random group that the samples of an arm are told apart by: those of a sticky flag.
    pub(crate) fn random_group(&self, arm: FlagArm) -> Option<u32> {
        let split = arm.arm().index() >= ArmId::arm(0).index();
        (split && !self.further_groups.is_empty()).then(|| arm.group() as u32)
    }

    #[cold]
    #[inline(never)]
    fn cell_of_group(&self, group: usize, index: usize) -> &AtomicU32 {
        let cells = self.further_groups[group - 1].get_or_init(|| empty_cells(self.cells.len()));
        &cells[index]
    }
}

fn empty_cells(len: usize) -> Box<[AtomicU32]> {
    (0..len).map(|_| AtomicU32::new(0)).collect()
}
