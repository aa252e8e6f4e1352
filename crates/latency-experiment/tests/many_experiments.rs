//! Ten thousand experiments in one process, as a suite of tests makes them: each serves requests of two
//! threads, is looked at, and is dropped. What they keep cannot be given back, so it has to be small; all
//! of it is registered, so a leak sanitizer has nothing to report either.
//!
//! This file holds one test, because it reads the memory of its process. The sanitizer's own memory is
//! not held against the experiments:
//!
//! ```text
//! ASAN_OPTIONS=detect_leaks=1 RUSTFLAGS=-Zsanitizer=address \
//!     cargo +nightly test -p latency-experiment --test many_experiments --target x86_64-unknown-linux-gnu
//! ```

use std::convert::Infallible;
use std::future::ready;
use std::thread;

use axum::body::Body;
use http::{Request, Response};
use latency_experiment::{Flag, Histogram, LatencyExperiment};
use tower::{Layer, ServiceExt, service_fn};

const EXPERIMENTS: usize = 10_000;
const MOST_KIB: usize = 200 * 1024;

#[tokio::test(flavor = "current_thread")]
async fn ten_thousand_experiments_stay_under_200_megabytes_and_never_share_a_flag() {
    let first = LatencyExperiment::new(Flag::new("flag"));
    for number in 0..EXPERIMENTS {
        // All of them have the same revision of the same flag.
        let experiment = LatencyExperiment::new(Flag::new("flag"));
        let layer = experiment.experiments().layer();
        let flag = experiment.flag("flag").unwrap();
        let service = || {
            layer.layer(service_fn(move |_: Request<Body>| {
                flag.is_on();
                ready(Ok::<_, Infallible>(Response::new(Body::empty())))
            }))
        };
        service().oneshot(Request::new(Body::empty())).await.unwrap();
        if number % 100 == 0 {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(service().oneshot(Request::new(Body::empty()))).unwrap();
                });
            });
        }
        let requests = 1 + u64::from(number % 100 == 0);
        let snapshot = experiment.snapshot();
        let recorded: u64 = snapshot.series.values().map(Histogram::count).sum();
        assert_eq!(recorded, requests, "of experiment {number}");
        assert!(snapshot.series.keys().all(|key| key.exposed), "of experiment {number}");
    }
    assert!(first.snapshot().series.is_empty(), "another experiment's requests");

    let Some(resident) = resident_kib() else {
        println!("this system does not tell how much memory is resident");
        return;
    };
    println!("{:.1} KiB per experiment", resident as f64 / EXPERIMENTS as f64);
    let sanitized = std::env::var_os("ASAN_OPTIONS").is_some();
    assert!(sanitized || resident < MOST_KIB, "{resident} KiB are resident, {MOST_KIB} KiB may be");
}

fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
