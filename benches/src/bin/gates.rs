//! The numbers that a change must not break.

use std::process::ExitCode;

use latency_experiment_benches::allocator::CountingAllocator;
use latency_experiment_benches::scaling::{self, Row};
use latency_experiment_benches::target::{Bound, Target};
use latency_experiment_benches::{callgrind, cases, memory, scraping, table, target};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Rounds of a measurement by the clock, and how often it is repeated before a gate counts as
/// broken: on a busy machine a round can only be too slow, never too fast.
const ROUNDS: usize = 100;
const ATTEMPTS: usize = 5;

const KIB: f64 = 1024.0;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(callgrind::RUN_ARGUMENT) {
        let known = callgrind::run(&arguments.next().unwrap_or_default());
        return if known { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut targets = match callgrind::measure(&cases::all(), None) {
        Ok(measured) => target::exact_targets(&measured),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    targets.extend(memory_targets());
    targets.extend(scaling_targets());
    targets.push(best(|| {
        let factor = scraping::scraping(ROUNDS / 10).factor();
        Target::new("recording during snapshots / without", factor, Bound::AtMost(1.15), None)
    }));
    println!("{}", table::targets(&targets));
    let failed = targets.iter().filter(|target| !target.passes()).count();
    println!("\n{} gates hold, {failed} fail", targets.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn memory_targets() -> [Target; 2] {
    let kib = |name: &str, bytes: f64, most| {
        Target::new(format!("KiB per series and thread, {name}"), bytes / KIB, most, None)
    };
    [
        kib("wide log-normal", memory::typical(1_000), Bound::AtMost(6.5)),
        kib("every octave", memory::largest(1_000), Bound::AtMost(16.0)),
    ]
}

fn scaling_targets() -> [Target; 3] {
    // Two threads that share nothing do not always reach 2 either: the processors may share a core.
    let against_control = |name: &str, measure: &dyn Fn() -> Row| {
        best(|| {
            let (ours, control) =
                (measure().scaling.factor(), scaling::control(ROUNDS).scaling.factor());
            Target {
                name: format!("2 threads, {name}, same series"),
                measured: ours.zip(control).map(|(ours, control)| 2.0 * ours / control.min(2.0)),
                gate: Bound::AtLeast(1.85),
                aim: Some(Bound::AtLeast(1.95)),
            }
        })
    };
    [
        against_control("recorder", &|| scaling::recorder(ROUNDS, true)),
        against_control("tower/ours", &|| scaling::requests(ROUNDS, "tower/ours", true)),
        best(|| {
            let factor = |name| scaling::requests(ROUNDS, name, true).scaling.factor();
            Target {
                name: "2 threads, axum/ours / axum/bare, same series".to_owned(),
                measured: factor("axum/ours")
                    .zip(factor("axum/bare"))
                    .map(|(ours, bare)| ours / bare),
                gate: Bound::AtLeast(0.95),
                aim: Some(Bound::AtLeast(1.0)),
            }
        }),
    ]
}

/// The first attempt that passes, else the last one.
fn best(measure: impl Fn() -> Target) -> Target {
    let attempts = (1..ATTEMPTS).map(|_| measure()).find(Target::passes);
    attempts.unwrap_or_else(&measure)
}
