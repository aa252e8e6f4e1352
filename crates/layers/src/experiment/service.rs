use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::ResponseFuture;
use super::body::{Extent, HeadOnly};
use crate::core::Core;
use crate::end::{InFlight, OwnScope, Start};

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

    // A shell around what is compiled once for all services.
    #[inline(always)]
    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let start = Start::now(self.core);
        let in_flight = if start.is_plain(&request) {
            Some(start.plain(&request))
        } else {
            start.configured(&mut request)
        };
        let running = InFlight::run::<OwnScope>(in_flight.as_ref());
        // Built at once where it is returned to: the inner future is not moved once more.
        ResponseFuture {
            inner: self.inner.call(request),
            in_flight: {
                running.returned();
                in_flight
            },
            extent: PhantomData,
        }
    }
}

impl<S: fmt::Debug, X> fmt::Debug for ExperimentService<S, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExperimentService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
