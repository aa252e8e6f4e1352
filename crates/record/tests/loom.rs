//! Models of the recorder: loom runs each with every interleaving of its threads, and every value
//! that the memory model lets a thread read, up to three preemptions per run.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p latency-experiment-record --release --test loom
//! ```
//!
//! In models a cell holds 2 before it is spilled, and the layout has two octaves, of 0 and 1 and of
//! 2 and 3.

#![cfg(loom)]

use jiff::Timestamp;
use latency_experiment_record::*;
use loom::thread;

mod support;
use support::{experiment, key};

/// An experiment with one arm, one route and one series.
#[derive(Clone, Copy)]
struct Model {
    recorder: Recorder,
    experiment: ExperimentId,
    started: StartedCounters,
    series: SeriesId,
}

/// What a snapshot says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
struct Seen {
    ended: u64,
    sum: u128,
    started: u64,
}

impl Model {
    fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let recorder = Recorder::new(limits, Timestamp::UNIX_EPOCH);
        let (experiment, _) = recorder.register(experiment());
        let started = recorder.started_counters(experiment, "GET /");
        let series = recorder.series_of(experiment, ArmId::arm(0), |arm| key(arm, "GET /"));
        Self { recorder, experiment, started, series }
    }

    fn record(self, value_ns: u64) {
        self.recorder.writer().record(self.series, value_ns);
    }

    fn see(self) -> Seen {
        let snapshot = self.recorder.snapshot(self.experiment, Timestamp::UNIX_EPOCH);
        let histogram = snapshot.series.values().next().cloned().unwrap_or_default();
        let buckets: u64 = histogram.buckets().iter().map(|bucket| bucket.count).sum();
        assert_eq!(buckets, histogram.count(), "the count is the sum of the buckets");
        Seen {
            ended: buckets,
            sum: histogram.sums().sum.unwrap(),
            started: snapshot.counters.started.get("control").copied().unwrap_or(0),
        }
    }
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// Whoever sees the end of a request sees its start, and nothing is seen that did not happen.
#[test]
fn a_snapshot_never_sees_an_end_without_its_start() {
    model(|| {
        let model = Model::new(|_| {});
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                model.recorder.writer().started(model.started, ArmId::arm(0));
                model.record(1);
            }
        });
        let seen = model.see();
        assert!(seen.ended <= seen.started && seen.started <= 2, "{seen:?}");
        assert!(seen.sum >= seen.ended.into(), "sums lead, they never lag: {seen:?}");
        writer.join().unwrap();
        assert_eq!(model.see(), Seen { ended: 2, sum: 2, started: 2 });
    });
}

/// The third value of a cell finds it full, and moves it under the lock.
#[test]
fn a_count_on_its_way_into_the_spill_is_seen_once() {
    model(|| {
        let model = Model::new(|_| {});
        let writer = thread::spawn(move || (0..3).for_each(|_| model.record(1)));
        let (first, second) = (model.see(), model.see());
        assert!(first.ended <= second.ended && second.ended <= 3, "{first:?}, {second:?}");
        writer.join().unwrap();
        assert_eq!((model.see().ended, model.see().sum), (3, 3));
    });
}

/// Its allocation is published before it is found.
#[test]
fn a_page_is_seen_whole_or_not_at_all() {
    model(|| {
        let model = Model::new(|_| {});
        let writer = thread::spawn(move || {
            model.record(1);
            model.record(2);
        });
        assert!(model.see().ended <= 2);
        writer.join().unwrap();
        assert_eq!((model.see().ended, model.see().sum), (2, 3));
    });
}

/// Octaves without a page count coarsely.
#[test]
fn a_spent_budget_loses_nothing() {
    model(|| {
        let model = Model::new(|limits| limits.max_bucket_bytes = 512);
        let writers = [1, 2].map(|value| thread::spawn(move || model.record(value)));
        assert!(model.see().ended <= 2);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!((model.see().ended, model.see().sum), (2, 3));
    });
}

/// Threads beyond the bound take turns on the tables that they share.
#[test]
fn threads_beyond_the_bound_lose_nothing() {
    model(|| {
        let model = Model::new(|limits| limits.max_threads = 0);
        let writers = [(); 2].map(|()| thread::spawn(move || model.record(1)));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!((model.see().ended, model.see().sum), (2, 2));
    });
}

/// A thread that ends leaves its tables to the next one, while a snapshot reads them.
#[test]
fn tables_that_a_thread_leaves_behind_are_continued() {
    model(|| {
        let model = Model::new(|limits| limits.max_threads = 1);
        let first = thread::spawn(move || model.record(1));
        let second = thread::spawn(move || {
            first.join().unwrap();
            model.record(1);
        });
        assert!(model.see().ended <= 2);
        second.join().unwrap();
        assert_eq!((model.see().ended, model.see().sum), (2, 2));
    });
}
