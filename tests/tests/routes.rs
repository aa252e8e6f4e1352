//! Which route a request is filed under, for every way to put a layer and a route together.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any, get, post};
use http::{Method, Request, Response, header};
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource};
use latency_experiment_record::Outcome;
use latency_experiment_tests::{complete, count, in_flight};
use tower::{Layer, Service, service_fn};

fn experiment() -> LatencyExperiment {
    LatencyExperiment::new(Flag::new("flag"))
}

/// How many requests were filed under each route.
fn routes(experiment: LatencyExperiment) -> BTreeMap<String, u64> {
    let snapshot = experiment.snapshot();
    let keys = snapshot.series.keys().map(|key| key.route.clone());
    keys.map(|route| {
        let filed = count(&snapshot, |key| key.route == route);
        (route, filed)
    })
    .collect()
}

fn assert_routes(experiment: LatencyExperiment, expected: &[(&str, u64)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(route, filed)| ((*route).to_owned(), *filed)).collect();
    assert_eq!(routes(experiment), expected);
}

/// Sends these requests, `GET` unless the path is preceded by a method.
fn send(app: Router, requests: &[&str]) {
    let mut app = app.with_state(());
    for request in requests {
        let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        complete(app.call(request)).unwrap();
    }
}

type Answered = std::future::Ready<Result<Response<Body>, Infallible>>;

fn files() -> tower::util::ServiceFn<fn(Request<Body>) -> Answered> {
    service_fn(|_| ready(Ok(Response::new(Body::from("file")))))
}

async fn ok() -> &'static str {
    "ok"
}

#[test]
fn templates_and_methods_not_paths() {
    let experiment = experiment();
    let app = Router::new()
        .route("/", get(ok))
        .route("/users/{id}", get(|Path(id): Path<u32>| async move { id.to_string() }).post(ok))
        .route("/any/{name}", any(ok))
        .route("/files/{*path}", get(ok))
        .layer(experiment);
    let requests = [
        "/",
        "/?page=2",
        "/users/1",
        "/users/2?verbose",
        "/users/not-a-number",
        "HEAD /users/3",
        "POST /users/4",
        "DELETE /users/5",
        "/any/1",
        "PATCH /any/2",
        "BREW /any/3",
        "/files/a/b",
    ];
    send(app, &requests);
    assert_routes(
        experiment,
        &[
            ("GET /", 2),
            ("GET /users/{id}", 3),
            ("HEAD /users/{id}", 1),
            ("POST /users/{id}", 1),
            ("DELETE /users/{id}", 1), // 405: the route matches, its method does not
            ("GET /any/{name}", 1),
            ("PATCH /any/{name}", 1),
            ("_OTHER /any/{name}", 1),
            ("GET /files/{*path}", 1),
        ],
    );
}

#[test]
fn nested_routers_whether_the_layer_is_around_the_outer_or_the_inner_one() {
    let inner = || Router::new().route("/users/{id}", get(ok)).route("/", get(ok));
    let requests = ["/api/acme/users/1", "/api/other/users/2", "/api/acme", "/api/acme/none"];
    let expected = [("GET /api/{tenant}/users/{id}", 2), ("GET /api/{tenant}", 1)];

    let outside = experiment();
    send(Router::new().nest("/api/{tenant}", inner()).layer(outside), &requests);
    assert_routes(outside, &[expected[0], expected[1], ("_unmatched", 1)]);

    // Around the inner router the layer is around its fallback too, unless it inherits the outer's.
    let inside = experiment();
    send(Router::new().nest("/api/{tenant}", inner().layer(inside)), &requests);
    assert_eq!(routes(inside)["GET /api/{tenant}/users/{id}"], 2);
    assert!(routes(inside).keys().all(|route| !route.contains("acme")), "{:?}", routes(inside));

    let twice = experiment();
    let middle = Router::new().nest("/v{version}", inner());
    send(Router::new().nest("/api", middle).layer(twice), &["/api/v1/users/1", "/api/v2/users/2"]);
    assert_routes(twice, &[("GET /api/v{version}/users/{id}", 2)]);
}

#[test]
fn a_nested_router_mints_no_route_per_request() {
    // axum builds the path of a nested route anew for every request, at a new address.
    let experiment = experiment();
    let inner = Router::new().route("/users/{id}", get(ok));
    let mut app = Router::new().nest("/api", inner).layer(experiment).with_state(());
    for n in 0..5_000 {
        let request = Request::get(format!("/api/users/{n}")).body(Body::empty()).unwrap();
        complete(app.call(request)).unwrap();
    }
    assert_routes(experiment, &[("GET /api/users/{id}", 5_000)]);
}

#[test]
fn fallbacks_nested_services_and_what_no_route_matches() {
    let experiment = experiment();
    let app = Router::new()
        .route("/known", get(ok))
        .route_service("/service/{id}", files())
        .nest_service("/files", files())
        .fallback(ok)
        .layer(experiment);
    send(
        app,
        &["/known", "/service/7", "/files/a", "/files/b/c", "/files", "/wp-login.php", "/.env"],
    );
    assert_routes(
        experiment,
        // The prefix itself is a template that axum tells; what is behind it is not.
        &[("GET /known", 1), ("GET /service/{id}", 1), ("GET /files", 1), ("_unmatched", 4)],
    );
}

#[test]
fn outside_of_the_router_no_route_is_known() {
    let experiment = experiment();
    let app = Router::new().route("/users/{id}", get(ok));
    let mut service = experiment.layer(app);
    for path in ["/users/1", "/users/2", "/none"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        complete(service.call(request)).unwrap();
    }
    assert_routes(experiment, &[("_unmatched", 3)]);
}

#[test]
fn outside_of_the_router_a_function_can_tell() {
    let routes = RouteSource::function(|head| match head.uri.path() {
        path if path.starts_with("/users/") => Some("/users/{id}"),
        _ => None,
    });
    let experiment = with_routes(routes);
    let app = Router::new().route("/users/{id}", get(ok));
    let mut service = experiment.layer(app);
    for path in ["/users/1", "/users/2", "/none"] {
        complete(service.call(Request::get(path).body(Body::empty()).unwrap())).unwrap();
    }
    assert_routes(experiment, &[("GET /users/{id}", 2), ("_unmatched", 1)]);
}

#[test]
fn route_layer_sees_only_what_a_route_matches() {
    let experiment = experiment();
    let app = Router::new().route("/users/{id}", get(ok)).route_layer(experiment).fallback(ok);
    send(app, &["/users/1", "POST /users/1", "/none"]);
    assert_routes(experiment, &[("GET /users/{id}", 1), ("POST /users/{id}", 1)]);
}

#[test]
fn a_layer_on_one_method_sees_only_that() {
    let experiment = experiment();
    let app = Router::new().route("/users/{id}", get(ok).layer(experiment).merge(post(ok)));
    send(app, &["/users/1", "POST /users/1"]);
    assert_routes(experiment, &[("GET /users/{id}", 1)]);
}

#[test]
fn merged_routers_keep_the_layers_that_they_came_with() {
    let (left, right, both) = (experiment(), experiment(), experiment());
    let app = Router::new()
        .merge(Router::new().route("/left/{id}", get(ok)).route_layer(left))
        .merge(Router::new().route("/right/{id}", get(ok)).route_layer(right))
        .route("/bare", get(ok))
        .layer(both);
    send(app, &["/left/1", "/right/1", "/right/2", "/bare", "/none"]);
    assert_routes(left, &[("GET /left/{id}", 1)]);
    assert_routes(right, &[("GET /right/{id}", 2)]);
    assert_routes(
        both,
        &[("GET /left/{id}", 1), ("GET /right/{id}", 2), ("GET /bare", 1), ("_unmatched", 1)],
    );
}

#[test]
fn routes_added_after_the_layer_are_outside_of_it() {
    let experiment = experiment();
    let app = Router::new().route("/before", get(ok)).layer(experiment).route("/after", get(ok));
    send(app, &["/before", "/after"]);
    assert_routes(experiment, &[("GET /before", 1)]);
}

fn with_routes(routes: RouteSource) -> LatencyExperiment {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    LatencyExperiment::with_config(Config::new(flags).with_route_source(routes))
}

#[test]
fn a_function_reads_all_of_the_head_and_may_borrow_from_it() {
    #[derive(Clone)]
    struct Operation(&'static str);

    let experiment = with_routes(RouteSource::function(|head| {
        if let Some(operation) = head.extensions.get::<Operation>() {
            return Some(operation.0);
        }
        if head.method == Method::POST {
            return head.headers.get("x-operation")?.to_str().ok();
        }
        head.uri.path().strip_prefix("/tenant/").and_then(|rest| rest.split('/').nth(1))
    }));
    let mut service = experiment.layer(files());
    let requests = [
        Request::get("/any").extension(Operation("typed")),
        Request::post("/rpc").header("x-operation", "list"),
        Request::post("/rpc"),
        Request::get("/tenant/7/invoices"),
        Request::get("/tenant/8/invoices"),
        Request::get("/other"),
    ];
    for request in requests {
        complete(service.call(request.body(Body::empty()).unwrap())).unwrap();
    }
    assert_routes(
        experiment,
        &[("GET typed", 1), ("POST list", 1), ("GET invoices", 2), ("_unmatched", 2)],
    );
}

#[test]
fn a_function_is_asked_before_axum() {
    let experiment = with_routes(RouteSource::function(|_| Some("mine")));
    send(Router::new().route("/users/{id}", get(ok)).layer(experiment), &["/users/1", "/none"]);
    assert_routes(experiment, &[("GET mine", 2)]);
}

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn grpc(path: &str) -> Request<tonic::body::Body> {
    // A message of no bytes: not compressed, length 0.
    let message = http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5]));
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(tonic::body::Body::new(message))
        .unwrap()
}

#[test]
fn grpc_methods_become_routes_once_a_service_has_answered() {
    let experiment = experiment();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let mut service = experiment.layer(tonic::service::Routes::new(health));
    let cancel = |service: &mut _| drop(Service::call(service, grpc(CHECK)));

    cancel(&mut service);
    assert_routes(experiment, &[("_unmatched", 1)]);
    complete(service.call(grpc(CHECK))).unwrap();
    cancel(&mut service);
    let method = format!("POST {CHECK}");
    assert_routes(experiment, &[("_unmatched", 1), (&method, 2)]);
    let snapshot = experiment.snapshot();
    let cancelled = |route: &str| {
        count(&snapshot, |key| key.route == route && key.outcome == Outcome::Cancelled)
    };
    assert_eq!((cancelled("_unmatched"), cancelled(&method)), (1, 1));
    assert_eq!(in_flight(&snapshot), 0);

    for path in ["/grpc.health.v1.Health/None", "/none.None/None", "/"] {
        complete(service.call(grpc(path))).unwrap();
    }
    assert_routes(experiment, &[("_unmatched", 4), (&method, 2)]);
}

#[test]
fn tonic_inside_an_axum_router_beside_other_routes() {
    let experiment = experiment();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let app = tonic::service::Routes::new(health)
        .into_axum_router()
        .route("/users/{id}", get(ok))
        .layer(experiment);
    let mut app = app.with_state(());
    for path in [CHECK, CHECK, "/grpc.health.v1.Health/None", "/none.None/None"] {
        complete(app.call(grpc(path).map(Body::new))).unwrap();
    }
    let plain = Request::get("/users/1").body(Body::empty()).unwrap();
    complete(app.call(plain)).unwrap();
    assert_routes(
        experiment,
        &[(&format!("POST {CHECK}"), 2), ("GET /users/{id}", 1), ("_unmatched", 2)],
    );
}

#[test]
fn requests_that_take_no_part_are_in_no_route() {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    let config = Config::new(flags).with_filter(|head| head.uri.path().starts_with("/api/"));
    let experiment = LatencyExperiment::with_config(config);
    let app = Router::new().route("/api/{id}", get(ok)).route("/page", get(ok)).layer(experiment);
    send(app, &["/api/1", "/page", "/favicon.ico", "/api/none/such"]);
    assert_routes(experiment, &[("GET /api/{id}", 1), ("_unmatched", 1)]);
    assert_eq!(experiment.snapshot().counters.started.values().sum::<u64>(), 2);
}
