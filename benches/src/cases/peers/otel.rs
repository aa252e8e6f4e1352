//! Middleware on OpenTelemetry. Each brings a version of its own of the API.
//!
//! All have a meter provider with a periodic reader, as their READMEs show. The exporter drops what
//! it gets: what an export costs is not part of a request.

use std::sync::Once;
use std::time::Duration;

use axum_otel_metrics::{HttpMetricsLayer, HttpMetricsLayerBuilder};
use opentelemetry_instrumentation_tower::http::server;
use tower_otel_http_metrics::{HTTPMetricsLayer, HTTPMetricsLayerBuilder};

/// Long enough for no export to fall into a measurement.
const EXPORT_INTERVAL: Duration = Duration::from_secs(3_600);

/// Installs the global meter provider of one version of the SDK, once.
macro_rules! provide_meters {
    ($api:ident, $sdk:ident) => {{
        struct Discard;

        impl $sdk::metrics::exporter::PushMetricExporter for Discard {
            async fn export(
                &self,
                _: &$sdk::metrics::data::ResourceMetrics,
            ) -> $sdk::error::OTelSdkResult {
                Ok(())
            }

            fn force_flush(&self) -> $sdk::error::OTelSdkResult {
                Ok(())
            }

            fn shutdown_with_timeout(&self, _: Duration) -> $sdk::error::OTelSdkResult {
                Ok(())
            }

            fn temporality(&self) -> $sdk::metrics::Temporality {
                $sdk::metrics::Temporality::default()
            }
        }

        static PROVIDED: Once = Once::new();
        PROVIDED.call_once(|| {
            let reader = $sdk::metrics::PeriodicReader::builder(Discard)
                .with_interval(EXPORT_INTERVAL)
                .build();
            let provider = $sdk::metrics::SdkMeterProvider::builder().with_reader(reader).build();
            $api::global::set_meter_provider(provider);
        });
    }};
}

/// As the README shows it: metrics, and spans that nobody collects. Switching the spans off saves
/// nothing that counts as long as there is no tracer provider.
pub(super) fn instrumentation_tower() -> server::Layer {
    provide_meters!(opentelemetry_0_33, opentelemetry_sdk_0_33);
    server::Layer::new()
}

pub(super) fn http_metrics() -> HTTPMetricsLayer {
    provide_meters!(opentelemetry_0_30, opentelemetry_sdk_0_30);
    let meter = opentelemetry_0_30::global::meter("benches");
    HTTPMetricsLayerBuilder::builder().with_meter(meter).build().expect("the meter is there")
}

pub(super) fn axum_otel_metrics() -> HttpMetricsLayer {
    provide_meters!(opentelemetry_0_32, opentelemetry_sdk_0_32);
    HttpMetricsLayerBuilder::new().build()
}
