//! What successive snapshots of one process know together.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use latency_experiment_record::{ExperimentId, IntervalRing, Recorder, Snapshot, ThresholdFreeze};

/// Takes snapshots one after the other, each with what the ones before it laid down: thresholds that
/// were frozen from the first requests, and the history in intervals.
pub(crate) struct Looks {
    recorder: Recorder,
    memory: Mutex<Memory>,
}

struct Memory {
    freeze: ThresholdFreeze,
    history: Option<IntervalRing>,
}

impl Looks {
    pub(crate) fn new(recorder: Recorder, history: Option<IntervalRing>) -> Self {
        let memory = Mutex::new(Memory { freeze: ThresholdFreeze::default(), history });
        Self { recorder, memory }
    }

    pub(crate) fn snapshot(&self, epoch: ExperimentId) -> Snapshot {
        // Held while the snapshot is taken: they are shown in the order in which they are taken.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot = self.recorder.snapshot(epoch, Timestamp::now());
        memory.freeze.show(&mut snapshot);
        if let Some(history) = &mut memory.history {
            history.show(&mut snapshot);
        }
        snapshot
    }
}
