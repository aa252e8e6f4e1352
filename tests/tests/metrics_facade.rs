//! Per-arm histograms through the `metrics` facade, scraped over HTTP from a real exporter.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use latency_experiment::export::MetricsExporter;
use latency_experiment::{Flag, LatencyExperiment};
use latency_experiment_tests::{Client, count, serve_axum};
use metrics_exporter_prometheus::PrometheusBuilder;

/// The values of all samples of a metric whose labels contain each of these.
fn samples(page: &str, metric: &str, labels: &[&str]) -> Vec<f64> {
    page.lines()
        .filter(|line| {
            line.starts_with(&format!("{metric}{{"))
                && labels.iter().all(|label| line.contains(label))
        })
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_shows_the_same_counts_as_the_snapshot() {
    const COUNT: &str = "latency_experiment_latency_seconds_count";
    let recorder =
        PrometheusBuilder::new().set_buckets(&[0.001, 0.1, 10.0]).unwrap().build_recorder();
    let page = recorder.handle();
    metrics::set_global_recorder(recorder).expect("this test is alone in its process");

    let experiment = LatencyExperiment::new(Flag::new("cached"));
    let flag = experiment.flag("cached").unwrap();
    let exporter = Arc::new(Mutex::new(MetricsExporter::new()));
    let scrape = move || async move {
        exporter.lock().unwrap().export(&experiment.snapshot());
        page.render()
    };
    let app = Router::new()
        .route("/items", get(move || async move { flag.variation() }))
        .route("/missing", get(|| async { axum::http::StatusCode::NOT_FOUND }))
        .layer(experiment)
        .route("/metrics", get(scrape));
    let client = Client::http1(serve_axum(app).await);
    let scraped = async || {
        String::from_utf8(client.send("GET", "/metrics").await.into_body().to_vec()).unwrap()
    };

    for round in 1..=3u32 {
        for _ in 0..100 {
            client.send("GET", "/items").await;
        }
        client.send("GET", "/missing").await;
        let (page, again) = (scraped().await, scraped().await);
        let snapshot = experiment.snapshot();
        for arm in ["control", "variation"] {
            let labels = [
                &*format!("arm=\"{arm}\""),
                "route=\"GET /items\"",
                "outcome=\"completed\"",
                "size=\"0-500kB\"",
                "exposed=\"true\"",
                "epoch=\"1\"",
            ];
            let expected =
                count(&snapshot, |key| key.arm == arm && key.route == "GET /items") as f64;
            assert_eq!(samples(&page, COUNT, &labels), [expected], "{page}");
            assert_eq!(samples(&again, COUNT, &labels), [expected], "a second scrape adds nothing");
            let buckets = samples(&page, "latency_experiment_latency_seconds_bucket", &labels);
            assert_eq!((buckets.len(), buckets.last()), (4, Some(&expected)));
        }
        let missing: f64 =
            samples(&page, COUNT, &["route=\"GET /missing\"", "outcome=\"client_error\""])
                .iter()
                .sum();
        assert_eq!(missing, f64::from(round));
    }
}
