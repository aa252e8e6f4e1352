//! Other crates' middleware, each set up as its own README does.
//!
//! All of them work with axum 0.8 and http 1 at the version that is measured; each OpenTelemetry
//! middleware brings a version of its own of the API.

mod otel;
mod prometheus;

use ::tower::{Layer, service_fn};
use tower_http::trace::TraceLayer;

use super::case::{self, Case};
use super::{axum, tower};

/// On a plain service. axum-prometheus, axum-otel-metrics and the `metrics` middleware need axum.
pub(super) fn tower() -> Vec<Case> {
    vec![
        Case::new("tower/otel-instrumentation-tower", || {
            case::tower(otel::instrumentation_tower().layer(service_fn(tower::handler)))
        }),
        Case::new("tower/otel-http-metrics", || {
            case::tower(otel::http_metrics().layer(service_fn(tower::handler)))
        }),
        // Without a subscriber. With one at the usual level, `info`, its spans are off as well.
        Case::new("tower/trace-layer", || {
            case::tower(TraceLayer::new_for_http().layer(service_fn(tower::handler)))
        }),
    ]
}

/// In a router.
pub(super) fn axum() -> Vec<Case> {
    vec![
        Case::in_axum("axum/axum-prometheus", || {
            axum::router().layer(prometheus::axum_prometheus())
        })
        .with_upkeep(prometheus::upkeep),
        Case::in_axum("axum/otel-instrumentation-tower", || {
            axum::router().layer(otel::instrumentation_tower())
        }),
        Case::in_axum("axum/otel-http-metrics", || axum::router().layer(otel::http_metrics())),
        Case::in_axum("axum/axum-otel-metrics", || axum::router().layer(otel::axum_otel_metrics())),
        Case::in_axum("axum/metrics-middleware", || {
            prometheus::with_metrics_middleware(axum::router())
        })
        .with_upkeep(prometheus::upkeep),
        Case::in_axum("axum/trace-layer", || axum::router().layer(TraceLayer::new_for_http())),
    ]
}
