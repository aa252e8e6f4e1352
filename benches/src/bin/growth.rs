//! Writes how costs grow: tables, plots, and the laws in words.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use latency_experiment_benches::allocator::CountingAllocator;
use latency_experiment_benches::growth::{self, Point};
use latency_experiment_benches::svg::{self, Line};
use latency_experiment_benches::{callgrind, table};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Writes `performance.md` and the plots beside it.
#[derive(Parser)]
struct Arguments {
    /// Where to.
    #[arg(long, value_name = "FOLDER", default_value = "docs")]
    out: PathBuf,
    /// Rounds of every measurement by the clock.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Send requests to this case, to be counted.
    #[arg(long, value_name = "NAME", hide = true)]
    under_callgrind: Option<String>,
}

/// A section of the page.
struct Section {
    /// Of its plot, without the ending.
    file: &'static str,
    title: &'static str,
    /// What is varied.
    varied: &'static str,
    /// What comes out, with its unit, and what the laws call it.
    columns: [(&'static str, &'static str); 2],
    base: f64,
    /// The law of a column in words, by its name and what is varied.
    law: fn(&str, &str, &[Point], usize) -> String,
    points: Vec<Point>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = arguments.under_callgrind {
        return if callgrind::run(&name) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match write(&arguments.out, arguments.rounds.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(out: &Path, rounds: usize) -> Result<(), Box<dyn Error>> {
    let request = [("instructions", "The instruction count"), ("ns", "The time")];
    let snapshot = [("snapshot, ms", "The time"), ("tables, MiB", "The memory")];
    let sections = [
        Section {
            file: "request-by-series",
            title: "A request, by the number of series",
            varied: "series",
            columns: request,
            base: 10.0,
            law: power,
            points: growth::with_series(rounds)?,
        },
        Section {
            file: "request-by-flags",
            title: "A request, by the number of flags",
            varied: "flags",
            columns: request,
            base: 2.0,
            law: steps,
            points: growth::with_flags(rounds)?,
        },
        Section {
            file: "snapshot-by-series",
            title: "A snapshot of two threads, by the number of series",
            varied: "series",
            columns: snapshot,
            base: 10.0,
            law: power,
            points: growth::snapshots_with_series(rounds),
        },
        Section {
            file: "snapshot-by-threads",
            title: "A snapshot of 1,000 series, by the number of threads",
            varied: "threads",
            columns: snapshot,
            base: 2.0,
            law: power,
            points: growth::snapshots_with_threads(rounds),
        },
    ];
    fs::create_dir_all(out.join("performance"))?;
    let mut page = format!("{HEAD}\n{}\n", machine());
    for section in &sections {
        section.append(&mut page)?;
        fs::write(out.join(format!("performance/{}.svg", section.file)), section.plot())?;
    }
    fs::write(out.join("performance.md"), page)?;
    Ok(())
}

const HEAD: &str = "# How costs grow

What a request, a snapshot and the memory of the tables cost when there are more series, flags or
threads. Written by one command, which needs valgrind:

```console
$ cargo run --release -p latency-experiment-benches --no-default-features --bin growth
```

Costs of a request are those of the layer on plain tower: what is above a service without it that
answers the same requests. Every series has its own route and requests go to all routes in turn, so
that with 10,000 of them nothing stays in the processor's caches, for either service. Instructions
are callgrind's and exact; times are medians of interleaved batches and noisy. Snapshots are the
fastest of all rounds, with a thousand log-normal latencies per series and thread.
";

impl Section {
    fn append(&self, page: &mut String) -> std::fmt::Result {
        let header = [self.varied, self.columns[0].0, self.columns[1].0];
        let rows = self.points.iter().map(|point| {
            let values = point.values.iter().map(|value| table::number(*value));
            std::iter::once(point.size.to_string()).chain(values).collect()
        });
        writeln!(page, "\n## {}\n\n{}\n", self.title, table::table(&header, rows))?;
        writeln!(page, "![{}](performance/{}.svg)\n", self.title, self.file)?;
        let laws = self
            .columns
            .iter()
            .enumerate()
            .map(|(column, (_, name))| (self.law)(name, self.varied, &self.points, column));
        writeln!(page, "{}", laws.collect::<Vec<_>>().join("\n"))
    }

    fn plot(&self) -> String {
        let lines = self.columns.iter().enumerate().map(|(column, (name, _))| Line {
            name: (*name).to_owned(),
            points: self
                .points
                .iter()
                .filter(|point| point.values[column] > 0.0)
                .map(|point| (point.size as f64, point.values[column]))
                .collect(),
        });
        svg::plot(self.title, [self.varied, ""], self.base, &lines.collect::<Vec<_>>())
    }
}

/// The law of a column that grows with a power of what is varied.
fn power(what: &str, varied: &str, points: &[Point], column: usize) -> String {
    let exponent = growth::exponent(points, column);
    let words = match exponent {
        flat if flat.abs() < 0.05 => format!("hardly depends on the number of {varied}"),
        below if below < 0.75 => format!("grows much more slowly than the number of {varied}"),
        line if line <= 1.15 => format!("grows about in proportion to the number of {varied}"),
        _ => format!("grows faster than the number of {varied}"),
    };
    format!("- {what} {words}: with its power of {exponent:.2}.")
}

/// The law of a column to which each further one adds the same.
fn steps(what: &str, varied: &str, points: &[Point], column: usize) -> String {
    let (height, step) = growth::steps(points, column);
    let one = varied.trim_end_matches('s');
    format!("- {what} grows along a line: {height:.0}, and {step:.0} for each {one}.")
}

/// What all of it was measured on.
fn machine() -> String {
    let printed = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
        text.map_or_else(|| format!("unknown {program}"), |text| text.trim().to_owned())
    };
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!(
        "Measured on {} × {}, {}, {}, at commit {}.",
        std::thread::available_parallelism().map_or(1, usize::from),
        model.map_or("unknown processor", |(_, model)| model.trim()),
        printed("rustc", &["--version"]),
        printed("valgrind", &["--version"]),
        printed("git", &["rev-parse", "--short", "HEAD"]),
    )
}
