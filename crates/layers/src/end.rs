//! The end of a request: the one place that decides how it ended, exactly once.
//!
//! [`ExperimentLayer`](crate::ExperimentLayer) documents which end has which outcome; this is the
//! code of that table.
//!
//! ```text
//!            call ──▶ Head ──▶ Ended        without body measurement, or when nothing follows the head
//!                      │
//!                      └─────▶ Body ──▶ Ended
//! ```

use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body;
use latency_experiment_record::Outcome;

use crate::core::{Core, Filed, RouteOf, Times};
use crate::head::{RequestHead, is_grpc};
use crate::route_table::Route;
use crate::scope::{self, Scope};
use crate::{server_timing, size};

/// A request whose clock is running. Dropped before its end, it is recorded as cancelled or, once
/// its head is out, as aborted.
pub(crate) struct InFlight {
    core: &'static Core,
    started: u64,
    route: RouteOf,
    method: BodilessMethod,
    /// Absent only while the request is being polled within its scope.
    scope: Option<Scope>,
    phase: Phase,
    busy_ns: u64,
}

/// Methods whose responses have no body, whatever their head says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodilessMethod {
    Head,
    Connect,
    None,
}

enum Phase {
    /// No response yet.
    Head,
    /// The head is out, the body is on its way.
    Body(BodyPhase),
    Ended,
}

/// What is known of a response whose body is on its way.
#[derive(Clone, Copy)]
struct BodyPhase {
    latency_ns: u64,
    answer: Answer,
    /// The size that the head declared, in bytes.
    declared: Option<u64>,
    counted: u64,
}

/// What a response says of itself.
#[derive(Clone, Copy)]
struct Answer {
    outcome: Outcome,
    /// Whether a gRPC service answered that knows the method.
    implemented: bool,
}

impl InFlight {
    /// Counts the start. `started` was read before anything else was done for the request.
    #[inline]
    pub(crate) fn start(
        core: &'static Core,
        started: u64,
        head: RequestHead<'_>,
        mut scope: Scope,
    ) -> Self {
        let route = core.route(head);
        scope.route = route.so_far();
        core.count_start(scope.route, &scope.arms);
        let method = match *head.method {
            Method::HEAD => BodilessMethod::Head,
            Method::CONNECT => BodilessMethod::Connect,
            _ => BodilessMethod::None,
        };
        Self { core, started, route, method, scope: Some(scope), phase: Phase::Head, busy_ns: 0 }
    }

    /// The route as far as it is known before the response.
    pub(crate) fn route_so_far(&self) -> &'static Route {
        self.route.so_far()
    }

    /// Runs the inner service within the request's own scope.
    #[inline]
    pub(crate) fn run_scoped<R>(&mut self, run: impl FnOnce() -> R) -> R {
        self.run(|request| {
            let _entered = scope::enter(&mut request.scope);
            run()
        })
    }

    /// Runs the inner service within the scope that a layer further out entered, and takes over
    /// what was noted there, also when it panics: that scope is gone when this request is dropped.
    #[inline]
    pub(crate) fn run_observed<R>(&mut self, run: impl FnOnce() -> R) -> R {
        self.run(|request| {
            let _observed = scope::observe(&mut request.scope);
            run()
        })
    }

    /// A panic that passes through `run` ends the request; `thread::panicking` is not asked, for
    /// it is also true when an innocent request is dropped by somebody else's unwinding.
    #[inline]
    fn run<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        struct Unwinding<'a>(&'a mut InFlight);
        impl Drop for Unwinding<'_> {
            fn drop(&mut self) {
                self.0.end_early(Outcome::Panicked);
            }
        }
        let unwinding = Unwinding(self);
        let result =
            if unwinding.0.core.busy_time { unwinding.0.run_busy(run) } else { run(unwinding.0) };
        std::mem::forget(unwinding);
        result
    }

    #[cold]
    fn run_busy<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        let clock = &self.core.clock;
        let start = clock.raw();
        let result = run(self);
        self.busy_ns = self.busy_ns.saturating_add(clock.elapsed_ns(start, clock.raw()));
        result
    }

    /// The service resolved, and the body is not measured: the request has ended.
    #[inline]
    pub(crate) fn end_at_head<B: Body, E>(&mut self, result: &mut Result<Response<B>, E>) {
        match result {
            Ok(response) => {
                self.tell(response);
                let answer = self.answer(response.status(), response.headers());
                let size = size::size_of(response, self.method == BodilessMethod::Head);
                let latency_ns = self.elapsed_ns();
                self.end(answer.outcome, size, answer.implemented, self.times(latency_ns, None));
            }
            Err(_) => self.end_early(Outcome::Failed),
        }
    }

    /// The service resolved, and the body is measured: the request has ended unless there is a
    /// body to wait for.
    pub(crate) fn enter_body<B: Body, E>(&mut self, result: &mut Result<Response<B>, E>) {
        let Ok(response) = result else { return self.end_early(Outcome::Failed) };
        self.tell(response);
        let body = BodyPhase {
            latency_ns: self.elapsed_ns(),
            answer: self.answer(response.status(), response.headers()),
            declared: size::size_of(response, self.method == BodilessMethod::Head),
            counted: 0,
        };
        self.phase = Phase::Body(body);
        if response.body().is_end_stream() {
            self.end_body(body, body.answer);
        } else if self.ends_at_head(response) {
            let times = self.times(body.latency_ns, Some(body.latency_ns));
            self.end(body.answer.outcome, body.declared, body.answer.implemented, times);
        }
    }

    /// Adds to the response what its headers were asked to say.
    #[inline]
    fn tell<B>(&self, response: &mut Response<B>) {
        if let Some(scope) = &self.scope {
            self.core.request_ids.tell_response(&scope.id, response.headers_mut());
            if self.core.server_timing {
                server_timing::tell(response.headers_mut(), self.elapsed_ns(), &scope.timings);
            }
        }
    }

    /// Whether the protocol lets nothing follow the head that is part of the request, or the client
    /// decides how long it goes on. hyper drops such a body without polling it, which is no abort.
    fn ends_at_head<B>(&self, response: &Response<B>) -> bool {
        let status = response.status();
        let event_stream = || {
            let content_type = response.headers().get(header::CONTENT_TYPE);
            content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
        };
        self.method == BodilessMethod::Head
            || (self.method == BodilessMethod::Connect && status.is_success())
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || event_stream()
    }

    /// The body yielded so many bytes; `last` tells whether that was its end.
    pub(crate) fn body_data(&mut self, bytes: u64, last: bool) {
        if let Phase::Body(body) = &mut self.phase {
            body.counted = body.counted.saturating_add(bytes);
            if last {
                let body = *body;
                self.end_body(body, body.answer);
            }
        }
    }

    /// The body ended, with trailers or without.
    pub(crate) fn body_end(&mut self, trailers: Option<&HeaderMap>) {
        if let Phase::Body(body) = self.phase {
            let status = trailers.filter(|_| self.route.is_grpc()).and_then(grpc_status);
            self.end_body(body, status.map_or(body.answer, Answer::of_grpc));
        }
    }

    /// The body failed half-way.
    pub(crate) fn body_failed(&mut self) {
        if let Phase::Body(body) = self.phase {
            self.end_body(body, Answer { outcome: Outcome::Failed, ..body.answer });
        }
    }

    fn end_body(&mut self, body: BodyPhase, answer: Answer) {
        let complete =
            !matches!(answer.outcome, Outcome::Aborted | Outcome::Failed | Outcome::Panicked);
        let size = body.declared.or(complete.then_some(body.counted));
        let times = self.times(body.latency_ns, Some(self.elapsed_ns()));
        self.end(answer.outcome, size, answer.implemented, times);
    }

    /// The request ends without a response, or in the midst of one.
    #[inline]
    fn end_early(&mut self, outcome: Outcome) {
        match self.phase {
            Phase::Head => {
                let latency_ns = self.elapsed_ns();
                self.end(outcome, None, false, self.times(latency_ns, None));
            }
            Phase::Body(body) => self.end_body(body, Answer { outcome, ..body.answer }),
            Phase::Ended => {}
        }
    }

    #[inline]
    fn end(&mut self, outcome: Outcome, size: Option<u64>, confirmed: bool, times: Times) {
        self.phase = Phase::Ended;
        let Some(scope) = &self.scope else { return };
        let core = self.core;
        let filed = Filed {
            route: self.route.settle(core, confirmed),
            size_class: core.sizes.class_of(size),
            outcome,
        };
        core.record(scope, self.route.so_far(), filed, times);
    }

    #[inline]
    fn times(&self, latency_ns: u64, duration_ns: Option<u64>) -> Times {
        Times { latency_ns, duration_ns, busy_ns: self.core.busy_time.then_some(self.busy_ns) }
    }

    #[inline]
    fn elapsed_ns(&self) -> u64 {
        self.core.clock.elapsed_ns(self.started, self.core.clock.raw())
    }

    #[inline]
    fn answer(&self, status: StatusCode, headers: &HeaderMap) -> Answer {
        if !self.route.is_grpc() {
            return Answer { outcome: outcome_of_http(status), implemented: false };
        }
        // Without a status in the head, a gRPC answer is one by its type: its status comes in the
        // trailers. Anything else is a plain server that was sent a gRPC request.
        match grpc_status(headers) {
            Some(code) => Answer::of_grpc(code),
            None => Answer { outcome: outcome_of_http(status), implemented: is_grpc(headers) },
        }
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        match self.phase {
            Phase::Ended => {}
            Phase::Head => self.end_early(Outcome::Cancelled),
            // Servers stop polling once they have all the bytes that the head declared.
            Phase::Body(body) if body.declared == Some(body.counted) => self.body_end(None),
            Phase::Body(_) => self.end_early(Outcome::Aborted),
        }
    }
}

impl Answer {
    /// The codes by whose fault they are: 1 is a cancelled request, 3 (invalid argument), 5 (not
    /// found), 6 (already exists), 7 (permission denied), 9 (failed precondition), 11 (out of
    /// range) and 16 (unauthenticated) are the client's, the others the server's.
    fn of_grpc(code: u32) -> Self {
        const UNIMPLEMENTED: u32 = 12;
        let outcome = match code {
            0 => Outcome::Completed,
            1 => Outcome::Cancelled,
            3 | 5 | 6 | 7 | 9 | 11 | 16 => Outcome::ClientError,
            _ => Outcome::ServerError,
        };
        Self { outcome, implemented: code != UNIMPLEMENTED }
    }
}

fn outcome_of_http(status: StatusCode) -> Outcome {
    match status.as_u16() {
        400..=499 => Outcome::ClientError,
        500.. => Outcome::ServerError,
        _ => Outcome::Completed,
    }
}

/// The gRPC status in a head ("trailers only") or in trailers, if it is there.
fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
