//! The half of [`ExperimentLayer`](crate::ExperimentLayer) that times and records.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::core::Core;
use crate::end::{InFlight, OuterScope, Start};
use crate::experiment::HeadOnly;
use crate::experiment::body::sealed::Extent;
use crate::head::RequestHead;

/// The half of [`ExperimentLayer`](crate::ExperimentLayer) that times and records.
///
/// When the clock starts and stops and what is recorded is told there. This half records under the
/// assignments that an [`AssignLayer`](crate::AssignLayer) of the same
/// [`Experiments`](crate::Experiments) made further out; without one, every request is recorded as
/// `_outside`.
///
/// It is made by [`Experiments::latency_layer`](crate::Experiments::latency_layer).
#[derive(Clone, Copy)]
pub struct LatencyLayer {
    core: &'static Core,
}

/// The service that [`LatencyLayer`] makes.
#[derive(Clone, Copy)]
pub struct LatencyService<S> {
    core: &'static Core,
    inner: S,
}

pin_project! {
    /// The future of [`LatencyService`].
    pub struct LatencyFuture<F> {
        #[pin]
        inner: F,
        in_flight: Option<InFlight>,
    }
}

impl LatencyLayer {
    pub(crate) fn new(core: &'static Core) -> Self {
        Self { core }
    }
}

impl<S> Layer<S> for LatencyLayer {
    type Service = LatencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LatencyService { core: self.core, inner }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for LatencyService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = LatencyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let in_flight = Start::now(self.core).observing(RequestHead::of(&request));
        let running = InFlight::run::<OuterScope>(in_flight.as_ref());
        let inner = self.inner.call(request);
        running.returned();
        LatencyFuture { inner, in_flight }
    }
}

impl<F, B, E> Future for LatencyFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        HeadOnly::poll::<OuterScope, _, _, _>(this.inner, cx, this.in_flight)
    }
}

impl fmt::Debug for LatencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for LatencyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
