use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::{Extent, HeadOnly};
use crate::end::InFlight;

pin_project! {
    /// The future of [`ExperimentService`](super::ExperimentService).
    pub struct ResponseFuture<F, X = HeadOnly> {
        #[pin]
        inner: F,
        // Absent when the request takes no part. Dropped with the future, it records a cancelled
        // request.
        in_flight: Option<InFlight>,
        extent: PhantomData<fn() -> X>,
    }
}

impl<F, X> ResponseFuture<F, X> {
    pub(super) fn new(inner: F, in_flight: Option<InFlight>) -> Self {
        Self { inner, in_flight, extent: PhantomData }
    }
}

impl<F, B, E, X> Future for ResponseFuture<F, X>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    X: Extent,
{
    type Output = Result<Response<X::Body<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.in_flight {
            Some(in_flight) => in_flight.run_scoped(|| this.inner.poll(cx)),
            None => this.inner.poll(cx),
        };
        let result = ready!(result);
        Poll::Ready(X::settle(this.in_flight.take(), result))
    }
}
