//! The layers around a plain service, whose handler answers with a short body.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use latency_experiment::{
    Config, FlagHandle, LatencyExperiment, RequestHead, RouteSource, section,
};
use tower::{Layer, Service, service_fn};

use super::case::{self, Case, ROUTES};
use super::floor::FloorLayer;
use super::no_op::NoOpLayer;
use super::ours::{self, Answer};

type Answered = Ready<Result<Response<Full<Bytes>>, Infallible>>;

pub(super) fn handler(_: Request<Empty<Bytes>>) -> Answered {
    ready(Ok(Response::new(Full::new(Bytes::from_static(Answer::Off.text().as_bytes())))))
}

/// A service of a function. Unlike that of tower it is inlined into every case alike: else it would
/// depend on how many cases share a type of handler.
#[derive(Clone, Copy)]
pub(super) struct Handler<H>(pub(super) H);

impl<H> Service<Request<Empty<Bytes>>> for Handler<H>
where
    H: Fn(Request<Empty<Bytes>>) -> Answered,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: Request<Empty<Bytes>>) -> Answered {
        (self.0)(request)
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("tower/bare", || case::tower(service_fn(handler))),
        Case::new("tower/noop", || case::tower(NoOpLayer.layer(service_fn(handler)))),
        Case::new("tower/floor", || case::tower(FloorLayer::new().layer(service_fn(handler)))),
        Case::new("tower/ours", || ours(ours::config(1))),
        Case::new("tower/ours-route-function", || {
            ours(ours::config(1).with_route_source(RouteSource::function(route_of)))
        }),
        Case::new("tower/ours-extension", || ours(ours::config(1).with_request_extension(true))),
        Case::new("tower/ours-busy-time", || ours(ours::config(1).with_busy_time(true))),
        Case::new("tower/ours-section", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            let handler = consulting(ours::flags_of(experiment));
            case::tower(experiment.layer(Handler(move |request| {
                let work = section("work").enter();
                let answered = handler(request);
                work.done();
                answered
            })))
        }),
        Case::new("tower/ours-body", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            let handler = consulting(ours::flags_of(experiment));
            case::tower(experiment.layer_with_body().layer(Handler(handler)))
        }),
    ];
    cases.extend([2, 4, 8].map(|flags| {
        Case::new(format!("tower/ours-{flags}-flags"), move || ours(ours::config(flags)))
    }));
    #[cfg(feature = "peers")]
    cases.extend(super::peers::tower());
    cases
}

fn ours(config: Config) -> case::Service {
    let experiment = LatencyExperiment::with_config(config);
    let handler = consulting(ours::flags_of(experiment));
    case::tower(experiment.layer(Handler(handler)))
}

pub(super) fn consulting(
    flags: &'static [FlagHandle],
) -> impl Fn(Request<Empty<Bytes>>) -> Answered + Clone + Send + Sync + 'static {
    move |_| {
        let body = Bytes::from_static(Answer::by(flags).text().as_bytes());
        ready(Ok(Response::new(Full::new(body))))
    }
}

/// The template of a path, as a user names it who has no router.
fn route_of(head: RequestHead<'_>) -> Option<&str> {
    match head.uri.path() {
        path if path.starts_with("/items/") => Some(ROUTES[0]),
        path if path.starts_with("/orders/") => Some(ROUTES[1]),
        _ => None,
    }
}
