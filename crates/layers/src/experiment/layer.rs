use std::fmt;
use std::marker::PhantomData;

use tower_layer::Layer;

use super::ExperimentService;
use super::body::{HeadOnly, WholeBody};
use crate::core::Core;

/// Assigns each request to the arms of all flags, times it, and records both together.
///
/// It is made by [`Experiments::layer`](crate::Experiments::layer). Wrapping a service neither
/// allocates nor counts references, because axum wraps once per connection and sometimes per
/// request.
///
/// # When the clock runs
///
/// It starts in [`Service::call`](tower_service::Service::call), before the flags are evaluated
/// and before the inner service is called: not at the first poll, and not in `poll_ready`, so time
/// spent waiting for readiness is not in it. It stops when the inner future resolves to a response
/// head or an error. The body that follows, and its way to the client, is not in it.
///
/// # What is recorded
///
/// One sample per flag, under the arm that the request was assigned to, its route, the size class
/// of its response, whether it consulted the flag, and its
/// [`Outcome`](latency_experiment_record::Outcome):
///
/// | what happens | outcome |
/// |---|---|
/// | the service resolves to a response below 400, for gRPC with status OK | completed |
/// | the response says that the request was wrong | client error |
/// | the response says that the service failed | server error |
/// | the service resolves to `Err` | failed |
/// | a panic passes through the inner `call` or `poll` | panicked |
/// | the future is dropped before any of these | cancelled |
///
/// With [`with_body`](ExperimentLayer::with_body) the request ends with the body of its response,
/// its *duration* is recorded beside its latency, and there is more that can happen:
///
/// | what happens | outcome |
/// |---|---|
/// | the body ends, for gRPC with status OK in its trailers | as the response said |
/// | the trailers carry another gRPC status | as that status says |
/// | the body yields an error | failed |
/// | a panic passes through its `poll_frame` | panicked |
/// | it is dropped before its end | aborted |
///
/// Nothing can follow the head of a response to HEAD, of 204, 304, 1xx and a successful CONNECT;
/// and `text/event-stream` goes on for as long as the client likes. Those requests end at the head.
///
/// Cancelled and panicked requests keep the time that they took so far. Leaving them out would
/// flatter whichever arm loses its slowest requests.
///
/// # Order
///
/// Put it as far out as what it shall measure: layers inside it are timed, layers outside are not.
/// In axum, `Router::layer` is right: there the matched route is known. Around the whole router it
/// is not, and all requests would be filed under `_unmatched`. A timeout layer inside makes a slow
/// request an error response; outside it makes it a cancelled one. Inside of a compression layer
/// the size is that of the plain response; outside it is not known.
///
/// # Cancellation and readiness
///
/// A future that is dropped before its end is recorded as cancelled, with the time so far.
/// `poll_ready` is forwarded, and `call` calls the very service that was made ready.
#[derive(Clone, Copy)]
pub struct ExperimentLayer<X = HeadOnly> {
    core: &'static Core,
    extent: PhantomData<fn() -> X>,
}

impl ExperimentLayer {
    pub(crate) fn new(core: &'static Core) -> Self {
        Self { core, extent: PhantomData }
    }

    /// The same layer, measuring bodies too: a request then ends with the body of its response.
    pub fn with_body(self) -> ExperimentLayer<WholeBody> {
        ExperimentLayer { core: self.core, extent: PhantomData }
    }
}

impl<S, X> Layer<S> for ExperimentLayer<X> {
    type Service = ExperimentService<S, X>;

    fn layer(&self, inner: S) -> Self::Service {
        ExperimentService::new(self.core, inner)
    }
}

impl<X> fmt::Debug for ExperimentLayer<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExperimentLayer")
            .field("flags", &self.core.revisions)
            .finish_non_exhaustive()
    }
}
