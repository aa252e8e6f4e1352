//! Exact tests of the arm that bad requests have.

use std::collections::BTreeMap;

use latency_experiment_record::{Milestone, Outcome, SinceFreeze};
use latency_experiment_stats::{
    Alternative, BaseRate, EventCounts, LabelCounts, average_log_e, label_log_e, rate_ratio,
};

use crate::compare::{CONTROL, ERRORS, Setting};
use crate::comparison::{Interval, LabelLogE, Labels};
use crate::epochs::Epochs;
use crate::pairing::Pairing;
use crate::traffic::{Outcomes, consulted};

/// Requests beyond thresholds that were frozen before they came, by epoch, route and arm, and in these by
/// quantile.
#[derive(Default)]
pub(crate) struct Frozen<'a>(BTreeMap<(usize, &'a str, usize), BTreeMap<&'a str, SinceFreeze>>);

impl<'a> Frozen<'a> {
    pub(crate) fn new(epochs: &'a Epochs<'_>) -> Self {
        let mut frozen = Self::default();
        if epochs.snapshots.iter().all(|snapshot| snapshot.attached.since_freeze.is_empty()) {
            return frozen;
        }
        let consulted = consulted(epochs);
        for (epoch, snapshot) in epochs.snapshots.iter().enumerate() {
            for (key, quantiles) in &snapshot.attached.since_freeze {
                let counted = key.milestone == Milestone::Latency
                    && (key.exposed || !consulted.contains(key.route.as_str()));
                let arm = epochs.arms.iter().position(|name| *name == key.arm);
                let Some(arm) = arm.filter(|_| counted) else { continue };
                let cell = frozen.0.entry((epoch, key.route.as_str(), arm)).or_default();
                for (quantile, counts) in quantiles {
                    let known = cell.get(quantile.as_str()).copied();
                    let total = known.map_or(Some(*counts), |known| known.merge(*counts));
                    cell.insert(quantile, total.unwrap_or(SinceFreeze { edge: None, ..*counts }));
                }
            }
        }
        frozen
    }

    /// The counts of a comparison at each quantile's thresholds, one entry per epoch: strata with one edge
    /// in both arms add up.
    fn counts<'r>(
        &'r self,
        setting: &Setting<'_>,
        pairing: &Pairing<'r>,
    ) -> BTreeMap<&'r str, Vec<LabelCounts>> {
        let mut all: BTreeMap<&str, BTreeMap<usize, LabelCounts>> = BTreeMap::new();
        for (route, epoch) in pairing.all_strata() {
            let Some(share) = setting.share(epoch, pairing.variation) else { continue };
            let cell = |arm: usize| self.0.get(&(epoch, route, arm));
            let (Some(control), Some(variation)) = (cell(CONTROL), cell(pairing.variation)) else {
                continue;
            };
            for (quantile, a) in control {
                let Some(b) =
                    variation.get(quantile).filter(|b| a.edge.is_some() && b.edge == a.edge)
                else {
                    continue;
                };
                let sum = all.entry(quantile).or_default().entry(epoch).or_insert(LabelCounts {
                    share,
                    bad_control: 0,
                    bad_variation: 0,
                    ok_control: 0,
                    ok_variation: 0,
                });
                sum.bad_control = sum.bad_control.saturating_add(a.over);
                sum.bad_variation = sum.bad_variation.saturating_add(b.over);
                sum.ok_control = sum.ok_control.saturating_add(a.n.saturating_sub(a.over));
                sum.ok_variation = sum.ok_variation.saturating_add(b.n.saturating_sub(b.over));
            }
        }
        let by_epoch = |(quantile, epochs): (&'r str, BTreeMap<usize, LabelCounts>)| {
            (quantile, epochs.into_values().collect())
        };
        all.into_iter().map(by_epoch).collect()
    }
}

impl LabelLogE {
    fn of(counts: &[LabelCounts], base_rate: BaseRate) -> Self {
        let log_e = |alternative| label_log_e(counts, base_rate, alternative);
        Self {
            more: log_e(Alternative::Greater),
            fewer: log_e(Alternative::Less),
            two_sided: log_e(Alternative::TwoSided),
        }
    }

    fn average<'a>(all: &(impl Iterator<Item = &'a Self> + Clone)) -> Self {
        let average =
            |side: fn(&Self) -> f64| average_log_e(all.clone().map(|one| (1.0, side(one))));
        Self {
            more: average(|one| one.more),
            fewer: average(|one| one.fewer),
            two_sided: average(|one| one.two_sided),
        }
    }
}

impl Setting<'_> {
    /// The label tests of a comparison.
    pub(crate) fn labels(&self, pairing: &Pairing<'_>, frozen: &Frozen<'_>) -> Labels {
        let of = |bad: &[Outcome]| self.balance.rare_label(&self.outcome_labels(pairing, bad));
        let latency: BTreeMap<String, LabelLogE> = frozen
            .counts(self, pairing)
            .into_iter()
            .filter_map(|(quantile, counts)| {
                let rate = BaseRate::new(1.0 - quantile.parse::<f64>().ok()?).ok()?;
                Some((quantile.to_owned(), LabelLogE::of(&counts, rate)))
            })
            .collect();
        let dominance = (!latency.is_empty()).then(|| LabelLogE::average(&latency.values()));
        Labels { errors: of(&ERRORS), censored: of(&[Outcome::Cancelled]), latency, dominance }
    }

    /// The ratio of the rates of requests that ended in these outcomes, exact at every look.
    pub(crate) fn outcome_ratio(&self, pairing: &Pairing<'_>, bad: &[Outcome]) -> Option<Interval> {
        let events: Vec<EventCounts> = self
            .outcome_labels(pairing, bad)
            .iter()
            .map(|counts| EventCounts {
                share: counts.share,
                control: counts.bad_control,
                variation: counts.bad_variation,
            })
            .collect();
        let ratio = rate_ratio(&events, self.plan.trials(), self.plan.level()).ok()?;
        Some(Interval::of(&ratio))
    }

    fn outcome_labels(&self, pairing: &Pairing<'_>, bad: &[Outcome]) -> Vec<LabelCounts> {
        let sum = |epoch, arm, count: &dyn Fn(&Outcomes) -> u64| {
            pairing.sum(epoch, arm, |tally| count(&tally.outcomes))
        };
        self.label_counts(
            pairing.variation,
            |epoch, arm| sum(epoch, arm, &|outcomes| outcomes.count(bad)),
            |epoch, arm| sum(epoch, arm, &Outcomes::ended),
        )
    }
}
