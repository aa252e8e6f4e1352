//! The `metrics` facade.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use latency_experiment_record::{
    Bucket, Buckets, Experiment, Fingerprint, Histogram, Milestone, SeriesKey, Snapshot,
};
use metrics::{Label, Unit};

use crate::names::LATENCY_SECONDS;

/// Pushes snapshots into the recorder that is installed for the `metrics` facade, as one histogram
/// per series.
///
/// A push brings what was recorded since the push before, each bucket at its midpoint
/// (`record_many`), in seconds. Call it regularly, or before a scrape; nothing is lost in between,
/// because the counts stay in the tables. The labels are `experiment`, `epoch`, `arm`, `route`,
/// `size`, `outcome` and `exposed`.
///
/// ```
/// # use jiff::Timestamp;
/// # use latency_experiment_record::*;
/// # let recorder = Recorder::new(Limits::default(), Timestamp::now());
/// # let arms = ["control", "variation"].map(|name| Arm { name: name.to_owned(), weight: 1 }).into();
/// # let (id, _) = recorder.register(Experiment {
/// #     name: "cached_whitelist".to_owned(), epoch: 1, fingerprint: Fingerprint(0), control: "control".to_owned(),
/// #     arms, subject: Subject::RequestId, coverage_bp: 10_000,
/// # });
/// # let series = recorder.series_of(id, ArmId::arm(1), |arm| SeriesKey {
/// #     arm: arm.to_owned(), route: "GET /".to_owned(), size: "0-500kB".to_owned(), outcome: Outcome::Completed,
/// #     milestone: Milestone::Latency, exposed: true, group: None, block: None,
/// # });
/// # recorder.writer().record(series, 2_000_000);
/// # let snapshot = recorder.snapshot(id, Timestamp::now());
/// use latency_experiment_export::MetricsExporter;
/// use metrics_exporter_prometheus::PrometheusBuilder;
///
/// let prometheus = PrometheusBuilder::new().build_recorder();
/// let page = prometheus.handle();
/// metrics::with_local_recorder(&prometheus, || MetricsExporter::new().export(&snapshot));
/// assert!(page.render().contains(r#"latency_experiment_latency_seconds_count{experiment="cached_whitelist",epoch="1",arm="variation""#));
/// ```
#[derive(Default)]
pub struct MetricsExporter {
    /// By experiment and epoch: what is behind the last push.
    pushed: HashMap<Identity, BTreeMap<SeriesKey, Pushed>>,
}

type Identity = (String, u64, Fingerprint, String);

/// A series with the handle that the recorder gave for it.
struct Pushed {
    histogram: Histogram,
    handle: metrics::Histogram,
}

impl MetricsExporter {
    /// An exporter that has pushed nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pushes what this snapshot has more than the one of the same experiment, epoch and instance
    /// that was pushed before.
    ///
    /// Push the snapshots of one instance in the order in which they were taken. An older one
    /// brings nothing.
    pub fn export(&mut self, snapshot: &Snapshot) {
        let Experiment { name, epoch, fingerprint, .. } = &snapshot.experiment;
        let identity = (name.clone(), *epoch, *fingerprint, snapshot.instance.clone());
        let pushed = self.pushed.entry(identity).or_insert_with(|| {
            metrics::describe_histogram!(
                LATENCY_SECONDS,
                Unit::Seconds,
                "Call to response head built, per arm"
            );
            BTreeMap::new()
        });
        for (key, histogram) in
            snapshot.series.iter().filter(|(key, _)| key.milestone == Milestone::Latency)
        {
            if let Some(before) = pushed.get_mut(key) {
                let Ok(since) = histogram.subtract(&before.histogram) else { continue };
                push(&before.handle, since.buckets());
                before.histogram = histogram.clone();
            } else {
                let handle =
                    metrics::histogram!(LATENCY_SECONDS, labels(&snapshot.experiment, key));
                push(&handle, histogram.buckets());
                pushed.insert(key.clone(), Pushed { histogram: histogram.clone(), handle });
            }
        }
    }
}

fn push(handle: &metrics::Histogram, buckets: Buckets<'_>) {
    const NS_PER_SECOND: f64 = 1e9;
    for Bucket { lower, upper, count } in buckets {
        // The overflow bucket has no midpoint worth the name: its values are at least its lower bound.
        let midpoint = if upper == u64::MAX { lower } else { lower.midpoint(upper) };
        handle.record_many(
            midpoint as f64 / NS_PER_SECOND,
            usize::try_from(count).unwrap_or(usize::MAX),
        );
    }
}

fn labels(experiment: &Experiment, key: &SeriesKey) -> Vec<Label> {
    vec![
        Label::new("experiment", experiment.name.clone()),
        Label::new("epoch", experiment.epoch.to_string()),
        Label::new("arm", key.arm.clone()),
        Label::new("route", key.route.clone()),
        Label::new("size", key.size.clone()),
        Label::new("outcome", key.outcome.as_str()),
        Label::new("exposed", if key.exposed { "true" } else { "false" }),
    ]
}

impl fmt::Debug for MetricsExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsExporter")
            .field("experiments", &self.pushed.len())
            .finish_non_exhaustive()
    }
}
