//! The layer inside real servers, driven by real clients over sockets.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use latency_experiment::{
    Assignments, Config, Flag, FlagSet, LatencyExperiment, RouteSource, Snapshot, current,
};
use latency_experiment_record::Outcome;
use latency_experiment_tests::{Client, count, in_flight, serve_axum, serve_hyper};
use tower::{Layer, ServiceBuilder, service_fn};

fn experiment() -> LatencyExperiment {
    LatencyExperiment::new(Flag::new("cached"))
}

/// The client has its answer a moment before the server has dropped the request.
async fn quiescent(experiment: &LatencyExperiment) -> Snapshot {
    for _ in 0..500 {
        let snapshot = experiment.snapshot();
        if in_flight(&snapshot) == 0 {
            return snapshot;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("requests are still in flight after 5 s: {:?}", experiment.snapshot().counters);
}

/// Every started request is in exactly one series, and every assignment was counted.
fn assert_books_balance(snapshot: &Snapshot, sent: u64) {
    assert_eq!(count(snapshot, |_| true), sent);
    assert_eq!(snapshot.counters.started.values().sum::<u64>(), sent);
    for arm in ["control", "variation"] {
        let started = snapshot.counters.started.get(arm).copied().unwrap_or(0);
        assert_eq!(snapshot.assigned[arm], started);
        assert_eq!(count(snapshot, |key| key.arm == arm), started);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_over_http1_and_http2() {
    let experiment = experiment();
    let flag = experiment.flag("cached").unwrap();
    let app = Router::new()
        .route(
            "/items/{id}",
            get(move || async move { if flag.is_on() { "variation" } else { "control" } }),
        )
        .route("/health", get(|| async { "ok" }))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/broken", post(|| async { StatusCode::BAD_GATEWAY }))
        .nest("/nested", Router::new().route("/{leaf}", get(|| async { "leaf" })))
        .route("/large", get(|| async { vec![0u8; 600_000] }))
        .layer(experiment);
    let address = serve_axum(app).await;

    let mut answers = std::collections::BTreeMap::<Bytes, u64>::new();
    for client in [Client::http1(address), Client::http2(address)] {
        for id in 0..200 {
            let answer = client.send("GET", &format!("/items/{id}")).await.into_body();
            *answers.entry(answer).or_default() += 1;
            client.send("GET", "/health").await;
        }
        for path in ["/missing", "/large", "/nested/a", "/nested/b", "/no/such/route"] {
            client.send("GET", path).await;
        }
        client.send("POST", "/broken").await;
    }

    let snapshot = quiescent(&experiment).await;
    assert_books_balance(&snapshot, 2 * (400 + 6));
    let of =
        |route: &str, outcome| count(&snapshot, |key| key.route == route && key.outcome == outcome);
    assert_eq!(of("GET /items/{id}", Outcome::Completed), 400);
    assert_eq!(of("GET /health", Outcome::Completed), 400);
    assert_eq!(of("GET /missing", Outcome::ClientError), 2);
    assert_eq!(of("POST /broken", Outcome::ServerError), 2);
    assert_eq!(of("GET /nested/{leaf}", Outcome::Completed), 4);
    assert_eq!(of("_unmatched", Outcome::ClientError), 2);
    assert_eq!(count(&snapshot, |key| key.route == "GET /large" && key.size == "500-1000kB"), 2);
    assert_eq!(
        count(&snapshot, |key| key.route.contains("/items/1") || key.route.contains("no/such")),
        0
    );

    // The handler's own answer is the witness of the arm that was recorded.
    for arm in ["control", "variation"] {
        let recorded =
            count(&snapshot, |key| key.route == "GET /items/{id}" && key.arm == arm && key.exposed);
        assert_eq!(recorded, answers[arm.as_bytes()], "{arm}");
    }
    assert_eq!(count(&snapshot, |key| key.exposed), 400, "only one route consults the flag");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_hyper_with_routes_from_a_function() {
    let flags = FlagSet::try_new([Flag::new("cached")]).unwrap();
    let routes = RouteSource::function(|head| match head.uri.path() {
        path if path.starts_with("/items/") => Some("/items/{id}"),
        _ => None,
    });
    let experiment = LatencyExperiment::with_config(
        Config::new(flags)
            .with_route_source(routes)
            .with_filter(|head| head.uri.path() != "/favicon.ico"),
    );
    let flag = experiment.flag("cached").unwrap();
    let handler = service_fn(move |request: Request<Incoming>| async move {
        // The flag is asked after an await, and from a function that knows nothing of the request.
        tokio::task::yield_now().await;
        let status = if request.uri().path() == "/teapot" { 418 } else { 200 };
        let body = Full::new(Bytes::from(flag.variation()));
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    });
    let address = serve_hyper(experiment.layer(handler)).await;
    for client in [Client::http1(address), Client::http2(address)] {
        for id in 0..100 {
            client.send("GET", &format!("/items/{id}")).await;
        }
        client.send("GET", "/teapot").await;
        client.send("GET", "/favicon.ico").await;
        client.send("BREW", "/items/0").await;
    }
    let snapshot = quiescent(&experiment).await;
    assert_books_balance(&snapshot, 2 * 102);
    assert_eq!(
        count(&snapshot, |key| key.route == "GET /items/{id}" && key.size == "0-500kB"),
        200
    );
    assert_eq!(count(&snapshot, |key| key.route == "_OTHER /items/{id}"), 2);
    assert_eq!(
        count(&snapshot, |key| key.route == "_unmatched" && key.outcome == Outcome::ClientError),
        2
    );
    assert_eq!(
        count(&snapshot, |key| !key.exposed),
        0,
        "every request that took part consulted the flag"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonic_with_routes_from_the_protocol() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let experiment = experiment();
    let flag = experiment.flag("cached").unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let consults = tower::util::MapRequestLayer::new(move |request: http::Request<_>| {
        flag.is_on();
        request
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let layers = ServiceBuilder::new().layer(experiment).layer(consults).into_inner();
    let server = tonic::transport::Server::builder().layer(layers).add_service(health);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(server.serve_with_incoming(incoming));

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = HealthClient::new(channel.clone());
    for _ in 0..50 {
        client.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    }
    for n in 0..20 {
        let status =
            client.check(HealthCheckRequest { service: format!("unknown-{n}") }).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
    }
    let mut stream =
        client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    drop(stream);

    // Paths that no service answers never become routes, however many there are.
    let mut raw = tonic::client::Grpc::new(channel);
    for n in 0..30 {
        raw.ready().await.unwrap();
        let path: http::uri::PathAndQuery = format!("/made.up.Service{n}/Method").parse().unwrap();
        let codec = tonic_health_codec();
        let status = raw
            .unary(tonic::Request::new(HealthCheckRequest::default()), path, codec)
            .await
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented);
    }

    let snapshot = quiescent(&experiment).await;
    assert_books_balance(&snapshot, 50 + 20 + 1 + 30);
    let check = "POST /grpc.health.v1.Health/Check";
    let of =
        |route: &str, outcome| count(&snapshot, |key| key.route == route && key.outcome == outcome);
    assert_eq!(of(check, Outcome::Completed), 50);
    assert_eq!(
        of(check, Outcome::ClientError),
        20,
        "NOT_FOUND comes in the head of a trailers-only response"
    );
    assert_eq!(of("POST /grpc.health.v1.Health/Watch", Outcome::Completed), 1);
    assert_eq!(of("_unmatched", Outcome::ServerError), 30);
    assert_eq!(count(&snapshot, |key| !key.exposed), 0);
}

fn tonic_health_codec() -> tonic_prost::ProstCodec<
    tonic_health::pb::HealthCheckRequest,
    tonic_health::pb::HealthCheckResponse,
> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_arm_is_known_everywhere_below_the_layer() {
    let flags = FlagSet::try_new([Flag::new("cached"), Flag::new("pooled")]).unwrap();
    let experiment =
        LatencyExperiment::with_config(Config::new(flags).with_request_extension(true));
    let (cached, pooled) = (experiment.flag("cached").unwrap(), experiment.flag("pooled").unwrap());
    let handler = move |extracted: Assignments, Extension(extension): Extension<Assignments>| async move {
        tokio::task::yield_now().await;
        let id = current().request_id();
        assert!(id.is_some());
        assert_eq!((extracted.request_id(), extension.request_id()), (id.clone(), id.clone()));
        let by_handle = cached.variation();
        assert_eq!(current().variation("cached").unwrap(), Some(by_handle));
        assert_eq!(extracted.variation("cached").unwrap(), Some(by_handle));
        assert_eq!(extension.is_on("cached").unwrap(), cached.is_on());
        assert!(
            extracted
                .variation("cashed")
                .unwrap_err()
                .to_string()
                .contains("did you mean `cached`?")
        );

        // A thread of its own has no scope, but may be given the assignments.
        let shared = current().share();
        let elsewhere = tokio::task::spawn_blocking(move || {
            assert_eq!(current().request_id(), None);
            assert!(!pooled.is_on(), "control outside a request");
            (shared.request_id(), shared.variation("pooled").unwrap())
        });
        let (shared_id, variation) = elsewhere.await.unwrap();
        assert_eq!((shared_id, variation), (id, current().variation("pooled").unwrap()));
        by_handle
    };
    let shared_only = move || async move {
        let shared = current().share();
        tokio::spawn(async move { shared.variation("pooled").unwrap().unwrap() }).await.unwrap()
    };
    let app = Router::new()
        .route("/all", get(handler))
        .route("/shared", get(shared_only))
        .layer(experiment);
    let client = Client::http1(serve_axum(app).await);
    for _ in 0..100 {
        assert_eq!(client.send("GET", "/all").await.status(), 200);
        assert_eq!(client.send("GET", "/shared").await.status(), 200);
    }
    quiescent(&experiment).await;
    let exposed = |flag, route: &str| {
        count(&experiment.snapshot_of(flag), |key| key.route == route && key.exposed)
    };
    assert_eq!((exposed(cached, "GET /all"), exposed(pooled, "GET /all")), (100, 100));
    assert_eq!((exposed(cached, "GET /shared"), exposed(pooled, "GET /shared")), (0, 100));
    assert_eq!(experiment.experiments().consults_without_scope(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_layers_in_place_of_one_record_the_same() {
    let experiment = experiment();
    let flag = experiment.flag("cached").unwrap();
    let app = Router::new().route("/", get(move || async move { flag.variation() })).layer(
        ServiceBuilder::new()
            .layer(experiment.experiments().assign_layer())
            .layer(experiment.experiments().latency_layer()),
    );
    let client = Client::http1(serve_axum(app).await);
    let mut variations = 0;
    for _ in 0..200 {
        variations += u64::from(client.send("GET", "/").await.body() == "variation");
    }
    let snapshot = quiescent(&experiment).await;
    assert_books_balance(&snapshot, 200);
    assert_eq!(count(&snapshot, |key| key.arm == "variation" && key.exposed), variations);
    assert_eq!(count(&snapshot, |key| !key.exposed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_layers_keep_their_own_flags() {
    let (outer, inner) =
        (LatencyExperiment::new(Flag::new("outer")), LatencyExperiment::new(Flag::new("inner")));
    let (outer_flag, inner_flag) = (outer.flag("outer").unwrap(), inner.flag("inner").unwrap());
    let handler = move || async move {
        let before = (outer_flag.variation(), inner_flag.variation());
        tokio::task::yield_now().await;
        assert_eq!(before, (outer_flag.variation(), inner_flag.variation()));
        format!("{} {}", before.0, before.1)
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(ServiceBuilder::new().layer(outer).layer(inner));
    let client = Client::http1(serve_axum(app).await);
    let mut seen = std::collections::BTreeMap::<Bytes, u64>::new();
    for _ in 0..200 {
        *seen.entry(client.send("GET", "/").await.into_body()).or_default() += 1;
    }
    assert_eq!(seen.len(), 4, "the two splits are independent: {seen:?}");
    for (experiment, position) in [(&outer, 0), (&inner, 1)] {
        let snapshot = quiescent(experiment).await;
        assert_books_balance(&snapshot, 200);
        let on: u64 = seen
            .iter()
            .filter(|(key, _)| key.split(|&b| b == b' ').nth(position) == Some(b"variation"))
            .map(|(_, n)| n)
            .sum();
        assert_eq!(count(&snapshot, |key| key.arm == "variation" && key.exposed), on);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outside_the_experiment_and_forced_ones_are_kept_apart() {
    let flag = Flag::new("cached").with_coverage_bp(2_000).with_override_header("x-arm");
    let experiment = LatencyExperiment::new(flag);
    let flag = experiment.flag("cached").unwrap();
    let app =
        Router::new().route("/", get(move || async move { flag.variation() })).layer(experiment);
    let address = serve_axum(app).await;
    let client = Client::http1(address);
    for _ in 0..500 {
        client.send("GET", "/").await;
    }
    // A client of its own, because a header is needed.
    let uri = format!("http://{address}/");
    let forced = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<Bytes>>();
    for arm in ["variation", "control", "no such arm"] {
        let request =
            Request::get(&uri).header("X-Arm", arm).body(http_body_util::Empty::new()).unwrap();
        assert_eq!(forced.request(request).await.unwrap().status(), 200);
    }
    let snapshot = quiescent(&experiment).await;
    assert_books_balance(&snapshot, 503);
    assert_eq!(count(&snapshot, |key| key.arm == "_forced"), 2);
    let assigned: u64 = snapshot.assigned.values().sum();
    let outside = count(&snapshot, |key| key.arm == "_outside");
    assert_eq!(assigned + outside, 501);
    assert!((50..150).contains(&assigned), "a fifth of 501 is covered, not {assigned}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_cancelled_and_panicked_requests_are_counted_with_their_time() {
    let experiment = experiment();
    let failing = experiment.layer(service_fn(|request: Request<&'static str>| async move {
        match *request.body() {
            "fail" => Err("failed"),
            "panic" => panic!("on purpose"),
            _ => {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                Ok(Response::new(Full::new(Bytes::new())))
            }
        }
    }));
    let send = |body| tower::ServiceExt::oneshot(failing, Request::new(body));
    assert!(send("fail").await.is_err());
    assert!(tokio::spawn(send("panic")).await.unwrap_err().is_panic());
    assert!(tokio::time::timeout(Duration::from_millis(50), send("sleep")).await.is_err());
    let never_polled = send("sleep");
    drop(never_polled);

    let snapshot = experiment.snapshot();
    let of = |outcome| count(&snapshot, |key| key.outcome == outcome);
    assert_eq!((of(Outcome::Failed), of(Outcome::Panicked), of(Outcome::Cancelled)), (1, 1, 1));
    let (_, cancelled) =
        snapshot.series.iter().find(|(key, _)| key.outcome == Outcome::Cancelled).unwrap();
    assert!(
        cancelled.buckets().iter().next().unwrap().upper >= 50_000_000,
        "the elapsed time is kept"
    );
    assert_books_balance(&snapshot, 3);
}
