//! Whatever threads, snapshots and ends of threads do to each other, what was recorded is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use latency_experiment_record::*;
use proptest::prelude::*;

mod support;
use support::{experiment, key};

/// What one thread records, into which of the series, before it ends.
type Script = Vec<(usize, u64)>;

/// Threads of one generation run at the same time; the next one starts when all of it have ended.
fn generations() -> impl Strategy<Value = Vec<Vec<Script>>> {
    let value = prop_oneof![0u64..300, 0u64..1 << 36];
    let script = prop::collection::vec((0usize..3, value), 0..200);
    prop::collection::vec(prop::collection::vec(script, 1..5), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The witness is `hdrhistogram`, fed the same values one after the other: a snapshot has the
    /// very same counts in the very same buckets. Snapshots that are taken meanwhile only grow.
    #[test]
    fn the_last_snapshot_is_what_one_thread_would_have_recorded(
        generations in generations(),
        max_threads in 0usize..6,
    ) {
        let mut limits = Limits::default();
        limits.max_threads = max_threads;
        let recorder = Recorder::new(limits, Timestamp::UNIX_EPOCH);
        let (id, _) = recorder.register(experiment());
        let routes = ["GET /a", "GET /b", "GET /c"];
        let series = routes.map(|route| recorder.series(id, key("control", route)));

        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut before = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
                while !done.load(Ordering::Acquire) {
                    let now = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
                    now.subtract(&before).expect("no count ever falls");
                    before = now;
                }
            });
            for generation in &generations {
                std::thread::scope(|scope| {
                    for script in generation {
                        scope.spawn(move || for &(place, value) in script {
                            recorder.writer().record(series[place], value);
                        });
                    }
                });
            }
            done.store(true, Ordering::Release);
            reader.join().unwrap();
        });

        let mut witnesses = BTreeMap::new();
        for &(place, value) in generations.iter().flatten().flatten() {
            let new = || hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2).unwrap();
            witnesses.entry(key("control", routes[place])).or_insert_with(new).record(value).unwrap();
        }
        let snapshot = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
        prop_assert_eq!(snapshot.series.len(), witnesses.len());
        for (key, witness) in witnesses {
            let ours: Vec<_> = snapshot.series[&key]
                .buckets()
                .iter()
                .map(|bucket| (bucket.upper, bucket.count))
                .collect();
            let theirs: Vec<_> = witness
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}

/// A client that makes up routes, faster than anybody could look at them.
#[test]
fn a_hostile_number_of_routes_costs_bounded_memory_and_no_count() {
    const ROUTES: u64 = 50_000;
    const MAX_SERIES: usize = 100;
    const MAX_PAGES: u64 = 200;
    let mut limits = Limits::default();
    (limits.max_series, limits.max_bucket_bytes) = (MAX_SERIES, MAX_PAGES * 512);
    let recorder = Recorder::new(limits, Timestamp::UNIX_EPOCH);
    let (id, _) = recorder.register(experiment());
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                for route in (thread..ROUTES).step_by(2) {
                    let series = recorder.series(id, key("control", &format!("GET /{route}")));
                    // Seven octaves for each, which is more than there are pages.
                    let value = 1 << (route % 7 * 4);
                    recorder.writer().record(series, value);
                }
            });
        }
    });
    let snapshot = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
    assert_eq!(snapshot.series.values().map(Histogram::count).sum::<u64>(), ROUTES);
    assert_eq!(snapshot.series.len(), MAX_SERIES + 1, "and the one that the rest shares");
    let shared = &snapshot.series[&key("control", reserved::OVERFLOW)];
    assert_eq!(shared.count(), ROUTES - MAX_SERIES as u64);
    assert_eq!(snapshot.counters.overflow_series, ROUTES - MAX_SERIES as u64);
    assert_eq!(snapshot.counters.coarsened, 0, "one page per series, and seven for each thread's");

    // The same with pages for a tenth of it: coarser, and just as complete.
    limits.max_series = 1_000;
    let recorder = Recorder::new(limits, Timestamp::UNIX_EPOCH);
    let (id, _) = recorder.register(experiment());
    for route in 0..1_000 {
        let series = recorder.series(id, key("control", &format!("GET /{route}")));
        (0..10).for_each(|n| recorder.writer().record(series, 1_000 << n));
    }
    let snapshot = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
    assert_eq!(snapshot.series.values().map(Histogram::count).sum::<u64>(), 10_000);
    assert_eq!(snapshot.counters.coarsened, 10_000 - MAX_PAGES);
}

/// Sums of squares reach 2⁶³ after 2²³ values of 68 seconds, which no test has to pretend.
#[test]
fn sums_that_outgrow_their_cells_stay_exact() {
    const VALUE: u64 = (1 << 36) - 1;
    const COUNT: u64 = (1 << 23) + 1_000;
    let recorder = Recorder::new(Limits::default(), Timestamp::UNIX_EPOCH);
    let (id, _) = recorder.register(experiment());
    let series = recorder.series(id, key("control", "GET /"));
    for _ in 0..COUNT {
        recorder.writer().record(series, VALUE);
    }
    let snapshot = recorder.snapshot(id, Timestamp::UNIX_EPOCH);
    let histogram = &snapshot.series[&key("control", "GET /")];
    assert_eq!(histogram.count(), COUNT);
    let (value, count) = (u128::from(VALUE), u128::from(COUNT));
    let sums = Sums { sum: Some(value * count), sum_sq: Some(value * value * count) };
    assert_eq!(histogram.sums(), sums);
}
