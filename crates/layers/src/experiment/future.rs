use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::end::InFlight;

pin_project! {
    /// The future of [`ExperimentService`](super::ExperimentService).
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // Absent when the request takes no part. Dropped with the future, it records a cancelled
        // request.
        in_flight: Option<InFlight>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, in_flight: Option<InFlight>) -> Self {
        Self { inner, in_flight }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(in_flight) = this.in_flight else { return this.inner.poll(cx) };
        let result = ready!(in_flight.run_scoped(|| this.inner.poll(cx)));
        in_flight.end_with(&result);
        Poll::Ready(result)
    }
}
