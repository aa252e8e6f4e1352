use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::{Extent, HeadOnly};
use crate::end::{InFlight, Running};

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
        let running = this.in_flight.as_ref().map(InFlight::run);
        let polled = this.inner.poll(cx);
        Running::returned_if(running);
        X::settle(this.in_flight, polled)
    }
}
