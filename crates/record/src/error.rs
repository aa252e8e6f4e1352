//! What can be wrong with a document or with two snapshots together.

use std::fmt;

/// An error of this crate: a snapshot document that breaks a rule, or two snapshots that do not
/// belong together. The message names the place, the value and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    path: String,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Document,
    Mismatch,
}

impl Error {
    pub(crate) fn document(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: Kind::Document, path: path.into(), message: message.into() }
    }

    pub(crate) fn mismatch(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: Kind::Mismatch, path: path.into(), message: message.into() }
    }

    /// Puts the error below a place: `at("series[3]")` turns `buckets[2]` into
    /// `series[3].buckets[2]`.
    pub(crate) fn at(mut self, parent: impl fmt::Display) -> Self {
        self.path = if self.path.is_empty() {
            parent.to_string()
        } else {
            format!("{parent}.{}", self.path)
        };
        self
    }

    /// The place in the document, such as `series[3].buckets[2]`; empty for the document itself.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether one document broke a rule.
    pub fn is_document(&self) -> bool {
        self.kind == Kind::Document
    }

    /// Whether two snapshots do not belong together.
    pub fn is_mismatch(&self) -> bool {
        self.kind == Kind::Mismatch
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Error {}
