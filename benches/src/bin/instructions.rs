//! Instructions and allocations per request of every case.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use latency_experiment_benches::allocator::CountingAllocator;
use latency_experiment_benches::document::Instructions;
use latency_experiment_benches::{callgrind, cases, table, target};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Instructions per request, counted by callgrind, and allocations per request.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON document: `{"cases": [{"name", "instructions", "allocations", "bytes"}]}`.
    #[arg(long)]
    json: bool,
    /// Only cases whose name starts with this, such as `axum/ours`.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Leave the profiles in this folder, to be read with `callgrind_annotate`.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Send requests to this case, to be counted.
    #[arg(long, value_name = "NAME", hide = true)]
    under_callgrind: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = arguments.under_callgrind {
        return if callgrind::run(&name) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut cases = cases::all();
    cases.retain(|case| arguments.only.as_ref().is_none_or(|only| case.name.starts_with(only)));
    match callgrind::measure(&cases, arguments.keep.as_deref()) {
        Ok(measured) if arguments.json => {
            println!("{}", serde_json::to_string_pretty(&measured).expect("it is plain data"));
            ExitCode::SUCCESS
        }
        Ok(measured) => {
            print(&measured, arguments.only.is_some());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(measured: &Instructions, partial: bool) {
    let rows = measured.cases.iter().map(|case| {
        let base = |what: &str| {
            let platform = case.name.split('/').next().unwrap_or_default();
            let base = measured.cases.iter().find(|base| base.name == format!("{platform}/{what}"));
            base.map_or_else(String::new, |base| {
                format!("{:.0}", case.instructions - base.instructions)
            })
        };
        vec![
            case.name.clone(),
            format!("{:.0}", case.instructions),
            base("bare"),
            base("noop"),
            table::number(case.allocations),
            format!("{:.0}", case.bytes),
        ]
    });
    let header = ["case", "instructions", "above bare", "above no-op", "allocations", "bytes"];
    println!("Per request:\n\n{}", table::table(&header, rows));
    if !partial {
        println!("\n{}", table::targets(&target::exact_targets(measured)));
    }
}
