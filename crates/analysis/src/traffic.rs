//! The requests of the report's population, by route, size class, epoch and arm.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::Sum;

use latency_experiment_record::{Histogram, Milestone, Outcome, SeriesKey};
use latency_experiment_stats::{Distribution, Error, Grid};

use crate::epochs::Epochs;
use crate::layout::{Frame, Layout};
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
pub(crate) const ANSWERED: [Outcome; 3] =
    [Outcome::Completed, Outcome::ClientError, Outcome::Aborted];

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

    pub(crate) fn add(&mut self, outcome: Outcome, requests: u64) {
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

    /// The same on a grid that has all buckets.
    fn moved_to(&self, grid: &Grid) -> Result<Self, Error> {
        let moved = Distribution::moved_to(grid, self.cells.iter().map(|tally| &tally.latency))?;
        let cells = self.cells.iter().zip(moved);
        let cells = cells.map(|(tally, latency)| Tally { latency, outcomes: tally.outcomes });
        Ok(Self { arms: self.arms, cells: cells.collect() })
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
    /// The same on the buckets of all routes, which makes comparing all of them fast.
    pub(crate) shared: Tallies,
    /// Its size classes, in alphabetical order.
    pub(crate) sizes: Vec<(&'a str, Tallies)>,
}

/// All latencies that a report is about.
pub(crate) struct Traffic<'a> {
    pub(crate) population: Population,
    /// In alphabetical order.
    pub(crate) routes: Vec<Route<'a>>,
    /// Whether buckets of different width had to be brought to the coarser ones.
    pub(crate) widened: bool,
}

impl<'a> Traffic<'a> {
    /// Sorts the series of all epochs. Fails when an arm holds more requests than statistics can count.
    pub(crate) fn try_new(epochs: &'a Epochs<'_>) -> Result<Self, Error> {
        let consulted = consulted(epochs);
        let arms = epochs.arms.len();
        let empty = || vec![Parts::default(); epochs.snapshots.len() * arms];
        // Hashed, because thousands of long names are looked up; sorted below.
        let mut cells: HashMap<(&str, &str), Vec<Parts<'_>>> = HashMap::new();
        for Counted { epoch, arm, key, histogram } in counted(epochs, &consulted) {
            let cells = cells.entry((&key.route, &key.size)).or_insert_with(empty);
            cells[epoch * arms + arm].add(key.outcome, histogram);
        }
        let mut segments: BTreeMap<&str, BTreeMap<&str, Vec<Parts<'_>>>> = BTreeMap::new();
        for ((route, size), cells) in cells {
            segments.entry(route).or_default().insert(size, cells);
        }
        let (layouts, all) = layouts(&segments);
        let widened = all.widened;
        let grid = all.grid()?;
        let population =
            if consulted.is_empty() { Population::Assigned } else { Population::Exposed };
        let mut routes = Vec::with_capacity(segments.len());
        for ((name, sizes), layout) in segments.into_iter().zip(layouts) {
            let layout = layout.frame()?;
            let sizes = sizes
                .into_iter()
                .map(|(size, cells)| {
                    let cells = cells.iter().map(|parts| parts.tally(&layout));
                    Ok((size, Tallies { arms, cells: cells.collect::<Result<_, _>>()? }))
                })
                .collect::<Result<Vec<_>, Error>>()?;
            let Some(total) = Tallies::total(&sizes)? else {
                continue;
            };
            let population =
                if consulted.contains(name) { Population::Exposed } else { Population::Assigned };
            let shared = total.moved_to(&grid)?;
            routes.push(Route { name, population, total, shared, sizes });
        }
        Ok(Self { population, routes, widened })
    }

    /// The routes whose requests make up the overall comparison.
    pub(crate) fn analysed(&self) -> impl Iterator<Item = &Route<'a>> + Clone {
        self.routes.iter().filter(|route| route.population == self.population)
    }
}

/// The buckets of each route, its own, which are few, unless those of all routes together overlap; and
/// those of all routes.
fn layouts(segments: &BTreeMap<&str, BTreeMap<&str, Vec<Parts<'_>>>>) -> (Vec<Layout>, Layout) {
    let histograms = |sizes: &BTreeMap<&str, Vec<Parts<'_>>>| {
        Layout::of(sizes.values().flatten().flat_map(|parts| parts.answered.iter().copied()))
    };
    let layouts: Vec<Layout> = segments.values().map(histograms).collect();
    let all = Layout::union(layouts.iter());
    if all.widened {
        (layouts.iter().map(|layout| layout.within(&all)).collect(), all)
    } else {
        (layouts, all)
    }
}

/// The routes of which some request consulted the flag.
pub(crate) fn consulted<'a>(epochs: &'a Epochs<'_>) -> HashSet<&'a str> {
    let exposed = latencies(epochs).filter(|one| one.key.exposed);
    exposed.map(|one| one.key.route.as_str()).collect()
}

/// A latency series of a compared arm, with the positions of its epoch and arm.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub(crate) epoch: usize,
    pub(crate) arm: usize,
    pub(crate) key: &'a SeriesKey,
    pub(crate) histogram: &'a Histogram,
}

/// The latency series that are compared: on routes that consult the flag, those of requests that did.
pub(crate) fn counted<'a>(
    epochs: &'a Epochs<'_>,
    consulted: &HashSet<&str>,
) -> impl Iterator<Item = Counted<'a>> {
    latencies(epochs).filter(|one| one.key.exposed || !consulted.contains(one.key.route.as_str()))
}

/// The latency series of the compared arms.
pub(crate) fn latencies<'a>(epochs: &'a Epochs<'_>) -> impl Iterator<Item = Counted<'a>> {
    epochs.snapshots.iter().enumerate().flat_map(move |(epoch, snapshot)| {
        snapshot.series.iter().filter_map(move |(key, histogram)| {
            // Reserved arms are no arms of the experiment, so they are not found.
            let arm = epochs.arms.iter().position(|name| *name == key.arm)?;
            let is_latency = key.milestone == Milestone::Latency;
            is_latency.then_some(Counted { epoch, arm, key, histogram })
        })
    })
}

/// A tally before its latencies are added up.
#[derive(Clone, Default)]
struct Parts<'a> {
    answered: Vec<&'a Histogram>,
    outcomes: Outcomes,
}

impl<'a> Parts<'a> {
    fn add(&mut self, outcome: Outcome, histogram: &'a Histogram) {
        self.outcomes.add(outcome, histogram.count());
        if ANSWERED.contains(&outcome) {
            self.answered.push(histogram);
        }
    }

    fn tally(&self, layout: &Frame) -> Result<Tally, Error> {
        Ok(Tally { latency: layout.distribution(&self.answered)?, outcomes: self.outcomes })
    }
}
