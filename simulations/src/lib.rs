//! Simulations of what the statistics promise: their error rates under peeking, power, coverage, bias and plans.
//!
//! Every method comes from `latency-experiment-stats`; this crate makes traffic, looks, and counts how often a
//! method is wrong. The program `simulate` runs it; `docs/statistics.md` explains what comes out.
//!
//! | module | job |
//! |---|---|
//! | [`traffic`], [`latency`], [`load`], [`sessions`] | a stream of requests |
//! | [`histogram`] | counts it in buckets of 0.8 %, as a recorder does |
//! | [`guardrail`] | the automatic rollback |
//! | [`criteria`] | one file per question, each gives a [`table::Table`] |
//! | [`queue`] | arms that share workers |
//! | [`document`] | the tables for `docs/` |
//! | [`plots`] | its figures |
//!
//! The same seed gives the same figures on every machine, but for the last bits of its `exp` and `ln`, however
//! many threads there are.

/// The document of all tables.
pub mod document;

pub mod criteria;
/// The automatic rollback.
pub mod guardrail;
/// Latencies in buckets of 0.8 %.
pub mod histogram;
/// Shapes of latencies.
pub mod latency;
/// What both arms share.
pub mod load;
/// When an experiment is looked at.
pub mod looks;
pub mod plots;
pub mod queue;
/// Seeds and repetitions.
pub mod random;
/// One result.
pub mod row;
/// How thorough a simulation is.
pub mod scale;
/// Users who stay in one arm.
pub mod sessions;
/// Results side by side.
pub mod table;
/// Streams of requests.
pub mod traffic;
