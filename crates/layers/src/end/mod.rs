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
mod start;

use std::mem::{self, ManuallyDrop};
use std::task::Poll;

use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use latency_experiment_record::Outcome;

pub(crate) use self::answer::Answer;
pub(crate) use self::body::BodyInFlight;
pub(crate) use self::running::{End, OuterScope, OwnScope, Running, Within};
pub(crate) use self::start::Start;
use crate::core::Core;
use crate::filing::Filed;
use crate::route::MethodLabel;
use crate::route_table::{self, Route};
use crate::scope::Scope;
use crate::scope_pool::PooledScope;
use crate::timed::Timed;
use crate::{server_timing, size};

/// A request whose clock is running and whose response is not there yet. Dropped before its end,
/// it is recorded as cancelled.
pub(crate) struct InFlight(&'static Scope);

impl InFlight {
    /// The inner service is about to work on the request, if it takes part: `W` is the scope that it
    /// runs in.
    #[inline(always)]
    pub(crate) fn run<W: Within>(this: Option<&Self>) -> Running<&'static Scope, W> {
        Running::new(this.map(Self::scope))
    }

    /// What is polled no longer works on the request.
    #[inline]
    pub(crate) fn stop_busy(&self) {
        self.scope().stop_busy();
    }

    /// The status, and the size of the body in bytes, of what the inner future was polled to, if these
    /// are all that there is to the end of the request.
    #[inline(always)]
    pub(crate) fn plain_end<B: Body, E>(
        this: Option<&Self>,
        polled: &Poll<Result<Response<B>, E>>,
    ) -> Option<(StatusCode, u64)> {
        let Poll::Ready(Ok(response)) = polled else { return None };
        this.filter(|this| this.scope().timed.is_plain())?;
        Some((response.status(), response.body().size_hint().exact()?))
    }

    /// Ends the request if the inner future resolved, and tells the head of the response what it is
    /// to tell. `plain_end` is what [`plain_end`](Self::plain_end) says.
    ///
    /// A response is moved once more wherever the compiler has to drop it in case of a panic, and
    /// wherever it does not see that what was ready stays so. So what was polled is not dropped in here:
    /// should our own recording panic, it leaks.
    #[inline(always)]
    pub(crate) fn end<B: Body, E>(
        this: &mut Option<Self>,
        plain_end: Option<(StatusCode, u64)>,
        polled: &mut ManuallyDrop<Poll<Result<Response<B>, E>>>,
    ) {
        if polled.is_pending() {
            return this.iter().for_each(Self::stop_busy);
        }
        let Some(this) = this.take() else { return };
        if let Some((status, bytes)) = plain_end {
            return this.end_plain(status, bytes);
        }
        let taken = mem::replace(polled, ManuallyDrop::new(Poll::Pending));
        *polled = ManuallyDrop::new(this.end_configured(ManuallyDrop::into_inner(taken)));
        assert!(polled.is_ready(), "a request ends once its response is there");
    }

    #[inline(always)]
    fn end_plain(self, status: StatusCode, bytes: u64) {
        let scope = self.scope();
        let core = scope.core();
        let latency_ns = scope.elapsed_ns(core);
        scope.timed.end();
        let size = if size::has_no_body(status) { 0 } else { bytes };
        let (size_class, outcome) =
            (core.sizes.class_of(Some(size)), Answer::of_http(status).outcome);
        core.record_plain(scope, Filed::new(scope.route(), size_class, outcome), latency_ns);
        self.into_scope().put_back_plain();
    }

    #[cold]
    #[inline(never)]
    fn end_configured<B: Body, E>(
        self,
        mut polled: Poll<Result<Response<B>, E>>,
    ) -> Poll<Result<Response<B>, E>> {
        let Poll::Ready(result) = &mut polled else { return polled };
        let scope = self.scope();
        scope.stop_busy();
        match result {
            Ok(response) => {
                scope.tell(response.headers_mut());
                let exact = response.body().size_hint().exact();
                let size = scope.size(response.status(), response.headers(), exact);
                let answer = scope.answer(response.status(), response.headers());
                // It has, when it was polled again after it panicked.
                if !scope.timed.has_ended() {
                    scope.end_at(answer, size, scope.elapsed_ns(scope.core()));
                }
                drop(self.into_scope());
            }
            Err(_) => scope.end_early(Outcome::Failed),
        }
        polled
    }

    #[inline]
    fn of(scope: PooledScope) -> Self {
        Self(scope.keep())
    }

    #[inline]
    fn scope(&self) -> &'static Scope {
        self.0
    }

    /// The scope of a request whose end is recorded, to be given back.
    #[inline(always)]
    fn into_scope(self) -> PooledScope {
        let scope = PooledScope::of(self.0);
        mem::forget(self);
        scope
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        cancel(self.0);
    }
}

// Out of line: a request that ended as most do is not dropped but finished.
#[cold]
#[inline(never)]
fn cancel(scope: &'static Scope) {
    let _back_to_the_pool = PooledScope::of(scope);
    scope.end_early(Outcome::Cancelled);
}

/// The end of the request that a scope serves.
impl Scope {
    #[inline]
    fn start_busy(&self) {
        if !self.timed.is_plain() {
            self.read_busy(Timed::start_busy);
        }
    }

    #[inline]
    fn stop_busy(&self) {
        if !self.timed.is_plain() {
            self.read_busy(Timed::stop_busy);
        }
    }

    #[cold]
    #[inline(never)]
    fn read_busy(&self, note: fn(&Timed, u64)) {
        let core = self.core();
        if core.busy_time {
            note(&self.timed, core.clock.raw());
        }
    }

    #[inline(always)]
    fn end_at(&self, answer: Answer, size: Option<u64>, latency_ns: u64) -> Filed {
        self.timed.end();
        self.settle_exposures();
        let core = self.core();
        let route = if answer.implemented { self.confirmed_route() } else { self.route() };
        let size_class = core.sizes.class_of(size);
        let filed = Filed::new(route, size_class, answer.outcome);
        core.record(self, filed, latency_ns);
        if !core.plain {
            self.record_busy(filed);
        }
        filed
    }

    /// The route, now that a gRPC service answered that knows the method.
    #[cold]
    #[inline(never)]
    fn confirmed_route(&self) -> &'static Route {
        let so_far = self.route();
        let Some(claim) = self.take_claim() else { return so_far };
        let confirmed = claim.confirm();
        self.core().refile_start(so_far, confirmed, self);
        confirmed
    }

    #[cold]
    #[inline(never)]
    fn record_busy(&self, filed: Filed) {
        let core = self.core();
        if core.busy_time {
            let ns = core.clock.elapsed_ns(0, self.timed.busy_ticks());
            core.record_milestone(self, filed, route_table::BUSY, ns);
        }
    }

    /// Adds to the response what its headers were asked to say.
    fn tell(&self, headers: &mut HeaderMap) {
        let core = self.core();
        core.request_ids.tell_response(self, headers);
        if core.server_timing {
            server_timing::tell(headers, self.elapsed_ns(self.core()), &self.timings());
        }
    }

    /// The size of the response as far as its head tells, in bytes.
    fn size(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        exact_size: Option<u64>,
    ) -> Option<u64> {
        size::size_of(status, headers, exact_size, self.timed.method_is(MethodLabel::HEAD))
    }

    #[inline]
    fn elapsed_ns(&self, core: &Core) -> u64 {
        core.clock.ns_since(self.timed.started())
    }

    fn answer(&self, status: StatusCode, headers: &HeaderMap) -> Answer {
        if self.timed.is_grpc() {
            Answer::of_grpc_head(status, headers)
        } else {
            Answer::of_http(status)
        }
    }
}

impl End for &'static Scope {
    #[inline]
    fn scope(self) -> &'static Scope {
        self
    }

    /// The request ends without a response.
    #[cold]
    #[inline(never)]
    fn end_early(self, outcome: Outcome) {
        if !self.timed.has_ended() {
            self.end_at(Answer::none(outcome), None, self.elapsed_ns(self.core()));
        }
    }
}
