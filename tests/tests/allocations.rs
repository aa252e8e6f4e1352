//! What the layer allocates per request in the steady state, and per service that it wraps: nothing.

use std::convert::Infallible;
use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource, current};
use latency_experiment_tests::{CountingAllocator, complete};
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATOR.allocations();
    run();
    ALLOCATOR.allocations() - before
}

const WARM_UP: u64 = 5_000;
const MEASURED: u64 = 10_000;

/// Allocations of so many requests, after enough of them to have touched every series and octave.
fn steady_state(mut request: impl FnMut()) -> u64 {
    (0..WARM_UP).for_each(|_| request());
    allocations(|| (0..MEASURED).for_each(|_| request()))
}

fn flags(count: usize) -> FlagSet {
    FlagSet::try_new((0..count).map(|n| Flag::new(format!("flag-{n}")))).unwrap()
}

/// A few latencies may fall into an octave that the warm-up never saw; its first touch allocates.
const FIRST_TOUCHES: u64 = 40;

#[test]
fn a_tower_service_with_1_and_4_flags_consulted_by_handle() {
    for flag_count in [1, 4] {
        let routes = RouteSource::function(|_| Some("/items/{id}"));
        let experiment = LatencyExperiment::with_config(
            Config::new(flags(flag_count)).with_route_source(routes),
        );
        let handles: Vec<_> = experiment.experiments().flags().collect();
        let handler = service_fn(move |_: Request<()>| {
            let on = handles.iter().filter(|flag| flag.is_on()).count();
            black_box((on, current().request_id()));
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"body")))) }
        });
        let mut bare = handler.clone();
        let mut wrapped = experiment.layer(handler);
        assert_eq!(
            steady_state(|| drop(complete(bare.call(Request::new(()))))),
            0,
            "the bare service"
        );
        let ours = steady_state(|| drop(complete(wrapped.call(Request::new(())))));
        assert!(
            ours <= FIRST_TOUCHES,
            "{flag_count} flags: {ours} allocations in {MEASURED} requests"
        );
    }
}

/// In axum every layer makes the router box its routes; a layer that does nothing is the measure.
/// `with_state` is what `axum::serve` calls: without it a router applies its layers anew to every
/// request.
fn per_request_in_axum(router: Router) -> u64 {
    let app = router.with_state(());
    let request = || Request::get("/items/7").body(Body::empty()).unwrap();
    steady_state(|| drop(complete(app.clone().oneshot(request()))))
}

#[test]
fn an_axum_router_against_a_layer_that_does_nothing() {
    // The extension is one allocation, and one more where it makes the request's map of extensions
    // grow: that depends on how many axum itself puts there, hence on its features.
    for (extension, own) in [(false, 0), (true, 2)] {
        let config = Config::new(flags(1)).with_request_extension(extension);
        let experiment = LatencyExperiment::with_config(config);
        let flag = experiment.flag("flag-0").unwrap();
        let router = || {
            let handler = get(move || async move { if flag.is_on() { "on" } else { "off" } });
            Router::new().route("/items/{id}", handler)
        };
        let nothing = per_request_in_axum(router().layer(tower::layer::layer_fn(|inner| {
            tower::util::MapRequest::new(inner, |request: Request<Body>| request)
        })));
        let ours = per_request_in_axum(router().layer(experiment));
        println!(
            "request extension {extension}: {} allocations per request against {} with a layer that does nothing",
            ours as f64 / MEASURED as f64,
            nothing as f64 / MEASURED as f64
        );
        assert!(
            ours <= nothing + own * MEASURED + FIRST_TOUCHES,
            "{ours} against {nothing} in {MEASURED} requests"
        );
    }
}

/// axum wraps a service for every connection, and sometimes for every request. What is wrapped need be
/// no service, so no trait is asked of it.
#[test]
fn wrapping_a_service_neither_allocates_nor_keeps_anything() {
    struct NoService;

    let experiment = LatencyExperiment::new(Flag::new("flag"));
    let (assign, latency) =
        (experiment.experiments().assign_layer(), experiment.experiments().latency_layer());
    let wrap = || {
        black_box(experiment.layer(NoService));
        black_box(experiment.layer_with_body().layer(NoService));
        black_box(assign.layer(latency.layer(NoService)));
    };
    assert_eq!(allocations(|| (0..MEASURED).for_each(|_| wrap())), 0);

    // Without `with_state` a router applies its layers anew to every request.
    let app = Router::new().route("/items/{id}", get(|| async {})).layer(experiment);
    let request = || {
        let request = Request::get("/items/7").body(Body::empty()).unwrap();
        drop(complete(app.clone().oneshot(request)));
    };
    (0..WARM_UP).for_each(|_| request());
    let before = ALLOCATOR.live_bytes();
    (0..MEASURED).for_each(|_| request());
    let kept = ALLOCATOR.live_bytes() - before;
    // Latencies may still fall into new octaves, of 512 bytes each.
    assert!(kept <= 512 * FIRST_TOUCHES.cast_signed(), "{kept} bytes");
}
