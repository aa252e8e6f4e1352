//! One comparison of the report document.

use std::collections::BTreeMap;
use std::fmt;

use latency_experiment_stats as stats;
use serde::{Deserialize, Serialize};

use crate::fixed_n::FixedN;
use crate::report::Population;

/// One variation against the control in one segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Which requests.
    pub segment: Segment,
    /// The name of the variation.
    pub variation: String,
    /// Requests measured: completed, `client_error` and aborted.
    pub n: Roles<u64>,
    /// One entry per quantile of the plan, in its order.
    pub quantiles: Vec<QuantileComparison>,
    /// The arithmetic means.
    pub mean: MeanComparison,
    /// The rank test; absent without data in both arms, or when requests are not the subjects.
    pub mann_whitney: Option<MannWhitney>,
    /// Share of ended requests that ended in `server_error`, failed or panicked; absent without any.
    pub errors: Roles<Option<f64>>,
    /// Share of ended requests that were cancelled; absent without any.
    pub censored: Roles<Option<f64>>,
    /// The geometric means, whose ratio is the most precise figure for a change that multiplies
    /// latencies; not for size classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometric_mean: Option<MeanComparison>,
    /// P(variation > control) and half of P(equal), valid at every look; only in overall comparisons, and
    /// when the plan asks for fixed-n figures, beside which it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability_slower: Option<Interval>,
    /// Error rate of the variation over that of the control, exact at every look; absent when requests
    /// are not the subjects, and for size classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors_ratio: Option<Interval>,
    /// The same for cancelled requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub censored_ratio: Option<Interval>,
    /// Exact tests of the arm that bad requests have; absent when requests are not the subjects, and for
    /// size classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// By how much the difference between the arms varied more over time than it should; absent without
    /// intervals in the snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance_inflation: Option<Inflation>,
    /// The pairs of time blocks behind the figures; only when blocks of time are the subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockCounts>,
    /// The typical difference and ratio over all pairs of requests; only when the plan asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hodges_lehmann: Option<HodgesLehmann>,
    /// Figures for one look; only when the plan asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_n: Option<FixedN>,
    /// The change that routes have in common, variation over control at the primary quantile; only
    /// in overall comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_ratio: Option<Interval>,
    /// Which requests. A route that never consulted the flag is shown by assignment.
    pub population: Population,
    /// Share of the requests that could not be compared because their route and epoch has data in
    /// one arm only.
    pub dropped_share: f64,
    /// Harmonic information of the comparison, in requests; fixed-n figures hold from
    /// [`Report::tuned_for`](crate::Report::tuned_for) on.
    pub information: f64,
    /// Further requests of the two arms that an undecided comparison needs to settle the plan's
    /// minimum effect, or 5 % without one, with a chance of 80 %; absent when decided, withheld or
    /// not computable.
    pub requests_needed: Option<u64>,
    /// The e-value against equal primary quantiles (capped at the largest number); absent when
    /// requests are not the subjects.
    pub e_value: Option<f64>,
    /// Overall: whether the primary quantile differs at its level. Route: whether the e-BH procedure
    /// at 10 % over routes and variations rejects it. False for size classes, which are descriptive,
    /// and for withheld comparisons.
    pub rejected: bool,
    /// What to make of it.
    pub verdict: Verdict,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// A slice of the requests: all, one route, or one size class of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Segment {
    /// The route; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The size class; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

/// One value for each of the two arms in their role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a comparison has two arms")]
pub struct Roles<T> {
    /// Of the control.
    pub control: T,
    /// Of the variation.
    pub variation: T,
}

/// A quantile of both arms and how they differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuantileComparison {
    /// Which quantile, strictly between 0 and 1.
    pub q: f64,
    /// Of the control. Absent bounds too when epochs of different splits are combined.
    pub control: IntervalNs,
    /// Of the variation, likewise.
    pub variation: IntervalNs,
    /// Variation minus control.
    pub difference: IntervalNs,
    /// Relative to control; negative is faster.
    pub lift: Interval,
    /// The same for one look at a sample size fixed in advance; only when the plan asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lift_fixed_n: Option<Interval>,
    /// Two-sided, valid at every look; absent where the design does not allow it.
    pub p_value: Option<f64>,
    /// Two-sided, without any approximation and valid at every look, very conservative; only when the
    /// plan asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict_p_value: Option<f64>,
    /// By what factor variances exceed those of independent requests; absent when it is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design_effect: Option<f64>,
}

/// The means of both arms and how they differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeanComparison {
    /// Of the control, in nanoseconds.
    pub control_ns: Option<f64>,
    /// Of the variation, in nanoseconds.
    pub variation_ns: Option<f64>,
    /// Relative to control; negative is faster.
    pub lift: Interval,
    /// Two-sided, valid at every look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// ln of the e-value behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_e: Option<f64>,
    /// Sample variance of each arm's requests, in square nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance_ns2: Option<Roles<Option<f64>>>,
}

impl MeanComparison {
    /// The estimates without interval and test.
    pub(crate) fn keep_points_only(&mut self) {
        self.lift = self.lift.without_bounds();
        (self.p_value, self.log_e) = (None, None);
    }
}

/// Exact tests of the arm of bad requests: ln of e-values, valid at every look. A test decides at
/// ln(1/alpha).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Labels {
    /// Bad is `server_error`, failed or panicked.
    pub errors: LabelLogE,
    /// Bad is cancelled.
    pub censored: LabelLogE,
    /// Bad is slower than a threshold that was frozen before, or not answered; one entry per quantile
    /// of the thresholds in the snapshots.
    pub latency: BTreeMap<String, LabelLogE>,
    /// The average over the thresholds: a difference anywhere in the distribution. Absent without
    /// thresholds.
    pub dominance: Option<LabelLogE>,
}

/// ln of an e-value against "the arms are alike" or worse, by what the variation is suspected of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelLogE {
    /// More bad requests in the variation.
    pub more: f64,
    /// Fewer.
    pub fewer: f64,
    /// Either.
    pub two_sided: f64,
}

/// How the difference between the arms varied from interval to interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inflation {
    /// Variance over that of independent requests: about 1 when all is well.
    pub factor: f64,
    /// Against a factor of at most 1, for one look.
    pub p_value: f64,
    /// Intervals used.
    pub intervals: usize,
    /// Whether variances were multiplied by the factor: 30 intervals, p below 0.001, above 1.25.
    pub inflated: bool,
}

/// Pairs of time blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlockCounts {
    /// Pairs that are compared: one block per arm.
    pub pairs: usize,
    /// Pairs of which a block is missing.
    pub incomplete: usize,
    /// Pairs whose blocks are not of one arm each.
    pub broken: usize,
}

/// The typical difference between a request of the variation and one of the control, for one look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HodgesLehmann {
    /// Median of variation minus control over all pairs.
    pub difference: IntervalNs,
    /// Median of variation over control over all pairs.
    pub ratio: Interval,
}

/// The Mann-Whitney test (over strata: van Elteren's), a complement for one look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MannWhitney {
    /// Pairs of a request of each arm with the variation slower, ties half.
    pub u: f64,
    /// Standardised; positive means that the variation is slower.
    pub z: f64,
    /// Two-sided.
    pub p_value: f64,
    /// P(variation < control) and half of P(equal).
    pub probability_faster: f64,
    /// When `z` and `p_value` are valid.
    pub valid_at: ValidAt,
}

/// When a figure is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValidAt {
    /// At one look, when the planned number of requests is reached.
    PlannedN,
}

/// A point and its interval, in nanoseconds. What is not determined, or not bounded, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IntervalNs {
    /// The point estimate.
    pub estimate_ns: Option<f64>,
    /// The lower end.
    pub lower_ns: Option<f64>,
    /// The upper end.
    pub upper_ns: Option<f64>,
}

/// A point and its interval, as a plain number. What is not determined, or not bounded, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Interval {
    /// The point estimate.
    pub estimate: Option<f64>,
    /// The lower end.
    pub lower: Option<f64>,
    /// The upper end.
    pub upper: Option<f64>,
}

/// What to make of a comparison. The rule is in the [crate documentation](crate#the-verdict).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// At least one quantile is credibly lower, none credibly higher.
    Faster,
    /// At least one quantile is credibly higher, none credibly lower.
    Slower,
    /// Some quantile is credibly lower and some credibly higher.
    Mixed,
    /// All quantiles differ by less than the margin of the plan.
    Equivalent,
    /// The data do not say yet.
    Undecided,
    /// The data must not be judged; the reasons say why. The figures stand.
    Withheld,
}

impl Segment {
    /// All requests.
    pub fn overall() -> Self {
        Self::default()
    }

    /// One route.
    pub fn route(route: impl Into<String>) -> Self {
        Self { route: Some(route.into()), size: None }
    }

    /// One size class of a route.
    pub fn size(route: impl Into<String>, size: impl Into<String>) -> Self {
        Self { route: Some(route.into()), size: Some(size.into()) }
    }

    /// Whether it is all requests.
    pub fn is_overall(&self) -> bool {
        self.route.is_none()
    }

    /// Whether it is one route with all its size classes.
    pub fn is_route(&self) -> bool {
        self.route.is_some() && self.size.is_none()
    }
}

impl Verdict {
    /// The word used in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Mixed => "mixed",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
            Self::Withheld => "withheld",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Interval {
    /// The interval with its infinite ends absent.
    pub(crate) fn of(estimate: &stats::Estimate) -> Self {
        Self {
            estimate: estimate.point.and_then(finite),
            lower: finite(estimate.lower),
            upper: finite(estimate.upper),
        }
    }

    /// The point without its interval.
    pub(crate) fn without_bounds(self) -> Self {
        Self { estimate: self.estimate, ..Self::default() }
    }
}

impl IntervalNs {
    /// The interval with its infinite ends absent.
    pub(crate) fn of(estimate: &stats::Estimate) -> Self {
        let Interval { estimate, lower, upper } = Interval::of(estimate);
        Self { estimate_ns: estimate, lower_ns: lower, upper_ns: upper }
    }

    /// The point without its interval.
    pub(crate) fn without_bounds(self) -> Self {
        Self { estimate_ns: self.estimate_ns, ..Self::default() }
    }
}

/// The number, unless it is infinite or none at all; zero without a sign.
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value + 0.0)
}
