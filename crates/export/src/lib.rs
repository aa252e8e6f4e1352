//! Brings per-arm latency histograms into the monitoring that a service already has.
//!
//! | type | job |
//! |---|---|
//! | `MetricsExporter` (feature `metrics`) | pushes what was recorded since its last push into the recorder of the `metrics` facade |
//!
//! Exporters read [`Snapshot`](latency_experiment_record::Snapshot)s. They run when you call them,
//! off the request path: serving a request never waits for telemetry.
//!
//! # What it does not do
//!
//! It opens no sockets and starts no threads. It does not decide when to export.

#[cfg(feature = "metrics")]
mod facade;
mod names;

#[cfg(feature = "metrics")]
pub use facade::MetricsExporter;
pub use names::LATENCY_SECONDS;
