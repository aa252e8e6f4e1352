//! G: what a changed mix of routes and a changed load do to the overall effect.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, Quantile, mean_effect, quantile_effect,
};
use rand::RngExt;

use crate::histogram::{Arms, Recorder};
use crate::latency::normal;
use crate::random::Random;
use crate::row::{Figure, Limit, Row};
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::Request;

const ROUTES: usize = 20;
const REQUESTS: u64 = 60_000;

/// Share of the variation and logarithm of the slowdown by load in each epoch.
const EPOCHS: [(f64, f64); 2] = [(0.05, 0.0), (0.5, 0.405_465)];

/// Figures with the bias that they may have.
const FIGURES: [(&str, f64); 4] = [("mean", 0.005), ("p50", 0.005), ("p95", 0.01), ("p99", 0.01)];

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(400, 60);
    let lifts = runs.map("bias", run)?;
    let mean = |value: &dyn Fn(&[[f64; 4]; 2]) -> f64| {
        lifts.iter().map(value).sum::<f64>() / lifts.len() as f64
    };
    let mut rows = Vec::new();
    for (method, name) in ["stratified by route and epoch", "pooled"].into_iter().enumerate() {
        for (figure, (setting, most)) in FIGURES.into_iter().enumerate() {
            let bias = mean(&|run| run[method][figure]);
            let spread = mean(&|run| (run[method][figure] - bias).powi(2)).sqrt();
            // With few runs the mean itself is uncertain.
            let error = if scale.short { 3.0 * spread / (lifts.len() as f64).sqrt() } else { 0.0 };
            let limit = Limit::Within(-most - error, most + error);
            let limit = (method == 0).then_some(limit);
            rows.push(Row::new(setting, name, runs.count, Figure::Lift(bias), limit));
        }
    }
    Ok(Table {
        title: "G. Bias by a changed mix of routes",
        notes: "A/A: 20 routes of Zipf popularity, within-route sigma 0.4 to 1, log-medians with a standard deviation of 1. The first \
            60,000 requests with 5 % in B, the next 60,000 with 50 %, everything slower by half and the popularity of \
            the routes reversed. Mean lift over the runs; the truth is 0.",
        rows,
    })
}

fn run(mut random: Random) -> Result<[[f64; 4]; 2], Error> {
    let routes: Vec<(f64, f64)> =
        (0..ROUTES).map(|_| (normal(&mut random), 0.4 + 0.6 * random.random::<f64>())).collect();
    let zipf: Vec<f64> = (1..=ROUTES).map(|rank| 1.0 / rank as f64).collect();
    let total: f64 = zipf.iter().sum();
    let mut strata = vec![Vec::new(); ROUTES];
    for (epoch, (share, load)) in EPOCHS.into_iter().enumerate() {
        let mut recorders = vec![Recorder::default(); ROUTES];
        for _ in 0..REQUESTS {
            let mut draw = random.random::<f64>() * total;
            let rank = zipf.iter().position(|weight| {
                draw -= weight;
                draw < 0.0
            });
            let rank = rank.unwrap_or(0);
            let route = if epoch == 0 { rank } else { ROUTES - 1 - rank };
            let (median, sigma) = routes[route];
            let log_latency = median + sigma * normal(&mut random) + load;
            let arm = usize::from(random.random::<f64>() < share);
            recorders[route].record(&Request { log_latency, arm, failed: false });
        }
        for (stratum, recorder) in strata.iter_mut().zip(recorders) {
            stratum.push(recorder.arms()?);
        }
    }
    let all: Vec<Arms> = strata.iter().flatten().cloned().collect();
    let all = Arms::pooled(&all)?;
    let pairs = strata
        .into_iter()
        .map(|epochs| epochs.into_iter().map(|arms| (arms.control, arms.variation)));
    Ok([lifts(&Comparison::nested(pairs)?), lifts(&Comparison::pair(all.control, all.variation)?)])
}

fn lifts(comparison: &Comparison) -> [f64; 4] {
    let boundary = Boundary::FixedN;
    let quantile = |quantile| quantile_effect(comparison, quantile, boundary, Alpha::DEFAULT).ratio;
    let mean = mean_effect(comparison, boundary, Alpha::DEFAULT).ratio;
    [mean, quantile(Quantile::P50), quantile(Quantile::P95), quantile(Quantile::P99)]
        .map(|ratio| ratio.to_lift().point.unwrap_or(f64::NAN))
}
