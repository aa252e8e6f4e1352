use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::ResponseFuture;
use super::body::{Extent, HeadOnly};
use crate::assign::tell;
use crate::core::Core;
use crate::end::{InFlight, Running};
use crate::head::RequestHead;

/// The service that [`ExperimentLayer`](super::ExperimentLayer) makes.
#[derive(Clone, Copy)]
pub struct ExperimentService<S, X = HeadOnly> {
    core: &'static Core,
    inner: S,
    extent: PhantomData<fn() -> X>,
}

impl<S, X> ExperimentService<S, X> {
    pub(super) fn new(core: &'static Core, inner: S) -> Self {
        Self { core, inner, extent: PhantomData }
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, X, RequestBody, ResponseBody> Service<Request<RequestBody>> for ExperimentService<S, X>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Body,
    X: Extent,
{
    type Response = Response<X::Body<ResponseBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, X>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let in_flight = start(self.core, &mut request);
        let running = in_flight.as_ref().map(InFlight::run);
        let inner = self.inner.call(request);
        Running::returned_if(running);
        ResponseFuture::new(inner, in_flight)
    }
}

/// Starts the clock, evaluates the flags and finds the route, unless the request takes no part.
#[inline]
fn start<B>(core: &'static Core, request: &mut Request<B>) -> Option<InFlight> {
    let started = core.clock.raw();
    let head = RequestHead::of(request);
    if !core.takes_part(head) {
        return None;
    }
    let revision = core.revisions.current();
    let id = core.request_ids.identify(head);
    let arms = Core::assign(revision, &id, head);
    let route = core.route(revision.tables, head);
    let in_flight = InFlight::start(core, started, head, id, arms, route);
    tell(in_flight.scope(), request);
    Some(in_flight)
}

impl<S: fmt::Debug, X> fmt::Debug for ExperimentService<S, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExperimentService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
