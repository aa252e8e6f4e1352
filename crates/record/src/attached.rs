//! What others attach to a snapshot: frozen thresholds, intervals, flag state and events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::{Error, Histogram, SeriesKey};

/// What a snapshot carries beside its counts. All of it is optional; a recorder attaches nothing.
///
/// | attached by | what | read by |
/// |---|---|---|
/// | [`ThresholdFreeze`](crate::ThresholdFreeze) | `since_freeze` | tests of sticky subjects and of the whole distribution |
/// | [`IntervalRing`](crate::IntervalRing) | `intervals` | the variance-inflation check, charts over time |
/// | the service | `flag_state`, `events` | people |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Requests of a series above and below thresholds that were frozen before they came, by quantile:
    /// `0.5`, `0.95`, … as decimal text.
    pub since_freeze: BTreeMap<SeriesKey, BTreeMap<String, SinceFreeze>>,
    /// What was recorded from one time to another, in the order of time.
    pub intervals: BTreeMap<(Timestamp, Timestamp), BTreeMap<SeriesKey, Histogram>>,
    /// The state of the flag when the snapshot was taken, an object.
    pub flag_state: Option<Value>,
    /// What happened to the flag, objects in the order of time as far as they say it.
    pub events: Vec<Value>,
}

/// Requests that came after a threshold was frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinceFreeze {
    /// The threshold, an upper bucket edge in nanoseconds; absent when parts with different ones were
    /// merged, so that the counts have no common meaning.
    pub edge: Option<u64>,
    /// Requests above it.
    pub over: u64,
    /// All requests.
    pub n: u64,
}

impl SinceFreeze {
    /// Both together: counts add up, edges that differ become none. `None` beyond 64 bits.
    pub fn merge(self, other: Self) -> Option<Self> {
        Some(Self {
            edge: self.edge.filter(|edge| other.edge == Some(*edge)),
            over: self.over.checked_add(other.over)?,
            n: self.n.checked_add(other.n)?,
        })
    }

    /// What came after `earlier`. `None` when that counts more.
    pub fn subtract(self, earlier: Self) -> Option<Self> {
        Some(Self {
            edge: self.edge.filter(|edge| earlier.edge == Some(*edge)),
            over: self.over.checked_sub(earlier.over)?,
            n: self.n.checked_sub(earlier.n)?,
        })
    }
}

impl Attached {
    /// Both together, in any order the same. The flag state is that of the `later` of the two.
    pub(crate) fn merge(&self, other: &Self, later: &Self) -> Result<Self, Error> {
        let mut since_freeze = self.since_freeze.clone();
        for (key, theirs) in &other.since_freeze {
            add_frozen(since_freeze.entry(key.clone()).or_default(), theirs)?;
        }
        let mut intervals = self.intervals.clone();
        for (time, series) in &other.intervals {
            add_series(intervals.entry(*time).or_default(), series)
                .map_err(|error| error.at("intervals"))?;
        }
        let mut events: Vec<Value> = self.events.iter().chain(&other.events).cloned().collect();
        events.sort_by_cached_key(event_order);
        Ok(Self { since_freeze, intervals, flag_state: later.flag_state.clone(), events })
    }

    /// What was attached after `earlier`, which was taken at this time.
    pub(crate) fn subtract(&self, earlier: &Self, taken_at: Timestamp) -> Result<Self, Error> {
        let mut since_freeze = self.since_freeze.clone();
        for (key, before) in &earlier.since_freeze {
            let Some(now) = since_freeze.get_mut(key) else { continue };
            for (quantile, before) in before {
                let Some(counts) = now.get_mut(quantile) else { continue };
                *counts = counts.subtract(*before).ok_or_else(|| {
                    Error::mismatch(
                        format!("since_freeze.{quantile}"),
                        "less than in the earlier snapshot: it is not earlier, or not of the same process",
                    )
                })?;
            }
        }
        let intervals = self.intervals.iter().filter(|((from, _), _)| *from >= taken_at);
        let known = |event: &&Value| !earlier.events.contains(event);
        Ok(Self {
            since_freeze,
            intervals: intervals.map(|(time, series)| (*time, series.clone())).collect(),
            flag_state: self.flag_state.clone(),
            events: self.events.iter().filter(known).cloned().collect(),
        })
    }
}

/// Adds counts quantile by quantile.
pub(crate) fn add_frozen(
    ours: &mut BTreeMap<String, SinceFreeze>,
    theirs: &BTreeMap<String, SinceFreeze>,
) -> Result<(), Error> {
    for (quantile, counts) in theirs {
        let total = match ours.get(quantile) {
            Some(ours) => ours.merge(*counts).ok_or_else(|| {
                Error::mismatch(format!("since_freeze.{quantile}"), "the sum exceeds 64 bits")
            })?,
            None => *counts,
        };
        ours.insert(quantile.clone(), total);
    }
    Ok(())
}

/// Adds histograms series by series.
pub(crate) fn add_series(
    ours: &mut BTreeMap<SeriesKey, Histogram>,
    theirs: &BTreeMap<SeriesKey, Histogram>,
) -> Result<(), Error> {
    for (key, histogram) in theirs {
        match ours.get_mut(key) {
            Some(known) => {
                *known = known.merge(histogram).map_err(|error| error.at(key.describe()))?;
            }
            None => {
                ours.insert(key.clone(), histogram.clone());
            }
        }
    }
    Ok(())
}

/// Time first, then the text, so that every order of merging gives the same list.
fn event_order(event: &Value) -> (String, String) {
    let at = event.get("at").and_then(Value::as_str).unwrap_or_default();
    (at.to_owned(), event.to_string())
}
