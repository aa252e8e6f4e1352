//! The command `latency-experiment`.
//!
//! ```text
//! latency-experiment report snapshot.json            # a table for people
//! latency-experiment report --format json a.json b.json > report.json
//! curl -s http://localhost:3000/experiments/snapshot.json | latency-experiment report -
//! latency-experiment report snapshot.json --fail-on regression,withheld
//! latency-experiment plan baseline.json --quantile 0.99 --change -10% --rate 120/s
//! ```
//!
//! Results go to standard output and everything else to standard error. Exit codes are part of the
//! interface: 0 pass, 1 error, 2 usage, 3 regression, 4 withheld, 5 undecided; the last three only
//! with `--fail-on`.

mod exit;
mod failure;
mod files;
mod plan;
mod report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Plan and report latency experiments from their snapshot files.
#[derive(Parser)]
#[command(name = "latency-experiment", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Report(report::Options),
    Plan(plan::Options),
}

fn main() -> ExitCode {
    // Wrong arguments end here, with their message on standard error and code 2.
    let Arguments { command } = Arguments::parse();
    let result = match command {
        Command::Report(options) => options.run(),
        Command::Plan(options) => options.run(),
    };
    result
        .unwrap_or_else(|failure| {
            eprintln!("error: {failure}");
            failure.exit
        })
        .code()
}
