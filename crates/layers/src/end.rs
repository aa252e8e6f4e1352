//! The end of a request: the one place that decides how it ended, exactly once.
//!
//! [`ExperimentLayer`](crate::ExperimentLayer) documents which end has which outcome; this is the
//! code of that table.

use http::{Method, Response};
use http_body::Body;
use latency_experiment_record::Outcome;

use crate::core::{Core, Filed, RouteOf};
use crate::head::RequestHead;
use crate::scope::{self, Scope};
use crate::size;

/// A request whose clock is running. Dropped before its end, it is recorded as cancelled.
pub(crate) struct InFlight {
    core: &'static Core,
    started: u64,
    route: RouteOf,
    head_request: bool,
    /// Absent only while the request is being polled within its scope.
    scope: Option<Scope>,
    ended: bool,
}

impl InFlight {
    /// Counts the start. `started` was read before anything else was done for the request.
    #[inline]
    pub(crate) fn start(
        core: &'static Core,
        started: u64,
        head: RequestHead<'_>,
        scope: Scope,
    ) -> Self {
        core.count_start(&scope.arms);
        let route = core.route(head);
        Self {
            core,
            started,
            route,
            head_request: *head.method == Method::HEAD,
            scope: Some(scope),
            ended: false,
        }
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
    /// what was noted there: that scope is gone when this request is dropped.
    #[inline]
    pub(crate) fn run_observed<R>(&mut self, run: impl FnOnce() -> R) -> R {
        self.run(|request| {
            let result = run();
            if let Some(ours) = &mut request.scope {
                let (core, id) = (ours.core, ours.id);
                let same = |outer: &Scope| std::ptr::eq(outer.core, core) && outer.id == id;
                scope::with(same, |outer| ours.clone_from(outer));
            }
            result
        })
    }

    /// A panic that passes through `run` ends the request; `thread::panicking` is not asked, for
    /// it is also true when an innocent request is dropped by somebody else's unwinding.
    #[inline]
    fn run<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
        struct Unwinding<'a>(&'a mut InFlight);
        impl Drop for Unwinding<'_> {
            fn drop(&mut self) {
                self.0.end(Outcome::Panicked, None, false);
            }
        }
        let unwinding = Unwinding(self);
        let result = run(unwinding.0);
        std::mem::forget(unwinding);
        result
    }

    /// Ends the request with what the service resolved to.
    #[inline]
    pub(crate) fn end_with<B: Body, E>(&mut self, result: &Result<Response<B>, E>) {
        match result {
            Ok(response) => {
                let grpc_status = if self.route.is_grpc() { grpc_status(response) } else { None };
                let outcome = match grpc_status {
                    Some(code) => outcome_of_grpc(code),
                    None => outcome_of_http(response.status().as_u16()),
                };
                let size = size::size_of(response, self.head_request);
                self.end(outcome, size, grpc_status != Some(UNIMPLEMENTED));
            }
            Err(_) => self.end(Outcome::Failed, None, true),
        }
    }

    #[inline]
    fn end(&mut self, outcome: Outcome, size: Option<u64>, implemented: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let core = self.core;
        let latency_ns = core.clock.elapsed_ns(self.started, core.clock.raw());
        let Some(scope) = &self.scope else { return };
        // Only a response confirms that a gRPC method exists.
        let confirmed = implemented
            && matches!(outcome, Outcome::Completed | Outcome::ClientError | Outcome::ServerError);
        let filed = Filed {
            route: self.route.settle(core, confirmed),
            size_class: core.sizes.class_of(size),
            outcome,
        };
        core.record(&scope.arms, scope.exposed(), filed, latency_ns);
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        self.end(Outcome::Cancelled, None, false);
    }
}

fn outcome_of_http(status: u16) -> Outcome {
    match status {
        400..=499 => Outcome::ClientError,
        500.. => Outcome::ServerError,
        _ => Outcome::Completed,
    }
}

const UNIMPLEMENTED: u32 = 12;

/// The status of a response that carries it in its head ("trailers only"); absent when it is yet
/// to come in the trailers.
fn grpc_status<B>(response: &Response<B>) -> Option<u32> {
    response.headers().get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The codes by whose fault they are: 1 is a cancelled request, 3 (invalid argument), 5 (not
/// found), 6 (already exists), 7 (permission denied), 9 (failed precondition), 11 (out of range)
/// and 16 (unauthenticated) are the client's, the others the server's.
fn outcome_of_grpc(code: u32) -> Outcome {
    match code {
        0 => Outcome::Completed,
        1 => Outcome::Cancelled,
        3 | 5 | 6 | 7 | 9 | 11 | 16 => Outcome::ClientError,
        _ => Outcome::ServerError,
    }
}
