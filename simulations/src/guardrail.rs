use latency_experiment_stats::{
    Alternative, BaseRate, Error, LabelCounts, Quantile, Share, Threshold, average_log_e,
    label_log_e,
};

use crate::histogram::Arms;

/// Requests of a stratum, both arms together, after which its thresholds are frozen.
pub const FREEZE_AFTER: u64 = 500;

/// The quantiles at which requests count as slow, and the rates that their tests start from.
const SLOW: [(Quantile, BaseRate); 3] = [
    (Quantile::P50, BaseRate::P50),
    (Quantile::P95, BaseRate::P95),
    (Quantile::P99, BaseRate::P99),
];

/// The automatic rollback: the average of the label e-processes of p50, p95, p99 and failures.
///
/// All methods are those of `latency-experiment-stats`; this only freezes thresholds, and counts what came
/// after.
#[derive(Debug, Default)]
pub struct Guardrail {
    epochs: Vec<Epoch>,
}

/// One epoch from its freeze on.
#[derive(Debug)]
struct Epoch {
    share: Share,
    thresholds: [Threshold; 3],
    /// What both arms had measured at the freeze.
    before: Arms,
}

impl Guardrail {
    /// Freezes the thresholds of the next epoch at what it has measured so far.
    pub fn freeze(&mut self, share: f64, before: Arms) -> Result<(), Error> {
        let pooled = latency_experiment_stats::Distribution::merge(before.both())?;
        let [p50, p95, p99] = SLOW.map(|(quantile, _)| Threshold::at(&pooled, quantile));
        let Some(thresholds) = p50.zip(p95).zip(p99).map(|((p50, p95), p99)| [p50, p95, p99])
        else {
            return Ok(());
        };
        self.epochs.push(Epoch { share: Share::new(share)?, thresholds, before });
        Ok(())
    }

    /// Claims another share for the last epoch, as an analysis that pools epochs would.
    pub fn claim_share(&mut self, share: f64) -> Result<(), Error> {
        if let Some(epoch) = self.epochs.last_mut() {
            epoch.share = Share::new(share)?;
        }
        Ok(())
    }

    /// Whether there is no frozen epoch yet.
    pub fn is_open(&self) -> bool {
        self.epochs.is_empty()
    }

    /// ln E at this moment. `now` has the epochs in the order in which they were frozen.
    pub fn log_e<'a>(&self, now: impl IntoIterator<Item = &'a Arms>) -> f64 {
        let pairs: Vec<(&Epoch, &Arms)> = self.epochs.iter().zip(now).collect();
        let slow = (0..SLOW.len()).map(|metric| {
            let counts = pairs.iter().map(|(epoch, now)| epoch.slow_since(metric, now));
            (SLOW[metric].1, counts.collect())
        });
        let failures = pairs.iter().map(|(epoch, now)| epoch.failures_since(now)).collect();
        let metrics: Vec<(BaseRate, Vec<LabelCounts>)> =
            slow.chain([(BaseRate::P99, failures)]).collect();
        let log_e = |(rate, counts): &(BaseRate, Vec<LabelCounts>)| {
            (1.0, label_log_e(counts, *rate, Alternative::Greater))
        };
        average_log_e(metrics.iter().map(log_e))
    }
}

impl Epoch {
    fn slow_since(&self, metric: usize, now: &Arms) -> LabelCounts {
        let count =
            |arms: &Arms| self.thresholds[metric].count(self.share, &arms.control, &arms.variation);
        let (now, before) = (count(now), count(&self.before));
        LabelCounts {
            share: self.share,
            bad_control: now.bad_control - before.bad_control,
            bad_variation: now.bad_variation - before.bad_variation,
            ok_control: now.ok_control - before.ok_control,
            ok_variation: now.ok_variation - before.ok_variation,
        }
    }

    fn failures_since(&self, now: &Arms) -> LabelCounts {
        let [control, variation] = [0, 1].map(|arm| {
            let bad = now.failures[arm] - self.before.failures[arm];
            let all = now.both()[arm].count() - self.before.both()[arm].count();
            (bad, all - bad)
        });
        LabelCounts {
            share: self.share,
            bad_control: control.0,
            bad_variation: variation.0,
            ok_control: control.1,
            ok_variation: variation.1,
        }
    }
}
