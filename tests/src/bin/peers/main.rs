//! What other crates' middleware makes of the same requests: each end of a request on each server,
//! played over sockets as `tests/matrix.rs` plays it, and what was counted of it.
//!
//! `cargo run --release -p latency-experiment-tests --bin peers` writes `docs/comparison.md`.

mod document;
mod early_drop;
mod in_flight;
mod otel;
mod ours;
mod peer;
mod prometheus;
mod verdict;

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use latency_experiment_tests::{Ending, Stack, play};

use crate::peer::Peer;
use crate::verdict::Verdict;

fn main() -> io::Result<()> {
    let peers = [
        ours::head_only(),
        ours::with_body(),
        prometheus::axum_prometheus(),
        otel::instrumentation_tower(),
        otel::tower_otel_http_metrics(),
        otel::axum_otel_metrics(),
        in_flight::in_flight_requests(),
        early_drop::on_early_drop(),
    ];
    let columns = peers.iter().map(|peer| document::Column {
        name: peer.name,
        package: peer.package,
        cells: peer.stacks.iter().flat_map(|stack| run(peer, *stack)).collect(),
    });
    let document = document::write(&columns.collect::<Vec<_>>());
    println!("{document}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/comparison.md");
    fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
    fs::write(path, document)
}

/// All cells of a server, each with instruments of its own.
fn run(peer: &Peer, stack: Stack) -> Vec<document::Cell> {
    let endings = Ending::ALL.into_iter().filter(|ending| ending.cannot_exist(stack).is_none());
    endings
        .map(|ending| {
            let instrument = (peer.instrument)(stack);
            let settled = || verdict::of(stack, ending, &(instrument.read)()) == Verdict::Right;
            // What is not right by then never will be.
            play(stack, ending, &instrument.subject, settled, Duration::from_millis(250));
            let reading = (instrument.read)();
            let verdict = verdict::of(stack, ending, &reading);
            let made_up_labels = verdict::made_up_labels(&reading);
            document::Cell { stack, ending, verdict, made_up_labels }
        })
        .collect()
}
