//! Snapshots sorted into epochs, and what they have to agree on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use latency_experiment_record::{Snapshot, Subject};
use latency_experiment_stats::Share;

use crate::Error;
use crate::compare::CONTROL;

/// One snapshot per epoch and fingerprint, ascending.
pub(crate) struct Epochs<'a> {
    pub(crate) snapshots: Vec<Cow<'a, Snapshot>>,
    /// Control first, then the variations that are compared with it.
    pub(crate) arms: Vec<String>,
}

impl<'a> Epochs<'a> {
    /// Merges the snapshots of equal epochs and fingerprints.
    ///
    /// Fails without snapshots, on different experiments or controls, and where
    /// [`Snapshot::merge`] does.
    pub(crate) fn try_new(snapshots: &'a [Snapshot]) -> Result<Self, Error> {
        let Some(first) = snapshots.first() else {
            return Err(Error::snapshots("no snapshot is given: at least one is needed"));
        };
        // Snapshots of one instance are merged before others come in between, so that an instance
        // that was down for a while is not taken for one that is counted twice.
        let mut sorted: Vec<&Snapshot> = snapshots.iter().collect();
        sorted.sort_by(|a, b| order(a).cmp(&order(b)));
        let mut merged: Vec<Cow<'a, Snapshot>> = Vec::new();
        for snapshot in sorted {
            let (ours, theirs) = (&first.experiment, &snapshot.experiment);
            for (what, ours, theirs) in [
                ("experiment", &ours.name, &theirs.name),
                ("control", &ours.control, &theirs.control),
            ] {
                if ours != theirs {
                    let (a, b) = (ours.min(theirs), ours.max(theirs));
                    return Err(Error::snapshots(format!(
                        "{what}: `{a}` in one snapshot but `{b}` in another: one report is about one experiment with one control"
                    )));
                }
            }
            match merged.last_mut() {
                Some(last) if allocation(last) == allocation(snapshot) => {
                    *last = Cow::Owned(last.merge(snapshot)?);
                }
                _ => merged.push(Cow::Borrowed(snapshot)),
            }
        }
        let arms = arms(&merged);
        Ok(Self { snapshots: merged, arms })
    }

    pub(crate) fn latest(&self) -> &Snapshot {
        self.snapshots.last().expect("there is at least one snapshot")
    }

    /// The epochs, ascending, without repetition.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let numbers: BTreeSet<u64> = self.snapshots.iter().map(|s| s.experiment.epoch).collect();
        numbers.into_iter().collect()
    }

    /// The subject that every request-level test would have to respect: the first that is not the
    /// request ID.
    pub(crate) fn subject(&self) -> Subject {
        self.snapshots
            .iter()
            .map(|snapshot| snapshot.experiment.subject)
            .find(|subject| *subject != Subject::RequestId)
            .unwrap_or(Subject::RequestId)
    }

    /// Epochs that were recorded under more than one allocation, with the fingerprints.
    pub(crate) fn mixed_fingerprints(&self) -> Vec<(u64, Vec<String>)> {
        let mut fingerprints: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for snapshot in &self.snapshots {
            let experiment = &snapshot.experiment;
            fingerprints
                .entry(experiment.epoch)
                .or_default()
                .push(experiment.fingerprint.to_string());
        }
        fingerprints.into_iter().filter(|(_, found)| found.len() > 1).collect()
    }

    /// Share of the two arms' requests that the variation was allotted in an epoch; `None` when
    /// either it or the control has no weight there.
    pub(crate) fn share(&self, epoch: usize, variation: usize) -> Option<Share> {
        let weight = |arm: usize| f64::from(self.weight(epoch, &self.arms[arm]));
        let (control, variation) = (weight(CONTROL), weight(variation));
        Share::new(variation / (control + variation)).ok()
    }

    /// The weight of an arm in an epoch; 0 where it is not listed.
    fn weight(&self, epoch: usize, arm: &str) -> u32 {
        let arms = &self.snapshots[epoch].experiment.arms;
        arms.iter().find(|listed| listed.name == arm).map_or(0, |listed| listed.weight)
    }
}

fn allocation(snapshot: &Snapshot) -> (u64, impl Ord) {
    (snapshot.experiment.epoch, snapshot.experiment.fingerprint)
}

fn order(snapshot: &Snapshot) -> impl Ord + '_ {
    (allocation(snapshot), &snapshot.instance, snapshot.started_at, snapshot.taken_at)
}

/// Control, then every arm that had weight or requests in some epoch, in the order in which the
/// latest epoch lists them.
fn arms(snapshots: &[Cow<'_, Snapshot>]) -> Vec<String> {
    let mut arms: Vec<String> = Vec::new();
    for snapshot in snapshots.iter().rev() {
        let experiment = &snapshot.experiment;
        if arms.is_empty() {
            arms.push(experiment.control.clone());
        }
        for arm in &experiment.arms {
            let served = arm.weight > 0 || snapshot.series.keys().any(|key| key.arm == arm.name);
            if served && !arms.contains(&arm.name) {
                arms.push(arm.name.clone());
            }
        }
    }
    arms
}
