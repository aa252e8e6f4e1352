//! Merging a fleet's snapshots: in every order, through every tree, the same bytes.

mod support;

use jiff::Timestamp;
use latency_experiment_analysis::{Plan, analyze};
use latency_experiment_record::{
    Bucket, Experiment, Fingerprint, Histogram, Outcome, SeriesKey, SinceFreeze, Snapshot, Sums,
};
use proptest::prelude::*;
use support::*;

/// Snapshot `index` of a fleet of 20 instances, each of which wrote five files one after the other. Some
/// histograms have wide buckets, some sums exceed 64 bits, some have none.
fn part(index: u64, seed: u64) -> Snapshot {
    let mut random = Seeded::new(seed ^ index);
    let mut snapshot = Service::with(|experiment: &mut Experiment| {
        experiment.coverage_bp = [5_000, 10_000][(index % 2) as usize];
        experiment.fingerprint = Fingerprint(7);
    })
    .snapshot();
    let (instance, file) = (index % 20, (index / 20).cast_signed());
    snapshot.instance = format!("instance-{instance:02}");
    snapshot.started_at = Timestamp::from_second(60 * file).unwrap();
    snapshot.taken_at = Timestamp::from_second(60 * (file + 1)).unwrap();
    for arm in ["control", "variation"] {
        snapshot.assigned.insert(arm.to_owned(), 30);
        for outcome in [Outcome::Completed, Outcome::Cancelled] {
            let key = SeriesKey {
                arm: arm.to_owned(),
                route: ["GET /a", "GET /b"][(random.next() % 2) as usize].to_owned(),
                size: "0-500kB".to_owned(),
                outcome,
                milestone: latency_experiment_record::Milestone::Latency,
                exposed: true,
                group: None,
                block: None,
            };
            let frozen = SinceFreeze {
                edge: Some(1_000 + 1_000 * (random.next() % 8) / 7),
                over: random.next() % 5,
                n: 9,
            };
            let frozen = [("0.5".to_owned(), frozen)].into();
            snapshot.attached.since_freeze.insert(key.clone(), frozen);
            snapshot.series.insert(key, histogram(&mut random));
        }
    }
    let time = (snapshot.started_at, snapshot.taken_at);
    snapshot.attached.intervals.insert(time, snapshot.series.clone());
    snapshot.attached.flag_state = Some(serde_json::json!({"enabled": !index.is_multiple_of(3)}));
    let at = snapshot.taken_at.to_string();
    snapshot.attached.events = vec![serde_json::json!({"at": at, "is": index % 2})];
    // What is compared is what was written.
    Snapshot::from_json(&snapshot.to_json()).unwrap()
}

fn histogram(random: &mut Seeded) -> Histogram {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut lower = 1 << 20;
    for octave in 20..24_u64 {
        let end = 1 << (octave + 1);
        if random.next().is_multiple_of(7) {
            buckets.push(Bucket { lower, upper: end - 1, count: 1 + random.next() % 40 });
        } else {
            let width = 1 << (octave - 7);
            let bucket = lower + width * (random.next() % 128);
            let count = 1 + random.next() % 20;
            buckets.push(Bucket { lower: bucket, upper: bucket + width - 1, count });
        }
        lower = end;
    }
    let large = u128::from(random.next()) << 40;
    let sums = match random.next() % 12 {
        0 => Sums::UNKNOWN,
        _ => Sums { sum: Some(large), sum_sq: Some(large + 1) },
    };
    Histogram::try_new(buckets, sums).unwrap()
}

/// Merges random pairs until one is left.
fn merged(mut parts: Vec<Snapshot>, random: &mut Seeded) -> Snapshot {
    while parts.len() > 1 {
        let mut take = || {
            let at = random.next() % parts.len() as u64;
            parts.swap_remove(at as usize)
        };
        let (a, b) = (take(), take());
        let both = a.merge(&b).unwrap();
        // Files that were merged before are read again.
        let both = if random.next().is_multiple_of(4) {
            Snapshot::from_json(&both.to_json()).unwrap()
        } else {
            both
        };
        parts.push(both);
    }
    parts.pop().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_hundred_snapshots_merge_to_the_same_bytes_in_every_order(seed in any::<u64>()) {
        let parts: Vec<Snapshot> = (0..100).map(|index| part(index, seed)).collect();
        let mut random = Seeded::new(seed);
        let (one, other) = (merged(parts.clone(), &mut random), merged(parts.clone(), &mut random));
        prop_assert_eq!(one.to_json(), other.to_json());
        prop_assert_eq!(one.parts.len(), 20);

        let report = |snapshots: &[Snapshot]| analyze(snapshots, &Plan::default()).unwrap().to_json();
        let expected = report(&parts);
        let mut shuffled = parts.clone();
        shuffled.sort_by_cached_key(|_| random.next());
        let (half, rest) = shuffled.split_at(50);
        let mut mixed = rest.to_vec();
        mixed.push(merged(half.to_vec(), &mut random));
        for snapshots in [vec![one], vec![other], shuffled.clone(), mixed] {
            prop_assert_eq!(report(&snapshots), expected.clone());
        }
    }
}

#[test]
fn what_a_merged_file_holds_is_not_counted_twice() {
    let parts: Vec<Snapshot> = (0..60).map(|index| part(index, 1)).collect();
    let mut random = Seeded::new(1);
    // Instances 0 to 9 of the first and third minute; 10 to 19 of the first.
    let first = merged(parts[..20].to_vec(), &mut random);
    let gap = first.merge(&merged(parts[40..50].to_vec(), &mut random)).unwrap();
    let text = gap.to_json();
    let read = Snapshot::from_json(&text).unwrap();
    assert_eq!(read.to_json(), text);
    // The second minute fits between, whichever instance it is of.
    for fits in [&parts[20], &parts[35], &parts[55]] {
        assert!(read.merge(fits).is_ok(), "{}", fits.instance);
    }
    for twice in [&parts[0], &parts[45], &gap, &first] {
        let error = read.merge(twice).unwrap_err();
        assert!(error.is_mismatch() && error.path() == "instance", "{error}");
        assert!(error.to_string().contains("at the same time"), "{error}");
    }
    // A document that was merged without its parts covers all the time between its ends.
    let mut opaque = gap.clone();
    opaque.parts.clear();
    assert!(opaque.merge(&parts[20]).is_err());
    assert!(opaque.merge(&part(80, 1)).is_ok());
}
