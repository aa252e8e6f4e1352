//! What two threads are made to do: on the same series, and each on series of its own.

use std::hint::black_box;

use crate::cases;
use crate::rounds::{Scaling, Work, scaling};
use crate::tables::{LogNormal, Tables};

/// How one piece of work scales.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the threads do.
    pub name: String,
    /// What came out.
    pub scaling: Scaling,
}

/// Two threads that have nothing in common: what this machine can give at all.
pub fn control(rounds: usize) -> Row {
    let work = |seed: usize| -> Work {
        let mut numbers = LogNormal::new(seed as u64);
        Box::new(move |count| {
            for _ in 0..count {
                black_box(numbers.next_u64());
            }
        })
    };
    Row { name: "control: nothing in common".to_owned(), scaling: scaling(rounds, work) }
}

/// The recorder alone.
pub fn recorder(rounds: usize, same_series: bool) -> Row {
    let tables = Tables::new(2);
    let work = |thread: usize| -> Work {
        let series = tables.series[if same_series { 0 } else { thread }];
        let (recorder, mut latencies) = (tables.recorder, LogNormal::new(7));
        let latencies: Vec<u64> = (0..1024).map(|_| latencies.next_ns()).collect();
        Box::new(move |count| {
            for &latency_ns in latencies.iter().cycle().take(count as usize) {
                recorder.writer().record(black_box(series), latency_ns);
            }
        })
    };
    row("recorder", same_series, scaling(rounds, work))
}

/// Requests to one service.
///
/// # Panics
///
/// When there is no case of this name.
pub fn requests(rounds: usize, name: &str, same_series: bool) -> Row {
    let case = cases::find(name).unwrap_or_else(|| panic!("there is no case `{name}`"));
    let service = case.service();
    let work = |thread: usize| service(if same_series { 0 } else { thread });
    row(name, same_series, scaling(rounds, work))
}

fn row(name: &str, same_series: bool, scaling: Scaling) -> Row {
    let series = if same_series { "same series" } else { "different series" };
    Row { name: format!("{name}, {series}"), scaling }
}
