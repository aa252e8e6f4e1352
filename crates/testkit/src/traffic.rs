//! Requests whose ends are drawn at random, the same for the same seed.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use latency_experiment_record::Outcome;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use tower_service::Service;

use crate::{ScriptedBody, ScriptedError, Step};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// This status, and no body.
    Answer(u16),
    /// The service resolves to `Err`.
    Error,
    /// A panic in `Service::call`.
    PanicInCall,
    /// A panic at the second poll of the future.
    PanicInFuture,
    /// The future is dropped before its first poll.
    DroppedUnpolled,
    /// The future is dropped after its first poll.
    DroppedPolled,
    /// The body is dropped before its first frame.
    BodyUntouched,
    /// The body is dropped after its first frame.
    BodyDropped,
    /// The body fails after its first frame.
    BodyError,
    /// The body panics after its first frame.
    BodyPanic,
    /// The body comes to its end.
    BodyEnd,
}

impl Fate {
    /// One of each kind.
    pub const KINDS: [Self; 11] = [
        Self::Answer(404),
        Self::Error,
        Self::PanicInCall,
        Self::PanicInFuture,
        Self::DroppedUnpolled,
        Self::DroppedPolled,
        Self::BodyUntouched,
        Self::BodyDropped,
        Self::BodyError,
        Self::BodyPanic,
        Self::BodyEnd,
    ];

    /// The outcome that a request must have that ends so: when only the head is measured, or with the
    /// body.
    pub fn outcome(self, with_body: bool) -> Outcome {
        match self {
            Self::Error => Outcome::Failed,
            Self::PanicInCall | Self::PanicInFuture => Outcome::Panicked,
            Self::DroppedUnpolled | Self::DroppedPolled => Outcome::Cancelled,
            Self::BodyDropped | Self::BodyUntouched if with_body => Outcome::Aborted,
            Self::BodyError if with_body => Outcome::Failed,
            Self::BodyPanic if with_body => Outcome::Panicked,
            Self::Answer(400..500) => Outcome::ClientError,
            Self::Answer(500..) => Outcome::ServerError,
            _ => Outcome::Completed,
        }
    }
}

/// Draws fates: a third are answers without a body, a quarter come to the end of their body, and the
/// others end in all other ways.
#[derive(Clone, Debug)]
pub struct Traffic(Xoshiro256PlusPlus);

impl Traffic {
    /// The same traffic for the same seed, on every machine.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The fate of the next request.
    pub fn fate(&mut self) -> Fate {
        match self.below(20) {
            0 => Fate::Error,
            1 => Fate::PanicInCall,
            2 => Fate::PanicInFuture,
            3 => Fate::DroppedUnpolled,
            4 => Fate::DroppedPolled,
            5 => Fate::BodyDropped,
            6 => Fate::BodyUntouched,
            7 => Fate::BodyError,
            8 => Fate::BodyPanic,
            9..14 => Fate::BodyEnd,
            other => Fate::Answer([200, 204, 404, 429, 500, 503][other - 14]),
        }
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }
}

/// A service that does to each request what its body, a [`Fate`], says. What the caller does, such as
/// dropping the future, is left to the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct FatedService;

impl Service<Request<Fate>> for FatedService {
    type Response = Response<ScriptedBody>;
    type Error = ScriptedError;
    type Future = FatedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ScriptedError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Fate>) -> FatedFuture {
        let fate = *request.body();
        assert!(fate != Fate::PanicInCall, "the script says so");
        FatedFuture { fate, polled: false }
    }
}

/// The future of a [`FatedService`]: it is pending once, and then does what its fate says.
#[derive(Debug)]
pub struct FatedFuture {
    fate: Fate,
    polled: bool,
}

impl Future for FatedFuture {
    type Output = Result<Response<ScriptedBody>, ScriptedError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !std::mem::replace(&mut self.polled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let body = match self.fate {
            Fate::Error => return Poll::Ready(Err(ScriptedError)),
            Fate::PanicInFuture => panic!("the script says so"),
            Fate::Answer(status) => {
                let mut response = Response::new(ScriptedBody::new([]).with_end_flag());
                *response.status_mut() = status.try_into().expect("a status");
                return Poll::Ready(Ok(response));
            }
            Fate::BodyError => ScriptedBody::new([Step::Data(9), Step::Error]),
            Fate::BodyPanic => ScriptedBody::new([Step::Data(9), Step::Panic]),
            _ => ScriptedBody::new([Step::Data(9)]),
        };
        Poll::Ready(Ok(Response::new(body)))
    }
}
