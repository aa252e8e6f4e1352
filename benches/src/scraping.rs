//! What a request pays for a snapshot that is being taken at the same time.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use jiff::Timestamp;

use crate::rounds::lower_quartile;
use crate::span::Span;
use crate::tables::{LogNormal, Tables};

const SERIES: usize = 1_000;
/// Records per batch, a millisecond or so.
const BATCH: usize = 50_000;
/// Batches between two changes of what the other thread does: longer than a snapshot takes.
const BATCHES: usize = 40;

/// Recording while another thread takes one snapshot after the other, against recording while that
/// thread is as busy with nothing: 1 is no difference.
#[derive(Clone, Copy, Debug)]
pub struct Scraping {
    /// Nanoseconds per record without snapshots.
    pub alone_ns: f64,
    /// Nanoseconds per record during snapshots.
    pub scraped_ns: f64,
    /// Snapshots that were taken meanwhile.
    pub snapshots: usize,
}

impl Scraping {
    /// How much dearer recording becomes; `None` when the machine was too busy to tell.
    pub fn factor(self) -> Option<f64> {
        Some(self.scraped_ns / self.alone_ns).filter(|factor| factor.is_finite())
    }
}

/// Records in so many rounds of both kinds, and takes the lower quartile of each, of the batches
/// that nothing else interrupted: what else the machine does can only slow a batch down.
///
/// # Panics
///
/// When a snapshot does.
pub fn scraping(rounds: usize) -> Scraping {
    let tables = Tables::new(SERIES);
    let mut latencies = LogNormal::new(3);
    tables.fill(1_000, &mut latencies);
    let latencies: Vec<u64> = (0..4096).map(|_| latencies.next_ns()).collect();

    let (wanted, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let scraping_now = AtomicBool::new(false);
    let mut snapshots = 0;
    let (mut alone, mut scraped) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut snapshots = 0;
            while !done.load(SeqCst) {
                let scrape = wanted.load(SeqCst);
                scraping_now.store(scrape, SeqCst);
                if scrape {
                    black_box(tables.recorder.snapshot(tables.experiment, Timestamp::now()));
                    snapshots += 1;
                } else {
                    std::hint::spin_loop();
                }
            }
            snapshots
        });
        for round in 0..2 * rounds {
            let scrape = round % 2 == 1;
            wanted.store(scrape, SeqCst);
            while scraping_now.load(SeqCst) != scrape {
                thread::yield_now();
            }
            for _ in 0..BATCHES {
                let span = Span::of(|| record(&tables, &latencies));
                let times = if scrape { &mut scraped } else { &mut alone };
                if span.is_undisturbed() {
                    times.push(span.length().as_secs_f64() * 1e9 / BATCH as f64);
                }
            }
        }
        done.store(true, SeqCst);
        snapshots = scraper.join().expect("snapshots do not panic");
    });
    Scraping { alone_ns: lower_quartile(alone), scraped_ns: lower_quartile(scraped), snapshots }
}

fn record(tables: &Tables, latencies: &[u64]) {
    let series = tables.series.iter().cycle();
    for (&series, &latency_ns) in series.zip(latencies.iter().cycle()).take(BATCH) {
        tables.recorder.writer().record(black_box(series), latency_ns);
    }
}
