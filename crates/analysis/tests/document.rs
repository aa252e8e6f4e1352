//! The report document: its keys, its numbers, and what it does not depend on.

mod support;

use std::collections::BTreeSet;

use latency_experiment_analysis::{Plan, Report, analyze};
use latency_experiment_record::{Bucket, Fingerprint, Histogram, Outcome, Snapshot, Sums};
use serde_json::Value;
use support::*;

/// The keys of the contract. Others may stand beside them.
const CONTRACT: &str = r#"{
    "schema": "", "experiment": "", "epoch": 1, "control": "", "alpha": 0.1,
    "srm": {"observed": {"control": 1, "variation": 1}, "p_value": 0.1, "mismatch": true},
    "comparisons": [{
        "segment": {}, "variation": "", "n": {"control": 1, "variation": 1},
        "quantiles": [{"q": 0.1,
            "control": {"estimate_ns": 0.1, "lower_ns": 0.1, "upper_ns": 0.1},
            "variation": {"estimate_ns": 0.1, "lower_ns": 0.1, "upper_ns": 0.1},
            "difference": {"estimate_ns": 0.1, "lower_ns": 0.1, "upper_ns": 0.1},
            "lift": {"estimate": 0.1, "lower": 0.1, "upper": 0.1},
            "p_value": 0.1}],
        "mean": {"control_ns": 0.1, "variation_ns": 0.1,
            "lift": {"estimate": 0.1, "lower": 0.1, "upper": 0.1}},
        "mann_whitney": {"u": 0.1, "z": 0.1, "p_value": 0.1, "probability_faster": 0.1,
            "valid_at": ""},
        "errors": {"control": 0.1, "variation": 0.1},
        "censored": {"control": 0.1, "variation": 0.1},
        "population": "", "dropped_share": 0.1, "e_value": 0.1, "rejected": true,
        "verdict": "", "reasons": [""]
    }]
}"#;

/// Checks that a document has all keys of a pattern, with values of its types.
fn assert_matches(document: &Value, pattern: &Value, path: &str) {
    match (document, pattern) {
        (Value::Object(document), Value::Object(pattern)) => {
            for (key, pattern) in pattern {
                let value = document.get(key).unwrap_or_else(|| panic!("{path}.{key} is missing"));
                assert_matches(value, pattern, &format!("{path}.{key}"));
            }
        }
        (Value::Array(document), Value::Array(pattern)) => {
            assert!(!document.is_empty(), "{path} is empty");
            for (position, value) in document.iter().enumerate() {
                assert_matches(value, &pattern[0], &format!("{path}[{position}]"));
            }
        }
        (Value::Number(document), Value::Number(pattern)) => {
            assert_eq!(document.is_f64(), pattern.is_f64(), "{path} is {document}");
        }
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{path} is {document} instead of something like {pattern}"),
    }
}

/// Enough of everything that no figure is missing.
fn rich() -> Snapshot {
    let mut service = Service::new();
    let mut random = Seeded::new(1);
    for _ in 0..40_000 {
        let arm = (random.next() % 2) as usize;
        let route = ["GET /a", "GET /b"][(random.next() % 2) as usize];
        let outcome = match random.next() % 100 {
            0 => Outcome::ServerError,
            1 => Outcome::Cancelled,
            2 => Outcome::ClientError,
            _ => Outcome::Completed,
        };
        service.ended(arm, route, outcome, random.latency([5e6, 4.9e6][arm], 0.3));
    }
    service.snapshot()
}

#[test]
fn every_key_of_the_contract_is_there_with_its_type() {
    let report = report(&[rich()]);
    let document: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_matches(&document, &serde_json::from_str(CONTRACT).unwrap(), "");
    assert_eq!(document["schema"], "latency-experiment/report/1");

    let segments: Vec<&Value> =
        document["comparisons"].as_array().unwrap().iter().map(|row| &row["segment"]).collect();
    let size = |route: &str| serde_json::json!({"route": route, "size": "0-500kB"});
    let route = |route: &str| serde_json::json!({"route": route});
    assert_eq!(
        segments,
        [
            &serde_json::json!({}),
            &route("GET /a"),
            &size("GET /a"),
            &route("GET /b"),
            &size("GET /b")
        ]
    );

    let overall = &document["comparisons"][0];
    for end in ["estimate", "lower", "upper"] {
        assert!(overall["common_ratio"][end].is_f64(), "{}", overall["common_ratio"]);
    }
    assert!(document["comparisons"][1].get("common_ratio").is_none(), "overall only");
    assert_eq!(overall["mann_whitney"]["valid_at"], "planned_n");
    assert_eq!(overall["population"], "exposed");
    assert!(overall.get("requests_needed").is_some());
    let errors = overall["errors"]["control"].as_f64().unwrap();
    assert!((0.005..0.015).contains(&errors), "{errors}");
    assert!(overall["quantiles"][0].get("lift_fixed_n").is_none(), "only when asked for");
}

#[test]
fn fixed_n_intervals_stand_beside_the_others_and_are_narrower() {
    let plan = Plan::default().with_fixed_n(true);
    let report = analyze(&[rich()], &plan).unwrap();
    for quantile in &overall(&report).quantiles {
        let (fixed, sequence) = (quantile.lift_fixed_n.unwrap(), quantile.lift);
        assert_eq!(fixed.estimate, sequence.estimate);
        assert!(fixed.lower >= sequence.lower && fixed.upper <= sequence.upper);
        let width = |interval: latency_experiment_analysis::Interval| {
            interval.upper.unwrap() - interval.lower.unwrap()
        };
        assert!(width(fixed) < 0.95 * width(sequence), "{quantile:?}");
    }
}

#[test]
fn a_report_read_back_is_the_report_written() {
    for snapshot in [rich(), two_arms(2, 30, 5.0, 1.0), Service::new().snapshot()] {
        let report = report(&[snapshot]);
        assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
    }
}

#[test]
fn documents_of_other_schemas_are_refused_with_the_place() {
    let json = report(&[two_arms(3, 100, 5.0, 5.0)]).to_json();
    let other = json.replace("latency-experiment/report/1", "latency-experiment/report/2");
    let error = Report::from_json(&other).unwrap_err();
    assert!(error.is_document() && error.to_string().starts_with("schema: "), "{error}");
    let broken = json.replacen("\"verdict\": \"undecided\"", "\"verdict\": \"slowest\"", 1);
    let error = Report::from_json(&broken).unwrap_err().to_string();
    assert!(error.starts_with("comparisons[0].verdict: "), "{error}");
    let more = json.replacen("{\n", "{\n  \"unknown\": {\"key\": 1},\n", 1);
    assert!(Report::from_json(&more).is_ok(), "unknown keys are ignored");
}

#[test]
fn what_is_not_bounded_is_null_and_a_ratio_of_zero_is_a_lift_of_minus_one() {
    // 40 requests cannot bound a p99.
    let report = report(&[two_arms(4, 80, 5.0, 5.0)]);
    let document: Value = serde_json::from_str(&report.to_json()).unwrap();
    let tail = &document["comparisons"][0]["quantiles"][2];
    assert_eq!(tail["lift"]["lower"], -1.0, "{tail}");
    assert!(tail["lift"]["upper"].is_null() && tail["control"]["upper_ns"].is_null(), "{tail}");
    assert!(tail["difference"]["lower_ns"].is_null(), "{tail}");
}

#[test]
fn values_in_the_overflow_bucket_have_no_estimate() {
    let mut service = Service::new();
    for arm in [0, 1] {
        for _ in 0..100 {
            service.request(arm, ROUTE, u64::MAX / 2);
        }
    }
    let report = report(&[service.snapshot()]);
    let quantile = &overall(&report).quantiles[0];
    assert_eq!((quantile.control.estimate_ns, quantile.lift.estimate), (None, None));
    for text in [report.to_json(), report.to_string()] {
        assert!(!text.contains(" inf") && !text.contains("NaN"), "{text}");
    }
}

fn instances() -> Vec<Snapshot> {
    (0..5)
        .map(|seed| {
            let mut snapshot = two_arms(50 + seed, 2_000, 5.0, 4.0);
            snapshot.instance = format!("instance-{seed}");
            if seed == 4 {
                snapshot.experiment.epoch = 2;
                snapshot.experiment.fingerprint = Fingerprint(2);
            }
            snapshot
        })
        .collect()
}

#[test]
fn the_order_of_snapshots_and_of_merging_changes_no_bit() {
    let parts = instances();
    let expected = report(&parts).to_json();
    let pick = |order: [usize; 5]| order.map(|part| parts[part].clone()).to_vec();
    let merge = |a: &Snapshot, b: &Snapshot| a.merge(b).unwrap();
    let merged = merge(&merge(&parts[0], &parts[1]), &merge(&parts[3], &parts[2]));
    for order in [
        pick([4, 3, 2, 1, 0]),
        pick([2, 0, 4, 1, 3]),
        vec![merged.clone(), parts[4].clone()],
        vec![parts[4].clone(), merged],
    ] {
        assert_eq!(report(&order).to_json(), expected);
    }
}

#[test]
fn snapshots_of_one_instance_may_have_gaps_that_others_fill() {
    let [mut early, other, mut late, ..] = <[Snapshot; 5]>::try_from(instances()).unwrap();
    early.instance = "z".to_owned();
    late.instance = "z".to_owned();
    late.started_at = "1970-01-01T00:02:00Z".parse().unwrap();
    late.taken_at = "1970-01-01T00:03:00Z".parse().unwrap();
    let report = report(&[late, other, early]);
    let n = overall(&report).n;
    assert_eq!(n.control + n.variation, 6_000);
}

#[test]
fn snapshots_that_do_not_belong_together_are_refused() {
    let one = two_arms(5, 100, 5.0, 5.0);
    let refused = |snapshots: &[Snapshot]| {
        let error = analyze(snapshots, &Plan::default()).unwrap_err();
        assert!(error.is_snapshots());
        error.to_string()
    };
    assert_eq!(refused(&[]), "no snapshot is given: at least one is needed");

    let twice = refused(&[one.clone(), one.clone()]);
    assert!(twice.contains("both snapshots cover instance"), "{twice}");

    let mut other = one.clone();
    other.experiment.name = "other".to_owned();
    let message = refused(&[other, one.clone()]);
    assert!(message.contains("`cached_whitelist`") && message.contains("`other`"), "{message}");

    let mut other = one.clone();
    other.experiment.control = "variation".to_owned();
    assert!(refused(&[one, other]).starts_with("control: "));
}

#[test]
fn arms_of_different_resolution_are_compared_at_the_coarser_one() {
    let fine = two_arms(6, 20_000, 5.0, 2.0);
    let mut mixed = fine.clone();
    for (key, histogram) in &mut mixed.series {
        if key.arm == "variation" {
            // An octave per bucket, as a recorder does when its memory is spent.
            let mut octaves: Vec<Bucket> = Vec::new();
            for bucket in histogram.buckets() {
                let lower = 1 << bucket.lower.ilog2();
                match octaves.last_mut() {
                    Some(last) if last.lower == lower => last.count += bucket.count,
                    _ => octaves.push(Bucket { lower, upper: 2 * lower - 1, count: bucket.count }),
                }
            }
            *histogram = Histogram::try_new(octaves, Sums::UNKNOWN).unwrap();
        }
    }
    let (fine, coarse) = (report(&[fine]), report(&[mixed]));
    assert!(coarse.warnings.iter().any(|warning| warning.contains("buckets of different width")));
    let lifts = [&fine, &coarse].map(|report| overall(report).quantiles[0].lift);
    assert!(lifts[1].lower <= lifts[0].lower && lifts[1].upper >= lifts[0].upper, "{lifts:?}");
}

#[test]
fn the_table_reads_at_a_glance() {
    let text = report(&[rich()]).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "cached_whitelist · epoch 1 · alpha 0.05 · exposed requests");
    assert!(lines[1].starts_with("split: control ") && lines[1].ends_with(", ok"), "{}", lines[1]);
    let words = |line: &&str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let header = lines.iter().map(words).find(|line| line.contains(&"lift".to_owned())).unwrap();
    assert_eq!(header.join(" "), "control variation lift 95 % interval verdict");
    for segment in ["all routes", "GET /a", "GET /b"] {
        let row = lines.iter().find(|line| line.starts_with(&format!("{segment} "))).unwrap();
        assert!(row.contains(" n "), "{row}");
    }
    for label in ["p50", "p95", "p99", "mean", "errors", "cancelled"] {
        let row = lines.iter().map(words).find(|line| line.first().is_some_and(|w| w == label));
        assert!(row.is_some(), "{label} in\n{text}");
    }
    assert!(text.contains(" ms "), "{text}");
    assert!(text.contains("valid at every look"), "{text}");
    assert!(!text.contains("· 0-500kB"), "one size class says nothing of its own:\n{text}");
    let widest = lines.iter().max_by_key(|line| line.chars().count()).unwrap();
    assert!(widest.chars().count() <= 100, "{widest}");
    assert!(lines.iter().all(|line| line.trim_end() == *line), "no space at the ends of lines");
}

#[test]
fn long_routes_are_broken_at_slashes_and_long_reports_stay_within_the_width() {
    let mut service = Service::with(|e| {
        e.arms = arms(&[("control", 1), ("in_process_cache", 1), ("redis", 1)]);
    });
    let mut random = Seeded::new(7);
    let route = "GET /api/v1/tenants/{tenant}/products/{product}/recommendations";
    for _ in 0..3_000 {
        let arm = (random.next() % 3) as usize;
        let size = ["0-500kB", "500-1000kB"][(random.next() % 2) as usize];
        let latency = random.latency(5e9, 0.5);
        service.record(arm, latency, |key| {
            route.clone_into(&mut key.route);
            size.clone_into(&mut key.size);
        });
    }
    let text = report(&[service.snapshot()]).to_string();
    let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(widest.chars().count() <= 100, "{widest}");
    for expected in ["\nGET /api/v1/tenants", "\n/{tenant}/products", "· 500-1000kB", "redis"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn fixed_n_figures_hide_until_their_number_is_reached() {
    let few = report(&[two_arms(8, 2_000, 5.0, 4.0)]);
    assert!(overall(&few).information < few.tuned_for);
    assert!(!few.to_string().contains("Mann-Whitney"), "{few}");
    let many = report(&[two_arms(8, 24_000, 5.0, 4.0)]);
    assert!(overall(&many).information > many.tuned_for);
    assert!(many.to_string().contains("(Mann-Whitney"), "{many}");
    let asked = analyze(&[two_arms(8, 2_000, 5.0, 4.0)], &Plan::default().with_fixed_n(true));
    let asked = asked.unwrap().to_string();
    assert!(asked.contains("Mann-Whitney") && asked.contains(" once "), "{asked}");
}

#[test]
fn verdicts_are_the_words_of_the_contract() {
    use latency_experiment_analysis::Verdict;
    let words: BTreeSet<String> = [
        Verdict::Faster,
        Verdict::Slower,
        Verdict::Mixed,
        Verdict::Equivalent,
        Verdict::Undecided,
        Verdict::Withheld,
    ]
    .into_iter()
    .map(|verdict| {
        let word = serde_json::to_value(verdict).unwrap().as_str().unwrap().to_owned();
        assert_eq!(word, verdict.to_string());
        word
    })
    .collect();
    let expected = ["equivalent", "faster", "mixed", "slower", "undecided", "withheld"];
    assert_eq!(words.into_iter().collect::<Vec<_>>(), expected);
}
