use super::*;

fn document() -> serde_json::Value {
    serde_json::json!({
        "schema": SCHEMA, "instance": "a", "started_at": "2026-01-01T00:00:00Z", "taken_at": "2026-01-01T01:00:00Z",
        "experiment": "cached_whitelist", "epoch": 1, "fingerprint": "00000000deadbeef", "control": "control",
        "arms": [{"name": "control", "weight": 1}, {"name": "variation", "weight": 1}],
        "assigned": {"control": 5, "variation": 4},
        "series": [
            {"arm": "control", "route": "GET /a", "size": "0-500kB", "outcome": "completed", "milestone": "latency",
             "exposed": true, "unit": "ns", "sum": 300, "sum_sq": "340282366920938463463374607431768211455",
             "buckets": [[100, 100, 2], [256, 257, 1]]},
            {"arm": "_outside", "route": "GET /a", "size": "unknown", "outcome": "cancelled", "milestone": "section:lookup",
             "exposed": false, "unit": "ns", "buckets": []},
        ],
    })
}

fn read(document: &serde_json::Value) -> Result<Snapshot, Error> {
    Snapshot::from_json(&document.to_string())
}

#[test]
fn a_document_survives_the_way_there_and_back() {
    let snapshot = read(&document()).unwrap();
    let control = snapshot.series.iter().find(|(key, _)| key.arm == "control").unwrap().1;
    assert_eq!(control.count(), 3);
    assert_eq!(control.sums(), Sums { sum: Some(300), sum_sq: Some(u128::MAX) });
    assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
}

#[test]
fn unknown_keys_are_ignored_and_equal_series_add_up() {
    let mut document = document();
    document["flag_state"] = serde_json::json!({"anything": [1, 2]});
    document["series"][0]["since_freeze"] = serde_json::json!({});
    let copy = document["series"][0].clone();
    document["series"][0]["sum_sq"] = serde_json::json!(7);
    document["series"][1] = copy;
    document["series"][1]["sum_sq"] = serde_json::json!("8");
    let snapshot = read(&document).unwrap();
    let histogram = snapshot.series.values().next().unwrap();
    assert_eq!(
        (snapshot.series.len(), histogram.count(), histogram.sums().sum_sq),
        (1, 6, Some(15))
    );
}

/// Each way to be wrong, with the place that the error must name and a word of the rule.
#[test]
fn what_is_wrong_is_named_with_its_path() {
    type Change = fn(&mut serde_json::Value);
    let cases: &[(Change, &str, &str)] = &[
        (|d| d["schema"] = "latency-experiment/snapshot/2".into(), "schema", "snapshot/1"),
        (|d| d["epoch"] = (-1).into(), "epoch", "-1"),
        (|d| d["epoch"] = serde_json::from_str("18446744073709551616").unwrap(), "epoch", "u64"),
        (|d| d["taken_at"] = "yesterday".into(), "taken_at", "yesterday"),
        (|d| d["fingerprint"] = "xyz".into(), "fingerprint", "16 hexadecimal"),
        (|d| d["control"] = "ctrl".into(), "control", "`ctrl`"),
        (|d| d["subject"] = "user".into(), "subject", "request_id"),
        (|d| d["coverage_bp"] = 10_001.into(), "coverage_bp", "10000"),
        (|d| d["arms"][1]["name"] = "control".into(), "arms[1].name", "twice"),
        (|d| d["arms"][1]["name"] = "_forced".into(), "arms[1].name", "reserved"),
        (|d| d["arms"][1]["weight"] = u32::MAX.into(), "arms[1].weight", "4294967295"),
        (|d| d["assigned"]["third"] = 1.into(), "assigned.third", "not listed"),
        (|d| d["assigned"]["_outside"] = 1.into(), "assigned._outside", "not listed"),
        (
            |d| d["counters"] = serde_json::json!({"started": {"third": 1}}),
            "counters.started.third",
            "third",
        ),
        (|d| d["series"][0]["arm"] = "third".into(), "series[0].arm", "neither"),
        (|d| d["series"][0]["unit"] = "us".into(), "series[0].unit", "ns"),
        (|d| d["series"][1]["outcome"] = "ok".into(), "series[1].outcome", "completed"),
        (
            |d| d["series"][1]["milestone"] = "section:".into(),
            "series[1].milestone",
            "section:NAME",
        ),
        (|d| d["series"][0]["sum"] = "12a".into(), "series[0].sum", "12a"),
        (|d| d["series"][0]["sum"] = serde_json::json!(1.5), "series[0].sum", "integer"),
        (
            |d| d["series"][0]["buckets"][1] = serde_json::json!([257, 256, 1]),
            "series[0].buckets[1]",
            "above upper",
        ),
        (
            |d| d["series"][0]["buckets"][1] = serde_json::json!([100, 101, 1]),
            "series[0].buckets[1]",
            "overlap",
        ),
        (
            |d| d["series"][0]["buckets"][1] = serde_json::json!([50, 51, 1]),
            "series[0].buckets[1]",
            "ascend",
        ),
        (|d| d["series"][0]["buckets"][1][2] = 0.into(), "series[0].buckets[1]", "count is 0"),
        (|d| d["series"][0]["buckets"][1][2] = u64::MAX.into(), "series[0].buckets[1]", "exceed"),
        (|d| d["series"][0]["buckets"][1][2] = (-3).into(), "series[0].buckets[1][2]", "-3"),
        (
            |d| drop(d["series"][0].as_object_mut().unwrap().remove("exposed")),
            "series[0]",
            "exposed",
        ),
    ];
    for (change, path, word) in cases {
        let mut document = document();
        change(&mut document);
        let error = read(&document).expect_err(path);
        assert_eq!(error.path(), *path, "{error}");
        assert!(
            error.is_document() && error.to_string().contains(word),
            "{error} does not say `{word}`"
        );
    }
}

#[test]
fn text_that_is_not_json_is_an_error_with_line_and_column() {
    for text in ["", "{", "[]", "null", "{\"schema\": \"latency-experiment/snapshot/1\"} {}"] {
        assert!(Snapshot::from_json(text).unwrap_err().is_document(), "{text}");
    }
    assert!(Snapshot::from_json("{\n  \"schema\" 1}").unwrap_err().to_string().contains("line 2"));
}
