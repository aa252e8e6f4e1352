//! Every way in which a request can end, with a clock that the test moves and bodies that follow
//! a script: what is recorded, when, and how long it says it took.

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use latency_experiment_flags::{Flag, FlagSet};
use latency_experiment_layers::{Config, Experiments, RouteSource, current};
use latency_experiment_record::{Milestone, Outcome, Snapshot};
use latency_experiment_testkit::{ManualClock, ScriptedBody, Step};
use tower::{Layer, Service, service_fn};

struct Bench {
    clock: ManualClock,
    experiments: Experiments,
}

impl Bench {
    fn new() -> Self {
        Self::with_routes(RouteSource::function(|_| Some("/")))
    }

    fn with_routes(routes: RouteSource) -> Self {
        let clock = ManualClock::new();
        let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
        let config = Config::new(flags).with_route_source(routes).with_clock(clock.clone());
        Self { clock, experiments: Experiments::new(config) }
    }

    fn snapshot(&self) -> Snapshot {
        self.experiments.snapshot(self.experiments.flag("flag").unwrap())
    }

    /// The only request so far: outcome, size class, latency and duration in milliseconds.
    fn only(&self) -> (Outcome, String, u64, Option<u64>) {
        let snapshot = self.snapshot();
        let of = |milestone| {
            let mut series = snapshot.series.iter().filter(|(key, _)| key.milestone == milestone);
            let found = series.next().map(|(key, histogram)| {
                assert_eq!(histogram.count(), 1, "{key:?}");
                let ms = histogram.sums().sum.unwrap() / 1_000_000;
                (key.outcome, key.size.clone(), u64::try_from(ms).unwrap())
            });
            assert!(series.next().is_none(), "one request is in one series: {:?}", snapshot.series);
            found
        };
        let (outcome, size, latency) = of(Milestone::Latency).expect("the request has ended");
        let duration = of(Milestone::Duration);
        if let Some((same_outcome, same_size, _)) = &duration {
            assert_eq!((*same_outcome, same_size), (outcome, &size), "milestones agree");
        }
        assert_eq!(snapshot.counters.in_flight.values().sum::<u64>(), 0);
        assert_eq!(snapshot.counters.started.values().sum::<u64>(), 1);
        (outcome, size, latency, duration.map(|(_, _, ms)| ms))
    }

    fn in_flight(&self) -> u64 {
        self.snapshot().counters.in_flight.values().sum()
    }

    fn advance(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

type FrameOf<B> = Option<Result<http_body::Frame<<B as Body>::Data>, <B as Body>::Error>>;

fn poll_frame<B: Body>(body: Pin<&mut B>) -> Poll<FrameOf<B>> {
    body.poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn request(method: Method) -> Request<()> {
    Request::builder().method(method).uri("/").body(()).unwrap()
}

/// What the compiler cannot know to be false, so that code behind a panic is reachable.
fn never() -> bool {
    std::hint::black_box(false)
}

fn get() -> Request<()> {
    request(Method::GET)
}

fn trailers(code: &str) -> Step {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    Step::Trailers(trailers)
}

#[test]
fn the_clock_runs_from_call_to_head_not_from_readiness_and_not_from_the_first_poll() {
    let bench = Bench::new();
    let mut polls = 0;
    let clock = bench.clock.clone();
    let mut service = bench.experiments.layer().layer(service_fn(move |_: Request<()>| {
        let clock = clock.clone();
        poll_fn(move |_| {
            polls += 1;
            clock.advance(Duration::from_millis(10));
            if polls < 3 {
                Poll::Pending
            } else {
                Poll::Ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default())))
            }
        })
    }));
    bench.advance(1_000);
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    bench.advance(1_000);
    let mut future = pin!(service.call(get()));
    bench.advance(5);
    assert!(poll(future.as_mut()).is_pending() && poll(future.as_mut()).is_pending());
    assert_eq!(bench.in_flight(), 1);
    assert!(poll(future.as_mut()).is_ready());
    bench.advance(1_000);
    assert_eq!(bench.only(), (Outcome::Completed, "unknown".to_owned(), 35, None));
}

#[test]
fn a_clock_that_steps_back_or_jumps_gives_zero_or_the_overflow_bucket_and_no_panic() {
    for (then, expected_ns) in [(0, 0), (u64::MAX, u64::MAX - 1_000)] {
        let bench = Bench::new();
        bench.clock.set_ns(1_000);
        let mut service = bench.experiments.layer().layer(service_fn(|_: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default())))
        }));
        let mut future = pin!(service.call(get()));
        bench.clock.set_ns(then);
        assert!(poll(future.as_mut()).is_ready());
        let snapshot = bench.snapshot();
        let histogram = snapshot.series.values().next().unwrap();
        assert_eq!(histogram.sums().sum, Some(u128::from(expected_ns)));
    }
}

/// A response whose head takes 10 ms, and how it looks with and without body measurement.
struct Case {
    name: &'static str,
    method: Method,
    grpc: bool,
    response: fn() -> Response<ScriptedBody>,
    /// How many frames the server asks for, 10 ms each, before it drops the body.
    frames: usize,
    head_only: (Outcome, &'static str),
    whole_body: (Outcome, &'static str, u64),
}

fn respond(status: u16, body: ScriptedBody) -> Response<ScriptedBody> {
    Response::builder().status(status).body(body).unwrap()
}

const SMALL: &str = "0-500kB";
const UNKNOWN: &str = "unknown";

#[allow(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<Case> {
    use Outcome::{Aborted, Cancelled, ClientError, Completed, Failed, ServerError};
    let case = |name, response: fn() -> Response<ScriptedBody>, frames, head_only, whole_body| {
        Case { name, method: Method::GET, grpc: false, response, frames, head_only, whole_body }
    };
    let with = |method, case: Case| Case { method, ..case };
    let grpc = |case: Case| Case { method: Method::POST, grpc: true, ..case };
    vec![
        case(
            "streamed to its end",
            || respond(200, ScriptedBody::new([Step::Data(600_000), Step::Pending, Step::Data(1)])),
            4,
            (Completed, UNKNOWN),
            (Completed, "500-1000kB", 50),
        ),
        case(
            "dropped at the last frame, which says that it is the last",
            || respond(200, ScriptedBody::new([Step::Data(1), Step::Data(1)]).with_end_flag()),
            2,
            (Completed, UNKNOWN),
            (Completed, SMALL, 30),
        ),
        case(
            "dropped at the last declared byte, unsaid",
            || respond(200, ScriptedBody::new([Step::Data(7)]).with_exact_size(7)),
            1,
            (Completed, SMALL),
            (Completed, SMALL, 20),
        ),
        case(
            "dropped before its declared end",
            || respond(200, ScriptedBody::new([Step::Data(7), Step::Data(1)]).with_exact_size(8)),
            1,
            (Completed, SMALL),
            (Aborted, SMALL, 20),
        ),
        case(
            "dropped before its end, size unknown",
            || respond(200, ScriptedBody::new([Step::Data(7), Step::Data(1)])),
            1,
            (Completed, UNKNOWN),
            (Aborted, UNKNOWN, 20),
        ),
        case(
            "never polled",
            || respond(200, ScriptedBody::new([Step::Data(7)])),
            0,
            (Completed, UNKNOWN),
            (Aborted, UNKNOWN, 10),
        ),
        case(
            "error half-way",
            || respond(200, ScriptedBody::new([Step::Data(7), Step::Error])),
            2,
            (Completed, UNKNOWN),
            (Failed, UNKNOWN, 30),
        ),
        case(
            "trailers end it",
            || respond(200, ScriptedBody::new([Step::Data(7), Step::Trailers(HeaderMap::new())])),
            2,
            (Completed, UNKNOWN),
            (Completed, SMALL, 30),
        ),
        case(
            "empty",
            || respond(200, ScriptedBody::new([]).with_exact_size(0).with_end_flag()),
            0,
            (Completed, SMALL),
            (Completed, SMALL, 10),
        ),
        case(
            "empty from the start, of no declared size, never polled",
            || respond(200, ScriptedBody::new([]).with_end_flag()),
            0,
            (Completed, UNKNOWN),
            (Completed, SMALL, 10),
        ),
        case(
            "client error",
            || respond(404, ScriptedBody::new([Step::Data(9)])),
            2,
            (ClientError, UNKNOWN),
            (ClientError, SMALL, 30),
        ),
        case(
            "server error",
            || respond(503, ScriptedBody::new([Step::Data(9)])),
            2,
            (ServerError, UNKNOWN),
            (ServerError, SMALL, 30),
        ),
        case(
            "204 has no body",
            || respond(204, ScriptedBody::new([Step::Data(9)])),
            0,
            (Completed, SMALL),
            (Completed, SMALL, 10),
        ),
        case(
            "304 has no body",
            || respond(304, ScriptedBody::new([Step::Data(9)]).with_exact_size(9)),
            0,
            (Completed, SMALL),
            (Completed, SMALL, 10),
        ),
        case(
            "101 goes on as another protocol",
            || respond(101, ScriptedBody::new([Step::Data(9)])),
            0,
            (Completed, UNKNOWN),
            (Completed, UNKNOWN, 10),
        ),
        with(
            Method::HEAD,
            case(
                "HEAD has no body",
                || respond(200, ScriptedBody::new([Step::Data(9)]).with_exact_size(900_000)),
                0,
                (Completed, SMALL),
                (Completed, SMALL, 10),
            ),
        ),
        with(
            Method::CONNECT,
            case(
                "CONNECT goes on as a tunnel",
                || respond(200, ScriptedBody::new([Step::Data(9)])),
                0,
                (Completed, UNKNOWN),
                (Completed, UNKNOWN, 10),
            ),
        ),
        with(
            Method::CONNECT,
            case(
                "CONNECT refused",
                || respond(403, ScriptedBody::new([Step::Data(9)])),
                2,
                (ClientError, UNKNOWN),
                (ClientError, SMALL, 30),
            ),
        ),
        case(
            "an event stream goes on for as long as the client likes",
            || {
                let mut response = respond(200, ScriptedBody::new([Step::Data(9), Step::Data(9)]));
                response
                    .headers_mut()
                    .insert("content-type", "text/event-stream; charset=utf-8".parse().unwrap());
                response
            },
            1,
            (Completed, UNKNOWN),
            (Completed, UNKNOWN, 10),
        ),
        case(
            "an event stream by another spelling",
            || {
                let mut response = respond(200, ScriptedBody::new([Step::Data(9), Step::Data(9)]));
                response.headers_mut().insert("content-type", "Text/Event-Stream".parse().unwrap());
                response
            },
            1,
            (Completed, UNKNOWN),
            (Completed, UNKNOWN, 10),
        ),
        grpc(case(
            "gRPC OK in trailers",
            || respond(200, ScriptedBody::new([Step::Data(9), trailers("0")])),
            2,
            (Completed, UNKNOWN),
            (Completed, SMALL, 30),
        )),
        grpc(case(
            "gRPC NOT_FOUND in trailers",
            || respond(200, ScriptedBody::new([Step::Data(9), trailers("5")])),
            2,
            (Completed, UNKNOWN),
            (ClientError, SMALL, 30),
        )),
        grpc(case(
            "gRPC INTERNAL in trailers",
            || respond(200, ScriptedBody::new([Step::Data(9), trailers("13")])),
            2,
            (Completed, UNKNOWN),
            (ServerError, SMALL, 30),
        )),
        grpc(case(
            "gRPC CANCELLED in trailers",
            || respond(200, ScriptedBody::new([trailers("1")])),
            1,
            (Completed, UNKNOWN),
            (Cancelled, SMALL, 20),
        )),
        grpc(case(
            "gRPC status in the head",
            || {
                let mut response =
                    respond(200, ScriptedBody::new([]).with_exact_size(0).with_end_flag());
                response.headers_mut().insert("grpc-status", "14".parse().unwrap());
                response
            },
            0,
            (ServerError, SMALL),
            (ServerError, SMALL, 10),
        )),
        grpc(case(
            "gRPC status that is no number",
            || respond(200, ScriptedBody::new([trailers("five")])),
            1,
            (Completed, UNKNOWN),
            (Completed, SMALL, 20),
        )),
    ]
}

#[test]
fn responses_end_as_the_table_says() {
    for case in cases() {
        let request = || {
            let mut request = request(case.method.clone());
            if case.grpc {
                request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            }
            request
        };
        let respond_after_10_ms = |bench: &Bench| {
            let (clock, response) = (bench.clock.clone(), case.response);
            service_fn(move |_: Request<()>| {
                clock.advance(Duration::from_millis(10));
                ready(Ok::<_, Infallible>(response()))
            })
        };

        let bench = Bench::with_routes(RouteSource::automatic());
        let mut service = bench.experiments.layer().layer(respond_after_10_ms(&bench));
        let Poll::Ready(Ok(response)) = poll(pin!(service.call(request()))) else { unreachable!() };
        drop(response);
        let (outcome, size) = case.head_only;
        assert_eq!(bench.only(), (outcome, size.to_owned(), 10, None), "{}, head only", case.name);

        let bench = Bench::with_routes(RouteSource::automatic());
        let mut service = bench.experiments.layer().with_body().layer(respond_after_10_ms(&bench));
        let Poll::Ready(Ok(response)) = poll(pin!(service.call(request()))) else { unreachable!() };
        let mut body = Box::pin(response.into_body());
        assert_eq!(body.size_hint().exact(), (case.response)().body().size_hint().exact());
        for _ in 0..case.frames {
            bench.advance(10);
            let _ = poll_frame(body.as_mut());
        }
        drop(body);
        bench.advance(1_000);
        let (outcome, size, duration) = case.whole_body;
        assert_eq!(
            bench.only(),
            (outcome, size.to_owned(), 10, Some(duration)),
            "{}, whole body",
            case.name
        );
    }
}

#[test]
fn a_request_is_in_flight_until_its_body_has_ended() {
    let bench = Bench::new();
    let mut service = bench.experiments.layer().with_body().layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::new([Step::Data(1), Step::Data(1)]))))
    }));
    let Poll::Ready(Ok(response)) = poll(pin!(service.call(get()))) else { unreachable!() };
    let mut body = Box::pin(response.into_body());
    assert_eq!((bench.in_flight(), bench.snapshot().series.len()), (1, 0));
    while let Poll::Ready(Some(_)) = poll_frame(body.as_mut()) {}
    assert_eq!((bench.in_flight(), bench.snapshot().series.len()), (0, 2));
    drop(body);
    assert_eq!(bench.only().0, Outcome::Completed, "dropping what has ended changes nothing");
}

#[test]
fn panics_end_the_request_wherever_they_pass_through() {
    let in_call = Bench::new();
    let mut service = in_call.experiments.layer().layer(service_fn(
        |_: Request<()>| -> std::future::Ready<Result<Response<ScriptedBody>, Infallible>> {
            panic!("in call")
        },
    ));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(service.call(get())))).is_err());
    assert_eq!(in_call.only(), (Outcome::Panicked, UNKNOWN.to_owned(), 0, None));
    assert!(current().request_id().is_none(), "the thread serves no request any more");

    let in_future = Bench::new();
    let mut service = in_future.experiments.layer().layer(service_fn(|_: Request<()>| async {
        assert!(never(), "in the future");
        Ok::<_, Infallible>(Response::new(ScriptedBody::default()))
    }));
    let mut future = Box::pin(service.call(get()));
    in_future.advance(5);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()).is_ready())).is_err());
    in_future.advance(5);
    assert!(current().request_id().is_none());
    drop(future);
    assert_eq!(in_future.only(), (Outcome::Panicked, UNKNOWN.to_owned(), 5, None));

    let in_body = Bench::new();
    let mut service = in_body.experiments.layer().with_body().layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::new([Step::Data(1), Step::Panic]))))
    }));
    let Poll::Ready(Ok(response)) = poll(pin!(service.call(get()))) else { unreachable!() };
    let mut body = Box::pin(response.into_body());
    in_body.advance(5);
    let frames = catch_unwind(AssertUnwindSafe(|| {
        while let Poll::Ready(Some(_)) = poll_frame(body.as_mut()) {}
    }));
    assert!(frames.is_err());
    assert!(current().request_id().is_none());
    drop(body);
    assert_eq!(in_body.only(), (Outcome::Panicked, UNKNOWN.to_owned(), 0, Some(5)));
}

#[test]
fn a_future_that_is_polled_again_after_it_panicked_is_counted_once() {
    fn poll_twice<F: Future>(future: F) {
        let mut future = Box::pin(future);
        assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()).is_ready())).is_err());
        assert!(poll(future.as_mut()).is_ready());
    }

    let panics_first = || {
        let mut polled = false;
        std::future::poll_fn(move |_| {
            assert!(std::mem::replace(&mut polled, true), "at first");
            Poll::Ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default())))
        })
    };
    let inner = service_fn(move |_: Request<()>| panics_first());
    let head = Bench::new();
    poll_twice(head.experiments.layer().layer(inner).call(get()));
    let body = Bench::new();
    poll_twice(body.experiments.layer().with_body().layer(inner).call(get()));
    for bench in [head, body] {
        assert_eq!(bench.only(), (Outcome::Panicked, UNKNOWN.to_owned(), 0, None));
    }
}

/// `thread::panicking` is true for both, but only one of them panicked.
#[test]
fn an_innocent_request_that_is_dropped_by_anothers_panic_is_cancelled() {
    let bench = Bench::new();
    let service = bench.experiments.layer().layer(service_fn(|request: Request<()>| async move {
        std::future::pending::<()>().await;
        drop(request);
        Ok::<_, Infallible>(Response::new(ScriptedBody::default()))
    }));
    let guilty = bench.experiments.layer().layer(service_fn(|_: Request<()>| async {
        assert!(never(), "on purpose");
        Ok::<_, Infallible>(Response::new(ScriptedBody::default()))
    }));
    let joined = catch_unwind(AssertUnwindSafe(|| {
        let (mut service, mut guilty) = (service, guilty);
        let mut innocent = Box::pin(service.call(get()));
        let mut guilty = Box::pin(guilty.call(get()));
        assert!(poll(innocent.as_mut()).is_pending());
        let _ = poll(guilty.as_mut());
    }));
    assert!(joined.is_err());
    let snapshot = bench.snapshot();
    let outcomes: Vec<_> = snapshot.series.keys().map(|key| key.outcome).collect();
    assert!(
        outcomes.contains(&Outcome::Cancelled) && outcomes.contains(&Outcome::Panicked),
        "{outcomes:?}"
    );
    assert_eq!(bench.in_flight(), 0);
}

#[test]
fn a_flag_that_is_consulted_in_the_body_or_before_a_panic_counts_as_exposed() {
    let bench = Bench::new();
    let flag = bench.experiments.flag("flag").unwrap();
    let late = FlagStream(flag);
    let mut service =
        bench.experiments.layer().with_body().layer(service_fn(move |_: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(late.clone())))
        }));
    let Poll::Ready(Ok(response)) = poll(pin!(service.call(get()))) else { unreachable!() };
    let mut body = Box::pin(response.into_body());
    while let Poll::Ready(Some(_)) = poll_frame(body.as_mut()) {}
    assert!(bench.snapshot().series.keys().all(|key| key.exposed));

    for two_layers in [false, true] {
        let bench = Bench::new();
        let flag = bench.experiments.flag("flag").unwrap();
        let handler = service_fn(move |_: Request<()>| async move {
            flag.is_on();
            assert!(never(), "on purpose");
            Ok::<_, Infallible>(Response::new(ScriptedBody::default()))
        });
        let panicked = if two_layers {
            let mut service = bench
                .experiments
                .assign_layer()
                .layer(bench.experiments.latency_layer().layer(handler));
            let mut future = Box::pin(service.call(get()));
            catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()).is_ready()))
        } else {
            let mut service = bench.experiments.layer().layer(handler);
            let mut future = Box::pin(service.call(get()));
            catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()).is_ready()))
        };
        assert!(panicked.is_err());
        assert!(bench.snapshot().series.keys().all(|key| key.exposed), "two layers: {two_layers}");
    }
}

/// A body that asks for its arm while it is polled, as a lazily generated one does.
#[derive(Clone)]
struct FlagStream(latency_experiment_layers::FlagHandle);

impl Body for FlagStream {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        self.0.is_on();
        Poll::Ready(None)
    }
}
