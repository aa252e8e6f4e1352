//! Where requests are recorded and snapshots are taken.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{OnceLock, PoisonError};

use jiff::Timestamp;

use crate::copier::Copier;
use crate::ended::Ended;
use crate::shard::{PageBudget, Sample, SeriesId, Shard};
use crate::slowest::{CompactId, SlowRequest};
use crate::snapshot::{Counters, Experiment, Snapshot};
use crate::sync::{AtomicU64, Mutex, MutexGuard, local_to_thread};
use crate::{SeriesKey, reserved};

/// Bounds on the memory of a [`Recorder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most series before further ones share an overflow series per arm. Default 10,000.
    pub max_series: usize,
    /// Most memory for buckets, over all threads, before further octaves are counted with one
    /// bucket each. Default 256 MiB.
    pub max_bucket_bytes: u64,
    /// Most threads with counts of their own, before further ones share one set of counts under a
    /// lock. Default 256.
    pub max_threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_series: 10_000, max_bucket_bytes: 256 << 20, max_threads: 256 }
    }
}

const PAGE_BYTES: u64 = 512;

/// Records latencies without locks, and copies them into snapshots at any moment.
///
/// A recorder is a reference to tables that live as long as the process: it is `Copy`, so that no
/// reference count, a cache line that all threads would write, is touched per request. Make one
/// per service, not one per request.
///
/// Each thread writes tables of its own. When a thread ends, the next new thread goes on with its
/// tables, so threads may come and go without losing a count or growing memory.
#[derive(Clone, Copy)]
pub struct Recorder(&'static Inner);

struct Inner {
    id: usize,
    limits: Limits,
    started_at: Timestamp,
    budget: PageBudget,
    tables: Mutex<Tables>,
    shards: Mutex<Shards>,
    /// For threads beyond the bound and for threads that are being torn down: its writer is
    /// whoever holds the lock.
    shared: Mutex<()>,
    shared_shard: crate::sync::OnceLock<Box<Shard>>,
}

#[derive(Default)]
struct Tables {
    experiments: Vec<Registered>,
    counters: usize,
    /// Counters of started requests, each of one experiment and route: one per arm.
    started: BTreeMap<(ExperimentId, String), StartedCounters>,
    series: Vec<(ExperimentId, SeriesKey)>,
    index: HashMap<(ExperimentId, SeriesKey), SeriesId>,
    overflow_series: u64,
}

struct Registered {
    experiment: Experiment,
    assigned: AssignedCounters,
    overflowed: u64,
}

#[derive(Default)]
struct Shards {
    all: Vec<&'static Shard>,
    free: Vec<&'static Shard>,
}

/// Index of an experiment, one flag in one epoch, in its recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExperimentId(u32);

/// Position of an arm in an experiment: the reserved names first, then the arms in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArmId(u8);

impl ArmId {
    /// Not in the experiment.
    pub const OUTSIDE: Self = Self(0);
    /// Sent to a variation by an override or a forcing rule.
    pub const FORCED: Self = Self(1);
    /// In the first fifth of a switchback block.
    pub const WASHOUT: Self = Self(2);

    const RESERVED: u8 = reserved::ALL.len() as u8;

    /// The arm at this position among the experiment's arms, below 253.
    #[inline]
    pub const fn arm(position: u8) -> Self {
        Self(position.wrapping_add(Self::RESERVED))
    }

    /// Position in tables that hold the reserved names and the arms.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The arm at this position of such tables: what [`index`](Self::index) gave.
    #[inline]
    pub const fn from_index(index: u8) -> Self {
        Self(index)
    }

    /// How many positions such a table needs for an experiment of so many arms.
    pub const fn table_len(arms: usize) -> usize {
        arms + Self::RESERVED as usize
    }

    /// The name behind the position, if the experiment has it.
    pub fn name(self, experiment: &Experiment) -> Option<&str> {
        match self.index().checked_sub(Self::RESERVED.into()) {
            None => reserved::ALL.get(self.index()).copied(),
            Some(position) => experiment.arms.get(position).map(|arm| arm.name.as_str()),
        }
    }
}

/// Counters of the requests that were assigned in one experiment but are not counted as started,
/// one per arm.
#[derive(Clone, Copy, Debug)]
pub struct AssignedCounters(usize);

/// Counters of the requests of one route that were assigned and started in one experiment, one per
/// arm.
#[derive(Clone, Copy, Debug)]
pub struct StartedCounters(usize);

impl Recorder {
    /// A recorder within these bounds. `started_at` is the start of its snapshots.
    pub fn new(limits: Limits, started_at: Timestamp) -> Self {
        // The registry keeps every recorder reachable; nothing else refers to it for sure.
        static RECORDERS: std::sync::Mutex<Vec<&'static Inner>> = std::sync::Mutex::new(Vec::new());
        let mut recorders = RECORDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = Box::leak(Box::new(Inner {
            id: recorders.len(),
            limits,
            started_at,
            budget: PageBudget(AtomicU64::new(limits.max_bucket_bytes / PAGE_BYTES)),
            tables: Mutex::default(),
            shards: Mutex::default(),
            shared: Mutex::new(()),
            shared_shard: crate::sync::OnceLock::new(),
        }));
        recorders.push(inner);
        Self(inner)
    }

    /// Adds an experiment, whose requests can be recorded from then on.
    pub fn register(self, experiment: Experiment) -> (ExperimentId, AssignedCounters) {
        let mut tables = lock(&self.0.tables);
        let assigned = AssignedCounters(tables.counters);
        tables.counters += ArmId::table_len(experiment.arms.len());
        tables.experiments.push(Registered { experiment, assigned, overflowed: 0 });
        (ExperimentId(tables.experiments.len() as u32 - 1), assigned)
    }

    /// Notes that the experiment goes on with another coverage, in basis points.
    ///
    /// # Panics
    ///
    /// When the experiment is not of this recorder.
    pub fn set_coverage_bp(self, experiment: ExperimentId, coverage_bp: u16) {
        let mut tables = lock(&self.0.tables);
        tables.experiments[experiment.0 as usize].experiment.coverage_bp = coverage_bp;
    }

    /// The counters for the started requests of a route. They are never given back: bound the number
    /// of routes.
    ///
    /// # Panics
    ///
    /// When the experiment is not of this recorder.
    pub fn started_counters(self, experiment: ExperimentId, route: &str) -> StartedCounters {
        let mut tables = lock(&self.0.tables);
        let place = (experiment, route.to_owned());
        if let Some(known) = tables.started.get(&place) {
            return *known;
        }
        let counters = StartedCounters(tables.counters);
        let arms = tables.experiments[experiment.0 as usize].experiment.arms.len();
        tables.counters += ArmId::table_len(arms);
        tables.started.insert(place, counters);
        counters
    }

    /// The series with this key; it is created when there is none and the bound allows it.
    ///
    /// Beyond the bound it is the series of route [`reserved::OVERFLOW`], which keeps all but the
    /// route. Resolve a series once and keep the ID: this takes a lock.
    pub fn series(self, experiment: ExperimentId, key: SeriesKey) -> SeriesId {
        let mut tables = lock(&self.0.tables);
        let key = (experiment, key);
        if let Some(&id) = tables.index.get(&key) {
            return id;
        }
        if tables.series.len() < self.0.limits.max_series {
            return tables.insert(key);
        }
        tables.overflow_series += 1;
        if let Some(registered) = tables.experiments.get_mut(experiment.0 as usize) {
            registered.overflowed += 1;
        }
        let overflow = (experiment, SeriesKey { route: reserved::OVERFLOW.to_owned(), ..key.1 });
        match tables.index.get(&overflow) {
            Some(&id) => id,
            // Their number is bounded by that of arms, size classes, outcomes and milestones.
            None => tables.insert(overflow),
        }
    }

    /// The series of an arm, whose name `key` is given. See [`series`](Self::series).
    ///
    /// # Panics
    ///
    /// When the experiment is not of this recorder or has no such arm.
    pub fn series_of(
        self,
        experiment: ExperimentId,
        arm: ArmId,
        key: impl FnOnce(&str) -> SeriesKey,
    ) -> SeriesId {
        let key = {
            let tables = lock(&self.0.tables);
            let experiment = &tables.experiments[experiment.0 as usize].experiment;
            key(arm.name(experiment).expect("the arm is one of the experiment's"))
        };
        self.series(experiment, key)
    }

    /// Writes the calling thread's tables, if they are the ones that it wrote last: nearly always,
    /// and in a few instructions. Otherwise [`writer`](Self::writer) finds them.
    #[inline(always)]
    pub fn last_writer(self) -> Option<Writer> {
        match LAST_USED.with(Cell::get) {
            Some((recorder, shard)) if std::ptr::eq(recorder.0, self.0) => Some(Writer::of(shard)),
            _ => None,
        }
    }

    /// Writes the calling thread's tables.
    ///
    /// Keep it no longer than it takes to record one request: for a thread beyond
    /// [`Limits::max_threads`] it holds a lock, which a second one would wait for without end.
    pub fn writer(self) -> WriterGuard {
        if let Some(writer) = self.last_writer() {
            return WriterGuard { writer, _exclusive: None };
        }
        if let Some(shard) = self.own_shard() {
            return WriterGuard { writer: Writer::of(shard), _exclusive: None };
        }
        let exclusive = lock(&self.0.shared);
        let shared = self.0.shared_shard.get_or_init(|| Box::new(Shard::new(&self.0.budget)));
        WriterGuard { writer: Writer::of(shared), _exclusive: Some(exclusive) }
    }

    /// A copy of everything that was recorded for an experiment.
    ///
    /// The count of each series is the sum of its buckets at one moment, whatever other threads
    /// record meanwhile. A request that ends during the copy may be counted as in flight.
    ///
    /// # Panics
    ///
    /// When the experiment is not of this recorder.
    pub fn snapshot(self, experiment: ExperimentId, taken_at: Timestamp) -> Snapshot {
        let listed = lock(&self.0.tables).series_of(experiment);
        let (series, slowest) = {
            let shards = self.shards();
            let mut copier = Copier::new(&shards);
            for (id, key) in listed {
                copier.copy(id, key);
            }
            copier.finish()
        };
        let ended = Ended::of(&series);

        // After the series, and of the threads and routes that are there now: whoever saw a request
        // end also sees that it started, maybe on a thread that was not there before.
        let tables = lock(&self.0.tables).of(experiment);
        let shards = self.shards();
        let total = |counter| {
            let counts = shards.iter().map(|shard| shard.counter(counter));
            counts.fold(0, u64::wrapping_add)
        };
        let arms = (0..ArmId::table_len(tables.experiment.arms.len()))
            .map(|position| ArmId(position as u8));
        let named = arms.filter_map(|arm| Some((arm, arm.name(&tables.experiment)?.to_owned())));
        let mut counters = Counters {
            coarsened: shards.iter().map(|shard| shard.coarsened()).sum(),
            overflow_series: tables.overflowed,
            ..Counters::default()
        };
        let mut assigned = BTreeMap::new();
        for (arm, name) in named {
            let by_route: Vec<_> = tables
                .started
                .iter()
                .map(|(route, started)| (&**route, total(started.0 + arm.index())))
                .collect();
            let all = by_route.iter().map(|(_, started)| *started);
            let all_assigned = all.fold(total(tables.assigned.0 + arm.index()), u64::wrapping_add);
            let by_route =
                by_route.iter().map(|&(route, started)| (route, not_below_zero(started)));
            ended.note_started(&name, by_route, &mut counters);
            if !reserved::is_reserved(&name) {
                assigned.insert(name, not_below_zero(all_assigned));
            }
        }
        Snapshot {
            instance: instance().to_owned(),
            started_at: self.0.started_at,
            taken_at,
            experiment: tables.experiment,
            assigned,
            counters,
            series,
            slowest,
            parts: Vec::new(),
            attached: crate::Attached::default(),
        }
    }

    /// The calling thread's tables; `None` for a thread beyond the bound or being torn down.
    fn own_shard(self) -> Option<&'static Shard> {
        let shard = LOCAL.try_with(|local| local.shard(self)).ok().flatten()?;
        LAST_USED.with(|last| last.set(Some((self, shard))));
        Some(shard)
    }

    fn shards(self) -> Vec<&'static Shard> {
        let mut shards = lock(&self.0.shards).all.clone();
        shards.extend(self.0.shared_shard.get().map(|shard| &**shard));
        shards
    }

    /// Tables for a thread that has none yet, unless the bound is reached.
    fn acquire_shard(self) -> Option<&'static Shard> {
        let mut shards = lock(&self.0.shards);
        if let Some(left_behind) = shards.free.pop() {
            return Some(left_behind);
        }
        if shards.all.len() >= self.0.limits.max_threads {
            return None;
        }
        let shard = &*Box::leak(Box::new(Shard::new(&self.0.budget)));
        shards.all.push(shard);
        Some(shard)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("id", &self.0.id)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl Tables {
    fn insert(&mut self, key: (ExperimentId, SeriesKey)) -> SeriesId {
        let id = SeriesId(self.series.len() as u32);
        self.series.push(key.clone());
        self.index.insert(key, id);
        id
    }

    /// The series of one experiment.
    fn series_of(&self, experiment: ExperimentId) -> Vec<(SeriesId, SeriesKey)> {
        let series = self.series.iter().enumerate().filter(|(_, (owner, _))| *owner == experiment);
        series.map(|(position, (_, key))| (SeriesId(position as u32), key.clone())).collect()
    }

    /// What else concerns one experiment.
    fn of(&self, experiment: ExperimentId) -> TablesOf {
        let registered = &self.experiments[experiment.0 as usize];
        let started = self.started.iter().filter(|((owner, _), _)| *owner == experiment);
        TablesOf {
            experiment: registered.experiment.clone(),
            assigned: registered.assigned,
            overflowed: registered.overflowed,
            started: started.map(|((_, route), counters)| (route.clone(), *counters)).collect(),
        }
    }
}

/// The part of the tables that concerns one experiment.
struct TablesOf {
    experiment: Experiment,
    assigned: AssignedCounters,
    overflowed: u64,
    started: Vec<(String, StartedCounters)>,
}

/// Writes the tables of the calling thread.
#[derive(Clone, Copy)]
pub struct Writer {
    shard: &'static Shard,
    /// Only the thread that got the tables may write them.
    _one_thread: PhantomData<*const ()>,
}

/// A [`Writer`], and the lock that it takes to be one. See [`Recorder::writer`].
pub struct WriterGuard {
    writer: Writer,
    /// While it writes the tables that threads share.
    _exclusive: Option<MutexGuard<'static, ()>>,
}

impl Deref for WriterGuard {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        &self.writer
    }
}

impl Writer {
    #[inline]
    fn of(shard: &'static Shard) -> Self {
        Self { shard, _one_thread: PhantomData }
    }

    /// Counts a request that was assigned to an arm and whose clock was started.
    #[inline]
    pub fn started(self, counters: StartedCounters, arm: ArmId) {
        self.shard.count(counters.0 + arm.index(), 1);
    }

    /// Files a request that was counted as started under another route.
    pub fn started_elsewhere(self, from: StartedCounters, to: StartedCounters, arm: ArmId) {
        self.shard.count(to.0 + arm.index(), 1);
        self.shard.count(from.0 + arm.index(), u64::MAX);
    }

    /// Counts a request that was assigned to an arm, by a layer that starts no clock.
    #[inline]
    pub fn assigned(self, counters: AssignedCounters, arm: ArmId) {
        self.shard.count(counters.0 + arm.index(), 1);
    }

    /// Takes back one [`assigned`](Self::assigned): the request is counted as started now, too.
    pub fn assigned_before(self, counters: AssignedCounters, arm: ArmId) {
        self.shard.count(counters.0 + arm.index(), u64::MAX);
    }

    /// Records a value, in nanoseconds, into a series.
    pub fn record(self, series: SeriesId, value_ns: u64) {
        self.shard.record(series, Sample::of(value_ns));
    }

    /// Records the latency of a request into a series and, when it is among the largest of this
    /// thread, keeps the ID of the request, which `id` is then asked for.
    #[inline]
    pub fn record_request(self, series: SeriesId, latency: Sample, id: impl FnOnce() -> CompactId) {
        if self.shard.record(series, latency) {
            self.keep_slow(series, latency.value_ns(), id);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_slow(self, series: SeriesId, latency_ns: u64, id: impl FnOnce() -> CompactId) {
        self.shard.keep_slow(series, SlowRequest { latency_ns, request_id: id() });
    }
}

local_to_thread! {
    static LOCAL: Local = const { Local { shards: RefCell::new(Vec::new()) } };
    /// The tables that were used last, which most threads always use. It has no destructor and
    /// needs no borrowing, so that reading it takes two instructions.
    static LAST_USED: Cell<Option<(Recorder, &'static Shard)>> = const { Cell::new(None) };
}

/// The tables that this thread owns, by recorder.
struct Local {
    shards: RefCell<Vec<Option<(Recorder, &'static Shard)>>>,
}

impl Local {
    fn shard(&self, recorder: Recorder) -> Option<&'static Shard> {
        let known = self.shards.borrow().get(recorder.0.id).copied().flatten();
        match known {
            Some((_, shard)) => Some(shard),
            None => self.acquire(recorder),
        }
    }

    fn acquire(&self, recorder: Recorder) -> Option<&'static Shard> {
        let shard = recorder.acquire_shard()?;
        let mut shards = self.shards.borrow_mut();
        if shards.len() <= recorder.0.id {
            shards.resize(recorder.0.id + 1, None);
        }
        shards[recorder.0.id] = Some((recorder, shard));
        Some(shard)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Whoever gets the tables next is their only writer.
        let _ = LAST_USED.try_with(|last| last.set(None));
        for (recorder, shard) in self.shards.get_mut().drain(..).flatten() {
            lock(&recorder.0.shards).free.push(shard);
        }
    }
}

/// A request that is filed elsewhere is taken off where it was before, maybe by a thread whose counts
/// were read after it was, and those of the thread that started it before.
fn not_below_zero(count: u64) -> u64 {
    count.cast_signed().max(0).cast_unsigned()
}

/// Names this process: random, so that snapshots of two starts are told apart.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| format!("{:016x}", RandomState::new().hash_one(std::process::id())))
}

/// Tables stay consistent when a thread panics: every update under a lock is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
