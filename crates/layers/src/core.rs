//! What all layers and handles of one set of experiments share.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

use http::HeaderMap;
use latency_experiment_flags::ValidFlag;
use latency_experiment_record::{Recorder, Writer};

use crate::arms::FlagArm;
use crate::clock::AnyClock;
use crate::head::{Headers, RequestHead};
use crate::looks::Looks;
use crate::request_id::RequestId;
use crate::request_ids::IdSource;
use crate::revision::{Revision, Revisions};
use crate::route::RouteSource;
use crate::route_table::Route;
use crate::scope::Scope;
use crate::size::SizeClasses;
use crate::unrouted::Unrouted;

pub(crate) type Filter = Box<dyn Fn(RequestHead<'_>) -> bool + Send + Sync>;

#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Core {
    /// Nothing is configured that asks for more than to assign, time and record each request: what
    /// the request path needs to know of all the options below that are off by default.
    pub(crate) plain: bool,
    pub(crate) revisions: Revisions,
    pub(crate) recorder: Recorder,
    pub(crate) looks: Looks,
    pub(crate) clock: AnyClock,
    pub(crate) route_source: RouteSource,
    pub(crate) unrouted: Unrouted,
    pub(crate) sizes: SizeClasses,
    pub(crate) filter: Option<Filter>,
    pub(crate) request_ids: IdSource,
    pub(crate) request_extension: bool,
    pub(crate) busy_time: bool,
    pub(crate) server_timing: bool,
    pub(crate) consults_without_scope: AtomicU64,
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
    pub(crate) fn takes_part(&self, head: RequestHead<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(head))
    }

    /// Evaluates all flags for a request that only an [`AssignLayer`](crate::AssignLayer) sees, and
    /// counts that it was assigned.
    pub(crate) fn assign(
        &self,
        revision: &Revision,
        id: &RequestId,
        headers: &HeaderMap,
        scope: &Scope,
    ) {
        id.with_text(|text| revision.set_arms(scope, |flag| evaluate(flag, text, headers)));
        let writer = self.recorder.writer();
        for (flag, epoch) in revision.tables.epochs.iter().enumerate() {
            writer.assigned(epoch.assigned, scope.arm_of(flag).arm());
        }
    }

    /// Evaluates all flags for a request whose clock was started, and counts both.
    pub(crate) fn assign_and_start(
        &self,
        revision: &Revision,
        id: &RequestId,
        headers: &HeaderMap,
        scope: &Scope,
    ) {
        id.with_text(|text| revision.set_arms(scope, |flag| evaluate(flag, text, headers)));
        let writer = self.recorder.writer();
        for (flag, &counters) in scope.route().started.iter().enumerate() {
            writer.started(counters, scope.arm_of(flag).arm());
        }
    }

    /// The same where nothing but the split of the request ID decides.
    #[inline(always)]
    pub(crate) fn split_and_start(
        &self,
        revision: &Revision,
        text: &[u8; 32],
        route: &Route,
        scope: &Scope,
    ) {
        match self.recorder.last_writer() {
            Some(writer) => split_and_start_by(writer, revision, text, route, scope),
            None => self.split_and_start_by_another(revision, text, route, scope),
        }
    }

    #[cold]
    #[inline(never)]
    fn split_and_start_by_another(
        &self,
        revision: &Revision,
        text: &[u8; 32],
        route: &Route,
        scope: &Scope,
    ) {
        split_and_start_by(*self.recorder.writer(), revision, text, route, scope);
    }

    /// Counts that the clock of a request was started by a layer that assigns nothing; `assigned` tells
    /// whether a layer further out did, which has counted it as assigned.
    pub(crate) fn start_assigned(&self, scope: &Scope, assigned: bool) {
        let writer = self.recorder.writer();
        let route = scope.route();
        for (flag, (&counters, epoch)) in route.started.iter().zip(route.epochs).enumerate() {
            let arm = scope.arm_of(flag).arm();
            writer.started(counters, arm);
            if assigned {
                writer.assigned_before(epoch.assigned, arm);
            }
        }
    }

    /// Files a request that was counted as started under the route that its end confirmed.
    #[cold]
    #[inline(never)]
    pub(crate) fn refile_start(&self, from: &Route, to: &Route, scope: &Scope) {
        let writer = self.recorder.writer();
        for (flag, (&from, &to)) in from.started.iter().zip(&to.started).enumerate() {
            writer.started_elsewhere(from, to, scope.arm_of(flag).arm());
        }
    }
}

#[inline(always)]
fn split_and_start_by(
    writer: Writer,
    revision: &Revision,
    text: &[u8; 32],
    route: &Route,
    scope: &Scope,
) {
    for (flag, split) in revision.splits.iter().enumerate() {
        let arm = split.of(text);
        scope.set_arm(flag, arm);
        if let Some(&counters) = route.started.get(flag) {
            writer.started(counters, arm.arm());
        }
    }
}

#[inline(never)]
fn evaluate(flag: &ValidFlag, text: &[u8], headers: &HeaderMap) -> FlagArm {
    FlagArm::of(flag, flag.evaluate(text, &Headers(headers)))
}
