//! What a request costs by the clock: all cases in one process, in rotating batches.

use std::collections::BTreeMap;
use std::hint::black_box;

use crate::allocation::{self, PerRequest};
use crate::cases::{Case, Requests};
use crate::clock;
use crate::document::{CostCase, Costs};

/// Requests per batch: some tenths of a millisecond, so that few batches are interrupted.
const BATCH: u64 = 200;

/// Costs that are compared, above what `base` names: `(case, case, base)`.
const RATIOS: [(&str, &str, &str); 10] = [
    ("tower/ours", "tower/floor", "bare"),
    ("tower/otel-instrumentation-tower", "tower/ours", "bare"),
    ("axum/ours", "axum/floor2", "noop"),
    ("axum/ours-extension", "axum/ours", "noop"),
    ("axum/axum-prometheus", "axum/ours", "noop"),
    ("axum/otel-instrumentation-tower", "axum/ours", "noop"),
    ("axum/otel-http-metrics", "axum/ours", "noop"),
    ("axum/axum-otel-metrics", "axum/ours", "noop"),
    ("axum/metrics-middleware", "axum/ours", "noop"),
    ("axum/trace-layer", "axum/ours", "noop"),
];

struct Timed {
    requests: Requests,
    batches_ns: Vec<f64>,
}

/// Measures the cases in so many rounds. In each round every case has one batch, and another case
/// is the first.
pub fn measure(cases: &[Case], rounds: usize) -> Costs {
    let mut timed: Vec<_> = cases
        .iter()
        .map(|case| Timed { requests: case.service()(0), batches_ns: Vec::with_capacity(rounds) })
        .collect();
    for (timed, case) in timed.iter_mut().zip(cases) {
        (timed.requests)(case.warm_up.max(10 * BATCH));
    }
    for round in 0..rounds {
        for step in 0..timed.len() {
            let position = (round + step) % timed.len();
            let case = &mut timed[position];
            let took = clock::time(|| (case.requests)(black_box(BATCH)));
            case.batches_ns.push(took.as_secs_f64() * 1e9 / BATCH as f64);
        }
        cases.iter().for_each(Case::upkeep);
    }
    let allocated: Vec<_> = cases.iter().map(allocation::per_request).collect();
    let position = |name: &str| cases.iter().position(|case| case.name == name);
    let rows: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(place, case)| {
            let bare = position(&format!("{}/bare", case.platform())).unwrap_or(place);
            row(&case.name, [&timed[place], &timed[bare]], [allocated[place], allocated[bare]])
        })
        .collect();
    let ratios = ratios(&rows);
    Costs { cases: rows, ratios }
}

fn row(name: &str, [case, bare]: [&Timed; 2], [ours, base]: [PerRequest; 2]) -> CostCase {
    let differences = case.batches_ns.iter().zip(&bare.batches_ns).map(|(case, bare)| case - bare);
    CostCase {
        name: name.to_owned(),
        min_ns: minimum(&case.batches_ns),
        median_ns: median(case.batches_ns.clone()),
        cost_min_ns: minimum(&case.batches_ns) - minimum(&bare.batches_ns),
        cost_median_ns: median(differences.collect()),
        allocations: ours.allocations - base.allocations,
        bytes: ours.bytes - base.bytes,
    }
}

fn ratios(rows: &[CostCase]) -> BTreeMap<String, f64> {
    let cost = |name: &str| rows.iter().find(|row| row.name == name).map(|row| row.cost_median_ns);
    let ratios = RATIOS.iter().filter_map(|(case, other, base)| {
        let platform = case.split('/').next().unwrap_or_default();
        let base = cost(&format!("{platform}/{base}"))?;
        let ratio = (cost(case)? - base) / (cost(other)? - base);
        Some((format!("{case} / {other}"), (ratio * 100.0).round() / 100.0))
    });
    ratios.collect()
}

fn minimum(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}
