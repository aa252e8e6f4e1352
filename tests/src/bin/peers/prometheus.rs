//! axum-prometheus, whose recorder is that of the process: what is read is what came since.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum_prometheus::PrometheusMetricLayer;
use latency_experiment_tests::{AnyService, Stack};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tower::{Layer, ServiceExt};

use crate::peer::{Instrument, Peer, Reading, Record, Told};

pub(crate) fn axum_prometheus() -> Peer {
    Peer {
        name: "axum-prometheus",
        package: "axum-prometheus",
        stacks: &[Stack::AxumInside],
        instrument: |_| {
            let before = scrape();
            // `PrometheusMetricLayer::pair()` without its task, which keeps memory small.
            let layer = PrometheusMetricLayer::new();
            let subject = move |inner: AnyService| {
                let measured = layer.layer(inner);
                AnyService::new(measured.map_response(|response| response.map(Body::new)))
            };
            Instrument {
                subject: Arc::new(subject),
                read: Box::new(move || since(&before, &scrape())),
            }
        },
    }
}

/// Values by series, as the text names them.
type Scrape = BTreeMap<String, f64>;

fn scrape() -> Scrape {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| {
        PrometheusBuilder::new().install_recorder().expect("nobody else installs a recorder")
    });
    let text = recorder.render();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let values = samples.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    });
    values.collect()
}

fn since(before: &Scrape, now: &Scrape) -> Reading {
    let mut records = Vec::new();
    let mut active = 0;
    for (series, value) in now {
        let new = (value - before.get(series).copied().unwrap_or(0.0)) as i64;
        if series.starts_with("axum_http_requests_pending{") {
            active += new;
        }
        if series.starts_with("axum_http_requests_total{") && new > 0 {
            let labels = labels(series);
            let status = labels.iter().find(|(name, _)| name == "status");
            let status = status.map(|(_, status)| status.as_str());
            records.push(Record {
                count: new.unsigned_abs(),
                told: Told::by(status, None),
                labels,
            });
        }
    }
    Reading::Requests { records, active: Some(active) }
}

/// The labels of `name{label="value",…}`; no value here has a comma or a quotation mark.
fn labels(series: &str) -> Vec<(String, String)> {
    let inner = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let pairs = inner.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}
