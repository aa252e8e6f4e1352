//! Exact ranks of huge counts, and what buckets bracket.

use latency_experiment_stats::{Bucket, Comparison, Distribution, mann_whitney};
use serde_json::Value;

use crate::check::Check;
use crate::reading::{integers, number, points, quantile, text};

pub(crate) fn mwu_big(check: &Check, case: &Value) {
    let pair = Comparison::pair(points(&case["control"]), points(&case["variation"])).unwrap();
    let test = mann_whitney(&pair).unwrap();
    check.expected(case, case, |key, value| {
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

pub(crate) fn bucket_bounds(check: &Check, case: &Value) {
    let buckets = case["buckets_lo_hi_count"].as_array().unwrap().iter().map(|bucket| {
        let [lower, upper, count] = integers(bucket)[..] else { panic!("{bucket}") };
        Bucket { lower, upper, count }
    });
    let arm = Distribution::new(buckets).unwrap();
    check.expected(case, case, |key, value| {
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
