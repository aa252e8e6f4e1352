//! Compares this crate with the reference values in `vectors/stats.json`.
//!
//! Every expected value is either compared or named in [`NOT_COVERED`] with the reason; a key that is
//! neither fails the test, so that nothing is skipped silently.

use std::cell::RefCell;
use std::collections::BTreeMap;

use latency_experiment_stats::{
    Allocation, Alpha, Alternative, BaseRate, BetaBinomial, Boundary, Bucket, Comparison,
    Distribution, Estimate, LabelCounts, NormalMixture, OneSidedNormalMixture, Power, Quantile,
    Share, Stratum, TunedFor, average_log_e, bernoulli_confidence_sequence, e_bh,
    geometric_mean_effect, label_log_e, mann_whitney, mean_effect, quantile_confidence_interval,
    quantile_confidence_sequence, quantile_effect, requests_per_arm_for_rates, srm,
    srm_log_bayes_factor,
};
use serde_json::Value;

/// Expected values without a counterpart in this crate: (kind, start of the key, why).
const NOT_COVERED: &[(&str, &str, &str)] = &[
    ("two_sample", "hr5.", "strict two-arm quantile test: not implemented yet"),
    ("two_sample", "brunnermunzel.", "not implemented yet"),
    ("two_sample", "ks", "not implemented yet"),
    ("two_sample", "welch", "not implemented yet, but for the ratio of geometric means"),
    ("two_sample", "hl.", "Hodges-Lehmann: not implemented yet"),
    ("two_sample", "r.wilcox", "Hodges-Lehmann interval: not implemented yet"),
    ("two_sample", "mwu.p.two-sided.cc", "no continuity correction, by design"),
    ("two_sample", "mwu.p.greater.cc", "no continuity correction, by design"),
    ("two_sample", "mwu.p.less.cc", "no continuity correction, by design"),
    ("two_sample", "gb.fixed.", "plug-in Welch test of means, rejected for canaries"),
    ("srm", "chisquare_total", "chi-squared is not valid at every look, by design"),
    ("multiple_testing", "bh_adjusted", "not implemented yet"),
    ("multiple_testing", "by_adjusted", "not implemented yet"),
    ("multiple_testing", "holm_adjusted", "not implemented yet"),
    ("multiple_testing", "bonferroni_adjusted", "not implemented yet"),
    ("stratified", "mh_", "Mantel-Haenszel: not implemented yet"),
    ("stratified", "cmh_", "Cochran-Mantel-Haenszel: not implemented yet"),
    ("boundaries", "poly_stitching", "the mixtures are used instead of stitched boundaries"),
    ("boundaries", "empirical_process_lil", "sequential Kolmogorov-Smirnov: rejected as too weak"),
    ("boundaries", "double_stitching", "the mixtures are used instead of stitched boundaries"),
    ("two_proportions", "newcombe_diff_ci95", "not implemented yet"),
    ("two_proportions", "fisher_p", "not implemented yet"),
    ("two_proportions", "wilson_variation", "not implemented yet"),
    ("two_proportions", "clopper_pearson_variation", "not implemented yet"),
    ("hdr", "", "the recording crate owns the HDR layout"),
];

#[test]
fn reference_values_agree() {
    let document: Value = serde_json::from_str(include_str!("vectors/stats.json")).unwrap();
    let check = Check::default();
    for case in document["cases"].as_array().unwrap() {
        match text(&case["kind"]) {
            "two_sample" => two_sample(&check, case),
            "mwu_big" => mwu_big(&check, case),
            "srm" => allocation(&check, case),
            "beta_binomial" => rows(&check, case, beta_binomial),
            "boundaries" => rows(&check, case, boundaries),
            "multiple_testing" => multiple_testing(&check, case),
            "stratified" => stratified(&check, case),
            "two_proportions" => rows(&check, case, |_, _, _| false),
            "label_e_process" => rows(&check, case, labels),
            "bucket_bounds" => bucket_bounds(&check, case),
            "hdr" => expected(&check, case, case, |_, _| false),
            "power" => rows(&check, case, power),
            unknown => check.fail(format!("unknown kind {unknown}")),
        }
    }
    check.finish();
}

/// What was compared, what was left out, and what disagreed.
#[derive(Default)]
struct Check {
    compared: RefCell<BTreeMap<String, (usize, usize)>>,
    skipped: RefCell<BTreeMap<(String, String), usize>>,
    exceptions: RefCell<Vec<String>>,
    failures: RefCell<Vec<String>>,
    place: RefCell<(String, String)>,
}

impl Check {
    fn fail(&self, message: String) {
        self.failures.borrow_mut().push(message);
    }

    /// Counts one number as compared.
    fn count(&self) {
        let kind = self.place.borrow().0.clone();
        self.compared.borrow_mut().entry(kind).or_default().1 += 1;
    }

    fn close(&self, actual: f64, expected: f64, relative: f64, absolute: f64) {
        self.count();
        let same = actual == expected || actual.is_nan() && expected.is_nan();
        let error = (actual - expected).abs();
        if !same && (error.is_nan() || error > absolute.max(relative * expected.abs())) {
            let place = &self.place.borrow().1;
            self.fail(format!("{place}: {actual:e}, expected {expected:e}"));
        }
    }

    fn all_close(&self, actual: &[f64], expected: &Value, relative: f64, absolute: f64) {
        let expected = numbers(expected);
        assert_eq!(actual.len(), expected.len(), "{}", self.place.borrow().1);
        for (actual, expected) in actual.iter().zip(expected) {
            self.close(*actual, expected, relative, absolute);
        }
    }

    fn that(&self, holds: bool, message: impl FnOnce() -> String) {
        self.count();
        if !holds {
            let place = self.place.borrow().1.clone();
            self.fail(format!("{place}: {}", message()));
        }
    }

    fn finish(&self) {
        let mut total = (0, 0);
        for (kind, (keys, numbers)) in self.compared.borrow().iter() {
            println!("{kind:>20}: {keys:4} expected values compared ({numbers} numbers)");
            total = (total.0 + keys, total.1 + numbers);
        }
        println!("{:>20}: {:4} expected values compared ({} numbers)", "all", total.0, total.1);
        for ((kind, reason), count) in self.skipped.borrow().iter() {
            println!("{kind:>20}: {count:4} not compared: {reason}");
        }
        let exceptions = self.exceptions.borrow();
        println!(
            "{:>20}: {:4} bounds where the reference is known to be wrong",
            "exceptions",
            exceptions.len()
        );
        let failures = self.failures.borrow();
        assert!(failures.is_empty(), "{} disagreements:\n{}", failures.len(), failures.join("\n"));
        // The reference's defect is known to this many bounds; a change means that ours moved.
        assert_eq!(exceptions.len(), 25, "{exceptions:#?}");
    }
}

/// Runs `compare` over the expected values of a case or row; false means that the key is not known to it.
fn expected(
    check: &Check,
    case: &Value,
    row: &Value,
    mut compare: impl FnMut(&str, &Value) -> bool,
) {
    let kind = text(&case["kind"]);
    for (key, expected) in row["expected"].as_object().unwrap() {
        *check.place.borrow_mut() = (kind.to_owned(), format!("{} {key}", text(&case["id"])));
        let compared = compare(key, &expected["value"]);
        let reason =
            NOT_COVERED.iter().find(|(of, start, _)| *of == kind && key.starts_with(start));
        match (compared, reason) {
            (true, None) => check.compared.borrow_mut().entry(kind.to_owned()).or_default().0 += 1,
            (false, Some((_, _, reason))) => {
                *check
                    .skipped
                    .borrow_mut()
                    .entry((kind.to_owned(), (*reason).to_owned()))
                    .or_default() += 1;
            }
            (true, Some(_)) => {
                check.fail(format!("{kind} {key} is compared and listed as not covered"));
            }
            (false, None) => check.fail(format!("{kind} {key} is neither compared nor listed")),
        }
    }
}

fn rows(check: &Check, case: &Value, compare: impl Fn(&Check, &Value, (&str, &Value)) -> bool) {
    for row in case["rows"].as_array().unwrap() {
        expected(check, case, row, |key, value| compare(check, row, (key, value)));
    }
}

fn two_sample(check: &Check, case: &Value) {
    let control = points(&case["control"]);
    let variation = points(&case["variation"]);
    let pair = Comparison::pair(control.clone(), variation.clone()).unwrap();
    let sequence = Boundary::ConfidenceSequence { tuned_for: TunedFor::new(2_500.0).unwrap() };
    let gb_fixed_error = |name: &str| number(&case["expected"][name]["value"][4]);
    *check.place.borrow_mut() =
        ("two_sample".to_owned(), format!("{} geometric means", text(&case["id"])));
    let geometric = geometric_mean_effect(&pair, sequence, Alpha::DEFAULT).ratio.point.unwrap();
    check.close(geometric, number(&case["expected"]["welch_log"]["value"][5]), 1e-9, 0.0);
    expected(check, case, case, |key, value| {
        let relative = |actual: f64| check.close(actual, number(value), 1e-9, 1e-300);
        let ranks = || mann_whitney(&pair).unwrap();
        if let Some((arm, rest)) =
            key.split_once('.').filter(|(arm, _)| ["control", "variation"].contains(arm))
        {
            let arm = if arm == "control" { &control } else { &variation };
            return one_arm(check, arm, rest, (value, text(&case["expected"][key]["call"])));
        }
        match key {
            "mwu.p.two-sided.nocc" => relative(ranks().p_value),
            "mwu.p.greater.nocc" => relative(ranks().p_value_for(Alternative::Greater)),
            "mwu.p.less.nocc" => relative(ranks().p_value_for(Alternative::Less)),
            "mwu.U_variation" => relative(ranks().u),
            "auc" => relative(1.0 - ranks().probability_faster),
            "gb.sequential.relative" | "gb.sequential.absolute" => {
                // The same boundary with requests as information; its standard error is the fixed-n one.
                let error = gb_fixed_error(&key.replace("sequential", "fixed"));
                let n = (control.count() + variation.count()) as f64;
                let mixture = NormalMixture::new(5_000.0, Alpha::DEFAULT).unwrap();
                let half_width = mixture.radius(n, Alpha::DEFAULT) * error;
                let point = number(&value[0]);
                let scale = half_width.abs() + point.abs();
                check.close(point - half_width, number(&value[1]), 1e-9, 1e-9 * scale);
                check.close(point + half_width, number(&value[2]), 1e-9, 1e-9 * scale);
                let log_e = mixture.log_e(point / error, n);
                check.close((-log_e).exp().min(1.0), number(&value[3]), 1e-9, 1e-14);
            }
            "own.mean_logratio_cs95" => {
                let effect = mean_effect(&pair, sequence, Alpha::DEFAULT);
                let lift = effect.ratio.to_lift();
                let actual =
                    [lift.point.unwrap(), lift.lower, lift.upper, effect.evidence.log_e.unwrap()];
                check.all_close(&actual, value, 1e-9, 1e-12);
            }
            _ => {
                let Some((form, level)) =
                    key.strip_prefix("own.qratio.").and_then(|rest| rest.split_once(".q"))
                else {
                    return false;
                };
                let boundary = match form {
                    "fixed95" => Boundary::FixedN,
                    "cs95" => sequence,
                    _ => return false,
                };
                let effect = quantile_effect(&pair, quantile(level), boundary, Alpha::DEFAULT);
                let Estimate { lower, upper, .. } = effect.ratio;
                let actual = [lower, upper, effect.difference.lower, effect.difference.upper];
                check.all_close(&actual, value, 1e-12, 0.0);
            }
        }
        true
    });
}

fn one_arm(check: &Check, arm: &Distribution, key: &str, (value, call): (&Value, &str)) -> bool {
    let relative = |actual: f64| check.close(actual, number(value), 1e-9, 0.0);
    match key {
        "n" => relative(arm.count() as f64),
        "mean" => relative(arm.mean().unwrap()),
        "var" => {
            relative(arm.variance().unwrap());
            // The integer path must agree with the one over midpoints.
            let (mut sum, mut sum_sq) = (0, 0);
            for bucket in arm.buckets() {
                let (point, count) = (u128::from(bucket.lower), u128::from(bucket.count));
                sum += point * count;
                sum_sq += point * point * count;
            }
            relative(arm.clone().with_moments(sum, sum_sq).variance().unwrap());
        }
        _ => {
            let Some(level) = key.strip_prefix('q') else { return false };
            if let Some(level) = level.strip_suffix(".ci95") {
                let interval = quantile_confidence_interval(arm, quantile(level), Alpha::DEFAULT);
                // The reference writes an absent bound as nan.
                let finite = |bound: f64| if bound.is_finite() { bound } else { f64::NAN };
                check.all_close(&[finite(interval.lower), finite(interval.upper)], value, 0.0, 0.0);
            } else if let Some(level) = level.strip_suffix(".cs95") {
                let (_, tuned_for) = call.split_once("t_opt=").unwrap();
                let tuned_for = tuned_for.split_once(',').unwrap().0.parse().unwrap();
                let sequence =
                    quantile_confidence_sequence(arm, quantile(level), tuned_for, Alpha::DEFAULT)
                        .unwrap();
                let reference = numbers(value);
                for (actual, expected) in
                    [sequence.lower, sequence.upper].into_iter().zip(reference)
                {
                    // Where no rank reaches 1/alpha the reference gives the extreme order statistic
                    // instead of infinity.
                    let extremes = [arm.order_statistic(1), arm.order_statistic(arm.count())];
                    let extreme = extremes.iter().any(|edges| edges.unwrap().lower == expected);
                    if actual.is_infinite() && extreme {
                        check.exceptions.borrow_mut().push(check.place.borrow().1.clone());
                    } else {
                        check.close(actual, expected, 0.0, 0.0);
                    }
                }
            } else {
                relative(arm.quantile(quantile(level)).unwrap());
            }
        }
    }
    true
}

fn mwu_big(check: &Check, case: &Value) {
    let pair = Comparison::pair(points(&case["control"]), points(&case["variation"])).unwrap();
    let test = mann_whitney(&pair).unwrap();
    expected(check, case, case, |key, value| {
        let relative = |actual: f64| check.close(actual, number(value), 1e-9, 1e-300);
        match key {
            "U2_variation_exact_int" => {
                check
                    .that(test.twice_u.unwrap().to_string() == text(value), || format!("{test:?}"));
            }
            "tie_sum_exact_int" => {
                check
                    .that(test.tie_sum.unwrap().to_string() == text(value), || format!("{test:?}"));
            }
            "z" => relative(test.z),
            "p_two_sided" => relative(test.p_value),
            "log_p_two_sided" => relative(test.log_p_value),
            "auc" => relative(1.0 - test.probability_faster),
            _ => return false,
        }
        true
    });
}

fn allocation(check: &Check, case: &Value) {
    let weights = numbers(&case["null"]);
    // Counts after each batch.
    let looks: Vec<Vec<u64>> = case["batches"]
        .as_array()
        .unwrap()
        .iter()
        .scan(vec![0; weights.len()], |sums, batch| {
            for (sum, count) in sums.iter_mut().zip(integers(batch)) {
                *sum += count;
            }
            Some(sums.clone())
        })
        .collect();
    expected(check, case, case, |key, value| {
        let (what, concentration) = match key.split_once(".conc") {
            Some((what, concentration)) => (what, concentration.parse().unwrap()),
            None => return false,
        };
        let log_bf: Vec<f64> = looks
            .iter()
            .map(|observed| {
                srm_log_bayes_factor(Allocation { observed, weights: &weights }, concentration)
                    .unwrap()
            })
            .collect();
        let n: u64 = looks.last().unwrap().iter().sum();
        match what {
            "log_bf_exact" => check.all_close(&log_bf, value, 1e-12, 1e-6),
            // The reference itself loses up to 2.9e-6 to cancellation at n = 1e9.
            "log_bf" => {
                check.all_close(&log_bf, value, 1e-9, if n > 10_000_000 { 4e-6 } else { 1e-8 });
            }
            "p_values" => {
                let running: Vec<f64> = log_bf
                    .iter()
                    .scan(1.0, |least, log_bf| {
                        *least = f64::min(*least, (-log_bf).exp());
                        Some(*least)
                    })
                    .collect();
                check.all_close(&running, value, if n > 10_000_000 { 4e-6 } else { 1e-8 }, 0.0);
            }
            _ => return false,
        }
        true
    });
    // The shipped test averages both concentrations.
    for observed in &looks {
        let epoch = Allocation { observed, weights: &weights };
        let both = [10_000.0, 100.0].map(|conc| (1.0, srm_log_bayes_factor(epoch, conc).unwrap()));
        check.close(srm(&[epoch]).unwrap().log_e, average_log_e(both), 1e-12, 1e-12);
    }
}

fn beta_binomial(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
    let (n, k) = (integer(&row["n"]), integer(&row["k"]));
    let tuned_for = number(&row["t_opt"]);
    assert_eq!(number(&row["alpha_opt"]), 0.05);
    let mixture = BetaBinomial::new(number(&row["p0"]), tuned_for, Alpha::DEFAULT).unwrap();
    match key {
        "log_e_two_sided" => check.close(mixture.log_e(k, n), number(value), 1e-9, 1e-9),
        "log_e_one_sided_greater" => {
            let (actual, expected) = (mixture.log_e_one_sided(k, n), number(value));
            // The reference underflows in the far tail.
            if expected.is_finite() {
                check.close(actual, expected, 1e-9, 1e-9);
            } else {
                check.that(actual.is_finite() && actual < -600.0, || format!("{actual}"));
            }
        }
        "bernoulli_cs" => {
            let (lower, upper) =
                bernoulli_confidence_sequence(k, n, tuned_for, alpha(&row["alpha"])).unwrap();
            check.all_close(&[lower, upper], value, 1e-9, 1e-11);
        }
        _ => return false,
    }
    true
}

fn boundaries(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
    let (v, v_opt, s) = (number(&row["v"]), number(&row["v_opt"]), number(&row["s"]));
    let two = NormalMixture::new(v_opt, Alpha::DEFAULT).unwrap();
    let one = OneSidedNormalMixture::new(v_opt, Alpha::DEFAULT).unwrap();
    let alpha = alpha(&row["alpha"]);
    let (actual, relative) = match key {
        "normal_bound_two" => (two.radius(v, alpha) * v.sqrt(), 1e-9),
        "normal_bound_one" => (one.radius(v, alpha) * v.sqrt(), 1e-6),
        "normal_log_e_two" => (two.log_e(s / v.sqrt(), v), 1e-9),
        "normal_log_e_one" => (one.log_e(s / v.sqrt(), v), 1e-9),
        _ => return false,
    };
    check.close(actual, number(value), relative, 1e-12);
    true
}

fn multiple_testing(check: &Check, case: &Value) {
    let log_e: Vec<f64> = numbers(&case["e"]).into_iter().map(f64::ln).collect();
    let rejected = e_bh(&log_e, alpha(&case["alpha"]));
    expected(check, case, case, |key, value| {
        if key != "ebh_reject" {
            return false;
        }
        let reference: Vec<bool> =
            value.as_array().unwrap().iter().map(|reject| reject.as_bool().unwrap()).collect();
        check.that(rejected == reference, || format!("{rejected:?}"));
        true
    });
}

fn stratified(check: &Check, case: &Value) {
    let strata = case["strata"].as_array().unwrap().iter().map(|stratum| {
        Stratum::by_requests(points(&stratum["control"]), points(&stratum["variation"]))
    });
    let comparison = Comparison::new(strata).unwrap();
    expected(check, case, case, |key, value| {
        if key == "van_elteren" {
            let test = mann_whitney(&comparison).unwrap();
            check.all_close(&[test.z, test.p_value], value, 1e-9, 1e-300);
            return true;
        }
        let Some(level) = key.strip_prefix("own.poststrat.q") else { return false };
        let effect =
            quantile_effect(&comparison, quantile(level), Boundary::default(), Alpha::DEFAULT);
        check.all_close(&[effect.control.unwrap(), effect.variation.unwrap()], value, 0.0, 0.0);
        true
    });
}

fn labels(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
    assert_eq!(numbers(&row["grid"]), [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]);
    let epochs: Vec<LabelCounts> = row["epochs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|epoch| LabelCounts {
            share: Share::new(number(&epoch["pi"])).unwrap(),
            bad_control: integer(&epoch["bad_c"]),
            bad_variation: integer(&epoch["bad_v"]),
            ok_control: integer(&epoch["ok_c"]),
            ok_variation: integer(&epoch["ok_v"]),
        })
        .collect();
    let base_rate = BaseRate::new(number(&row["base_rate"])).unwrap();
    let alternative = match key {
        "log_e_one_sided" => Alternative::Greater,
        "log_e_two_sided" => Alternative::TwoSided,
        _ => return false,
    };
    check.close(label_log_e(&epochs, base_rate, alternative), number(value), 1e-9, 1e-9);
    true
}

fn bucket_bounds(check: &Check, case: &Value) {
    let buckets = case["buckets_lo_hi_count"].as_array().unwrap().iter().map(|bucket| {
        let [lower, upper, count] = integers(bucket)[..] else { panic!("{bucket}") };
        Bucket { lower, upper, count }
    });
    let arm = Distribution::new(buckets).unwrap();
    expected(check, case, case, |key, value| {
        let edges = match key.strip_prefix("raw_q") {
            Some(level) => arm.quantile_edges(quantile(level)),
            None if key == "raw_mean" => arm.mean_edges(),
            None => return false,
        };
        let edges = edges.unwrap();
        let raw = number(value);
        check.that(edges.lower <= raw && raw <= edges.upper, || format!("{raw} outside {edges:?}"));
        true
    });
}

fn power(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
    if key != "n_per_arm" {
        return false;
    }
    let actual = requests_per_arm_for_rates(
        number(&row["p_control"]),
        number(&row["p_variation"]),
        alpha(&row["alpha_two_sided"]),
        Power::new(number(&row["power"])).unwrap(),
    );
    check.close(actual.unwrap(), number(value), 1e-9, 0.0);
    true
}

fn points(arm: &Value) -> Distribution {
    Distribution::from_points(integers(&arm["values"]).into_iter().zip(integers(&arm["counts"])))
        .unwrap()
}

fn quantile(level: &str) -> Quantile {
    Quantile::new(level.parse().unwrap()).unwrap()
}

fn alpha(value: &Value) -> Alpha {
    Alpha::new(number(value)).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn integer(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn integers(values: &Value) -> Vec<u64> {
    values.as_array().unwrap().iter().map(integer).collect()
}

/// A number, or the text of one: infinities and long decimals are strings.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| text(value).parse().unwrap())
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(number).collect()
}
