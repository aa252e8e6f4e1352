//! A plain service with as many routes as wanted, all of which have requests in turn.

use ::tower::{Layer, service_fn};
use latency_experiment::{
    Config, Flag, FlagSet, LatencyExperiment, Limits, RequestHead, RouteSource,
};

use super::case::{self, Requests};
use super::{ours, tower};

/// Without a layer.
pub fn bare(routes: usize) -> Requests {
    case::to_routes(service_fn(tower::handler), routes)
}

/// With the layer, and so many flags that the handler consults. All subjects get control, so that
/// there are as many series per flag as routes.
///
/// # Panics
///
/// When there are more flags than an experiment may have.
pub fn ours(routes: usize, flags: usize) -> (LatencyExperiment, Requests) {
    let flags = (0..flags).map(|number| {
        Flag::new(format!("flag-{number}")).with_variations([("control", 1), ("variation", 0)])
    });
    let mut limits = Limits::default();
    limits.max_series = usize::MAX;
    let config = Config::new(FlagSet::try_new(flags).expect("the flags are valid"))
        .with_route_source(RouteSource::function(path_of))
        .with_max_routes(routes)
        .with_limits(limits);
    let experiment = LatencyExperiment::with_config(config);
    let handler = tower::consulting(ours::flags_of(experiment));
    (experiment, case::to_routes(experiment.layer(service_fn(handler)), routes))
}

#[allow(clippy::unnecessary_wraps, reason = "a source of routes may know none")]
fn path_of(head: RequestHead<'_>) -> Option<&str> {
    Some(head.uri.path())
}
