//! The whole example on a small catalogue.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use latency_experiment::Snapshot;
use serde_json::Value;

use super::*;

const SMALL: Scale = Scale { products: 2_000, categories: 24, tenants: 3 };
const REQUESTS: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_recorded_and_served_to_operators() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (snapshot_file, report_file) = (file("snapshot.json"), file("report.json"));
    let options = Options::parse_from([
        "cached_whitelist",
        "--rate=400",
        "--snapshot",
        &snapshot_file,
        "--report",
        &report_file,
    ]);
    let running = start(&options, SMALL).await.unwrap();
    let address = running.server.address;
    let schedule = Schedule::new(running.menu, REQUESTS, options.rate, options.seed);
    let load = load::start(address, schedule).unwrap();
    let load = progress::watch(load, REQUESTS).await.unwrap();
    {
        let counts = load.tally.read();
        assert_eq!((counts.sent, counts.responses, counts.server_errors), (REQUESTS, REQUESTS, 0));
    }
    closing::print_client_view(&load.tally, &running.experiment.snapshot()).unwrap();

    closing::write_files(&options, &running.experiment.snapshot(), &running.experiment.report())
        .unwrap();
    let written = std::fs::read_to_string(&snapshot_file).unwrap();
    expect_everything(&Snapshot::from_json(&written).unwrap());
    expect_contract(&std::fs::read_to_string(&report_file).unwrap());

    // Asking the operators' pages is not measured.
    for _ in 0..2 {
        let served = get(address, "/experiments/snapshot.json").await;
        expect_everything(&Snapshot::from_json(&served).unwrap());
        expect_contract(&get(address, "/experiments/report.json").await);
        let metrics = get(address, "/metrics").await;
        let counted: u64 = metrics
            .lines()
            .filter(|line| line.starts_with("latency_experiment_latency_seconds_count"))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum();
        assert_eq!(counted, REQUESTS, "{metrics}");
    }
}

fn expect_everything(snapshot: &Snapshot) {
    assert_eq!(snapshot.counters.started.values().sum::<u64>(), REQUESTS);
    assert_eq!(snapshot.series.values().fold(0, |sum, series| sum + series.count()), REQUESTS);
    assert!(snapshot.counters.in_flight.values().all(|&requests| requests == 0));
    for key in snapshot.series.keys() {
        let consults = key.route.starts_with("GET /api/v1/categories");
        assert_eq!(key.exposed, consults, "{key:?}");
    }
}

fn expect_contract(report: &str) {
    let report: Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["schema"], "latency-experiment/report/1");
    assert_eq!(report["experiment"], "cached_whitelist");
    assert_eq!(report["srm"]["mismatch"], false);
    let comparisons = report["comparisons"].as_array().unwrap();
    for comparison in comparisons {
        for key in ["segment", "variation", "n", "quantiles", "mean", "verdict", "reasons"] {
            assert!(!comparison[key].is_null(), "{key} is missing in {comparison}");
        }
    }
    let routes: BTreeSet<_> = comparisons
        .iter()
        .filter_map(|comparison| comparison["segment"]["route"].as_str())
        .collect();
    assert!(routes.contains("GET /api/v1/categories/{id}/products"), "{routes:?}");
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let body = to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}
