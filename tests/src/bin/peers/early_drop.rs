//! tower-http's `OnEarlyDropLayer`, which tells of requests that are dropped before their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use http::{Request, response};
use latency_experiment_tests::{AnyService, Stack};
use tower::{Layer, ServiceExt};
use tower_http::on_early_drop::{OnBodyDropFn, OnEarlyDropLayer};

use crate::peer::{Instrument, Peer, Reading};

#[derive(Default)]
struct Drops {
    before_head: AtomicU64,
    body: AtomicU64,
}

pub(crate) fn on_early_drop() -> Peer {
    Peer {
        name: "tower-http, on early drop",
        package: "tower-http",
        stacks: &Stack::ALL,
        instrument: |_| {
            let drops = Arc::new(Drops::default());
            let seen = Arc::clone(&drops);
            let subject = move |inner: AnyService| {
                let (future, body) = (Arc::clone(&seen), Arc::clone(&seen));
                let layer = OnEarlyDropLayer::builder()
                    .on_future_drop(move |_: &Request<Body>| {
                        let drops = Arc::clone(&future);
                        move || {
                            drops.before_head.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                    .on_body_drop(OnBodyDropFn::new(move |_: &Request<Body>| {
                        let drops = Arc::clone(&body);
                        move |_: &response::Parts| {
                            move || {
                                drops.body.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    }));
                let guarded = layer.layer(inner);
                AnyService::new(guarded.map_response(|response| response.map(Body::new)))
            };
            let read = move || Reading::Drops {
                before_head: drops.before_head.load(Ordering::SeqCst),
                body: drops.body.load(Ordering::SeqCst),
            };
            Instrument { subject: Arc::new(subject), read: Box::new(read) }
        },
    }
}
