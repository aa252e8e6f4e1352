//! Whether the arms are alike in what the flag should not change: who gives up, and sizes.

use latency_experiment_record::Outcome;
use latency_experiment_stats::{
    self as stats, Alternative, BaseRate, LabelCounts, LabelTest, Share, average_log_e,
};

use crate::compare::{CONTROL, Setting, Subjects};
use crate::comparison::LabelLogE;
use crate::pairing::Pairing;
use crate::traffic::Answered;

/// Outcomes of requests that the client or a timeout ended.
pub(crate) const CENSORED: [Outcome; 2] = [Outcome::Cancelled, Outcome::Aborted];

/// The tests of balance, with their logarithms taken for all shares of the experiment.
pub(crate) struct Balance {
    /// For labels that are common, less common and rare, two-sided.
    tests: [LabelTest; 3],
    /// For rare labels: more of them, and fewer.
    sides: [LabelTest; 2],
}

impl Balance {
    pub(crate) fn new(shares: &[Share]) -> Self {
        let rates = [BaseRate::P50, BaseRate::P95, BaseRate::P99];
        let tests =
            rates.map(|rate| LabelTest::new(shares.iter().copied(), rate, Alternative::TwoSided));
        let sides = [Alternative::Greater, Alternative::Less];
        let sides = sides.map(|side| LabelTest::new(shares.iter().copied(), BaseRate::P99, side));
        Self { tests, sides }
    }

    /// All tests of a rare label.
    pub(crate) fn rare_label(&self, counts: &[LabelCounts]) -> LabelLogE {
        let [more, fewer] = self.sides.each_ref().map(|test| test.log_e(counts));
        LabelLogE { more, fewer, two_sided: self.rare().log_e(counts) }
    }

    fn rare(&self) -> &LabelTest {
        let [.., rare] = &self.tests;
        rare
    }
}

impl Setting<'_> {
    /// ln E against the arms having the same share of cancelled and aborted requests.
    pub(crate) fn censoring_log_e(&self, pairing: &Pairing<'_>) -> Result<f64, stats::Error> {
        if let Subjects::Sticky(groups) = &self.subjects {
            return groups.balance_log_e(pairing, |outcomes| outcomes.count(&CENSORED));
        }
        let counts = self.label_counts(
            pairing.variation,
            |epoch, arm| pairing.sum(epoch, arm, |tally| tally.outcomes.count(&CENSORED)),
            |epoch, arm| pairing.sum(epoch, arm, |tally| tally.outcomes.ended()),
        );
        Ok(self.balance.rare().log_e(&counts))
    }

    /// ln E against the arms having the same sizes: the average over the classes of the e-values for
    /// "the response is of this class".
    pub(crate) fn sizes_log_e(&self, classes: &[Answered], variation: usize) -> f64 {
        let [first, others @ ..] = classes else { return 0.0 };
        if others.is_empty() {
            return 0.0;
        }
        let mut all = first.clone();
        for class in others {
            all.add(class);
        }
        let log_e: Vec<(f64, f64)> = classes
            .iter()
            .map(|class| {
                let counts = self.label_counts(
                    variation,
                    |epoch, arm| class.get(epoch, arm),
                    |epoch, arm| all.get(epoch, arm),
                );
                // A class may be common or rare: one base rate would be blind to the other kind.
                let log_e = self.balance.tests.each_ref().map(|test| (1.0, test.log_e(&counts)));
                (1.0, average_log_e(log_e))
            })
            .collect();
        average_log_e(log_e)
    }

    /// Bad and other requests of both arms in the epochs in which both have weight. None when
    /// requests are not the subjects: labels would not be independent.
    pub(crate) fn label_counts(
        &self,
        variation: usize,
        bad: impl Fn(usize, usize) -> u64,
        all: impl Fn(usize, usize) -> u64,
    ) -> Vec<LabelCounts> {
        let epochs = if self.request_level() { self.epochs.snapshots.len() } else { 0 };
        (0..epochs)
            .filter_map(|epoch| {
                let ok = |arm| all(epoch, arm).saturating_sub(bad(epoch, arm));
                Some(LabelCounts {
                    share: self.share(epoch, variation)?,
                    bad_control: bad(epoch, CONTROL),
                    bad_variation: bad(epoch, variation),
                    ok_control: ok(CONTROL),
                    ok_variation: ok(variation),
                })
            })
            .collect()
    }
}
