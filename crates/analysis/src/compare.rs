//! The figures of one comparison. Every statistic comes from `latency-experiment-stats`.

use latency_experiment_record::{Outcome, Subject};
use latency_experiment_stats::{
    self as stats, Alpha, Boundary, Design, Distribution, Estimate, Power, Quantile, Share,
    common_ratio, mann_whitney, mean_effect, quantile_confidence_sequence, quantile_effect,
    quantile_effects, requirement,
};

use crate::Plan;
use crate::balance::Balance;
use crate::comparison::{
    Interval, IntervalNs, MannWhitney, MeanComparison, QuantileComparison, Roles, ValidAt, finite,
};
use crate::epochs::Epochs;
use crate::traffic::{Outcomes, Tallies, Tally};
use crate::verdict::{Lifts, Range};

/// Position of the control among the arms.
pub(crate) const CONTROL: usize = 0;

/// What all comparisons of a report share.
pub(crate) struct Setting<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) epochs: &'a Epochs<'a>,
    /// Whether requests are the subjects; if not, only point estimates are given.
    pub(crate) request_level: bool,
    pub(crate) balance: Balance,
}

/// Everything measured about one variation in one segment.
pub(crate) struct Figures {
    pub(crate) n: Roles<u64>,
    pub(crate) quantiles: Vec<QuantileComparison>,
    pub(crate) mean: MeanComparison,
    pub(crate) mann_whitney: Option<MannWhitney>,
    pub(crate) errors: Roles<Option<f64>>,
    pub(crate) censored: Roles<Option<f64>>,
    pub(crate) common_ratio: Option<Interval>,
    pub(crate) dropped_share: f64,
    pub(crate) information: f64,
    /// Lifts at the levels of the verdict, in the order of `quantiles`.
    pub(crate) lifts: Vec<Lifts>,
    /// ln E against equal primary quantiles, at the level of the report.
    pub(crate) log_e: f64,
    /// Whether the primary quantile differs at its level for the verdict.
    pub(crate) primary_rejected: bool,
    /// ln E against equal shares of cancelled and aborted requests.
    pub(crate) censoring_log_e: f64,
    /// The control's latencies, to plan from.
    baseline: Distribution,
}

/// One variation against the control over a group of segments, each with its epochs: a route, or
/// one size class, or all routes.
pub(crate) struct Pairing<'a> {
    pub(crate) segments: Vec<&'a Tallies>,
    pub(crate) variation: usize,
}

impl<'a> Setting<'a> {
    pub(crate) fn new(plan: &'a Plan, epochs: &'a Epochs<'a>) -> Self {
        let request_level = epochs.subject() == Subject::RequestId;
        let arms = CONTROL + 1..epochs.arms.len();
        let pairs = (0..epochs.snapshots.len())
            .flat_map(|epoch| arms.clone().map(move |variation| (epoch, variation)));
        let shares: Vec<Share> =
            pairs.filter_map(|(epoch, variation)| epochs.share(epoch, variation)).collect();
        Self { plan, epochs, request_level, balance: Balance::new(&shares) }
    }

    pub(crate) fn variations(&self) -> std::ops::Range<usize> {
        CONTROL + 1..self.epochs.arms.len()
    }

    /// Compares.
    pub(crate) fn figures(
        &self,
        pairing: &Pairing<'_>,
        with_common_ratio: bool,
    ) -> Result<Figures, stats::Error> {
        let (plan, boundary, alpha) = (self.plan, self.plan.boundary(), self.plan.level());
        let (control, variation) = (pairing.outcomes(CONTROL), pairing.outcomes(pairing.variation));
        let answered = pairing.compare(|tally| Ok(tally.latency.clone()))?;
        let with_failures = if control.unanswered().max(variation.unanswered()) > 0 {
            Some(pairing.compare(Tally::latency_with_failures)?)
        } else {
            None
        };

        let levels = plan.verdict_levels(self.variations().len());
        let arms = self.one_arm(pairing, &answered)?;
        let mut quantiles = Vec::with_capacity(plan.quantiles().len());
        let mut lifts = Vec::with_capacity(plan.quantiles().len());
        let (mut log_e, mut primary_rejected) = (0.0, false);
        for (quantile, level) in levels {
            let [effect, at_level] =
                quantile_effects(&answered, quantile, boundary, [alpha, level]);
            if quantile == plan.primary_quantile() {
                log_e = effect.evidence.log_e.unwrap_or_default();
                primary_rejected =
                    at_level.evidence.log_e.is_some_and(|log_e| log_e >= level.log_threshold());
            }
            let range = range(&at_level.ratio);
            lifts.push(Lifts {
                answered: range,
                with_failures: match &with_failures {
                    Some(all) => {
                        self::range(&quantile_effect(all, quantile, boundary, level).ratio)
                    }
                    None => range,
                },
            });
            let fixed = plan
                .fixed_n()
                .then(|| quantile_effect(&answered, quantile, Boundary::FixedN, alpha).ratio);
            quantiles.push(QuantileComparison {
                q: quantile.get(),
                control: arms.control.interval(effect.control, quantile, self)?,
                variation: arms.variation.interval(effect.variation, quantile, self)?,
                difference: IntervalNs::of(&effect.difference),
                lift: Interval::of(&effect.ratio.to_lift()),
                lift_fixed_n: fixed.map(|ratio| Interval::of(&ratio.to_lift())),
                p_value: Some(effect.evidence.p_value),
            });
        }

        let mean = mean_effect(&answered, boundary, alpha);
        let mut figures = Figures {
            n: Roles { control: control.answered(), variation: variation.answered() },
            quantiles,
            mean: MeanComparison {
                control_ns: mean.control.or_else(|| arms.control.pooled.mean()),
                variation_ns: mean.variation.or_else(|| arms.variation.pooled.mean()),
                lift: Interval::of(&mean.ratio.to_lift()),
            },
            mann_whitney: mann_whitney(&answered).map(|test| MannWhitney {
                u: test.u,
                z: test.z,
                p_value: test.p_value,
                probability_faster: test.probability_faster,
                valid_at: ValidAt::PlannedN,
            }),
            errors: shares(&control, &variation, &ERRORS),
            censored: shares(&control, &variation, &[Outcome::Cancelled]),
            common_ratio: with_common_ratio.then(|| {
                let common = common_ratio(&answered, plan.primary_quantile(), boundary, alpha);
                Interval::of(&common.ratio)
            }),
            dropped_share: answered.dropped_share(),
            information: answered.information(),
            lifts,
            log_e,
            primary_rejected,
            censoring_log_e: self.censoring_log_e(pairing),
            baseline: arms.control.pooled,
        };
        if !self.request_level {
            figures.keep_points_only();
        }
        Ok(figures)
    }

    /// Further requests of both arms that settle the planned change at the primary quantile.
    pub(crate) fn requests_needed(&self, figures: &Figures, variation: usize) -> Option<u64> {
        let share = self.share(self.epochs.snapshots.len() - 1, variation)?;
        let design = Design {
            quantile: self.plan.primary_quantile(),
            change: self.plan.planned_change(),
            share,
            alpha: self.plan.level().split(self.variations().len()),
            power: Power::DEFAULT,
        };
        let requirement = requirement(&figures.baseline, &design, self.plan.boundary())?;
        let open = 1.0 - figures.information / requirement.information;
        Some((requirement.requests * open).max(0.0).ceil() as u64)
    }

    /// Share of the two arms' requests that the variation was allotted in an epoch; `None` when
    /// either has no weight there.
    pub(crate) fn share(&self, epoch: usize, variation: usize) -> Option<Share> {
        self.epochs.share(epoch, variation)
    }

    /// Both arms on their own, over the strata that are compared.
    fn one_arm(
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
            Ok(OneArm { pooled, bounded: self.request_level && self.one_split(pairing) })
        };
        Ok(Roles { control: arm(CONTROL)?, variation: arm(pairing.variation)? })
    }

    /// Whether the arms had one ratio in all epochs that are compared. Otherwise an arm's requests
    /// lie at other times than the other's, and its own quantiles are not those of the comparison.
    fn one_split(&self, pairing: &Pairing<'_>) -> bool {
        let mut shares = (0..self.epochs.snapshots.len())
            .filter(|epoch| {
                pairing.segments.iter().any(|tallies| {
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

/// One arm on its own.
struct OneArm {
    pooled: Distribution,
    bounded: bool,
}

impl OneArm {
    /// The estimate of the comparison with the arm's own interval, which holds it.
    fn interval(
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

impl Pairing<'_> {
    /// How all requests of an arm ended.
    fn outcomes(&self, arm: usize) -> Outcomes {
        self.tallies(arm).map(|tally| &tally.outcomes).sum()
    }

    /// An arm in all segments and epochs.
    fn tallies(&self, arm: usize) -> impl Iterator<Item = &Tally> {
        let segments = self.segments.iter();
        segments.flat_map(move |tallies| {
            (0..tallies.epochs()).map(move |epoch| tallies.get(epoch, arm))
        })
    }

    /// The arms over segments and epochs, each segment weighing its requests and each epoch of it
    /// its information.
    fn compare(
        &self,
        latency: impl Fn(&Tally) -> Result<Distribution, stats::Error>,
    ) -> Result<stats::Comparison, stats::Error> {
        let groups: Vec<Vec<(Distribution, Distribution)>> = self
            .segments
            .iter()
            .map(|tallies| {
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
}

impl Figures {
    /// Removes what would be wrong when requests are not independent of each other.
    fn keep_points_only(&mut self) {
        for quantile in &mut self.quantiles {
            quantile.difference = quantile.difference.without_bounds();
            quantile.lift = quantile.lift.without_bounds();
            quantile.lift_fixed_n = None;
            quantile.p_value = None;
        }
        self.mean.lift = self.mean.lift.without_bounds();
        self.mann_whitney = None;
        self.common_ratio = self.common_ratio.map(Interval::without_bounds);
        self.primary_rejected = false;
    }
}

const ERRORS: [Outcome; 3] = [Outcome::ServerError, Outcome::Failed, Outcome::Panicked];

/// The share of each arm's ended requests that ended in one of the outcomes.
fn shares(control: &Outcomes, variation: &Outcomes, outcomes: &[Outcome]) -> Roles<Option<f64>> {
    let share = |all: &Outcomes| {
        let ended = all.ended();
        (ended > 0).then(|| all.count(outcomes) as f64 / ended as f64)
    };
    Roles { control: share(control), variation: share(variation) }
}

/// A ratio's interval as a lift's.
fn range(ratio: &Estimate) -> Range {
    let lift = ratio.to_lift();
    Range { lower: lift.lower, upper: lift.upper }
}
