//! E-values and their boundaries.

use latency_experiment_stats::{
    Allocation, Alpha, Alternative, BaseRate, BetaBinomial, LabelCounts, NormalMixture,
    OneSidedNormalMixture, Share, average_log_e, bernoulli_confidence_sequence, label_log_e, srm,
    srm_chi_square, srm_log_bayes_factor,
};
use serde_json::Value;

use crate::check::Check;
use crate::reading::{alpha, integer, integers, number, numbers};

pub(crate) fn allocation(check: &Check, case: &Value) {
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
    check.expected(case, case, |key, value| {
        let (what, concentration) = match key.split_once(".conc") {
            Some((what, concentration)) => (what, concentration.parse().unwrap()),
            None => return chi_square(check, (looks.last().unwrap(), &weights), (key, value)),
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
        assert!((srm(&[epoch]).unwrap().log_e - average_log_e(both)).abs() < 1e-12);
    }
}

fn chi_square(
    check: &Check,
    (observed, weights): (&[u64], &[f64]),
    (key, value): (&str, &Value),
) -> bool {
    if key != "chisquare_total" {
        return false;
    }
    let test = srm_chi_square(Allocation { observed, weights }).unwrap();
    check.all_close(&[test.statistic, test.p_value], value, 1e-9, 1e-300);
    true
}

pub(crate) fn beta_binomial(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
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

pub(crate) fn boundaries(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
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

pub(crate) fn labels(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
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
