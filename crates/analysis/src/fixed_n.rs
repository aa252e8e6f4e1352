//! Figures for one look at a number of requests that was fixed in advance.

use latency_experiment_stats::{
    self as stats, Alpha, Alternative, Boundary, Distribution, Quantile, RateCounts,
    brunner_munzel, ks_distance, mantel_haenszel, newcombe, quantile_confidence_interval, welch,
    welch_log, wilson,
};
use serde::{Deserialize, Serialize};

use crate::comparison::{Interval, IntervalNs, Roles, finite};

/// What classical methods say, for one look: looking more often makes these wrong. Only when the plan asks
/// for [fixed-n figures](crate::Plan::with_fixed_n).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FixedN {
    /// One entry per quantile of the plan, in its order.
    pub quantiles: Vec<QuantileFixedN>,
    /// More of the Mann-Whitney test (over strata: van Elteren's).
    pub mann_whitney: Option<RankFixedN>,
    /// How often the variation is slower, with a variance that needs no equal shapes.
    pub brunner_munzel: Option<BrunnerMunzelFixedN>,
    /// Welch's t test of the arithmetic means of both arms' requests together; difference in nanoseconds.
    pub welch: Option<WelchFixedN>,
    /// Welch's t test of the geometric means; the effect is the ratio, variation over control.
    pub welch_log: Option<WelchFixedN>,
    /// Rates of requests that ended in `server_error`, failed or panicked.
    pub errors: RateFixedN,
    /// Rates of cancelled requests.
    pub censored: RateFixedN,
    /// The largest distance between the distribution functions, for display.
    pub ks_distance: Option<f64>,
    /// The Mann-Whitney p-value adjusted by Benjamini and Hochberg over routes and variations; routes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted_p_value: Option<f64>,
}

/// One quantile by order statistics and score inversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuantileFixedN {
    /// Which quantile.
    pub q: f64,
    /// Of the control, by binomial order statistics.
    pub control: IntervalNs,
    /// Of the variation, likewise.
    pub variation: IntervalNs,
    /// Variation minus control.
    pub difference: IntervalNs,
    /// Relative to control.
    pub lift: Interval,
    /// Two-sided.
    pub p_value: f64,
}

/// More of the Mann-Whitney test than its two-sided p-value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankFixedN {
    /// Twice `u`, an exact integer in decimal digits.
    pub twice_u: Option<String>,
    /// Sum of t^3 - t over the sizes t of ties, an exact integer in decimal digits.
    pub tie_sum: Option<String>,
    /// ln of the two-sided p-value, which does not underflow.
    pub log_p_value: f64,
    /// For "the variation is slower".
    pub p_value_slower: f64,
    /// For "the variation is faster".
    pub p_value_faster: f64,
    /// Two-sided, with a continuity correction; one stratum only.
    pub p_value_corrected: Option<f64>,
}

/// The Brunner-Munzel test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BrunnerMunzelFixedN {
    /// P(variation > control) and half of P(equal).
    pub probability_slower: Interval,
    /// The studentised statistic; absent when infinite.
    pub statistic: Option<f64>,
    /// Degrees of freedom.
    pub degrees_of_freedom: Option<f64>,
    /// Two-sided, by the t distribution.
    pub p_value: f64,
    /// Two-sided, by the normal distribution.
    pub p_value_normal: f64,
}

/// Welch's t test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WelchFixedN {
    /// The statistic; positive means that the variation is slower.
    pub t: f64,
    /// Welch-Satterthwaite degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Two-sided.
    pub p_value: f64,
    /// The difference in nanoseconds, or the ratio.
    pub effect: Interval,
}

/// Two rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RateFixedN {
    /// Of the control, by Wilson.
    pub control: Interval,
    /// Of the variation, likewise.
    pub variation: Interval,
    /// Variation minus control, by Newcombe.
    pub difference: Interval,
    /// What strata have in common, by Mantel and Haenszel.
    pub common: Option<CommonRate>,
}

/// What strata have in common in a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommonRate {
    /// Rate of the variation over that of the control.
    pub risk_ratio: Interval,
    /// Odds of the variation over those of the control.
    pub odds_ratio: Interval,
    /// The Cochran-Mantel-Haenszel statistic.
    pub chi_squared: f64,
    /// Its p-value.
    pub p_value: f64,
    /// The statistic with continuity correction.
    pub corrected_chi_squared: f64,
    /// Its p-value.
    pub corrected_p_value: f64,
}

/// The data of fixed-n figures.
pub(crate) struct FixedData<'a> {
    pub(crate) comparison: &'a stats::Comparison,
    /// All requests of each arm that are compared, strata together.
    pub(crate) arms: Roles<&'a Distribution>,
    pub(crate) errors: Vec<RateCounts>,
    pub(crate) censored: Vec<RateCounts>,
}

impl FixedData<'_> {
    pub(crate) fn figures(
        &self,
        quantiles: impl Iterator<Item = Quantile>,
        alpha: Alpha,
    ) -> FixedN {
        let Roles { control, variation } = self.arms;
        FixedN {
            quantiles: quantiles.map(|quantile| self.quantile(quantile, alpha)).collect(),
            mann_whitney: self.ranks(),
            brunner_munzel: self.brunner_munzel(alpha),
            welch: welch(control, variation, alpha).map(|test| WelchFixedN::of(&test)),
            welch_log: welch_log(control, variation, alpha).map(|test| WelchFixedN::of(&test)),
            errors: RateFixedN::of(&self.errors, alpha),
            censored: RateFixedN::of(&self.censored, alpha),
            ks_distance: ks_distance(self.comparison),
            adjusted_p_value: None,
        }
    }

    fn quantile(&self, quantile: Quantile, alpha: Alpha) -> QuantileFixedN {
        let effect = stats::quantile_effect(self.comparison, quantile, Boundary::FixedN, alpha);
        let own = |arm| IntervalNs::of(&quantile_confidence_interval(arm, quantile, alpha));
        QuantileFixedN {
            q: quantile.get(),
            control: own(self.arms.control),
            variation: own(self.arms.variation),
            difference: IntervalNs::of(&effect.difference),
            lift: Interval::of(&effect.ratio.to_lift()),
            p_value: effect.evidence.p_value,
        }
    }

    fn ranks(&self) -> Option<RankFixedN> {
        let test = stats::mann_whitney(self.comparison)?;
        Some(RankFixedN {
            twice_u: test.twice_u.map(|twice_u| twice_u.to_string()),
            tie_sum: test.tie_sum.map(|tie_sum| tie_sum.to_string()),
            log_p_value: test.log_p_value,
            p_value_slower: test.p_value_for(Alternative::Greater),
            p_value_faster: test.p_value_for(Alternative::Less),
            p_value_corrected: test.corrected_p_value_for(Alternative::TwoSided),
        })
    }

    fn brunner_munzel(&self, alpha: Alpha) -> Option<BrunnerMunzelFixedN> {
        let test = brunner_munzel(self.comparison, Boundary::FixedN, alpha)?;
        Some(BrunnerMunzelFixedN {
            probability_slower: Interval::of(&test.probability_slower),
            statistic: finite(test.statistic()),
            degrees_of_freedom: test.degrees_of_freedom.and_then(finite),
            p_value: test.evidence.p_value,
            p_value_normal: test.normal_p_value(),
        })
    }
}

impl WelchFixedN {
    fn of(test: &stats::Welch) -> Self {
        Self {
            t: test.t,
            degrees_of_freedom: test.degrees_of_freedom,
            p_value: test.p_value,
            effect: Interval::of(&test.effect),
        }
    }
}

impl RateFixedN {
    fn of(strata: &[RateCounts], alpha: Alpha) -> Self {
        let sum = |count: fn(&RateCounts) -> u64| {
            strata.iter().fold(0, |sum, counts| u64::saturating_add(sum, count(counts)))
        };
        let control = (sum(|c| c.control_events), sum(|c| c.control_requests));
        let variation = (sum(|c| c.variation_events), sum(|c| c.variation_requests));
        let common = mantel_haenszel(strata, alpha).map(|test| CommonRate {
            risk_ratio: Interval::of(&test.risk_ratio),
            odds_ratio: Interval::of(&test.odds_ratio),
            chi_squared: test.chi_squared,
            p_value: test.p_value,
            corrected_chi_squared: test.corrected_chi_squared,
            corrected_p_value: test.corrected_p_value,
        });
        Self {
            control: Interval::of(&wilson(control.0, control.1, alpha)),
            variation: Interval::of(&wilson(variation.0, variation.1, alpha)),
            difference: Interval::of(&newcombe(control, variation, alpha)),
            common,
        }
    }
}
