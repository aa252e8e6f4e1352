//! Designs in which requests are not the subjects, and effects that vary over time.

mod support;

use latency_experiment_analysis::{Comparison, Plan, Report, Segment, Verdict, analyze};
use latency_experiment_record::{
    Bucket, Histogram, Milestone, Outcome, SeriesKey, SinceFreeze, Snapshot, Subject, Sums,
};
use support::*;

/// Sticky users: each keeps its arm and its own speed; users are hashed into groups.
fn sticky(seed: u64, users: u64, groups: u32, factor: f64) -> Snapshot {
    let mut service = Service::with(|experiment| experiment.subject = Subject::Sticky);
    let mut random = Seeded::new(seed);
    for user in 0..users {
        let arm = (random.next() % 2) as usize;
        let speed = random.latency(5e6, 0.4) as f64 * [1.0, factor][arm];
        for _ in 0..20 {
            let latency = random.latency(speed, 0.4);
            service.record(arm, latency, |key| {
                key.group = (groups > 0).then_some((user % u64::from(groups.max(1))) as u32);
            });
        }
    }
    service.snapshot()
}

#[test]
fn sticky_subjects_are_judged_by_random_groups() {
    let report = report(&[sticky(1, 4_000, 32, 1.3)]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Slower, "{report}");
    let median = &comparison.quantiles[0];
    let effect = median.design_effect.unwrap();
    assert!((3.0..20.0).contains(&effect), "20 alike requests of a user say less: {effect}");
    assert_eq!((comparison.mann_whitney, comparison.labels.clone()), (None, None));
    assert_eq!((median.control.upper_ns, comparison.errors_ratio), (None, None));
    let mean = comparison.mean.lift;
    assert!(mean.estimate.is_some() && mean.lower.is_none() && mean.upper.is_none(), "{mean:?}");
    assert!(report.warnings[0].contains("request-level tests are refused"), "{report}");
    assert!(report.warnings[0].contains("32 random groups"), "{report}");
    assert!(report.srm.p_value.unwrap() > 0.001 && !report.srm.mismatch);
    // Intervals are as wide as the design effect says.
    let mut plain = sticky(1, 4_000, 32, 1.3);
    plain.experiment.subject = Subject::RequestId;
    let plain = support::report(&[plain]);
    let width = |comparison: &Comparison| {
        let lift = comparison.quantiles[0].lift;
        lift.upper.unwrap() - lift.lower.unwrap()
    };
    let ratio = width(comparison) / width(overall(&plain));
    // The buckets at both ends widen the narrow interval by more.
    assert!(ratio > 0.6 * effect.sqrt() && ratio < 2.0 * effect.sqrt(), "{ratio} for {effect}");
}

#[test]
fn equal_sticky_arms_are_rarely_told_apart() {
    let told = |plain: bool| {
        (0..40)
            .filter(|seed| {
                let mut snapshot = sticky(100 + seed, 600, 32, 1.0);
                if plain {
                    snapshot.experiment.subject = Subject::RequestId;
                    // As if assigned evenly: the trap is the variance, not the split.
                    snapshot.assigned.values_mut().for_each(|count| *count = 6_000);
                }
                let report = report(&[snapshot]);
                let lift = overall(&report).quantiles[0].lift;
                lift.lower.unwrap() > 0.0 || lift.upper.unwrap() < 0.0
            })
            .count()
    };
    assert!(told(false) <= 4, "{} of 40 at 5 %", told(false));
    assert!(told(true) >= 10, "the trap is one: {} of 40", told(true));
}

#[test]
fn sticky_subjects_without_groups_are_withheld_in_words() {
    for (groups, word) in [(0, "no random groups"), (8, "8 random groups are too few")] {
        let report = report(&[sticky(2, 1_000, groups, 1.3)]);
        let comparison = overall(&report);
        assert_eq!(comparison.verdict, Verdict::Withheld, "{report}");
        assert!(says(comparison, word), "{:?}", comparison.reasons);
        assert!(says(comparison, "request-level tests are refused"), "{:?}", comparison.reasons);
        let median = &comparison.quantiles[0];
        assert!(median.lift.estimate.is_some() && median.lift.upper.is_none());
        assert_eq!((median.p_value, comparison.e_value, report.srm.p_value), (None, None, None));
    }
}

#[test]
fn a_broken_sticky_split_is_found_by_groups() {
    let mut service = Service::with(|experiment| experiment.subject = Subject::Sticky);
    let mut random = Seeded::new(3);
    for user in 0..6_000_u64 {
        // 60:40 instead of 50:50.
        let arm = usize::from(random.uniform() < 0.4);
        for _ in 0..5 {
            let latency = random.latency(5e6, 0.4);
            service.record(arm, latency, |key| key.group = Some((user % 32) as u32));
        }
    }
    let report = report(&[service.snapshot()]);
    assert!(report.srm.mismatch && report.srm.p_value.unwrap() < 0.001, "{report}");
    assert_eq!(overall(&report).verdict, Verdict::Withheld);
}

#[test]
fn frozen_thresholds_of_groups_are_preferred_to_pooled_quantiles() {
    let mut snapshot = sticky(4, 1_000, 32, 1.0);
    let pooled = overall(&report(&[snapshot.clone()])).quantiles[0].design_effect;
    for (key, histogram) in &snapshot.series {
        let edge =
            histogram.buckets().into_iter().nth(histogram.buckets().len() / 2).unwrap().upper;
        let frozen = SinceFreeze { edge: Some(edge), over: 10, n: 20 };
        snapshot.attached.since_freeze.insert(key.clone(), [("0.5".to_owned(), frozen)].into());
    }
    // Edges that differ between groups mean nothing: the pooled quantile is used.
    assert_eq!(overall(&report(&[snapshot.clone()])).quantiles[0].design_effect, pooled);
    for counts in snapshot.attached.since_freeze.values_mut() {
        counts.get_mut("0.5").unwrap().edge = Some(5_000_000);
    }
    // All groups alike: much less variance than independent requests would have.
    let effect = overall(&report(&[snapshot])).quantiles[0].design_effect;
    assert!(effect.is_none() || effect.unwrap() < 0.01, "{effect:?}");
}

/// Whole blocks of time go to one arm, in random order within each pair; the load swings.
fn blocks(seed: u64, pairs: u64, factor: f64) -> Snapshot {
    let mut service = Service::with(|experiment| experiment.subject = Subject::TimeSlice);
    let mut random = Seeded::new(seed);
    for pair in 0..pairs {
        let first = (random.next() % 2) as usize;
        let load = random.latency(5e6, 0.5) as f64;
        for half in 0..2 {
            let arm = if half == 0 { first } else { 1 - first };
            for request in 0..100 {
                let noise = 1.0 + 0.02 * random.uniform();
                let latency = random.latency(load * noise * [1.0, factor][arm], 0.3);
                service.record(arm, latency, |key| {
                    key.block = Some(2 * pair + half as u64);
                    ["GET /a", "GET /b"][request % 2].clone_into(&mut key.route);
                });
            }
        }
        // The first fifth of a block counts for no arm.
        service.record(0, 60_000_000_000, |key| {
            "_washout".clone_into(&mut key.arm);
            key.block = Some(2 * pair);
        });
    }
    service.snapshot()
}

#[test]
fn time_slices_are_judged_by_pairs_of_blocks() {
    let report = report(&[blocks(5, 60, 1.2)]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Slower, "{report}");
    assert_eq!(comparison.blocks.unwrap().pairs, 60);
    let lift = comparison.quantiles[0].lift;
    assert!(lift.lower.unwrap() > 0.1 && lift.upper.unwrap() < 0.3, "{lift:?}");
    assert_eq!((report.srm.p_value, report.srm.mismatch), (None, false));
    assert!(report.warnings[0].contains("pairs of blocks"), "{report}");
    assert_eq!((comparison.mann_whitney, comparison.requests_needed), (None, None));
    assert!(comparison.e_value.unwrap() > 20.0 && comparison.rejected);
    assert_eq!(route(&report, "GET /a").verdict, Verdict::Slower);
    // The difference between the arms' own quantiles would rest on the load of their blocks.
    assert_eq!(comparison.quantiles[0].difference.upper_ns, None);
    let text = report.to_string();
    assert!(text.contains("split: ") && text.contains("not tested"), "{text}");
}

#[test]
fn few_pairs_are_undecided_in_words() {
    let report = report(&[blocks(6, 29, 2.0)]);
    let comparison = overall(&report);
    assert_eq!(comparison.verdict, Verdict::Undecided, "{report}");
    assert!(says(comparison, "29 pairs of time blocks: at least 30 are needed"), "{report}");
    assert!(comparison.quantiles[0].lift.estimate.unwrap() > 0.8);
}

#[test]
fn blocks_that_are_not_of_one_arm_each_are_withheld() {
    let mut snapshot = blocks(7, 40, 1.2);
    // Another instance served the other arm in the same block.
    let (key, histogram) = snapshot.series.iter().find(|(key, _)| key.arm == "control").unwrap();
    let (mut key, histogram) = (key.clone(), histogram.clone());
    "variation".clone_into(&mut key.arm);
    snapshot.series.insert(key, histogram);
    let report = report(&[snapshot]);
    assert_eq!(overall(&report).verdict, Verdict::Withheld, "{report}");
    assert!(says(overall(&report), "1 pair of blocks were not served by one arm each"), "{report}");
}

/// Forty intervals of equal traffic; in every second one the variation is slower by a factor.
fn varying(factor: f64) -> Snapshot {
    let mut snapshot = Service::new().snapshot();
    let mut random = Seeded::new(8);
    let mut total = Snapshot::clone(&snapshot);
    for interval in 0..40 {
        let mut service = Service::new();
        for _ in 0..400 {
            let arm = (random.next() % 2) as usize;
            let slow = if interval % 2 == 0 && arm == 1 { factor } else { 1.0 };
            service.request(arm, ROUTE, random.latency(5e6 * slow, 0.4));
        }
        let part = service.snapshot();
        let at = |n: i64| jiff::Timestamp::from_second(n).unwrap();
        let time = (at(100 + interval), at(101 + interval));
        snapshot.attached.intervals.insert(time, part.series.clone());
        total.instance = format!("{interval}");
        let mut part = part;
        part.instance = format!("part{interval}");
        total = total.merge(&part).unwrap();
    }
    total.attached = snapshot.attached;
    total
}

#[test]
fn an_effect_that_varies_over_time_is_said_and_widens_intervals() {
    let steady = report(&[varying(1.0)]);
    let found = overall(&steady).variance_inflation.unwrap();
    assert!(!found.inflated && found.intervals == 40, "{found:?}");
    assert!(!says(overall(&steady), "time-varying"), "{steady}");
    let swinging = report(&[varying(1.6)]);
    let comparison = overall(&swinging);
    let found = comparison.variance_inflation.unwrap();
    assert!(found.inflated && found.factor > 2.0, "{found:?}");
    assert!(says(comparison, "clustered or time-varying effect: over 40 intervals"), "{swinging}");
    assert_eq!(comparison.quantiles[0].design_effect, Some(found.factor));
    let mut without = varying(1.6);
    without.attached.intervals.clear();
    let plain = report(&[without]);
    let width = |report: &Report| {
        let lift = overall(report).quantiles[0].lift;
        lift.upper.unwrap() - lift.lower.unwrap()
    };
    assert!(width(&swinging) > 1.2 * width(&plain));
}

#[test]
fn three_arms_split_alpha_and_are_all_in_table_and_document() {
    let mut service = Service::with(|e| {
        e.arms = arms(&[("control", 1), ("cached", 1), ("redis", 1)]);
    });
    let mut random = Seeded::new(9);
    for _ in 0..60_000 {
        let arm = (random.next() % 3) as usize;
        let latency = random.latency([5e6, 4e6, 5e6][arm], 0.5);
        service.record(arm, latency, |key| {
            key.size = ["0-500kB", ">1000kB"][(latency % 2) as usize].to_owned();
        });
    }
    let plan = Plan::default().with_fixed_n(true).with_strict(true).with_hodges_lehmann(true);
    let report = analyze(&[service.snapshot()], &plan).unwrap();
    assert_eq!(report.srm.observed.len(), 3);
    for (variation, verdict) in [("cached", Verdict::Faster), ("redis", Verdict::Undecided)] {
        for segment in [Segment::overall(), Segment::route(ROUTE)] {
            let row = report.comparison(&segment, variation).unwrap();
            assert_eq!(row.verdict, verdict, "{report}");
            assert!(row.fixed_n.is_some() && row.hodges_lehmann.is_some() && row.labels.is_some());
            assert!(row.quantiles.iter().all(|row| row.strict_p_value.is_some()));
            assert!(row.geometric_mean.is_some());
            assert_eq!(row.probability_slower.is_some(), row.segment.is_overall());
        }
        let size = report.comparison(&Segment::size(ROUTE, ">1000kB"), variation).unwrap();
        assert_eq!(size.fixed_n, None, "descriptive");
    }
    let text = report.to_string();
    assert!(text.matches("cached").count() >= 4 && text.matches("redis").count() >= 4, "{text}");
}

#[test]
fn labels_test_frozen_thresholds_and_their_average() {
    let mut snapshot = two_arms(10, 4_000, 5.0, 6.0);
    let series: Vec<(SeriesKey, Histogram)> = snapshot.series.clone().into_iter().collect();
    for (key, histogram) in series {
        for (quantile, edge) in [("0.5", 5_100_000), ("0.95", 11_000_000)] {
            let over = histogram.buckets().iter().filter(|bucket| bucket.upper > edge);
            let counts = SinceFreeze {
                edge: Some(edge),
                over: over.map(|bucket| bucket.count).sum(),
                n: histogram.count(),
            };
            let frozen = snapshot.attached.since_freeze.entry(key.clone()).or_default();
            frozen.insert(quantile.to_owned(), counts);
        }
    }
    let report = report(&[snapshot]);
    let labels = overall(&report).labels.clone().unwrap();
    assert_eq!(labels.latency.keys().collect::<Vec<_>>(), ["0.5", "0.95"]);
    assert!(labels.latency["0.5"].more > 20_f64.ln() && labels.latency["0.5"].fewer < 0.0);
    let dominance = labels.dominance.unwrap();
    assert!(dominance.more > 20_f64.ln() - 2_f64.ln() && dominance.two_sided > 0.0);
    assert_eq!((labels.errors.more, labels.censored.two_sided < 0.1), (labels.errors.more, true));
}

#[test]
fn failures_of_blocks_count_as_slow() {
    let mut snapshot = blocks(11, 40, 0.8);
    let variation: Vec<SeriesKey> =
        snapshot.series.keys().filter(|key| key.arm == "variation").cloned().collect();
    for mut key in variation {
        key.outcome = Outcome::ServerError;
        key.milestone = Milestone::Latency;
        let bucket = Bucket { lower: 1_000, upper: 1_003, count: 10 };
        let histogram = Histogram::try_new(vec![bucket], Sums::UNKNOWN).unwrap();
        snapshot.series.insert(key, histogram);
    }
    let report = report(&[snapshot]);
    assert_ne!(overall(&report).verdict, Verdict::Withheld, "{report}");
    assert!(overall(&report).quantiles[2].lift.upper.is_some());
}
