//! H: whether experiments end when the plan says.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Design, Distribution, Error, Power, Quantile, Requirement, Share,
    best_requirement, quantile_effect, requirement,
};

use crate::histogram::{Histogram, Recorder};
use crate::latency::Latency;
use crate::load::Load;
use crate::looks;
use crate::random::Random;
use crate::row::{Figure, Limit, Row, median};
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Effect, Stream, Traffic};

const LATENCY: Latency = Latency::LogNormal(1.0);
const CHANGES: [f64; 4] = [0.05, 0.1, 0.5, 1.0];
const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];

/// Requests from which plans are made.
const BASELINE: usize = 2_000_000;

/// A run that takes so many times the plan ends there.
const PATIENCE: f64 = 6.0;

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let baseline = baseline(scale)?;
    let mut rows = Vec::new();
    for quantile in QUANTILES {
        for change in CHANGES {
            let design = Design {
                quantile,
                change,
                share: Share::HALF,
                alpha: Alpha::DEFAULT,
                power: Power::MEDIAN,
            };
            let default = Boundary::default();
            let plans = [
                (
                    "tuned for 5,000",
                    requirement(&baseline, &design, default).map(|plan| (plan, default)),
                ),
                ("tuned for the plan", best_requirement(&baseline, &design).map(tuned)),
            ];
            for (method, plan) in plans {
                let setting = format!("p{}, {:+} %", 100.0 * quantile.get(), 100.0 * change);
                let Some((plan, boundary)) = plan else { continue };
                // The longest of the short runs would take longer than all others together.
                let few = if plan.requests > 100_000.0 { 20 } else { 60 };
                let runs = scale.runs(600, few);
                let name = format!("plan, {setting}, {method}");
                let found = runs.map(&name, |random| run(&design, &plan, boundary, random))?;
                let ratio = median(found) / plan.requests;
                // The median of a few runs is uncertain by a few percent of itself.
                let slack = if scale.short { 0.15 } else { 0.0 };
                let limit = Limit::Within(0.65 - slack, 1.2 + slack);
                let method = format!("{method}: {} requests", crate::row::grouped(plan.requests));
                rows.push(Row::new(&setting, &method, runs.count, Figure::Ratio(ratio), limit));
            }
        }
    }
    Ok(Table {
        title: "H. Plans",
        notes: "Lognormal latencies with sigma 1, 50 % in B, 5 %, two-sided. Median number of requests until the confidence \
            sequence of the quantile ratio excludes 1, over the median that the plan predicts from a baseline histogram.",
        rows,
    })
}

fn tuned(plan: Requirement) -> (Requirement, Boundary) {
    (plan, Boundary::ConfidenceSequence { tuned_for: plan.tuned_for })
}

fn baseline(scale: Scale) -> Result<Distribution, Error> {
    let mut random = scale.runs(1, 1).generator("baseline", 0);
    let mut histogram = Histogram::default();
    for _ in 0..BASELINE {
        histogram.record(LATENCY.draw(&mut random));
    }
    histogram.distribution()
}

fn run(
    design: &Design,
    plan: &Requirement,
    boundary: Boundary,
    random: Random,
) -> Result<f64, Error> {
    let traffic = Traffic {
        effect: Effect::Times(1.0 + design.change),
        ..Traffic::same(LATENCY, Load::Constant, design.share.get())
    };
    let mut stream = Stream::new(traffic, random);
    let mut recorder = Recorder::default();
    let mut requests = 0;
    for look in looks::relative(50, (PATIENCE * plan.requests) as u64, 0.01) {
        while requests < look {
            recorder.record(&stream.request());
            requests += 1;
        }
        let arms = recorder.arms()?;
        let comparison = Comparison::pair(arms.control, arms.variation)?;
        let effect = quantile_effect(&comparison, design.quantile, boundary, design.alpha);
        if !effect.ratio.contains(1.0) {
            return Ok(look as f64);
        }
    }
    Ok(f64::INFINITY)
}
