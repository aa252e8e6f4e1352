//! B: the check of the sample ratio on splits that are right.

use latency_experiment_stats::{Allocation, Error, srm};
use rand::RngExt;

use super::ramp::SHARES;
use crate::looks;
use crate::random::Random;
use crate::row::Row;
use crate::scale::Scale;
use crate::table::Table;

const LEVELS: [f64; 2] = [0.01, 0.001];
const LOOKS: usize = 1_000;
const REQUESTS: u64 = 100_000;

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(4_000, 400);
    let third = [1.0 / 3.0; 3];
    let settings: [(&str, Vec<Vec<f64>>); 4] = [
        ("50 % in B", vec![vec![0.5, 0.5]]),
        ("5 % in B", vec![vec![0.95, 0.05]]),
        ("three even arms", vec![third.to_vec()]),
        ("ramp 1, 5, 25, 50 %", SHARES.map(|share| vec![1.0 - share, share]).to_vec()),
    ];
    let mut rows = Vec::new();
    for (name, epochs) in settings {
        let rates = runs.shares(&format!("split, {name}"), |random| run(&epochs, random))?;
        rows.extend(LEVELS.iter().zip(rates).map(|(alpha, rate)| {
            let method = (&*format!("sample ratio at {alpha}"), Some(*alpha));
            Row::error_rate(name, method, runs.count, rate)
        }));
    }
    Ok(Table {
        title: "B. False alarms of the sample ratio check",
        notes: "Splits that are as they should be, over 100,000 requests, looked at 1,000 times from the 20th on. The ramp has \
            four equal epochs.",
        rows,
    })
}

fn run(epochs: &[Vec<f64>], mut random: Random) -> Result<[bool; LEVELS.len()], Error> {
    let mut counts: Vec<Vec<u64>> = epochs.iter().map(|weights| vec![0; weights.len()]).collect();
    let mut alarms = [false; LEVELS.len()];
    let mut requests = 0;
    for look in looks::spread(20, REQUESTS, LOOKS) {
        while requests < look {
            let epoch = (requests * epochs.len() as u64 / REQUESTS) as usize;
            let mut draw = random.random::<f64>();
            let arm = epochs[epoch].iter().position(|weight| {
                draw -= weight;
                draw < 0.0
            });
            counts[epoch][arm.unwrap_or(0)] += 1;
            requests += 1;
        }
        let allocations: Vec<Allocation<'_>> = counts
            .iter()
            .zip(epochs)
            .map(|(observed, weights)| Allocation { observed, weights })
            .collect();
        let log_e = srm(&allocations)?.log_e;
        for (alarm, alpha) in alarms.iter_mut().zip(LEVELS) {
            *alarm |= log_e >= -f64::ln(alpha);
        }
    }
    Ok(alarms)
}
