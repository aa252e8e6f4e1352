//! What was recorded from one time to the next.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::{Fingerprint, Histogram, Milestone, SeriesKey, Snapshot, reserved};

/// Turns successive snapshots of a process into intervals: later minus earlier.
///
/// Intervals show an effect over time, and whether it varies more than it should: the analysis needs 30 of
/// them. Show it every snapshot, in the order in which they were taken; each gets the latest intervals of
/// its experiment and epoch attached. An interval is at least as long as asked for; the oldest are dropped
/// when there are too many. Only latencies of the arms are kept.
///
/// ```
/// # use latency_experiment_record::*;
/// # use std::time::Duration;
/// # let recorder = Recorder::new(Limits::default(), jiff::Timestamp::UNIX_EPOCH);
/// # let (experiment, _) = recorder.register(Experiment {
/// #     name: "cached_whitelist".to_owned(),
/// #     epoch: 1,
/// #     fingerprint: Fingerprint(1),
/// #     control: "control".to_owned(),
/// #     arms: vec![Arm { name: "control".to_owned(), weight: 1 }],
/// #     subject: Subject::RequestId,
/// #     coverage_bp: 10_000,
/// # });
/// // The last 60 minutes, minute by minute.
/// let mut ring = IntervalRing::new(60, Duration::from_secs(60));
/// for second in [0, 60, 90, 120] {
///     let taken_at = jiff::Timestamp::from_second(second).unwrap();
///     let mut snapshot = recorder.snapshot(experiment, taken_at);
///     ring.show(&mut snapshot);
///     assert_eq!(snapshot.attached.intervals.len() as i64, second / 60);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct IntervalRing {
    capacity: usize,
    every: Duration,
    instance: String,
    rings: BTreeMap<(String, u64, Fingerprint), Ring>,
}

/// Experiments and epochs that are kept at most: 16 flags in their current and previous epoch.
const MOST: usize = 32;

type Series = BTreeMap<SeriesKey, Histogram>;

#[derive(Clone, Debug)]
struct Ring {
    /// The snapshot with which the present interval began.
    since: (Timestamp, Series),
    intervals: VecDeque<((Timestamp, Timestamp), Series)>,
}

impl IntervalRing {
    /// Keeps this many intervals, each of at least this length.
    pub fn new(capacity: usize, every: Duration) -> Self {
        Self { capacity, every, instance: String::new(), rings: BTreeMap::new() }
    }

    /// Shows the next snapshot, which gets the intervals attached.
    ///
    /// The snapshot of another process starts everything anew; one that is not later than the one before
    /// adds no interval.
    pub fn show(&mut self, snapshot: &mut Snapshot) {
        if snapshot.instance != self.instance {
            self.instance.clone_from(&snapshot.instance);
            self.rings.clear();
        }
        let experiment = &snapshot.experiment;
        let key = (experiment.name.clone(), experiment.epoch, experiment.fingerprint);
        let now = (snapshot.taken_at, latencies(&snapshot.series));
        if let Some(ring) = self.rings.get_mut(&key) {
            ring.advance(now, self.every, self.capacity);
        } else {
            self.forget_oldest();
            self.rings.insert(key.clone(), Ring { since: now, intervals: VecDeque::new() });
        }
        let ring = self.rings.get(&key);
        snapshot.attached.intervals =
            ring.into_iter().flat_map(|ring| ring.intervals.iter().cloned()).collect();
    }

    /// Makes room for one more experiment and epoch.
    fn forget_oldest(&mut self) {
        while self.rings.len() >= MOST {
            let oldest = self.rings.iter().min_by_key(|(_, ring)| ring.since.0);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.rings.remove(&oldest);
        }
    }
}

impl Ring {
    fn advance(&mut self, now: (Timestamp, Series), every: Duration, capacity: usize) {
        let length = Duration::try_from(now.0.duration_since(self.since.0)).unwrap_or_default();
        if length.is_zero() || length < every {
            return;
        }
        // A series that counts less than before is not of the same recording: the ring starts anew.
        match minus(&now.1, &self.since.1) {
            Some(series) => self.intervals.push_back(((self.since.0, now.0), series)),
            None => self.intervals.clear(),
        }
        while self.intervals.len() > capacity {
            self.intervals.pop_front();
        }
        self.since = now;
    }
}

fn latencies(series: &Series) -> Series {
    let kept = series
        .iter()
        .filter(|(key, _)| key.milestone == Milestone::Latency && !reserved::is_reserved(&key.arm));
    kept.map(|(key, histogram)| (key.clone(), histogram.clone())).collect()
}

fn minus(now: &Series, before: &Series) -> Option<Series> {
    let mut left = Series::new();
    for (key, histogram) in now {
        let since = match before.get(key) {
            Some(before) => histogram.subtract(before).ok()?,
            None => histogram.clone(),
        };
        if since.count() > 0 {
            left.insert(key.clone(), since);
        }
    }
    before.keys().all(|key| now.contains_key(key)).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bucket, Outcome, Sums};

    fn snapshot(second: i64, count: u64) -> Snapshot {
        let mut snapshot = Snapshot::from_json(
            r#"{"schema": "latency-experiment/snapshot/1", "instance": "a", "experiment": "e", "epoch": 1,
                "started_at": "2026-01-01T00:00:00Z", "taken_at": "2026-01-01T00:00:00Z",
                "fingerprint": "00000000000000a1", "control": "control",
                "arms": [{"name": "control", "weight": 1}], "assigned": {}, "series": []}"#,
        )
        .unwrap();
        snapshot.taken_at =
            snapshot.started_at.checked_add(jiff::SignedDuration::from_secs(second)).unwrap();
        for (arm, milestone) in [
            ("control", Milestone::Latency),
            ("control", Milestone::Busy),
            ("_outside", Milestone::Latency),
        ] {
            let key = SeriesKey {
                arm: arm.to_owned(),
                route: "GET /".to_owned(),
                size: "unknown".to_owned(),
                outcome: Outcome::Completed,
                milestone,
                exposed: true,
                group: None,
                block: None,
            };
            let bucket = Bucket { lower: 1, upper: 1, count };
            let histogram = Histogram::try_new(vec![bucket], Sums::UNKNOWN).unwrap();
            snapshot.series.insert(key, histogram);
        }
        snapshot
    }

    #[test]
    fn intervals_hold_what_came_between_and_the_oldest_are_dropped() {
        let mut ring = IntervalRing::new(2, Duration::from_secs(10));
        let mut counts: Vec<u64> = Vec::new();
        for (second, count) in [(0, 5), (4, 6), (10, 9), (20, 9), (31, 20), (31, 20)] {
            let mut snapshot = snapshot(second, count);
            ring.show(&mut snapshot);
            assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
            let intervals = snapshot.attached.intervals.values();
            counts = intervals.map(|series| series.values().map(Histogram::count).sum()).collect();
        }
        assert_eq!(counts, [0, 11], "latencies of arms only");
        // Another process.
        let mut other = snapshot(40, 3);
        other.instance = "b".to_owned();
        ring.show(&mut other);
        assert!(other.attached.intervals.is_empty());
        // Counts that fell.
        let mut fallen = snapshot(60, 1);
        fallen.instance = "b".to_owned();
        ring.show(&mut fallen);
        assert!(fallen.attached.intervals.is_empty());
    }
}
