//! What is attached to a snapshot, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SeriesEntry, read_series, timestamp};
use crate::part::Part;
use crate::{Attached, Error, Histogram, SeriesKey, SinceFreeze, Snapshot};

/// One part of a merged snapshot.
#[derive(Serialize, Deserialize)]
pub(super) struct PartEntry {
    instance: String,
    from: String,
    to: String,
}

/// What was recorded from one time to another.
#[derive(Serialize, Deserialize)]
pub(super) struct IntervalEntry {
    from: String,
    to: String,
    series: Vec<SeriesEntry>,
}

/// Requests since a threshold was frozen.
#[derive(Serialize, Deserialize)]
pub(super) struct FrozenEntry {
    edge: Option<u64>,
    over: u64,
    n: u64,
}

pub(super) type Frozen = BTreeMap<String, FrozenEntry>;

pub(super) fn write_frozen(counts: Option<&BTreeMap<String, SinceFreeze>>) -> Frozen {
    let counts = counts.into_iter().flatten();
    counts
        .map(|(quantile, &SinceFreeze { edge, over, n })| {
            (quantile.clone(), FrozenEntry { edge, over, n })
        })
        .collect()
}

pub(super) fn read_frozen(entries: Frozen) -> Result<BTreeMap<String, SinceFreeze>, Error> {
    let mut counts = BTreeMap::new();
    for (quantile, FrozenEntry { edge, over, n }) in entries {
        let at = format!("since_freeze.{quantile}");
        let level: Option<f64> = quantile.parse().ok().filter(|q| *q > 0.0 && *q < 1.0);
        let Some(level) = level else {
            let rule = format!("`{quantile}` is not a quantile strictly between 0 and 1");
            return Err(Error::document(at, rule));
        };
        if over > n {
            return Err(Error::document(at, format!("{over} of {n} requests are over the edge")));
        }
        // One spelling for each quantile.
        if counts.insert(level.to_string(), SinceFreeze { edge, over, n }).is_some() {
            return Err(Error::document(at, "this quantile is listed before"));
        }
    }
    Ok(counts)
}

pub(super) fn write_parts(snapshot: &Snapshot) -> Vec<PartEntry> {
    let parts = snapshot.parts.iter();
    parts
        .map(|Part { instance, from, to }| PartEntry {
            instance: instance.clone(),
            from: from.to_string(),
            to: to.to_string(),
        })
        .collect()
}

pub(super) fn read_parts(entries: Vec<PartEntry>) -> Result<Vec<Part>, Error> {
    let read = |(position, PartEntry { instance, from, to }): (usize, PartEntry)| {
        let at = format!("parts[{position}]");
        let from = timestamp("from", &from).map_err(|error| error.at(&at))?;
        let to = timestamp("to", &to).map_err(|error| error.at(&at))?;
        if from > to {
            return Err(Error::document(at, format!("`to` {to} is before `from` {from}")));
        }
        Ok(Part { instance, from, to })
    };
    entries.into_iter().enumerate().map(read).collect()
}

pub(super) fn write_intervals(attached: &Attached) -> Vec<IntervalEntry> {
    let entry = |((from, to), series): (&(jiff::Timestamp, jiff::Timestamp), &BTreeMap<_, _>)| {
        let series = series.iter();
        IntervalEntry {
            from: from.to_string(),
            to: to.to_string(),
            series: series.map(|(key, one)| SeriesEntry::new(key, one, None, None)).collect(),
        }
    };
    attached.intervals.iter().map(entry).collect()
}

type Intervals = BTreeMap<(jiff::Timestamp, jiff::Timestamp), BTreeMap<SeriesKey, Histogram>>;

pub(super) fn read_intervals(
    entries: Vec<IntervalEntry>,
    known_arm: &dyn Fn(&str) -> bool,
) -> Result<Intervals, Error> {
    let mut intervals = Intervals::new();
    for (position, IntervalEntry { from, to, series }) in entries.into_iter().enumerate() {
        let at = format!("intervals[{position}]");
        let from = timestamp("from", &from).map_err(|error| error.at(&at))?;
        let to = timestamp("to", &to).map_err(|error| error.at(&at))?;
        if from >= to {
            return Err(Error::document(at, format!("`to` {to} is not after `from` {from}")));
        }
        let read = read_series(series, known_arm).map_err(|error| error.at(&at))?;
        crate::attached::add_series(intervals.entry((from, to)).or_default(), &read.histograms)
            .map_err(|error| Error::document(&*at, error.to_string()))?;
    }
    Ok(intervals)
}

/// Refuses anything but an object.
pub(super) fn object(value: Value, path: &str) -> Result<Value, Error> {
    if value.is_object() { Ok(value) } else { Err(Error::document(path, "is not an object")) }
}
