//! Each arm on its own.

use std::cell::Cell;
use std::rc::Rc;

use latency_experiment_stats::{
    self as stats, Alpha, Boundary, Design, Distribution, Estimate, Power, Quantile, Requirement,
    Share, quantile_confidence_sequence, requirement,
};

use crate::compare::{CONTROL, Setting, Subjects};
use crate::comparison::{IntervalNs, Roles, finite};
use crate::pairing::Pairing;

/// One arm on its own, over the strata that are compared.
pub(crate) struct OneArm {
    strata: Vec<Distribution>,
    pub(crate) pooled: Distribution,
    /// Of each quantile of the plan; `None` where the arm's own quantiles are not those of the
    /// comparison.
    bounds: Option<Vec<Estimate>>,
    /// What the planned change takes from here, with the share of the variation for which it was asked
    /// last.
    planned: Cell<Option<(Share, Option<Requirement>)>>,
}

impl OneArm {
    /// The estimate of the comparison with the arm's own interval, which holds it.
    pub(crate) fn interval(
        &self,
        estimate: Option<f64>,
        quantile: Quantile,
        position: usize,
    ) -> IntervalNs {
        let estimate = estimate.or_else(|| self.pooled.quantile(quantile)).and_then(finite);
        let Some(bounds) = self.bounds.as_ref().filter(|_| !self.pooled.is_empty()) else {
            return IntervalNs { estimate_ns: estimate, ..IntervalNs::default() };
        };
        let own = &bounds[position];
        // A standardised estimate may leave the arm's own interval by a bucket.
        IntervalNs {
            estimate_ns: estimate,
            lower_ns: finite(estimate.map_or(own.lower, |point| own.lower.min(point))),
            upper_ns: finite(estimate.map_or(own.upper, |point| own.upper.max(point))),
        }
    }

    /// How many requests a design needs that starts from this arm; designs of one report differ in their
    /// share alone.
    pub(crate) fn requirement(&self, design: &Design, boundary: Boundary) -> Option<Requirement> {
        if let Some((share, planned)) = self.planned.get()
            && share == design.share
        {
            return planned;
        }
        let planned = requirement(&self.pooled, design, boundary);
        self.planned.set(Some((design.share, planned)));
        planned
    }
}

impl Setting<'_> {
    /// Both arms on their own. The control is that of the comparison `before`, if it is the same.
    pub(crate) fn arms(
        &self,
        pairing: &Pairing<'_>,
        comparison: &stats::Comparison,
        before: Option<Rc<OneArm>>,
    ) -> Result<Roles<Rc<OneArm>>, stats::Error> {
        let bounded = self.request_level() && self.one_split(pairing);
        let strata = |arm: usize| -> Vec<Distribution> {
            let compared = comparison.strata();
            if compared.is_empty() {
                return pairing.tallies(arm).map(|tally| tally.latency.clone()).collect();
            }
            let of = |stratum: &stats::Stratum| match arm {
                CONTROL => stratum.control.clone(),
                _ => stratum.variation.clone(),
            };
            compared.iter().map(of).collect()
        };
        let control = strata(CONTROL);
        let same = |one: &Rc<OneArm>| one.bounds.is_some() == bounded && one.strata == control;
        let control = match before.filter(same) {
            Some(before) => before,
            None => self.one_arm(control, bounded)?,
        };
        Ok(Roles { control, variation: self.one_arm(strata(pairing.variation), bounded)? })
    }

    fn one_arm(
        &self,
        strata: Vec<Distribution>,
        bounded: bool,
    ) -> Result<Rc<OneArm>, stats::Error> {
        let pooled = Distribution::merge(&strata)?;
        let tuned_for = 2.0 * self.plan.tuned_for();
        let alpha: Alpha = self.plan.level();
        let bounds = self
            .plan
            .checked_quantiles()
            .map(|quantile| quantile_confidence_sequence(&pooled, quantile, tuned_for, alpha));
        let bounds = if bounded { Some(bounds.collect::<Result<_, _>>()?) } else { None };
        Ok(Rc::new(OneArm { strata, pooled, bounds, planned: Cell::default() }))
    }

    /// Further requests of both arms that settle the planned change at the primary quantile.
    pub(crate) fn requests_needed(
        &self,
        pairing: &Pairing<'_>,
        control: &OneArm,
        information: f64,
        design_effect: f64,
    ) -> Option<u64> {
        let share = self.share(self.epochs.snapshots.len() - 1, pairing.variation)?;
        let design = Design {
            quantile: self.plan.primary_quantile(),
            change: self.plan.planned_change(),
            share,
            alpha: self.plan.level().split(self.variations().len()),
            power: Power::DEFAULT,
        };
        if matches!(self.subjects, Subjects::TimeSlices(_)) {
            return None;
        }
        // In the overflow bucket values have no scale to change by.
        control.pooled.quantile(design.quantile).filter(|value| value.is_finite())?;
        let requirement = control.requirement(&design, self.boundary())?;
        let open = 1.0 - information / requirement.information;
        Some((design_effect * requirement.requests * open).max(0.0).ceil() as u64)
    }

    /// Whether the arms had one ratio in all epochs that are compared. Otherwise an arm's requests
    /// lie at other times than the other's, and its own quantiles are not those of the comparison.
    fn one_split(&self, pairing: &Pairing<'_>) -> bool {
        let mut shares = (0..self.epochs.snapshots.len())
            .filter(|epoch| {
                pairing.segments.iter().any(|(_, tallies)| {
                    [CONTROL, pairing.variation]
                        .iter()
                        .all(|arm| !tallies.get(*epoch, *arm).latency.is_empty())
                })
            })
            .map(|epoch| self.share(epoch, pairing.variation));
        let first = shares.next();
        shares.all(|share| Some(share) == first)
    }
}
