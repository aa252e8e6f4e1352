//! What a report takes of memory: in proportion to what it says, however many requests it is about.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use jiff::Timestamp;
use latency_experiment_analysis::{Plan, Report, analyze};
use latency_experiment_record::{
    Arm, Attached, Bucket, Counters, Experiment, Fingerprint, Histogram, Milestone, Outcome,
    SeriesKey, Snapshot, Subject, Sums,
};

/// Counts what the calling thread asks for, so that other tests do not disturb.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What a thread asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Asked {
    times: u64,
    /// Of all times together.
    bytes: u64,
    /// Held now; what was held before the count began may be freed meanwhile.
    live: i64,
    /// The most that was held at one time.
    peak: i64,
}

thread_local! {
    static ASKED: Cell<Asked> = const { Cell::new(Asked { times: 0, bytes: 0, live: 0, peak: 0 }) };
}

fn count(asked: usize, freed: usize) {
    // A thread that is being torn down is not counted any more.
    let _ = ASKED.try_with(|cell| {
        let mut all = cell.get();
        all.times += u64::from(asked > 0);
        all.bytes += asked as u64;
        all.live += asked.cast_signed() as i64 - freed.cast_signed() as i64;
        all.peak = all.peak.max(all.live);
        cell.set(all);
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counting touches a
// thread-local without a destructor, which never allocates.
#[allow(
    unsafe_code,
    reason = "a global allocator cannot be had otherwise; it counts and passes on"
)]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// What the snapshots are about.
#[derive(Clone, Copy)]
struct About {
    routes: usize,
    sizes: usize,
    arms: usize,
    /// Of each bucket, times one to five.
    requests: u64,
}

const USUAL: About = About { routes: 10, sizes: 4, arms: 3, requests: 1_000 };

/// 700 buckets around 4 ms, of which each arm fills others more than the rest.
fn histogram(arm: usize, requests: u64) -> Histogram {
    let bucket = |position: usize| {
        let (lower, upper) = Bucket::bounds_at(position);
        Bucket { lower, upper, count: requests * (1 + (position * 7 + arm) as u64 % 5) }
    };
    Histogram::try_new((2_100..2_800).map(bucket).collect(), Sums::UNKNOWN).unwrap()
}

fn snapshot(epoch: u64, about: About) -> Snapshot {
    let arms: Vec<String> = (0..about.arms).map(|arm| format!("arm-{arm}")).collect();
    let mut series = BTreeMap::new();
    for route in 0..about.routes {
        for size in 0..about.sizes {
            for (position, arm) in arms.iter().enumerate() {
                let key = SeriesKey {
                    arm: arm.clone(),
                    route: format!("GET /api/v1/resource-{route:03}"),
                    size: format!("size-{size:02}"),
                    outcome: Outcome::Completed,
                    milestone: Milestone::Latency,
                    exposed: true,
                    group: None,
                    block: None,
                };
                series.insert(key, histogram(position, about.requests));
            }
        }
    }
    Snapshot {
        instance: "a".to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
        taken_at: Timestamp::from_second(60).unwrap(),
        experiment: Experiment {
            name: "cached_whitelist".to_owned(),
            epoch,
            fingerprint: Fingerprint(epoch),
            control: arms[0].clone(),
            arms: arms.iter().map(|name| Arm { name: name.clone(), weight: 1 }).collect(),
            subject: Subject::RequestId,
            coverage_bp: 10_000,
        },
        assigned: arms.into_iter().map(|arm| (arm, 1_000_000)).collect(),
        counters: Counters::default(),
        series,
        slowest: BTreeMap::new(),
        parts: Vec::new(),
        attached: Attached::default(),
    }
}

/// What the report of two epochs asks for, and the report.
fn asked(about: About) -> (Asked, Report) {
    let snapshots = [1, 2].map(|epoch| snapshot(epoch, about));
    let plan = Plan::default();
    ASKED.set(Asked::default());
    let report = analyze(&snapshots, &plan).unwrap();
    (ASKED.get(), report)
}

/// The figures by name.
fn figures(asked: Asked) -> [(&'static str, f64); 3] {
    let Asked { times, bytes, peak, .. } = asked;
    [("times", times as f64), ("bytes", bytes as f64), ("bytes at one time", peak as f64)]
}

/// From the first size to the second as much is added for each step as from the second to the third, but
/// for 1 %: tables that double do so here or there.
fn assert_proportional(sizes: [usize; 3], about: impl Fn(usize) -> About) {
    let [small, middle, large] = sizes.map(|size| figures(asked(about(size)).0));
    let steps = [sizes[1] - sizes[0], sizes[2] - sizes[1]].map(|steps| steps as f64);
    for ((name, small), ((_, middle), (_, large))) in
        small.into_iter().zip(middle.into_iter().zip(large))
    {
        let (first, second) = ((middle - small) / steps[0], (large - middle) / steps[1]);
        assert!((second / first - 1.0).abs() < 0.01, "{name} {sizes:?}: {first}, then {second}");
    }
}

#[test]
fn memory_grows_in_proportion_to_routes() {
    assert_proportional([50, 100, 200], |routes| About { routes, ..USUAL });
}

#[test]
fn memory_grows_in_proportion_to_size_classes_and_variations() {
    assert_proportional([5, 10, 20], |sizes| About { sizes, ..USUAL });
    assert_proportional([3, 5, 9], |arms| About { arms, ..USUAL });
}

#[test]
fn at_no_time_is_more_held_than_three_times_the_document() {
    for routes in [10, 50, 100] {
        let (asked, report) = asked(About { routes, ..USUAL });
        let document = report.to_json().len();
        assert!(asked.peak > 0 && asked.peak.unsigned_abs() < 3 * document as u64, "{asked:?}");
    }
}

#[test]
fn memory_does_not_depend_on_how_many_requests_there_are() {
    // Up to 10^14 of an arm, in the same buckets.
    let [few, many] = [1_000, 1_000_000_000].map(|requests| asked(About { requests, ..USUAL }).0);
    for ((name, few), (_, many)) in figures(few).into_iter().zip(figures(many)) {
        // Larger numbers have more digits.
        assert!((many / few - 1.0).abs() < 1e-3, "{name}: {few}, then {many}");
    }
}
