//! Is the cached way really faster, on which routes, at p50 or at p99, and is it safe?
//!
//! A Tower layer times each request, splits a feature flag on the request ID, and records latency
//! per route, response size and arm. The report compares the arms with confidence sequences, which
//! stay valid however often they are looked at.
//!
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use latency_experiment::{Flag, LatencyExperiment, Verdict};
//! # use axum::{body::Body, http::Request};
//! # use tower::Service;
//!
//! let experiment = LatencyExperiment::new(Flag::new("cached_whitelist")); // 50:50 on the request ID
//! let cached_whitelist = experiment.flag("cached_whitelist")?;
//!
//! let categories = move || async move {
//!     // Ask where the paths part. No parameter is needed, however deep the code is.
//!     if cached_whitelist.is_on() { "from the cache" } else { "from the database" }
//! };
//! let app = Router::new().route("/api/v1/categories", get(categories)).layer(experiment);
//!
//! # let mut app = app;
//! # for _ in 0..100 { app.call(Request::get("/api/v1/categories").body(Body::empty())?).await?; }
//! let report = experiment.report(); // print it: per route p50, p95, p99 per arm, lift, verdict
//! assert_eq!(report.experiment, "cached_whitelist");
//! assert!(report.routes().any(|row| row.segment.route.as_deref() == Some("GET /api/v1/categories")));
//! # Ok(()) }
//! ```
//!
//! | item | job |
//! |---|---|
//! | [`LatencyExperiment`] | the layer, and the way to handles, snapshots and reports |
//! | [`Flag`] | what is switched, and how subjects are split |
//! | [`FlagHandle`], [`current`], [`Assignments`] | which arm the current request is in |
//! | [`section`] | times a unit of work inside a request |
//! | [`Config`], [`RouteSource`], [`SizeClasses`], [`Limits`] | what a request is filed under, and the bounds on memory |
//! | [`Snapshot`] | everything that was recorded, to exchange and merge |
//! | [`analyze`], [`Plan`], [`Report`], [`Verdict`] | the comparison of the arms |
//! | [`export`] | histograms for the monitoring that is already there |
//!
//! # Guarantees
//!
//! - The request path neither allocates nor locks in the steady state, and nothing of a request is
//!   changed.
//! - Every request counts, whatever its end. No series are minted by clients.
//! - Looking at the report as often as you like does not raise the rate of false verdicts above
//!   `alpha`.
//!
//! # What it does not show
//!
//! Arms that share a process share its CPU and its caches. The comparison tells what the change
//! does at the present load, not how much load the service can take after it.
//!
//! # Features
//!
//! None is on by default, and the default brings no async runtime, TLS or web framework.
//!
//! - `axum`: routes from `MatchedPath`, and [`Assignments`] as an extractor.
//! - `metrics`: `export::MetricsExporter`.
//! - `tracing`: warnings as events of `tracing`, in place of lines on standard error.

mod latency_experiment;

pub use latency_experiment_analysis::{Comparison, Plan, Report, Verdict, analyze};
pub use latency_experiment_flags::{Error, Flag, FlagSet, Subject};
pub use latency_experiment_layers::{
    AssignLayer, Assignments, Config, ExperimentLayer, Experiments, FlagHandle, LatencyLayer,
    MeasuredBody, RequestHead, RequestId, RequestIdCounts, RequestIds, RouteSource, Section,
    SharedAssignments, SizeClasses, WholeBody, current, section,
};
pub use latency_experiment_record::{Clock, Histogram, Limits, Snapshot};

pub use crate::latency_experiment::LatencyExperiment;
pub use latency_experiment_export as export;
