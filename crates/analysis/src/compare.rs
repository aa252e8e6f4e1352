//! The figures of one comparison. Every statistic comes from `latency-experiment-stats`.

use std::borrow::Cow;
use std::rc::Rc;

use latency_experiment_record::{Outcome, Subject};
use latency_experiment_stats::{
    self as stats, Boundary, DesignEffect, Estimate, Share, TunedFor, brunner_munzel, common_ratio,
    geometric_mean_effect, hodges_lehmann, mann_whitney, mean_effect, quantile_effect,
    quantile_effects, strict_test,
};

use crate::Plan;
use crate::analyze::FEWEST;
use crate::balance::{Balance, CENSORED};
use crate::blocks::{Blocks, Figure};
use crate::comparison::{
    BlockCounts, HodgesLehmann, Inflation, Interval, IntervalNs, Labels, MannWhitney,
    MeanComparison, QuantileComparison, Roles, ValidAt, finite,
};
use crate::epochs::Epochs;
use crate::fixed_n::{FixedData, FixedN};
use crate::groups::Groups;
use crate::inflation::Intervals;
use crate::labels::Frozen;
use crate::one_arm::OneArm;
use crate::pairing::Pairing;
use crate::traffic::{Outcomes, Tally};
use crate::verdict::{Lifts, Range};

/// Position of the control among the arms.
pub(crate) const CONTROL: usize = 0;

/// What all comparisons of a report share.
pub(crate) struct Setting<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) epochs: &'a Epochs<'a>,
    pub(crate) subjects: Subjects<'a>,
    pub(crate) balance: Balance,
}

/// What was assigned to arms independently of each other, with what the tests of that design need.
pub(crate) enum Subjects<'a> {
    Requests { intervals: Intervals<'a>, frozen: Frozen<'a> },
    Sticky(Groups<'a>),
    TimeSlices(Blocks<'a>),
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
    pub(crate) more: More,
    pub(crate) dropped_share: f64,
    pub(crate) information: f64,
    /// Lifts at the levels of the verdict, in the order of `quantiles`.
    pub(crate) lifts: Vec<Lifts>,
    /// ln E against equal primary quantiles, at the level of the report; `None` where the design has
    /// no test.
    pub(crate) log_e: Option<f64>,
    /// Whether the primary quantile differs at its level for the verdict.
    pub(crate) primary_rejected: bool,
    /// ln E against equal shares of cancelled and aborted requests.
    pub(crate) censoring_log_e: f64,
    /// Whether any request was cancelled or aborted.
    pub(crate) gave_up: bool,
    /// Further requests of both arms that settle the planned change at the primary quantile.
    pub(crate) requests_needed: Option<u64>,
}

/// Figures that not every segment has.
#[derive(Default)]
pub(crate) struct More {
    pub(crate) geometric_mean: Option<MeanComparison>,
    pub(crate) probability_slower: Option<Interval>,
    pub(crate) errors_ratio: Option<Interval>,
    pub(crate) censored_ratio: Option<Interval>,
    pub(crate) labels: Option<Labels>,
    pub(crate) variance_inflation: Option<Inflation>,
    pub(crate) blocks: Option<BlockCounts>,
    pub(crate) hodges_lehmann: Option<HodgesLehmann>,
    pub(crate) fixed_n: Option<FixedN>,
}

/// How much is asked about a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Overall,
    Route,
    /// Descriptive: the figures of the contract only.
    Size,
}

/// The quantiles of a comparison, and what the verdict needs of them.
#[derive(Default)]
struct Rows {
    quantiles: Vec<QuantileComparison>,
    lifts: Vec<Lifts>,
    log_e: Option<f64>,
    primary_rejected: bool,
}

/// By what factors variances exceed those of independent requests.
struct Spread {
    /// At each quantile of the plan.
    quantiles: Vec<DesignEffect>,
    inflation: Option<Inflation>,
    /// Whether the design allows tests of requests at all.
    tested: bool,
}

impl Spread {
    /// For means, which depend on all of the distribution.
    fn largest(&self) -> DesignEffect {
        let all = self.quantiles.iter().copied();
        all.reduce(|a, b| if b > a { b } else { a }).unwrap_or(DesignEffect::NONE)
    }
}

impl<'a> Setting<'a> {
    pub(crate) fn try_new(plan: &'a Plan, epochs: &'a Epochs<'a>) -> Result<Self, stats::Error> {
        let arms = CONTROL + 1..epochs.arms.len();
        let pairs = (0..epochs.snapshots.len())
            .flat_map(|epoch| arms.clone().map(move |variation| (epoch, variation)));
        let shares: Vec<Share> =
            pairs.filter_map(|(epoch, variation)| epochs.share(epoch, variation)).collect();
        let subjects = match epochs.subject() {
            Subject::Sticky => Subjects::Sticky(Groups::new(epochs)),
            Subject::TimeSlice => Subjects::TimeSlices(Blocks::try_new(epochs)?),
            _ => Subjects::Requests {
                intervals: Intervals::new(epochs),
                frozen: Frozen::new(epochs),
            },
        };
        Ok(Self { plan, epochs, subjects, balance: Balance::new(&shares) })
    }

    /// Whether requests are the subjects, so that they are independent of each other.
    pub(crate) fn request_level(&self) -> bool {
        matches!(self.subjects, Subjects::Requests { .. })
    }

    /// The boundary of the report's intervals: with random groups it needs more information.
    pub(crate) fn boundary(&self) -> Boundary {
        self.plan.boundary(match self.subjects {
            Subjects::Sticky(_) => TunedFor::DEFAULT,
            _ => TunedFor::MIN,
        })
    }

    /// The information at which the report's intervals are tightest.
    pub(crate) fn tuned_for(&self) -> f64 {
        match self.boundary() {
            Boundary::ConfidenceSequence { tuned_for } => tuned_for.get(),
            Boundary::FixedN => self.plan.tuned_for(),
        }
    }

    pub(crate) fn variations(&self) -> std::ops::Range<usize> {
        CONTROL + 1..self.epochs.arms.len()
    }

    /// The design effects of a comparison.
    fn spread(
        &self,
        pairing: &Pairing<'_>,
        comparison: &stats::Comparison,
        depth: Depth,
    ) -> Result<Spread, stats::Error> {
        let quantiles = self.plan.checked_quantiles();
        match &self.subjects {
            Subjects::Requests { intervals, .. } => {
                let primary = self.plan.primary_quantile();
                let found = match depth {
                    Depth::Size => None,
                    _ => intervals.inflation(pairing, comparison, primary)?,
                };
                let effect = found.map_or(DesignEffect::NONE, |found| found.design_effect());
                Ok(Spread {
                    quantiles: quantiles.map(|_| effect).collect(),
                    inflation: found.map(|found| Inflation {
                        factor: found.factor,
                        p_value: found.p_value,
                        intervals: found.intervals,
                        inflated: found.inflated,
                    }),
                    tested: true,
                })
            }
            Subjects::Sticky(groups) if groups.suffice() && depth != Depth::Size => {
                let mut tested = true;
                let mut effects = Vec::new();
                for quantile in quantiles {
                    let effect = groups.design_effect(pairing, comparison, quantile)?;
                    tested &= effect.is_some();
                    effects.push(effect.unwrap_or(DesignEffect::NONE));
                }
                Ok(Spread { quantiles: effects, inflation: None, tested })
            }
            Subjects::Sticky(_) | Subjects::TimeSlices(_) => Ok(Spread {
                quantiles: quantiles.map(|_| DesignEffect::NONE).collect(),
                inflation: None,
                tested: false,
            }),
        }
    }

    /// Compares. The control of the comparison `before` is often the same, and becomes that of this one.
    pub(crate) fn figures(
        &self,
        pairing: &Pairing<'_>,
        depth: Depth,
        before: &mut Option<Rc<OneArm>>,
    ) -> Result<Figures, stats::Error> {
        let (plan, boundary, alpha) = (self.plan, self.boundary(), self.plan.level());
        let (control, variation) = (pairing.outcomes(CONTROL), pairing.outcomes(pairing.variation));
        let answered = pairing.compare(|tally| Ok(tally.latency.clone()))?;
        let with_failures = if control.unanswered().max(variation.unanswered()) > 0 {
            Some(pairing.compare(Tally::latency_with_failures)?)
        } else {
            None
        };
        let spread = self.spread(pairing, &answered, depth)?;

        let arms = self.arms(pairing, &answered, before.take())?;
        *before = Some(Rc::clone(&arms.control));
        let Rows { quantiles, lifts, log_e, primary_rejected } =
            self.quantiles(&answered, with_failures.as_ref(), &spread, &arms, depth)?;

        let widened = spread_by(&answered, spread.largest());
        let common = match depth {
            Depth::Overall => {
                let answered = spread_by(&answered, spread.quantiles[plan.primary_position()]);
                Some(common_ratio(&answered, plan.primary_quantile(), boundary, alpha).ratio)
            }
            _ => None,
        };
        let design_effect = spread.quantiles[plan.primary_position()].get();
        let mut figures = Figures {
            n: Roles { control: control.answered(), variation: variation.answered() },
            quantiles,
            mean: self.mean(&widened, &arms),
            mann_whitney: mann_whitney(&answered).map(|test| MannWhitney {
                u: test.u,
                z: test.z,
                p_value: test.p_value,
                probability_faster: test.probability_faster,
                valid_at: ValidAt::PlannedN,
            }),
            errors: shares(&control, &variation, &ERRORS),
            censored: shares(&control, &variation, &[Outcome::Cancelled]),
            common_ratio: common.map(|ratio| Interval::of(&ratio)),
            more: match depth {
                Depth::Size => More::default(),
                Depth::Route if !plan.route_details() => More::default(),
                _ => self.more(pairing, &answered, &widened, &arms, depth),
            },
            dropped_share: answered.dropped_share(),
            information: answered.information() / design_effect,
            lifts,
            log_e,
            primary_rejected,
            censoring_log_e: self.censoring_log_e(pairing)?,
            gave_up: control.count(&CENSORED).max(variation.count(&CENSORED)) > 0,
            requests_needed: None,
        };
        if figures.n.control.min(figures.n.variation) >= FEWEST {
            figures.requests_needed =
                self.requests_needed(pairing, &arms.control, figures.information, design_effect);
        }
        figures.more.variance_inflation = spread.inflation;
        if !self.request_level() {
            // A test of ranks that heeds neither groups nor blocks.
            figures.mann_whitney = None;
        }
        if let Subjects::Sticky(_) = &self.subjects {
            // The design effect is that of a share above a threshold. Within a subject means resemble each
            // other more: simulated, their intervals would miss in 7 % and geometric ones in 10 % at 5 %.
            figures.mean.keep_points_only();
            figures.more.geometric_mean.iter_mut().for_each(MeanComparison::keep_points_only);
        }
        if !spread.tested {
            figures.keep_points_only();
        }
        if let Subjects::TimeSlices(blocks) = &self.subjects {
            self.compare_blocks(&mut figures, blocks, pairing)?;
        }
        Ok(figures)
    }

    /// The quantiles of the plan, each with its design effect.
    fn quantiles(
        &self,
        answered: &stats::Comparison,
        with_failures: Option<&stats::Comparison>,
        spread: &Spread,
        arms: &Roles<Rc<OneArm>>,
        depth: Depth,
    ) -> Result<Rows, stats::Error> {
        let (plan, boundary, alpha) = (self.plan, self.boundary(), self.plan.level());
        let strict = plan.strict() && depth != Depth::Size && self.request_level();
        let mut rows = Rows::default();
        let levels = plan.verdict_levels(self.variations().len());
        for (position, (quantile, level)) in levels.enumerate() {
            let design_effect = &spread.quantiles[position];
            let answered = spread_by(answered, *design_effect);
            let [effect, at_level] =
                quantile_effects(&answered, quantile, boundary, [alpha, level]);
            if quantile == plan.primary_quantile() {
                rows.log_e = effect.evidence.log_e;
                rows.primary_rejected =
                    at_level.evidence.log_e.is_some_and(|log_e| log_e >= level.log_threshold());
            }
            let range = range(&at_level.ratio);
            let failing = |all| {
                let all = spread_by(all, *design_effect);
                self::range(&quantile_effect(&all, quantile, boundary, level).ratio)
            };
            let with_failures = with_failures.map_or(range, failing);
            rows.lifts.push(Lifts { answered: range, with_failures });
            let fixed = plan
                .fixed_n()
                .then(|| quantile_effect(&answered, quantile, Boundary::FixedN, alpha).ratio);
            rows.quantiles.push(QuantileComparison {
                q: quantile.get(),
                control: arms.control.interval(effect.control, quantile, position),
                variation: arms.variation.interval(effect.variation, quantile, position),
                difference: IntervalNs::of(&effect.difference),
                lift: Interval::of(&effect.ratio.to_lift()),
                lift_fixed_n: fixed.map(|ratio| Interval::of(&ratio.to_lift())),
                p_value: Some(effect.evidence.p_value),
                strict_p_value: if strict {
                    Some(strict_test(&answered, quantile, plan.trials())?.p_value)
                } else {
                    None
                },
                design_effect: Some(design_effect.get()).filter(|factor| *factor != 1.0),
            });
        }
        Ok(rows)
    }

    fn mean(&self, comparison: &stats::Comparison, arms: &Roles<Rc<OneArm>>) -> MeanComparison {
        let mean = mean_effect(comparison, self.boundary(), self.plan.level());
        let variance = |arm: &OneArm| arm.pooled.variance().and_then(finite);
        MeanComparison {
            control_ns: mean.control.or_else(|| arms.control.pooled.mean()),
            variation_ns: mean.variation.or_else(|| arms.variation.pooled.mean()),
            lift: Interval::of(&mean.ratio.to_lift()),
            p_value: Some(mean.evidence.p_value),
            log_e: mean.evidence.log_e.and_then(finite),
            variance_ns2: Some(Roles {
                control: variance(&arms.control),
                variation: variance(&arms.variation),
            }),
        }
    }

    /// The figures that size classes do not have.
    fn more(
        &self,
        pairing: &Pairing<'_>,
        answered: &stats::Comparison,
        widened: &stats::Comparison,
        arms: &Roles<Rc<OneArm>>,
        depth: Depth,
    ) -> More {
        let (plan, boundary, alpha) = (self.plan, self.boundary(), self.plan.level());
        let geometric = geometric_mean_effect(widened, boundary, alpha);
        let mut more = More {
            geometric_mean: Some(MeanComparison {
                control_ns: geometric.control,
                variation_ns: geometric.variation,
                lift: Interval::of(&geometric.ratio.to_lift()),
                p_value: Some(geometric.evidence.p_value),
                log_e: geometric.evidence.log_e.and_then(finite),
                variance_ns2: None,
            }),
            probability_slower: (depth == Depth::Overall && plan.fixed_n())
                .then(|| brunner_munzel(widened, boundary, alpha))
                .flatten()
                .map(|test| Interval::of(&test.probability_slower)),
            ..More::default()
        };
        let Subjects::Requests { frozen, .. } = &self.subjects else {
            return more;
        };
        more.errors_ratio = self.outcome_ratio(pairing, &ERRORS);
        more.censored_ratio = self.outcome_ratio(pairing, &[Outcome::Cancelled]);
        more.labels = Some(self.labels(pairing, frozen));
        if plan.hodges_lehmann() {
            let found = hodges_lehmann(answered, alpha);
            more.hodges_lehmann = Some(HodgesLehmann {
                difference: IntervalNs::of(&found.difference),
                ratio: Interval::of(&found.ratio),
            });
        }
        if plan.fixed_n() {
            let data = FixedData {
                comparison: answered,
                arms: Roles { control: &arms.control.pooled, variation: &arms.variation.pooled },
                errors: pairing.rates(&ERRORS),
                censored: pairing.rates(&[Outcome::Cancelled]),
            };
            more.fixed_n = Some(data.figures(plan.checked_quantiles(), alpha));
        }
        more
    }

    /// Replaces tests of requests by those of pairs of blocks.
    fn compare_blocks(
        &self,
        figures: &mut Figures,
        blocks: &Blocks<'_>,
        pairing: &Pairing<'_>,
    ) -> Result<(), stats::Error> {
        let compared = blocks.compared(pairing);
        figures.more.blocks = Some(compared.counts);
        if compared.counts.pairs == 0 {
            // Points of requests are all there is.
            return Ok(());
        }
        let (plan, boundary, alpha) = (self.plan, self.boundary(), self.plan.level());
        let levels = plan.verdict_levels(self.variations().len());
        figures.lifts.clear();
        for ((quantile, level), row) in levels.zip(&mut figures.quantiles) {
            let figure = Figure::Quantile(quantile);
            let effect = compared.effect(figure, boundary, alpha)?;
            let at_level = compared.effect(figure, boundary, level)?;
            let failing =
                compared.effect(Figure::QuantileWithFailures(quantile), boundary, level)?;
            figures.lifts.push(Lifts {
                answered: range(&at_level.ratio),
                with_failures: range(&failing.ratio),
            });
            row.lift = Interval::of(&effect.ratio.to_lift());
            // The difference of what users felt, which the mix of routes over time may move.
            row.p_value = Some(effect.evidence.p_value);
            if plan.fixed_n() {
                let fixed = compared.effect(figure, Boundary::FixedN, alpha)?;
                row.lift_fixed_n = Some(Interval::of(&fixed.ratio.to_lift()));
            }
            if quantile == plan.primary_quantile() {
                figures.log_e = effect.evidence.log_e;
                figures.primary_rejected =
                    at_level.evidence.log_e.is_some_and(|log_e| log_e >= level.log_threshold());
            }
        }
        let mean = compared.effect(Figure::Mean, boundary, alpha)?;
        figures.mean.lift = Interval::of(&mean.ratio.to_lift());
        figures.mean.p_value = Some(mean.evidence.p_value);
        figures.mean.log_e = mean.evidence.log_e.and_then(finite);
        Ok(())
    }

    /// Share of the two arms' requests that the variation was allotted in an epoch; `None` when
    /// either has no weight there.
    pub(crate) fn share(&self, epoch: usize, variation: usize) -> Option<Share> {
        self.epochs.share(epoch, variation)
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
        for mean in [Some(&mut self.mean), self.more.geometric_mean.as_mut()].into_iter().flatten()
        {
            mean.keep_points_only();
        }
        self.more.probability_slower = self.more.probability_slower.map(Interval::without_bounds);
        self.log_e = None;
        self.common_ratio = self.common_ratio.map(Interval::without_bounds);
        self.primary_rejected = false;
    }
}

/// Outcomes that are the service's fault.
pub(crate) const ERRORS: [Outcome; 3] = [Outcome::ServerError, Outcome::Failed, Outcome::Panicked];

/// The share of each arm's ended requests that ended in one of the outcomes.
fn shares(control: &Outcomes, variation: &Outcomes, outcomes: &[Outcome]) -> Roles<Option<f64>> {
    let share = |all: &Outcomes| {
        let ended = all.ended();
        (ended > 0).then(|| all.count(outcomes) as f64 / ended as f64)
    };
    Roles { control: share(control), variation: share(variation) }
}

/// The comparison with the variances of its design.
fn spread_by(comparison: &stats::Comparison, effect: DesignEffect) -> Cow<'_, stats::Comparison> {
    if effect == DesignEffect::NONE {
        Cow::Borrowed(comparison)
    } else {
        Cow::Owned(comparison.clone().with_design_effect(effect))
    }
}

/// A ratio's interval as a lift's.
fn range(ratio: &Estimate) -> Range {
    let lift = ratio.to_lift();
    Range { lower: lift.lower, upper: lift.upper }
}
