//! What a snapshot takes, beside adding up as many histograms of `hdrhistogram`.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::Timestamp;

use crate::clock;
use crate::tables::{LogNormal, Tables};

/// Latencies per histogram.
const SAMPLES: usize = 1_000;

/// The fastest of some rounds of each.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots {
    /// A snapshot of what some threads recorded, while nobody records.
    pub quiet: Duration,
    /// The same while another thread records without a pause.
    pub recording: Duration,
    /// As many histograms of `hdrhistogram`, with the same layout and as many latencies as one
    /// thread recorded, added up into one.
    pub hdr_add: Duration,
}

impl Snapshots {
    /// A snapshot in terms of adding up.
    pub fn ratio(self) -> f64 {
        self.quiet.as_secs_f64() / self.hdr_add.as_secs_f64()
    }
}

/// Measures in so many rounds, in each of which everything has a turn.
pub fn snapshots(tables: &Tables, rounds: usize) -> Snapshots {
    let histograms = histograms(tables.series.len());
    let mut best =
        Snapshots { quiet: Duration::MAX, recording: Duration::MAX, hdr_add: Duration::MAX };
    let snapshot = || {
        clock::time(|| {
            black_box(tables.recorder.snapshot(tables.experiment, Timestamp::now()));
        })
    };
    for _ in 0..rounds {
        best.hdr_add = best.hdr_add.min(clock::time(|| {
            black_box(add_up(&histograms));
        }));
        best.quiet = best.quiet.min(snapshot());
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut latencies = LogNormal::new(9);
            while !stop.load(SeqCst) {
                tables.fill(1, &mut latencies);
            }
        });
        best.recording = (0..rounds).map(|_| snapshot()).min().unwrap_or_default();
        stop.store(true, SeqCst);
    });
    best
}

fn histograms(series: usize) -> Vec<Histogram<u64>> {
    let mut latencies = LogNormal::new(1);
    let histogram = |_| {
        let mut histogram = empty();
        for _ in 0..SAMPLES {
            histogram.saturating_record(latencies.next_ns());
        }
        histogram
    };
    (0..series).map(histogram).collect()
}

fn add_up(histograms: &[Histogram<u64>]) -> Histogram<u64> {
    let mut sum = empty();
    for histogram in histograms {
        sum.add(histogram).expect("they have the same bounds");
    }
    sum
}

/// The layout of the recorder: two significant digits, up to 68.7 s.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 36, 2).expect("the bounds are valid")
}
