//! The requests of one comparison.

use latency_experiment_record::Outcome;
use latency_experiment_stats::{self as stats, Distribution, RateCounts};

use crate::compare::CONTROL;
use crate::traffic::{Outcomes, Tallies, Tally};

/// One variation against the control over a group of segments, each with its route and epochs: a route,
/// or one size class, or all routes.
pub(crate) struct Pairing<'a> {
    pub(crate) segments: Vec<(&'a str, &'a Tallies)>,
    pub(crate) variation: usize,
}

impl<'a> Pairing<'a> {
    /// All routes and epochs.
    pub(crate) fn all_strata(&self) -> impl Iterator<Item = (&'a str, usize)> + '_ {
        let segments = self.segments.iter();
        segments.flat_map(|(route, tallies)| (0..tallies.epochs()).map(|epoch| (*route, epoch)))
    }

    /// The routes and epochs in which both arms have answered requests, in the order of the strata of
    /// [`compare`](Self::compare).
    pub(crate) fn strata(&self) -> impl Iterator<Item = (&'a str, usize)> + '_ {
        let segments = self.segments.iter();
        segments.flat_map(move |(route, tallies)| {
            let both = move |epoch: &usize| {
                let has = |arm| !tallies.get(*epoch, arm).latency.is_empty();
                has(CONTROL) && has(self.variation)
            };
            (0..tallies.epochs()).filter(both).map(|epoch| (*route, epoch))
        })
    }

    /// Requests that ended in these outcomes among all, in every stratum.
    pub(crate) fn rates(&self, outcomes: &[Outcome]) -> Vec<RateCounts> {
        let cells = self.segments.iter().flat_map(|(_, tallies)| {
            (0..tallies.epochs())
                .map(|epoch| [CONTROL, self.variation].map(|arm| tallies.get(epoch, arm)))
        });
        cells
            .map(|[control, variation]| RateCounts {
                control_events: control.outcomes.count(outcomes),
                control_requests: control.outcomes.ended(),
                variation_events: variation.outcomes.count(outcomes),
                variation_requests: variation.outcomes.ended(),
            })
            .collect()
    }

    /// How all requests of an arm ended.
    pub(crate) fn outcomes(&self, arm: usize) -> Outcomes {
        self.tallies(arm).map(|tally| &tally.outcomes).sum()
    }

    /// An arm in all segments and epochs.
    pub(crate) fn tallies(&self, arm: usize) -> impl Iterator<Item = &Tally> {
        let segments = self.segments.iter();
        segments.flat_map(move |(_, tallies)| {
            (0..tallies.epochs()).map(move |epoch| tallies.get(epoch, arm))
        })
    }

    /// The arms over segments and epochs, each segment weighing its requests and each epoch of it
    /// its information.
    pub(crate) fn compare(
        &self,
        latency: impl Fn(&Tally) -> Result<Distribution, stats::Error>,
    ) -> Result<stats::Comparison, stats::Error> {
        let groups: Vec<Vec<(Distribution, Distribution)>> = self
            .segments
            .iter()
            .map(|(_, tallies)| {
                (0..tallies.epochs())
                    .map(|epoch| {
                        Ok((
                            latency(tallies.get(epoch, CONTROL))?,
                            latency(tallies.get(epoch, self.variation))?,
                        ))
                    })
                    .collect()
            })
            .collect::<Result<_, stats::Error>>()?;
        stats::Comparison::nested(groups)
    }

    /// The sum of a count over the segments, in one epoch and arm.
    pub(crate) fn sum(&self, epoch: usize, arm: usize, count: impl Fn(&Tally) -> u64) -> u64 {
        self.segments
            .iter()
            .fold(0, |sum, (_, tallies)| sum.saturating_add(count(tallies.get(epoch, arm))))
    }
}
