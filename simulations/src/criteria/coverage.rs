//! D: how often an interval for one planned look contains the truth.

use latency_experiment_stats::{Alpha, Boundary, Comparison, Error, Quantile, quantile_effect};

use crate::histogram::Recorder;
use crate::latency::Latency;
use crate::random::Random;
use crate::row::{Figure, Limit, Row};
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::Request;

const TRUTH: f64 = 1.1;
const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];
const LEAST: f64 = 0.94;

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(4_000, 1_000);
    // The criterion is for the true coverage; fewer runs see it less exactly.
    let slack = 3.0 * (LEAST * (1.0 - LEAST) / runs.count as f64).sqrt();
    let limit = Limit::AtLeast(if scale.short { LEAST - slack } else { LEAST });
    let mut rows = Vec::new();
    for sizes in [[1_000, 1_000], [9_500, 500], [10_000, 10_000]] {
        for latency in [Latency::LogNormal(0.7), Latency::Pareto(1.5), Latency::Bimodal] {
            let setting = format!("{}, {} + {} requests", latency.name(), sizes[0], sizes[1]);
            let rates = runs.shares(&setting, |random| run(latency, sizes, random))?;
            rows.extend(QUANTILES.iter().zip(rates).map(|(quantile, rate)| {
                let method = format!("p{}", 100.0 * quantile.get());
                Row::new(&setting, &method, runs.count, Figure::Share(rate), limit)
            }));
        }
    }
    Ok(Table {
        title: "D. Coverage of the fixed-n interval of a quantile ratio",
        notes: "The variation takes 1.1 times as long. Share of the runs in which the 95 % interval for one planned look \
            contains 1.1.",
        rows,
    })
}

fn run(latency: Latency, sizes: [u64; 2], mut random: Random) -> Result<[bool; 3], Error> {
    let mut recorder = Recorder::default();
    for (arm, size) in sizes.into_iter().enumerate() {
        let shift = arm as f64 * TRUTH.ln();
        for _ in 0..size {
            let log_latency = latency.draw(&mut random) + shift;
            recorder.record(&Request { log_latency, arm, failed: false });
        }
    }
    let arms = recorder.arms()?;
    let comparison = Comparison::pair(arms.control, arms.variation)?;
    let effect =
        |quantile| quantile_effect(&comparison, quantile, Boundary::FixedN, Alpha::DEFAULT);
    Ok(QUANTILES.map(|quantile| effect(quantile).ratio.contains(TRUTH)))
}
