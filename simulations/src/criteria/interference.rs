//! What arms that share workers do to each other, and what a comparison of them shows.

use latency_experiment_stats::{Alpha, BlockPair, Error, switchback};

use crate::queue::{Served, Split, serve};
use crate::random::Runs;
use crate::row::{Figure, Row};
use crate::scale::Scale;
use crate::table::Table;

/// Utilisation of the workers before the change.
pub(crate) const UTILISATION: [f64; 4] = [0.3, 0.6, 0.75, 0.8];

/// What is asked of each: the truth, two experiments per request, one by blocks.
pub(crate) const METHODS: [&str; 4] = [
    "true effect of a full roll-out",
    "per request, 50 % in B",
    "per request, 5 % in B",
    "switchback",
];

const REQUESTS: usize = 600_000;

/// Length of a block in mean service times; its first fifth is left out.
const BLOCK: f64 = 500.0;
const WASHOUT: f64 = 0.2;

/// How a utilisation is called in the table.
pub(crate) fn setting(utilisation: f64) -> String {
    format!("{:.0} % utilisation", 100.0 * utilisation)
}

/// Simulates it.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(20, 3);
    let mut rows = Vec::new();
    for utilisation in UTILISATION {
        let name = setting(utilisation);
        let lifts = [
            everything(runs, &name, utilisation)?,
            per_request(runs, &name, utilisation, 0.5)?,
            per_request(runs, &name, utilisation, 0.05)?,
            blocks(runs, &name, utilisation)?,
        ];
        rows.extend(
            METHODS.iter().zip(lifts).map(|(method, lift)| {
                Row::new(&name, method, runs.count, Figure::Lift(lift), None)
            }),
        );
    }
    Ok(Table {
        title: "Interference",
        notes: "Four workers, first come, first served; random arrivals; lognormal service times with sigma 1, those of B \
            20 % longer. Effect on the mean latency (waiting and service) over 600,000 requests, geometric mean over the \
            runs. Switchback: blocks of 500 mean service times in randomised pairs, the first fifth of each left out. \
            Utilisation is that of the control alone.",
        rows,
    })
}

/// The lift of the geometric mean of ratios.
fn average(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp_m1()
}

fn everything(runs: Runs, name: &str, utilisation: f64) -> Result<f64, Error> {
    // The same seed: the same arrivals and sizes in both worlds.
    let ratios = runs.map(&format!("{name}, all"), |random| {
        let [before, after] = [0.0, 1.0].map(|share| {
            let served = serve(utilisation, Split::PerRequest(share), REQUESTS, random.clone());
            Mean::of(served).value()
        });
        Ok(after / before)
    })?;
    Ok(average(&ratios))
}

fn per_request(runs: Runs, name: &str, utilisation: f64, share: f64) -> Result<f64, Error> {
    let ratios = runs.map(&format!("{name}, {share}"), |random| {
        let mut arms = [Mean::default(); 2];
        for request in serve(utilisation, Split::PerRequest(share), REQUESTS, random) {
            arms[request.arm].add(request.latency);
        }
        Ok(arms[1].value() / arms[0].value())
    })?;
    Ok(average(&ratios))
}

fn blocks(runs: Runs, name: &str, utilisation: f64) -> Result<f64, Error> {
    let ratios = runs.map(&format!("{name}, blocks"), |random| {
        let mut blocks: Vec<(usize, Mean)> = Vec::new();
        for request in serve(utilisation, Split::Blocks(BLOCK), REQUESTS, random) {
            let position = request.arrival / BLOCK;
            blocks.resize(blocks.len().max(position as usize + 1), (0, Mean::default()));
            if position.fract() >= WASHOUT {
                let (arm, mean) = &mut blocks[position as usize];
                *arm = request.arm;
                mean.add(request.latency);
            }
        }
        // The last block may be cut short.
        let whole = &blocks[..blocks.len().saturating_sub(1)];
        let pairs: Result<Vec<BlockPair>, Error> = whole
            .chunks_exact(2)
            .map(|pair| {
                let control = pair[pair[0].0].1.value();
                let variation = pair[1 - pair[0].0].1.value();
                BlockPair::new(control, variation)
            })
            .collect();
        Ok(switchback(&pairs?, Alpha::DEFAULT).ratio.point.unwrap_or(f64::NAN))
    })?;
    Ok(average(&ratios))
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn of(served: impl Iterator<Item = Served>) -> Self {
        served.fold(Self::default(), |mut mean, request| {
            mean.add(request.latency);
            mean
        })
    }

    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> f64 {
        self.sum / self.count as f64
    }
}
