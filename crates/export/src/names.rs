//! The names of all metrics, in one table.

/// Latency of requests, in seconds: call to response head built. A histogram with the labels
/// `experiment`, `epoch`, `arm`, `route`, `size`, `outcome` and `exposed`.
pub const LATENCY_SECONDS: &str = "latency_experiment_latency_seconds";
