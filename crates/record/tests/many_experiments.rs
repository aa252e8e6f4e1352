//! Ten thousand experiments in one process, as a suite of tests makes them: each is used by two
//! threads and forgotten. Nothing of them can be given back, so they have to be small.
//!
//! This file holds one test, because it reads the memory of its process. What experiments keep is
//! registered, so the leak sanitizer has nothing to report either. Its own memory is not held
//! against the experiments:
//!
//! ```text
//! ASAN_OPTIONS=detect_leaks=1 RUSTFLAGS=-Zsanitizer=address \
//!     cargo +nightly test -p latency-experiment-record --tests --target x86_64-unknown-linux-gnu
//! ```

use jiff::Timestamp;
use latency_experiment_record::*;

mod support;
use support::{experiment, key};

const EXPERIMENTS: usize = 10_000;
const MOST_KIB: usize = 200 * 1024;

#[test]
fn ten_thousand_experiments_stay_under_200_megabytes() {
    for number in 0..EXPERIMENTS {
        let recorder = Recorder::new(Limits::default(), Timestamp::UNIX_EPOCH);
        let name = format!("flag-{number}");
        let (id, _) = recorder.register(Experiment { name, ..experiment() });
        let started = recorder.started_counters(id, "GET /");
        let series = recorder.series_of(id, ArmId::arm(0), |arm| key(arm, "GET /"));
        let request = move || {
            let writer = recorder.writer();
            writer.started(started, ArmId::arm(0));
            writer.record(series, 1_000_000);
        };
        request();
        if number % 100 == 0 {
            std::thread::spawn(request).join().unwrap();
        }
        let snapshot = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
        assert_eq!(snapshot.counters.in_flight["control"], 0);
    }
    let Some(resident) = resident_kib() else {
        println!("this system does not tell how much memory is resident");
        return;
    };
    let sanitized = std::env::var_os("ASAN_OPTIONS").is_some();
    assert!(sanitized || resident < MOST_KIB, "{resident} KiB are resident, {MOST_KIB} KiB may be");
    println!("{} KiB per experiment", resident / EXPERIMENTS);
}

fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
