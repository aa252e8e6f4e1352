//! Always-valid statistics for A/B tests of latency: numbers in, bounds out.
//!
//! Two arms, each a histogram, go in as a [`Comparison`]; differences, ratios and evidence come out, valid
//! at every look or for one look at a planned sample size. Nothing here knows requests, clocks or flags.
//!
//! ```
//! use latency_experiment_stats::{
//!     Alpha, Boundary, Bucket, Comparison, Distribution, Quantile, quantile_effect,
//! };
//!
//! // Buckets of 10 ms; the variation moved a quarter of the slow requests down by one bucket.
//! let control = Distribution::new([
//!     Bucket { lower: 100, upper: 109, count: 6_000 },
//!     Bucket { lower: 110, upper: 119, count: 3_200 },
//!     Bucket { lower: 400, upper: 439, count: 800 },
//! ])?;
//! let variation = Distribution::new([
//!     Bucket { lower: 100, upper: 109, count: 6_000 },
//!     Bucket { lower: 110, upper: 119, count: 3_800 },
//!     Bucket { lower: 400, upper: 439, count: 200 },
//! ])?;
//!
//! let comparison = Comparison::pair(control, variation)?;
//! let p95 = quantile_effect(&comparison, Quantile::P95, Boundary::default(), Alpha::DEFAULT);
//! assert_eq!((p95.control, p95.variation), (Some(419.5), Some(114.5)));
//! let lift = p95.ratio.to_lift();
//! assert!(lift.upper < -0.7); // at least 70 % faster at p95, at every look with 95 % confidence
//! assert!(p95.evidence.p_value < 1e-9);
//! # Ok::<(), latency_experiment_stats::Error>(())
//! ```
//!
//! # Which function for which job
//!
//! | question | function | guarantee |
//! |---|---|---|
//! | By how much did a quantile change for all requests together? | [`quantile_effect`] | asymptotic, every look |
//! | By how much did the typical route change? | [`common_ratio`] | asymptotic, every look |
//! | By how much did the mean change? | [`mean_effect`], [`geometric_mean_effect`] | asymptotic, every look |
//! | How often is the variation the slower one? | [`brunner_munzel`] | asymptotic, every look |
//! | Does a quantile differ, without approximation? | [`strict_test`] | exact for i.i.d. data, every look |
//! | Where is one arm's quantile? | [`quantile_confidence_sequence`] | exact for i.i.d. data, every look |
//! | Are slow or failed requests likelier in one arm? | [`label_log_e`] at a [`Threshold`] | exact, every look |
//! | The same anywhere in the distribution | [`dominance_log_e`] | exact, every look |
//! | By how much did the error rate change? | [`rate_ratio`], [`rate_ratio_log_e`] | exact, every look |
//! | Is a rate what it should be? | [`BetaBinomial`], [`bernoulli_confidence_sequence`] | exact, every look |
//! | Did the arms get their shares? | [`srm`]; [`sticky_srm`] | exact, every look; asymptotic |
//! | Which of many hypotheses to reject? | [`e_bh`], [`average_log_e`] | exact, any dependence |
//! | Any z-score, at every look | [`NormalMixture`], [`OneSidedNormalMixture`] | asymptotic |
//! | How many requests will it take? | [`requirement`], [`best_requirement`], [`label_requirement`] | within a third of simulations |
//!
//! When requests are not independent of each other, or arms not of each other:
//!
//! | design | function | guarantee |
//! |---|---|---|
//! | sticky subjects | [`random_groups`], then [`Comparison::with_design_effect`] | asymptotic, every look |
//! | clustered requests, effects that vary over time | [`variance_inflation`] | a warning |
//! | time blocks that go to one arm | [`switchback`], [`switchback_sequence`] | asymptotic in pairs |
//! | rounds before and after a change | [`before_after`] | asymptotic in rounds, one look |
//! | requests that run twice | [`PairedRuns`] | asymptotic, every look |
//! | control that moves with the split | [`interference`] | a warning |
//!
//! For one look at a planned size: [`Boundary::FixedN`] with the methods above, and
//!
//! | question | function |
//! |---|---|
//! | Which arm is faster more often? By what shift or factor? | [`mann_whitney`], [`hodges_lehmann`] |
//! | Where is one arm's quantile? | [`quantile_confidence_interval`] |
//! | Do means or geometric means differ? | [`welch`], [`welch_log`] |
//! | What is a rate, how do two differ? | [`wilson`], [`newcombe`] |
//! | How do rates differ within strata? | [`mantel_haenszel`] |
//! | Did the arms get their shares? | [`srm_chi_square`] |
//! | How far apart are the distributions, for display? | [`ks_distance`] |
//! | Which of many p-values count? | [`benjamini_hochberg`], [`holm`], [`bonferroni`] |
//!
//! # Conventions
//!
//! Values are `u64` in any unit, nanoseconds by custom; results are `f64` in the same unit. Arms are
//! *control* and *variation*; differences are variation minus control, ratios variation over control, and a
//! positive z or lift means that the variation is slower. All logarithms are natural. *Information* is the
//! harmonic number of requests `n_a n_b / (n_a + n_b)`, the clock of the confidence sequences.
//!
//! # Guarantees
//!
//! * No function panics or returns NaN, whatever the data. An empty arm, a single bucket, a handful of
//!   observations or ties only make intervals unbounded and results `None`; property tests hold this.
//! * Swapping the arms inverts ratios and keeps p-values; merging histograms has no order; coarser buckets
//!   only widen intervals.
//! * Counts up to 10^12 per bucket are exact. A distribution holds at most 2^63 - 1 observations, and more
//!   are an [`Error`].
//! * Every figure with a counterpart in scipy, R, confseq or ssrm is compared with it in this crate's tests.
//!
//! # Limits
//!
//! * Requests must be assigned independently of each other. With sticky users no interval holds without its
//!   design effect, and no exact test at all.
//! * Asymptotic means: from some twenty requests per arm on, and tuned for at least [`TunedFor::MIN`].
//! * A change smaller than a bucket is invisible. Two histograms must share their buckets; reduce the finer
//!   one first.
//! * Arms that share a machine slow each other down; only a switchback sees that.
//!
//! # Features
//!
//! None. One dependency: `libm`.

mod adjusted_p_values;
mod averages;
mod beta_binomial;
mod boundary;
mod brunner_munzel;
mod bucket;
mod chi_square;
mod common_ratio;
mod comparison;
mod design_effect;
mod distribution;
mod e_bh;
mod error;
mod estimate;
mod evidence;
mod grid;
mod hodges_lehmann;
mod interference;
mod kolmogorov_smirnov;
mod label;
mod label_planning;
mod level;
mod log_cdf;
mod mann_whitney;
mod mantel_haenszel;
mod mean_effect;
mod moments;
mod moved;
mod normal_mixture;
mod paired_runs;
mod planning;
mod proportion;
mod quantile_bounds;
mod quantile_effect;
mod random_groups;
mod rate_ratio;
mod rounds;
mod search;
mod special;
mod srm;
mod steps;
mod strict_test;
mod switchback;
mod threshold;
mod variance_inflation;
mod welch;

pub use self::{
    adjusted_p_values::{benjamini_hochberg, bonferroni, holm},
    beta_binomial::{BetaBinomial, bernoulli_confidence_sequence},
    boundary::{Boundary, TunedFor},
    brunner_munzel::{BrunnerMunzel, brunner_munzel},
    bucket::{Bucket, Edges},
    chi_square::{ChiSquare, srm_chi_square},
    common_ratio::{CommonRatio, common_ratio},
    comparison::{Comparison, Stratum},
    design_effect::DesignEffect,
    distribution::Distribution,
    e_bh::e_bh,
    error::Error,
    estimate::Estimate,
    evidence::{Evidence, average_log_e, p_value_of_log_e},
    grid::Grid,
    hodges_lehmann::{HodgesLehmann, hodges_lehmann},
    interference::{ControlEpoch, Interference, interference},
    kolmogorov_smirnov::ks_distance,
    label::{Alternative, BaseRate, LabelCounts, LabelTest, label_log_e},
    label_planning::{LabelDesign, label_requirement},
    level::{Alpha, Power, Quantile, Share},
    mann_whitney::{MannWhitney, mann_whitney},
    mantel_haenszel::{MantelHaenszel, RateCounts, mantel_haenszel},
    mean_effect::{MeanEffect, geometric_mean_effect, mean_effect},
    normal_mixture::{NormalMixture, OneSidedNormalMixture},
    paired_runs::{PairedEffect, PairedRuns},
    planning::{Design, Requirement, best_requirement, requests_per_arm_for_rates, requirement},
    proportion::{newcombe, wilson},
    quantile_bounds::{quantile_confidence_interval, quantile_confidence_sequence},
    quantile_effect::{QuantileEffect, quantile_effect, quantile_effects},
    random_groups::{
        GroupCounts, GroupedStratum, StickyEpoch, StickySrm, jackknife_variance, random_groups,
        sticky_srm,
    },
    rate_ratio::{EventCounts, rate_ratio, rate_ratio_log_e},
    rounds::{BeforeAfter, before_after},
    srm::{Allocation, SRM_THRESHOLD, Srm, srm, srm_log_bayes_factor},
    strict_test::{StrictTest, strict_test},
    switchback::{BlockPair, Switchback, switchback, switchback_sequence},
    threshold::{DominanceCounts, DominanceGrid, Threshold, dominance_log_e},
    variance_inflation::{IntervalContrast, VarianceInflation, variance_inflation},
    welch::{Welch, welch, welch_log},
};
