//! Thresholds frozen from the first requests, and what came after them.

use std::collections::BTreeMap;

use crate::{
    Bucket, Fingerprint, Histogram, Milestone, Outcome, SeriesKey, SinceFreeze, Snapshot, reserved,
};

/// Freezes thresholds for the tests that need them fixed before the data, and counts what comes after.
///
/// A threshold that is estimated from the requests that it judges breaks every guarantee. So the first
/// requests of a stratum, which is a route in an epoch with all arms together, only set it: once 500
/// have ended, the upper edges of the buckets at their p50, p95 and p99 are frozen. From then on every
/// snapshot that is shown gets, for each latency series of the stratum, how many requests came since and
/// how many of them were slower. Requests that were not answered (server errors, failures, panics and
/// cancelled ones) are slower than every threshold.
///
/// Show it every snapshot of one process, in the order in which they were taken, before they are used:
///
/// ```
/// # use latency_experiment_record::*;
/// # let recorder = Recorder::new(Limits::default(), jiff::Timestamp::UNIX_EPOCH);
/// # let (experiment, _) = recorder.register(Experiment {
/// #     name: "cached_whitelist".to_owned(),
/// #     epoch: 1,
/// #     fingerprint: Fingerprint(1),
/// #     control: "control".to_owned(),
/// #     arms: ["control", "variation"].map(|name| Arm { name: name.to_owned(), weight: 1 }).into(),
/// #     subject: Subject::RequestId,
/// #     coverage_bp: 10_000,
/// # });
/// # let series = recorder.series(experiment, SeriesKey {
/// #     arm: "control".to_owned(), route: "GET /".to_owned(), size: "unknown".to_owned(),
/// #     outcome: Outcome::Completed, milestone: Milestone::Latency, exposed: true, group: None, block: None,
/// # });
/// # let record = |latency_ns, times| for _ in 0..times {
/// #     recorder.writer().record(series, latency_ns);
/// # };
/// # let now = jiff::Timestamp::UNIX_EPOCH;
/// let mut freeze = ThresholdFreeze::default();
/// record(1_000_000, 500);
/// freeze.show(&mut recorder.snapshot(experiment, now)); // enough: frozen at 1 ms
/// record(900_000, 30);
/// record(5_000_000, 10);
/// let mut snapshot = recorder.snapshot(experiment, now);
/// freeze.show(&mut snapshot);
/// let counts = snapshot.attached.since_freeze.values().next().unwrap()["0.5"];
/// assert_eq!((counts.over, counts.n), (10, 40));
/// ```
///
/// Memory is bounded: at most 1,000 strata are frozen, and for each the counts of the series that it had
/// at that moment are kept.
#[derive(Clone, Debug, Default)]
pub struct ThresholdFreeze {
    /// The process whose snapshots were shown.
    instance: String,
    strata: BTreeMap<StratumKey, Frozen>,
}

/// Requests that a stratum must have before its thresholds are frozen.
const ENOUGH: u64 = 500;

/// Strata that are frozen at most.
const MOST: usize = 1_000;

/// The quantiles at which thresholds are frozen, by name.
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

/// Experiment, epoch, fingerprint and route.
type StratumKey = (String, u64, Fingerprint, String);

#[derive(Clone, Debug)]
struct Frozen {
    /// `None` where the quantile was not below infinity.
    edges: [Option<u64>; QUANTILES.len()],
    before: BTreeMap<SeriesKey, Counts>,
}

/// Requests of a series, and how many of them are slower than each threshold.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    n: u64,
    /// `None` where a bucket lies on both sides of the threshold.
    over: [Option<u64>; QUANTILES.len()],
}

impl ThresholdFreeze {
    /// Shows the next snapshot: freezes what has become ready, and attaches what came since to strata that
    /// were frozen before.
    ///
    /// The snapshot of another process starts everything anew.
    pub fn show(&mut self, snapshot: &mut Snapshot) {
        if snapshot.instance != self.instance {
            *self = Self { instance: snapshot.instance.clone(), ..Self::default() };
        }
        let experiment = &snapshot.experiment;
        let mut routes: BTreeMap<&str, Vec<(&SeriesKey, &Histogram)>> = BTreeMap::new();
        for (key, histogram) in &snapshot.series {
            if key.milestone == Milestone::Latency && !reserved::is_reserved(&key.arm) {
                routes.entry(&key.route).or_default().push((key, histogram));
            }
        }
        let mut since = BTreeMap::new();
        for (route, series) in routes {
            let stratum = (
                experiment.name.clone(),
                experiment.epoch,
                experiment.fingerprint,
                route.to_owned(),
            );
            if let Some(frozen) = self.strata.get(&stratum) {
                for (key, histogram) in series {
                    let counts = frozen.since(key, histogram);
                    if !counts.is_empty() {
                        since.insert(key.clone(), counts);
                    }
                }
            } else if self.strata.len() < MOST
                && let Some(frozen) = Frozen::try_new(&series)
            {
                self.strata.insert(stratum, frozen);
            }
        }
        snapshot.attached.since_freeze = since;
    }

    /// How many strata are frozen.
    pub fn len(&self) -> usize {
        self.strata.len()
    }

    /// Whether no stratum is frozen yet.
    pub fn is_empty(&self) -> bool {
        self.strata.is_empty()
    }
}

impl Frozen {
    /// `None` until there are enough requests.
    fn try_new(series: &[(&SeriesKey, &Histogram)]) -> Option<Self> {
        let all = series.iter().fold(0, |sum, (_, one)| u64::saturating_add(sum, one.count()));
        if all < ENOUGH {
            return None;
        }
        let mut answered: Vec<Bucket> = series
            .iter()
            .filter(|(key, _)| is_answered(key.outcome))
            .flat_map(|(_, histogram)| histogram.buckets())
            .collect();
        answered.sort_unstable_by_key(|bucket| bucket.upper);
        let edge = |quantile: f64| {
            let rank = (quantile * all as f64).ceil() as u64;
            let mut up_to = 0_u64;
            let holds = |bucket: &&Bucket| {
                up_to = up_to.saturating_add(bucket.count);
                up_to >= rank
            };
            // Requests that were not answered come behind all buckets.
            answered.iter().find(holds).map(|bucket| bucket.upper).filter(|edge| *edge < u64::MAX)
        };
        let edges = QUANTILES.map(|(_, quantile)| edge(quantile));
        let before = series.iter();
        let before =
            before.map(|(key, one)| ((*key).clone(), Counts::of(key.outcome, one, &edges)));
        Some(Self { edges, before: before.collect() })
    }

    /// What came to a series since, by quantile.
    fn since(&self, key: &SeriesKey, now: &Histogram) -> BTreeMap<String, SinceFreeze> {
        let now = Counts::of(key.outcome, now, &self.edges);
        // A series that appeared later had nothing before.
        let nothing = Counts { n: 0, over: [Some(0); QUANTILES.len()] };
        let before = self.before.get(key).copied().unwrap_or(nothing);
        let n = now.n.saturating_sub(before.n);
        let quantiles = QUANTILES.iter().zip(self.edges).zip(now.over.into_iter().zip(before.over));
        let entries = quantiles.filter_map(|(((name, _), edge), (now, before))| {
            let edge = edge?;
            // A bucket that has become wider than the threshold is exact makes the counts meaningless.
            let over = now.zip(before).map(|(now, before)| now.saturating_sub(before).min(n));
            let counts = SinceFreeze { edge: over.map(|_| edge), over: over.unwrap_or(0), n };
            (n > 0).then(|| ((*name).to_owned(), counts))
        });
        entries.collect()
    }
}

impl Counts {
    fn of(outcome: Outcome, histogram: &Histogram, edges: &[Option<u64>; QUANTILES.len()]) -> Self {
        let n = histogram.count();
        let over = edges.map(|edge| {
            let edge = edge?;
            if !is_answered(outcome) {
                return Some(n);
            }
            let mut over = histogram.buckets().into_iter().filter(|bucket| bucket.upper > edge);
            // A bucket on both sides of the edge does not tell how many of its values are over it.
            over.try_fold(0, |sum: u64, bucket| {
                (bucket.lower > edge).then(|| sum.saturating_add(bucket.count))
            })
        });
        Self { n, over }
    }
}

/// Whether the latency is that of an answer.
fn is_answered(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Completed | Outcome::ClientError | Outcome::Aborted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sums;

    fn key(arm: &str, outcome: Outcome) -> SeriesKey {
        SeriesKey {
            arm: arm.to_owned(),
            route: "GET /".to_owned(),
            size: "unknown".to_owned(),
            outcome,
            milestone: Milestone::Latency,
            exposed: true,
            group: None,
            block: None,
        }
    }

    type Series<'a> = (SeriesKey, &'a [(u64, u64, u64)]);

    fn snapshot(series: &[Series<'_>]) -> Snapshot {
        let mut snapshot = Snapshot::from_json(
            r#"{"schema": "latency-experiment/snapshot/1", "instance": "a", "experiment": "e", "epoch": 1,
                "started_at": "2026-01-01T00:00:00Z", "taken_at": "2026-01-01T00:00:00Z",
                "fingerprint": "00000000000000a1", "control": "control",
                "arms": [{"name": "control", "weight": 1}, {"name": "variation", "weight": 1}],
                "assigned": {}, "series": []}"#,
        )
        .unwrap();
        for (key, buckets) in series {
            let buckets = buckets.iter();
            let buckets =
                buckets.map(|&(lower, upper, count)| Bucket { lower, upper, count }).collect();
            let histogram = Histogram::try_new(buckets, Sums::UNKNOWN).unwrap();
            snapshot.series.insert(key.clone(), histogram);
        }
        snapshot
    }

    fn shown(freeze: &mut ThresholdFreeze, mut snapshot: Snapshot) -> Snapshot {
        freeze.show(&mut snapshot);
        // What is attached survives the file.
        assert_eq!(Snapshot::from_json(&snapshot.to_json()).unwrap(), snapshot);
        snapshot
    }

    const OK: Outcome = Outcome::Completed;

    #[test]
    fn the_first_requests_set_the_threshold_and_later_ones_are_counted() {
        let mut freeze = ThresholdFreeze::default();
        let (control, variation) = (key("control", OK), key("variation", OK));
        let few =
            snapshot(&[(control.clone(), &[(10, 19, 300)]), (variation.clone(), &[(20, 29, 199)])]);
        assert!(shown(&mut freeze, few).attached.since_freeze.is_empty());
        assert!(freeze.is_empty(), "499 are not enough");
        let enough = [
            (control.clone(), &[(10, 19, 300)][..]),
            (variation.clone(), &[(20, 29, 195)]),
            (key("variation", Outcome::Cancelled), &[(1, 1, 5)]),
        ];
        assert!(shown(&mut freeze, snapshot(&enough)).attached.since_freeze.is_empty());
        assert_eq!(freeze.len(), 1);
        let later = [
            (control.clone(), &[(10, 19, 310), (20, 29, 4)][..]),
            (variation.clone(), &[(20, 29, 200), (30, 39, 2)]),
            (key("variation", Outcome::Cancelled), &[(1, 1, 8)]),
            // A series that appears later.
            (key("control", Outcome::ServerError), &[(1, 1, 6)]),
        ];
        let attached = shown(&mut freeze, snapshot(&later)).attached.since_freeze;
        let counts = |key: &SeriesKey, quantile: &str| attached[key][quantile];
        let since = |edge, over, n| SinceFreeze { edge: Some(edge), over, n };
        assert_eq!(counts(&control, "0.5"), since(19, 4, 14));
        assert_eq!(counts(&variation, "0.5"), since(19, 7, 7));
        assert_eq!(counts(&variation, "0.99"), since(29, 2, 7));
        assert_eq!(counts(&key("variation", Outcome::Cancelled), "0.95"), since(29, 3, 3));
        assert_eq!(counts(&key("control", Outcome::ServerError), "0.5"), since(19, 6, 6));
    }

    #[test]
    fn wider_buckets_reserved_arms_and_other_processes() {
        let mut freeze = ThresholdFreeze::default();
        let control = key("control", OK);
        shown(&mut freeze, snapshot(&[(control.clone(), &[(10, 19, 600)])]));
        let wide =
            snapshot(&[(control.clone(), &[(0, 63, 700)]), (key("_outside", OK), &[(1, 1, 9)])]);
        let attached = shown(&mut freeze, wide).attached.since_freeze;
        assert_eq!(attached[&control]["0.5"], SinceFreeze { edge: None, over: 0, n: 100 });
        assert!(!attached.contains_key(&key("_outside", OK)));

        let mut restarted = snapshot(&[(control, &[(10, 19, 600)])]);
        restarted.instance = "b".to_owned();
        assert!(shown(&mut freeze, restarted).attached.since_freeze.is_empty());
        assert_eq!(freeze.len(), 1);
    }

    #[test]
    fn a_quantile_among_failures_has_no_threshold() {
        let mut freeze = ThresholdFreeze::default();
        let series = [
            (key("control", OK), &[(10, 19, 470)][..]),
            (key("control", Outcome::Failed), &[(1, 1, 30)]),
        ];
        shown(&mut freeze, snapshot(&series));
        let later = snapshot(&[(key("control", OK), &[(10, 19, 480)])]);
        let attached = shown(&mut freeze, later).attached.since_freeze;
        let names: Vec<&str> = attached[&key("control", OK)].keys().map(String::as_str).collect();
        assert_eq!(names, ["0.5"]);
    }
}
