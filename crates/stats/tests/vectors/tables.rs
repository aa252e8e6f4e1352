//! Rates, strata, multiple testing and planning.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Power, RateCounts, Stratum, benjamini_hochberg, bonferroni, e_bh,
    holm, mann_whitney, mantel_haenszel, newcombe, quantile_effect, requests_per_arm_for_rates,
    wilson,
};
use serde_json::Value;

use crate::check::Check;
use crate::reading::{alpha, integer, number, numbers, points, quantile};

pub(crate) fn multiple_testing(check: &Check, case: &Value) {
    let p_values = numbers(&case["p"]);
    check.expected(case, case, |key, value| {
        let adjust = match key {
            "bh_adjusted" => benjamini_hochberg,
            "holm_adjusted" => holm,
            "bonferroni_adjusted" => bonferroni,
            "ebh_reject" => {
                let log_e: Vec<f64> = numbers(&case["e"]).into_iter().map(f64::ln).collect();
                let rejected = e_bh(&log_e, alpha(&case["alpha"]));
                let reference = value.as_array().unwrap().iter();
                let same = reference.map(|reject| reject.as_bool().unwrap()).eq(rejected.clone());
                check.that(same, || format!("{rejected:?}"));
                return true;
            }
            _ => return false,
        };
        check.all_close(&adjust(&p_values), value, 1e-9, 1e-300);
        true
    });
}

pub(crate) fn stratified(check: &Check, case: &Value) {
    let strata = case["strata"].as_array().unwrap().iter().map(|stratum| {
        Stratum::by_requests(points(&stratum["control"]), points(&stratum["variation"]))
    });
    let comparison = Comparison::new(strata).unwrap();
    check.expected(case, case, |key, value| {
        if key == "van_elteren" {
            let test = mann_whitney(&comparison).unwrap();
            check.all_close(&[test.z, test.p_value], value, 1e-9, 1e-300);
            return true;
        }
        if key.starts_with("mh_") || key.starts_with("cmh_") {
            return rates(check, case, (key, value));
        }
        let Some(level) = key.strip_prefix("own.poststrat.q") else { return false };
        let effect =
            quantile_effect(&comparison, quantile(level), Boundary::default(), Alpha::DEFAULT);
        check.all_close(&[effect.control.unwrap(), effect.variation.unwrap()], value, 0.0, 0.0);
        true
    });
}

fn rates(check: &Check, case: &Value, (key, value): (&str, &Value)) -> bool {
    let strata = case["strata"].as_array().unwrap().iter().map(|stratum| RateCounts {
        control_events: integer(&stratum["errors_control"]),
        control_requests: points(&stratum["control"]).count(),
        variation_events: integer(&stratum["errors_variation"]),
        variation_requests: points(&stratum["variation"]).count(),
    });
    let strata: Vec<RateCounts> = strata.collect();
    let common = mantel_haenszel(&strata, Alpha::DEFAULT).unwrap();
    let ratio = |actual: Option<f64>| check.close(actual.unwrap(), number(value), 1e-9, 0.0);
    let pair = |actual: [f64; 2]| check.all_close(&actual, value, 1e-9, 1e-300);
    match key {
        "mh_oddsratio" => ratio(common.odds_ratio.point),
        "mh_riskratio" => ratio(common.risk_ratio.point),
        "mh_logodds_ci95" => pair([common.odds_ratio.lower.ln(), common.odds_ratio.upper.ln()]),
        "cmh_nocc" => pair([common.chi_squared, common.p_value]),
        "cmh_cc" => pair([common.corrected_chi_squared, common.corrected_p_value]),
        _ => return false,
    }
    true
}

pub(crate) fn two_proportions(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
    let of =
        |arm: &str| (integer(&row[format!("errors_{arm}")]), integer(&row[format!("n_{arm}")]));
    let (control, variation) = (of("control"), of("variation"));
    let interval = match key {
        "newcombe_diff_ci95" => newcombe(control, variation, Alpha::DEFAULT),
        "wilson_variation" => wilson(variation.0, variation.1, Alpha::DEFAULT),
        _ => return false,
    };
    check.all_close(&[interval.lower, interval.upper], value, 1e-9, 1e-15);
    true
}

pub(crate) fn power(check: &Check, row: &Value, (key, value): (&str, &Value)) -> bool {
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
