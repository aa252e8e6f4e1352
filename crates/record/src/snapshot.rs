//! An immutable copy of all series since a start, and how two of them combine.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::attached::{Attached, add_series};
use crate::part::{self, Part};
use crate::slowest::{SlowRequest, Slowest};
use crate::{Error, Histogram, SeriesKey};

/// All series of one experiment and epoch, from one instance or merged from many.
///
/// It is the only thing that the recording and the analysis share. [`to_json`](Self::to_json) and
/// [`from_json`](Self::from_json) exchange it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which process it is from: random per process start. Merged snapshots join the names of
    /// their instances with `+`, in alphabetical order.
    pub instance: String,
    /// When the recording began.
    pub started_at: Timestamp,
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// The experiment.
    pub experiment: Experiment,
    /// Requests assigned to each arm, counted at assignment. Arms that got none may be absent.
    pub assigned: BTreeMap<String, u64>,
    /// Counts beside the series.
    pub counters: Counters,
    /// The series; no two have equal keys.
    pub series: BTreeMap<SeriesKey, Histogram>,
    /// The slowest requests of a series, the slowest first; series of which none is known are
    /// absent.
    pub slowest: BTreeMap<SeriesKey, Vec<SlowRequest>>,
    /// What was merged into this snapshot, by instance; empty for the snapshot of one instance, which
    /// is its only part.
    pub parts: Vec<Part>,
    /// What was attached to it.
    pub attached: Attached,
}

/// What is compared: one flag in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// The name of the flag.
    pub name: String,
    /// The epoch, which rises with every change of the allocation.
    pub epoch: u64,
    /// Identifies the allocation of the epoch.
    pub fingerprint: Fingerprint,
    /// The arm that the others are compared with.
    pub control: String,
    /// The arms with their weights, control among them.
    pub arms: Vec<Arm>,
    /// What was hashed to choose the arm.
    pub subject: Subject,
    /// Share of the subjects that were in the experiment when the snapshot was taken, of 10,000.
    pub coverage_bp: u16,
}

/// A variation in its role in the analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The name of the variation.
    pub name: String,
    /// Its share of the requests, relative to the other weights.
    pub weight: u32,
}

/// What is hashed to choose the arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// The request ID: requests are independent of each other.
    #[default]
    RequestId,
    /// An attribute that requests share, such as a user ID.
    Sticky,
    /// A block of time.
    TimeSlice,
}

/// Identifies an allocation: a hash of all that decides which subject gets which arm. Shown as 16
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint with these 16 hexadecimal digits, if they are that.
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Counts beside the series. Arms, reserved names included, that have none may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests whose clock was started, per arm.
    pub started: BTreeMap<String, u64>,
    /// Requests that had not ended when the snapshot was taken, per arm.
    pub in_flight: BTreeMap<String, u64>,
    /// The same per route and arm, in this order in the key. What ended in an overflow series has lost
    /// its route, which then has it in flight as long as its arm has any.
    pub routes: BTreeMap<(String, String), RouteCounts>,
    /// Samples that were recorded with an octave's width because the page budget was spent.
    pub coarsened: u64,
    /// Series that share an overflow series because the table was full.
    pub overflow_series: u64,
}

/// Requests of one route and arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteCounts {
    /// Requests whose clock was started.
    pub started: u64,
    /// Requests that had not ended when the snapshot was taken.
    pub in_flight: u64,
}

impl Snapshot {
    /// Both snapshots together.
    ///
    /// Fails when they are not of the same experiment, epoch, fingerprint, arms and subject; when they
    /// hold a part of the same instance at the same time, which would count requests twice; and when
    /// a sum exceeds `u64`. The result does not depend on the order of merging, nor on what was merged
    /// before: it is the same to the last byte.
    pub fn merge(&self, other: &Self) -> Result<Self, Error> {
        self.expect_same_experiment(other)?;
        let parts = part::join(&self.all_parts(), &other.all_parts())?;
        let mut series = self.series.clone();
        add_series(&mut series, &other.series)?;
        let mut slowest = self.slowest.clone();
        for (key, theirs) in &other.slowest {
            let mut both = Slowest::default();
            both.extend(slowest.remove(key).into_iter().flatten().chain(theirs.iter().cloned()));
            slowest.insert(key.clone(), both.into_list());
        }
        let later = if other.recency() > self.recency() { other } else { self };
        Ok(Self {
            instance: part::names(&parts),
            started_at: self.started_at.min(other.started_at),
            taken_at: self.taken_at.max(other.taken_at),
            experiment: later.experiment.clone(),
            assigned: add(&self.assigned, &other.assigned, "assigned")?,
            counters: self.counters.merge(&other.counters)?,
            series,
            slowest,
            attached: self.attached.merge(&other.attached, &later.attached)?,
            parts,
        })
    }

    /// Which of two snapshots tells the present state.
    fn recency(&self) -> (Timestamp, u16, Option<String>) {
        let state = self.attached.flag_state.as_ref().map(ToString::to_string);
        (self.taken_at, self.experiment.coverage_bp, state)
    }

    /// The instances that this snapshot is of, with their times, sorted.
    pub fn all_parts(&self) -> Vec<Part> {
        if !self.parts.is_empty() {
            return part::tidy(self.parts.clone());
        }
        // A document that was merged without saying when each instance counted: at most all the time.
        let names = self.instance.split('+');
        let part = |name: &str| Part {
            instance: name.to_owned(),
            from: self.started_at,
            to: self.taken_at,
        };
        part::tidy(names.map(part).collect())
    }

    /// The parts of what happened since an earlier snapshot.
    fn parts_since(&self, earlier: &Self) -> Vec<Part> {
        if self.parts.is_empty() {
            return Vec::new();
        }
        let before = earlier.all_parts();
        let until = |instance: &str| {
            before.iter().filter(|part| part.instance == instance).map(|part| part.to).max()
        };
        let since = |mut part: Part| {
            part.from = part.from.max(until(&part.instance).unwrap_or(part.from));
            (part.from < part.to).then_some(part)
        };
        self.all_parts().into_iter().filter_map(since).collect()
    }

    /// What happened after `earlier`, an earlier snapshot of the same instance.
    ///
    /// Fails when the two are not of the same instance, experiment, epoch, fingerprint and arms,
    /// or when `earlier` counts something that this snapshot does not.
    pub fn subtract(&self, earlier: &Self) -> Result<Self, Error> {
        self.expect_same_experiment(earlier)?;
        if self.instance != earlier.instance {
            return Err(mismatch("instance", &self.instance, &earlier.instance));
        }
        let mut series = self.series.clone();
        for (key, before) in &earlier.series {
            let now = series.remove(key).unwrap_or_default();
            let left = now.subtract(before).map_err(|error| error.at(key.describe()))?;
            if left.count() > 0 {
                series.insert(key.clone(), left);
            }
        }
        Ok(Self {
            instance: self.instance.clone(),
            started_at: earlier.taken_at,
            taken_at: self.taken_at,
            experiment: self.experiment.clone(),
            assigned: minus(&self.assigned, &earlier.assigned, "assigned")?,
            counters: self.counters.subtract(&earlier.counters)?,
            slowest: self.slowest_since(earlier, &series),
            series,
            parts: self.parts_since(earlier),
            attached: self.attached.subtract(&earlier.attached, earlier.taken_at)?,
        })
    }

    /// The slowest requests that were not among them before. There may have been slower ones than
    /// these since then that the earlier ones kept out.
    fn slowest_since(
        &self,
        earlier: &Self,
        series: &BTreeMap<SeriesKey, Histogram>,
    ) -> BTreeMap<SeriesKey, Vec<SlowRequest>> {
        let known =
            |key, request| earlier.slowest.get(key).is_some_and(|before| before.contains(request));
        let slowest = self.slowest.iter().filter(|(key, _)| series.contains_key(key));
        slowest
            .map(|(key, now)| {
                (key.clone(), now.iter().filter(|request| !known(key, request)).cloned().collect())
            })
            .filter(|(_, new): &(_, Vec<_>)| !new.is_empty())
            .collect()
    }

    fn expect_same_experiment(&self, other: &Self) -> Result<(), Error> {
        let (ours, theirs) = (&self.experiment, &other.experiment);
        if ours.name != theirs.name {
            return Err(mismatch("experiment", &ours.name, &theirs.name));
        }
        if ours.epoch != theirs.epoch {
            return Err(mismatch("epoch", ours.epoch, theirs.epoch));
        }
        if ours.fingerprint != theirs.fingerprint {
            return Err(mismatch("fingerprint", ours.fingerprint, theirs.fingerprint));
        }
        if ours.control != theirs.control {
            return Err(mismatch("control", &ours.control, &theirs.control));
        }
        if ours.arms != theirs.arms {
            return Err(mismatch("arms", format!("{:?}", ours.arms), format!("{:?}", theirs.arms)));
        }
        if ours.subject != theirs.subject {
            return Err(mismatch("subject", ours.subject, theirs.subject));
        }
        Ok(())
    }
}

impl Counters {
    fn merge(&self, other: &Self) -> Result<Self, Error> {
        let total = |a: u64, b: u64, what: &str| a.checked_add(b).ok_or_else(|| too_large(what));
        let mut routes = self.routes.clone();
        for (place, theirs) in &other.routes {
            let ours = routes.entry(place.clone()).or_default();
            ours.started = total(ours.started, theirs.started, "counters.routes")?;
            ours.in_flight = total(ours.in_flight, theirs.in_flight, "counters.routes")?;
        }
        Ok(Self {
            routes,
            started: add(&self.started, &other.started, "counters.started")?,
            in_flight: add(&self.in_flight, &other.in_flight, "counters.in_flight")?,
            coarsened: total(self.coarsened, other.coarsened, "counters.coarsened")?,
            overflow_series: total(
                self.overflow_series,
                other.overflow_series,
                "counters.overflow_series",
            )?,
        })
    }

    fn subtract(&self, earlier: &Self) -> Result<Self, Error> {
        let left = |a: u64, b: u64, what: &str| a.checked_sub(b).ok_or_else(|| not_earlier(what));
        let mut routes = self.routes.clone();
        for (place, before) in &earlier.routes {
            let now = routes.entry(place.clone()).or_default();
            now.started = left(now.started, before.started, "counters.routes")?;
        }
        Ok(Self {
            routes,
            started: minus(&self.started, &earlier.started, "counters.started")?,
            // A level, not a count: what is in flight now was not "in flight since then".
            in_flight: self.in_flight.clone(),
            coarsened: left(self.coarsened, earlier.coarsened, "counters.coarsened")?,
            overflow_series: left(
                self.overflow_series,
                earlier.overflow_series,
                "counters.overflow_series",
            )?,
        })
    }
}

impl Subject {
    /// The word used in snapshots: `request_id`, `sticky` or `time_slice`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestId => "request_id",
            Self::Sticky => "sticky",
            Self::TimeSlice => "time_slice",
        }
    }

    /// The subject with this word, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::RequestId, Self::Sticky, Self::TimeSlice]
            .into_iter()
            .find(|subject| subject.as_str() == word)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Counts = BTreeMap<String, u64>;

fn add(a: &Counts, b: &Counts, what: &str) -> Result<Counts, Error> {
    let mut sum = a.clone();
    for (name, count) in b {
        let total = sum.entry(name.clone()).or_default();
        *total = total.checked_add(*count).ok_or_else(|| too_large(format!("{what}.{name}")))?;
    }
    Ok(sum)
}

fn minus(a: &Counts, b: &Counts, what: &str) -> Result<Counts, Error> {
    let mut left = a.clone();
    for (name, count) in b {
        let rest = left.entry(name.clone()).or_default();
        *rest = rest.checked_sub(*count).ok_or_else(|| not_earlier(format!("{what}.{name}")))?;
    }
    Ok(left)
}

fn mismatch(path: &str, ours: impl fmt::Display, theirs: impl fmt::Display) -> Error {
    Error::mismatch(
        path,
        format!(
            "`{ours}` here but `{theirs}` there: only snapshots of one experiment, epoch and allocation combine"
        ),
    )
}

fn too_large(path: impl Into<String>) -> Error {
    Error::mismatch(path, "the sum exceeds 64 bits")
}

fn not_earlier(path: impl Into<String>) -> Error {
    Error::mismatch(
        path,
        "less than in the earlier snapshot: it is not earlier, or not of the same process",
    )
}
