//! Each arm on its own.

use latency_experiment_stats::{
    self as stats, Alpha, Distribution, Quantile, quantile_confidence_sequence,
};

use crate::compare::{CONTROL, Setting};
use crate::comparison::{IntervalNs, Roles, finite};
use crate::pairing::Pairing;

/// One arm on its own.
pub(crate) struct OneArm {
    pub(crate) pooled: Distribution,
    bounded: bool,
}

impl OneArm {
    /// The estimate of the comparison with the arm's own interval, which holds it.
    pub(crate) fn interval(
        &self,
        estimate: Option<f64>,
        quantile: Quantile,
        setting: &Setting<'_>,
    ) -> Result<IntervalNs, stats::Error> {
        let estimate = estimate.or_else(|| self.pooled.quantile(quantile)).and_then(finite);
        if !self.bounded || self.pooled.is_empty() {
            return Ok(IntervalNs { estimate_ns: estimate, ..IntervalNs::default() });
        }
        let tuned_for = 2.0 * setting.plan.tuned_for();
        let alpha: Alpha = setting.plan.level();
        let own = quantile_confidence_sequence(&self.pooled, quantile, tuned_for, alpha)?;
        // A standardised estimate may leave the arm's own interval by a bucket.
        Ok(IntervalNs {
            estimate_ns: estimate,
            lower_ns: finite(estimate.map_or(own.lower, |point| own.lower.min(point))),
            upper_ns: finite(estimate.map_or(own.upper, |point| own.upper.max(point))),
        })
    }
}

impl Setting<'_> {
    /// Both arms on their own, over the strata that are compared.
    pub(crate) fn one_arm(
        &self,
        pairing: &Pairing<'_>,
        comparison: &stats::Comparison,
    ) -> Result<Roles<OneArm>, stats::Error> {
        let strata = comparison.strata();
        let arm = |arm: usize| {
            let pooled = if strata.is_empty() {
                Distribution::merge(pairing.tallies(arm).map(|tally| &tally.latency))?
            } else {
                Distribution::merge(strata.iter().map(|stratum| match arm {
                    CONTROL => &stratum.control,
                    _ => &stratum.variation,
                }))?
            };
            Ok(OneArm { pooled, bounded: self.request_level() && self.one_split(pairing) })
        };
        Ok(Roles { control: arm(CONTROL)?, variation: arm(pairing.variation)? })
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
