//! A plain service with as many routes as wanted, all of which have requests in turn.

use ::tower::{Layer, service_fn};
use latency_experiment::{
    Config, Flag, FlagSet, LatencyExperiment, Limits, RequestHead, RouteSource,
};

use super::case::{self, Case, Requests};
use super::{ours, tower};

/// `bare` and `ours` with one flag, by the number of routes, which is that of series.
pub fn cases(routes: usize) -> [Case; 2] {
    // Every series has met its usual octaves, and its route is known.
    let warm_up = 20 * routes as u64;
    [
        Case::new(format!("{routes}-series/bare"), move || Box::new(move |_| bare(routes)))
            .with_warm_up(warm_up),
        Case::new(format!("{routes}-series/ours"), move || Box::new(move |_| ours::<1>(routes).1))
            .with_warm_up(warm_up),
    ]
}

/// The case of [`cases`] with this name.
pub(super) fn find(name: &str) -> Option<Case> {
    let routes = name.split_once("-series/")?.0.parse().ok()?;
    cases(routes).into_iter().find(|case| case.name == name)
}

/// Without a layer.
pub fn bare(routes: usize) -> Requests {
    case::to_routes(service_fn(tower::handler), routes)
}

/// With the layer, and `FLAGS` flags that the handler consults. All subjects get control, so that
/// there are as many series per flag as routes.
///
/// # Panics
///
/// When there are more than an experiment may have.
pub fn ours<const FLAGS: usize>(routes: usize) -> (LatencyExperiment, Requests) {
    let flags = (0..FLAGS).map(|number| {
        Flag::new(format!("flag-{number}")).with_variations([("control", 1), ("variation", 0)])
    });
    let mut limits = Limits::default();
    limits.max_series = usize::MAX;
    let config = Config::new(FlagSet::try_new(flags).expect("the flags are valid"))
        .with_route_source(RouteSource::function(path_of))
        .with_max_routes(routes)
        .with_limits(limits);
    let experiment = LatencyExperiment::with_config(config);
    let flags = ours::flags_of::<FLAGS>(experiment);
    let handler = move |request| tower::consulting(flags, request);
    (experiment, case::to_routes(experiment.layer(service_fn(handler)), routes))
}

#[allow(clippy::unnecessary_wraps, reason = "a source of routes may know none")]
fn path_of(head: RequestHead<'_>) -> Option<&str> {
    Some(head.uri.path())
}
