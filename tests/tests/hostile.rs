//! A client that makes up a new path, method and header value for each of a million requests gets
//! no series, no route and no memory of its own, beyond a bound that is stated here.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderName, Request, Response, header};
use latency_experiment::{
    Config, Flag, FlagSet, LatencyExperiment, Limits, RequestIds, RouteSource, Snapshot,
};
use latency_experiment_record::reserved;
use latency_experiment_testkit::ManualClock;
use latency_experiment_tests::{CountingAllocator, complete, count, in_flight};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Requests of each attack, all of them different: a million together, and each with `--release`.
const REQUESTS: u64 = if cfg!(debug_assertions) { 170_000 } else { 1_000_000 };

/// What a route, with its place in all tables, and a series, without its buckets, may take. Buckets
/// have a budget of their own.
const BYTES_PER_ROUTE: i64 = 4 << 10;
const BYTES_PER_SERIES: i64 = 2 << 10;
const BUCKET_BYTES: u32 = 4 << 20;

/// The client decides even how long its requests take: anything from a nanosecond to half a minute.
fn experiment(routes: RouteSource, clock: &ManualClock) -> LatencyExperiment {
    let mut limits = Limits::default();
    limits.max_bucket_bytes = BUCKET_BYTES.into();
    let ids = RequestIds::generated().with_trusted_header(HeaderName::from_static("x-request-id"));
    let flag = Flag::new("flag").with_override_header("x-arm");
    let config = Config::new(FlagSet::try_new([flag]).unwrap())
        .with_route_source(routes)
        .with_request_ids(ids)
        .with_limits(limits)
        .with_clock(clock.clone());
    LatencyExperiment::with_config(config)
}

/// Everything that a client can make up, made up anew for each request.
fn scan(n: u64) -> http::request::Builder {
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH", "CONNECT"];
    let invented = format!("M{n}");
    let method = methods.get(n as usize % 18).map_or(invented.as_str(), |known| *known);
    Request::builder()
        .method(method)
        .header(header::HOST, format!("host-{n}.test"))
        .header("x-forwarded-for", format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255))
        .header(header::USER_AGENT, format!("scanner/{n}"))
        .header("x-request-id", format!("{n:0width$}", width = n as usize % 100))
        .header("x-arm", if n.is_multiple_of(5) { "variation".to_owned() } else { format!("a{n}") })
}

/// Sends all requests, and returns the bytes that are kept after the first half and after all.
fn attack<S>(
    experiment: LatencyExperiment,
    mut service: S,
    request: impl Fn(u64) -> Request<Body>,
) -> Kept
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let before = ALLOCATOR.live_bytes();
    let mut half = 0;
    for n in 0..REQUESTS {
        drop(complete(service.call(request(n))));
        if n == REQUESTS / 2 {
            half = ALLOCATOR.live_bytes() - before;
        }
    }
    let all = ALLOCATOR.live_bytes() - before;
    let snapshot = experiment.snapshot();
    assert_eq!(count(&snapshot, |_| true), REQUESTS, "none is lost");
    for (arm, started) in &snapshot.counters.started {
        assert_eq!(count(&snapshot, |key| key.arm == *arm), *started, "{arm}");
    }
    assert_eq!(in_flight(&snapshot), 0, "also of what ended in an overflow series");
    Kept { half, all, snapshot }
}

struct Kept {
    half: i64,
    all: i64,
    snapshot: Snapshot,
}

impl Kept {
    /// The bound, and that it does not depend on how long the attack goes on.
    fn assert_bounded(&self, name: &str, max_routes: usize, max_series: usize) {
        let mut routes: Vec<_> = self.snapshot.series.keys().map(|key| &key.route).collect();
        routes.sort_unstable();
        routes.dedup();
        let series = self.snapshot.series.len();
        println!(
            "{name}: {REQUESTS} requests keep {} routes of {max_routes}, {series} series of {max_series}, {} kB",
            routes.len(),
            self.all / 1_000
        );
        assert!(routes.len() <= max_routes, "{name}: {} routes", routes.len());
        assert!(series <= max_series, "{name}: {series} series");
        let bytes = |count: usize, each| i64::try_from(count).unwrap() * each;
        let bound = bytes(max_routes, BYTES_PER_ROUTE)
            + bytes(max_series, BYTES_PER_SERIES)
            + i64::from(BUCKET_BYTES);
        assert!(self.all <= bound, "{name}: {} bytes of {bound}", self.all);
        // What is bounded may still be filling up: the lists of the slowest requests, say.
        assert!(
            self.all - self.half <= bound / 25,
            "{name}: grows from {} to {} bytes",
            self.half,
            self.all
        );
    }
}

/// Arms that requests are recorded under: two, outside the experiment, and forced.
const ARMS: usize = 4;

fn works_for(clock: &ManualClock, n: u64) {
    clock.advance(Duration::from_nanos(1 << (n % 35)));
}

fn number(request: &Request<Body>) -> u64 {
    let digits = request.uri().path().rsplit('/').next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[test]
fn paths_that_no_axum_route_matches() {
    let clock = ManualClock::new();
    let experiment = experiment(RouteSource::automatic(), &clock);
    let app = Router::new()
        .route("/users/{id}", get(|| async { "user" }))
        // axum builds the path of a nested route anew for each request, at a new address.
        .nest("/api", Router::new().route("/users/{id}", get(|| async { "user" })))
        .nest_service(
            "/files",
            service_fn(|_| ready(Ok::<_, Infallible>(Response::new(Body::empty())))),
        )
        .fallback(move || {
            works_for(&clock, 20);
            async { http::StatusCode::NOT_FOUND }
        })
        .layer(experiment);
    let kept = attack(experiment, app.with_state(()), |n| {
        let path = match n / 18 % 4 {
            0 => format!("/scan/{n}"),
            1 => format!("/users/{n}"),
            2 => format!("/api/users/{n}"),
            _ => format!("/files/{n}"),
        };
        scan(n).uri(path).body(Body::empty()).unwrap()
    });
    // The two routes with their ten methods, and all else; found or not.
    kept.assert_bounded("axum", 21, 21 * ARMS * 2);
    assert!(
        kept.snapshot
            .series
            .keys()
            .all(|key| { key.route == reserved::UNMATCHED || key.route.ends_with("/users/{id}") })
    );
}

#[test]
fn grpc_methods_that_no_service_has() {
    let clock = ManualClock::new();
    let experiment = experiment(RouteSource::automatic(), &clock);
    let service = experiment.layer(service_fn(move |request: Request<Body>| {
        works_for(&clock, number(&request));
        ready(Ok::<_, Infallible>(grpc_response(12)))
    }));
    let kept = attack(experiment, service, grpc);
    kept.assert_bounded("gRPC, not implemented", 1, ARMS);
    assert!(kept.snapshot.series.keys().all(|key| key.route == reserved::UNMATCHED));
}

fn grpc(n: u64) -> Request<Body> {
    let request = scan(n).uri(format!("/made.up.Service{n}/{n}")).method("POST");
    request.header(header::CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap()
}

fn grpc_response(status: u64) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
    response.header("grpc-status", status).body(Body::empty()).unwrap()
}

/// A server that knows no gRPC answers in plain HTTP, which confirms nothing.
#[test]
fn grpc_requests_to_a_plain_server() {
    let clock = ManualClock::new();
    let experiment = experiment(RouteSource::automatic(), &clock);
    let files = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
    let app = Router::new()
        .route("/users/{id}", get(|| async { "user" }))
        .route_service("/files/{*path}", files)
        .layer(experiment);
    let kept = attack(experiment, app.with_state(()), |n| {
        let path = match n % 3 {
            0 => format!("/scan/{n}"),
            1 => format!("/users/{n}"),
            _ => format!("/files/{n}"),
        };
        let request = scan(n).uri(path).method("POST");
        request.header(header::CONTENT_TYPE, "application/grpc").body(Body::empty()).unwrap()
    });
    kept.assert_bounded("gRPC to a plain server", 3, 3 * ARMS);
}

/// A proxy for gRPC, say, whose back end answers whatever it is asked.
#[test]
fn grpc_methods_that_a_service_makes_up_as_it_goes() {
    let clock = ManualClock::new();
    let experiment = experiment(RouteSource::automatic(), &clock);
    let service = experiment.layer(service_fn(move |request: Request<Body>| {
        works_for(&clock, number(&request));
        ready(Ok::<_, Infallible>(grpc_response(number(&request) % 12)))
    }));
    let kept = attack(experiment, service, grpc);
    kept.assert_bounded("gRPC, all confirmed", MAX_ROUTES + 2, MAX_SERIES + SERIES_PER_ROUTE);
    assert!(count(&kept.snapshot, |key| key.route == reserved::OVERFLOW) > REQUESTS / 2);
}

/// The default bounds; routes beyond are one, and series beyond are those of one route.
const MAX_ROUTES: usize = 1_000;
const MAX_SERIES: usize = 10_000;
/// Arms, outcomes, size classes, exposed or not.
const SERIES_PER_ROUTE: usize = ARMS * 7 * 4 * 2;

/// The mistake that `RouteSource::function` warns of.
#[test]
fn a_route_function_that_returns_the_raw_path() {
    let clock = ManualClock::new();
    let routes = RouteSource::function(|head| Some(head.uri.path()));
    let experiment = experiment(routes, &clock);
    let service = experiment.layer(service_fn(move |request: Request<Body>| {
        let n = number(&request);
        works_for(&clock, n);
        // The client picks outcome and size class too.
        let status = [200, 404, 500][n as usize / 7 % 3];
        let length = [1, 600_000, 2_000_000][n as usize / 3 % 3];
        let response = Response::builder().status(status).header(header::CONTENT_LENGTH, length);
        let body = Body::new(latency_experiment_testkit::ScriptedBody::new([]));
        ready(Ok::<_, Infallible>(response.body(body).unwrap()))
    }));
    let kept = attack(experiment, service, |n| {
        scan(n).uri(format!("/{}/{n}", n % 7_919)).body(Body::empty()).unwrap()
    });
    kept.assert_bounded("raw paths", MAX_ROUTES + 1, MAX_SERIES + SERIES_PER_ROUTE);
    assert!(count(&kept.snapshot, |key| key.route == reserved::OVERFLOW) > REQUESTS / 2);
}

/// The same few routes over and over, with everything that multiplies series.
#[test]
fn more_series_than_the_table_takes() {
    let clock = ManualClock::new();
    let routes = RouteSource::function(|head| Some(head.uri.path()));
    let experiment = experiment(routes, &clock);
    let flag = experiment.flag("flag").unwrap();
    let service = experiment.layer(service_fn(move |request: Request<Body>| {
        let n = request.headers()["n"].to_str().unwrap().parse::<u64>().unwrap();
        works_for(&clock, n);
        if n / 3 % 2 == 0 {
            flag.is_on();
        }
        let status = [200, 404, 500][n as usize / 7 % 3];
        let length = [1, 600_000, 2_000_000][n as usize / 3 % 3];
        let response = Response::builder().status(status).header(header::CONTENT_LENGTH, length);
        let body = Body::new(latency_experiment_testkit::ScriptedBody::new([]));
        ready(Ok::<_, Infallible>(response.body(body).unwrap()))
    }));
    let kept = attack(experiment, service, |n| {
        scan(n).uri(format!("/{}", n % 211)).header("n", n).body(Body::empty()).unwrap()
    });
    kept.assert_bounded("series", MAX_ROUTES + 1, MAX_SERIES + SERIES_PER_ROUTE);
    assert!(kept.snapshot.counters.overflow_series > 0, "the bound was reached");
}

/// A client that decides what routes are called decides how long their names are, too.
#[test]
fn names_of_routes_that_a_client_makes_as_long_as_it_can() {
    let clock = ManualClock::new();
    let experiment = experiment(RouteSource::function(|head| Some(head.uri.path())), &clock);
    let service = experiment.layer(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    }));
    let kept = attack(experiment, service, |n| {
        // Some fit just so, and all others are too long.
        let path = format!("/{n:09}{}", "x".repeat(if n.is_multiple_of(50) { 246 } else { 2_000 }));
        scan(n).uri(path).body(Body::empty()).unwrap()
    });
    kept.assert_bounded("long names", MAX_ROUTES + 1, MAX_SERIES + SERIES_PER_ROUTE);
}
