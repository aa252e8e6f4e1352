//! Whether the arms got the requests that their weights allot.

use std::collections::BTreeMap;

use latency_experiment_record::{Milestone, Snapshot};
use latency_experiment_stats::{
    self as stats, Allocation, SRM_THRESHOLD, p_value_of_log_e, srm_chi_square,
    srm_log_bayes_factor,
};

use crate::compare::{Setting, Subjects};
use crate::comparison::finite;
use crate::epochs::Epochs;
use crate::report::{ExposedSrm, Srm, SrmChiSquare};

/// Tests the split at assignment and, when requests consulted the flag, among those.
pub(crate) fn split(setting: &Setting<'_>) -> Result<Srm, stats::Error> {
    let epochs = setting.epochs;
    let assigned: Vec<Counts<'_>> = epochs.snapshots.iter().map(|one| assigned(one)).collect();
    let exposed_of: Vec<Counts<'_>> = epochs.snapshots.iter().map(|one| exposed(one)).collect();
    let observed = total(epochs, &assigned);
    let exposed = total(epochs, &exposed_of);
    let consulted = exposed.values().any(|count| *count > 0);
    let untested = Srm {
        observed,
        p_value: None,
        mismatch: false,
        log_e: None,
        log_bayes_factors: None,
        chi_square: None,
        exposed: None,
    };
    match &setting.subjects {
        Subjects::Sticky(groups) if groups.suffice() => {
            let log_e = groups.split_log_e(epochs, false)?;
            let of_exposed = groups.split_log_e(epochs, true)?.filter(|_| consulted);
            Ok(Srm {
                p_value: log_e.map(p_value_of_log_e),
                mismatch: log_e.is_some_and(is_mismatch),
                log_e: log_e.and_then(finite),
                exposed: of_exposed.map(|log_e| ExposedSrm {
                    observed: exposed,
                    p_value: p_value_of_log_e(log_e),
                    mismatch: is_mismatch(log_e),
                }),
                ..untested
            })
        }
        // Whole blocks, or users, go to one arm: requests say nothing about the split.
        Subjects::Sticky(_) | Subjects::TimeSlices(_) => Ok(untested),
        Subjects::Requests { .. } => {
            let allocations = allocations(epochs, &assigned);
            let test = stats::srm(&borrowed(&allocations))?;
            Ok(Srm {
                p_value: Some(test.p_value),
                mismatch: test.mismatch,
                log_e: finite(test.log_e),
                log_bayes_factors: log_bayes_factors(&allocations)?,
                chi_square: if setting.plan.fixed_n() { chi_square(&allocations)? } else { None },
                exposed: if consulted {
                    let allocations = self::allocations(epochs, &exposed_of);
                    let test = stats::srm(&borrowed(&allocations))?;
                    let (p_value, mismatch) = (test.p_value, test.mismatch);
                    Some(ExposedSrm { observed: exposed, p_value, mismatch })
                } else {
                    None
                },
                ..untested
            })
        }
    }
}

fn is_mismatch(log_e: f64) -> bool {
    log_e >= SRM_THRESHOLD.ln()
}

/// By concentration, the sum over epochs; absent where an arm without weight got requests.
fn log_bayes_factors(
    allocations: &[Allotted],
) -> Result<Option<BTreeMap<String, f64>>, stats::Error> {
    let mut factors = BTreeMap::new();
    for concentration in [10_000.0, 100.0] {
        let mut sum = 0.0;
        for epoch in borrowed(allocations) {
            sum += srm_log_bayes_factor(epoch, concentration)?;
        }
        let Some(sum) = finite(sum) else { return Ok(None) };
        factors.insert(concentration.to_string(), sum);
    }
    Ok(Some(factors))
}

/// Pearson's test, of the one epoch there is.
fn chi_square(allocations: &[Allotted]) -> Result<Option<SrmChiSquare>, stats::Error> {
    let [epoch] = &borrowed(allocations)[..] else { return Ok(None) };
    let test = srm_chi_square(*epoch)?;
    Ok(finite(test.statistic).map(|statistic| SrmChiSquare { statistic, p_value: test.p_value }))
}

/// Requests of one epoch by arm.
type Counts<'a> = BTreeMap<&'a str, u64>;

fn assigned(snapshot: &Snapshot) -> Counts<'_> {
    snapshot.assigned.iter().map(|(arm, count)| (arm.as_str(), *count)).collect()
}

/// Requests that consulted the flag, whatever their outcome.
fn exposed(snapshot: &Snapshot) -> Counts<'_> {
    let mut counts = Counts::new();
    for (key, histogram) in &snapshot.series {
        if key.exposed && key.milestone == Milestone::Latency {
            let count = counts.entry(key.arm.as_str()).or_default();
            *count = count.saturating_add(histogram.count());
        }
    }
    counts
}

/// Counts of all epochs, with a zero for every arm that has weight and none.
fn total(epochs: &Epochs<'_>, counts: &[Counts<'_>]) -> BTreeMap<String, u64> {
    let mut total = BTreeMap::new();
    for (snapshot, counts) in epochs.snapshots.iter().zip(counts) {
        for arm in &snapshot.experiment.arms {
            let count = counts.get(arm.name.as_str()).copied().unwrap_or_default();
            if count > 0 || arm.weight > 0 {
                let sum = total.entry(arm.name.clone()).or_default();
                *sum = u64::saturating_add(*sum, count);
            }
        }
    }
    total
}

/// Requests and weight of each arm.
type Allotted = (Vec<u64>, Vec<f64>);

fn allocations(epochs: &Epochs<'_>, counts: &[Counts<'_>]) -> Vec<Allotted> {
    epochs
        .snapshots
        .iter()
        .zip(counts)
        .map(|(snapshot, counts)| {
            let arms = &snapshot.experiment.arms;
            let count = |name: &str| counts.get(name).copied().unwrap_or_default();
            arms.iter().map(|arm| (count(&arm.name), f64::from(arm.weight))).unzip()
        })
        // Without any weight nobody is in the experiment.
        .filter(|(_, weights): &Allotted| weights.iter().any(|weight| *weight > 0.0))
        .collect()
}

fn borrowed(allocations: &[Allotted]) -> Vec<Allocation<'_>> {
    allocations.iter().map(|(observed, weights)| Allocation { observed, weights }).collect()
}
