//! How much more two threads get done than one.

use clap::Parser;
use latency_experiment_benches::{scaling, table};

/// Two threads against one: 2 is perfect.
#[derive(Parser)]
struct Arguments {
    /// How many rounds each row has; in each, each thread works alone and both work together.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

fn main() {
    let rounds = Arguments::parse().rounds.into();
    let mut rows = vec![scaling::control(rounds)];
    for same_series in [true, false] {
        rows.push(scaling::recorder(rounds, same_series));
    }
    for name in ["tower/bare", "tower/ours", "axum/bare", "axum/noop", "axum/ours"] {
        for same_series in [true, false] {
            rows.push(scaling::requests(rounds, name, same_series));
        }
    }
    let header = ["two threads", "alone, ns", "together, ns", "kept rounds", "scaling"];
    let rows = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            format!("{:.1}", row.scaling.alone_ns),
            format!("{:.1}", row.scaling.together_ns),
            format!("{} of {rounds}", row.scaling.kept_rounds),
            row.scaling.factor().map_or_else(|| "too busy".to_owned(), table::number),
        ]
    });
    println!("{}", table::table(&header, rows));
}
