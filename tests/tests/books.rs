//! 100,000 requests that come to random ends on several threads, and some thousands over sockets,
//! while flags are switched off and on, ramped, and sent into new epochs: nothing is in flight
//! afterwards, and what was recorded is what the clients counted, also when snapshots are taken all
//! the while, and when more threads are busy than there are processors.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource, Snapshot};
use latency_experiment_record::Outcome;
use latency_experiment_testkit::{Fate, FatedService, ScriptedError, Traffic};
use latency_experiment_tests::{
    AnyService, Catch, Ending, Handler, Site, Wire, count, hush, in_flight, panic_on_purpose,
    serve_hyper,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tower::{BoxError, Layer, Service, service_fn};

const ROUTES: [&str; 5] = ["/a", "/b", "/c", "/d", "/e"];

fn experiment(name: &str) -> LatencyExperiment {
    let flag = Flag::new(name).with_coverage_bp(9_000);
    let routes =
        RouteSource::function(|head| ROUTES.into_iter().find(|route| head.uri.path() == *route));
    LatencyExperiment::with_config(
        Config::new(FlagSet::try_new([flag]).unwrap()).with_route_source(routes),
    )
}

fn named(experiments: &[LatencyExperiment; 2]) -> [(&'static str, LatencyExperiment); 2] {
    [("first", experiments[0]), ("second", experiments[1])]
}

/// What a client knows of the requests that it sent: how many, by route and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Book(BTreeMap<(String, Outcome), u64>);

impl Book {
    fn enter(&mut self, route: &str, outcome: Outcome) {
        *self.0.entry((format!("GET {route}"), outcome)).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn of(snapshot: &Snapshot) -> Self {
        let mut book = Self::default();
        for key in snapshot.series.keys() {
            let place = (key.route.clone(), key.outcome);
            let same = |other: &latency_experiment_record::SeriesKey| {
                other.route == key.route && other.outcome == key.outcome
            };
            book.0.insert(place, count(snapshot, same));
        }
        book
    }

    /// With all epochs together.
    fn assert_agrees_with(&self, experiment: LatencyExperiment) {
        let mut recorded = Self::default();
        for snapshot in &epochs(experiment) {
            recorded.add(&Self::of(snapshot));
            assert_eq!(in_flight(snapshot), 0, "{:?}", snapshot.counters);
            assert_balanced(snapshot);
            for (arm, assigned) in &snapshot.assigned {
                let started = snapshot.counters.started.get(arm).copied().unwrap_or(0);
                assert_eq!(*assigned, started, "{arm}");
            }
        }
        assert_eq!(recorded, *self);
    }
}

fn epochs(experiment: LatencyExperiment) -> Vec<Snapshot> {
    let flag = experiment.experiments().flags().next().unwrap();
    experiment.snapshots_of(flag)
}

/// Reloads the flags until it is told to stop: the kill switch, ramps, and now and then a new epoch,
/// of which there are eight.
fn reload(experiments: &[(&str, LatencyExperiment)], seed: u64, stop: &AtomicBool) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut reloads = 0;
    while !stop.load(Ordering::Acquire) {
        for (name, experiment) in experiments {
            let flag = Flag::new(*name)
                .with_epoch(rng.random_range(1..=8))
                .with_coverage_bp([1_000, 5_000, 10_000][rng.random_range(0..3)])
                .with_enabled(rng.random_ratio(3, 4));
            experiment.set_flags([flag]).unwrap();
            reloads += 1;
        }
        thread::sleep(Duration::from_millis(2));
    }
    reloads
}

/// started = sum of outcomes + in flight, for every arm, at any moment, and the routes add up to it.
fn assert_balanced(snapshot: &Snapshot) {
    for (arm, started) in &snapshot.counters.started {
        let ended = count(snapshot, |key| key.arm == *arm);
        let in_flight = snapshot.counters.in_flight.get(arm).copied().unwrap_or(0);
        assert_eq!(*started, ended + in_flight, "{arm}: {:?}", snapshot.counters);
        let routes = snapshot.counters.routes.iter().filter(|((_, of), _)| of == arm);
        let by_route = routes.fold((0, 0), |(started, in_flight), (_, route)| {
            (started + route.started, in_flight + route.in_flight)
        });
        assert_eq!(by_route, (*started, in_flight), "{arm}: {:?}", snapshot.counters);
    }
}

/// Takes snapshots until it is told to stop: in each of them the books balance, and none says less
/// than the one before.
fn audit(experiments: &[LatencyExperiment], pause: Duration, stop: &AtomicBool) -> u64 {
    let mut taken = 0;
    let mut before = vec![0; experiments.len()];
    while !stop.load(Ordering::Acquire) {
        for (experiment, before) in experiments.iter().zip(&mut before) {
            let snapshots = epochs(*experiment);
            snapshots.iter().for_each(assert_balanced);
            let ended = snapshots.iter().map(|snapshot| count(snapshot, |_| true)).sum();
            assert!(ended >= *before, "{ended} ended after {before}");
            *before = ended;
        }
        taken += 1;
        // The clients need the processor too.
        thread::sleep(pause);
    }
    taken
}

/// Keeps a processor busy until it is told to stop, so that clients are interrupted anywhere.
fn burn(stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
}

/// One busy thread for every processor, beside those that do something.
fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// Stops the audit, also when a client fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

// In process.

type Unfinished = Box<dyn FnOnce() + Send>;

/// Sends a request. What is left of it after the first poll can be done by any thread.
fn send<S, B>(service: &mut S, route: &str, fate: Fate) -> Option<Unfinished>
where
    S: Service<Request<Fate>, Response = Response<B>, Error = ScriptedError>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
{
    let request = Request::get(route).body(fate).unwrap();
    let called = catch_unwind(AssertUnwindSafe(|| service.call(request)));
    let Ok(future) = called else {
        assert!(matches!(fate, Fate::PanicInCall));
        return None;
    };
    let mut future = Box::pin(future);
    if matches!(fate, Fate::DroppedUnpolled) {
        return Some(Box::new(|| drop(future)));
    }
    assert!(poll(future.as_mut()).is_pending());
    Some(Box::new(move || finish(future, fate)))
}

fn finish<F, B>(mut future: Pin<Box<F>>, fate: Fate)
where
    F: Future<Output = Result<Response<B>, ScriptedError>>,
    B: Body,
{
    if matches!(fate, Fate::DroppedPolled) {
        return;
    }
    let result = catch_unwind(AssertUnwindSafe(|| poll(future.as_mut())));
    let Ok(Poll::Ready(result)) = result else {
        return assert!(matches!(fate, Fate::PanicInFuture));
    };
    let Ok(response) = result else { return assert!(matches!(fate, Fate::Error)) };
    // The future goes first, as it does in a server.
    drop(future);
    let mut body = pin!(response.into_body());
    let frames = match fate {
        Fate::BodyUntouched => 0,
        Fate::BodyDropped => 1,
        _ => 10,
    };
    let read = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..frames {
            let mut context = Context::from_waker(Waker::noop());
            match body.as_mut().poll_frame(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                _ => break,
            }
        }
    }));
    assert_eq!(read.is_err(), matches!(fate, Fate::BodyPanic));
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

const WAVES: u64 = 5;
const THREADS: u64 = 4;
const REQUESTS_PER_THREAD: u64 = 5_000;

/// Sends the requests of one thread: to one experiment and the other in turn, and to both, one
/// inside of the other. Some are finished by the neighbour.
fn client(
    seed: u64,
    [a, b]: [LatencyExperiment; 2],
    to_neighbour: &mpsc::Sender<Unfinished>,
    from_neighbour: &mpsc::Receiver<Unfinished>,
) -> [Book; 2] {
    let mut traffic = Traffic::new(seed);
    let mut books = <[Book; 2]>::default();
    let mut head_only = [a, b].map(|experiment| experiment.layer(FatedService));
    let mut with_body = [a, b].map(|experiment| experiment.layer_with_body().layer(FatedService));
    let mut nested = a.layer_with_body().layer(b.layer(FatedService));
    for n in 0..REQUESTS_PER_THREAD {
        let (route, fate) = (ROUTES[traffic.below(ROUTES.len())], traffic.fate());
        let turn = (n % 2) as usize;
        let unfinished = match traffic.below(5) {
            0 | 1 => {
                books[turn].enter(route, fate.outcome(false));
                send(&mut head_only[turn], route, fate)
            }
            2 | 3 => {
                books[turn].enter(route, fate.outcome(true));
                send(&mut with_body[turn], route, fate)
            }
            _ => {
                books[0].enter(route, fate.outcome(true));
                books[1].enter(route, fate.outcome(false));
                send(&mut nested, route, fate)
            }
        };
        match unfinished {
            Some(unfinished) if traffic.below(4) == 0 => to_neighbour.send(unfinished).unwrap(),
            Some(unfinished) => unfinished(),
            None => {}
        }
        if let Ok(unfinished) = from_neighbour.try_recv() {
            unfinished();
        }
    }
    books
}

#[test]
fn a_hundred_thousand_requests_with_random_ends_on_threads_that_come_and_go() {
    hush();
    let experiments = [experiment("first"), experiment("second")];
    let stop = AtomicBool::new(false);
    let books = Mutex::new(<[Book; 2]>::default());
    let snapshots = thread::scope(|scope| {
        let stop_audit = Stop(&stop);
        let auditor = scope.spawn(|| audit(&experiments, Duration::ZERO, &stop));
        let reloader = scope.spawn(|| reload(&named(&experiments), 1, &stop));
        (0..cores()).for_each(|_| {
            scope.spawn(|| burn(&stop));
        });
        for wave in 0..WAVES {
            let (senders, receivers): (Vec<_>, Vec<_>) =
                (0..THREADS).map(|_| mpsc::channel::<Unfinished>()).unzip();
            thread::scope(|scope| {
                for (n, receiver) in receivers.into_iter().enumerate() {
                    let to_neighbour = senders[(n + 1) % senders.len()].clone();
                    let (experiments, books) = (&experiments, &books);
                    scope.spawn(move || {
                        let seed = wave * THREADS + n as u64;
                        let mine = client(seed, *experiments, &to_neighbour, &receiver);
                        drop(to_neighbour);
                        for unfinished in receiver {
                            unfinished();
                        }
                        for (book, mine) in books.lock().unwrap().iter_mut().zip(&mine) {
                            book.add(mine);
                        }
                    });
                }
                // Else the last thread would wait for ever for the one before it.
                drop(senders);
            });
        }
        drop(stop_audit);
        (auditor.join().unwrap(), reloader.join().unwrap())
    });
    let books = books.into_inner().unwrap();
    for (experiment, book) in experiments.iter().zip(&books) {
        book.assert_agrees_with(*experiment);
    }
    let sent = WAVES * THREADS * REQUESTS_PER_THREAD;
    assert_eq!(sent, 100_000);
    let (snapshots, reloads) = snapshots;
    println!(
        "{sent} requests, {} and {} recorded in {} and {} epochs, {snapshots} snapshots and {reloads} reloads meanwhile",
        books[0].total(),
        books[1].total(),
        epochs(experiments[0]).len(),
        epochs(experiments[1]).len(),
    );
}

// Over sockets.

/// The handlers of the requests that are on their way, by the number in their header.
type Register = Arc<Mutex<HashMap<String, (Ending, Handler)>>>;

fn registered(register: &Register) -> AnyService {
    let register = Arc::clone(register);
    AnyService::new(service_fn(move |request: Request<axum::body::Body>| {
        let number = request.headers()["x-number"].to_str().unwrap();
        let (ending, handler) = register.lock().unwrap().remove(number).unwrap();
        if ending == Ending::Panic(Site::Call, Catch::None) {
            panic_on_purpose();
        }
        async move {
            if ending == Ending::ServiceError {
                return Err("on purpose".into());
            }
            Ok::<_, BoxError>(handler.answer(request).await)
        }
    }))
}

const ENDINGS: [(Ending, Outcome, Outcome); 14] = {
    use Outcome::{Aborted, Cancelled, ClientError, Completed, Failed, Panicked, ServerError};
    [
        (Ending::Ok, Completed, Completed),
        (Ending::ClientError, ClientError, ClientError),
        (Ending::ServerError, ServerError, ServerError),
        (Ending::ServiceError, Failed, Failed),
        (Ending::Panic(Site::Call, Catch::None), Panicked, Panicked),
        (Ending::Panic(Site::Future, Catch::None), Panicked, Panicked),
        (Ending::Panic(Site::Body, Catch::None), Completed, Panicked),
        (Ending::DropBeforeHead, Cancelled, Cancelled),
        (Ending::DropInBody, Completed, Aborted),
        (Ending::NoContent, Completed, Completed),
        (Ending::EmptyBody, Completed, Completed),
        (Ending::ExactBody, Completed, Completed),
        (Ending::Trailers, Completed, Completed),
        (Ending::BodyError, Completed, Failed),
    ]
};

const CLIENTS: u64 = 8;
const REQUESTS_PER_CLIENT: u64 = 500;

#[test]
fn thousands_of_requests_over_sockets_with_clients_that_leave() {
    hush();
    let experiments = [experiment("first"), experiment("second")];
    let [first, second] = experiments;
    let stop = AtomicBool::new(false);
    let number = Arc::new(AtomicU64::new(0));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (books, snapshots) = thread::scope(|scope| {
        let stop_audit = Stop(&stop);
        let auditor = scope.spawn(|| audit(&experiments, Duration::from_millis(20), &stop));
        let reloader = scope.spawn(|| reload(&named(&experiments), 2, &stop));
        (0..cores()).for_each(|_| {
            scope.spawn(|| burn(&stop));
        });
        let books = runtime.block_on(async {
            let register = Register::default();
            let any = |request: Request<Incoming>| request.map(axum::body::Body::new);
            let service = tower::ServiceExt::map_request(registered(&register), any);
            let addresses = [
                serve_hyper(first.layer(service.clone())).await,
                serve_hyper(second.layer_with_body().layer(service)).await,
            ];
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (register, number) = (Arc::clone(&register), Arc::clone(&number));
                    tokio::spawn(async move {
                        let mut rng = StdRng::seed_from_u64(client);
                        let mut books = <[Book; 2]>::default();
                        let http2 = client % 2 == 1;
                        for n in 0..REQUESTS_PER_CLIENT {
                            let turn = (n % 2) as usize;
                            let route = ROUTES[rng.random_range(0..ROUTES.len())];
                            let (ending, head_only, with_body) =
                                ENDINGS[rng.random_range(0..ENDINGS.len())];
                            books[turn].enter(route, [head_only, with_body][turn]);
                            let number = number.fetch_add(1, Ordering::Relaxed).to_string();
                            let (handler, arrived) = Handler::new(ending);
                            let known = (ending, handler);
                            register.lock().unwrap().insert(number.clone(), known);
                            let request = Request::get(format!("http://books.test{route}"))
                                .header("host", "books.test")
                                .header("x-number", number)
                                .body(Full::<Bytes>::default())
                                .unwrap();
                            let mut wire = Wire::connect(addresses[turn], http2).await;
                            match ending {
                                Ending::DropBeforeHead => {
                                    wire.leave_before_head(request, &arrived).await;
                                }
                                Ending::DropInBody => {
                                    wire.leave_in_body(request).await;
                                }
                                Ending::ExactBody | Ending::Trailers => {
                                    let answer = wire.exchange(request).await;
                                    assert_eq!(answer.status, Some(StatusCode::OK));
                                    assert!(answer.complete);
                                }
                                _ => {
                                    wire.exchange(request).await;
                                }
                            }
                        }
                        books
                    })
                })
                .collect();
            let mut books = <[Book; 2]>::default();
            for client in clients {
                for (book, theirs) in books.iter_mut().zip(client.await.unwrap()) {
                    book.add(&theirs);
                }
            }
            let quiet = async {
                let busy =
                    |experiment: &_| epochs(*experiment).iter().any(|epoch| in_flight(epoch) > 0);
                while experiments.iter().any(busy) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), quiet).await.expect("all ends");
            books
        });
        drop(stop_audit);
        (books, (auditor.join().unwrap(), reloader.join().unwrap()))
    });
    for (experiment, book) in experiments.iter().zip(&books) {
        book.assert_agrees_with(*experiment);
    }
    // What would be counted twice is counted when the runtime drops all that is left.
    drop(runtime);
    for (experiment, book) in experiments.iter().zip(&books) {
        book.assert_agrees_with(*experiment);
    }
    let (snapshots, reloads) = snapshots;
    println!(
        "{} requests over sockets, {snapshots} snapshots and {reloads} reloads meanwhile",
        CLIENTS * REQUESTS_PER_CLIENT
    );
}
