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
//! | Where is one arm's quantile? | [`quantile_confidence_sequence`] | exact for i.i.d. data, every look |
//! | The same for one planned look | [`quantile_confidence_interval`], [`Boundary::FixedN`] | exact; asymptotic |
//! | Which arm is faster more often? | [`mann_whitney`] | asymptotic, one planned look |
//! | Are bad requests likelier in one arm? | [`label_log_e`] | exact, every look |
//! | Is a rate what it should be? | [`BetaBinomial`], [`bernoulli_confidence_sequence`] | exact, every look |
//! | Did the arms get their shares? | [`srm`] | exact, every look |
//! | Which of many hypotheses to reject? | [`e_bh`], [`average_log_e`] | exact, any dependence |
//! | How many requests will it take? | [`requirement`], [`best_requirement`] | within a third of simulations |
//! | Any z-score, at every look | [`NormalMixture`], [`OneSidedNormalMixture`] | asymptotic |
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
//! * Requests must be assigned independently of each other. With sticky users none of the intervals holds.
//! * Asymptotic means: from some twenty requests per arm on, and tuned for at least [`TunedFor::MIN`].
//! * A change smaller than a bucket is invisible. Two histograms must share their buckets; reduce the finer
//!   one first.
//! * Arms that share a machine slow each other down; no method here sees that.
//!
//! # Features
//!
//! None. One dependency: `libm`.

mod beta_binomial;
mod boundary;
mod bucket;
mod common_ratio;
mod comparison;
mod distribution;
mod e_bh;
mod error;
mod estimate;
mod evidence;
mod label;
mod level;
mod log_cdf;
mod mann_whitney;
mod mean_effect;
mod moments;
mod normal_mixture;
mod planning;
mod quantile_bounds;
mod quantile_effect;
mod special;
mod srm;

pub use self::{
    beta_binomial::{BetaBinomial, bernoulli_confidence_sequence},
    boundary::{Boundary, TunedFor},
    bucket::{Bucket, Edges},
    common_ratio::{CommonRatio, common_ratio},
    comparison::{Comparison, Stratum},
    distribution::Distribution,
    e_bh::e_bh,
    error::Error,
    estimate::Estimate,
    evidence::{Evidence, average_log_e, p_value_of_log_e},
    label::{Alternative, BaseRate, LabelCounts, label_log_e},
    level::{Alpha, Power, Quantile, Share},
    mann_whitney::{MannWhitney, mann_whitney},
    mean_effect::{MeanEffect, geometric_mean_effect, mean_effect},
    normal_mixture::{NormalMixture, OneSidedNormalMixture},
    planning::{Design, Requirement, best_requirement, requests_per_arm_for_rates, requirement},
    quantile_bounds::{quantile_confidence_interval, quantile_confidence_sequence},
    quantile_effect::{QuantileEffect, quantile_effect},
    srm::{Allocation, SRM_THRESHOLD, Srm, srm, srm_log_bayes_factor},
};
