//! The real binary: what it prints, where, and how it exits.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latency-experiment"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// 5,000 requests per arm on 50 buckets from 1 ms, the variation's latencies multiplied by `factor`.
struct Snapshot {
    instance: &'static str,
    factor: f64,
    assigned: [u64; 2],
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { instance: "a", factor: 1.0, assigned: [5_000, 5_000] }
    }
}

impl Snapshot {
    fn json(&self) -> String {
        let series = |arm: &str, factor: f64| {
            let mut buckets = String::new();
            for step in 0..50 {
                let lower = (1e6 * factor * (1.0 + f64::from(step) / 10.0)) as u64;
                let comma = if step == 0 { "" } else { "," };
                // Buckets of a thousand nanoseconds, aligned so that those of the arms never overlap
                // without being equal.
                let lower = lower - lower % 1_000;
                write!(buckets, "{comma}[{lower},{},100]", lower + 999).unwrap();
            }
            format!(
                r#"{{"arm":"{arm}","route":"GET /","size":"0-500kB","outcome":"completed","milestone":"latency","exposed":true,"unit":"ns","buckets":[{buckets}]}}"#
            )
        };
        format!(
            r#"{{"schema":"latency-experiment/snapshot/1","instance":"{}",
            "started_at":"2026-01-01T00:00:00Z","taken_at":"2026-01-01T01:00:00Z",
            "experiment":"cached_whitelist","epoch":1,"fingerprint":"00000000000000a1","control":"control",
            "arms":[{{"name":"control","weight":1}},{{"name":"variation","weight":1}}],
            "assigned":{{"control":{},"variation":{}}},
            "series":[{},{}]}}"#,
            self.instance,
            self.assigned[0],
            self.assigned[1],
            series("control", 1.0),
            series("variation", self.factor)
        )
    }

    fn write(&self, folder: &TempDir) -> PathBuf {
        let path = folder.path().join(format!("{}.json", self.instance));
        std::fs::write(&path, self.json()).unwrap();
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_table_names_arms_quantiles_and_verdict() {
    let folder = TempDir::new().unwrap();
    let path = Snapshot { factor: 0.5, ..Snapshot::default() }.write(&folder);
    let output = run(&["report", text(&path)]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    for expected in
        ["cached_whitelist · epoch 1", "control 5,000, variation 5,000", "GET /", "p99", "faster"]
    {
        assert!(stdout(&output).contains(expected), "{expected} in\n{}", stdout(&output));
    }
}

#[test]
fn json_is_one_document_of_the_plan_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let path = Snapshot::default().write(&folder);
    let output = run(&[
        "report",
        text(&path),
        "--format",
        "json",
        "--alpha",
        "0.01",
        "--quantiles",
        "0.9,0.5",
        "--tuned-for",
        "2000",
        "--minimum-effect",
        "0.02",
        "--equivalence-margin",
        "0.5",
        "--fixed-n",
    ]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let report: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["schema"], "latency-experiment/report/1");
    assert_eq!((&report["alpha"], &report["primary"]), (&0.01.into(), &0.9.into()));
    assert_eq!((&report["tuned_for"], &report["minimum_effect"]), (&2000.0.into(), &0.02.into()));
    let overall = &report["comparisons"][0];
    let quantiles: Vec<f64> = overall["quantiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["q"].as_f64().unwrap())
        .collect();
    assert_eq!(quantiles, [0.9, 0.5]);
    assert!(overall["quantiles"][0]["lift_fixed_n"]["upper"].is_f64());
    assert_eq!(overall["verdict"], "equivalent");

    let primary = run(&["report", text(&path), "--format=json", "--primary", "0.95"]);
    let report: serde_json::Value = serde_json::from_str(stdout(&primary)).unwrap();
    assert_eq!(report["primary"], 0.95);
}

#[test]
fn a_dash_is_standard_input() {
    let mut child =
        command(&["report", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(Snapshot::default().json().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("undecided"), "{}", stdout(&output));

    let twice = run(&["report", "-", "-"]);
    assert_eq!(twice.status.code(), Some(2));
}

#[test]
fn a_malformed_file_is_named_with_the_place_in_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("s.json");
    let broken = Snapshot::default().json().replacen("[1100000,", "[900000,", 1);
    for (json, message) in [
        (broken.as_str(), "s.json: series[0].buckets[1]: lower bound 900000 is not above"),
        ("{", "s.json: "),
        (r#"{"schema":"latency-experiment/snapshot/2"}"#, "s.json: schema: "),
    ] {
        std::fs::write(&path, json).unwrap();
        let output = run(&["report", text(&path)]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
        assert!(stderr(&output).contains(message), "{message} in {}", stderr(&output));
    }
    let missing = run(&["report", "missing.json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).starts_with("error: missing.json: "), "{}", stderr(&missing));
}

#[test]
fn wrong_arguments_exit_with_two_and_help_with_zero() {
    let folder = TempDir::new().unwrap();
    let path = Snapshot::default().write(&folder);
    let path = text(&path);
    for (arguments, message) in [
        (&["report", path, "--no-such-option"][..], "--no-such-option"),
        (&["report"], "SNAPSHOT.json"),
        (&["no-such-command"], "no-such-command"),
        (&["report", path, "--format", "xml"], "xml"),
        (&["report", path, "--alpha", "five"], "five"),
        (&["report", path, "--alpha", "1.5"], "alpha 1.5 must be strictly between 0 and 1"),
        (&["report", path, "--tuned-for", "50"], "tuned_for 50"),
        (&["report", path, "--primary", "0.9"], "primary quantile 0.9"),
        (&["report", path, "--fail-on", "faster"], "faster"),
    ] {
        let output = run(arguments);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{arguments:?}");
        assert!(stderr(&output).contains(message), "{message} in {}", stderr(&output));
    }
    let help = run(&["report", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("--fail-on"));
}

#[test]
fn snapshots_of_two_instances_are_merged_and_one_counted_twice_is_refused() {
    let folder = TempDir::new().unwrap();
    let a = Snapshot::default().write(&folder);
    let b = Snapshot { instance: "b", ..Snapshot::default() }.write(&folder);
    let both = run(&["report", "--format", "json", text(&a), text(&b)]);
    assert_eq!(both.status.code(), Some(0), "{}", stderr(&both));
    let report: serde_json::Value = serde_json::from_str(stdout(&both)).unwrap();
    assert_eq!(report["srm"]["observed"]["control"], 10_000);
    assert_eq!(report["comparisons"][0]["n"]["variation"], 10_000);
    let swapped = run(&["report", "--format", "json", text(&b), text(&a)]);
    assert_eq!(stdout(&swapped), stdout(&both));

    let twice = run(&["report", text(&a), text(&a)]);
    assert_eq!((twice.status.code(), stdout(&twice)), (Some(1), ""));
    assert!(stderr(&twice).contains("instance `a`"), "{}", stderr(&twice));
}

#[test]
fn fail_on_decides_the_exit_code() {
    let folder = TempDir::new().unwrap();
    let file = |instance, factor, assigned| {
        let path = Snapshot { instance, factor, assigned }.write(&folder);
        text(&path).to_owned()
    };
    let slower = file("slower", 2.0, [5_000, 5_000]);
    let same = file("same", 1.0, [5_000, 5_000]);
    let faster = file("faster", 0.5, [5_000, 5_000]);
    let split = file("split", 2.0, [6_000, 4_000]);
    let all = "regression,withheld,undecided";
    for (path, fail_on, code) in [
        (&slower, "regression", 3),
        (&slower, all, 3),
        (&slower, "undecided", 0),
        (&same, "undecided", 5),
        (&same, all, 5),
        (&same, "regression", 0),
        (&faster, all, 0),
        (&split, "withheld", 4),
        (&split, all, 4),
        (&split, "regression", 0),
    ] {
        let output = run(&["report", path, "--fail-on", fail_on]);
        assert_eq!(output.status.code(), Some(code), "{path} {fail_on}\n{}", stdout(&output));
        assert!(stdout(&output).contains("GET /"), "the report is printed whatever the code");
        assert_eq!(run(&["report", path]).status.code(), Some(0), "{path}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = TempDir::new().unwrap();
    let path = Snapshot::default().write(&folder);
    let mut child = command(&["report", text(&path)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before the report is written, as `head -0` would.
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}
