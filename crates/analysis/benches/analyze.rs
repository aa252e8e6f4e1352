//! How long a report takes, and how that grows with what it is about.
//!
//! `cargo bench -p latency-experiment-analysis`; the case `100 routes` is the one that the design bounds:
//! 100 routes, 4 size classes, 3 arms and 2 epochs, 2,000 requests in each of the 2,400 cells.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use latency_experiment_analysis::{Plan, analyze};
use latency_experiment_record::{
    Arm, Attached, Bucket, Counters, Experiment, Fingerprint, Histogram, Milestone, Outcome,
    SeriesKey, Snapshot, Subject, Sums,
};
use std::collections::BTreeMap;
use std::hint::black_box;

const ARMS: [&str; 3] = ["control", "cached", "redis"];
const SIZES: [&str; 4] = ["0-500kB", "500-1000kB", ">1000kB", "unknown"];

/// `SplitMix64`: the same traffic on every machine.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn lognormal(&mut self, median_ns: f64, sigma: f64) -> u64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        (median_ns * (sigma * radius * (std::f64::consts::TAU * self.uniform()).cos()).exp()) as u64
    }
}

/// A histogram of lognormal latencies in the recorder's layout, 128 buckets per octave.
fn histogram(random: &mut Seeded, requests: usize, median_ns: f64) -> Histogram {
    let mut counts: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let (mut sum, mut sum_sq) = (0, 0);
    for _ in 0..requests {
        let value = random.lognormal(median_ns, 0.7);
        let width = 1_u64 << (value | 128).ilog2().saturating_sub(7);
        let lower = value - value % width;
        *counts.entry((lower, lower + width - 1)).or_default() += 1;
        sum += u128::from(value);
        sum_sq += u128::from(value).pow(2);
    }
    let buckets = counts.into_iter().map(|((lower, upper), count)| Bucket { lower, upper, count });
    Histogram::try_new(buckets.collect(), Sums { sum: Some(sum), sum_sq: Some(sum_sq) }).unwrap()
}

fn snapshots(routes: usize, requests: usize) -> Vec<Snapshot> {
    let mut random = Seeded(1);
    [1, 2].map(|epoch| snapshot(epoch, routes, requests, &mut random)).into()
}

fn snapshot(epoch: u64, routes: usize, requests: usize, random: &mut Seeded) -> Snapshot {
    let mut series = BTreeMap::new();
    for route in 0..routes {
        let median = 2e6 * (1.0 + (route % 7) as f64);
        for size in SIZES {
            for arm in ARMS {
                for outcome in [Outcome::Completed, Outcome::ServerError] {
                    let key = SeriesKey {
                        arm: arm.to_owned(),
                        route: format!("GET /api/v1/resource-{route:03}"),
                        size: size.to_owned(),
                        outcome,
                        milestone: Milestone::Latency,
                        exposed: true,
                        group: None,
                        block: None,
                    };
                    let few = requests.div_ceil(100);
                    let requests = if outcome == Outcome::Completed { requests } else { few };
                    series.insert(key, histogram(random, requests, median));
                }
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
            control: "control".to_owned(),
            arms: ARMS.map(|name| Arm { name: name.to_owned(), weight: 1 }).into(),
            subject: Subject::RequestId,
            coverage_bp: 10_000,
        },
        assigned: ARMS.map(|arm| (arm.to_owned(), (routes * requests) as u64)).into(),
        counters: Counters::default(),
        series,
        slowest: BTreeMap::new(),
        parts: Vec::new(),
        attached: Attached::default(),
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("analyze");
    group.sample_size(10);
    for routes in [25, 50, 100, 200] {
        let snapshots = snapshots(routes, 2_000);
        group.throughput(Throughput::Elements(routes as u64));
        group.bench_with_input(BenchmarkId::new("routes", routes), &snapshots, |bencher, input| {
            bencher.iter(|| analyze(black_box(input), &Plan::default()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
