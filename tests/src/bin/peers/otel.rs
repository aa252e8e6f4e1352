//! Middleware on OpenTelemetry. Each brings a version of its own of the API, so the reader of its
//! metrics is written once for all of them.
//!
//! All have a meter provider with a periodic reader, as their READMEs show, and an exporter that
//! keeps what it gets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum_otel_metrics::HttpMetricsLayerBuilder;
use latency_experiment_tests::{AnyService, Stack, Subject};
use opentelemetry_instrumentation_tower::http::server;
use tower::Layer;
use tower_otel_http_metrics::HTTPMetricsLayerBuilder;

use crate::peer::{Instrument, Peer, Reading, Record, Told};

/// Exports come only when they are asked for.
const EXPORT_INTERVAL: Duration = Duration::from_secs(3_600);

pub(crate) fn instrumentation_tower() -> Peer {
    Peer {
        name: "opentelemetry-instrumentation-tower",
        package: "opentelemetry-instrumentation-tower",
        stacks: &Stack::ALL,
        instrument: |_| {
            let read = v0_33::provide();
            instrument(read, server::Layer::new())
        },
    }
}

pub(crate) fn tower_otel_http_metrics() -> Peer {
    Peer {
        name: "tower-otel-http-metrics",
        package: "tower-otel-http-metrics",
        stacks: &[Stack::AxumInside, Stack::AxumOutside, Stack::Hyper1, Stack::Hyper2],
        instrument: |_| {
            let read = v0_30::provide();
            let meter = opentelemetry_0_30::global::meter("peers");
            let layer = HTTPMetricsLayerBuilder::builder().with_meter(meter).build();
            instrument(read, layer.expect("the meter is there"))
        },
    }
}

pub(crate) fn axum_otel_metrics() -> Peer {
    Peer {
        name: "axum-otel-metrics",
        package: "axum-otel-metrics",
        stacks: &[Stack::AxumInside],
        instrument: |_| {
            let read = v0_32::provide();
            instrument(read, HttpMetricsLayerBuilder::new().build())
        },
    }
}

fn instrument<L>(read: impl Fn() -> Vec<Point> + 'static, layer: L) -> Instrument
where
    L: Layer<AnyService> + Send + Sync + 'static,
    L::Service: IntoAny,
{
    let subject: Subject = Arc::new(move |inner| layer.layer(inner).into_any());
    Instrument { subject, read: Box::new(move || reading(read())) }
}

/// Services that leave the type of the body as it is.
trait IntoAny {
    fn into_any(self) -> AnyService;
}

impl<S> IntoAny for S
where
    S: tower::Service<
            http::Request<axum::body::Body>,
            Response = http::Response<axum::body::Body>,
            Error = tower::BoxError,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    fn into_any(self) -> AnyService {
        AnyService::new(self)
    }
}

/// A data point of a metric, in any version.
struct Point {
    metric: String,
    value: i64,
    attributes: Vec<(String, String)>,
}

fn reading(points: Vec<Point>) -> Reading {
    let mut records = Vec::new();
    let mut active = 0;
    for point in points {
        match point.metric.as_str() {
            "http.server.active_requests" => active += point.value,
            "http.server.request.duration" if point.value > 0 => {
                let find = |name| {
                    let found = point.attributes.iter().find(|(key, _)| key == name);
                    found.map(|(_, value)| value.as_str())
                };
                let status = find("http.response.status_code");
                records.push(Record {
                    count: point.value.unsigned_abs(),
                    told: Told::by(status, find("error.type")),
                    labels: point.attributes,
                });
            }
            _ => {}
        }
    }
    Reading::Requests { records, active: Some(active) }
}

macro_rules! version {
    ($module:ident, $api:ident, $sdk:ident) => {
        mod $module {
            use $sdk::error::OTelSdkResult;
            use $sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
            use $sdk::metrics::exporter::PushMetricExporter;
            use $sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

            use super::{Arc, Duration, EXPORT_INTERVAL, Mutex, Point};

            type Points = Arc<Mutex<Vec<Point>>>;

            struct Keep(Points);

            impl PushMetricExporter for Keep {
                async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
                    *self.0.lock().expect("no reader panics") = points(metrics);
                    Ok(())
                }

                fn force_flush(&self) -> OTelSdkResult {
                    Ok(())
                }

                fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
                    Ok(())
                }

                fn temporality(&self) -> Temporality {
                    Temporality::Cumulative
                }
            }

            /// Installs a new global meter provider; the function reads what it got.
            pub(super) fn provide() -> impl Fn() -> Vec<Point> {
                let points = Points::default();
                let keep = Keep(Arc::clone(&points));
                let reader = PeriodicReader::builder(keep).with_interval(EXPORT_INTERVAL).build();
                let provider = SdkMeterProvider::builder().with_reader(reader).build();
                $api::global::set_meter_provider(provider.clone());
                move || {
                    provider.force_flush().expect("an export to memory");
                    std::mem::take(&mut points.lock().expect("no exporter panics"))
                }
            }

            fn points(metrics: &ResourceMetrics) -> Vec<Point> {
                let mut points = Vec::new();
                for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
                    let mut point = |value: i64, attributes: Vec<(String, String)>| {
                        let metric = metric.name().to_owned();
                        points.push(Point { metric, value, attributes });
                    };
                    match metric.data() {
                        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                            for data in histogram.data_points() {
                                let count = i64::try_from(data.count()).unwrap_or(i64::MAX);
                                point(count, texts(data.attributes()));
                            }
                        }
                        AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                            for data in sum.data_points() {
                                point(data.value(), texts(data.attributes()));
                            }
                        }
                        _ => {}
                    }
                }
                points
            }

            fn texts<'a>(
                attributes: impl Iterator<Item = &'a $api::KeyValue>,
            ) -> Vec<(String, String)> {
                let texts = attributes.map(|pair| (pair.key.to_string(), pair.value.to_string()));
                texts.collect()
            }
        }
    };
}

version!(v0_30, opentelemetry_0_30, opentelemetry_sdk_0_30);
version!(v0_32, opentelemetry_0_32, opentelemetry_sdk_0_32);
version!(v0_33, opentelemetry_0_33, opentelemetry_sdk_0_33);
