//! The layers around a plain service, whose handler answers with a short body.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use latency_experiment::{
    Config, FlagHandle, LatencyExperiment, RequestHead, RouteSource, section,
};
use tower::{Layer, service_fn};

use super::case::{self, Case, ROUTES};
use super::floor::FloorLayer;
use super::no_op::NoOpLayer;
use super::ours::{self, Answer};

type Asked = Request<Empty<Bytes>>;
type Answered = Result<Response<Full<Bytes>>, Infallible>;

#[allow(clippy::unused_async, reason = "handlers are")]
pub(super) async fn handler(_: Asked) -> Answered {
    answered(Answer::Off)
}

#[allow(clippy::unused_async, reason = "handlers are")]
pub(super) async fn consulting<const N: usize>(
    flags: &'static [FlagHandle; N],
    _: Asked,
) -> Answered {
    answered(Answer::by(flags))
}

#[allow(clippy::unused_async, reason = "handlers are")]
async fn consulting_by_name(_: Asked) -> Answered {
    answered(Answer::by_name(ours::FIRST))
}

#[allow(clippy::unused_async, reason = "handlers are")]
async fn consulting_in_section(flags: &'static [FlagHandle; 1], _: Asked) -> Answered {
    let work = section("work").enter();
    let answer = Answer::by(flags);
    work.done();
    answered(answer)
}

#[allow(clippy::unnecessary_wraps, reason = "it is what services answer")]
fn answered(answer: Answer) -> Answered {
    Ok(Response::new(Full::new(Bytes::from_static(answer.text().as_bytes()))))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("tower/bare", || case::tower(service_fn(handler))),
        Case::new("tower/noop", || case::tower(NoOpLayer.layer(service_fn(handler)))),
        Case::new("tower/floor", || case::tower(FloorLayer::new().layer(service_fn(handler)))),
        Case::new("tower/ours", || ours::<1>(ours::config(1))),
        Case::new("tower/ours-current", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            case::tower(experiment.layer(service_fn(consulting_by_name)))
        }),
        Case::new("tower/ours-route-function", || {
            ours::<1>(ours::config(1).with_route_source(RouteSource::function(route_of)))
        }),
        Case::new("tower/ours-extension", || {
            ours::<1>(ours::config(1).with_request_extension(true))
        }),
        Case::new("tower/ours-busy-time", || ours::<1>(ours::config(1).with_busy_time(true))),
        Case::new("tower/ours-section", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            let flags = ours::flags_of(experiment);
            let handler = service_fn(move |request| consulting_in_section(flags, request));
            case::tower(experiment.layer(handler))
        }),
        Case::new("tower/ours-body", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            let flags = ours::flags_of::<1>(experiment);
            let handler = service_fn(move |request| consulting(flags, request));
            case::tower(experiment.layer_with_body().layer(handler))
        }),
    ];
    cases.extend([flags::<2>(), flags::<4>(), flags::<8>()]);
    #[cfg(feature = "peers")]
    cases.extend(super::peers::tower());
    cases
}

fn flags<const N: usize>() -> Case {
    Case::new(format!("tower/ours-{N}-flags"), || ours::<N>(ours::config(N)))
}

fn ours<const N: usize>(config: Config) -> case::Service {
    let experiment = LatencyExperiment::with_config(config);
    let flags = ours::flags_of::<N>(experiment);
    case::tower(experiment.layer(service_fn(move |request| consulting(flags, request))))
}

/// The template of a path, as a user names it who has no router.
fn route_of(head: RequestHead<'_>) -> Option<&str> {
    match head.uri.path() {
        path if path.starts_with("/items/") => Some(ROUTES[0]),
        path if path.starts_with("/orders/") => Some(ROUTES[1]),
        _ => None,
    }
}
