//! What the report says about traffic with a known truth.

mod support;

use latency_experiment_analysis::{Plan, Population, Segment, Verdict, analyze};
use latency_experiment_record::{
    Bucket, Fingerprint, Histogram, Milestone, Outcome, Snapshot, Subject, Sums, reserved,
};
use support::*;

#[test]
fn a_faster_and_a_slower_variation_are_told_with_intervals_that_hold_the_truth() {
    for (variation_ms, verdict, truth) in
        [(4.0, Verdict::Faster, -0.2), (6.0, Verdict::Slower, 0.2)]
    {
        let report = report(&[two_arms(1, 20_000, 5.0, variation_ms)]);
        for comparison in [overall(&report), route(&report, ROUTE)] {
            assert_eq!(comparison.verdict, verdict, "{report}");
            assert!(comparison.rejected);
            assert_eq!(comparison.requests_needed, None);
            for quantile in &comparison.quantiles {
                let lift = quantile.lift;
                let (lower, upper) = (lift.lower.unwrap(), lift.upper.unwrap());
                assert!(lower < truth && truth < upper, "q {}: {lift:?}", quantile.q);
                assert!(lower < lift.estimate.unwrap() && lift.estimate.unwrap() < upper);
            }
            let faster = comparison.mann_whitney.unwrap().probability_faster;
            assert_eq!(faster > 0.5, verdict == Verdict::Faster);
            let direction = if truth < 0.0 { "lower (between" } else { "higher (between" };
            assert!(says(comparison, direction), "{:?}", comparison.reasons);
        }
        let median = overall(&report).quantiles[0].control.estimate_ns.unwrap();
        assert!((median / 5e6 - 1.0).abs() < 0.02, "{median}");
    }
}

#[test]
fn equal_arms_are_undecided_and_the_requests_needed_are_named() {
    let report = report(&[two_arms(2, 4_000, 5.0, 5.0)]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Undecided, "{report}");
    assert!(!comparison.rejected && comparison.e_value.unwrap() < 20.0);
    let needed = comparison.requests_needed.unwrap();
    assert!((1_000..100_000).contains(&needed), "{needed}");
    assert!(says(comparison, "more requests to settle a 5 % difference at p50"));

    // The more there are, the fewer are needed; and a smaller effect needs more.
    let more = support::report(&[two_arms(2, 6_000, 5.0, 5.0)]);
    assert!(overall(&more).requests_needed.unwrap() < needed);
    let plan = Plan::default().with_minimum_effect(0.02).unwrap();
    let finer = analyze(&[two_arms(2, 4_000, 5.0, 5.0)], &plan).unwrap();
    assert!(overall(&finer).requests_needed.unwrap() > 3 * needed);
    assert!(says(overall(&finer), "settle a 2 % difference"));
}

#[test]
fn equal_arms_are_equivalent_within_a_margin_that_was_chosen() {
    let plan = Plan::default().with_equivalence_margin(0.1).unwrap();
    let report = analyze(&[two_arms(3, 60_000, 5.0, 5.0)], &plan).unwrap();
    assert_eq!(overall(&report).verdict, Verdict::Equivalent, "{report}");
    assert_eq!(overall(&report).reasons, ["p50, p95 and p99 differ by less than 10 %"]);
}

#[test]
fn equal_arms_are_rarely_told_apart() {
    let false_verdicts = (0..60)
        .filter(|seed| {
            let report = report(&[two_arms(100 + seed, 3_000, 5.0, 5.0)]);
            overall(&report).verdict != Verdict::Undecided
        })
        .count();
    assert!(false_verdicts <= 6, "{false_verdicts} of 60 at a level of 10 % in total");
}

#[test]
fn a_small_effect_is_significant_but_not_relevant() {
    let snapshot = two_arms(4, 60_000, 5.0, 4.75);
    assert_eq!(overall(&report(std::slice::from_ref(&snapshot))).verdict, Verdict::Faster);
    let plan = Plan::default().with_minimum_effect(0.2).unwrap();
    let report = analyze(&[snapshot], &plan).unwrap();
    assert_eq!(overall(&report).verdict, Verdict::Undecided, "{report}");
}

#[test]
fn a_broken_split_withholds_everything_and_keeps_the_figures() {
    let mut snapshot = two_arms(5, 20_000, 5.0, 2.5);
    snapshot.assigned = [("control", 10_500), ("variation", 9_500)]
        .map(|(arm, count)| (arm.to_owned(), count))
        .into();
    let report = report(&[snapshot]);
    assert!(report.srm.mismatch && report.srm.p_value.unwrap() < 0.001);
    for comparison in &report.comparisons {
        assert_eq!(comparison.verdict, Verdict::Withheld);
        assert!(!comparison.rejected && says(comparison, "sample ratio mismatch"));
        assert!(comparison.quantiles[0].lift.upper.unwrap() < -0.4);
    }
}

#[test]
fn arms_that_consult_unequally_often_are_withheld() {
    let mut service = Service::new();
    let mut random = Seeded::new(6);
    for _ in 0..20_000 {
        let arm = (random.next() % 2) as usize;
        let exposed = arm == 0 || random.uniform() < 0.8;
        let latency = random.latency(5e6, 0.5);
        service.record(arm, latency, |key| key.exposed = exposed);
    }
    let report = report(&[service.snapshot()]);
    assert!(!report.srm.mismatch && report.srm.exposed.as_ref().unwrap().mismatch);
    assert!(says(overall(&report), "of the exposed requests"), "{report}");
}

#[test]
fn an_arm_that_loses_its_slowest_requests_is_not_called_faster() {
    let mut service = Service::new();
    let mut random = Seeded::new(7);
    for _ in 0..40_000 {
        let arm = (random.next() % 2) as usize;
        let latency = random.latency(5e6, 0.8);
        // The slowest 3 % of the variation are cancelled, 3 % more than in the control.
        let cancelled = arm == 1 && latency > 22_500_000;
        let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Completed };
        service.ended(arm, ROUTE, outcome, latency);
    }
    let report = report(&[service.snapshot()]);
    let comparison = overall(&report);
    assert!(comparison.quantiles[2].lift.upper.unwrap() < -0.2, "the trap: {report}");
    assert_eq!(comparison.verdict, Verdict::Withheld, "{report}");
    assert!(says(comparison, "unbalanced censoring"));
    let rate = comparison.censored.variation.unwrap();
    assert!((0.02..0.04).contains(&rate) && comparison.censored.control == Some(0.0));
}

#[test]
fn failures_are_not_fast_successes() {
    let mut service = Service::new();
    let mut random = Seeded::new(8);
    for _ in 0..20_000 {
        let arm = (random.next() % 2) as usize;
        let failed = arm == 1 && random.uniform() < 0.04;
        let outcome = if failed { Outcome::ServerError } else { Outcome::Completed };
        let latency = if failed { 100_000 } else { random.latency(5e6, 0.5) };
        service.ended(arm, ROUTE, outcome, latency);
    }
    let report = report(&[service.snapshot()]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Slower, "{report}");
    assert!(says(comparison, "p99 is at least"), "{:?}", comparison.reasons);
    assert!(says(comparison, "when failed and cancelled requests count as slower"));
    assert!((0.03..0.05).contains(&comparison.errors.variation.unwrap()));
    assert!(comparison.n.variation < 9_900, "failures are no measured latencies");
}

#[test]
fn too_little_is_withheld_in_words_and_never_a_panic() {
    let five = report(&[two_arms(9, 5, 5.0, 1.0)]);
    assert_eq!(overall(&five).verdict, Verdict::Withheld);
    assert!(says(overall(&five), "too few"), "{five}");

    let mut service = Service::new();
    let mut random = Seeded::new(10);
    for _ in 0..1_000 {
        service.request(0, ROUTE, random.latency(5e6, 0.5));
    }
    let one_arm = report(&[service.snapshot()]);
    let comparison = overall(&one_arm);
    assert_eq!((comparison.n.control, comparison.n.variation), (1_000, 0));
    assert_eq!(comparison.verdict, Verdict::Withheld);
    assert!(says(comparison, "1,000 requests of the control and 0 of the variation"));
    assert!(comparison.quantiles[0].control.estimate_ns.is_some(), "what is known is shown");
    assert_eq!(comparison.quantiles[0].variation.estimate_ns, None);
    assert_eq!((comparison.mann_whitney, comparison.dropped_share), (None, 1.0));

    let nothing = report(&[Service::new().snapshot()]);
    assert_eq!(nothing.warnings, ["no request has ended yet"]);
    let mut disabled = Service::new();
    disabled.record(0, 1_000, |key| "_outside".clone_into(&mut key.arm));
    let disabled = report(&[disabled.snapshot()]);
    assert!(disabled.warnings[0].starts_with("all 1 requests were outside the experiment"));
    assert_eq!(overall(&nothing).verdict, Verdict::Withheld);
    assert_eq!(nothing.comparisons.len(), 1);
}

#[test]
fn twenty_requests_per_arm_are_enough_to_be_judged() {
    for (requests, withheld) in [(19, true), (20, false)] {
        let mut service = Service::new();
        for step in 0..requests {
            service.request(0, ROUTE, 1_000_000 + step);
            service.request(1, ROUTE, 1_000_000 + step);
        }
        let report = report(&[service.snapshot()]);
        assert_eq!(overall(&report).verdict == Verdict::Withheld, withheld, "{report}");
    }
}

#[test]
fn ties_say_nothing() {
    let mut service = Service::new();
    for _ in 0..1_000 {
        service.request(0, ROUTE, 5_000_000);
        service.request(1, ROUTE, 5_000_000);
    }
    let report = report(&[service.snapshot()]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Undecided, "{report}");
    assert_eq!(comparison.mann_whitney.unwrap().probability_faster, 0.5);
    assert_eq!(comparison.quantiles[0].lift.estimate, Some(0.0));
}

#[test]
fn huge_counts_are_counted() {
    let count = 1_000_000_000_000;
    let mut service = Service::new();
    service.request(0, ROUTE, 5_000_000);
    service.request(1, ROUTE, 5_000_000);
    let mut snapshot = service.snapshot();
    for (key, histogram) in &mut snapshot.series {
        let shift = if key.arm == "control" { 0 } else { 3 };
        let buckets = (0..100).map(|step| {
            let lower = 5_000_000 + (step + shift) * 10_000;
            Bucket { lower, upper: lower + 9_999, count }
        });
        *histogram = Histogram::try_new(buckets.collect(), Sums::UNKNOWN).unwrap();
    }
    snapshot.assigned.values_mut().for_each(|assigned| *assigned = 100 * count);
    let report = report(&[snapshot]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Slower, "{report}");
    assert_eq!(comparison.n.control, 100 * count);
    let faster = comparison.mann_whitney.unwrap().probability_faster;
    assert!((faster - 0.470_45).abs() < 1e-9, "{faster}");
}

#[test]
fn routes_that_never_consulted_the_flag_are_withheld_and_not_in_the_overall() {
    let mut service = Service::new();
    let mut random = Seeded::new(11);
    for _ in 0..10_000 {
        let arm = (random.next() % 2) as usize;
        service.request(arm, ROUTE, random.latency([5e6, 2.5e6][arm], 0.5));
        let latency = random.latency(1e6, 0.5);
        service.record(arm, latency, |key| {
            key.route = "GET /health".to_owned();
            key.exposed = false;
        });
        // A request of the consulted route that ended before it came to the flag.
        service.record(arm, latency, |key| key.exposed = false);
    }
    let report = report(&[service.snapshot()]);
    assert_eq!(report.population, Population::Exposed);
    let health = route(&report, "GET /health");
    assert_eq!((health.verdict, health.population), (Verdict::Withheld, Population::Assigned));
    assert_eq!(health.reasons, ["never consulted: no request of this route consulted the flag"]);
    assert_eq!(health.n.control + health.n.variation, 10_000, "shown by assignment");
    let overall = overall(&report);
    assert_eq!(overall.n.control + overall.n.variation, 10_000, "exposed requests only");
    assert_eq!(overall.verdict, Verdict::Faster);
    assert!(report.to_string().contains("never consulted, not compared: GET /health"), "{report}");
}

#[test]
fn a_flag_that_nobody_consults_is_analysed_by_assignment() {
    let mut service = Service::new();
    let mut random = Seeded::new(12);
    for _ in 0..10_000 {
        let arm = (random.next() % 2) as usize;
        let latency = random.latency([5e6, 2.5e6][arm], 0.5);
        service.record(arm, latency, |key| key.exposed = false);
    }
    let report = report(&[service.snapshot()]);
    assert_eq!(report.population, Population::Assigned);
    assert_eq!(route(&report, ROUTE).verdict, Verdict::Faster, "{report}");
    assert_eq!(report.srm.exposed, None);
    assert!(report.warnings[0].contains("no request consulted the flag"));
}

#[test]
fn only_the_latency_of_the_arms_counts() {
    let plain = report(&[two_arms(13, 2_000, 5.0, 4.0)]);
    let mut snapshot = two_arms(13, 2_000, 5.0, 4.0);
    let (key, histogram) = snapshot.series.first_key_value().unwrap();
    let (key, histogram) = (key.clone(), histogram.clone());
    for milestone in [Milestone::Duration, Milestone::Busy, Milestone::Section("sql".to_owned())] {
        let mut key = key.clone();
        key.milestone = milestone;
        snapshot.series.insert(key, histogram.clone());
    }
    for arm in reserved::ALL {
        let mut key = key.clone();
        arm.clone_into(&mut key.arm);
        snapshot.series.insert(key, histogram.clone());
    }
    assert_eq!(report(&[snapshot]).comparisons, plain.comparisons);
}

#[test]
fn three_arms_are_each_compared_with_the_control() {
    let mut service = Service::with(|e| e.arms = arms(&[("control", 2), ("same", 1), ("slow", 1)]));
    let mut random = Seeded::new(14);
    for _ in 0..40_000 {
        let arm = [0, 0, 1, 2][(random.next() % 4) as usize];
        service.request(arm, ROUTE, random.latency([5e6, 5e6, 6e6][arm], 0.5));
    }
    let report = report(&[service.snapshot()]);
    let verdicts: Vec<(&str, Verdict)> =
        report.overall().map(|row| (row.variation.as_str(), row.verdict)).collect();
    assert_eq!(verdicts, [("same", Verdict::Undecided), ("slow", Verdict::Slower)], "{report}");
    assert_eq!(report.srm.observed.len(), 3);
    assert!(!report.srm.mismatch);
    assert_eq!(report.comparisons.len(), 2 * 3);
}

#[test]
fn the_verdict_of_more_arms_needs_more_evidence() {
    // The same two arms, alone and beside a third: the effect is just credible alone.
    let verdict = |third: bool, requests: u64| {
        let mut service = Service::with(|e| {
            if third {
                e.arms = arms(&[("control", 1), ("variation", 1), ("third", 1)]);
            }
        });
        let mut random = Seeded::new(15);
        for _ in 0..requests {
            service.request(0, ROUTE, random.latency(5e6, 0.5));
            service.request(1, ROUTE, random.latency(4.6e6, 0.5));
            if third {
                service.request(2, ROUTE, 5_000_000);
            }
        }
        let report = report(&[service.snapshot()]);
        report.comparison(&Segment::overall(), "variation").unwrap().verdict
    };
    let first =
        |third| (500..10_000).step_by(100).find(|n| verdict(third, *n) == Verdict::Faster).unwrap();
    assert!(first(true) > first(false));
}

/// Control and variation are alike; the load and the split change between the epochs.
fn changed_split() -> [Snapshot; 2] {
    let mut random = Seeded::new(16);
    [(1, [9, 1], 2e6), (2, [1, 9], 8e6)].map(|(epoch, weights, median)| {
        let mut service = Service::with(|e| {
            e.epoch = epoch;
            e.fingerprint = Fingerprint(epoch);
            e.arms = arms(&[("control", weights[0]), ("variation", weights[1])]);
        });
        for _ in 0..10_000 {
            let arm = usize::from(random.next() % 10 >= u64::from(weights[0]));
            service.request(arm, ROUTE, random.latency(median, 0.5));
        }
        service.snapshot()
    })
}

#[test]
fn epochs_of_different_splits_are_compared_each_for_itself() {
    let [first, second] = changed_split();
    let report = report(&[first.clone(), second]);
    assert_eq!((report.epoch, &report.epochs[..]), (2, &[1, 2][..]));
    assert!(!report.srm.mismatch, "each epoch has its own weights");
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Undecided, "{report}");
    let lift = comparison.quantiles[0].lift;
    assert!(lift.estimate.unwrap().abs() < 0.15, "{lift:?}");
    assert!(comparison.mean.lift.estimate.unwrap().abs() < 0.1);
    let control = comparison.quantiles[0].control;
    assert!(control.estimate_ns.is_some(), "standardised over the epochs");
    assert_eq!((control.lower_ns, control.upper_ns), (None, None), "the arm's own would differ");
    let alone = overall(&support::report(&[first])).quantiles[0].control;
    assert!(alone.lower_ns < alone.estimate_ns && alone.estimate_ns < alone.upper_ns);
    assert!((comparison.mann_whitney.unwrap().probability_faster - 0.5).abs() < 0.03);

    // Pooled, the variation would have most of its requests in the slow epoch.
    let [mut pooled, other] = changed_split();
    for (key, histogram) in other.series {
        let sum = pooled.series[&key].merge(&histogram).unwrap();
        pooled.series.insert(key, sum);
    }
    for (arm, count) in other.assigned {
        *pooled.assigned.get_mut(&arm).unwrap() += count;
    }
    pooled.experiment.arms = arms(&[("control", 1), ("variation", 1)]);
    let wrong = support::report(&[pooled]);
    assert_eq!(overall(&wrong).verdict, Verdict::Slower, "the trap is one: {wrong}");
}

#[test]
fn one_epoch_under_two_allocations_is_withheld() {
    let first = two_arms(17, 4_000, 5.0, 2.5);
    let mut second = two_arms(18, 4_000, 5.0, 2.5);
    second.experiment.fingerprint = Fingerprint(0xbeef);
    let report = report(&[first, second]);
    for comparison in &report.comparisons {
        assert_eq!(comparison.verdict, Verdict::Withheld);
        assert!(says(comparison, "mixed fingerprints: epoch 1"), "{:?}", comparison.reasons);
    }
    assert_eq!(report.epochs, [1]);
}

#[test]
fn sizes_that_the_variation_moves_are_not_compared() {
    let build = |moved: bool| {
        let mut service = Service::new();
        let mut random = Seeded::new(19);
        for _ in 0..20_000 {
            let arm = (random.next() % 2) as usize;
            let large = random.uniform() < if moved && arm == 1 { 0.2 } else { 0.5 };
            let latency = random.latency(if large { 9e6 } else { 3e6 }, 0.3);
            service.record(arm, latency, |key| {
                if large {
                    ">1000kB".clone_into(&mut key.size);
                }
            });
        }
        report(&[service.snapshot()])
    };
    let sizes = |report: &latency_experiment_analysis::Report| -> Vec<Verdict> {
        report
            .comparisons
            .iter()
            .filter(|row| row.segment.size.is_some())
            .map(|row| row.verdict)
            .collect()
    };
    let moved = build(true);
    assert_eq!(sizes(&moved), [Verdict::Withheld; 2]);
    assert!(moved.warnings.iter().any(|warning| warning.starts_with("sizes moved")));
    assert_eq!(route(&moved, ROUTE).verdict, Verdict::Faster, "sizes do not stratify: {moved}");
    let equal = build(false);
    assert_eq!(sizes(&equal), [Verdict::Undecided; 2], "{equal}");
    assert_eq!(equal.warnings, Vec::<String>::new());
}

#[test]
fn subjects_other_than_requests_get_estimates_without_tests() {
    for (subject, word) in [(Subject::Sticky, "sticky"), (Subject::TimeSlice, "time slices")] {
        let mut snapshot = two_arms(20, 4_000, 5.0, 2.5);
        snapshot.experiment.subject = subject;
        let report = report(&[snapshot]);
        assert_eq!((report.srm.p_value, report.srm.mismatch), (None, false));
        let comparison = overall(&report);
        assert_eq!(comparison.verdict, Verdict::Withheld);
        assert!(says(comparison, word), "{:?}", comparison.reasons);
        let quantile = &comparison.quantiles[0];
        assert!(quantile.lift.estimate.unwrap() < -0.4);
        assert_eq!((quantile.lift.upper, quantile.p_value, comparison.e_value), (None, None, None));
        assert_eq!((quantile.control.upper_ns, comparison.mann_whitney), (None, None));
    }
}

#[test]
fn a_route_needs_to_hold_up_among_all_routes() {
    // One of 40 routes differs by as much as is credible alone.
    let build = |routes: usize| {
        let mut service = Service::new();
        let mut random = Seeded::new(21);
        for route in 0..routes {
            let name = format!("GET /{route:02}");
            for _ in 0..1_000 {
                for arm in [0, 1] {
                    let median = if route == 0 && arm == 1 { 4.45e6 } else { 5e6 };
                    service.request(arm, &name, random.latency(median, 0.5));
                }
            }
        }
        report(&[service.snapshot()])
    };
    let (alone, among) = (build(1), build(40));
    let (alone, among) = (route(&alone, "GET /00"), route(&among, "GET /00"));
    let e_value = alone.e_value.unwrap();
    assert!((20.0..400.0).contains(&e_value), "e-BH asks for 400 of one of 40: {e_value}");
    assert_eq!(alone.quantiles, among.quantiles, "the figures do not depend on other routes");
    assert_eq!((alone.verdict, alone.rejected), (Verdict::Faster, true), "{:?}", alone.reasons);
    assert_eq!((among.verdict, among.rejected), (Verdict::Undecided, false));
    assert!(says(among, "40 routes and variations are compared"), "{:?}", among.reasons);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let mut service = Service::new();
    let mut random = Seeded::new(22);
    for _ in 0..1_000 {
        for arm in [0, 1] {
            service.request(arm, ROUTE, random.latency(5e6, 0.5));
        }
    }
    for _ in 0..500 {
        service.request(0, "GET /control-only", random.latency(5e6, 0.5));
    }
    let report = report(&[service.snapshot()]);
    assert_eq!(overall(&report).dropped_share, 0.2);
    let only = route(&report, "GET /control-only");
    assert!(says(only, "too few"), "{:?}", only.reasons);
}
