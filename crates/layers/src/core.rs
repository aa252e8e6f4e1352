//! What all layers and handles of one set of experiments share.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use latency_experiment_flags::{Assignment, FlagSet, MAX_FLAGS, Reason};
use latency_experiment_record::{
    ArmId, ExperimentCounters, ExperimentId, Milestone, Outcome, Recorder, SeriesId, SeriesKey,
};

use crate::clock::AnyClock;
use crate::head::RequestHead;
use crate::request_id::RequestId;
use crate::request_ids::IdSource;
use crate::route::{MethodLabel, RouteSource, Source};
use crate::route_table::{Route, RouteTable};
use crate::size::SizeClasses;

pub(crate) type Filter = Box<dyn Fn(RequestHead<'_>) -> bool + Send + Sync>;

pub(crate) struct Core {
    pub(crate) flags: FlagSet,
    pub(crate) recorder: Recorder,
    pub(crate) clock: AnyClock,
    pub(crate) experiments: Vec<FlagTables>,
    pub(crate) routes: RouteTable,
    pub(crate) route_source: RouteSource,
    pub(crate) sizes: SizeClasses,
    pub(crate) filter: Option<Filter>,
    pub(crate) request_ids: IdSource,
    pub(crate) request_extension: bool,
    pub(crate) consults_without_scope: AtomicU64,
}

/// Where one flag stands in the tables.
pub(crate) struct FlagTables {
    pub(crate) id: ExperimentId,
    pub(crate) counters: ExperimentCounters,
    /// Position of the flag's first series in [`Route::series`].
    first_series: usize,
    arms: usize,
}

/// How a request is filed, once it has ended.
#[derive(Clone, Copy)]
pub(crate) struct Filed {
    pub(crate) route: &'static Route,
    pub(crate) size_class: usize,
    pub(crate) outcome: Outcome,
}

/// What was measured of a request, in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Call to response head, or to the end where there was none.
    pub(crate) latency_ns: u64,
    /// Call to the end of the body, when bodies are measured.
    pub(crate) duration_ns: Option<u64>,
}

/// The milestones that every route has series for.
const MILESTONES: [Milestone; 2] = [Milestone::Latency, Milestone::Duration];

impl FlagTables {
    pub(crate) fn new(
        id: ExperimentId,
        counters: ExperimentCounters,
        first_series: usize,
        arms: usize,
    ) -> Self {
        Self { id, counters, first_series, arms }
    }

    /// How many series one route can have for a flag of so many arms.
    pub(crate) fn series_per_route(arms: usize, size_classes: usize) -> usize {
        MILESTONES.len() * size_classes * arms * Outcome::ALL.len() * 2
    }

    /// Position of the first milestone's series; those of the others follow it.
    #[inline]
    fn position(&self, filed: Filed, arm: ArmId, exposed: bool) -> usize {
        let cell = (filed.size_class * self.arms + arm.index()) * Outcome::ALL.len()
            + filed.outcome.index();
        self.first_series + (cell * 2 + usize::from(exposed)) * MILESTONES.len()
    }
}

/// The variation that a request gets for each flag, and the arm that it is recorded under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arms([FlagArm; MAX_FLAGS]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FlagArm {
    variation: u8,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Outside,
    Forced,
    Arm,
}

impl Arms {
    #[inline]
    pub(crate) fn variation(&self, flag: usize) -> u8 {
        self.0[flag].variation
    }

    #[inline]
    pub(crate) fn arm(&self, flag: usize) -> ArmId {
        match self.0[flag] {
            FlagArm { role: Role::Arm, variation } => ArmId::arm(variation),
            FlagArm { role: Role::Forced, .. } => ArmId::FORCED,
            FlagArm { role: Role::Outside, .. } => ArmId::OUTSIDE,
        }
    }
}

impl Core {
    /// Cores live as long as the process: services and futures hold plain references, because a
    /// reference count would be a cache line that all threads write at every request.
    pub(crate) fn leak(self) -> &'static Self {
        // Keeps every core reachable, as leak detectors demand.
        static CORES: Mutex<Vec<&'static Core>> = Mutex::new(Vec::new());
        let core = &*Box::leak(Box::new(self));
        CORES.lock().unwrap_or_else(PoisonError::into_inner).push(core);
        core
    }

    /// Whether the request takes part at all.
    #[inline]
    pub(crate) fn takes_part(&self, head: RequestHead<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(head))
    }

    /// Evaluates all flags for a request and counts the assignments.
    #[inline]
    pub(crate) fn assign(&self, id: &RequestId, head: RequestHead<'_>) -> Arms {
        let mut digits = [0; 32];
        let subject = id.text(&mut digits);
        let mut arms = self.outside();
        self.recorder.write(|writer| {
            for ((index, _), tables) in self.flags.iter().zip(&self.experiments) {
                let Assignment { variation, reason } = self.flags.evaluate(index, subject, &head);
                let role = match reason {
                    Reason::Split => Role::Arm,
                    Reason::Override => Role::Forced,
                    _ => Role::Outside,
                };
                arms.0[index.get()] = FlagArm { variation, role };
                if role == Role::Arm {
                    writer.assigned(tables.counters, ArmId::arm(variation));
                }
            }
        });
        arms
    }

    /// The arms of a request that was never assigned: control, outside the experiment.
    #[inline]
    pub(crate) fn outside(&self) -> Arms {
        let mut arms = Arms([FlagArm { variation: 0, role: Role::Outside }; MAX_FLAGS]);
        for (index, flag) in self.flags.iter() {
            arms.0[index.get()].variation = flag.control();
        }
        arms
    }

    /// Counts, for every flag, that the clock of a request was started.
    #[inline]
    pub(crate) fn count_start(&self, arms: &Arms) {
        self.recorder.write(|writer| {
            for (flag, tables) in self.experiments.iter().enumerate() {
                writer.started(tables.counters, arms.arm(flag));
            }
        });
    }

    /// Records the end of a request into the series of every flag. Bit i of `exposed` is that of
    /// flag i.
    #[inline]
    pub(crate) fn record(&self, arms: &Arms, exposed: u16, filed: Filed, times: Times) {
        self.recorder.write(|writer| {
            for (flag, tables) in self.experiments.iter().enumerate() {
                let (arm, exposed) = (arms.arm(flag), exposed >> flag & 1 == 1);
                let first = tables.position(filed, arm, exposed);
                for (offset, ns) in
                    [Some(times.latency_ns), times.duration_ns].into_iter().enumerate()
                {
                    let Some(ns) = ns else { continue };
                    let cell = &filed.route.series[first + offset];
                    let series = match cell.load(Relaxed) {
                        0 => self.resolve(tables, cell, filed, arm, exposed, &MILESTONES[offset]),
                        resolved => SeriesId::from_raw(resolved - 1),
                    };
                    writer.record(series, ns);
                }
            }
        });
    }

    #[cold]
    fn resolve(
        &self,
        tables: &FlagTables,
        cell: &AtomicU32,
        filed: Filed,
        arm: ArmId,
        exposed: bool,
        milestone: &Milestone,
    ) -> SeriesId {
        let series = self.recorder.series_of(tables.id, arm, |arm| SeriesKey {
            arm: arm.to_owned(),
            route: filed.route.label.clone(),
            size: self.sizes.label(filed.size_class).to_owned(),
            outcome: filed.outcome,
            milestone: milestone.clone(),
            exposed,
            group: None,
            block: None,
        });
        cell.store(series.to_raw() + 1, Relaxed);
        series
    }

    /// The route of a request, as far as it can be told before the response.
    #[inline]
    pub(crate) fn route(&self, head: RequestHead<'_>) -> RouteOf {
        let method = MethodLabel::of(head.method);
        if let Source::Function(name) = self.route_source.source() {
            return RouteOf::known(name(head).map(|name| self.routes.intern(method, name)), self);
        }
        #[cfg(feature = "axum")]
        if let Some(path) = head.extensions.get::<axum::extract::MatchedPath>() {
            let route = self.routes.intern_matched(method, path);
            if !route.wildcard {
                return RouteOf::known(Some(route), self);
            }
            return if head.is_grpc() {
                self.grpc_route(method, head)
            } else {
                RouteOf::known(Some(route), self)
            };
        }
        if head.is_grpc() { self.grpc_route(method, head) } else { RouteOf::known(None, self) }
    }

    fn grpc_route(&self, method: MethodLabel, head: RequestHead<'_>) -> RouteOf {
        match self.routes.find(method, head.uri.path()) {
            Some(route) => RouteOf { route, grpc: Some(GrpcRoute::Known) },
            None => RouteOf {
                route: self.routes.unmatched,
                grpc: Some(GrpcRoute::Claimed(method, head.uri.clone())),
            },
        }
    }
}

/// The route of a request that has not ended yet.
pub(crate) struct RouteOf {
    route: &'static Route,
    grpc: Option<GrpcRoute>,
}

enum GrpcRoute {
    Known,
    /// The client named a method that no response has confirmed so far.
    Claimed(MethodLabel, http::Uri),
}

impl RouteOf {
    fn known(route: Option<&'static Route>, core: &Core) -> Self {
        Self { route: route.unwrap_or(core.routes.unmatched), grpc: None }
    }

    /// Whether the request is gRPC, whose status is not the HTTP status.
    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc.is_some()
    }

    /// The route, now that the end is known; `implemented` tells whether a gRPC service knows it.
    #[inline]
    pub(crate) fn settle(&self, core: &Core, implemented: bool) -> &'static Route {
        match &self.grpc {
            Some(GrpcRoute::Claimed(method, uri)) if implemented => {
                core.routes.intern(*method, uri.path())
            }
            _ => self.route,
        }
    }
}
