//! The warning that no request has a route: once, and only where it is so.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource};
use latency_experiment_tests::complete;
use tower::{Layer, Service, service_fn};
use tracing::field::{Field, Visit};
use tracing::span;

/// Keeps what warnings say.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        self.0 = format!("{value:?}");
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn handler(
    _: Request<Body>,
) -> std::future::Ready<Result<http::Response<Body>, std::convert::Infallible>> {
    std::future::ready(Ok(http::Response::default()))
}

/// Warnings while so many requests are sent to each path.
fn warnings<S>(mut service: S, paths: &[&str], requests: usize) -> Vec<String>
where
    S: Service<Request<Body>>,
    S::Error: std::fmt::Debug,
{
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        for _ in 0..requests {
            for path in paths {
                complete(service.call(Request::get(*path).body(Body::empty()).unwrap())).unwrap();
            }
        }
    });
    let warnings = warnings.0.lock().unwrap();
    warnings.clone()
}

#[test]
fn a_layer_that_never_sees_a_route_warns_once() {
    let experiment = || LatencyExperiment::new(Flag::new("flag"));
    let bare = warnings(experiment().layer(service_fn(handler)), &["/a", "/b"], 500);
    let [warning] = &bare[..] else { panic!("one warning, but there are {bare:?}") };
    assert!(warning.contains("`Router::layer`") && warning.contains("`RouteSource::function`"));

    // Around the whole router the matched path is not known.
    let router = || Router::new().route("/a", get(|| async {}));
    let outside = warnings(experiment().layer(router().with_state::<()>(())), &["/a"], 500);
    assert_eq!(outside, bare);

    assert!(warnings(experiment().layer(service_fn(handler)), &["/a"], 99).is_empty(), "too few");
}

#[test]
fn requests_beside_the_routes_are_no_reason_to_warn() {
    let experiment = LatencyExperiment::new(Flag::new("flag"));
    let inside = Router::new().route("/a", get(|| async {})).layer(experiment);
    let inside = inside.with_state::<()>(());
    assert!(warnings(inside, &["/a", "/.env", "/wp-login.php"], 500).is_empty());

    // Who names routes may leave some out.
    let config = Config::new(FlagSet::try_new([Flag::new("flag")]).unwrap());
    let named = config.with_route_source(RouteSource::function(|_| None));
    let named = LatencyExperiment::with_config(named).layer(service_fn(handler));
    assert!(warnings(named, &["/a"], 500).is_empty());
}
