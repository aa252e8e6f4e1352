use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::{Extent, HeadOnly};
use crate::end::{InFlight, OwnScope};

pin_project! {
    /// The future of [`ExperimentService`](super::ExperimentService).
    pub struct ResponseFuture<F, X = HeadOnly> {
        #[pin]
        pub(super) inner: F,
        // Absent when the request takes no part. Dropped with the future, it records a cancelled
        // request.
        pub(super) in_flight: Option<InFlight>,
        pub(super) extent: PhantomData<fn() -> X>,
    }
}

impl<F, B, E, X> Future for ResponseFuture<F, X>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    X: Extent,
{
    type Output = Result<Response<X::Body<B>>, E>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        X::poll::<OwnScope, _, _, _>(this.inner, cx, this.in_flight)
    }
}
