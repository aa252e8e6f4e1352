//! The end of a request: the one place that decides how it ended, exactly once.
//!
//! [`ExperimentLayer`](crate::ExperimentLayer) documents which end has which outcome; this is the
//! code of that table.
//!
//! ```text
//!   call ──▶ InFlight ──▶ ended             without body measurement, or when nothing follows the head
//!               │
//!               └──▶ BodyInFlight ──▶ ended
//! ```

mod answer;
mod body;
mod running;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use latency_experiment_record::Outcome;

pub(crate) use self::answer::Answer;
pub(crate) use self::body::BodyInFlight;
pub(crate) use self::running::{End, OuterScope, OwnScope, Running};
use crate::arms::Arms;
use crate::core::Core;
use crate::filing::Filed;
use crate::head::RequestHead;
use crate::hex;
use crate::request_id::random_words;
use crate::route::FoundRoute;
use crate::route_table::{self, Route};
use crate::scope::{self, More, Scope};
use crate::{server_timing, size};

/// A request whose clock is running and whose response is not there yet. Dropped before its end,
/// it is recorded as cancelled.
///
/// A request carries it from its start to its end, and it is moved a few times on the way: it is
/// kept within 128 bytes, which a compiler moves without a call.
pub(crate) struct InFlight {
    scope: Scope,
    started: u64,
    // Atomic as what changes in a `Scope` is: without contention that costs nothing.
    /// Clock readings after polls less those before them.
    busy_ticks: AtomicU64,
    ended: AtomicBool,
    method: BodilessMethod,
    grpc: bool,
}

const _: () = assert!(size_of::<Option<InFlight>>() <= 128);

/// Methods whose responses have no body, whatever their head says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodilessMethod {
    Head,
    Connect,
    None,
}

impl InFlight {
    /// Starts the clock, evaluates the flags and finds the route, unless the request takes no part.
    #[inline]
    pub(crate) fn start<B>(core: &'static Core, request: &mut Request<B>) -> Option<Self> {
        if core.plain {
            let started = core.clock.raw();
            Some(Self::start_plain(core, started, RequestHead::of(request)))
        } else {
            Self::start_configured(core, request)
        }
    }

    /// Not inlined: one copy of it for all services, in which everything else is inlined.
    #[inline(never)]
    fn start_plain(core: &'static Core, started: u64, head: RequestHead<'_>) -> Self {
        let revision = core.revisions.current();
        let found = core.route(&revision.tables.routes, head);
        let id = random_words();
        let text = hex::digits(id);
        let arms = core.assign_and_start(revision, found.route, &text, head.headers);
        Self::new(core, id, arms, found, None, started, head)
    }

    #[inline(never)]
    fn start_configured<B>(core: &'static Core, request: &mut Request<B>) -> Option<Self> {
        let started = core.clock.raw();
        let head = RequestHead::of(request);
        if !core.takes_part(head) {
            return None;
        }
        let revision = core.revisions.current();
        let found = core.route(&revision.tables.routes, head);
        let id = core.request_ids.identify(head);
        let arms =
            id.with_text(|text| core.assign_and_start(revision, found.route, text, head.headers));
        let (words, sent) = id.into_parts();
        let in_flight = Self::new(core, words, arms, found, sent, started, head);
        in_flight.scope.tell_request(request);
        Some(in_flight)
    }

    /// Starts the clock of a request that a layer further out perhaps assigned.
    pub(crate) fn start_observing(core: &'static Core, head: RequestHead<'_>) -> Option<Self> {
        let started = core.clock.raw();
        if !core.takes_part(head) {
            return None;
        }
        let Some(assigned) = scope::with_core(core, Scope::clone) else {
            let revision = core.revisions.current();
            let found = core.route(&revision.tables.routes, head);
            let arms = revision.outside();
            core.start_assigned(found.route, &arms, false);
            return Some(Self::new(core, random_words(), arms, found, None, started, head));
        };
        let tables = core.revisions.tables_of(assigned.route().epochs);
        let found = core.route(&tables.routes, head);
        core.start_assigned(found.route, &assigned.arms, true);
        // Sections ask the scope that the layer further out entered.
        scope::with_core(core, |outer| outer.set_route(found.route));
        let (words, sent) = assigned.request_id().into_parts();
        let in_flight = Self::new(core, words, assigned.arms, found, sent, started, head);
        in_flight.scope.take_over(&assigned);
        Some(in_flight)
    }

    #[inline]
    fn new(
        core: &'static Core,
        id: [u64; 2],
        arms: Arms,
        found: FoundRoute,
        sent_id: Option<Arc<str>>,
        started: u64,
        head: RequestHead<'_>,
    ) -> Self {
        let method = match *head.method {
            Method::HEAD => BodilessMethod::Head,
            Method::CONNECT => BodilessMethod::Connect,
            _ => BodilessMethod::None,
        };
        let more = if found.grpc || sent_id.is_some() {
            More::new(sent_id, core.claim(found, head))
        } else {
            OnceLock::new()
        };
        Self {
            scope: Scope::new(core, id, arms, found.route, more),
            started,
            busy_ticks: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            method,
            grpc: found.grpc,
        }
    }

    #[inline]
    fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    #[inline]
    fn core(&self) -> &'static Core {
        self.scope.core
    }

    #[inline]
    pub(crate) fn run(&self) -> Running<'_, Self, OwnScope> {
        Running::new(self)
    }

    #[inline]
    pub(crate) fn run_observed(&self) -> Running<'_, Self, OuterScope> {
        Running::new(self)
    }

    #[inline]
    fn start_busy(&self) {
        if !self.core().plain {
            self.add_busy(u64::wrapping_neg);
        }
    }

    #[inline]
    fn stop_busy(&self) {
        if !self.core().plain {
            self.add_busy(|raw| raw);
        }
    }

    #[inline(never)]
    fn add_busy(&self, sign: fn(u64) -> u64) {
        if self.core().busy_time {
            let ticks = self.busy_ticks.load(Relaxed).wrapping_add(sign(self.core().clock.raw()));
            self.busy_ticks.store(ticks, Relaxed);
        }
    }

    /// The service resolved, and the body is not measured: the request has ended.
    #[inline]
    pub(crate) fn end_at_head<B: Body, E>(&self, result: &mut Result<Response<B>, E>) {
        let Ok(response) = result else { return self.end_early(Outcome::Failed) };
        if !self.core().plain {
            self.tell(response.headers_mut());
        }
        let exact_size = response.body().size_hint().exact();
        self.end_by_response(response.status(), response.headers(), exact_size);
    }

    /// Not inlined: one copy of it for all services, in which everything else is inlined.
    #[inline(never)]
    fn end_by_response(&self, status: StatusCode, headers: &HeaderMap, exact_size: Option<u64>) {
        let size = self.size(status, headers, exact_size);
        self.end_at(self.answer(status, headers), size, self.elapsed_ns());
    }

    #[inline(always)]
    fn end_at(&self, answer: Answer, size: Option<u64>, latency_ns: u64) -> Filed {
        self.ended.store(true, Relaxed);
        let (core, scope) = (self.core(), &self.scope);
        let route = if answer.implemented { self.confirmed_route() } else { scope.route() };
        let filed = Filed {
            route,
            size_class: core.sizes.class_of(size),
            outcome: answer.outcome,
            exposed: scope.exposed(),
        };
        core.record(scope, filed, latency_ns);
        if !core.plain {
            self.record_busy(filed);
        }
        filed
    }

    /// The route, now that a gRPC service answered that knows the method.
    #[cold]
    #[inline(never)]
    fn confirmed_route(&self) -> &'static Route {
        let so_far = self.scope.route();
        let Some(claim) = self.scope.claim() else { return so_far };
        let confirmed = claim.confirm();
        self.core().refile_start(so_far, confirmed, &self.scope.arms);
        confirmed
    }

    #[inline(never)]
    fn record_busy(&self, filed: Filed) {
        let core = self.core();
        if core.busy_time {
            // A clock that stepped back leaves a negative sum.
            let ticks = self.busy_ticks.load(Relaxed).cast_signed().max(0).cast_unsigned();
            let ns = core.clock.elapsed_ns(0, ticks);
            core.record_milestone(&self.scope, filed, route_table::BUSY, ns);
        }
    }

    /// Adds to the response what its headers were asked to say.
    #[inline(never)]
    fn tell(&self, headers: &mut HeaderMap) {
        let core = self.core();
        core.request_ids.tell_response(&self.scope, headers);
        if core.server_timing {
            server_timing::tell(headers, self.elapsed_ns(), &self.scope.timings());
        }
    }

    /// The size of the response as far as its head tells, in bytes.
    #[inline]
    fn size(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        exact_size: Option<u64>,
    ) -> Option<u64> {
        let no_body = self.method == BodilessMethod::Head;
        size::size_of(status, headers, exact_size, no_body)
    }

    #[inline]
    fn elapsed_ns(&self) -> u64 {
        let clock = &self.core().clock;
        clock.elapsed_ns(self.started, clock.raw())
    }

    #[inline]
    fn answer(&self, status: StatusCode, headers: &HeaderMap) -> Answer {
        if self.grpc { Answer::of_grpc_head(status, headers) } else { Answer::of_http(status) }
    }
}

impl End for InFlight {
    fn request(&self) -> &InFlight {
        self
    }

    /// The request ends without a response.
    #[cold]
    #[inline(never)]
    fn end_early(&self, outcome: Outcome) {
        if !self.has_ended() {
            self.end_at(Answer::none(outcome), None, self.elapsed_ns());
        }
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        if !self.has_ended() {
            self.end_early(Outcome::Cancelled);
        }
    }
}
