use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::ResponseFuture;
use super::body::{Extent, HeadOnly};
use crate::assignments::Assignments;
use crate::core::Core;
use crate::end::InFlight;
use crate::head::RequestHead;
use crate::request_id::RequestId;
use crate::scope::Scope;

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
        let mut in_flight = start(self.core, &mut request);
        let inner = match &mut in_flight {
            Some(in_flight) => in_flight.run_scoped(|| self.inner.call(request)),
            None => self.inner.call(request),
        };
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
    let id = RequestId::generate();
    let scope = Scope::new(core, id, core.assign(id, head));
    let extension = core.request_extension.then(|| Assignments::of(&scope));
    let in_flight = InFlight::start(core, started, head, scope);
    if let Some(assignments) = extension {
        request.extensions_mut().insert(assignments);
    }
    Some(in_flight)
}

impl<S: fmt::Debug, X> fmt::Debug for ExperimentService<S, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExperimentService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
