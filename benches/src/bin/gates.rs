//! The numbers that a change must not break.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::{env, hint, thread};

use clap::Parser;
use latency_experiment_benches::allocator::{Allocations, CountingAllocator};
use latency_experiment_benches::cases::{self, many};
use latency_experiment_benches::scaling::{self, Row};
use latency_experiment_benches::target::{Bound, NONE, Target, Unmeasured};
use latency_experiment_benches::{callgrind, memory, scraping, snapshots, table, target};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Measures every gate and fails when one is broken.
#[derive(Parser)]
struct Arguments {
    /// Leave out what callgrind counts, when valgrind is not installed. Not heard in CI, where
    /// nothing may be left out.
    #[arg(long)]
    without_valgrind: bool,
    /// Send requests to this case, to be counted.
    #[arg(long, value_name = "NAME", hide = true)]
    under_callgrind: Option<String>,
}

/// Rounds of a measurement by the clock, and how often it is repeated before a gate counts as
/// broken: other work on the machine makes a number worse far more often than better.
const ROUNDS: usize = 500;
const ATTEMPTS: usize = 12;

const KIB: f64 = 1024.0;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = arguments.under_callgrind {
        return if callgrind::run(&name) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut targets = match callgrind::measure(&cases::all(), None) {
        Ok(measured) => target::exact_targets(&measured),
        Err(error) if arguments.without_valgrind && env::var_os("CI").is_none() => {
            println!("Left out, outside CI: {error}\n");
            Vec::new()
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    targets.push(allocations_while_scraped());
    targets.extend(memory_targets());
    targets.extend(scaling_targets());
    targets.push(best("recording during snapshots / without", Bound::AtMost(1.15), None, || {
        scraping::scraping(ROUNDS / 50).factor()
    }));
    let (tables, _) = memory::of_threads(1_000, 2);
    targets.push(Target {
        // Both wait for memory, which whatever else the machine does delays more or less.
        meanwhile: Some(Bound::AtMost(1.15)),
        ..best("snapshot of 1,000 series × 2 / hdrhistogram add", Bound::AtMost(1.0), None, || {
            Some(snapshots::snapshots(&tables, ROUNDS / 10).ratio())
        })
    });
    println!("{}", table::targets(&targets));
    let failed = targets.iter().filter(|target| !target.passes()).count();
    let untold = targets.iter().filter(|target| target.measured.is_err()).count();
    let missed = |target: &&Target| target.measured.is_ok() && target.passes() && !target.holds();
    let missed = targets.iter().filter(missed).count();
    println!(
        "\n{} gates, {failed} fail, {missed} missed as known, {untold} could not be told",
        targets.len()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Requests with 4 flags to 250 routes, which are 1,000 series, while snapshots are taken.
fn allocations_while_scraped() -> Target {
    const REQUESTS: u64 = 200_000;
    let (experiment, mut requests) = many::ours::<4>(250);
    // Often enough for every series to have met its usual octaves.
    requests(10 * REQUESTS);
    let stop = AtomicBool::new(false);
    let allocated = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                hint::black_box(experiment.snapshot());
            }
        });
        let allocated = [many::bare(250), requests].map(|mut requests| {
            requests(250);
            Allocations::during(|| requests(REQUESTS)).0.count as f64 / REQUESTS as f64
        });
        stop.store(true, SeqCst);
        allocated
    });
    let name = "allocations, tower, 1,000 series, 4 flags, scraped";
    Target::new(name, allocated[1] - allocated[0], Bound::AtMost(NONE), Some(Bound::AtMost(NONE)))
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

/// What two threads must reach that share nothing, or something else had the processors.
const USABLE: f64 = 1.3;

fn scaling_targets() -> [Target; 3] {
    // Two threads that share nothing do not always reach 2 either: the processors may share a core,
    // and what they do beside recording, such as allocating requests, then gets in each other's way.
    let against = |control: &dyn Fn() -> Row, name: &str, measure: &dyn Fn() -> Row| {
        let name = format!("2 threads, {name}, same series");
        best(&name, Bound::AtLeast(1.85), Some(Bound::AtLeast(1.95)), || {
            let control = control().scaling.factor().filter(|&factor| factor > USABLE)?;
            Some(2.0 * measure().scaling.factor()? / control.min(2.0))
        })
    };
    let against_bare = best(
        "2 threads, axum/ours / axum/bare, same series",
        Bound::AtLeast(0.95),
        Some(Bound::AtLeast(1.0)),
        || {
            let factor = |name| scaling::requests(ROUNDS, name, true).scaling.factor();
            Some(factor("axum/ours")? / factor("axum/bare")?)
        },
    );
    [
        against(&|| scaling::control(ROUNDS), "recorder", &|| scaling::recorder(ROUNDS, true)),
        against(&|| scaling::requests(ROUNDS, "tower/bare", false), "tower/ours", &|| {
            scaling::requests(ROUNDS, "tower/ours", true)
        }),
        against_bare,
    ]
}

/// The first attempt that passes, else the median of all that told something.
fn best(name: &str, gate: Bound, aim: Option<Bound>, measure: impl Fn() -> Option<f64>) -> Target {
    let mut told = Vec::new();
    for _ in 0..ATTEMPTS {
        let Some(value) = measure() else { continue };
        if gate.holds(value) {
            return Target::new(name, value, gate, aim);
        }
        told.push(value);
    }
    told.sort_unstable_by(f64::total_cmp);
    let measured = told.get(told.len() / 2).copied().ok_or(Unmeasured::Busy);
    Target { name: name.to_owned(), measured, gate, aim, meanwhile: None }
}
