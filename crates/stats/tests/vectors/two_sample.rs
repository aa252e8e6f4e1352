//! Two arms, value by value.

use latency_experiment_stats::{
    Alpha, Alternative, Boundary, Comparison, Distribution, Estimate, NormalMixture, TunedFor,
    Welch, brunner_munzel, geometric_mean_effect, hodges_lehmann, ks_distance, mann_whitney,
    mean_effect, quantile_confidence_interval, quantile_confidence_sequence, quantile_effect,
    strict_test, welch, welch_log,
};
use serde_json::Value;

use crate::check::Check;
use crate::reading::{number, points, quantile, text};

/// Both arms of one case.
struct Arms {
    control: Distribution,
    variation: Distribution,
    pair: Comparison,
    /// The boundary that the reference's confidence sequences have.
    sequence: Boundary,
}

pub(crate) fn compare(check: &Check, case: &Value) {
    let (control, variation) = (points(&case["control"]), points(&case["variation"]));
    let pair = Comparison::pair(control.clone(), variation.clone()).unwrap();
    let sequence = Boundary::ConfidenceSequence { tuned_for: TunedFor::new(2_500.0).unwrap() };
    let arms = Arms { control, variation, pair, sequence };
    check.expected(case, case, |key, value| {
        let call = text(&case["expected"][key]["call"]);
        match key.split_once('.') {
            Some(("control", rest)) => one_arm(check, &arms.control, rest, (value, call)),
            Some(("variation", rest)) => one_arm(check, &arms.variation, rest, (value, call)),
            Some(("gb", "sequential.absolute" | "sequential.relative")) => {
                let fixed = &case["expected"][key.replace("sequential", "fixed")]["value"];
                gb_sequential(check, &arms, fixed, value);
                true
            }
            _ => {
                ranks(check, &arms, (key, value))
                    || means(check, &arms, (key, value))
                    || quantiles(check, &arms, (key, value, call))
            }
        }
    });
}

fn ranks(check: &Check, Arms { pair, .. }: &Arms, (key, value): (&str, &Value)) -> bool {
    let relative = |actual: f64| check.close(actual, number(value), 1e-9, 1e-300);
    let test = mann_whitney(pair).unwrap();
    let corrected = |alternative| relative(test.corrected_p_value_for(alternative).unwrap());
    let lehmann = || hodges_lehmann(pair, Alpha::DEFAULT);
    match key {
        "mwu.p.two-sided.nocc" => relative(test.p_value),
        "mwu.p.greater.nocc" => relative(test.p_value_for(Alternative::Greater)),
        "mwu.p.less.nocc" => relative(test.p_value_for(Alternative::Less)),
        "mwu.p.two-sided.cc" => corrected(Alternative::TwoSided),
        "mwu.p.greater.cc" => corrected(Alternative::Greater),
        "mwu.p.less.cc" => corrected(Alternative::Less),
        "mwu.U_variation" => relative(test.u),
        "auc" => relative(1.0 - test.probability_faster),
        "brunnermunzel.t" | "brunnermunzel.normal" => {
            let test = brunner_munzel(pair, Boundary::FixedN, Alpha::DEFAULT).unwrap();
            let p_value = match key {
                "brunnermunzel.normal" => test.normal_p_value(),
                // Without degrees of freedom there is no t distribution; the reference says nan.
                _ => test.degrees_of_freedom.map_or(f64::NAN, |_| test.evidence.p_value),
            };
            check.all_close(&[test.statistic(), p_value], value, 1e-9, 1e-300);
        }
        "ks" => check.all_close(&[ks_distance(pair).unwrap(), f64::NAN], value, 1e-9, 0.0),
        "hl.shift" => relative(lehmann().difference.point.unwrap()),
        "hl.ratio" => relative(lehmann().ratio.point.unwrap()),
        "r.wilcox" => {
            let Estimate { point, lower, upper, .. } = lehmann().difference;
            check.all_close(&[point.unwrap(), lower, upper], &first(value, 3), 0.0, 1e-2);
            check.close(test.p_value, number(&value[3]), 1e-9, 0.0);
        }
        _ => return false,
    }
    true
}

fn means(check: &Check, arms: &Arms, (key, value): (&str, &Value)) -> bool {
    let Arms { control, variation, pair, sequence } = arms;
    match key {
        "welch" => t_test(check, &welch(control, variation, Alpha::DEFAULT).unwrap(), value),
        "welch_log" => {
            let test = welch_log(control, variation, Alpha::DEFAULT).unwrap();
            t_test(check, &test, &first(value, 5));
            let sequential = geometric_mean_effect(pair, *sequence, Alpha::DEFAULT);
            for ratio in [test.effect.point, sequential.ratio.point] {
                check.close(ratio.unwrap(), number(&value[5]), 1e-9, 0.0);
            }
        }
        "gb.fixed.absolute" => {
            // Welch's test, whose p-value the reference rounds at 1e-16.
            let Welch { t, p_value, effect, .. } =
                welch(control, variation, Alpha::DEFAULT).unwrap();
            let Estimate { point, lower, upper, .. } = effect;
            let (point, scale) = (point.unwrap(), upper - lower);
            check.all_close(&[point, lower, upper], &first(value, 3), 1e-9, 1e-9 * scale);
            check.close(p_value, number(&value[3]), 1e-9, 1e-14);
            let error = if t == 0.0 { number(&value[4]) } else { point / t };
            check.close(error, number(&value[4]), 1e-9, 0.0);
        }
        "own.mean_logratio_cs95" => {
            let effect = mean_effect(pair, *sequence, Alpha::DEFAULT);
            let lift = effect.ratio.to_lift();
            let actual =
                [lift.point.unwrap(), lift.lower, lift.upper, effect.evidence.log_e.unwrap()];
            check.all_close(&actual, value, 1e-9, 1e-12);
        }
        _ => return false,
    }
    true
}

/// The normal mixture with requests as information, around the reference's own standard error.
fn gb_sequential(check: &Check, arms: &Arms, fixed: &Value, value: &Value) {
    let (point, error) = (number(&fixed[0]), number(&fixed[4]));
    let n = (arms.control.count() + arms.variation.count()) as f64;
    let mixture = NormalMixture::new(5_000.0, Alpha::DEFAULT).unwrap();
    let half_width = mixture.radius(n, Alpha::DEFAULT) * error;
    let actual = [point, point - half_width, point + half_width];
    let scale = half_width.abs() + point.abs();
    check.all_close(&actual, &first(value, 3), 1e-9, 1e-9 * scale);
    let p_value = (-mixture.log_e(point / error, n)).exp().min(1.0);
    check.close(p_value, number(&value[3]), 1e-9, 1e-14);
}

fn quantiles(check: &Check, arms: &Arms, (key, value, call): (&str, &Value, &str)) -> bool {
    let Arms { pair, sequence, .. } = arms;
    if let Some(level) = key.strip_prefix("hr5.p_value.q") {
        let test = strict_test(pair, quantile(level), tuned_for(call)).unwrap();
        check.close(test.p_value, number(value), 1e-6, 0.0);
        return true;
    }
    let (level, boundary) = if let Some(level) = key.strip_prefix("own.qratio.fixed95.q") {
        (level, Boundary::FixedN)
    } else if let Some(level) = key.strip_prefix("own.qratio.cs95.q") {
        (level, *sequence)
    } else {
        return false;
    };
    let effect = quantile_effect(pair, quantile(level), boundary, Alpha::DEFAULT);
    let Estimate { lower, upper, .. } = effect.ratio;
    let actual = [lower, upper, effect.difference.lower, effect.difference.upper];
    check.all_close(&actual, value, 1e-12, 0.0);
    true
}

/// The tuning that the reference's call names.
fn tuned_for(call: &str) -> f64 {
    let (_, tuned_for) = call.split_once("t_opt=").unwrap();
    tuned_for.split_once(',').unwrap().0.parse().unwrap()
}

/// Compares t, degrees of freedom, p and both ends.
fn t_test(check: &Check, test: &Welch, value: &Value) {
    let Welch { t, degrees_of_freedom, p_value, effect } = *test;
    let close = |position: usize, actual: f64, absolute: f64| {
        check.close(actual, number(&value[position]), 1e-9, absolute);
    };
    close(0, t, 1e-12);
    close(1, degrees_of_freedom, 0.0);
    close(2, p_value, 1e-300);
    // An end near zero has the accuracy of the interval's width.
    let scale = 1e-9 * (effect.upper - effect.lower);
    close(3, effect.lower, scale);
    close(4, effect.upper, scale);
}

/// The first numbers of a value whose others have another tolerance.
fn first(value: &Value, count: usize) -> Value {
    value.as_array().unwrap()[..count].to_vec().into()
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
                let (level, tuned_for) = (quantile(level), tuned_for(call));
                let sequence =
                    quantile_confidence_sequence(arm, level, tuned_for, Alpha::DEFAULT).unwrap();
                check.all_close(&[sequence.lower, sequence.upper], value, 0.0, 0.0);
            } else {
                relative(arm.quantile(quantile(level)).unwrap());
            }
        }
    }
    true
}
