//! `simulate`: what the statistics promise, simulated.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use latency_experiment_simulations::criteria::Criterion;
use latency_experiment_simulations::document::{commit, document};
use latency_experiment_simulations::plots;
use latency_experiment_simulations::scale::Scale;
use latency_experiment_simulations::table::Table;

/// Simulates the acceptance criteria of the statistics and says which hold.
///
/// Prints a table per criterion. Exit code 1 when a promise is broken. `RAYON_NUM_THREADS` sets the threads.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Few runs of the criteria that promise something, with limits that are wider accordingly: for the gate.
    #[arg(long)]
    short: bool,
    /// Only these; may be given more than once.
    #[arg(long, value_enum, ignore_case = true)]
    criterion: Vec<Criterion>,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs of every setting, in place of those that the criteria name.
    #[arg(long)]
    runs: Option<usize>,
    /// Writes the tables to this file too, with commit and command.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Writes the figures of the documentation into this folder.
    #[arg(long)]
    plots: Option<PathBuf>,
}

impl Arguments {
    fn criteria(&self) -> &[Criterion] {
        match &self.criterion[..] {
            [] if self.short => &Criterion::PROMISES,
            [] => Criterion::value_variants(),
            chosen => chosen,
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let scale = Scale { seed: arguments.seed, short: arguments.short, runs: arguments.runs };
    let commit = commit();
    let mut tables = Vec::new();
    for criterion in arguments.criteria() {
        for table in criterion.tables(scale)? {
            println!("{}", table.text());
            tables.push(table);
        }
    }
    if let Some(path) = &arguments.markdown {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let command = "cargo run --release --locked -p latency-experiment-simulations --";
        let command = format!("{command} {}", given.join(" "));
        std::fs::write(path, document(&tables, &command, &commit))?;
    }
    if let Some(folder) = &arguments.plots {
        plots::write(folder, scale, &tables)?;
    }
    let broken = tables.iter().flat_map(Table::failures).count();
    println!("{broken} broken promises");
    Ok(ExitCode::from(u8::from(broken > 0)))
}
