use http::{HeaderMap, Response, header};
use http_body::Body;
use latency_experiment_record::Outcome;

use super::answer::{self, Answer};
use super::{End, InFlight, OwnScope, Running};
use crate::route::MethodLabel;
use crate::route_table::DURATION;
use crate::scope::Scope;
use crate::size;

/// A request whose head is out and whose body is on its way. Dropped before its end, it is recorded
/// as aborted.
pub(crate) struct BodyInFlight {
    request: InFlight,
    latency_ns: u64,
    answer: Answer,
    /// The size that the head declared, in bytes.
    declared: Option<u64>,
    counted: u64,
}

impl BodyInFlight {
    /// The service resolved. The request has ended, which gives `None`, unless there is a body to
    /// wait for.
    pub(crate) fn enter<B: Body, E>(
        request: InFlight,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Self> {
        let scope = request.scope();
        let Ok(response) = result else {
            scope.end_early(Outcome::Failed);
            return None;
        };
        // It has, when it was polled again after it panicked.
        if scope.timed.has_ended() {
            return None;
        }
        scope.tell(response.headers_mut());
        let body = Self {
            latency_ns: scope.elapsed_ns(scope.core()),
            answer: scope.answer(response.status(), response.headers()),
            declared: scope.size(
                response.status(),
                response.headers(),
                response.body().size_hint().exact(),
            ),
            counted: 0,
            request,
        };
        if response.body().is_end_stream() {
            body.end(body.answer);
            return None;
        }
        if body.ends_at_head(response) {
            body.end_with(body.answer, body.declared, body.latency_ns);
            return None;
        }
        Some(body)
    }

    /// Whether the protocol lets nothing follow the head that is part of the request, or the client
    /// decides how long it goes on. hyper drops such a body without polling it, which is no abort.
    fn ends_at_head<B>(&self, response: &Response<B>) -> bool {
        let status = response.status();
        let event_stream = || {
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let media_type =
                content_type.and_then(|value| value.as_bytes().split(|&b| b == b';').next());
            media_type
                .is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
        };
        self.scope().timed.method_is(MethodLabel::HEAD)
            || (self.scope().timed.method_is(MethodLabel::CONNECT) && status.is_success())
            || status.is_informational()
            || size::has_no_body(status)
            || event_stream()
    }

    pub(crate) fn run(&self) -> Running<&Self, OwnScope> {
        Running::new(Some(self))
    }

    /// See [`InFlight::stop_busy`].
    pub(crate) fn stop_busy(&self) {
        self.request.stop_busy();
    }

    /// The body yielded so many bytes; `last` tells whether that was its end.
    pub(crate) fn data(&mut self, bytes: u64, last: bool) {
        self.counted = self.counted.saturating_add(bytes);
        if last {
            self.end(self.answer);
        }
    }

    /// The body ended, with trailers or without.
    pub(crate) fn finish(&self, trailers: Option<&HeaderMap>) {
        let trailers = trailers.filter(|_| self.scope().timed.is_grpc());
        let status = trailers.and_then(answer::grpc_status);
        self.end(status.map_or(self.answer, Answer::of_grpc));
    }

    /// The body failed half-way.
    pub(crate) fn fail(&self) {
        self.end_early(Outcome::Failed);
    }

    fn end(&self, answer: Answer) {
        if self.scope().timed.has_ended() {
            return;
        }
        let complete =
            !matches!(answer.outcome, Outcome::Aborted | Outcome::Failed | Outcome::Panicked);
        let size = self.declared.or(complete.then_some(self.counted));
        self.end_with(answer, size, self.scope().elapsed_ns(self.scope().core()));
    }

    fn end_with(&self, answer: Answer, size: Option<u64>, duration_ns: u64) {
        let scope = self.scope();
        let filed = scope.end_at(answer, size, self.latency_ns);
        scope.core().record_milestone(scope, filed, DURATION, duration_ns);
    }

    fn scope(&self) -> &'static Scope {
        self.request.scope()
    }
}

impl End for &BodyInFlight {
    fn scope(self) -> &'static Scope {
        BodyInFlight::scope(self)
    }

    fn end_early(self, outcome: Outcome) {
        self.end(Answer { outcome, ..self.answer });
    }
}

impl Drop for BodyInFlight {
    fn drop(&mut self) {
        // Servers stop polling once they have all the bytes that the head declared.
        if self.declared == Some(self.counted) {
            self.finish(None);
        } else {
            self.end_early(Outcome::Aborted);
        }
    }
}
