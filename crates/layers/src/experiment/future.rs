use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

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
    /// The future of a request that takes no part.
    #[inline]
    pub(super) fn new(inner: F) -> Self {
        Self { inner, in_flight: None, extent: PhantomData }
    }

    #[inline]
    pub(super) fn take_part(&mut self, in_flight: Option<InFlight>) {
        self.in_flight = in_flight;
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
        X::poll(this.inner, cx, this.in_flight)
    }
}
