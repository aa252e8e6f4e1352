//! What all layers and handles of one set of experiments share.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use latency_experiment_flags::{Assignment, FlagSet, MAX_FLAGS, Reason};
use latency_experiment_record::{
    ArmId, AssignedCounters, ExperimentId, Milestone, Outcome, Recorder, SeriesId, SeriesKey,
    Writer, reserved,
};

use crate::clock::AnyClock;
use crate::head::RequestHead;
use crate::request_id::RequestId;
use crate::request_ids::IdSource;
use crate::route::{MethodLabel, RouteSource, Source};
use crate::route_table::{Route, RouteTable};
use crate::scope::Scope;
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
    pub(crate) busy_time: bool,
    pub(crate) server_timing: bool,
    pub(crate) consults_without_scope: AtomicU64,
}

/// Where one flag stands in the tables.
pub(crate) struct FlagTables {
    pub(crate) id: ExperimentId,
    pub(crate) assigned: AssignedCounters,
    arms: usize,
    /// Position of the flag's first series in [`Route::series`].
    first_series: usize,
    /// Position of the flag's first series in that of a section.
    first_section_series: usize,
}

/// How a request is filed, once it has ended.
#[derive(Clone, Copy)]
pub(crate) struct Filed {
    pub(crate) route: &'static Route,
    pub(crate) size_class: usize,
    pub(crate) outcome: Outcome,
}

/// What was measured of a request.
#[derive(Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "integers carry their unit last")]
pub(crate) struct Times {
    /// Call to response head, or to the end where there was none.
    pub(crate) latency_ns: u64,
    /// Call to the end of the body, when bodies are measured.
    pub(crate) duration_ns: Option<u64>,
    /// Spent in polls, when that is measured.
    pub(crate) busy_ns: Option<u64>,
}

/// The milestones that every route has series for, in the order of their series.
const MILESTONES: [Milestone; 3] = [Milestone::Latency, Milestone::Duration, Milestone::Busy];
/// How a section can end.
const SECTION_OUTCOMES: [Outcome; 2] = [Outcome::Completed, Outcome::Cancelled];

impl FlagTables {
    /// The place of a flag behind the one before it, if there is one.
    pub(crate) fn after(
        before: Option<&Self>,
        (id, assigned): (ExperimentId, AssignedCounters),
        arms: usize,
        size_classes: usize,
    ) -> Self {
        let [first_series, first_section_series] =
            before.map_or([0, 0], |before| before.end(size_classes));
        Self { id, assigned, arms, first_series, first_section_series }
    }

    /// Where the series of the next flag begin: those of a route, and those of a section.
    pub(crate) fn end(&self, size_classes: usize) -> [usize; 2] {
        [
            self.first_series
                + MILESTONES.len() * size_classes * self.arms * Outcome::ALL.len() * 2,
            self.first_section_series + self.arms * SECTION_OUTCOMES.len() * 2,
        ]
    }

    /// Position of the first milestone's series; those of the others follow it.
    #[inline]
    fn position(&self, filed: Filed, arm: ArmId, exposed: bool) -> usize {
        let cell = (filed.size_class * self.arms + arm.index()) * Outcome::ALL.len()
            + filed.outcome.index();
        self.first_series + (cell * 2 + usize::from(exposed)) * MILESTONES.len()
    }

    #[inline]
    fn section_position(&self, arm: ArmId, cancelled: bool, exposed: bool) -> usize {
        let cell = arm.index() * SECTION_OUTCOMES.len() + usize::from(cancelled);
        self.first_section_series + cell * 2 + usize::from(exposed)
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
                    writer.assigned(tables.assigned, ArmId::arm(variation));
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
    pub(crate) fn count_start(&self, route: &Route, arms: &Arms) {
        self.recorder.write(|writer| {
            for (flag, counters) in route.started.iter().enumerate() {
                writer.started(*counters, arms.arm(flag));
            }
        });
    }

    /// Records the end of a request into the series of every flag. Bit i of `exposed` is that of
    /// flag i; `from` is the route that its start was counted for.
    #[inline]
    pub(crate) fn record(&self, scope: &Scope, from: &Route, filed: Filed, times: Times) {
        let exposed = scope.exposed();
        self.recorder.write(|writer| {
            if !std::ptr::eq(from, filed.route) {
                Self::refile(writer, &scope.arms, from, filed.route);
            }
            for (flag, tables) in self.experiments.iter().enumerate() {
                let (arm, exposed) = (scope.arms.arm(flag), exposed >> flag & 1 == 1);
                let first = tables.position(filed, arm, exposed);
                let series = |offset: usize| {
                    let cell = &filed.route.series[first + offset];
                    Self::resolved(cell).unwrap_or_else(|| {
                        self.resolve(cell, tables, arm, |arm| SeriesKey {
                            arm: arm.to_owned(),
                            route: filed.route.label.clone(),
                            size: self.sizes.label(filed.size_class).to_owned(),
                            outcome: filed.outcome,
                            milestone: MILESTONES[offset].clone(),
                            exposed,
                            group: None,
                            block: None,
                        })
                    })
                };
                writer.record_request(series(0), times.latency_ns, || scope.id.to_compact());
                for (offset, ns) in [(1, times.duration_ns), (2, times.busy_ns)] {
                    if let Some(ns) = ns {
                        writer.record(series(offset), ns);
                    }
                }
            }
        });
    }

    #[cold]
    fn refile(writer: Writer<'_>, arms: &Arms, from: &Route, to: &Route) {
        for (flag, (from, to)) in from.started.iter().zip(&to.started).enumerate() {
            writer.started_elsewhere(*from, *to, arms.arm(flag));
        }
    }

    /// Records a section of a request into the series of every flag.
    pub(crate) fn record_section(
        &self,
        scope: &Scope,
        name: &'static str,
        cancelled: bool,
        ns: u64,
    ) {
        let Some(section) = scope.route.sections.intern(name) else { return };
        let exposed = scope.exposed();
        self.recorder.write(|writer| {
            for (flag, tables) in self.experiments.iter().enumerate() {
                let (arm, exposed) = (scope.arms.arm(flag), exposed >> flag & 1 == 1);
                let cell = &section.series[tables.section_position(arm, cancelled, exposed)];
                let series = Self::resolved(cell).unwrap_or_else(|| {
                    self.resolve(cell, tables, arm, |arm| SeriesKey {
                        arm: arm.to_owned(),
                        route: scope.route.label.clone(),
                        size: reserved::UNKNOWN_SIZE.to_owned(),
                        outcome: SECTION_OUTCOMES[usize::from(cancelled)],
                        milestone: Milestone::Section(section.name.to_owned()),
                        exposed,
                        group: None,
                        block: None,
                    })
                });
                writer.record(series, ns);
            }
        });
    }

    #[inline]
    fn resolved(cell: &AtomicU32) -> Option<SeriesId> {
        cell.load(Relaxed).checked_sub(1).map(SeriesId::from_raw)
    }

    #[cold]
    fn resolve(
        &self,
        cell: &AtomicU32,
        tables: &FlagTables,
        arm: ArmId,
        key: impl FnOnce(&str) -> SeriesKey,
    ) -> SeriesId {
        let series = self.recorder.series_of(tables.id, arm, key);
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

    /// The route as far as it is known before the response.
    pub(crate) fn so_far(&self) -> &'static Route {
        self.route
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
