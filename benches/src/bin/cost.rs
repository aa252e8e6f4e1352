//! What a request costs by the clock.

use clap::Parser;
use latency_experiment_benches::allocator::CountingAllocator;
use latency_experiment_benches::document::Costs;
use latency_experiment_benches::{cases, cost, table};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Nanoseconds and allocations per request: all cases in one process, in rotating batches.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON document with times in ns, ratios, allocations and bytes.
    #[arg(long)]
    json: bool,
    /// How many batches each case has.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

fn main() {
    let arguments = Arguments::parse();
    let costs = cost::measure(&cases::all(), arguments.rounds.into());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&costs).expect("it is plain data"));
    } else {
        print(&costs);
    }
}

fn print(costs: &Costs) {
    let rows = costs.cases.iter().map(|case| {
        let ns = |value: f64| format!("{value:.0}");
        vec![
            case.name.clone(),
            ns(case.min_ns),
            ns(case.median_ns),
            ns(case.cost_min_ns),
            ns(case.cost_median_ns),
            table::number(case.allocations),
            ns(case.bytes),
        ]
    });
    let header =
        ["case", "ns, min", "ns, median", "cost, min", "cost, median", "allocations", "bytes"];
    println!("Per request; costs, allocations and bytes are above the bare service:\n");
    println!("{}\n", table::table(&header, rows));
    let ratios = costs.ratios.iter().map(|(name, ratio)| vec![name.clone(), table::number(*ratio)]);
    println!("Median costs, on tower above bare, in axum above the no-op layer:\n");
    println!("{}", table::table(&["case / case", "ratio"], ratios));
}
