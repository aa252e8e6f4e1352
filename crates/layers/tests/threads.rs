//! Requests that change threads at every step keep what is known of them, and end once.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::thread;

use http::{Request, Response};
use http_body::Body;
use latency_experiment_flags::{Flag, FlagSet};
use latency_experiment_layers::{Config, Experiments, FlagHandle, current, section};
use latency_experiment_record::{Milestone, Outcome};
use latency_experiment_testkit::{ManualClock, ScriptedBody, Step};
use tower::util::MapRequest;
use tower::{Layer, Service, service_fn};

const THREADS: usize = if cfg!(miri) { 3 } else { 8 };
const REQUESTS: usize = if cfg!(miri) { 64 } else { 40_000 };

/// What becomes of a request: its number modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Answered,
    AnsweredAfterSections,
    AnsweredAfterSharing,
    DroppedHalfWay,
    Panics,
}

impl Fate {
    const ALL: [Self; 5] = [
        Self::Answered,
        Self::AnsweredAfterSections,
        Self::AnsweredAfterSharing,
        Self::DroppedHalfWay,
        Self::Panics,
    ];

    fn outcome(self) -> Outcome {
        match self {
            Self::Answered | Self::AnsweredAfterSections | Self::AnsweredAfterSharing => {
                Outcome::Completed
            }
            Self::DroppedHalfWay => Outcome::Cancelled,
            Self::Panics => Outcome::Panicked,
        }
    }
}

/// Whatever thread polls next goes on.
async fn change_threads() {
    let mut yielded = false;
    poll_fn(
        |_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}

/// What the request is told on any thread that it comes to.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    id: String,
    on: bool,
}

impl Told {
    fn by(flag: FlagHandle) -> Self {
        let id = current().request_id().expect("a request is served").to_string();
        Self { id, on: flag.is_on() }
    }
}

async fn handle(flag: FlagHandle, fate: Fate) -> Result<Response<ScriptedBody>, Infallible> {
    let told = Told::by(flag);
    change_threads().await;
    assert_eq!(Told::by(flag), told);
    match fate {
        Fate::AnsweredAfterSections => {
            section("work").time(change_threads()).await;
            let guard = section("more work").enter();
            assert_eq!(Told::by(flag), told);
            guard.done();
        }
        Fate::AnsweredAfterSharing => {
            let shared = current().share();
            let asked = thread::scope(|scope| {
                scope.spawn(|| shared.variation("flag").unwrap()).join().unwrap()
            });
            assert_eq!(asked, Some(if told.on { "variation" } else { "control" }));
            change_threads().await;
        }
        // Dropped by whoever comes next.
        Fate::DroppedHalfWay => std::future::pending().await,
        Fate::Panics => {
            change_threads().await;
            std::panic::resume_unwind(Box::new("as its fate wants"));
        }
        Fate::Answered => {}
    }
    assert_eq!(Told::by(flag), told);
    Ok(Response::new(ScriptedBody::new([Step::Data(1), Step::Data(1)])))
}

/// One that is under way: its next step, which tells whether it has one more.
type Steps = Box<dyn FnMut() -> bool + Send>;

/// Calls the service, polls its future and then its body.
fn steps_of<S, B>(mut service: S, fate: Fate) -> Steps
where
    S: Service<Request<Fate>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
{
    let (mut future, mut body) = (None, None::<Pin<Box<B>>>);
    let mut polls = 0;
    Box::new(move || {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(body) = &mut body {
            return matches!(body.as_mut().poll_frame(&mut context), Poll::Ready(Some(_)));
        }
        let Some(called) = &mut future else {
            future = Some(Box::pin(service.call(Request::new(fate))));
            return true;
        };
        polls += 1;
        match called.as_mut().poll(&mut context) {
            Poll::Pending => fate != Fate::DroppedHalfWay || polls < 3,
            Poll::Ready(Ok(response)) => {
                (future, body) = (None, Some(Box::pin(response.into_body())));
                true
            }
        }
    })
}

/// Every step on the thread that is free next.
fn play(requests: impl Iterator<Item = Steps> + Send) {
    let requests = Mutex::new(requests);
    let under_way = Mutex::new(VecDeque::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let new = requests.lock().unwrap().next();
                    under_way.lock().unwrap().extend(new);
                    let Some(mut steps) = under_way.lock().unwrap().pop_front() else { return };
                    let goes_on = catch_unwind(AssertUnwindSafe(&mut steps)).unwrap_or(false);
                    assert!(current().request_id().is_none(), "the thread serves none in between");
                    if goes_on {
                        under_way.lock().unwrap().push_back(steps);
                    }
                }
            });
        }
    });
}

#[test]
fn requests_that_change_threads_keep_what_is_known_of_them_and_end_once() {
    for with_body in [false, true] {
        // Not plain, where the body is measured.
        let config = Config::new(FlagSet::try_new([Flag::new("flag")]).unwrap())
            .with_clock(ManualClock::new())
            .with_busy_time(with_body);
        let experiments = Experiments::new(config);
        let flag = experiments.flag("flag").unwrap();
        let handler = service_fn(move |request: Request<Fate>| handle(flag, *request.body()));
        play((0..REQUESTS).map(move |number| {
            let fate = Fate::ALL[number % Fate::ALL.len()];
            if with_body {
                steps_of(experiments.layer().with_body().layer(handler), fate)
            } else {
                steps_of(experiments.layer().layer(handler), fate)
            }
        }));
        let snapshot = experiments.snapshot(flag);
        assert!(snapshot.counters.in_flight.values().all(|&count| count == 0), "{snapshot:?}");
        let mut ended = BTreeMap::new();
        for (key, histogram) in &snapshot.series {
            if key.milestone == Milestone::Latency {
                assert!(key.exposed, "{key:?}");
                *ended.entry(key.outcome).or_insert(0) += histogram.count();
            }
        }
        let mut fates = BTreeMap::new();
        for number in 0..REQUESTS {
            *fates.entry(Fate::ALL[number % Fate::ALL.len()].outcome()).or_insert(0) += 1;
        }
        assert_eq!(ended, fates);
    }
}

/// A thread of a request's own consults the flag; the next request, which is served in the same
/// scope, shares nothing.
#[test]
fn what_is_consulted_on_another_thread_counts_for_the_request_that_shared_and_for_no_other() {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    let experiments = Experiments::new(Config::new(flags).with_clock(ManualClock::new()));
    let mut service = experiments.layer().layer(service_fn(|request: Request<bool>| {
        let shared = request.body().then(|| current().share());
        async move {
            if let Some(shared) = shared {
                thread::spawn(move || shared.variation("flag").unwrap()).join().unwrap();
            }
            Ok::<_, Infallible>(Response::new(ScriptedBody::default().with_exact_size(0)))
        }
    }));
    for shares in [true, false, false] {
        let mut future = Box::pin(service.call(Request::new(shares)));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    let snapshot = experiments.snapshot(experiments.flag("flag").unwrap());
    let count = |exposed| -> u64 {
        let series = snapshot.series.iter().filter(|(key, _)| key.exposed == exposed);
        series.map(|(_, histogram)| histogram.count()).sum()
    };
    assert_eq!((count(true), count(false)), (1, 2));
}

/// Shared between the two halves of the layer: the inner one records what was consulted by then, too.
#[test]
fn what_was_consulted_on_another_thread_between_the_halves_counts() {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    let experiments = Experiments::new(Config::new(flags).with_clock(ManualClock::new()));
    let inner = experiments.latency_layer().layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default().with_exact_size(0))))
    }));
    let between = MapRequest::new(inner, |request| {
        let shared = current().share();
        thread::spawn(move || shared.variation("flag").unwrap()).join().unwrap();
        request
    });
    let mut service = experiments.assign_layer().layer(between);
    let mut future = Box::pin(service.call(Request::new(())));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    let snapshot = experiments.snapshot(experiments.flag("flag").unwrap());
    assert!(snapshot.series.keys().all(|key| key.exposed) && snapshot.series.len() == 1);
}
