//! The requests of the report's population, by route, size class, epoch and arm.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;

use latency_experiment_record::{Histogram, Milestone, Outcome, SeriesKey};
use latency_experiment_stats::{Bucket, Distribution, Error};

use crate::epochs::Epochs;
use crate::report::Population;

/// Requests of one arm in one segment and epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Latencies of the requests that were answered.
    pub(crate) latency: Distribution,
    /// How all requests ended.
    pub(crate) outcomes: Outcomes,
}

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcomes([u64; Outcome::ALL.len()]);

/// The outcomes whose latency is that of an answer.
const ANSWERED: [Outcome; 3] = [Outcome::Completed, Outcome::ClientError, Outcome::Aborted];

/// The outcomes that count as slower than every answer.
const UNANSWERED: [Outcome; 4] =
    [Outcome::ServerError, Outcome::Failed, Outcome::Panicked, Outcome::Cancelled];

impl Outcomes {
    /// Requests that ended in one of these.
    pub(crate) fn count(&self, outcomes: &[Outcome]) -> u64 {
        outcomes.iter().fold(0, |sum, outcome| sum.saturating_add(self.0[outcome.index()]))
    }

    pub(crate) fn ended(&self) -> u64 {
        self.count(&Outcome::ALL)
    }

    pub(crate) fn answered(&self) -> u64 {
        self.count(&ANSWERED)
    }

    pub(crate) fn unanswered(&self) -> u64 {
        self.count(&UNANSWERED)
    }

    fn add(&mut self, outcome: Outcome, requests: u64) {
        let sum = &mut self.0[outcome.index()];
        *sum = sum.saturating_add(requests);
    }
}

impl<'a> Sum<&'a Self> for Outcomes {
    fn sum<I: Iterator<Item = &'a Self>>(parts: I) -> Self {
        let mut sum = Self::default();
        for part in parts {
            for outcome in Outcome::ALL {
                sum.add(outcome, part.0[outcome.index()]);
            }
        }
        sum
    }
}

impl Tally {
    /// Latencies with the requests that were not answered as slower than every answer.
    pub(crate) fn latency_with_failures(&self) -> Result<Distribution, Error> {
        self.latency.with_at_infinity(self.outcomes.unanswered())
    }

    fn merge<'a>(parts: impl Iterator<Item = &'a Self> + Clone) -> Result<Self, Error> {
        Ok(Self {
            outcomes: parts.clone().map(|part| &part.outcomes).sum(),
            latency: Distribution::merge(parts.map(|part| &part.latency))?,
        })
    }
}

/// Tallies of one segment, by epoch and arm.
#[derive(Clone, Debug)]
pub(crate) struct Tallies {
    arms: usize,
    /// Arms of the first epoch, then of the second, and so on.
    cells: Vec<Tally>,
}

impl Tallies {
    pub(crate) fn get(&self, epoch: usize, arm: usize) -> &Tally {
        &self.cells[epoch * self.arms + arm]
    }

    pub(crate) fn epochs(&self) -> usize {
        self.cells.len() / self.arms
    }

    /// The sum of the size classes of a route, of which there is at least one.
    fn total(sizes: &[(&str, Self)]) -> Result<Option<Self>, Error> {
        let Some((_, first)) = sizes.first() else { return Ok(None) };
        let cells = (0..first.cells.len())
            .map(|cell| Tally::merge(sizes.iter().map(move |(_, size)| &size.cells[cell])))
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { arms: first.arms, cells }))
    }
}

/// One route.
pub(crate) struct Route<'a> {
    pub(crate) name: &'a str,
    /// Which of its requests are counted; `Assigned` in a report of exposed requests means that the
    /// route never consulted the flag.
    pub(crate) population: Population,
    pub(crate) total: Tallies,
    /// Its size classes, in alphabetical order.
    pub(crate) sizes: Vec<(&'a str, Tallies)>,
}

/// All latencies that a report is about.
pub(crate) struct Traffic<'a> {
    pub(crate) population: Population,
    /// In alphabetical order.
    pub(crate) routes: Vec<Route<'a>>,
}

impl<'a> Traffic<'a> {
    /// Sorts the series of all epochs. Fails when buckets of one segment overlap without being equal,
    /// and when an arm holds more requests than statistics can count.
    pub(crate) fn try_new(epochs: &'a Epochs<'_>, layout: &Layout) -> Result<Self, Error> {
        let consulted: BTreeSet<&str> = latencies(epochs)
            .filter(|(_, _, key, _)| key.exposed)
            .map(|(_, _, key, _)| key.route.as_str())
            .collect();
        let arms = epochs.arms.len();
        let empty = || vec![Parts::default(); epochs.snapshots.len() * arms];
        let mut segments: BTreeMap<&str, BTreeMap<&str, Vec<Parts>>> = BTreeMap::new();
        for (epoch, arm, key, histogram) in latencies(epochs) {
            if consulted.contains(key.route.as_str()) && !key.exposed {
                continue;
            }
            let sizes = segments.entry(&key.route).or_default();
            let cells = sizes.entry(&key.size).or_insert_with(empty);
            cells[epoch * arms + arm].add(key.outcome, histogram, layout)?;
        }
        let population =
            if consulted.is_empty() { Population::Assigned } else { Population::Exposed };
        let mut routes = Vec::with_capacity(segments.len());
        for (name, sizes) in segments {
            let sizes = sizes
                .into_iter()
                .map(|(size, cells)| {
                    let cells = cells.into_iter().map(Parts::tally).collect::<Result<_, _>>()?;
                    Ok((size, Tallies { arms, cells }))
                })
                .collect::<Result<Vec<_>, Error>>()?;
            let Some(total) = Tallies::total(&sizes)? else {
                continue;
            };
            let population =
                if consulted.contains(name) { Population::Exposed } else { Population::Assigned };
            routes.push(Route { name, population, total, sizes });
        }
        Ok(Self { population, routes })
    }

    /// The routes whose requests make up the overall comparison.
    pub(crate) fn analysed(&self) -> impl Iterator<Item = &Route<'a>> + Clone {
        self.routes.iter().filter(|route| route.population == self.population)
    }
}

/// The latency series of the compared arms, with the positions of their epoch and arm.
fn latencies<'a>(
    epochs: &'a Epochs<'_>,
) -> impl Iterator<Item = (usize, usize, &'a SeriesKey, &'a Histogram)> {
    epochs.snapshots.iter().enumerate().flat_map(move |(epoch, snapshot)| {
        snapshot.series.iter().filter_map(move |(key, histogram)| {
            // Reserved arms are no arms of the experiment, so they are not found.
            let arm = epochs.arms.iter().position(|name| *name == key.arm)?;
            (key.milestone == Milestone::Latency).then_some((epoch, arm, key, histogram))
        })
    })
}

/// A tally before its latencies are merged.
#[derive(Clone, Default)]
struct Parts {
    latencies: Vec<Distribution>,
    outcomes: Outcomes,
}

impl Parts {
    fn add(
        &mut self,
        outcome: Outcome,
        histogram: &Histogram,
        layout: &Layout,
    ) -> Result<(), Error> {
        self.outcomes.add(outcome, histogram.count());
        if ANSWERED.contains(&outcome) {
            let mut distribution = layout.distribution(histogram)?;
            let sums = histogram.sums();
            if let (Some(sum), Some(sum_sq)) = (sums.sum, sums.sum_sq) {
                distribution = distribution.with_moments(sum, sum_sq);
            }
            self.latencies.push(distribution);
        }
        Ok(())
    }

    fn tally(self) -> Result<Tally, Error> {
        Ok(Tally { latency: Distribution::merge(&self.latencies)?, outcomes: self.outcomes })
    }
}

/// Which buckets the distributions have.
pub(crate) enum Layout {
    /// Those of the histograms.
    AsRecorded,
    /// Ranges of which each holds all buckets that overlap it, ascending. Recorders widen buckets
    /// when their memory is spent, and arms must share one layout to be compared.
    Coarse(Vec<(u64, u64)>),
}

impl Layout {
    /// The finest layout to which all histograms can be reduced.
    pub(crate) fn coarse(epochs: &Epochs<'_>) -> Self {
        let mut buckets: Vec<(u64, u64)> = latencies(epochs)
            .flat_map(|(_, _, _, histogram)| histogram.buckets())
            .map(|bucket| (bucket.lower, bucket.upper))
            .collect();
        buckets.sort_unstable();
        buckets.dedup();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (lower, upper) in buckets {
            match ranges.last_mut() {
                Some(last) if lower <= last.1 => last.1 = last.1.max(upper),
                _ => ranges.push((lower, upper)),
            }
        }
        Self::Coarse(ranges)
    }

    fn distribution(&self, histogram: &Histogram) -> Result<Distribution, Error> {
        let buckets = histogram.buckets().iter();
        match self {
            Self::AsRecorded => Distribution::new(buckets.map(|bucket| Bucket {
                lower: bucket.lower,
                upper: bucket.upper,
                count: bucket.count,
            })),
            Self::Coarse(ranges) => {
                let mut widened: Vec<Bucket> = Vec::new();
                for bucket in buckets {
                    let range = ranges.partition_point(|range| range.1 < bucket.lower);
                    let (lower, upper) = ranges[range];
                    match widened.last_mut() {
                        // A histogram's counts together fit 64 bits.
                        Some(last) if last.lower == lower => last.count += bucket.count,
                        _ => widened.push(Bucket { lower, upper, count: bucket.count }),
                    }
                }
                Distribution::new(widened)
            }
        }
    }
}
