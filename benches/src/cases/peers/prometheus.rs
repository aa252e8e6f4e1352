//! Middleware on the `metrics` facade, recorded for Prometheus.

use std::sync::OnceLock;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum_prometheus::utils::SECONDS_DURATION_BUCKETS;
use axum_prometheus::{AXUM_HTTP_REQUESTS_DURATION_SECONDS, PrometheusMetricLayer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::clock;

/// The recorder of the process, with the buckets that both middleware bring: there is only one.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let histograms = [AXUM_HTTP_REQUESTS_DURATION_SECONDS, "http_requests_duration_seconds"];
        let builder = histograms.into_iter().fold(PrometheusBuilder::new(), |builder, name| {
            builder
                .set_buckets_for_metric(Matcher::Full(name.to_owned()), SECONDS_DURATION_BUCKETS)
                .expect("there are buckets")
        });
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).expect("nobody else installs a recorder");
        handle
    })
}

/// What both make a task of, every five seconds: without it histograms keep every sample.
pub(super) fn upkeep() {
    recorder().run_upkeep();
}

/// `PrometheusMetricLayer::pair()` without its task, which needs a runtime.
pub(super) fn axum_prometheus() -> PrometheusMetricLayer<'static> {
    recorder();
    PrometheusMetricLayer::new()
}

/// The middleware of axum's example `prometheus-metrics`, which everybody starts from.
pub(super) fn with_metrics_middleware(router: Router) -> Router {
    recorder();
    router.route_layer(middleware::from_fn(track_metrics))
}

async fn track_metrics(request: Request, next: Next) -> impl IntoResponse {
    let start = clock::now();
    let path = match request.extensions().get::<MatchedPath>() {
        Some(matched) => matched.as_str().to_owned(),
        None => request.uri().path().to_owned(),
    };
    let method = request.method().clone();

    let response = next.run(request).await;

    let latency = clock::now().duration_since(start).as_secs_f64();
    let status = response.status().as_u16().to_string();
    let labels = [("method", method.to_string()), ("path", path), ("status", status)];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_requests_duration_seconds", &labels).record(latency);
    response
}
