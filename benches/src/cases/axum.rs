//! The layers in an axum router, whose handlers answer with a short body.

use std::hint::black_box;

use axum::Router;
use axum::handler::Handler;
use axum::routing::get;
use latency_experiment::{Config, LatencyExperiment, section};

use super::case::{Case, ROUTES};
use super::floor::Floor2Layer;
use super::no_op::NoOpLayer;
use super::ours::{self, Answer};

/// Both routes, without a layer. The handler carries as much with it as the one that consults
/// flags: axum allocates for handlers that are not of size zero.
pub(super) fn router() -> Router {
    let text = black_box(Answer::Off.text());
    routes(move || async move { text })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::in_axum("axum/bare", router),
        Case::in_axum("axum/noop", || router().layer(NoOpLayer)),
        Case::in_axum("axum/floor2", || router().layer(Floor2Layer::new())),
        Case::in_axum("axum/ours", || ours::<1>(ours::config(1))),
        Case::in_axum("axum/ours-current", || {
            let flag = black_box(ours::FIRST);
            routes(move || async move { Answer::by_name(flag).text() })
                .layer(LatencyExperiment::with_config(ours::config(1)))
        }),
        Case::in_axum("axum/ours-extension", || {
            ours::<1>(ours::config(1).with_request_extension(true))
        }),
        Case::in_axum("axum/ours-busy-time", || ours::<1>(ours::config(1).with_busy_time(true))),
        Case::in_axum("axum/ours-section", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            let flags = ours::flags_of::<1>(experiment);
            let handler = move || async move {
                section("work").time(async { Answer::by(flags).text() }).await
            };
            routes(handler).layer(experiment)
        }),
        Case::in_axum("axum/ours-body", || {
            let experiment = LatencyExperiment::with_config(ours::config(1));
            consulting::<1>(experiment).layer(experiment.layer_with_body())
        }),
    ];
    cases.extend([flags::<2>(), flags::<4>(), flags::<8>()]);
    #[cfg(feature = "peers")]
    cases.extend(super::peers::axum());
    cases
}

fn flags<const N: usize>() -> Case {
    Case::in_axum(format!("axum/ours-{N}-flags"), || ours::<N>(ours::config(N)))
}

fn ours<const N: usize>(config: Config) -> Router {
    let experiment = LatencyExperiment::with_config(config);
    consulting::<N>(experiment).layer(experiment)
}

fn consulting<const N: usize>(experiment: LatencyExperiment) -> Router {
    let flags = ours::flags_of::<N>(experiment);
    routes(move || async move { Answer::by(flags).text() })
}

fn routes<H, T>(handler: H) -> Router
where
    H: Handler<T, ()> + Copy,
    T: 'static,
{
    Router::new().route(ROUTES[0], get(handler)).route(ROUTES[1], get(handler))
}
