//! Snapshots, and what is made of them.

use std::hint::black_box;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use latency_experiment_benches::allocator::CountingAllocator;
use latency_experiment_benches::{clock, memory, scraping, snapshots, table};
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

fn main() {
    let rounds = Arguments::parse().rounds;
    let rows = [10, 1_000, 10_000].map(|series| row(series, rounds));
    let header = [
        "series × 2 threads",
        "snapshot, ms",
        "while recording, ms",
        "hdrhistogram add, ms",
        "snapshot / add",
        "merge, ms",
        "p50, p95, p99, ms",
        "to JSON, ms",
        "from JSON, ms",
        "JSON, MB",
    ];
    println!("{}", table::table(&header, rows));

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
        scraped.factor().unwrap_or(f64::NAN),
    );
}

fn row(series: usize, rounds: u16) -> Vec<String> {
    let (tables, _) = memory::of_threads(series, 2);
    let taken = snapshots::snapshots(&tables, rounds.into());
    let best = |run: &mut dyn FnMut()| -> Duration {
        (0..rounds).map(|_| clock::time(&mut *run)).min().unwrap_or_default()
    };
    let snapshot = tables.recorder.snapshot(tables.experiment, Timestamp::now());
    let json = snapshot.to_json();
    let elsewhere = Snapshot { instance: "elsewhere".to_owned(), ..snapshot.clone() };
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
        ms(taken.quiet),
        ms(taken.recording),
        ms(taken.hdr_add),
        table::number(taken.ratio()),
        ms(merged),
        ms(quantiles),
        ms(encoded),
        ms(decoded),
        table::number(json.len() as f64 / 1e6),
    ]
}
