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
    document["anything"] = serde_json::json!({"anything": [1, 2]});
    document["series"][0]["anything"] = serde_json::json!({});
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

#[test]
fn what_is_attached_survives_the_way_there_and_back() {
    let mut document = document();
    document["subject"] = "sticky".into();
    document["coverage_bp"] = 5_000.into();
    document["flag_state"] = serde_json::json!({"enabled": true});
    document["events"] = serde_json::json!([{"at": "2026-01-01T00:30:00Z", "kind": "rollback"}]);
    document["parts"] = serde_json::json!([
        {"instance": "a", "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}]);
    document["series"][0]["group"] = 7.into();
    document["series"][0]["block"] = 9.into();
    document["series"][0]["since_freeze"] = serde_json::json!({"0.50": {"edge": 120, "over": 1, "n": 3}, "0.99": {"edge": null, "over": 0, "n": 3}});
    document["intervals"] = serde_json::json!([{"from": "2026-01-01T00:00:00Z",
        "to": "2026-01-01T00:01:00Z", "series": [document["series"][0].clone()]}]);
    let snapshot = read(&document).unwrap();
    let key = snapshot.series.keys().find(|key| key.arm == "control").unwrap();
    assert_eq!((key.group, key.block), (Some(7), Some(9)), "they are part of the identity");
    let frozen = &snapshot.attached.since_freeze[key];
    assert_eq!(frozen["0.5"], SinceFreeze { edge: Some(120), over: 1, n: 3 });
    assert_eq!(frozen["0.99"].edge, None);
    assert_eq!(snapshot.attached.intervals.values().next().unwrap()[key].count(), 3);
    assert_eq!((snapshot.attached.events.len(), snapshot.parts.len()), (1, 1));
    assert_eq!(snapshot.attached.flag_state, Some(serde_json::json!({"enabled": true})));
    assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);

    // Counts add up; a threshold that differs is none.
    let mut other = snapshot.clone();
    other.instance = "b".to_owned();
    other.parts[0].instance = "b".to_owned();
    other.attached.since_freeze.get_mut(key).unwrap().get_mut("0.5").unwrap().edge = Some(130);
    let merged = snapshot.merge(&other).unwrap();
    assert_eq!(merged.attached.since_freeze[key]["0.5"], SinceFreeze { edge: None, over: 2, n: 6 });
    assert_eq!(merged.attached.intervals.len(), 1, "the same interval of both");
    assert_eq!(merged.attached.events.len(), 2);
    assert_eq!(merged.to_json(), other.merge(&snapshot).unwrap().to_json());

    let mut later = snapshot.clone();
    later.taken_at = "2026-01-01T02:00:00Z".parse().unwrap();
    later
        .attached
        .since_freeze
        .get_mut(key)
        .unwrap()
        .insert("0.5".to_owned(), SinceFreeze { edge: Some(120), over: 4, n: 10 });
    let left = later.subtract(&snapshot).unwrap();
    assert_eq!(
        left.attached.since_freeze[key]["0.5"],
        SinceFreeze { edge: Some(120), over: 3, n: 7 }
    );
    assert!(left.attached.intervals.is_empty() && left.attached.events.is_empty());
    assert!(snapshot.subtract(&later).unwrap_err().is_mismatch());
}

/// Each way to be wrong, with the place that the error must name and a word of the rule.
#[test]
fn what_is_wrong_is_named_with_its_path() {
    let cases: &[(Change, &str, &str)] = &[
        (|d| d["schema"] = "latency-experiment/snapshot/2".into(), "schema", "snapshot/1"),
        (|d| d["epoch"] = (-1).into(), "epoch", "-1"),
        (|d| d["epoch"] = serde_json::from_str("18446744073709551616").unwrap(), "epoch", "u64"),
        (|d| d["taken_at"] = "yesterday".into(), "taken_at", "yesterday"),
        (|d| d["taken_at"] = "2025-12-31T00:00:00Z".into(), "taken_at", "before `started_at`"),
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
    refused(cases);
}

#[test]
fn what_is_wrong_with_what_is_attached_is_named_with_its_path() {
    refused(&[
        (|d| d["flag_state"] = 3.into(), "flag_state", "object"),
        (|d| d["events"] = serde_json::json!([{}, 3]), "events[1]", "object"),
        (
            |d| d["parts"] = serde_json::json!([{"instance": "a", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}]),
            "parts[0]",
            "before",
        ),
        (
            |d| d["intervals"] = serde_json::json!([{"from": "now", "to": "then", "series": []}]),
            "intervals[0].from",
            "now",
        ),
        (
            |d| {
                let mut series = d["series"][0].clone();
                series["buckets"] = serde_json::json!([[5, 4, 1]]);
                d["intervals"] = serde_json::json!([{"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:01:00Z", "series": [series]}]);
            },
            "intervals[0].series[0].buckets[0]",
            "above upper",
        ),
        (
            |d| {
                d["series"][0]["since_freeze"] =
                    serde_json::json!({"p50": {"edge": 1, "over": 0, "n": 0}});
            },
            "series[0].since_freeze.p50",
            "strictly between",
        ),
        (
            |d| {
                d["series"][0]["since_freeze"] =
                    serde_json::json!({"0.5": {"edge": 1, "over": 2, "n": 1}});
            },
            "series[0].since_freeze.0.5",
            "2 of 1",
        ),
        (|d| d["series"][0]["group"] = (-1).into(), "series[0].group", "-1"),
    ]);
}

type Change = fn(&mut serde_json::Value);

fn refused(cases: &[(Change, &str, &str)]) {
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
