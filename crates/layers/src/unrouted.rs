//! The warning that no request has a route.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::route_table::RouteTable;

/// Counts the first requests without a route, and warns once when there was never one with a route:
/// the layer is then most likely outside of the router, or around a bare service.
pub(crate) struct Unrouted {
    /// How many more requests to look at; 0 when the matter is settled.
    left: AtomicU32,
}

/// Requests without a route before it is a matter of the set-up and not of a few odd clients.
const REQUESTS: u32 = 100;

pub(crate) const WARNING: &str = "latency-experiment: 100 requests had no route, and none had one, so all are \
     filed under `_unmatched`; put the layer inside the router (axum: `Router::layer`), or name \
     routes by `RouteSource::function`";

impl Unrouted {
    /// `expected` tells that requests without a route are what the user wants.
    pub(crate) fn new(expected: bool) -> Self {
        Self { left: AtomicU32::new(if expected { 0 } else { REQUESTS }) }
    }

    /// A request had no route.
    #[inline]
    pub(crate) fn count(&self, routes: &RouteTable) {
        if self.left.load(Relaxed) != 0 {
            self.look(routes);
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&self, routes: &RouteTable) {
        if !routes.is_empty() {
            self.left.store(0, Relaxed);
            return;
        }
        let before = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if before == Ok(1) {
            warn(WARNING);
        }
    }
}

#[cfg(feature = "tracing")]
fn warn(message: &'static str) {
    tracing::warn!("{message}");
}

/// Without the feature `tracing` there is nobody else to tell.
#[cfg(not(feature = "tracing"))]
fn warn(message: &'static str) {
    eprintln!("warning: {message}");
}
