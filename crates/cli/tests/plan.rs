//! `latency-experiment plan` as its users call it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn run(path: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latency-experiment"));
    command.arg("plan").arg(path).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A lognormal baseline of sigma 1 with a median of 10 ms, 0.8 % buckets, on a route.
fn baseline(folder: &TempDir, arm: &str) -> std::path::PathBuf {
    let mut buckets = String::new();
    let mut lower = 100_000_f64;
    while lower < 1e9 {
        let upper = lower * 1.008;
        // The density of ln x, scaled to 10 million requests.
        let z = ((lower * upper).sqrt() / 1e7).ln();
        let count = (1e7 * 0.398_942 * 0.008 * (-0.5 * z * z).exp()).round() as u64;
        if count > 0 {
            let comma = if buckets.is_empty() { "" } else { "," };
            write!(buckets, "{comma}[{},{},{count}]", lower.ceil() as u64, upper.ceil() as u64 - 1)
                .unwrap();
        }
        lower = upper;
    }
    let json = format!(
        r#"{{"schema":"latency-experiment/snapshot/1","instance":"a","started_at":"2026-01-01T00:00:00Z",
        "taken_at":"2026-01-01T01:00:00Z","experiment":"cached_whitelist","epoch":1,"fingerprint":"00000000000000a1",
        "control":"control","arms":[{{"name":"control","weight":1}},{{"name":"variation","weight":1}}],"assigned":{{}},
        "series":[{{"arm":"{arm}","route":"GET /a","size":"unknown","outcome":"completed","milestone":"latency",
        "exposed":true,"unit":"ns","buckets":[{buckets}]}}]}}"#
    );
    let path = folder.path().join("baseline.json");
    std::fs::write(&path, json).unwrap();
    path
}

fn document(output: &Output) -> Value {
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_requests_are_those_of_the_formulas() {
    let folder = TempDir::new().unwrap();
    let path = baseline(&folder, "control");
    // Totals that the formulas give for a lognormal of sigma 1: at one look with 80 % power, and the
    // median of sequential experiments.
    for (quantile, change, fixed, median) in [
        ("0.5", "5%", 20_719.0, 24_349.0),
        ("0.5", "0.1", 5_431.0, 6_907.0),
        ("0.99", "10%", 48_598.0, 59_334.0),
        ("0.99", "+50%", 3_109.0, 4_373.0),
    ] {
        let arguments = ["--format", "json", "--quantile", quantile, "--change", change];
        let answer = document(&run(&path, &[&arguments[..], &["--tuned-for", "5000"]].concat()));
        let close = |actual: &Value, expected: f64, name: &str| {
            let actual = actual.as_f64().unwrap();
            assert!((actual / expected - 1.0).abs() < 0.03, "{name} {quantile} {change}: {actual}");
        };
        close(&answer["fixed_n"]["total"], fixed, "fixed");
        close(&answer["sequential_median"]["total"], median, "median");
        let best = document(&run(&path, &arguments));
        for which in ["sequential_median", "sequential_power"] {
            let (best, given) = (&best[which], &answer[which]);
            assert!(best["total"].as_u64() <= given["total"].as_u64(), "{best} {given}");
            let (tuned, information) =
                (best["tuned_for"].as_f64().unwrap(), best["information"].as_f64().unwrap());
            assert!((tuned - information.max(1_000.0)).abs() < 0.02 * tuned, "{best}");
        }
    }
}

#[test]
fn arms_and_time_follow_allocation_and_rate() {
    let folder = TempDir::new().unwrap();
    let path = baseline(&folder, "control");
    let arguments = [
        "--change",
        "-10%",
        "--route",
        "GET /a",
        "--allocation",
        "95:5",
        "--rate",
        "7200/min",
        "--alpha",
        "0.01",
        "--power",
        "0.9",
        "--format=json",
    ];
    let answer = document(&run(&path, &arguments));
    assert_eq!(
        (&answer["schema"], &answer["route"]),
        (&"latency-experiment/plan/1".into(), &"GET /a".into())
    );
    assert_eq!((&answer["change"], &answer["share"]), (&(-0.1).into(), &0.05.into()));
    for which in ["fixed_n", "sequential_median", "sequential_power"] {
        let number = |key: &str| answer[which][key].as_f64().unwrap();
        assert!((number("variation") / number("total") - 0.05).abs() < 1e-4);
        assert_eq!(number("control") + number("variation"), number("total"));
        assert!((number("seconds") - number("total") / 120.0).abs() < 1e-6);
        assert!((number("information") / (0.0475 * number("total")) - 1.0).abs() < 1e-3);
    }
    let table = run(&path, &["--change", "-10%", "--rate", "2M/d"]);
    let table = text(&table.stdout);
    for words in ["p50 -10.0 %", "one look at the end", "chance by then", "--tuned-for", "min"] {
        assert!(table.contains(words), "{words} in\n{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn a_service_without_an_experiment_is_a_baseline_too() {
    let folder = TempDir::new().unwrap();
    let path = baseline(&folder, "_outside");
    let answer = document(&run(&path, &["--change", "-10%", "--format", "json"]));
    assert_eq!(answer["baseline"]["arm"], "_outside");
}

#[test]
fn what_cannot_be_planned_is_said_with_its_exit_code() {
    let folder = TempDir::new().unwrap();
    let path = baseline(&folder, "control");
    for (arguments, code, message) in [
        (&["--change", "0"][..], 2, "change 0 must be above -1 and not 0"),
        (&["--change", "-100%"], 2, "change -1 must be above -1"),
        (&["--change", "faster"], 2, "such as -10%"),
        (&[], 2, "--change"),
        (
            &["--change", "5%", "--quantile", "99"],
            2,
            "quantile 99 must be strictly between 0 and 1",
        ),
        (&["--change", "5%", "--allocation", "5"], 2, "weights of control and variation"),
        (&["--change", "5%", "--rate", "fast"], 2, "requests per time"),
        (&["--change", "5%", "--power", "80"], 2, "power 80"),
        (&["--change", "5%", "--tuned-for", "10"], 2, "tuned_for 10"),
        (&["--change", "5%", "--route", "GET /b"], 1, "the snapshots have `GET /a`"),
    ] {
        let output = run(&path, arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), ""), "{arguments:?}");
        assert!(text(&output.stderr).contains(message), "{message} in {}", text(&output.stderr));
    }
    let missing = run(Path::new("missing.json"), &["--change", "5%"]);
    assert_eq!(missing.status.code(), Some(1));
    let help = run(&path, &["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("--allocation"));
}
