use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, Estimate, Quantile, quantile_effect,
};
use plotters::prelude::SeriesLabelPosition;

use super::chart::{Axis, BLUE, Chart, GREY, Line, ORANGE, signed_percent};
use crate::histogram::Recorder;
use crate::latency::Latency;
use crate::load::Load;
use crate::looks;
use crate::row::grouped;
use crate::scale::Scale;
use crate::traffic::{Effect, Stream, Traffic};

/// The true effect.
const TIMES: f64 = 1.05;
const REQUESTS: (u64, u64) = (500, 200_000);

/// A confidence sequence and a fixed-n interval in the course of one experiment.
pub(super) fn chart(scale: Scale) -> Result<Chart, Error> {
    let base = Traffic::same(Latency::LogNormal(1.0), Load::AR1, 0.5);
    let traffic = Traffic { effect: Effect::Times(TIMES), ..base };
    let mut stream = Stream::new(traffic, scale.runs(1, 1).generator("narrowing", 0));
    let mut recorder = Recorder::default();
    let (mut fixed, mut sequence) = (Vec::new(), Vec::new());
    let mut requests = 0;
    for look in looks::spread(REQUESTS.0, REQUESTS.1, 250) {
        while requests < look {
            recorder.record(&stream.request());
            requests += 1;
        }
        let arms = recorder.arms()?;
        let comparison = Comparison::pair(arms.control, arms.variation)?;
        let lift = |boundary| -> Estimate {
            quantile_effect(&comparison, Quantile::P50, boundary, Alpha::DEFAULT).ratio.to_lift()
        };
        fixed.push((look as f64, lift(Boundary::FixedN)));
        sequence.push((look as f64, lift(Boundary::default())));
    }
    let point = |(x, lift): &(f64, Estimate)| Some((*x, lift.point?));
    let ends = |lifts: &[(f64, Estimate)]| -> Vec<(f64, f64, f64)> {
        lifts.iter().map(|(x, lift)| (*x, lift.lower, lift.upper)).collect()
    };
    let end = |lifts: &[(f64, f64, f64)], upper: bool| -> Vec<(f64, f64)> {
        lifts.iter().map(|(x, low, high)| (*x, if upper { *high } else { *low })).collect()
    };
    let (inner, outer) = (ends(&fixed), ends(&sequence));
    let (first, last) = (REQUESTS.0 as f64, REQUESTS.1 as f64);
    Ok(Chart {
        title: "One experiment: the median is 5 % slower in the variation",
        x: Axis {
            name: "requests so far, both arms",
            range: (first, last),
            ticks: [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000]
                .map(f64::from)
                .to_vec(),
            logarithmic: true,
            format: grouped,
        },
        y: Axis {
            name: "lift of the median",
            range: (-0.3, 0.5),
            ticks: vec![-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
            logarithmic: false,
            format: signed_percent,
        },
        lines: vec![
            Line::new("confidence sequence, valid at every look", BLUE, end(&outer, true))
                .around(outer.clone()),
            Line::new("", BLUE, end(&outer, false)).unnamed(),
            Line::new("interval for one planned look", ORANGE, end(&inner, true)).dashed(),
            Line::new("", ORANGE, end(&inner, false)).unnamed().dashed(),
            Line::new("estimate", GREY, sequence.iter().filter_map(point).collect()),
            Line::new("", GREY, vec![(first, TIMES - 1.0), (last, TIMES - 1.0)]).unnamed().dashed(),
        ],
        legend: SeriesLabelPosition::UpperRight,
    })
}
