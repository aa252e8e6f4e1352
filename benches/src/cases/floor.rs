//! The least that any layer of this kind has to do, written as plainly as it goes.
//!
//! `Floor` reads the time stamp counter twice, hashes an ID of 36 bytes and increments one counter.
//! `Floor2` adds what the API of `http` and axum makes everybody read: the request ID from its
//! header, the `MatchedPath` from the extensions, the status and the size hint.

use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use axum::extract::MatchedPath;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use quanta::Clock;
use tower::{Layer, Service};
use xxhash_rust::xxh3::xxh3_64;

use super::case::{ID, ID_HEADER};

/// What a floor reads and writes; it lives as long as the process, so that nobody counts
/// references. One thread writes the counts, by arm and power of two of the elapsed ticks.
struct Tables {
    clock: Clock,
    counts: [[AtomicU64; 64]; 2],
}

impl Tables {
    fn leaked() -> &'static Self {
        let counts = [const { [const { AtomicU64::new(0) }; 64] }; 2];
        Box::leak(Box::new(Self { clock: Clock::new(), counts }))
    }

    fn count(&self, arm: usize, ticks: u64) {
        let counter = &self.counts[arm & 1][(ticks | 1).ilog2() as usize];
        counter.store(counter.load(Relaxed) + 1, Relaxed);
    }
}

fn arm_of(id: &[u8]) -> usize {
    (xxh3_64(id) >> 63) as usize
}

/// The layer of [`Floor`].
#[derive(Clone, Copy)]
pub(super) struct FloorLayer(&'static Tables);

/// The layer of [`Floor2`].
#[derive(Clone, Copy)]
pub(super) struct Floor2Layer(&'static Tables);

/// Two readings of the counter, one hash, one increment.
#[derive(Clone, Copy)]
pub(super) struct Floor<S> {
    inner: S,
    tables: &'static Tables,
}

/// The same, and all that the API makes a layer read.
#[derive(Clone, Copy)]
pub(super) struct Floor2<S> {
    inner: S,
    tables: &'static Tables,
}

pin_project! {
    /// The future of [`Floor`].
    pub(super) struct FloorFuture<F> {
        #[pin]
        inner: F,
        tables: &'static Tables,
        start: u64,
        arm: usize,
    }
}

pin_project! {
    /// The future of [`Floor2`].
    pub(super) struct Floor2Future<F> {
        #[pin]
        inner: F,
        tables: &'static Tables,
        start: u64,
        arm: usize,
        route: usize,
    }
}

impl FloorLayer {
    pub(super) fn new() -> Self {
        Self(Tables::leaked())
    }
}

impl Floor2Layer {
    pub(super) fn new() -> Self {
        Self(Tables::leaked())
    }
}

impl<S> Layer<S> for FloorLayer {
    type Service = Floor<S>;

    fn layer(&self, inner: S) -> Floor<S> {
        Floor { inner, tables: self.0 }
    }
}

impl<S> Layer<S> for Floor2Layer {
    type Service = Floor2<S>;

    fn layer(&self, inner: S) -> Floor2<S> {
        Floor2 { inner, tables: self.0 }
    }
}

impl<S, R> Service<R> for Floor<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FloorFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let start = self.tables.clock.raw();
        let arm = arm_of(black_box(ID.as_slice()));
        FloorFuture { inner: self.inner.call(request), tables: self.tables, start, arm }
    }
}

impl<F: Future> Future for FloorFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = ready!(this.inner.poll(cx));
        this.tables.count(*this.arm, this.tables.clock.raw().saturating_sub(*this.start));
        Poll::Ready(output)
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for Floor2<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Floor2Future<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let start = self.tables.clock.raw();
        let arm = request.headers().get(&ID_HEADER).map_or(0, |id| arm_of(id.as_bytes()));
        let matched = request.extensions().get::<MatchedPath>();
        let route = matched.map_or(0, |path| path.as_str().as_ptr().addr());
        Floor2Future { inner: self.inner.call(request), tables: self.tables, start, arm, route }
    }
}

impl<F, B, E> Future for Floor2Future<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let Ok(response) = &result {
            black_box((*this.route, response.status(), response.body().size_hint().exact()));
        }
        this.tables.count(*this.arm, this.tables.clock.raw().saturating_sub(*this.start));
        Poll::Ready(result)
    }
}
