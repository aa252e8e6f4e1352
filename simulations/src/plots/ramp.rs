use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, Estimate, Quantile, quantile_effect,
};
use plotters::prelude::SeriesLabelPosition;

use super::chart::{Axis, BLUE, Chart, GREY, Line, RED, signed_percent};
use crate::criteria::ramp::{Ramp, SHARES, STEP, stratified};
use crate::histogram::Arms;
use crate::latency::Latency;
use crate::load::Load;
use crate::row::grouped;
use crate::scale::Scale;
use crate::traffic::Traffic;

const LOOKS: u64 = 400;

/// The same ramp, analysed by epochs and pooled.
pub(super) fn chart(scale: Scale) -> Result<Chart, Error> {
    let traffic = Traffic::same(Latency::LogNormal(1.0), Load::Constant, SHARES[0]);
    let mut ramp = Ramp::new(traffic, scale.runs(1, 1).generator("ramp figure", 0));
    let last = STEP * SHARES.len() as u64;
    let (mut by_epoch, mut pooled) = (Vec::new(), Vec::new());
    for look in (1..=LOOKS).map(|look| look * last / LOOKS) {
        let epochs = ramp.advance(look)?;
        by_epoch.push((look as f64, lift(&stratified(&epochs)?)));
        let arms = Arms::pooled(&epochs)?;
        pooled.push((look as f64, lift(&Comparison::pair(arms.control, arms.variation)?)));
    }
    let line = |name, colour, lifts: &[(f64, Estimate)]| {
        let points = lifts.iter().filter_map(|(x, lift)| Some((*x, lift.point?))).collect();
        let area = lifts.iter().map(|(x, lift)| (*x, lift.lower, lift.upper)).collect();
        Line::new(name, colour, points).around(area)
    };
    let range = (-0.6, 0.6);
    let steps = (1..SHARES.len() as u64).map(|step| (step * STEP) as f64);
    let borders =
        steps.map(|x| Line::new("", GREY, vec![(x, range.0), (x, range.1)]).unnamed().dashed());
    Ok(Chart {
        title: "A ramp of two equal arms: 1 %, 5 %, 25 %, 50 % in the variation",
        x: Axis {
            name: "requests so far, both arms (everything slows down by half on the way)",
            range: (0.0, last as f64),
            ticks: (0..=SHARES.len() as u64).map(|step| (step * STEP) as f64).collect(),
            logarithmic: false,
            format: grouped,
        },
        y: Axis {
            name: "lift of the median; the truth is 0",
            range,
            ticks: vec![-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6],
            logarithmic: false,
            format: signed_percent,
        },
        lines: [
            line("epochs pooled, with its confidence sequence", RED, &pooled),
            line("epochs as strata, with its confidence sequence", BLUE, &by_epoch),
        ]
        .into_iter()
        .chain(borders)
        .collect(),
        legend: SeriesLabelPosition::UpperRight,
    })
}

fn lift(comparison: &Comparison) -> Estimate {
    let effect = quantile_effect(comparison, Quantile::P50, Boundary::default(), Alpha::DEFAULT);
    effect.ratio.to_lift()
}
