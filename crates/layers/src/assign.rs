//! The half of [`ExperimentLayer`](crate::ExperimentLayer) that assigns.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::core::Core;
use crate::head::RequestHead;
use crate::scope;
use crate::scope_pool::PooledScope;

/// The half of [`ExperimentLayer`](crate::ExperimentLayer) that assigns.
///
/// It gives the request an ID, evaluates every flag on it, counts the assignments, and keeps the
/// result in the scope of the request while the inner service is called and polled. It reads no
/// clock and records no latency. Put a [`LatencyLayer`](crate::LatencyLayer) inside to do that.
///
/// It is made by [`Experiments::assign_layer`](crate::Experiments::assign_layer).
#[derive(Clone, Copy)]
pub struct AssignLayer {
    core: &'static Core,
}

/// The service that [`AssignLayer`] makes.
#[derive(Clone, Copy)]
pub struct AssignService<S> {
    core: &'static Core,
    inner: S,
}

pin_project! {
    /// The future of [`AssignService`].
    pub struct AssignFuture<F> {
        #[pin]
        inner: F,
        scope: Option<PooledScope>,
    }
}

impl AssignLayer {
    pub(crate) fn new(core: &'static Core) -> Self {
        Self { core }
    }
}

impl<S> Layer<S> for AssignLayer {
    type Service = AssignService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AssignService { core: self.core, inner }
    }
}

impl<S, B> Service<Request<B>> for AssignService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AssignFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let scope = self.assign(&mut request);
        let entered = scope.as_ref().map(scope::enter_until_dropped);
        let inner = self.inner.call(request);
        drop(entered);
        AssignFuture { inner, scope }
    }
}

impl<S> AssignService<S> {
    fn assign<B>(&self, request: &mut Request<B>) -> Option<PooledScope> {
        let head = RequestHead::of(request);
        if !self.core.takes_part(head) {
            return None;
        }
        let revision = self.core.revisions.current();
        let id = self.core.request_ids.identify(head);
        let scope = PooledScope::begin_as(self.core, &id, revision.tables.routes.unmatched);
        self.core.assign(revision, &id, head.headers, &scope);
        scope.tell_request(request);
        Some(scope)
    }
}

impl<F: Future> Future for AssignFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.scope.as_ref().map(scope::enter_until_dropped);
        this.inner.poll(cx)
    }
}

impl fmt::Debug for AssignLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssignLayer").field("flags", &self.core.revisions).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for AssignService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssignService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
