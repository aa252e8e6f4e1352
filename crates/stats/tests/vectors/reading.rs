//! Reads the document of reference values.

use latency_experiment_stats::{Alpha, Distribution, Quantile};
use serde_json::Value;

pub(crate) fn points(arm: &Value) -> Distribution {
    Distribution::from_points(integers(&arm["values"]).into_iter().zip(integers(&arm["counts"])))
        .unwrap()
}

pub(crate) fn quantile(level: &str) -> Quantile {
    Quantile::new(level.parse().unwrap()).unwrap()
}

pub(crate) fn alpha(value: &Value) -> Alpha {
    Alpha::new(number(value)).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn integer(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

pub(crate) fn integers(values: &Value) -> Vec<u64> {
    values.as_array().unwrap().iter().map(integer).collect()
}

/// A number, or the text of one: infinities and long decimals are strings.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| text(value).parse().unwrap())
}

pub(crate) fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(number).collect()
}
