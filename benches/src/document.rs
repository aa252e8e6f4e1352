//! The documents that `--json` prints.

use std::collections::BTreeMap;

use serde::Serialize;

/// What `instructions --json` prints. All numbers are per request and include the bare service.
#[derive(Debug, Serialize)]
pub struct Instructions {
    /// The cases in the order in which they are defined.
    pub cases: Vec<InstructionCase>,
}

/// One case of [`Instructions`].
#[derive(Debug, Serialize)]
pub struct InstructionCase {
    /// `platform/what`.
    pub name: String,
    /// Instructions per request.
    pub instructions: f64,
    /// Allocations per request.
    pub allocations: f64,
    /// Bytes asked for per request.
    pub bytes: f64,
}

/// What `cost --json` prints. A cost is that of the case minus that of the bare service.
#[derive(Debug, Serialize)]
pub struct Costs {
    /// The cases in the order in which they are defined.
    pub cases: Vec<CostCase>,
    /// Costs of one case in those of another, by `case / case`.
    pub ratios: BTreeMap<String, f64>,
}

/// One case of [`Costs`].
#[derive(Debug, Serialize)]
pub struct CostCase {
    /// `platform/what`.
    pub name: String,
    /// Fastest batch, in nanoseconds per request, the bare service included.
    pub min_ns: f64,
    /// Median batch, in nanoseconds per request, the bare service included.
    pub median_ns: f64,
    /// Fastest batch above the fastest one of the bare service, in nanoseconds per request.
    pub cost_min_ns: f64,
    /// Median of the differences to the bare service in the same round, in nanoseconds per request.
    pub cost_median_ns: f64,
    /// Allocations per request above those of the bare service.
    pub allocations: f64,
    /// Bytes asked for per request above those of the bare service.
    pub bytes: f64,
}
