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

use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use latency_experiment_record::Outcome;

pub(crate) use self::answer::Answer;
pub(crate) use self::body::BodyInFlight;
pub(crate) use self::running::{End, OuterScope, OwnScope, Running};
use crate::arms::Arms;
use crate::core::Core;
use crate::filing::{Filed, Times};
use crate::head::RequestHead;
use crate::request_id::RequestId;
use crate::route::RouteOf;
use crate::route_table::Route;
use crate::scope::Scope;
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
    /// Counts the start. `started` was read before anything else was done for the request.
    #[inline]
    pub(crate) fn start(
        core: &'static Core,
        started: u64,
        head: RequestHead<'_>,
        id: RequestId,
        arms: Arms,
        (route, route_of): (&'static Route, RouteOf),
    ) -> Self {
        core.count_start(route, &arms);
        let method = match *head.method {
            Method::HEAD => BodilessMethod::Head,
            Method::CONNECT => BodilessMethod::Connect,
            _ => BodilessMethod::None,
        };
        let (grpc, claim) = match route_of {
            RouteOf::Http => (false, None),
            RouteOf::Grpc => (true, None),
            RouteOf::Claimed(claim) => (true, Some(claim)),
        };
        Self {
            scope: Scope::new(core, id, arms, route, claim),
            started,
            busy_ticks: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            method,
            grpc,
        }
    }

    #[inline]
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
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
        if self.core().busy_time {
            self.add_busy(self.core().clock.raw().wrapping_neg());
        }
    }

    #[inline]
    fn stop_busy(&self) {
        if self.core().busy_time {
            self.add_busy(self.core().clock.raw());
        }
    }

    #[cold]
    fn add_busy(&self, ticks: u64) {
        self.busy_ticks.store(self.busy_ticks.load(Relaxed).wrapping_add(ticks), Relaxed);
    }

    #[cold]
    fn busy_ns(&self) -> u64 {
        // A clock that stepped back leaves a negative sum.
        let ticks = self.busy_ticks.load(Relaxed).cast_signed().max(0).cast_unsigned();
        self.core().clock.elapsed_ns(0, ticks)
    }

    /// The service resolved, and the body is not measured: the request has ended.
    #[inline]
    pub(crate) fn end_at_head<B: Body, E>(&self, result: &mut Result<Response<B>, E>) {
        match result {
            Ok(response) => {
                self.tell(response);
                let answer = self.answer(response.status(), response.headers());
                let size = size::size_of(response, self.method == BodilessMethod::Head);
                self.end(answer, size, self.elapsed_ns(), None);
            }
            Err(_) => self.end_early(Outcome::Failed),
        }
    }

    #[inline]
    fn end(&self, answer: Answer, size: Option<u64>, latency_ns: u64, duration_ns: Option<u64>) {
        self.ended.store(true, Relaxed);
        let (core, scope) = (self.core(), &self.scope);
        let mut route = scope.route();
        if answer.implemented
            && let Some(claim) = scope.claim()
        {
            let confirmed = claim.confirm();
            core.refile_start(route, confirmed, &scope.arms);
            route = confirmed;
        }
        let size_class = core.sizes.class_of(size);
        let busy_ns = core.busy_time.then(|| self.busy_ns());
        core.record(
            scope,
            Filed { route, size_class, outcome: answer.outcome },
            Times { latency_ns, duration_ns, busy_ns },
        );
    }

    /// Adds to the response what its headers were asked to say.
    #[inline]
    fn tell<B>(&self, response: &mut Response<B>) {
        let core = self.core();
        core.request_ids.tell_response(&self.scope, response.headers_mut());
        if core.server_timing {
            let headers = response.headers_mut();
            server_timing::tell(headers, self.elapsed_ns(), &self.scope.timings());
        }
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
    fn end_early(&self, outcome: Outcome) {
        if !self.has_ended() {
            self.end(Answer::none(outcome), None, self.elapsed_ns(), None);
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
