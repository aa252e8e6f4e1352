//! A body that follows a script.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// What a [`ScriptedBody`] does at one poll.
#[derive(Clone, Debug)]
pub enum Step {
    /// Yields so many bytes.
    Data(usize),
    /// Yields trailers.
    Trailers(HeaderMap),
    /// Yields an error.
    Error,
    /// Is not ready, and wakes the task at once.
    Pending,
    /// Panics.
    Panic,
}

/// The error of [`Step::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptedError;

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script says so")
    }
}

impl std::error::Error for ScriptedError {}

/// A body that does what a script says, step by step, and then ends.
#[derive(Clone, Debug, Default)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    exact_size: Option<u64>,
    says_when_it_ends: bool,
}

impl ScriptedBody {
    /// A body of unknown size that only says that it has ended when it is asked for more.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), exact_size: None, says_when_it_ends: false }
    }

    /// The size hint is exact, whatever the script yields.
    #[must_use]
    pub fn with_exact_size(mut self, bytes: u64) -> Self {
        self.exact_size = Some(bytes);
        self
    }

    /// `is_end_stream` is true as soon as the script is over.
    #[must_use]
    pub fn with_end_flag(mut self) -> Self {
        self.says_when_it_ends = true;
        self
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = ScriptedError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScriptedError>>> {
        match self.get_mut().steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(vec![b'x'; bytes].into())))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Error) => Poll::Ready(Some(Err(ScriptedError))),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Panic) => panic!("the script says so"),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.says_when_it_ends && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact_size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
