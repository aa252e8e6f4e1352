//! What a recorder promises, seen from outside: no count is lost or made up by threads,
//! snapshots, bounds or values.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use latency_experiment_record::*;
use proptest::prelude::*;

mod support;
use support::{experiment, key};

fn recorder(change: impl FnOnce(&mut Limits)) -> Recorder {
    let mut limits = Limits::default();
    change(&mut limits);
    Recorder::new(limits, Timestamp::now())
}

fn total(snapshot: &Snapshot) -> u64 {
    snapshot.series.values().map(Histogram::count).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The outside witness: `HdrHistogram` at two significant digits, fed the same values.
    #[test]
    fn a_snapshot_holds_what_hdrhistogram_holds(values in proptest::collection::vec(0u64..1 << 36, 1..2_000), threads in 1usize..4) {
        let recorder = recorder(|_| {});
        let (id, _) = recorder.register(experiment());
        let series = recorder.series(id, key("control", "GET /"));
        std::thread::scope(|scope| {
            for chunk in values.chunks(values.len().div_ceil(threads)) {
                scope.spawn(move || chunk.iter().for_each(|&value| recorder.writer().record(series, value)));
            }
        });
        let mut witness = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2).unwrap();
        for &value in &values {
            witness.record(value).unwrap();
        }

        let snapshot = recorder.snapshot(id, Timestamp::now());
        let histogram = &snapshot.series[&key("control", "GET /")];
        prop_assert_eq!(histogram.count(), values.len() as u64);
        prop_assert_eq!(histogram.sums().sum, Some(values.iter().map(|&v| u128::from(v)).sum()));
        prop_assert_eq!(histogram.sums().sum_sq, Some(values.iter().map(|&v| u128::from(v) * u128::from(v)).sum()));
        let ours: Vec<_> = histogram.buckets().iter().map(|b| (b.upper, b.count)).collect();
        let theirs: Vec<_> = witness.iter_recorded().map(|b| (b.value_iterated_to(), b.count_since_last_iteration())).collect();
        prop_assert_eq!(ours, theirs);
        prop_assert_eq!(histogram.to_hdr(), witness);
    }

    #[test]
    fn merge_is_commutative_and_subtract_is_its_inverse(before in proptest::collection::vec(0u64..1 << 50, 0..200), after in proptest::collection::vec(0u64..1 << 50, 0..200)) {
        let recorder = recorder(|_| {});
        let (id, _) = recorder.register(experiment());
        let started = recorder.started_counters(id, "GET /");
        let series = recorder.series(id, key("control", "GET /"));
        let record = |values: &[u64]| for &value in values {
            let w = recorder.writer(); w.started(started, ArmId::arm(0)); w.record(series, value);
        };
        record(&before);
        let first = recorder.snapshot(id, Timestamp::now());
        record(&after);
        let second = recorder.snapshot(id, Timestamp::now());
        let since = second.subtract(&first).unwrap();
        prop_assert_eq!(total(&since), after.len() as u64);
        prop_assert_eq!(since.assigned["control"], after.len() as u64);
        let merged = first.merge(&since).unwrap();
        prop_assert_eq!(&merged.series, &second.series);
        prop_assert_eq!(merged, since.merge(&first).unwrap());
    }
}

/// A request is started by a thread that comes up during a snapshot, and ended by one that was there
/// before. The other series are there so that the snapshot takes its time.
#[test]
fn whoever_sees_a_request_end_sees_its_start_on_a_thread_that_just_came_up() {
    const OTHERS: usize = 300;
    const THREADS: u64 = 200;
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    for other in 0..OTHERS {
        let route = format!("GET /{other}");
        recorder.writer().record(recorder.series(id, key("control", &route)), 1);
    }
    let started = recorder.started_counters(id, "GET /last");
    let series = recorder.series(id, key("variation", "GET /last"));
    let (done, stay) = (AtomicBool::new(false), Barrier::new(THREADS as usize + 1));
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let snapshot = recorder.snapshot(id, Timestamp::now());
                let ended = snapshot.series.get(&key("variation", "GET /last"));
                let ended = ended.map_or(0, Histogram::count);
                let started = snapshot.counters.started.get("variation").copied().unwrap_or(0);
                assert!(ended <= started, "{ended} ended of {started}");
            }
        });
        for _ in 0..THREADS {
            let (told, tell) = std::sync::mpsc::channel();
            let stay = &stay;
            scope.spawn(move || {
                recorder.writer().started(started, ArmId::arm(1));
                told.send(()).unwrap();
                // Else the next thread goes on with its tables.
                stay.wait();
            });
            tell.recv().unwrap();
            recorder.writer().record(series, 1);
        }
        stay.wait();
        done.store(true, Ordering::Release);
        looks.join().unwrap();
    });
}

#[test]
fn snapshots_under_load_are_never_torn_and_lose_nothing() {
    const THREADS: usize = 4;
    const PER_THREAD: u64 = 50_000;
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    let started = recorder.started_counters(id, "GET /");
    let series = recorder.series(id, key("variation", "GET /"));
    let (start, done) = (Barrier::new(THREADS + 1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    for i in 0..PER_THREAD {
                        recorder.writer().started(started, ArmId::arm(1));
                        recorder.writer().record(series, i * 1_000 + thread as u64);
                    }
                })
            })
            .collect();
        let done = &done;
        let reader = scope.spawn(move || {
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let snapshot = recorder.snapshot(id, Timestamp::now());
                let ended = total(&snapshot);
                let started = snapshot.counters.started.get("variation").copied().unwrap_or(0);
                let in_flight = snapshot.counters.in_flight.get("variation").copied().unwrap_or(0);
                assert!(ended >= last, "counts never fall: {ended} after {last}");
                assert_eq!(started, ended + in_flight, "whoever sees an end sees its start");
                last = ended;
            }
        });
        start.wait();
        let written: Vec<_> =
            writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        assert!(written.iter().all(Result::is_ok));
        reader.join().unwrap();
    });
    let snapshot = recorder.snapshot(id, Timestamp::now());
    assert_eq!(total(&snapshot), THREADS as u64 * PER_THREAD);
    assert_eq!(snapshot.counters.in_flight["variation"], 0);
}

#[test]
fn threads_come_and_go_and_beyond_the_bound_share() {
    let recorder = recorder(|limits| limits.max_threads = 2);
    let (id, counters) = recorder.register(experiment());
    let series = recorder.series(id, key("control", "GET /"));
    let barrier = Barrier::new(8);
    for _round in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    for value in 0..1_000 {
                        let w = recorder.writer();
                        w.assigned(counters, ArmId::arm(0));
                        w.record(series, value);
                    }
                });
            }
        });
    }
    let snapshot = recorder.snapshot(id, Timestamp::now());
    assert_eq!((total(&snapshot), snapshot.assigned["control"]), (40_000, 40_000));
}

#[test]
fn a_value_recorded_while_a_thread_is_torn_down_is_not_lost() {
    struct RecordsInDrop(Recorder, SeriesId);
    impl Drop for RecordsInDrop {
        fn drop(&mut self) {
            self.0.writer().record(self.1, 5);
        }
    }
    thread_local!(static LATE: std::cell::RefCell<Option<RecordsInDrop>> = const { std::cell::RefCell::new(None) });
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    let series = recorder.series(id, key("control", "GET /"));
    std::thread::spawn(move || {
        // Registered before the recorder's own thread-local, so destroyed after it.
        LATE.with(|late| *late.borrow_mut() = Some(RecordsInDrop(recorder, series)));
        recorder.writer().record(series, 4);
    })
    .join()
    .unwrap();
    assert_eq!(total(&recorder.snapshot(id, Timestamp::now())), 2);
}

#[test]
fn the_series_table_is_bounded_and_overflow_keeps_the_arm() {
    let recorder = recorder(|limits| limits.max_series = 10);
    let (id, _) = recorder.register(experiment());
    for route in 0..1_000 {
        for arm in ["control", "variation"] {
            let series = recorder.series(id, key(arm, &format!("GET /{route}")));
            recorder.writer().record(series, 1);
        }
    }
    let snapshot = recorder.snapshot(id, Timestamp::now());
    assert_eq!((snapshot.series.len(), total(&snapshot)), (12, 2_000));
    for arm in ["control", "variation"] {
        assert_eq!(snapshot.series[&key(arm, reserved::OVERFLOW)].count(), 995);
    }
    assert_eq!(snapshot.counters.overflow_series, 1_990);
}

#[test]
fn beyond_the_page_budget_octaves_are_counted_coarsely_and_counted_as_such() {
    let recorder = recorder(|limits| limits.max_bucket_bytes = 2 * 512);
    let (id, _) = recorder.register(experiment());
    let series = recorder.series(id, key("control", "GET /"));
    let values = [1u64, 2, 200, 201, 70_000, 70_001, 100_000, 1 << 40];
    for value in values {
        recorder.writer().record(series, value);
    }
    let snapshot = recorder.snapshot(id, Timestamp::now());
    let histogram = &snapshot.series[&key("control", "GET /")];
    let buckets: Vec<_> = histogram.buckets().iter().map(|b| (b.lower, b.upper, b.count)).collect();
    let expected = vec![
        (1, 1, 1),
        (2, 2, 1),
        (200, 200, 1),
        (201, 201, 1),
        (65_536, 131_071, 3),
        (1 << 36, u64::MAX, 1),
    ];
    assert_eq!(buckets, expected);
    assert_eq!(snapshot.counters.coarsened, 3);
    assert_eq!(histogram.sums().sum, Some(values.iter().map(|&v| u128::from(v)).sum()));
}

#[test]
fn extreme_values_keep_exact_sums() {
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    let series = recorder.series(id, key("control", "GET /"));
    let values = [u64::MAX, u64::MAX, 0, (1 << 36) - 1];
    for value in values {
        recorder.writer().record(series, value);
    }
    let snapshot = recorder.snapshot(id, Timestamp::now());
    let sums = snapshot.series[&key("control", "GET /")].sums();
    assert_eq!(sums.sum, Some(values.iter().map(|&v| u128::from(v)).sum()));
    // Two squares of u64::MAX exceed what 128 bits hold: unknown is better than wrong.
    assert_eq!(sums.sum_sq, None);
}

#[test]
fn merging_what_does_not_belong_together_is_refused_by_name() {
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    let base = recorder.snapshot(id, Timestamp::now());
    let other = |change: fn(&mut Snapshot)| {
        let mut other = base.clone();
        other.instance = "elsewhere".to_owned();
        change(&mut other);
        base.merge(&other)
    };
    assert!(other(|_| {}).is_ok());
    let cases: BTreeMap<&str, fn(&mut Snapshot)> = BTreeMap::from([
        ("experiment", (|s| s.experiment.name = "x".to_owned()) as fn(&mut Snapshot)),
        ("epoch", |s| s.experiment.epoch = 2),
        ("fingerprint", |s| s.experiment.fingerprint = Fingerprint(8)),
        ("arms", |s| s.experiment.arms[1].weight = 9),
    ]);
    for (path, change) in cases {
        let error = other(change).unwrap_err();
        assert!(error.is_mismatch() && error.path() == path, "{error}");
    }
    let mut later = base.clone();
    later.taken_at = base.taken_at + jiff::SignedDuration::from_secs(60);
    let twice = later.merge(&later).unwrap_err();
    assert!(twice.to_string().contains("only the later"), "{twice}");
}

#[test]
fn the_slowest_requests_keep_their_ids_over_threads_merges_and_documents() {
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    let series = recorder.series(id, key("control", "GET /"));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            scope.spawn(move || {
                for n in 0..1_000 {
                    let value = n * 10 + thread;
                    let w = recorder.writer();
                    w.record_request(series, Sample::of(value), || {
                        CompactId::of_text(&format!("id-{value}"))
                    });
                }
            });
        }
    });
    let first = recorder.snapshot(id, Timestamp::now());
    let ids = |snapshot: &Snapshot| -> Vec<String> {
        snapshot.slowest.values().flatten().map(|slow| slow.request_id.to_string()).collect()
    };
    assert_eq!(ids(&first), ["id-9993", "id-9992", "id-9991", "id-9990"]);
    assert_eq!(Snapshot::from_json(&first.to_json()).unwrap(), first);

    recorder.writer().record_request(series, Sample::of(20_000), || CompactId::of_text("id-20000"));
    let second = recorder.snapshot(id, Timestamp::now());
    assert_eq!(ids(&second.subtract(&first).unwrap()), ["id-20000"]);
    let mut elsewhere = first.clone();
    elsewhere.instance = "elsewhere".to_owned();
    assert_eq!(
        ids(&elsewhere.merge(&second).unwrap()),
        ["id-20000", "id-9993", "id-9992", "id-9991"]
    );
}

#[test]
fn requests_are_in_flight_per_route_and_may_be_filed_under_another() {
    let recorder = recorder(|_| {});
    let (id, _) = recorder.register(experiment());
    let (unmatched, found) =
        (recorder.started_counters(id, "_unmatched"), recorder.started_counters(id, "GET /"));
    let series = recorder.series(id, key("control", "GET /"));
    let control = ArmId::arm(0);
    let w = recorder.writer();
    w.started(unmatched, control);
    w.started(unmatched, control);
    w.started_elsewhere(unmatched, found, control);
    let in_flight = |route: &str| {
        let snapshot = recorder.snapshot(id, Timestamp::now());
        assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
        snapshot
            .counters
            .routes
            .get(&(route.to_owned(), "control".to_owned()))
            .map(|counts| counts.in_flight)
    };
    assert_eq!((in_flight("_unmatched"), in_flight("GET /")), (Some(1), Some(1)));
    recorder.writer().record(series, 1);
    assert_eq!((in_flight("_unmatched"), in_flight("GET /")), (Some(1), Some(0)));
    recorder.writer().started_elsewhere(unmatched, found, control);
    assert_eq!((in_flight("_unmatched"), in_flight("GET /")), (None, Some(1)));
}

#[test]
fn a_request_is_assigned_once_whether_one_layer_counts_it_or_two() {
    let recorder = recorder(|_| {});
    let (id, counters) = recorder.register(experiment());
    let started = recorder.started_counters(id, "GET /");
    let control = ArmId::arm(0);
    let w = recorder.writer();
    w.started(started, control); // by one layer
    w.assigned(counters, control); // by two
    w.assigned_before(counters, control);
    w.started(started, control);
    w.assigned(counters, control); // not started so far
    let snapshot = recorder.snapshot(id, Timestamp::now());
    assert_eq!((snapshot.assigned["control"], snapshot.counters.started["control"]), (3, 2));
}

/// A request is started by one thread and filed under another route by the next. Whoever reads the
/// counts of the first before and those of the second after sees that its route gave it away, and not
/// that it had it.
#[test]
fn a_request_that_is_filed_elsewhere_meanwhile_makes_no_count_negative() {
    let recorder = recorder(|_| {});
    let (id, assigned) = recorder.register(experiment());
    let (from, to) =
        (recorder.started_counters(id, "_unmatched"), recorder.started_counters(id, "POST /a"));
    recorder.writer().started_elsewhere(from, to, ArmId::arm(0));
    let snapshot = recorder.snapshot(id, Timestamp::now());
    let counters = &snapshot.counters;
    assert_eq!((counters.started["control"], counters.in_flight["control"]), (1, 1));
    let routes: Vec<_> =
        counters.routes.iter().map(|((route, _), c)| (&**route, c.started)).collect();
    assert_eq!(routes, [("POST /a", 1)]);

    // Likewise what a second layer takes back, before the first one is seen to have counted it.
    recorder.writer().assigned_before(assigned, ArmId::arm(1));
    let snapshot = recorder.snapshot(id, Timestamp::now());
    assert_eq!(snapshot.assigned["variation"], 0);
}
