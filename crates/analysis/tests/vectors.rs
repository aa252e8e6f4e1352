//! Reference values of outside libraries, through the document: cases become snapshot files, and the report
//! must have the values.
//!
//! `crates/stats/tests/vectors` compares the functions; this compares what a reader of
//! `latency-experiment report --format json` gets.

use std::cell::RefCell;
use std::collections::BTreeMap;

use latency_experiment_analysis::{Plan, analyze};
use latency_experiment_record::Snapshot;
use serde_json::{Value, json};

/// Where the report does not say what the reference says, and why: (case, start of the key).
///
/// One-arm sequences and strict tests are tuned for 1,000 requests in most cases, below the floor of a plan.
const ELSEWHERE: &[(&str, &str)] = &[
    // The root finder of the reference stopped short of the median of all pairs.
    ("ts01", "r.wilcox"),
    ("ts11", "r.wilcox"),
];

#[derive(Default)]
struct Check {
    compared: RefCell<BTreeMap<String, usize>>,
    failures: RefCell<Vec<String>>,
}

impl Check {
    fn close(&self, name: &str, actual: &Value, expected: f64, relative: f64, absolute: f64) {
        let kind = name.split_once(' ').map_or(name, |(_, key)| key);
        *self.compared.borrow_mut().entry(kind.to_owned()).or_default() += 1;
        let same = match actual.as_f64() {
            Some(actual) => (actual - expected).abs() <= absolute.max(relative * expected.abs()),
            // What is not bounded, or not determined, is absent.
            None => actual.is_null() && !expected.is_finite(),
        };
        if !same {
            self.failures.borrow_mut().push(format!("{name}: {actual}, expected {expected:e}"));
        }
    }

    fn finish(&self, least: usize) {
        let compared = self.compared.borrow();
        for (kind, count) in compared.iter() {
            println!("{count:5} compared: {kind}");
        }
        let total: usize = compared.values().sum();
        println!("{total:5} compared: all");
        let failures = self.failures.borrow();
        assert!(failures.is_empty(), "{} disagree:\n{}", failures.len(), failures.join("\n"));
        assert!(total >= least, "only {total}");
    }
}

fn cases(kind: &str) -> Vec<Value> {
    let text = include_str!("../../stats/tests/vectors/stats.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let cases = document["cases"].as_array().unwrap().iter();
    cases.filter(|case| case["kind"] == kind).cloned().collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// A series of exactly known values with their exact sums.
fn series(arm: &str, route: &str, outcome: &str, points: &Value) -> Value {
    let integers = |key: &str| -> Vec<u64> {
        points[key].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
    };
    let pairs: Vec<(u64, u64)> = integers("values").into_iter().zip(integers("counts")).collect();
    let sum = |power: u32| -> u128 {
        pairs.iter().map(|(value, count)| u128::from(*value).pow(power) * u128::from(*count)).sum()
    };
    let buckets: Vec<[u64; 3]> = pairs
        .iter()
        .filter(|pair| pair.1 > 0)
        .map(|(value, count)| [*value, *value, *count])
        .collect();
    json!({
        "arm": arm, "route": route, "size": "unknown", "outcome": outcome, "milestone": "latency",
        "exposed": true, "unit": "ns", "sum": sum(1).to_string(), "sum_sq": sum(2).to_string(),
        "buckets": buckets,
    })
}

fn snapshot(epoch: u64, weights: &[(&str, u64)], series: &[Value]) -> Value {
    let arms: Vec<Value> =
        weights.iter().map(|(name, weight)| json!({"name": name, "weight": weight})).collect();
    json!({
        "schema": "latency-experiment/snapshot/1", "instance": "a",
        "started_at": "2026-01-01T00:00:00Z", "taken_at": "2026-01-01T01:00:00Z",
        "experiment": "vectors", "epoch": epoch, "fingerprint": format!("{epoch:016x}"),
        "control": "control", "arms": arms, "assigned": {}, "series": series,
    })
}

const HALVES: &[(&str, u64)] = &[("control", 1), ("variation", 1)];

fn report(documents: &[Value], plan: &Plan) -> Value {
    let read = |document: &Value| Snapshot::from_json(&document.to_string()).unwrap();
    let snapshots: Vec<Snapshot> = documents.iter().map(read).collect();
    let text = analyze(&snapshots, plan).unwrap().to_json();
    assert!(!text.contains("NaN") && !text.contains("inf,"));
    serde_json::from_str(&text).unwrap()
}

fn plan() -> Plan {
    let plan = Plan::default().with_quantiles([0.5, 0.9, 0.95, 0.99, 0.999]).unwrap();
    let plan = plan.with_tuned_for(2_500.0).unwrap();
    plan.with_fixed_n(true).with_hodges_lehmann(true).with_strict(true)
}

/// The entry of a quantile in a list.
fn at<'a>(list: &'a Value, level: &str) -> &'a Value {
    let level: f64 = level.parse().unwrap();
    list.as_array().unwrap().iter().find(|entry| entry["q"] == level).unwrap()
}

#[test]
fn two_arms_agree_value_by_value() {
    let check = Check::default();
    for case in cases("two_sample") {
        let id = case["id"].as_str().unwrap();
        let arms =
            ["control", "variation"].map(|arm| series(arm, "GET /", "completed", &case[arm]));
        let document = snapshot(1, HALVES, &arms);
        let report = report(std::slice::from_ref(&document), &plan());
        let row = &report["comparisons"][1];
        for (key, expected) in case["expected"].as_object().unwrap() {
            if ELSEWHERE.contains(&(id, key.as_str())) {
                continue;
            }
            let call = expected["call"].as_str().unwrap();
            two_arms(&check, &format!("{id} {key}"), (&document, row), (&expected["value"], call));
        }
    }
    check.finish(900);
}

fn two_arms(
    check: &Check,
    name: &str,
    (document, row): (&Value, &Value),
    (value, call): (&Value, &str),
) {
    let key = name.split_once(' ').unwrap().1;
    let fixed = &row["fixed_n"];
    let exact = |actual: &Value, expected: f64| check.close(name, actual, expected, 1e-9, 1e-300);
    let complement = |actual: &Value| json!(1.0 - actual.as_f64().unwrap());
    let list = |actual: &[&Value], scale: f64| {
        for (actual, expected) in actual.iter().zip(numbers(value)) {
            check.close(name, actual, expected, 1e-9, scale);
        }
    };
    let bounds = |lift: &Value, difference: &Value| {
        let expected = numbers(value);
        // A ratio bound is a lift plus one.
        check.close(name, &lift["lower"], expected[0] - 1.0, 1e-9, 1e-12);
        check.close(name, &lift["upper"], expected[1] - 1.0, 1e-9, 1e-12);
        check.close(name, &difference["lower_ns"], expected[2], 1e-9, 0.0);
        check.close(name, &difference["upper_ns"], expected[3], 1e-9, 0.0);
    };
    let welch = |test: &Value, absolute: f64| {
        let effect = &test["effect"];
        let actual = [
            &test["t"],
            &test["degrees_of_freedom"],
            &test["p_value"],
            &effect["lower"],
            &effect["upper"],
        ];
        list(&actual, absolute);
    };
    match key {
        "mwu.p.two-sided.nocc" => exact(&row["mann_whitney"]["p_value"], number(value)),
        "mwu.p.greater.nocc" => exact(&fixed["mann_whitney"]["p_value_slower"], number(value)),
        "mwu.p.less.nocc" => exact(&fixed["mann_whitney"]["p_value_faster"], number(value)),
        "mwu.p.two-sided.cc" => exact(&fixed["mann_whitney"]["p_value_corrected"], number(value)),
        "mwu.U_variation" => exact(&row["mann_whitney"]["u"], number(value)),
        "auc" => exact(&complement(&row["mann_whitney"]["probability_faster"]), number(value)),
        "brunnermunzel.t" | "brunnermunzel.normal" => {
            let test = &fixed["brunner_munzel"];
            let expected = numbers(value);
            exact(&test["statistic"], expected[0]);
            let by = if key.ends_with('t') { "p_value" } else { "p_value_normal" };
            // Without a variance there is no t distribution.
            if expected[1].is_finite() {
                exact(&test[by], expected[1]);
            }
        }
        "ks" => exact(&fixed["ks_distance"], numbers(value)[0]),
        "welch" => welch(&fixed["welch"], 1e-6),
        "welch_log" => welch(&fixed["welch_log"], 1e-12),
        "gb.fixed.absolute" => {
            let effect = &fixed["welch"]["effect"];
            list(&[&effect["estimate"], &effect["lower"], &effect["upper"]], 1e-6);
        }
        "own.mean_logratio_cs95" => {
            let mean = &row["mean"];
            let lift = &mean["lift"];
            list(&[&lift["estimate"], &lift["lower"], &lift["upper"], &mean["log_e"]], 1e-12);
        }
        "hl.shift" => {
            let difference = &row["hodges_lehmann"]["difference"]["estimate_ns"];
            check.close(name, difference, number(value), 1e-9, 1e-9);
        }
        "hl.ratio" => exact(&row["hodges_lehmann"]["ratio"]["estimate"], number(value)),
        "r.wilcox" => {
            let difference = &row["hodges_lehmann"]["difference"];
            let expected = numbers(value);
            for (actual, expected) in ["estimate_ns", "lower_ns", "upper_ns"].iter().zip(expected) {
                check.close(name, &difference[actual], expected, 0.0, 1e-2);
            }
        }
        _ => {
            if let Some(level) = key.strip_prefix("own.qratio.fixed95.q") {
                let entry = at(&fixed["quantiles"], level);
                bounds(&entry["lift"], &entry["difference"]);
            } else if let Some(level) = key.strip_prefix("own.qratio.cs95.q") {
                let entry = at(&row["quantiles"], level);
                bounds(&entry["lift"], &entry["difference"]);
            } else if let Some(level) = key.strip_prefix("hr5.p_value.q") {
                if let Some(row) = tuned(document, call) {
                    let entry = at(&row["quantiles"], level);
                    check.close(name, &entry["strict_p_value"], number(value), 1e-6, 1e-300);
                }
            } else if let Some((arm, what)) = key.split_once('.') {
                one_arm(check, name, (document, row), (arm, what), (value, call));
            }
        }
    }
}

/// The route's row under a plan that is tuned as the reference, if plans can be.
fn tuned(document: &Value, call: &str) -> Option<Value> {
    let trials = call.split_once("t_opt=")?.1.split_once(',')?.0.parse::<f64>().unwrap();
    let plan = plan().with_tuned_for(trials / 2.0).ok()?;
    Some(report(std::slice::from_ref(document), &plan)["comparisons"][1].clone())
}

fn one_arm(
    check: &Check,
    name: &str,
    (document, row): (&Value, &Value),
    (arm, what): (&str, &str),
    (value, call): (&Value, &str),
) {
    let exact = |actual: &Value, expected: f64| check.close(name, actual, expected, 1e-9, 0.0);
    match what {
        "n" => exact(&row["n"][arm], number(value)),
        "mean" => exact(&row["mean"][format!("{arm}_ns")], number(value)),
        "var" => exact(&row["mean"]["variance_ns2"][arm], number(value)),
        _ => {
            let Some(level) = what.strip_prefix('q') else { return };
            if let Some(level) = level.strip_suffix(".ci95") {
                let interval = &at(&row["fixed_n"]["quantiles"], level)[arm];
                let expected = numbers(value);
                exact(&interval["lower_ns"], expected[0]);
                exact(&interval["upper_ns"], expected[1]);
            } else if let Some(level) = level.strip_suffix(".cs95") {
                let Some(row) = tuned(document, call) else { return };
                let interval = &at(&row["quantiles"], level)[arm];
                let expected = numbers(value);
                exact(&interval["lower_ns"], expected[0]);
                exact(&interval["upper_ns"], expected[1]);
            } else {
                exact(&at(&row["quantiles"], level)[arm]["estimate_ns"], number(value));
            }
        }
    }
}

#[test]
fn huge_counts_agree_to_the_last_integer() {
    let check = Check::default();
    for case in cases("mwu_big") {
        let id = case["id"].as_str().unwrap();
        let arms =
            ["control", "variation"].map(|arm| series(arm, "GET /", "completed", &case[arm]));
        let report = report(&[snapshot(1, HALVES, &arms)], &Plan::default().with_fixed_n(true));
        let row = &report["comparisons"][1];
        let (test, fixed) = (&row["mann_whitney"], &row["fixed_n"]["mann_whitney"]);
        let expected = |key: &str| &case["expected"][key]["value"];
        assert_eq!(&fixed["twice_u"], expected("U2_variation_exact_int"), "{id}");
        assert_eq!(&fixed["tie_sum"], expected("tie_sum_exact_int"), "{id}");
        for (key, actual) in [
            ("z", test["z"].clone()),
            ("p_two_sided", test["p_value"].clone()),
            ("log_p_two_sided", fixed["log_p_value"].clone()),
            ("auc", json!(1.0 - test["probability_faster"].as_f64().unwrap())),
        ] {
            check.close(&format!("{id} {key}"), &actual, number(expected(key)), 1e-9, 1e-300);
        }
    }
    check.finish(16);
}

#[test]
fn splits_agree() {
    let check = Check::default();
    for case in cases("srm") {
        let id = case["id"].as_str().unwrap();
        let shares = numbers(&case["null"]);
        let names = ["control", "variation", "third"];
        let weights: Vec<(&str, u64)> = names
            .iter()
            .zip(&shares)
            .map(|(name, share)| (*name, (share * 100.0).round() as u64))
            .collect();
        let mut sums = vec![0_u64; shares.len()];
        for (look, batch) in case["batches"].as_array().unwrap().iter().enumerate() {
            for (sum, count) in sums.iter_mut().zip(batch.as_array().unwrap()) {
                *sum += count.as_u64().unwrap();
            }
            let mut document = snapshot(1, &weights, &[]);
            document["assigned"] = weights
                .iter()
                .zip(&sums)
                .map(|((name, _), sum)| ((*name).to_owned(), json!(sum)))
                .collect();
            let report = report(&[document], &Plan::default().with_fixed_n(true));
            let srm = &report["srm"];
            let mut both = Vec::new();
            for concentration in ["10000", "100"] {
                let key = format!("log_bf_exact.conc{concentration}");
                let expected = numbers(&case["expected"][&key]["value"])[look];
                let actual = &srm["log_bayes_factors"][concentration];
                check.close(&format!("{id} {key}"), actual, expected, 0.0, 1e-6);
                both.push(expected);
            }
            let largest = both[0].max(both[1]);
            let average =
                largest + (0.5 * both.iter().map(|one| (one - largest).exp()).sum::<f64>()).ln();
            check.close(&format!("{id} log_e"), &srm["log_e"], average, 0.0, 1e-6);
            let p_value = (-average).exp().min(1.0);
            check.close(&format!("{id} p_value"), &srm["p_value"], p_value, 1e-5, 1e-300);
            assert_eq!(srm["mismatch"], average >= 1_000_f64.ln());
            if look + 1 == case["batches"].as_array().unwrap().len() {
                let expected = numbers(&case["expected"]["chisquare_total"]["value"]);
                let test = &srm["chi_square"];
                check.close(
                    &format!("{id} chi_square"),
                    &test["statistic"],
                    expected[0],
                    1e-9,
                    1e-12,
                );
                check.close(
                    &format!("{id} chi_square"),
                    &test["p_value"],
                    expected[1],
                    1e-9,
                    1e-300,
                );
            }
        }
    }
    check.finish(200);
}

#[test]
fn strata_agree() {
    let check = Check::default();
    for case in cases("stratified") {
        let id = case["id"].as_str().unwrap();
        let (mut latencies, mut rates) = (Vec::new(), Vec::new());
        for (position, stratum) in case["strata"].as_array().unwrap().iter().enumerate() {
            let route = format!("GET /{position:02}");
            for arm in ["control", "variation"] {
                latencies.push(series(arm, &route, "completed", &stratum[arm]));
                // The same requests by how they ended.
                let counts = stratum[arm]["counts"].as_array().unwrap().iter();
                let all: u64 = counts.map(|count| count.as_u64().unwrap()).sum();
                let errors = stratum[format!("errors_{arm}")].as_u64().unwrap();
                for (outcome, count) in [("completed", all - errors), ("failed", errors)] {
                    let points = json!({"values": [1_000], "counts": [count]});
                    rates.push(series(arm, &route, outcome, &points));
                }
            }
        }
        let plan = Plan::default().with_fixed_n(true);
        let by_latency = report(&[snapshot(1, HALVES, &latencies)], &plan);
        let by_rate = report(&[snapshot(1, HALVES, &rates)], &plan);
        let test = &by_latency["comparisons"][0]["mann_whitney"];
        let common = &by_rate["comparisons"][0]["fixed_n"]["errors"]["common"];
        let expected = |key: &str| &case["expected"][key]["value"];
        let close = |key: &str, actual: &Value, expected: f64| {
            check.close(&format!("{id} {key}"), actual, expected, 1e-9, 1e-300);
        };
        let van_elteren = numbers(expected("van_elteren"));
        close("van_elteren", &test["z"], van_elteren[0]);
        close("van_elteren", &test["p_value"], van_elteren[1]);
        close("mh_oddsratio", &common["odds_ratio"]["estimate"], number(expected("mh_oddsratio")));
        close("mh_riskratio", &common["risk_ratio"]["estimate"], number(expected("mh_riskratio")));
        for (end, expected) in ["lower", "upper"].iter().zip(numbers(expected("mh_logodds_ci95"))) {
            close("mh_logodds_ci95", &common["odds_ratio"][end], expected.exp());
        }
        for (key, prefix) in [("cmh_nocc", ""), ("cmh_cc", "corrected_")] {
            let expected = numbers(expected(key));
            close(key, &common[format!("{prefix}chi_squared")], expected[0]);
            close(key, &common[format!("{prefix}p_value")], expected[1]);
        }
        for level in ["0.5", "0.95", "0.99"] {
            let entry = at(&by_latency["comparisons"][0]["quantiles"], level);
            let key = format!("own.poststrat.q{level}");
            for (arm, expected) in ["control", "variation"].iter().zip(numbers(expected(&key))) {
                close(&key, &entry[arm]["estimate_ns"], expected);
            }
        }
    }
    check.finish(75);
}

#[test]
fn rates_agree() {
    let check = Check::default();
    for row in cases("two_proportions")[0]["rows"].as_array().unwrap() {
        let mut all = Vec::new();
        for arm in ["control", "variation"] {
            let errors = row[format!("errors_{arm}")].as_u64().unwrap();
            let answered = row[format!("n_{arm}")].as_u64().unwrap() - errors;
            for (outcome, count) in [("completed", answered), ("server_error", errors)] {
                let points = json!({"values": [1_000], "counts": [count]});
                all.push(series(arm, "GET /", outcome, &points));
            }
        }
        let report = report(&[snapshot(1, HALVES, &all)], &Plan::default().with_fixed_n(true));
        let errors = &report["comparisons"][0]["fixed_n"]["errors"];
        for (key, interval) in [
            ("newcombe_diff_ci95", &errors["difference"]),
            ("wilson_variation", &errors["variation"]),
        ] {
            let expected = numbers(&row["expected"][key]["value"]);
            check.close(&format!("tp {key}"), &interval["lower"], expected[0], 1e-9, 1e-15);
            check.close(&format!("tp {key}"), &interval["upper"], expected[1], 1e-9, 1e-15);
        }
    }
    check.finish(40);
}

#[test]
fn labels_agree() {
    let check = Check::default();
    for row in cases("label_e_process")[0]["rows"].as_array().unwrap() {
        let quantile = (1.0 - number(&row["base_rate"])).to_string();
        let epochs = row["epochs"].as_array().unwrap().iter().enumerate();
        let documents: Vec<Value> = epochs
            .map(|(position, epoch)| {
                let share = (number(&epoch["pi"]) * 1_000.0).round() as u64;
                let weights = [("control", 1_000 - share), ("variation", share)];
                let arms = [("control", "c"), ("variation", "v")].map(|(arm, short)| {
                    let bad = epoch[format!("bad_{short}")].as_u64().unwrap();
                    let n = bad + epoch[format!("ok_{short}")].as_u64().unwrap();
                    let points = json!({"values": [1_000], "counts": [n.max(1)]});
                    let mut series = series(arm, "GET /", "completed", &points);
                    let frozen = json!({"edge": 500, "over": bad, "n": n});
                    series["since_freeze"] = json!({quantile.clone(): frozen});
                    series
                });
                snapshot(position as u64 + 1, &weights, &arms)
            })
            .collect();
        let report = report(&documents, &Plan::default());
        let found = &report["comparisons"][0]["labels"]["latency"];
        let found = found.as_object().unwrap().values().next().unwrap();
        for (key, side) in [("log_e_one_sided", "more"), ("log_e_two_sided", "two_sided")] {
            let expected = number(&row["expected"][key]["value"]);
            check.close(&format!("label {key}"), &found[side], expected, 1e-9, 1e-9);
        }
    }
    check.finish(32);
}

#[test]
fn raw_values_lie_in_the_buckets_that_are_reported() {
    let check = Check::default();
    for case in cases("bucket_bounds") {
        let buckets = &case["buckets_lo_hi_count"];
        let arms = ["control", "variation"].map(|arm| {
            let points = json!({"values": [], "counts": []});
            let mut series = series(arm, "GET /", "completed", &points);
            series.as_object_mut().unwrap().retain(|key, _| !key.starts_with("sum"));
            series["buckets"] = buckets.clone();
            series
        });
        let report = report(&[snapshot(1, HALVES, &arms)], &plan());
        let row = &report["comparisons"][1];
        for (key, expected) in case["expected"].as_object().unwrap() {
            let raw = number(&expected["value"]);
            let actual = match key.strip_prefix("raw_q") {
                Some(level) => &at(&row["quantiles"], level)["control"]["estimate_ns"],
                None => &row["mean"]["control_ns"],
            };
            // The midpoint is at most half a bucket of 1 % away.
            check.close(&format!("bk {key}"), actual, raw, 0.006, 0.0);
        }
    }
    check.finish(16);
}
