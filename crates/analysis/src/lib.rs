//! What a latency experiment found: snapshots in, a report out.
//!
//! ```
//! use latency_experiment_analysis::{Plan, Segment, Verdict, analyze};
//! use latency_experiment_record::Snapshot;
//!
//! // What a service wrote: 1,000 requests per arm, the variation at half of the latency.
//! let snapshot = Snapshot::from_json(
//!     r#"{
//!         "schema": "latency-experiment/snapshot/1", "instance": "a1",
//!         "started_at": "2026-01-01T00:00:00Z", "taken_at": "2026-01-01T01:00:00Z",
//!         "experiment": "cached_whitelist", "epoch": 1, "fingerprint": "00000000000000a1",
//!         "control": "control",
//!         "arms": [{"name": "control", "weight": 1}, {"name": "variation", "weight": 1}],
//!         "assigned": {"control": 1000, "variation": 1000},
//!         "series": [
//!             {"arm": "control", "route": "GET /categories", "size": "0-500kB",
//!              "outcome": "completed", "milestone": "latency", "exposed": true, "unit": "ns",
//!              "buckets": [[8000000, 8060000, 700], [9000000, 9060000, 300]]},
//!             {"arm": "variation", "route": "GET /categories", "size": "0-500kB",
//!              "outcome": "completed", "milestone": "latency", "exposed": true, "unit": "ns",
//!              "buckets": [[4000000, 4030000, 700], [4500000, 4530000, 300]]}
//!         ]
//!     }"#,
//! )?;
//!
//! let report = analyze(&[snapshot], &Plan::default())?;
//! let route = report.comparison(&Segment::route("GET /categories"), "variation").unwrap();
//! assert_eq!(route.verdict, Verdict::Faster);
//! assert_eq!(route.reasons[0], "p50 is 50.0 % lower (between 49.6 % and 50.4 %)");
//! println!("{report}"); // a table for the terminal
//! # let text = report.to_string();
//! # assert!(text.starts_with("cached_whitelist · epoch 1 · alpha 0.05 · exposed requests\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | item | job |
//! |---|---|
//! | [`analyze`] | turns snapshots into a report; a pure function |
//! | [`Plan`] | what is asked of the data, fixed before looking at them |
//! | [`Report`] | the document: prints as a table, exchanged as JSON |
//! | [`Comparison`] | one variation against the control in one segment |
//! | [`Verdict`] | what to make of it |
//! | [`sample_size`] | how many requests a [`Goal`] needs, from what was recorded before |
//!
//! # What is compared
//!
//! The control with every other arm: over all routes, per route, and per route and size class. The
//! latency is that of requests that were answered (completed, `client_error`, aborted). If any
//! request consulted the flag, only requests that did are compared, and routes that never did are
//! shown by assignment and withheld. Reserved arms are left out.
//!
//! Routes and epochs are strata: within a route, epochs weigh their information; over all routes,
//! each weighs its requests. So an arm that got more of a slow route, or more of a slow hour because
//! the split changed then, is not called slow for it. Size classes are no strata, because an arm can
//! change the size of what it answers.
//!
//! # The verdict
//!
//! For every quantile of the plan there are two intervals of the lift: one from the answered
//! requests, one in which server errors, failures, panics and cancelled requests count as slower
//! than every answer. The primary quantile has the level alpha / variations, and each of the m other
//! quantiles alpha / (m × variations). The first line that applies is the verdict.
//!
//! | verdict | when |
//! |---|---|
//! | withheld | something forbids a verdict: see below |
//! | mixed | one quantile is credibly lower and another credibly higher |
//! | slower | either interval of some quantile lies above the minimum effect |
//! | faster | both intervals of some quantile lie below minus the minimum effect |
//! | equivalent | all intervals lie within the equivalence margin, if one was chosen |
//! | undecided | otherwise; with the requests that would settle the minimum effect, or 5 % |
//!
//! A route counts as lower or higher only if the e-BH procedure also rejects it: at a false discovery
//! rate of 10 % over routes and variations, on the e-values of the primary quantile (which are
//! asymptotic). Size classes are descriptive: outside that procedure, and no decision rests on them.
//!
//! Withheld, with the reason in words, are:
//!
//! - everything, when the arms did not get the requests that their weights allot, at assignment or
//!   among those that consulted the flag (sample ratio mismatch, E ≥ 1,000);
//! - everything, when one epoch was recorded under different allocations (mixed fingerprints);
//! - everything, when subjects are sticky and the snapshots have fewer than 16 random groups, or time
//!   slices and the snapshots have no blocks or blocks of two arms: only point estimates are given then;
//! - routes that never consulted the flag;
//! - comparisons with fewer than 20 requests in an arm;
//! - comparisons in which clients gave up unequally often (label e-value ≥ 100): the slowest
//!   requests of one arm are then missing;
//! - size classes, when the variation moves the sizes (label e-value averaged over classes ≥ 100,
//!   over all routes or in the route itself).
//!
//! # Other subjects than requests
//!
//! Requests of one user, or of one block of time, share their arm; tests that take them for independent
//! find differences in most experiments without any, and are refused.
//!
//! *Sticky*: series have a random `group` of users. Variances are multiplied by a design effect per
//! quantile, from the share of requests beyond the frozen thresholds (`since_freeze`) or, without, beyond
//! the pooled quantile of each stratum; for means by the largest of them. Intervals are tuned for an
//! information of 5,000 or more. The split and the balance of cancelled requests are tested by groups.
//!
//! *Time slices*: series have a `block`, and two consecutive blocks make a pair, one block per arm. Figures
//! are compared pair by pair, routes weighing their requests in the pair; from 30 pairs on intervals are
//! given. The split is not tested.
//!
//! *Effects that vary*: when snapshots carry `intervals` and the difference between the arms varied more than
//! independent requests would (30 intervals or more, p below 0.001, factor above 1.25), intervals are
//! widened by the root of the factor, and the reasons say so.
//!
//! # Guarantees
//!
//! - Intervals are confidence sequences: one covers at all looks together with probability
//!   1 - alpha, so a report may be read at any time and as often as one likes. They are asymptotic
//!   in the requests per arm; `latency-experiment-stats` has the theorems.
//! - Mann-Whitney figures are for one look at a planned number of requests and say so
//!   ([`MannWhitney::valid_at`]).
//! - The same snapshots give the same report, bit by bit, in any order and however they were merged.
//! - No number is infinite or not a number. What the data do not determine or do not bound is
//!   absent.
//!
//! # Limits
//!
//! A report of requests cannot show what arms do to each other through a shared processor, pool or cache;
//! one of time slices can. It
//! computes no statistics itself (`latency-experiment-stats` does), reads no clock and draws no
//! random numbers. Durations, busy time and sections are in the snapshot but not yet in the report.
//! The [`Display`](std::fmt::Display) text is for people and may change; the JSON keys may only grow.
//!
//! # Errors and panics
//!
//! Plans, snapshots that do not belong together, and documents that are no report fail with
//! [`Error`], which names value and rule. Too little data is no error. Nothing panics.

mod analyze;
mod balance;
mod blocks;
mod compare;
mod comparison;
mod epochs;
mod error;
mod fixed_n;
mod groups;
mod inflation;
mod labels;
mod layout;
mod one_arm;
mod pairing;
mod plan;
mod reasons;
mod report;
mod sample_size;
mod split;
mod table;
mod traffic;
mod verdict;
mod words;

pub use analyze::analyze;
pub use comparison::{
    BlockCounts, Comparison, HodgesLehmann, Inflation, Interval, IntervalNs, LabelLogE, Labels,
    MannWhitney, MeanComparison, QuantileComparison, Roles, Segment, ValidAt, Verdict,
};
pub use error::Error;
pub use fixed_n::{
    BrunnerMunzelFixedN, CommonRate, FixedN, QuantileFixedN, RankFixedN, RateFixedN, WelchFixedN,
};
pub use plan::Plan;
pub use report::{ExposedSrm, Population, Report, Srm, SrmChiSquare};
pub use sample_size::{Baseline, Goal, Requests, SampleSize, sample_size};
