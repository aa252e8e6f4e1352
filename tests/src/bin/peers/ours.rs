//! This crate's own layer, with heads measured and with bodies.

use std::sync::Arc;

use axum::body::Body;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource};
use latency_experiment_record::{Milestone, Outcome};
use latency_experiment_tests::{AnyService, Stack, in_flight};
use tower::{Layer, ServiceExt};

use crate::peer::{Instrument, Peer, Reading, Record, Told};

pub(crate) fn head_only() -> Peer {
    Peer {
        name: "latency-experiment",
        package: "latency-experiment",
        stacks: &Stack::ALL,
        instrument: |stack| {
            let experiment = experiment(stack);
            let subject = move |inner| AnyService::new(experiment.layer(inner));
            Instrument { subject: Arc::new(subject), read: Box::new(move || read(experiment)) }
        },
    }
}

pub(crate) fn with_body() -> Peer {
    Peer {
        name: "latency-experiment, with bodies",
        package: "latency-experiment",
        stacks: &Stack::ALL,
        instrument: |stack| {
            let experiment = experiment(stack);
            let subject = move |inner: AnyService| {
                let measured = experiment.layer_with_body().layer(inner);
                AnyService::new(measured.map_response(|response| response.map(Body::new)))
            };
            Instrument { subject: Arc::new(subject), read: Box::new(move || read(experiment)) }
        },
    }
}

fn experiment(stack: Stack) -> LatencyExperiment {
    let flags = FlagSet::try_new([Flag::new("flag")]).expect("the flag is valid");
    LatencyExperiment::with_config(match stack {
        Stack::Hyper1 | Stack::Hyper2 => {
            Config::new(flags).with_route_source(RouteSource::function(|head| {
                head.uri.path().starts_with("/cell/").then_some("/cell/{id}")
            }))
        }
        _ => Config::new(flags),
    })
}

fn read(experiment: LatencyExperiment) -> Reading {
    let snapshot = experiment.snapshot();
    let latencies = snapshot.series.iter().filter(|(key, _)| key.milestone == Milestone::Latency);
    let records = latencies.map(|(key, histogram)| Record {
        count: histogram.count(),
        told: if key.outcome == Outcome::Completed { Told::Success } else { Told::Failure },
        labels: vec![
            ("route".to_owned(), key.route.clone()),
            ("size".to_owned(), key.size.clone()),
        ],
    });
    let active = i64::try_from(in_flight(&snapshot)).unwrap_or(i64::MAX);
    Reading::Requests { records: records.collect(), active: Some(active) }
}
