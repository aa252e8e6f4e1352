//! The recorded latencies against an independent measurement of the same requests.
//!
//! Each request is timed three times: by the handler around its own work, by the layer, and by the
//! client. Whatever the machine does meanwhile, the layer's time lies between the other two for
//! every single request. So its order statistics, and with them its quantiles, lie between theirs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use latency_experiment::{Flag, LatencyExperiment};
use latency_experiment_record::Histogram;
use latency_experiment_tests::{Client, count, serve_axum};
use tokio::time::Instant;

const REQUESTS: usize = 600;
const CONCURRENT: usize = 4;

/// The value at rank ⌈q·n⌉.
fn quantile(sorted: &[u64], q: f64) -> u64 {
    sorted[(q * sorted.len() as f64).ceil() as usize - 1]
}

/// The bounds of the bucket that holds rank ⌈q·n⌉.
fn recorded_quantile(histogram: &Histogram, q: f64) -> (u64, u64) {
    let rank = (q * histogram.count() as f64).ceil() as u64;
    let mut seen = 0;
    let bucket = histogram.buckets().iter().find(|bucket| {
        seen += bucket.count;
        seen >= rank
    });
    bucket.map(|bucket| (bucket.lower, bucket.upper)).unwrap()
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quantiles_lie_between_the_handlers_and_the_clients() {
    let experiment = LatencyExperiment::new(Flag::new("cached"));
    let handler_times = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&handler_times);
    let handler = move |Path(n): Path<u64>| async move {
        let start = Instant::now();
        // Known delays: 5 ms for most, 20 ms for one in ten, 60 ms for one in fifty.
        let delay = if n.is_multiple_of(50) {
            60
        } else if n.is_multiple_of(10) {
            20
        } else {
            5
        };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        times.lock().unwrap().push(nanoseconds(start.elapsed()));
        "done"
    };
    let app = Router::new().route("/work/{n}", get(handler)).layer(experiment);
    let client = Client::http1(serve_axum(app).await);

    let clients = (0..CONCURRENT).map(|first| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            for n in (first..REQUESTS).step_by(CONCURRENT) {
                let start = Instant::now();
                client.send("GET", &format!("/work/{n}")).await;
                times.push(nanoseconds(start.elapsed()));
            }
            times
        })
    });
    let mut by_client = Vec::new();
    for times in clients.collect::<Vec<_>>() {
        by_client.extend(times.await.unwrap());
    }
    by_client.sort_unstable();
    let mut by_handler = handler_times.lock().unwrap().clone();
    by_handler.sort_unstable();

    let snapshot = experiment.snapshot();
    assert_eq!(
        count(&snapshot, |key| key.route == "GET /work/{n}"),
        REQUESTS as u64,
        "exactly what was sent"
    );
    let recorded = snapshot.series.values().cloned().reduce(|a, b| a.merge(&b).unwrap()).unwrap();
    println!("quantile  handler  recorded  client (ms)");
    for q in [0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0] {
        let (lower, upper) = recorded_quantile(&recorded, q);
        let (handler, client) = (quantile(&by_handler, q), quantile(&by_client, q));
        let ms = |ns: u64| ns as f64 / 1e6;
        println!(
            "{q:8}  {:7.3}  {:8.3}  {:6.3}",
            ms(handler),
            ms(lower.midpoint(upper)),
            ms(client)
        );
        assert!(
            upper >= handler,
            "p{q}: recorded at most {upper} ns, but the handler alone took {handler} ns"
        );
        assert!(
            lower <= client,
            "p{q}: recorded at least {lower} ns, but the client waited only {client} ns"
        );
    }
    let (lower, _) = recorded_quantile(&recorded, 0.99);
    assert!(lower >= 59_000_000, "one request in fifty takes 60 ms");
}
