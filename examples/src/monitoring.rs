//! What the service offers to operators, beside its own routes and outside the experiment.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Router, routing};
use latency_experiment::LatencyExperiment;
use latency_experiment::export::MetricsExporter;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::Error;

/// Upper bounds in seconds of the histograms in `/metrics`.
const BUCKETS: [f64; 14] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];

#[derive(Clone)]
struct Monitoring {
    experiment: LatencyExperiment,
    exporter: Arc<Mutex<MetricsExporter>>,
    prometheus: PrometheusHandle,
}

/// Installs the recorder that `/metrics` shows: any recorder for the `metrics` facade will do, and
/// a service that has one already keeps it.
pub fn install_prometheus() -> Result<PrometheusHandle, Error> {
    Ok(PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?)
}

/// The routes `/metrics`, `/experiments/snapshot.json` and `/experiments/report.json`.
pub fn routes(experiment: LatencyExperiment, prometheus: PrometheusHandle) -> Router {
    let exporter = Arc::new(Mutex::new(MetricsExporter::new()));
    Router::new()
        .route("/metrics", routing::get(metrics))
        .route("/experiments/snapshot.json", routing::get(snapshot))
        .route("/experiments/report.json", routing::get(report))
        .with_state(Monitoring { experiment, exporter, prometheus })
}

async fn metrics(State(monitoring): State<Monitoring>) -> impl IntoResponse {
    let text = off_thread(move || {
        // Held over snapshot and push, so that pushes are in the order of their snapshots.
        let mut exporter = monitoring.exporter.lock().unwrap_or_else(PoisonError::into_inner);
        exporter.export(&monitoring.experiment.snapshot());
        monitoring.prometheus.render()
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text.await)
}

async fn snapshot(State(monitoring): State<Monitoring>) -> impl IntoResponse {
    let text = off_thread(move || monitoring.experiment.snapshot().to_json());
    ([(header::CONTENT_TYPE, "application/json")], text.await)
}

async fn report(State(monitoring): State<Monitoring>) -> impl IntoResponse {
    let text = off_thread(move || {
        serde_json::to_string_pretty(&monitoring.experiment.report())
            .expect("a report has nothing that JSON can't hold")
    });
    ([(header::CONTENT_TYPE, "application/json")], text.await)
}

/// All three compute for some milliseconds: not on the threads that serve requests.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
