//! Snapshot JSON, version 1.
//!
//! The types in here are the document and nothing else; [`Snapshot`] is what the code works with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attached::{Attached, SinceFreeze, add_frozen};
use crate::part;
use crate::slowest::{CompactId, SlowRequest, Slowest};
use crate::snapshot::{Arm, Counters, Experiment, Fingerprint, RouteCounts, Snapshot, Subject};
use crate::{Bucket, Error, Histogram, Milestone, Outcome, SeriesKey, Sums, reserved};

mod attached;
use attached::{Frozen, IntervalEntry, PartEntry};

const SCHEMA: &str = "latency-experiment/snapshot/1";
const FULL_COVERAGE_BP: u16 = 10_000;

impl Snapshot {
    /// Reads a document of schema `latency-experiment/snapshot/1`.
    ///
    /// Unknown keys are ignored and series with equal keys add up. Refused, each with its JSON
    /// path: another schema, overlapping or unordered buckets, counts beyond `u64`, and arms that
    /// neither `arms` nor the [`reserved`] names list.
    pub fn from_json(text: &str) -> Result<Self, Error> {
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
        deserialize::<Document>(text)?.into_snapshot()
    }

    /// Writes a document of schema `latency-experiment/snapshot/1`.
    #[allow(clippy::missing_panics_doc, reason = "strings and integers always serialise")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Document::from_snapshot(self))
            .expect("a document of strings and integers always serialises")
    }
}

fn deserialize<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        Error::document(if path == "." { String::new() } else { path }, error.inner().to_string())
    })?;
    json.end().map_err(|error| Error::document("", error.to_string()))?;
    Ok(value)
}

#[derive(Deserialize)]
struct Header {
    schema: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    instance: String,
    started_at: String,
    taken_at: String,
    experiment: String,
    epoch: u64,
    fingerprint: String,
    control: String,
    arms: Vec<ArmEntry>,
    assigned: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coverage_bp: Option<u16>,
    #[serde(default)]
    counters: CountersEntry,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flag_state: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    intervals: Vec<IntervalEntry>,
    series: Vec<SeriesEntry>,
}

#[derive(Serialize, Deserialize)]
struct ArmEntry {
    name: String,
    weight: u32,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct CountersEntry {
    started: BTreeMap<String, u64>,
    in_flight: BTreeMap<String, u64>,
    routes: Vec<RouteEntry>,
    coarsened: u64,
    overflow_series: u64,
}

#[derive(Serialize, Deserialize)]
struct RouteEntry {
    route: String,
    arm: String,
    started: u64,
    in_flight: u64,
}

#[derive(Serialize, Deserialize)]
struct SeriesEntry {
    arm: String,
    route: String,
    size: String,
    outcome: String,
    milestone: String,
    exposed: bool,
    unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<Exact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum_sq: Option<Exact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<u64>,
    /// Nanoseconds and request ID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    slowest: Vec<(u64, String)>,
    #[serde(default, skip_serializing_if = "Frozen::is_empty")]
    since_freeze: Frozen,
    buckets: Vec<(u64, u64, u64)>,
}

/// An exact integer: a number below 2⁵³, where every JSON reader is exact, else decimal text.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a non-negative integer, or its decimal digits as text")]
enum Exact {
    Number(u64),
    Text(String),
}

impl Exact {
    fn from_integer(value: u128) -> Self {
        match u64::try_from(value) {
            Ok(small) if small < 1 << 53 => Self::Number(small),
            _ => Self::Text(value.to_string()),
        }
    }

    fn parse(self, name: &str) -> Result<u128, Error> {
        match self {
            Self::Number(number) => Ok(number.into()),
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| {
                    Error::document(name, format!("`{text}` is not an integer below 2^128"))
                })
            }
            Self::Text(text) => {
                Err(Error::document(name, format!("`{text}` is not a decimal integer")))
            }
        }
    }
}

impl Document {
    fn from_snapshot(snapshot: &Snapshot) -> Self {
        let Experiment { name, epoch, fingerprint, control, arms, subject, coverage_bp } =
            &snapshot.experiment;
        Self {
            schema: SCHEMA.to_owned(),
            instance: snapshot.instance.clone(),
            started_at: snapshot.started_at.to_string(),
            taken_at: snapshot.taken_at.to_string(),
            experiment: name.clone(),
            epoch: *epoch,
            fingerprint: fingerprint.to_string(),
            control: control.clone(),
            arms: arms
                .iter()
                .map(|arm| ArmEntry { name: arm.name.clone(), weight: arm.weight })
                .collect(),
            assigned: snapshot.assigned.clone(),
            subject: Some(subject.as_str().to_owned()),
            coverage_bp: Some(*coverage_bp),
            counters: CountersEntry {
                started: snapshot.counters.started.clone(),
                in_flight: snapshot.counters.in_flight.clone(),
                routes: snapshot.counters.routes.iter().map(RouteEntry::new).collect(),
                coarsened: snapshot.counters.coarsened,
                overflow_series: snapshot.counters.overflow_series,
            },
            parts: attached::write_parts(snapshot),
            flag_state: snapshot.attached.flag_state.clone(),
            events: snapshot.attached.events.clone(),
            intervals: attached::write_intervals(&snapshot.attached),
            series: snapshot
                .series
                .iter()
                .map(|(key, histogram)| {
                    let frozen = snapshot.attached.since_freeze.get(key);
                    SeriesEntry::new(key, histogram, snapshot.slowest.get(key), frozen)
                })
                .collect(),
        }
    }

    fn into_snapshot(self) -> Result<Snapshot, Error> {
        let experiment = self.experiment()?;
        let known_arm = |name: &str| experiment.arms.iter().any(|arm| arm.name == name);
        if let Some(name) = self.assigned.keys().find(|name| !known_arm(name)) {
            return Err(unknown_arm(format!("assigned.{name}"), name, false));
        }
        for (counter, counts) in
            [("started", &self.counters.started), ("in_flight", &self.counters.in_flight)]
        {
            if let Some(name) =
                counts.keys().find(|name| !known_arm(name) && !reserved::is_reserved(name))
            {
                return Err(unknown_arm(format!("counters.{counter}.{name}"), name, true));
            }
        }
        let mut routes = BTreeMap::new();
        for (position, RouteEntry { route, arm, started, in_flight }) in
            self.counters.routes.into_iter().enumerate()
        {
            let at = format!("counters.routes[{position}]");
            if !known_arm(&arm) && !reserved::is_reserved(&arm) {
                return Err(unknown_arm(format!("{at}.arm"), &arm, true));
            }
            if routes.insert((route, arm), RouteCounts { started, in_flight }).is_some() {
                return Err(Error::document(at, "this route and arm are listed before"));
            }
        }
        let series = read_series(self.series, &known_arm)?;
        let started_at = timestamp("started_at", &self.started_at)?;
        let taken_at = timestamp("taken_at", &self.taken_at)?;
        if taken_at < started_at {
            return Err(Error::document(
                "taken_at",
                format!("{taken_at} is before `started_at` {started_at}"),
            ));
        }
        let flag_state = self.flag_state.filter(|state| !state.is_null());
        let events = self.events.into_iter().enumerate();
        let attached = Attached {
            since_freeze: series.since_freeze,
            intervals: attached::read_intervals(self.intervals, &known_arm)?,
            flag_state: flag_state
                .map(|state| attached::object(state, "flag_state"))
                .transpose()?,
            events: events
                .map(|(position, event)| attached::object(event, &format!("events[{position}]")))
                .collect::<Result<_, _>>()?,
        };
        Ok(Snapshot {
            instance: self.instance,
            started_at,
            taken_at,
            assigned: self.assigned,
            counters: Counters {
                started: self.counters.started,
                in_flight: self.counters.in_flight,
                routes,
                coarsened: self.counters.coarsened,
                overflow_series: self.counters.overflow_series,
            },
            series: series.histograms,
            slowest: series
                .slowest
                .into_iter()
                .map(|(key, slow)| (key, slow.into_list()))
                .collect(),
            parts: part::tidy(attached::read_parts(self.parts)?),
            attached,
            experiment,
        })
    }

    fn experiment(&self) -> Result<Experiment, Error> {
        let mut arms = Vec::<Arm>::with_capacity(self.arms.len());
        let mut total_weight = 0u32;
        for (position, ArmEntry { name, weight }) in self.arms.iter().enumerate() {
            let at = format!("arms[{position}]");
            if name.starts_with('_') {
                return Err(Error::document(
                    format!("{at}.name"),
                    format!("`{name}` starts with `_`, which is reserved"),
                ));
            }
            if arms.iter().any(|arm| arm.name == *name) {
                return Err(Error::document(
                    format!("{at}.name"),
                    format!("`{name}` is listed twice"),
                ));
            }
            total_weight = total_weight.checked_add(*weight).ok_or_else(|| {
                Error::document(format!("{at}.weight"), "the weights together exceed 4294967295")
            })?;
            arms.push(Arm { name: name.clone(), weight: *weight });
        }
        if arms.iter().all(|arm| arm.name != self.control) {
            return Err(unknown_arm("control".to_owned(), &self.control, false));
        }
        let fingerprint = Fingerprint::parse(&self.fingerprint).ok_or_else(|| {
            Error::document(
                "fingerprint",
                format!("`{}` is not 16 hexadecimal digits", self.fingerprint),
            )
        })?;
        let subject = match &self.subject {
            None => Subject::default(),
            Some(word) => Subject::parse(word).ok_or_else(|| {
                Error::document(
                    "subject",
                    format!("`{word}` is none of request_id, sticky, time_slice"),
                )
            })?,
        };
        let coverage_bp = self.coverage_bp.unwrap_or(FULL_COVERAGE_BP);
        if coverage_bp > FULL_COVERAGE_BP {
            return Err(Error::document(
                "coverage_bp",
                format!("{coverage_bp} is not in 0..=10000"),
            ));
        }
        Ok(Experiment {
            name: self.experiment.clone(),
            epoch: self.epoch,
            fingerprint,
            control: self.control.clone(),
            arms,
            subject,
            coverage_bp,
        })
    }
}

/// Series that were read, those with equal keys added up.
#[derive(Default)]
struct ReadSeries {
    histograms: BTreeMap<SeriesKey, Histogram>,
    slowest: BTreeMap<SeriesKey, Slowest>,
    since_freeze: BTreeMap<SeriesKey, BTreeMap<String, SinceFreeze>>,
}

fn read_series(
    entries: Vec<SeriesEntry>,
    known_arm: &dyn Fn(&str) -> bool,
) -> Result<ReadSeries, Error> {
    let mut read = ReadSeries::default();
    for (position, entry) in entries.into_iter().enumerate() {
        let at = format!("series[{position}]");
        if !known_arm(&entry.arm) && !reserved::is_reserved(&entry.arm) {
            return Err(unknown_arm(format!("{at}.arm"), &entry.arm, true));
        }
        read.add(entry).map_err(|error| {
            let error =
                if error.is_document() { error } else { Error::document("", error.to_string()) };
            error.at(&at)
        })?;
    }
    Ok(read)
}

impl ReadSeries {
    fn add(&mut self, entry: SeriesEntry) -> Result<(), Error> {
        let (key, histogram, slow, frozen) = entry.into_series()?;
        if !slow.is_empty() {
            self.slowest.entry(key.clone()).or_default().extend(slow);
        }
        if !frozen.is_empty() {
            add_frozen(self.since_freeze.entry(key.clone()).or_default(), &frozen)?;
        }
        let total = match self.histograms.get(&key) {
            Some(same) => same.merge(&histogram)?,
            None => histogram,
        };
        self.histograms.insert(key, total);
        Ok(())
    }
}

/// What a series entry says.
type Series = (SeriesKey, Histogram, Vec<SlowRequest>, BTreeMap<String, SinceFreeze>);

impl RouteEntry {
    fn new(((route, arm), counts): (&(String, String), &RouteCounts)) -> Self {
        let RouteCounts { started, in_flight } = *counts;
        Self { route: route.clone(), arm: arm.clone(), started, in_flight }
    }
}

impl SeriesEntry {
    fn new(
        key: &SeriesKey,
        histogram: &Histogram,
        slowest: Option<&Vec<SlowRequest>>,
        frozen: Option<&BTreeMap<String, SinceFreeze>>,
    ) -> Self {
        Self {
            arm: key.arm.clone(),
            route: key.route.clone(),
            size: key.size.clone(),
            outcome: key.outcome.as_str().to_owned(),
            milestone: key.milestone.to_string(),
            exposed: key.exposed,
            unit: "ns".to_owned(),
            sum: histogram.sums().sum.map(Exact::from_integer),
            sum_sq: histogram.sums().sum_sq.map(Exact::from_integer),
            group: key.group,
            block: key.block,
            slowest: slowest
                .into_iter()
                .flatten()
                .map(|slow| (slow.latency_ns, slow.request_id.to_string()))
                .collect(),
            since_freeze: attached::write_frozen(frozen),
            buckets: histogram
                .buckets()
                .iter()
                .map(|bucket| (bucket.lower, bucket.upper, bucket.count))
                .collect(),
        }
    }

    fn into_series(self) -> Result<Series, Error> {
        if self.unit != "ns" {
            return Err(Error::document(
                "unit",
                format!("`{}` is not `ns`, the only unit of version 1", self.unit),
            ));
        }
        let outcome = Outcome::parse(&self.outcome).ok_or_else(|| {
            Error::document(
                "outcome",
                format!(
                    "`{}` is none of {}",
                    self.outcome,
                    Outcome::ALL.map(Outcome::as_str).join(", ")
                ),
            )
        })?;
        let milestone = Milestone::parse(&self.milestone).ok_or_else(|| {
            Error::document(
                "milestone",
                format!("`{}` is none of latency, duration, busy, section:NAME", self.milestone),
            )
        })?;
        let sums = Sums {
            sum: self.sum.map(|sum| sum.parse("sum")).transpose()?,
            sum_sq: self.sum_sq.map(|sum_sq| sum_sq.parse("sum_sq")).transpose()?,
        };
        let buckets = self
            .buckets
            .into_iter()
            .map(|(lower, upper, count)| Bucket { lower, upper, count })
            .collect();
        let key = SeriesKey {
            arm: self.arm,
            route: self.route,
            size: self.size,
            outcome,
            milestone,
            exposed: self.exposed,
            group: self.group,
            block: self.block,
        };
        let slowest = self.slowest.into_iter();
        let slowest = slowest
            .map(|(latency_ns, id)| SlowRequest { latency_ns, request_id: CompactId::of_text(&id) })
            .collect();
        let frozen = attached::read_frozen(self.since_freeze)?;
        Ok((key, Histogram::try_new(buckets, sums)?, slowest, frozen))
    }
}

fn timestamp(path: &str, text: &str) -> Result<Timestamp, Error> {
    text.parse().map_err(|error| {
        Error::document(path, format!("`{text}` is not an RFC 3339 timestamp: {error}"))
    })
}

fn unknown_arm(path: String, name: &str, or_reserved: bool) -> Error {
    let rule =
        if or_reserved { "neither listed in `arms` nor reserved" } else { "not listed in `arms`" };
    Error::document(path, format!("`{name}` is {rule}"))
}

#[cfg(test)]
mod tests;
