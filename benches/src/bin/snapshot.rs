//! Snapshots while recording goes on, and what they are made of.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use latency_experiment_benches::allocator::CountingAllocator;
use latency_experiment_benches::tables::{LogNormal, Tables};
use latency_experiment_benches::{clock, memory, scraping, table};
use latency_experiment_record::Snapshot;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Snapshot, merge, quantiles and JSON at 10, 1,000 and 10,000 series; memory per series.
#[derive(Parser)]
struct Arguments {
    /// How often each is repeated; the fastest counts.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// Latencies per series and thread.
const SAMPLES: usize = 1_000;

fn main() {
    let rounds = Arguments::parse().rounds;
    let rows = [10, 1_000, 10_000].map(|series| row(series, rounds));
    let header = [
        "series × 2 threads",
        "snapshot, ms",
        "hdrhistogram add, ms",
        "snapshot / add",
        "merge, ms",
        "p50, p95, p99, ms",
        "to JSON, ms",
        "from JSON, ms",
        "JSON, MB",
    ];
    println!("While one thread goes on recording:\n\n{}", table::table(&header, rows));

    let kib = |bytes: f64| format!("{:.2}", bytes / 1024.0);
    let rows = [10, 1_000, 4_000].map(|series| {
        vec![series.to_string(), kib(memory::typical(series)), kib(memory::largest(series))]
    });
    let header = ["series", "wide log-normal, KiB", "every octave, KiB"];
    println!("\nMemory per series and thread:\n\n{}", table::table(&header, rows));

    let scraped = scraping::scraping(10);
    println!(
        "\nRecording takes {:.1} ns, and {:.1} ns while {} snapshots of 1,000 series are taken one after the other: {:.2} times as much.",
        scraped.alone_ns,
        scraped.scraped_ns,
        scraped.snapshots,
        scraped.factor(),
    );
}

fn row(series: usize, rounds: u16) -> Vec<String> {
    let tables = Tables::new(series);
    thread::scope(|scope| {
        for seed in 0..2 {
            let tables = &tables;
            scope.spawn(move || tables.fill(SAMPLES, &mut LogNormal::new(seed)));
        }
    });
    let best = |run: &mut dyn FnMut()| -> Duration {
        (0..rounds).map(|_| clock::time(&mut *run)).min().unwrap_or_default()
    };
    let snapshot = tables.recorder.snapshot(tables.experiment, Timestamp::now());
    let json = snapshot.to_json();
    let elsewhere = Snapshot { instance: "elsewhere".to_owned(), ..snapshot.clone() };
    let stop = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        scope.spawn(|| {
            let mut latencies = LogNormal::new(9);
            while !stop.load(SeqCst) {
                tables.fill(1, &mut latencies);
            }
        });
        let taken = best(&mut || {
            black_box(tables.recorder.snapshot(tables.experiment, Timestamp::now()));
        });
        stop.store(true, SeqCst);
        taken
    });
    let added = best(&mut hdr_add(series));
    let merged = best(&mut || drop(black_box(snapshot.merge(&elsewhere).expect("they agree"))));
    let quantiles = best(&mut || {
        for histogram in snapshot.series.values() {
            let hdr = histogram.to_hdr();
            for quantile in [0.5, 0.95, 0.99] {
                black_box(hdr.value_at_quantile(quantile));
            }
        }
    });
    let encoded = best(&mut || drop(black_box(snapshot.to_json())));
    let decoded = best(&mut || drop(black_box(Snapshot::from_json(&json))));
    let ms = |took: Duration| table::number(took.as_secs_f64() * 1e3);
    vec![
        series.to_string(),
        ms(taken),
        ms(added),
        table::number(taken.as_secs_f64() / added.as_secs_f64()),
        ms(merged),
        ms(quantiles),
        ms(encoded),
        ms(decoded),
        table::number(json.len() as f64 / 1e6),
    ]
}

/// Adds up as many histograms of the same latencies, of one thread.
fn hdr_add(series: usize) -> impl FnMut() {
    let mut latencies = LogNormal::new(1);
    let histograms: BTreeMap<_, _> = (0..series)
        .map(|series| {
            let mut histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2)
                .expect("the bounds are valid");
            for _ in 0..SAMPLES {
                histogram.saturating_record(latencies.next_ns());
            }
            (series, histogram)
        })
        .collect();
    move || {
        let mut sum = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2)
            .expect("the bounds are valid");
        for histogram in histograms.values() {
            sum.add(histogram).expect("they have the same bounds");
        }
        black_box(sum);
    }
}
