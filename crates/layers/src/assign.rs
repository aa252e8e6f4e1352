//! The half of [`ExperimentLayer`](crate::ExperimentLayer) that assigns.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::assignments::Assignments;
use crate::core::Core;
use crate::head::RequestHead;
use crate::scope::{self, Scope};

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
        scope: Option<Scope>,
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
        let mut scope = assign(self.core, &mut request);
        let inner = {
            let _entered = scope::enter(&mut scope);
            self.inner.call(request)
        };
        AssignFuture { inner, scope }
    }
}

/// Evaluates the flags for a request, unless it takes no part, and tells the request.
#[inline]
pub(crate) fn assign<B>(core: &'static Core, request: &mut Request<B>) -> Option<Scope> {
    let head = RequestHead::of(request);
    if !core.takes_part(head) {
        return None;
    }
    let id = core.request_ids.identify(head);
    let arms = core.assign(&id, head);
    let scope = Scope::new(core, id, arms);
    core.request_ids.tell_request(&scope.id, request.headers_mut());
    if core.request_extension {
        request.extensions_mut().insert(Assignments::of(&scope));
    }
    Some(scope)
}

impl<F: Future> Future for AssignFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = scope::enter(this.scope);
        this.inner.poll(cx)
    }
}

impl fmt::Debug for AssignLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssignLayer").field("flags", &self.core.flags).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for AssignService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssignService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
