//! The report document, schema `latency-experiment/report/1`.
//!
//! Its keys are a contract: the terminal, the page, the command line and the guard read them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{Comparison, Error, Segment};

/// The schema that this version writes and reads.
pub(crate) const SCHEMA: &str = "latency-experiment/report/1";

/// What the data of one experiment say.
///
/// It serialises to the document `latency-experiment/report/1` and reads back from it; unknown keys
/// are ignored. Printed with `{}` it is a table for the terminal. Numbers are finite; what the data
/// do not determine, or do not bound, is absent (`null`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// `latency-experiment/report/1`.
    pub schema: String,
    /// The flag.
    pub experiment: String,
    /// The latest epoch in the data.
    pub epoch: u64,
    /// All epochs in the data, ascending; more than one are compared epoch by epoch, never pooled.
    pub epochs: Vec<u64>,
    /// The arm that the others are compared with.
    pub control: String,
    /// Error probability of every interval, over all looks together.
    pub alpha: f64,
    /// The quantile that decides first.
    pub primary: f64,
    /// Where intervals are tightest, as harmonic information in requests.
    pub tuned_for: f64,
    /// The smallest relative change that counts as faster or slower.
    pub minimum_effect: f64,
    /// The relative change below which arms count as equivalent; absent when none was chosen.
    pub equivalence_margin: Option<f64>,
    /// Whether fixed-n intervals and p-values may be shown at any sample size.
    pub fixed_n: bool,
    /// When the recording began.
    pub started_at: Timestamp,
    /// When the latest snapshot was taken.
    pub taken_at: Timestamp,
    /// Which requests the report is about.
    pub population: Population,
    /// Whether the arms got the requests that their weights allot.
    pub srm: Srm,
    /// What a reader must know about the whole report, in words; empty when there is nothing.
    pub warnings: Vec<String>,
    /// Overall first, then the routes in alphabetical order, each followed by its size classes; one
    /// entry per variation.
    pub comparisons: Vec<Comparison>,
}

/// Which requests are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Population {
    /// Requests that consulted the flag.
    Exposed,
    /// All requests that were assigned, because none consulted the flag.
    Assigned,
}

/// Whether the arms got the requests that their weights allot (sample ratio mismatch).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Srm {
    /// Requests assigned to each arm, by name.
    pub observed: BTreeMap<String, u64>,
    /// min(1, 1/E), valid at every look; absent where it cannot be tested: time slices, and sticky subjects
    /// without random groups.
    pub p_value: Option<f64>,
    /// Whether E reached 1,000: then every verdict is withheld.
    pub mismatch: bool,
    /// ln E; absent where not tested, and where an arm without weight got requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_e: Option<f64>,
    /// ln of the Bayes factors behind E, by the concentration of their prior, epochs added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bayes_factors: Option<BTreeMap<String, f64>>,
    /// Pearson's test for one look; only of one epoch, and when the plan asks for fixed-n figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chi_square: Option<SrmChiSquare>,
    /// The same over the requests that consulted the flag, whatever their outcome: it finds arms
    /// that consult at different points. Absent when none did or requests are not the subjects.
    #[serde(default)]
    pub exposed: Option<ExposedSrm>,
}

/// Pearson's test of the split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SrmChiSquare {
    /// The statistic.
    pub statistic: f64,
    /// For one look at a number of requests fixed in advance.
    pub p_value: f64,
}

/// The split of the requests that consulted the flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExposedSrm {
    /// Requests of each arm that consulted the flag and ended, by name.
    pub observed: BTreeMap<String, u64>,
    /// min(1, 1/E), valid at every look.
    pub p_value: f64,
    /// Whether E reached 1,000: then every verdict is withheld.
    pub mismatch: bool,
}

impl Report {
    /// The document.
    #[allow(clippy::missing_panics_doc, reason = "numbers, strings and timestamps serialise")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("a document of numbers, strings and timestamps always serialises")
    }

    /// Reads a document of schema `latency-experiment/report/1`.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Header {
            schema: String,
        }
        let header: Header = deserialize(text)?;
        if header.schema != SCHEMA {
            return Err(Error::document(
                "schema",
                format!(
                    "`{}` is not a schema that this version reads: expected `{SCHEMA}`",
                    header.schema
                ),
            ));
        }
        deserialize(text)
    }

    /// The comparisons over all routes, one per variation.
    pub fn overall(&self) -> impl Iterator<Item = &Comparison> {
        self.comparisons.iter().filter(|comparison| comparison.segment.is_overall())
    }

    /// The comparisons of single routes, without those of their size classes.
    pub fn routes(&self) -> impl Iterator<Item = &Comparison> {
        self.comparisons.iter().filter(|comparison| comparison.segment.is_route())
    }

    /// The comparison of one variation in one segment, if there is one.
    pub fn comparison(&self, segment: &Segment, variation: &str) -> Option<&Comparison> {
        self.comparisons
            .iter()
            .find(|entry| entry.segment == *segment && entry.variation == variation)
    }
}

fn deserialize<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Error::document(&error.path().to_string(), error.inner()))?;
    json.end().map_err(|error| Error::document("", error))?;
    Ok(value)
}
