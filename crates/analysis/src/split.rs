//! Whether the arms got the requests that their weights allot.

use std::collections::BTreeMap;

use latency_experiment_record::{Milestone, Snapshot, Subject};
use latency_experiment_stats::{self as stats, Allocation};

use crate::epochs::Epochs;
use crate::report::{ExposedSrm, Srm};

/// Tests the split at assignment and, when requests consulted the flag, among those.
pub(crate) fn split(epochs: &Epochs<'_>) -> Result<Srm, stats::Error> {
    let assigned = |snapshot: &Snapshot| snapshot.assigned.clone();
    let exposed_of = |snapshot: &Snapshot| exposed(snapshot);
    let observed = total(epochs, assigned);
    if epochs.subject() != Subject::RequestId {
        return Ok(Srm { observed, p_value: None, mismatch: false, exposed: None });
    }
    let test = test(epochs, assigned)?;
    let exposed = total(epochs, exposed_of);
    Ok(Srm {
        observed,
        p_value: Some(test.p_value),
        mismatch: test.mismatch,
        exposed: if exposed.values().any(|count| *count > 0) {
            let test = self::test(epochs, exposed_of)?;
            let (p_value, mismatch) = (test.p_value, test.mismatch);
            Some(ExposedSrm { observed: exposed, p_value, mismatch })
        } else {
            None
        },
    })
}

type Counts = BTreeMap<String, u64>;

/// Requests that consulted the flag, whatever their outcome.
fn exposed(snapshot: &Snapshot) -> Counts {
    let mut counts = Counts::new();
    for (key, histogram) in &snapshot.series {
        if key.exposed && key.milestone == Milestone::Latency {
            let count = counts.entry(key.arm.clone()).or_default();
            *count = count.saturating_add(histogram.count());
        }
    }
    counts
}

/// Counts of all epochs, with a zero for every arm that has weight and none.
fn total(epochs: &Epochs<'_>, counts: impl Fn(&Snapshot) -> Counts) -> Counts {
    let mut total = Counts::new();
    for snapshot in &epochs.snapshots {
        let counts = counts(snapshot);
        for arm in &snapshot.experiment.arms {
            let count = counts.get(&arm.name).copied().unwrap_or_default();
            if count > 0 || arm.weight > 0 {
                let sum = total.entry(arm.name.clone()).or_default();
                *sum = u64::saturating_add(*sum, count);
            }
        }
    }
    total
}

fn test(
    epochs: &Epochs<'_>,
    counts: impl Fn(&Snapshot) -> Counts,
) -> Result<stats::Srm, stats::Error> {
    let allocations: Vec<(Vec<u64>, Vec<f64>)> = epochs
        .snapshots
        .iter()
        .map(|snapshot| {
            let counts = counts(snapshot);
            let arms = &snapshot.experiment.arms;
            let count = |name: &String| counts.get(name).copied().unwrap_or_default();
            arms.iter().map(|arm| (count(&arm.name), f64::from(arm.weight))).unzip()
        })
        // Without any weight nobody is in the experiment.
        .filter(|(_, weights): &(_, Vec<f64>)| weights.iter().any(|weight| *weight > 0.0))
        .collect();
    let allocations: Vec<Allocation<'_>> =
        allocations.iter().map(|(observed, weights)| Allocation { observed, weights }).collect();
    stats::srm(&allocations)
}
