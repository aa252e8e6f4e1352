//! Setting up: the flags and tables that layers and handles share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use latency_experiment_flags::{Error, FlagSet};
use latency_experiment_record::{Clock, ExperimentId, IntervalRing, Limits, Recorder, Snapshot};

use crate::clock::{AnyClock, MachineClock};
use crate::core::{Core, Filter};
use crate::head::RequestHead;
use crate::looks::Looks;
use crate::request_ids::{IdSource, RequestIdCounts, RequestIds};
use crate::revision::{Revisions, TablesBuilder};
use crate::route::{RouteSource, Source};
use crate::size::SizeClasses;
use crate::unrouted::Unrouted;
use crate::{AssignLayer, ExperimentLayer, FlagHandle, LatencyLayer};

/// What an [`Experiments`] is made of. Everything but the flags has a default.
pub struct Config {
    flags: FlagSet,
    route_source: RouteSource,
    max_routes: usize,
    sizes: SizeClasses,
    filter: Option<Filter>,
    request_ids: RequestIds,
    request_extension: bool,
    busy_time: bool,
    server_timing: bool,
    limits: Limits,
    history: Option<(usize, Duration)>,
    /// The machine's, when there is no other.
    clock: Option<AnyClock>,
}

impl Config {
    /// The defaults with these flags.
    pub fn new(flags: FlagSet) -> Self {
        Self {
            flags,
            route_source: RouteSource::default(),
            max_routes: 1_000,
            sizes: SizeClasses::default(),
            filter: None,
            request_ids: RequestIds::default(),
            request_extension: false,
            busy_time: false,
            server_timing: false,
            limits: Limits::default(),
            history: None,
            clock: None,
        }
    }

    /// Where routes come from; by default [`RouteSource::automatic`].
    #[must_use]
    pub fn with_route_source(mut self, source: RouteSource) -> Self {
        self.route_source = source;
        self
    }

    /// Most routes before further ones are filed under `_overflow`; 1,000 by default. So are those with
    /// names of more than 256 bytes.
    #[must_use]
    pub fn with_max_routes(mut self, max_routes: usize) -> Self {
        self.max_routes = max_routes;
        self
    }

    /// The classes of response sizes.
    #[must_use]
    pub fn with_size_classes(mut self, sizes: SizeClasses) -> Self {
        self.sizes = sizes;
        self
    }

    /// Which requests take part; by default all. The others pass untouched and unrecorded, and
    /// flags are at control for them.
    #[must_use]
    pub fn with_filter<F>(mut self, takes_part: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.filter = Some(Box::new(takes_part));
        self
    }

    /// Where request IDs come from and who is told; by default they are generated and stay inside.
    #[must_use]
    pub fn with_request_ids(mut self, request_ids: RequestIds) -> Self {
        self.request_ids = request_ids;
        self
    }

    /// Whether to put [`Assignments`](crate::Assignments) into the request's extensions, for code
    /// that has the request but is not in its scope. It costs an allocation per request; off by
    /// default.
    #[must_use]
    pub fn with_request_extension(mut self, insert: bool) -> Self {
        self.request_extension = insert;
        self
    }

    /// Whether to measure *busy time*, the time that a request spends inside `poll`, of its future and
    /// of its body where that is measured: the CPU time that it costs, as long as nothing below blocks.
    /// What a service does in `call`, before it returns the future, is not in it. It reads the clock
    /// twice for each poll; off by default.
    #[must_use]
    pub fn with_busy_time(mut self, measure: bool) -> Self {
        self.busy_time = measure;
        self
    }

    /// Whether to tell the client in a `Server-Timing` header how long the response took, and each
    /// of its [sections](crate::section) so far. It tells everybody who can see the response; off
    /// by default.
    #[must_use]
    pub fn with_server_timing(mut self, tell: bool) -> Self {
        self.server_timing = tell;
        self
    }

    /// The bounds on memory.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Keeps a history: the last `intervals` intervals, each of at least this length, made of the
    /// snapshots that are taken. It shows the effect over time, and with 30 intervals or more the
    /// report tells whether the effect varies more than chance explains.
    ///
    /// Off by default, because memory and snapshots grow with it: by what was recorded in each
    /// interval.
    #[must_use]
    pub fn with_history(mut self, intervals: usize, length: Duration) -> Self {
        self.history = Some((intervals, length));
        self
    }

    /// Another clock than the machine's, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(AnyClock::Injected(Box::new(clock)));
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flags,
            route_source,
            max_routes,
            sizes,
            request_ids,
            request_extension,
            limits,
            ..
        } = self;
        f.debug_struct("Config")
            .field("flags", flags)
            .field("route_source", route_source)
            .field("max_routes", max_routes)
            .field("sizes", sizes)
            .field("request_ids", request_ids)
            .field("request_extension", request_extension)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

/// 1 to 16 flags with the tables that requests are recorded in; each flag is one experiment.
///
/// Layers, handles and snapshots are made from it. It is a reference to tables that live as long
/// as the process: `Copy`, and free to pass around. Make one per service.
#[derive(Clone, Copy)]
pub struct Experiments {
    pub(crate) core: &'static Core,
}

impl Experiments {
    /// Sets up the tables. Nothing runs in the background.
    pub fn new(config: Config) -> Self {
        let Config {
            flags,
            route_source,
            max_routes,
            sizes,
            filter,
            request_ids,
            request_extension,
            busy_time,
            server_timing,
            limits,
            history,
            clock,
        } = config;
        let recorder = Recorder::new(limits, Timestamp::now());
        let plain = filter.is_none()
            && request_ids.are_internal()
            && !request_extension
            && !busy_time
            && !server_timing;
        let size_classes = sizes.labels().len();
        let builder = TablesBuilder { plain, recorder, max_routes, size_classes };
        let core = Core {
            plain,
            revisions: Revisions::new(flags, builder),
            recorder,
            looks: Looks::new(
                recorder,
                history.map(|(intervals, length)| IntervalRing::new(intervals, length)),
            ),
            clock: clock.unwrap_or_else(|| AnyClock::Machine(MachineClock::new())),
            unrouted: Unrouted::new(matches!(route_source.source(), Source::Function(_))),
            route_source,
            sizes,
            filter,
            request_ids: IdSource::new(request_ids),
            request_extension,
            busy_time,
            server_timing,
            consults_without_scope: AtomicU64::new(0),
        };
        Self { core: core.leak() }
    }

    /// Goes on with these flags: those that it was made of by name, each in the state that is given
    /// here. Anything wrong refuses the whole set, and the present one stays.
    ///
    /// Requests that were assigned before keep what they got, and count for the epoch that assigned
    /// them. Switching a flag off or changing its coverage starts no new epoch; changing what
    /// decides which subject gets which arm does. Each distinct set stays in memory as long as the
    /// process: some kilobytes, and more where it starts an epoch, which has series of its own.
    pub fn set_flags(self, flags: FlagSet) -> Result<(), Error> {
        self.core.revisions.replace(flags)
    }

    /// The flag with this name, to ask from below the layer. Fails when there is no such flag.
    pub fn flag(self, name: &str) -> Result<FlagHandle, Error> {
        let index = self.core.revisions.current().flags.find(name)?;
        Ok(FlagHandle { core: self.core, index })
    }

    /// All flags, in the order in which they were given.
    pub fn flags(self) -> impl ExactSizeIterator<Item = FlagHandle> {
        let flags = self.core.revisions.current().flags.iter();
        flags.map(move |(index, _)| FlagHandle { core: self.core, index })
    }

    /// The layer that assigns, times and records.
    pub fn layer(self) -> ExperimentLayer {
        ExperimentLayer::new(self.core)
    }

    /// The layer that only assigns.
    pub fn assign_layer(self) -> AssignLayer {
        AssignLayer::new(self.core)
    }

    /// The layer that only times and records.
    pub fn latency_layer(self) -> LatencyLayer {
        LatencyLayer::new(self.core)
    }

    /// Everything that was recorded so far for a flag in its present epoch.
    ///
    /// # Panics
    ///
    /// When the flag is of another `Experiments`.
    pub fn snapshot(self, flag: FlagHandle) -> Snapshot {
        let present = self.core.revisions.current().tables;
        self.snapshot_of(present.epochs[self.index_of(flag)].id)
    }

    /// Everything that was recorded so far for a flag: one snapshot for each epoch, in the order in
    /// which they began. Analyse them together: epochs are compared each on its own, never pooled.
    ///
    /// # Panics
    ///
    /// When the flag is of another `Experiments`.
    pub fn snapshots(self, flag: FlagHandle) -> Vec<Snapshot> {
        let epochs = self.core.revisions.experiments_of(self.index_of(flag));
        epochs.into_iter().map(|epoch| self.snapshot_of(epoch)).collect()
    }

    fn index_of(self, flag: FlagHandle) -> usize {
        assert!(
            std::ptr::eq(flag.core, self.core),
            "flag `{}` is of another `Experiments`",
            flag.name()
        );
        flag.index.get()
    }

    fn snapshot_of(self, epoch: ExperimentId) -> Snapshot {
        self.core.looks.snapshot(epoch)
    }

    /// How the IDs of requests came about. All zero unless a client's header is trusted.
    pub fn request_id_counts(self) -> RequestIdCounts {
        self.core.request_ids.counts()
    }

    /// How often a flag was asked outside any request: by a background task, or by code that the
    /// layer is missing around. Such a consult gets control and no exposure.
    pub fn consults_without_scope(self) -> u64 {
        self.core.consults_without_scope.load(Relaxed)
    }
}

impl fmt::Debug for Experiments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Experiments").field("flags", &self.core.revisions).finish_non_exhaustive()
    }
}
