//! Whether the difference between the arms varied over time more than it should.

use std::collections::BTreeMap;

use latency_experiment_record::{Histogram, Milestone};
use latency_experiment_stats::{
    self as stats, Distribution, IntervalContrast, Quantile, VarianceInflation, variance_inflation,
};

use crate::compare::CONTROL;
use crate::epochs::Epochs;
use crate::pairing::Pairing;
use crate::traffic::{ANSWERED, consulted};

/// The intervals of all snapshots.
#[derive(Default)]
pub(crate) struct Intervals<'a> {
    /// Each with its epoch.
    intervals: Vec<(usize, Cells<'a>)>,
}

/// Histograms of answered requests by route and arm.
type Cells<'a> = BTreeMap<(&'a str, usize), Vec<&'a Histogram>>;

impl<'a> Intervals<'a> {
    pub(crate) fn new(epochs: &'a Epochs<'_>) -> Self {
        if epochs.snapshots.iter().all(|snapshot| snapshot.attached.intervals.is_empty()) {
            return Self::default();
        }
        let consulted = consulted(epochs);
        let mut intervals = Vec::new();
        for (epoch, snapshot) in epochs.snapshots.iter().enumerate() {
            for series in snapshot.attached.intervals.values() {
                let mut cells = Cells::new();
                for (key, histogram) in series {
                    let route = key.route.as_str();
                    let counted = key.milestone == Milestone::Latency
                        && ANSWERED.contains(&key.outcome)
                        && (key.exposed || !consulted.contains(route));
                    let arm = epochs.arms.iter().position(|name| *name == key.arm);
                    if let Some(arm) = arm.filter(|_| counted) {
                        cells.entry((route, arm)).or_default().push(histogram);
                    }
                }
                intervals.push((epoch, cells));
            }
        }
        Self { intervals }
    }

    /// The variance inflation of the share of requests beyond the pooled quantile of each stratum.
    ///
    /// `None` without two intervals in which both arms have requests.
    pub(crate) fn inflation(
        &self,
        pairing: &Pairing<'_>,
        comparison: &stats::Comparison,
        quantile: Quantile,
    ) -> Result<Option<VarianceInflation>, stats::Error> {
        if self.intervals.is_empty() {
            return Ok(None);
        }
        let mut edges: BTreeMap<(&str, usize), f64> = BTreeMap::new();
        for (stratum, data) in pairing.strata().zip(comparison.strata()) {
            let pooled = Distribution::merge([&data.control, &data.variation])?;
            if let Some(found) = pooled.quantile_edges(quantile) {
                edges.insert(stratum, found.upper);
            }
        }
        let contrasts: Vec<IntervalContrast> = self
            .intervals
            .iter()
            .filter_map(|(epoch, cells)| contrast(cells, *epoch, &edges, pairing.variation))
            .collect();
        Ok(variance_inflation(&contrasts))
    }
}

/// The difference in the share of slow requests in one interval, routes weighing their requests, with
/// the variance that it would have if requests were independent.
fn contrast(
    cells: &Cells<'_>,
    epoch: usize,
    edges: &BTreeMap<(&str, usize), f64>,
    variation: usize,
) -> Option<IntervalContrast> {
    let (mut total, mut difference, mut variance) = (0.0, 0.0, 0.0);
    for ((route, _), edge) in edges.iter().filter(|((_, of), _)| *of == epoch) {
        let counts = [CONTROL, variation].map(|arm| {
            let histograms = cells.get(&(*route, arm)).into_iter().flatten();
            let buckets = histograms.flat_map(|histogram| histogram.buckets());
            buckets.fold((0.0, 0.0), |(slow, all), bucket| {
                let count = bucket.count as f64;
                (if bucket.upper as f64 > *edge { slow + count } else { slow }, all + count)
            })
        });
        let [(slow_a, a), (slow_b, b)] = counts;
        if a > 0.0 && b > 0.0 {
            let (weight, pooled) = (a + b, (slow_a + slow_b) / (a + b));
            total += weight;
            difference += weight * (slow_b / b - slow_a / a);
            variance += weight * weight * pooled * (1.0 - pooled) * (1.0 / a + 1.0 / b);
        }
    }
    IntervalContrast::new(difference / total, variance / (total * total)).ok()
}
