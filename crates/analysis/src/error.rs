//! What can be wrong with a plan, with snapshots together, or with a report document.

use std::fmt;

use latency_experiment_record as record;
use latency_experiment_stats as stats;

/// An error of this crate: a plan with a value that breaks a rule, snapshots that cannot be
/// analysed together, or a document that is no report. The message names the value and the rule.
///
/// Too little data is not an error: the report says so in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plan,
    Snapshots,
    Document,
}

impl Error {
    pub(crate) fn plan(message: impl fmt::Display) -> Self {
        Self { kind: Kind::Plan, message: message.to_string() }
    }

    pub(crate) fn snapshots(message: impl fmt::Display) -> Self {
        Self { kind: Kind::Snapshots, message: message.to_string() }
    }

    pub(crate) fn document(path: &str, message: impl fmt::Display) -> Self {
        let message = match path {
            "" | "." => message.to_string(),
            path => format!("{path}: {message}"),
        };
        Self { kind: Kind::Document, message }
    }

    /// Whether a value of a [`Plan`](crate::Plan) broke a rule.
    pub fn is_plan(&self) -> bool {
        self.kind == Kind::Plan
    }

    /// Whether the snapshots cannot be analysed together: different experiments or controls,
    /// requests counted twice, bucket layouts that do not fit.
    pub fn is_snapshots(&self) -> bool {
        self.kind == Kind::Snapshots
    }

    /// Whether a document is no report of a version that this crate reads.
    pub fn is_document(&self) -> bool {
        self.kind == Kind::Document
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<record::Error> for Error {
    fn from(error: record::Error) -> Self {
        Self::snapshots(error)
    }
}

impl From<stats::Error> for Error {
    fn from(error: stats::Error) -> Self {
        Self::snapshots(error)
    }
}
