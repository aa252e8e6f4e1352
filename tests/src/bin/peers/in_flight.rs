//! tower-http's `InFlightRequestsLayer`, which has one number: requests in flight.

use std::sync::Arc;

use axum::body::Body;
use latency_experiment_tests::{AnyService, Stack};
use tower::{Layer, ServiceExt};
use tower_http::metrics::InFlightRequestsLayer;

use crate::peer::{Instrument, Peer, Reading};

pub(crate) fn in_flight_requests() -> Peer {
    Peer {
        name: "tower-http, in-flight requests",
        package: "tower-http",
        stacks: &Stack::ALL,
        instrument: |_| {
            let (layer, counter) = InFlightRequestsLayer::pair();
            let subject = move |inner: AnyService| {
                let counted = layer.layer(inner);
                AnyService::new(counted.map_response(|response| response.map(Body::new)))
            };
            let read = move || Reading::Gauge(i64::try_from(counter.get()).unwrap_or(i64::MAX));
            Instrument { subject: Arc::new(subject), read: Box::new(read) }
        },
    }
}
