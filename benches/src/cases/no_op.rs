//! A layer that does nothing. In axum every layer costs: it makes the router box its routes.

use std::task::{Context, Poll};

use tower::{Layer, Service};

/// Passes on what it gets. It holds the inner service, so it is not of size zero and axum has to
/// allocate a box for it, as for any other layer.
#[derive(Clone, Copy)]
pub(super) struct NoOp<S>(S);

/// The layer of [`NoOp`].
#[derive(Clone, Copy)]
pub(super) struct NoOpLayer;

impl<S> Layer<S> for NoOpLayer {
    type Service = NoOp<S>;

    fn layer(&self, inner: S) -> NoOp<S> {
        NoOp(inner)
    }
}

impl<S, R> Service<R> for NoOp<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
