use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::end::{BodyInFlight, InFlight, Within};

/// How much of a response is measured: [`HeadOnly`] or [`WholeBody`]. It is a type, so that a
/// service whose bodies are not measured keeps its response type.
pub trait Extent: sealed::Extent {}

impl Extent for HeadOnly {}
impl Extent for WholeBody {}

/// A request ends when the head of its response is built. The response passes untouched.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadOnly;

/// A request ends with the body of its response, which is wrapped in a [`MeasuredBody`].
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeBody;

/// What an [`Extent`] does, out of reach of other crates.
#[allow(
    private_interfaces,
    private_bounds,
    reason = "sealed: nobody outside can name, call or implement it"
)]
pub(crate) mod sealed {
    use super::{Body, Context, InFlight, Pin, Poll, Response, Within};

    pub trait Extent {
        type Body<B: Body>;

        /// Polls the inner future. When it resolves, the request ends or is handed over to the
        /// body of the response.
        fn poll<W, F, B, E>(
            inner: Pin<&mut F>,
            cx: &mut Context<'_>,
            in_flight: &mut Option<InFlight>,
        ) -> Poll<Result<Response<Self::Body<B>>, E>>
        where
            W: Within,
            F: Future<Output = Result<Response<B>, E>>,
            B: Body;
    }
}

// Each polls by itself rather than through a function that both share: what is returned is then
// built where it is wanted, where it would be moved twice on the way.

#[allow(
    private_interfaces,
    private_bounds,
    reason = "sealed: nobody outside can name, call or implement it"
)]
impl sealed::Extent for HeadOnly {
    type Body<B: Body> = B;

    #[inline(always)]
    fn poll<W, F, B, E>(
        inner: Pin<&mut F>,
        cx: &mut Context<'_>,
        in_flight: &mut Option<InFlight>,
    ) -> Poll<Result<Response<B>, E>>
    where
        W: Within,
        F: Future<Output = Result<Response<B>, E>>,
        B: Body,
    {
        let running = InFlight::run::<W>(in_flight.as_ref());
        let polled = inner.poll(cx);
        running.returned();
        let plain_end = InFlight::plain_end(in_flight.as_ref(), &polled);
        let mut polled = ManuallyDrop::new(polled);
        InFlight::end(in_flight, plain_end, &mut polled);
        ManuallyDrop::into_inner(polled)
    }
}

#[allow(
    private_interfaces,
    private_bounds,
    reason = "sealed: nobody outside can name, call or implement it"
)]
impl sealed::Extent for WholeBody {
    type Body<B: Body> = MeasuredBody<B>;

    #[inline]
    fn poll<W, F, B, E>(
        inner: Pin<&mut F>,
        cx: &mut Context<'_>,
        in_flight: &mut Option<InFlight>,
    ) -> Poll<Result<Response<MeasuredBody<B>>, E>>
    where
        W: Within,
        F: Future<Output = Result<Response<B>, E>>,
        B: Body,
    {
        let running = InFlight::run::<W>(in_flight.as_ref());
        let polled = inner.poll(cx);
        running.returned();
        in_flight.iter().for_each(InFlight::stop_busy);
        let mut result = ready!(polled);
        let in_flight = in_flight.take();
        let in_flight = in_flight.and_then(|in_flight| BodyInFlight::enter(in_flight, &mut result));
        Poll::Ready(result.map(|response| response.map(|inner| MeasuredBody { inner, in_flight })))
    }
}

pin_project! {
    /// The body of a response whose request ends with it.
    ///
    /// Frames, trailers, errors, `is_end_stream` and `size_hint` are those of the inner body, so
    /// the framing on the wire stays as it was. Flags may be consulted while the body is polled.
    pub struct MeasuredBody<B> {
        #[pin]
        inner: B,
        // Absent when the request has ended or takes no part. Dropped before the end, it records an
        // aborted request.
        in_flight: Option<BodyInFlight>,
    }
}

impl<B> MeasuredBody<B> {
    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

impl<B: Body> Body for MeasuredBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(in_flight) = this.in_flight else { return this.inner.poll_frame(cx) };
        let running = in_flight.run();
        let polled = this.inner.as_mut().poll_frame(cx);
        running.returned();
        in_flight.stop_busy();
        let frame = ready!(polled);
        match &frame {
            None => in_flight.finish(None),
            Some(Err(_)) => in_flight.fail(),
            Some(Ok(frame)) => match frame.data_ref() {
                // Servers do not poll for a `None` behind a frame that says it is the last one.
                Some(data) => {
                    in_flight.data(data.remaining() as u64, this.inner.is_end_stream());
                }
                None => in_flight.finish(frame.trailers_ref()),
            },
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: std::fmt::Debug> std::fmt::Debug for MeasuredBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeasuredBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
