//! Memory that a recorder keeps per series and thread. The program has to install the
//! [`CountingAllocator`](crate::allocator::CountingAllocator).

use std::sync::Barrier;
use std::thread;

use crate::allocator::Allocations;
use crate::tables::{LogNormal, Tables};

/// Latencies per series.
const SAMPLES: usize = 10_000;

/// Bytes per series and thread with ten thousand latencies of a wide log-normal in each.
pub fn typical(series: usize) -> f64 {
    let tables = Tables::new(series);
    kept_per_series(&tables, |tables| tables.fill(SAMPLES, &mut LogNormal::new(7)))
}

/// Bytes per series and thread with latencies in every octave there is.
pub fn largest(series: usize) -> f64 {
    let tables = Tables::new(series);
    kept_per_series(&tables, |tables| {
        for &series in &tables.series {
            for octave in 0..36 {
                tables.recorder.writer().record(series, 1 << octave);
            }
        }
    })
}

/// So many series with a thousand latencies of each of so many threads, and the bytes that the
/// threads keep by them.
///
/// # Panics
///
/// When a thread does.
pub fn of_threads(series: usize, threads: u64) -> (Tables, u64) {
    let tables = Tables::new(series);
    // All start before the first one ends, whose tables another one would go on with.
    let together = Barrier::new(threads as usize);
    let kept = thread::scope(|scope| {
        let recording = (0..threads).map(|seed| {
            let (tables, together) = (&tables, &together);
            scope.spawn(move || {
                let mut latencies = LogNormal::new(seed);
                together.wait();
                let (kept, ()) = Allocations::during(|| tables.fill(1_000, &mut latencies));
                together.wait();
                kept.kept_bytes()
            })
        });
        let recording: Vec<_> = recording.collect();
        recording.into_iter().map(|thread| thread.join().expect("recording never panics")).sum()
    });
    (tables, kept)
}

/// What a new thread keeps by recording: its tables, but not the names of the series.
fn kept_per_series(tables: &Tables, record: impl FnOnce(&Tables) + Send) -> f64 {
    let kept = thread::scope(|scope| {
        let recording = scope.spawn(|| Allocations::during(|| record(tables)).0.kept_bytes());
        recording.join().expect("recording never panics")
    });
    kept as f64 / tables.series.len() as f64
}
