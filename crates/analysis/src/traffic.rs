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

    pub(crate) fn answered(&self) -> Answered {
        let cells = self.cells.iter().map(|tally| tally.outcomes.answered()).collect();
        Answered { arms: self.arms, cells }
    }

    /// The same on a grid that has all buckets, which makes comparing several of them together fast.
    pub(crate) fn moved_to(&self, grid: &Grid) -> Result<Self, Error> {
        let moved = Distribution::moved_to(grid, self.cells.iter().map(|tally| &tally.latency))?;
        let cells = self.cells.iter().zip(moved);
        let cells = cells.map(|(tally, latency)| Tally { latency, outcomes: tally.outcomes });
        Ok(Self { arms: self.arms, cells: cells.collect() })
    }
}

/// Answered requests of one segment, by epoch and arm.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    arms: usize,
    cells: Vec<u64>,
}

impl Answered {
    pub(crate) fn get(&self, epoch: usize, arm: usize) -> u64 {
        self.cells[epoch * self.arms + arm]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, requests) in self.cells.iter_mut().zip(&other.cells) {
            *sum = sum.saturating_add(*requests);
        }
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

/// The histograms of one route, before they are added up.
pub(crate) struct Recorded<'a> {
    name: &'a str,
    population: Population,
    layout: Layout,
    arms: usize,
    sizes: BTreeMap<&'a str, Vec<Parts<'a>>>,
}

impl<'a> Recorded<'a> {
    /// The route and its size classes.
    pub(crate) fn segments(&self) -> usize {
        1 + self.sizes.len()
    }

    /// The answered requests of each size class, in alphabetical order.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&'a str, Answered)> {
        self.sizes.iter().map(|(size, cells)| {
            let cells = cells.iter().map(|parts| parts.outcomes.answered()).collect();
            (*size, Answered { arms: self.arms, cells })
        })
    }

    /// Adds the histograms up. Fails when an arm holds more requests than statistics can count.
    pub(crate) fn tally(self) -> Result<Route<'a>, Error> {
        let frame = self.layout.frame()?;
        let tallies = |cells: Vec<Tally>| Tallies { arms: self.arms, cells };
        let mut sizes = Vec::with_capacity(self.sizes.len());
        for (size, cells) in self.sizes {
            let cells = cells.iter().map(|parts| parts.tally(&frame));
            sizes.push((size, tallies(cells.collect::<Result<_, _>>()?)));
        }
        let cells = sizes.first().map_or(0, |(_, size)| size.cells.len());
        let total = |cell| Tally::merge(sizes.iter().map(move |(_, size)| &size.cells[cell]));
        let total = tallies((0..cells).map(total).collect::<Result<_, _>>()?);
        Ok(Route { name: self.name, population: self.population, total, sizes })
    }
}

/// All latencies that a report is about.
pub(crate) struct Traffic<'a> {
    pub(crate) population: Population,
    /// In alphabetical order. Added up one after the other: together they would take many times the
    /// memory of the report.
    pub(crate) routes: Vec<Recorded<'a>>,
    /// The buckets of all routes.
    pub(crate) grid: Grid,
    /// Whether buckets of different width had to be brought to the coarser ones.
    pub(crate) widened: bool,
}

impl<'a> Traffic<'a> {
    /// Sorts the series of all epochs.
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
        let population = |consulted| {
            if consulted { Population::Exposed } else { Population::Assigned }
        };
        let routes = segments.into_iter().zip(layouts).map(|((name, sizes), layout)| {
            let population = population(consulted.contains(name));
            Recorded { name, population, layout, arms, sizes }
        });
        Ok(Self {
            population: population(!consulted.is_empty()),
            routes: routes.collect(),
            widened: all.widened,
            grid: all.grid()?,
        })
    }

    /// The routes whose requests make up the overall comparison.
    pub(crate) fn analysed(&self) -> impl Iterator<Item = &Recorded<'a>> {
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
