use latency_experiment_stats::{Bucket, Distribution, Error, Quantile};
use plotters::prelude::{RGBColor, SeriesLabelPosition};
use rand::RngExt;

use super::chart::{Axis, BLUE, Chart, Line, ORANGE};
use crate::histogram::{Histogram, UNITS};
use crate::latency::normal;
use crate::random::Random;
use crate::scale::Scale;

/// The mean of both arms, in milliseconds.
const MEAN: f64 = 20.0;
const REQUESTS: usize = 2_000_000;

/// A quarter of the requests of the variation, the misses of a cache, against the rest.
const MISSES: f64 = 0.1;
const HIT: (f64, f64) = (8.0, 0.4);
const MISS_SIGMA: f64 = 0.5;

/// Neighbouring buckets that are drawn as one, so that the curve is smooth.
const DRAWN: usize = 8;

/// Two arms with the same mean.
pub(super) fn chart(scale: Scale) -> Result<Chart, Error> {
    let mut random = scale.runs(1, 1).generator("tails", 0);
    let mean_over_median = |sigma: f64| (0.5 * sigma * sigma).exp();
    let control = (MEAN / mean_over_median(0.5)).ln();
    let hits = HIT.0 * mean_over_median(HIT.1);
    let misses = (MEAN - (1.0 - MISSES) * hits) / MISSES / mean_over_median(MISS_SIGMA);
    let control = measure(&mut random, |random| control + 0.5 * normal(random))?;
    let variation = measure(&mut random, |random| {
        if random.random::<f64>() < MISSES {
            misses.ln() + MISS_SIGMA * normal(random)
        } else {
            HIT.0.ln() + HIT.1 * normal(random)
        }
    })?;
    let lines = [("control", &control, BLUE), ("variation (a cache)", &variation, ORANGE)];
    Ok(Chart {
        title: "Two arms with the same mean. Dashed: their p99",
        x: Axis {
            name: "latency (ms)",
            range: (2.0, 500.0),
            ticks: [2, 5, 10, 20, 50, 100, 200, 500].map(f64::from).to_vec(),
            logarithmic: true,
            format: |value| format!("{value:.0}"),
        },
        y: Axis {
            name: "share of requests per doubling",
            range: (0.0, 0.7),
            ticks: vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            logarithmic: false,
            format: super::chart::percent,
        },
        lines: lines.into_iter().flat_map(|(name, arm, colour)| drawn(name, arm, colour)).collect(),
        legend: SeriesLabelPosition::UpperRight,
    })
}

fn measure(
    random: &mut Random,
    log_latency: impl Fn(&mut Random) -> f64,
) -> Result<Distribution, Error> {
    let mut histogram = Histogram::default();
    for _ in 0..REQUESTS {
        histogram.record(log_latency(random));
    }
    histogram.distribution()
}

/// The density of one arm and its p99, with its figures in the legend.
fn drawn(name: &str, arm: &Distribution, colour: RGBColor) -> [Line; 2] {
    let ms = |value: Option<f64>| value.unwrap_or(f64::NAN) / UNITS;
    let [p50, p99] = [Quantile::P50, Quantile::P99].map(|quantile| ms(arm.quantile(quantile)));
    let name = format!("{name}: mean {:.1}, p50 {p50:.1}, p99 {p99:.0} ms", ms(arm.mean()));
    let buckets: Vec<Bucket> = arm.buckets().collect();
    let points = buckets.chunks(DRAWN).filter_map(|chunk| {
        let (first, last) = (chunk.first()?, chunk.last()?);
        let doublings = ((last.upper + 1) as f64 / first.lower as f64).log2();
        let count: u64 = chunk.iter().map(|bucket| bucket.count).sum();
        let middle = (first.lower as f64 * last.upper as f64).sqrt() / UNITS;
        Some((middle, count as f64 / arm.count() as f64 / doublings))
    });
    let shown = |(x, _): &(f64, f64)| (2.0..500.0).contains(x);
    let density = Line::new(&name, colour, points.filter(shown).collect());
    let tail = Line::new("", colour, vec![(p99, 0.0), (p99, 0.25)]).unnamed().dashed();
    [density, tail]
}
