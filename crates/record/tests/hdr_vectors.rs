//! The bucket layout against reference values of another `HdrHistogram` implementation.

use jiff::Timestamp;
use latency_experiment_record::{Bucket, Histogram, Limits, Recorder};
use serde_json::Value;

mod support;
use support::{experiment, key};

/// What the recorder makes of the raw values of a case.
fn recorded(case: &Value) -> Histogram {
    let recorder = Recorder::new(Limits::default(), Timestamp::UNIX_EPOCH);
    let (id, _) = recorder.register(experiment());
    let key = key("control", "GET /");
    let series = recorder.series(id, key.clone());
    let integers = |name: &str| {
        let numbers = case["raw"][name].as_array().unwrap().iter();
        numbers.map(|number| number.as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (value, count) in integers("values").into_iter().zip(integers("counts")) {
        for _ in 0..count {
            recorder.writer().record(series, value);
        }
    }
    recorder.snapshot(id, Timestamp::UNIX_EPOCH).series[&key].clone()
}

#[test]
fn percentiles_means_and_totals_agree() {
    let text = include_str!("../../stats/tests/vectors/stats.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let (mut equal, mut inside) = (0, 0);
    for case in document["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == "hdr") {
        let histogram = recorded(case);
        let hdr = histogram.to_hdr();
        let expected = |key: &str| &case["expected"][key]["value"];
        assert_eq!(histogram.count(), expected("total").as_u64().unwrap());
        // Two significant digits are our layout; three are finer.
        let same_layout = case["config"]["significant_figures"] == 2;
        let mean = expected("mean").as_f64().unwrap();
        let tolerance = if same_layout { 1e-9 } else { 0.004 };
        assert!((hdr.mean() / mean - 1.0).abs() < tolerance, "{} instead of {mean}", hdr.mean());
        for (percentile, value) in expected("value_at_percentile").as_object().unwrap() {
            let (percentile, value) = (percentile.parse::<f64>().unwrap(), value.as_u64().unwrap());
            // The rank as the reference rounds it.
            let rank = ((percentile / 100.0 * histogram.count() as f64 + 0.5) as u64).max(1);
            let mut up_to = 0;
            let holds = |bucket: &Bucket| {
                up_to += bucket.count;
                up_to >= rank
            };
            let Bucket { lower: lowest, upper: highest, .. } =
                histogram.buckets().iter().find(holds).unwrap();
            if same_layout && percentile > 0.0 {
                assert_eq!(highest, value, "{} p{percentile}", case["id"]);
                equal += 1;
            } else {
                let holds = lowest <= value && value <= highest;
                assert!(holds, "{} p{percentile}: {value} in {lowest}..={highest}", case["id"]);
                inside += 1;
            }
        }
    }
    println!("{equal} percentiles equal, {inside} inside our wider buckets, 3 means, 3 totals");
    assert_eq!((equal, inside), (6, 15));
}
