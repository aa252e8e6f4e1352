//! Compares this crate with the reference values in `stats.json`.
//!
//! Every expected value is either compared or named in `exceptions` with the reason; a key that is neither
//! fails the test, so that nothing is skipped silently, and so does an exception that does not occur.

mod check;
mod distributions;
mod exceptions;
mod reading;
mod sequences;
mod tables;
mod two_sample;

use serde_json::Value;

use crate::check::Check;
use crate::reading::text;

#[test]
fn reference_values_agree() {
    let document: Value = serde_json::from_str(include_str!("stats.json")).unwrap();
    let check = Check::default();
    for case in document["cases"].as_array().unwrap() {
        match text(&case["kind"]) {
            "two_sample" => two_sample::compare(&check, case),
            "mwu_big" => distributions::mwu_big(&check, case),
            "srm" => sequences::allocation(&check, case),
            "beta_binomial" => check.rows(case, sequences::beta_binomial),
            "boundaries" => check.rows(case, sequences::boundaries),
            "multiple_testing" => tables::multiple_testing(&check, case),
            "stratified" => tables::stratified(&check, case),
            "two_proportions" => check.rows(case, tables::two_proportions),
            "label_e_process" => check.rows(case, sequences::labels),
            "bucket_bounds" => distributions::bucket_bounds(&check, case),
            "hdr" => check.expected(case, case, |_, _| false),
            "power" => check.rows(case, tables::power),
            unknown => check.fail(format!("unknown kind {unknown}")),
        }
    }
    check.finish();
}
