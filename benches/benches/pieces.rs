//! The pieces of the request path, each on its own, and all of them as one layer.
//!
//! Run with `cargo bench -p latency-experiment-benches --bench pieces`. Times of one machine prove
//! nothing by themselves: compare the rows of one run.

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Full;
use jiff::Timestamp;
use latency_experiment::{Config, Flag, FlagSet, LatencyExperiment, RouteSource, SizeClasses};
use latency_experiment_flags::{NoAttributes, slot};
use latency_experiment_record::{
    Arm, ArmId, Experiment, Fingerprint, Limits, Milestone, Outcome, Recorder, SeriesKey, Subject,
};
use tower::{Layer, Service, service_fn};

fn flags(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flags");
    let subject = *b"c386bbc4cd613e30d8f16adf91b7584a";
    group.bench_function("slot", |b| {
        b.iter(|| slot(black_box("cached_whitelist"), black_box(&subject)));
    });
    let flags = FlagSet::try_new([Flag::new("cached_whitelist")]).expect("a valid flag");
    let flag = flags.find("cached_whitelist").expect("it is there");
    group.bench_function("evaluate", |b| {
        b.iter(|| flags.evaluate(flag, black_box(&subject), &NoAttributes));
    });
    group.finish();
}

fn record(criterion: &mut Criterion) {
    let recorder = Recorder::new(Limits::default(), Timestamp::now());
    let (experiment, _) = recorder.register(Experiment {
        name: "flag".to_owned(),
        epoch: 1,
        fingerprint: Fingerprint(1),
        control: "control".to_owned(),
        arms: vec![Arm { name: "control".to_owned(), weight: 1 }],
        subject: Subject::RequestId,
        coverage_bp: 10_000,
    });
    let series = recorder.series_of(experiment, ArmId::arm(0), |arm| SeriesKey {
        arm: arm.to_owned(),
        route: "GET /".to_owned(),
        size: "0-500kB".to_owned(),
        outcome: Outcome::Completed,
        milestone: Milestone::Latency,
        exposed: true,
        group: None,
        block: None,
    });
    let mut hdr =
        hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2).expect("valid bounds");
    let mut group = criterion.benchmark_group("record");
    let mut value = 0u64;
    let mut next = move || {
        value =
            value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        value >> 40
    };
    group.bench_function("ours", |b| {
        b.iter(|| recorder.writer().record(series, next()));
    });
    group.bench_function("hdrhistogram, one thread", |b| b.iter(|| hdr.saturating_record(next())));
    group.finish();
}

fn size_class(criterion: &mut Criterion) {
    let classes = SizeClasses::default();
    let mut group = criterion.benchmark_group("size class");
    for (case, bytes) in [("first", 4_000), ("last", 5_000_000)] {
        group.bench_function(case, |b| b.iter(|| classes.label_of(black_box(Some(bytes)))));
    }
    group.finish();
}

fn layer(criterion: &mut Criterion) {
    let handler = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))))
    });
    let mut group = criterion.benchmark_group("layer");
    let mut bare = handler;
    group.bench_function("bare", |b| b.iter(|| complete(bare.call(Request::new(())))));
    for flags in [1, 4] {
        let set = FlagSet::try_new((0..flags).map(|n| Flag::new(format!("flag-{n}"))))
            .expect("valid flags");
        let config =
            Config::new(set).with_route_source(RouteSource::function(|_| Some("/items/{id}")));
        let mut ours = LatencyExperiment::with_config(config).layer(handler);
        group.bench_function(format!("ours, {flags} flags"), |b| {
            b.iter(|| complete(ours.call(Request::new(()))));
        });
    }
    group.finish();
}

fn complete<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

criterion_group!(benches, flags, record, size_class, layer);
criterion_main!(benches);
