//! What must hold for any traffic: swapping arms, scaling all values, coarser buckets, and no number that
//! is none.

mod support;

use std::collections::BTreeMap;

use latency_experiment_analysis::{Comparison, Interval, Plan, Report, analyze};
use latency_experiment_record::{
    Bucket, Fingerprint, Histogram, Milestone, Outcome, SeriesKey, Snapshot, Subject, Sums,
};
use proptest::prelude::*;
use support::*;

/// Random traffic in the recorder's layout: routes, epochs of different splits, failures, any counts.
fn traffic(seed: u64) -> Vec<Snapshot> {
    let mut random = Seeded::new(seed);
    let epochs = 1 + random.next() % 2;
    (1..=epochs).map(|epoch| epoch_of(epoch, &mut random)).collect()
}

fn epoch_of(epoch: u64, random: &mut Seeded) -> Snapshot {
    let weights = [1 + random.next() % 9, 1 + random.next() % 9].map(|weight| weight as u32);
    let mut snapshot = Service::with(|experiment| {
        experiment.epoch = epoch;
        experiment.fingerprint = Fingerprint(epoch);
        experiment.arms = arms(&[("control", weights[0]), ("variation", weights[1])]);
    })
    .snapshot();
    let scale = [1, 30, 3_000, 1_000_000_000][(random.next() % 4) as usize];
    for route in 0..=random.next() % 3 {
        for (arm, weight) in ["control", "variation"].into_iter().zip(weights) {
            for outcome in [Outcome::Completed, Outcome::ServerError, Outcome::Cancelled] {
                if outcome != Outcome::Completed && random.next().is_multiple_of(2) {
                    continue;
                }
                let key = SeriesKey {
                    arm: arm.to_owned(),
                    route: format!("GET /{route}"),
                    size: ["0-500kB", ">1000kB"][(random.next() % 2) as usize].to_owned(),
                    outcome,
                    milestone: Milestone::Latency,
                    exposed: true,
                    group: None,
                    block: None,
                };
                let mut counts: BTreeMap<(u64, u64), u64> = BTreeMap::new();
                for _ in 0..random.next() % 60 {
                    let value = random.latency(3e6, 0.6);
                    let width = 1 << (value.ilog2() - 7);
                    let lower = value - value % width;
                    *counts.entry((lower, lower + width - 1)).or_default() +=
                        1 + random.next() % (scale * u64::from(weight));
                }
                let buckets = counts.into_iter().map(|((lower, upper), count)| Bucket {
                    lower,
                    upper,
                    count,
                });
                let histogram = Histogram::try_new(buckets.collect(), Sums::UNKNOWN).unwrap();
                let assigned = snapshot.assigned.entry(arm.to_owned()).or_default();
                *assigned += histogram.count();
                snapshot.series.insert(key, histogram);
            }
        }
    }
    snapshot
}

fn map_buckets(snapshots: &[Snapshot], map: impl Fn(Bucket) -> Bucket) -> Vec<Snapshot> {
    let mut mapped = snapshots.to_vec();
    for histogram in mapped.iter_mut().flat_map(|snapshot| snapshot.series.values_mut()) {
        let mut buckets: Vec<Bucket> = Vec::new();
        for bucket in histogram.buckets().into_iter().map(&map) {
            match buckets.last_mut() {
                Some(last) if last.lower == bucket.lower => last.count += bucket.count,
                _ => buckets.push(bucket),
            }
        }
        *histogram = Histogram::try_new(buckets, Sums::UNKNOWN).unwrap();
    }
    mapped
}

fn full(snapshots: &[Snapshot]) -> Report {
    let plan = Plan::default().with_fixed_n(true).with_strict(true).with_hodges_lehmann(true);
    analyze(snapshots, &plan.with_equivalence_margin(0.05).unwrap()).unwrap()
}

fn close(a: Option<f64>, b: Option<f64>, tolerance: f64) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-12 + tolerance * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// 1 / the ratio: its ends change places, and a ratio of 0 has no reciprocal.
fn reciprocal(ratio: Interval) -> [Option<f64>; 3] {
    let inverse = |value: Option<f64>| match value {
        None => Some(0.0),
        Some(0.0) => None,
        Some(value) => Some(1.0 / value),
    };
    [
        ratio.estimate.and_then(|value| inverse(Some(value))),
        inverse(ratio.upper),
        inverse(ratio.lower),
    ]
}

fn ratio_of(lift: Interval) -> Interval {
    let mut ratio = lift;
    for value in [&mut ratio.estimate, &mut ratio.lower, &mut ratio.upper] {
        *value = value.map(|value| value + 1.0);
    }
    ratio
}

fn assert_reciprocal(a: Interval, b: Interval, tolerance: f64, what: &str) {
    // A ratio that hardly anything bounds, as a lift close to -1, has lost its digits.
    let extreme = |value: &f64| *value > 1e6 || *value != 0.0 && *value < 1e-6;
    if [a, b].iter().flat_map(|one| [one.lower, one.upper]).flatten().any(|end| extreme(&end)) {
        return;
    }
    let expected = reciprocal(a);
    // An infinite point is absent, and its reciprocal 0.
    let infinite = matches!((a.estimate, b.estimate), (None, Some(0.0)) | (Some(0.0), None));
    let ends = [b.lower, b.upper].into_iter().zip(expected[1..].iter().copied());
    for (actual, expected) in ends.chain((!infinite).then_some((b.estimate, expected[0]))) {
        assert!(close(actual, expected, tolerance), "{what}: {a:?} {b:?}");
    }
}

fn swapped(comparison: &Comparison, other: &Comparison) {
    let name = format!("{:?}", comparison.segment);
    assert_eq!(comparison.n.control, other.n.variation);
    for (a, b) in comparison.quantiles.iter().zip(&other.quantiles) {
        let what = format!("{name} q {}", a.q);
        assert_reciprocal(ratio_of(a.lift), ratio_of(b.lift), 1e-9, &what);
        assert!(close(a.p_value, b.p_value, 1e-9), "{what}");
        assert!(close(a.strict_p_value, b.strict_p_value, 1e-9), "{what}");
        assert!(close(a.difference.lower_ns, b.difference.upper_ns.map(|v| -v), 1e-9), "{what}");
        assert!(close(a.control.upper_ns, b.variation.upper_ns, 1e-9), "{what}");
    }
    let (a, b) = (comparison.mean.lift, other.mean.lift);
    assert_reciprocal(ratio_of(a), ratio_of(b), 1e-9, &name);
    if let Some((a, b)) = comparison.mann_whitney.zip(other.mann_whitney) {
        assert!(close(Some(a.probability_faster), Some(1.0 - b.probability_faster), 1e-12));
        assert!(
            close(Some(a.z), Some(-b.z), 1e-9) && close(Some(a.p_value), Some(b.p_value), 1e-9)
        );
    }
    for (a, b) in [
        (comparison.errors_ratio, other.errors_ratio),
        (comparison.censored_ratio, other.censored_ratio),
    ] {
        if let Some((a, b)) = a.zip(b) {
            assert_reciprocal(a, b, 1e-6, &name);
        }
    }
    if let Some((a, b)) = comparison.labels.as_ref().zip(other.labels.as_ref()) {
        assert!(close(Some(a.errors.two_sided), Some(b.errors.two_sided), 1e-9));
        assert!(close(Some(a.errors.more), Some(b.errors.fewer), 1e-9));
    }
    if let Some((a, b)) = comparison.hodges_lehmann.zip(other.hodges_lehmann) {
        assert_reciprocal(a.ratio, b.ratio, 1e-6, &name);
    }
}

/// Twice as wide.
fn coarsened(bucket: Bucket) -> Bucket {
    let width = 2 * (bucket.upper - bucket.lower + 1);
    let lower = bucket.lower - bucket.lower % width;
    Bucket { lower, upper: lower + width - 1, count: bucket.count }
}

/// Over several strata the share of each up to the quantile of all is interpolated inside a bucket, so
/// that coarser buckets move the levels a little: an end may move inwards by one observed value, which
/// is further than a bucket where values are few.
fn coarser_buckets_only_widen(seed: u64) {
    let snapshots = traffic(seed);
    let step = widest_step(&snapshots);
    let (fine, coarse) = (full(&snapshots), full(&map_buckets(&snapshots, coarsened)));
    for (a, b) in fine.comparisons.iter().zip(&coarse.comparisons) {
        let one_stratum = a.segment.route.is_some() && snapshots.len() == 1;
        let slack = if one_stratum { 1.0 + 2.0 / 128.0 } else { step };
        for (a, b) in a.quantiles.iter().zip(&b.quantiles) {
            // Absent is unbounded: lower ends of a ratio are at least 0.
            let ends = |lift: Interval| {
                (
                    1.0 + lift.lower.unwrap_or(-1.0),
                    lift.upper.map_or(f64::INFINITY, |upper| 1.0 + upper),
                )
            };
            let (fine, coarse) = (ends(a.lift), ends(b.lift));
            // So little data that a level is just out of reach may be just enough.
            let compared = |end: f64| one_stratum || (end > 0.0 && end.is_finite());
            assert!(!compared(fine.0) || coarse.0 <= fine.0 * slack, "{fine:?} {coarse:?} {slack}");
            assert!(!compared(fine.1) || coarse.1 * slack >= fine.1, "{fine:?} {coarse:?} {slack}");
        }
    }
}

/// How much larger an observed value may be than the one below it in the same series.
fn widest_step(snapshots: &[Snapshot]) -> f64 {
    let histograms = snapshots.iter().flat_map(|snapshot| snapshot.series.values());
    let steps = histograms.flat_map(|histogram| {
        let buckets: Vec<_> = histogram.buckets().iter().collect();
        let steps = buckets.windows(2).map(|pair| pair[1].upper as f64 / pair[0].lower as f64);
        steps.collect::<Vec<_>>()
    });
    steps.fold(1.0, f64::max)
}

/// One that once moved by more than a bucket.
#[test]
fn coarser_buckets_only_widen_where_values_are_few() {
    coarser_buckets_only_widen(15_454_711_420_657_010_644);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn swapping_the_arms_inverts_ratios_and_keeps_p_values(seed in any::<u64>()) {
        let snapshots = traffic(seed);
        let mut other = snapshots.clone();
        for snapshot in &mut other {
            "variation".clone_into(&mut snapshot.experiment.control);
        }
        let (report, other) = (full(&snapshots), full(&other));
        prop_assert_eq!(report.comparisons.len(), other.comparisons.len());
        for (a, b) in report.comparisons.iter().zip(&other.comparisons) {
            swapped(a, b);
        }
    }

    #[test]
    fn scaling_all_values_by_a_factor_that_buckets_keep_leaves_every_test(seed in any::<u64>(), octaves in 1_u32..8) {
        let snapshots = traffic(seed);
        let scaled = map_buckets(&snapshots, |bucket| Bucket {
            lower: bucket.lower << octaves,
            upper: ((bucket.upper + 1) << octaves) - 1,
            count: bucket.count,
        });
        let (report, scaled) = (full(&snapshots), full(&scaled));
        for (a, b) in report.comparisons.iter().zip(&scaled.comparisons) {
            prop_assert_eq!(a.verdict, b.verdict);
            prop_assert_eq!(a.mann_whitney, b.mann_whitney);
            prop_assert!(close(a.e_value, b.e_value, 1e-9));
            for (a, b) in a.quantiles.iter().zip(&b.quantiles) {
                prop_assert!(close(a.p_value, b.p_value, 1e-9));
                prop_assert!(close(a.strict_p_value, b.strict_p_value, 1e-9));
                // An inclusive upper edge moves by a nanosecond less than the factor.
                for (a, b) in [(a.lift.lower, b.lift.lower), (a.lift.upper, b.lift.upper)] {
                    prop_assert!(close(a.map(|end| end + 1.0), b.map(|end| end + 1.0), 1e-5), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn coarser_buckets_only_widen_but_for_one_of_them(seed in any::<u64>()) {
        coarser_buckets_only_widen(seed);
    }

    #[test]
    fn nothing_panics_and_every_number_is_one(seed in any::<u64>()) {
        let mut snapshots = traffic(seed);
        let mut random = Seeded::new(!seed);
        for snapshot in &mut snapshots {
            snapshot.experiment.subject = [Subject::RequestId, Subject::Sticky, Subject::TimeSlice][(seed % 3) as usize];
            let series = std::mem::take(&mut snapshot.series);
            for (mut key, histogram) in series {
                key.group = Some((random.next() % 40) as u32);
                key.block = Some(random.next() % 80);
                snapshot.series.insert(key, histogram);
            }
        }
        let report = full(&snapshots);
        let text = report.to_json();
        // What is no number is written as null, and would not read back as it was.
        prop_assert_eq!(Report::from_json(&text).unwrap(), report.clone());
        let table = report.to_string();
        prop_assert!(!table.contains("NaN") && !table.contains(" inf"), "{}", table);
        for comparison in &report.comparisons {
            prop_assert!(!comparison.reasons.is_empty(), "every verdict has a reason");
        }
    }
}
