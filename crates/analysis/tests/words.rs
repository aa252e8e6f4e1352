//! What the report says when it must not judge, or not yet: in words, in document and table alike.

mod support;

use latency_experiment_analysis::{Plan, Report, Segment, Verdict, analyze};
use latency_experiment_record::{Bucket, Fingerprint, Histogram, Outcome, Snapshot, Sums};
use support::*;

/// The report, after checks that hold for every one: each verdict has its reasons, the table has them all
/// and stays within its width, and no number is none.
fn checked(snapshots: &[Snapshot]) -> Report {
    let report = report(snapshots);
    let table = report.to_string();
    if std::env::var_os("SHOW").is_some() {
        println!("{table}\n{}\n", "=".repeat(100));
    }
    let unwrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = unwrapped(&table);
    for comparison in report.overall() {
        assert!(!comparison.reasons.is_empty());
        for reason in &comparison.reasons {
            assert!(words.contains(&unwrapped(reason)), "`{reason}` is not in\n{table}");
        }
    }
    for warning in &report.warnings {
        assert!(words.contains(&unwrapped(warning)), "`{warning}` is not in\n{table}");
    }
    assert!(!table.contains("NaN") && !words.contains(" inf "), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
    report
}

fn no_verdict(report: &Report) {
    for comparison in &report.comparisons {
        let judged = !matches!(comparison.verdict, Verdict::Withheld | Verdict::Undecided);
        assert!(!judged, "{report}");
    }
}

/// Control and variation are alike; the load and the split change between two epochs.
fn ramp(second_epoch: u64) -> Vec<Snapshot> {
    let mut random = Seeded::new(1);
    [(1, [19, 1], 2e6), (second_epoch, [1, 1], 6e6)]
        .into_iter()
        .enumerate()
        .map(|(position, (epoch, weights, median))| {
            let mut service = Service::with(|experiment| {
                experiment.epoch = epoch;
                experiment.fingerprint = Fingerprint(position as u64 + 1);
                experiment.arms = arms(&[("control", weights[0]), ("variation", weights[1])]);
            });
            for _ in 0..10_000 {
                let total = u64::from(weights[0] + weights[1]);
                let arm = usize::from(random.next() % total >= u64::from(weights[0]));
                service.request(arm, ROUTE, random.latency(median, 0.5));
            }
            service.snapshot()
        })
        .collect()
}

#[test]
fn an_allocation_that_changed_starts_an_epoch_that_is_never_pooled() {
    let report = checked(&ramp(2));
    assert_eq!(overall(&report).verdict, Verdict::Undecided, "{report}");
    assert!(overall(&report).quantiles[0].lift.estimate.unwrap().abs() < 0.1);
    assert!(report.warnings.iter().any(|warning| warning.contains("epochs 1 and 2 are compared")));
}

#[test]
fn an_allocation_that_changed_within_an_epoch_is_withheld() {
    let report = checked(&ramp(1));
    no_verdict(&report);
    assert!(says(overall(&report), "epoch 1 was recorded under 2 different allocations"));
    assert!(says(overall(&report), "0000000000000001 and 0000000000000002"), "{report}");
}

#[test]
fn a_mismatched_split_is_named_with_its_counts() {
    let mut snapshot = two_arms(2, 20_000, 5.0, 2.5);
    snapshot.assigned = [("control".to_owned(), 11_000), ("variation".to_owned(), 9_000)].into();
    let report = checked(&[snapshot]);
    no_verdict(&report);
    assert!(says(overall(&report), "sample ratio mismatch"), "{report}");
    assert!(says(overall(&report), "control 11,000 and variation 9,000"), "{report}");
    assert!(report.to_string().contains("MISMATCH"), "{report}");
}

#[test]
fn three_percent_more_cancels_withhold_the_verdict() {
    let mut service = Service::new();
    let mut random = Seeded::new(3);
    for _ in 0..30_000 {
        let arm = (random.next() % 2) as usize;
        let cancelled = random.uniform() < [0.01, 0.04][arm];
        let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Completed };
        service.ended(arm, ROUTE, outcome, random.latency([5e6, 4e6][arm], 0.5));
    }
    let report = checked(&[service.snapshot()]);
    no_verdict(&report);
    assert!(says(overall(&report), "unbalanced censoring"), "{report}");
    let ratio = overall(&report).censored_ratio.unwrap();
    assert!(ratio.lower.unwrap() > 2.0 && ratio.upper.unwrap() < 6.0, "{ratio:?}");
}

#[test]
fn an_empty_arm_five_requests_and_no_request_are_too_few() {
    let mut service = Service::new();
    let mut random = Seeded::new(4);
    for _ in 0..500 {
        service.request(0, ROUTE, random.latency(5e6, 0.5));
    }
    for (snapshot, word) in [
        (service.snapshot(), "500 requests of the control and 0 of the variation"),
        (two_arms(5, 5, 5.0, 1.0), "at least 20 each are needed"),
        (Service::new().snapshot(), "0 requests of the control"),
    ] {
        let report = checked(&[snapshot]);
        no_verdict(&report);
        assert!(says(overall(&report), word), "{report}");
        assert!(!says(overall(&report), "censoring"), "nobody gave up: {report}");
    }
}

/// Histograms of one arm each.
fn counted(control: &[(u64, u64, u64)], variation: &[(u64, u64, u64)]) -> Snapshot {
    let mut service = Service::new();
    service.request(0, ROUTE, 1_000);
    service.request(1, ROUTE, 1_000);
    let mut snapshot = service.snapshot();
    for (key, histogram) in &mut snapshot.series {
        let buckets = if key.arm == "control" { control } else { variation };
        let buckets =
            buckets.iter().map(|&(lower, upper, count)| Bucket { lower, upper, count }).collect();
        *histogram = Histogram::try_new(buckets, Sums::UNKNOWN).unwrap();
        snapshot.assigned.insert(key.arm.clone(), histogram.count());
    }
    snapshot
}

#[test]
fn ties_one_bucket_and_huge_counts_are_no_difference() {
    let huge = 1_000_000_000_000;
    for (control, variation) in [
        (&[(5_000, 5_000, 900)][..], &[(5_000, 5_000, 900)][..]),
        (&[(1_000_000, 1_007_999, 5_000)], &[(1_000_000, 1_007_999, 5_000)]),
        (
            &[(1_000, 1_007, huge), (2_000, 2_015, huge)],
            &[(1_000, 1_007, huge), (2_000, 2_015, huge)],
        ),
        (&[(1 << 36, u64::MAX, 700)], &[(1 << 36, u64::MAX, 700)]),
    ] {
        let report = checked(&[counted(control, variation)]);
        no_verdict(&report);
        assert_eq!(overall(&report).mann_whitney.unwrap().probability_faster, 0.5);
        assert!(!report.to_string().contains("censoring"), "{report}");
        assert!(!overall(&report).rejected);
    }
    let apart = checked(&[counted(
        &[(1_000, 1_007, huge), (2_000, 2_015, huge)],
        &[(1_000, 1_007, huge), (3_000, 3_015, huge)],
    )]);
    assert_eq!(overall(&apart).verdict, Verdict::Slower, "{apart}");
}

#[test]
fn a_quantile_outside_the_data_is_not_bounded_and_said_so() {
    let plan = Plan::default().with_quantiles([0.9999]).unwrap();
    let report = analyze(&[two_arms(6, 400, 5.0, 2.0)], &plan).unwrap();
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Undecided, "{report}");
    assert_eq!(comparison.reasons[0], "the requests do not bound p99.99 yet");
    assert_eq!(
        (comparison.quantiles[0].lift.lower, comparison.quantiles[0].lift.upper),
        (Some(-1.0), None)
    );
}

#[test]
fn a_route_with_one_arm_does_not_hide_in_the_overall() {
    let mut service = Service::new();
    let mut random = Seeded::new(7);
    for _ in 0..2_000 {
        let arm = (random.next() % 2) as usize;
        service.request(arm, ROUTE, random.latency(5e6, 0.5));
    }
    for _ in 0..40 {
        service.request(0, "GET /control-only", random.latency(5e7, 0.5));
    }
    let report = checked(&[service.snapshot()]);
    assert!(says(overall(&report), "2.0 % of the requests could not be compared"), "{report}");
    let only = report.comparison(&Segment::route("GET /control-only"), "variation").unwrap();
    assert_eq!(only.verdict, Verdict::Withheld);
}
