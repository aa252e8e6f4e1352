//! Random groups of sticky subjects: how much less their requests say than independent ones.

use std::collections::{BTreeMap, BTreeSet};

use latency_experiment_record::{Histogram, SinceFreeze};
use latency_experiment_stats::{
    self as stats, Alpha, DesignEffect, Distribution, GroupCounts, GroupedStratum, NormalMixture,
    Quantile, StickyEpoch, random_groups, sticky_srm,
};

use crate::compare::CONTROL;
use crate::epochs::Epochs;
use crate::pairing::Pairing;
use crate::traffic::{ANSWERED, Counted, Outcomes, consulted, counted, latencies};

/// Fewest groups with requests: a variance estimated from fewer is too rough.
pub(crate) const FEWEST_GROUPS: usize = 16;

/// The series of sticky subjects by random group.
#[derive(Default)]
pub(crate) struct Groups<'a> {
    /// By epoch, route and arm.
    cells: BTreeMap<(usize, &'a str, usize), BTreeMap<u32, Cell<'a>>>,
    /// All requests, whether or not they consulted the flag, by epoch, arm and group.
    requests: BTreeMap<(usize, usize), BTreeMap<u32, u64>>,
    /// The same for requests that consulted the flag.
    exposed: BTreeMap<(usize, usize), BTreeMap<u32, u64>>,
    seen: BTreeSet<u32>,
    /// Whether some requests have no group.
    pub(crate) incomplete: bool,
}

/// One group in one stratum and arm.
#[derive(Default)]
struct Cell<'a> {
    answered: Vec<&'a Histogram>,
    outcomes: Outcomes,
    frozen: BTreeMap<&'a str, SinceFreeze>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(epochs: &'a Epochs<'_>) -> Self {
        let mut groups = Self::default();
        for Counted { epoch, arm, key, histogram } in latencies(epochs) {
            let Some(group) = key.group else {
                groups.incomplete = true;
                continue;
            };
            groups.seen.insert(group);
            let add = |counts: &mut BTreeMap<(usize, usize), BTreeMap<u32, u64>>| {
                let count = counts.entry((epoch, arm)).or_default().entry(group).or_default();
                *count = count.saturating_add(histogram.count());
            };
            add(&mut groups.requests);
            if key.exposed {
                add(&mut groups.exposed);
            }
        }
        for Counted { epoch, arm, key, histogram } in counted(epochs, &consulted(epochs)) {
            let Some(group) = key.group else { continue };
            let cells = groups.cells.entry((epoch, &key.route, arm)).or_default();
            let cell = cells.entry(group).or_default();
            cell.outcomes.add(key.outcome, histogram.count());
            if ANSWERED.contains(&key.outcome) {
                cell.answered.push(histogram);
            }
            let frozen = epochs.snapshots[epoch].attached.since_freeze.get(key);
            for (quantile, counts) in frozen.into_iter().flatten() {
                let known = cell.frozen.get(quantile.as_str()).copied();
                let total = known.map_or(Some(*counts), |known| known.merge(*counts));
                // Counts beyond 64 bits have no meaning left.
                let total = total.unwrap_or(SinceFreeze { edge: None, ..*counts });
                cell.frozen.insert(quantile, total);
            }
        }
        groups
    }

    /// Whether every request has a group and there are enough of them.
    pub(crate) fn suffice(&self) -> bool {
        !self.incomplete && self.seen.len() >= FEWEST_GROUPS
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.len()
    }

    /// The design effect at a quantile: of the share of requests beyond the frozen threshold or, where
    /// none was frozen, beyond the pooled quantile of each stratum.
    pub(crate) fn design_effect(
        &self,
        pairing: &Pairing<'_>,
        comparison: &stats::Comparison,
        quantile: Quantile,
    ) -> Result<Option<DesignEffect>, stats::Error> {
        let mut strata: Vec<(f64, [Vec<GroupCounts>; 2])> = Vec::new();
        for ((route, epoch), stratum) in pairing.strata().zip(comparison.strata()) {
            let arms = [CONTROL, pairing.variation].map(|arm| self.cells.get(&(epoch, route, arm)));
            let counts = match self.frozen(arms, quantile) {
                Some(frozen) => frozen,
                None => self.beyond_pooled(arms, stratum, quantile)?,
            };
            strata.push((stratum.weight, counts));
        }
        let grouped: Vec<GroupedStratum<'_>> = strata
            .iter()
            .map(|(weight, [control, variation])| GroupedStratum {
                weight: *weight,
                control,
                variation,
            })
            .collect();
        random_groups(&grouped)
    }

    /// Counts at the frozen threshold, if both arms have them at one edge.
    fn frozen(
        &self,
        arms: [Option<&BTreeMap<u32, Cell<'_>>>; 2],
        quantile: Quantile,
    ) -> Option<[Vec<GroupCounts>; 2]> {
        let name = quantile.get().to_string();
        let mut edges = BTreeSet::new();
        let counts = arms.map(|cells| {
            self.by_group(cells, |cell| {
                let frozen = cell.frozen.get(name.as_str()).copied().unwrap_or_default();
                if frozen.n > 0 {
                    edges.insert(frozen.edge);
                }
                GroupCounts { requests: frozen.n, slow: frozen.over }
            })
        });
        let one_edge = edges.len() == 1 && edges.first().is_some_and(Option::is_some);
        let counted = |arm: &Vec<GroupCounts>| arm.iter().any(|group| group.requests > 0);
        (one_edge && counts.iter().all(counted)).then_some(counts)
    }

    fn beyond_pooled(
        &self,
        arms: [Option<&BTreeMap<u32, Cell<'_>>>; 2],
        stratum: &stats::Stratum,
        quantile: Quantile,
    ) -> Result<[Vec<GroupCounts>; 2], stats::Error> {
        let pooled = Distribution::merge([&stratum.control, &stratum.variation])?;
        let edge = pooled.quantile_edges(quantile).map_or(f64::INFINITY, |edges| edges.upper);
        Ok(arms.map(|cells| {
            self.by_group(cells, |cell| {
                let buckets = cell.answered.iter().flat_map(|one| one.buckets());
                let (mut requests, mut slow) = (0_u64, 0_u64);
                for bucket in buckets {
                    requests = requests.saturating_add(bucket.count);
                    if bucket.upper as f64 > edge {
                        slow = slow.saturating_add(bucket.count);
                    }
                }
                GroupCounts { requests, slow }
            })
        }))
    }

    fn by_group(
        &self,
        cells: Option<&BTreeMap<u32, Cell<'_>>>,
        mut count: impl FnMut(&Cell<'_>) -> GroupCounts,
    ) -> Vec<GroupCounts> {
        let cell = |group: &u32| cells.and_then(|cells| cells.get(group));
        self.seen
            .iter()
            .map(|group| cell(group).map_or_else(GroupCounts::default, &mut count))
            .collect()
    }

    /// ln E against the arms having the same share of bad requests, asymptotic: the normal mixture on the
    /// difference of the shares with the variance of the groups.
    pub(crate) fn balance_log_e(
        &self,
        pairing: &Pairing<'_>,
        bad: impl Fn(&Outcomes) -> u64,
    ) -> Result<f64, stats::Error> {
        // Counts of one epoch add up over routes.
        let mut epochs: BTreeMap<usize, [BTreeMap<u32, GroupCounts>; 2]> = BTreeMap::new();
        for (route, epoch) in pairing.all_strata() {
            let sums = epochs.entry(epoch).or_default();
            for (sums, arm) in sums.iter_mut().zip([CONTROL, pairing.variation]) {
                for (group, cell) in self.cells.get(&(epoch, route, arm)).into_iter().flatten() {
                    let sum = sums.entry(*group).or_default();
                    sum.requests = sum.requests.saturating_add(cell.outcomes.ended());
                    sum.slow = sum.slow.saturating_add(bad(&cell.outcomes));
                }
            }
        }
        let (mut information, mut difference, mut independent) = (0.0, 0.0, 0.0);
        let mut strata = Vec::new();
        for sums in epochs.values() {
            let counts = sums.each_ref().map(|sums| -> Vec<GroupCounts> {
                let of = |group| sums.get(group).copied().unwrap_or_default();
                self.seen.iter().map(of).collect()
            });
            let total = |count: fn(&GroupCounts) -> u64| {
                counts
                    .each_ref()
                    .map(|arm| arm.iter().map(|group| count(group) as f64).sum::<f64>())
            };
            let ([a, b], [bad_a, bad_b]) = (total(|g| g.requests), total(|g| g.slow));
            if a > 0.0 && b > 0.0 {
                let weight = a * b / (a + b);
                let share = (bad_a + bad_b) / (a + b);
                information += weight;
                difference += weight * (bad_b / b - bad_a / a);
                independent += weight * share * (1.0 - share);
                strata.push((weight, counts));
            }
        }
        let grouped: Vec<GroupedStratum<'_>> = strata
            .iter()
            .map(|(weight, [control, variation])| GroupedStratum {
                weight: *weight,
                control,
                variation,
            })
            .collect();
        let Some(effect) = random_groups(&grouped)? else { return Ok(0.0) };
        let z = difference / (effect.get() * independent).sqrt();
        let mixture = NormalMixture::new(stats::TunedFor::DEFAULT.get(), Alpha::DEFAULT)?;
        Ok(mixture.log_e(z, information / effect.get()))
    }

    /// ln E against subjects being split as allotted, averaged over the variations; `None` where groups
    /// cannot tell.
    pub(crate) fn split_log_e(
        &self,
        epochs: &Epochs<'_>,
        exposed: bool,
    ) -> Result<Option<f64>, stats::Error> {
        let counts = if exposed { &self.exposed } else { &self.requests };
        let mut log_e = Vec::new();
        for variation in CONTROL + 1..epochs.arms.len() {
            let mut data = Vec::new();
            for epoch in 0..epochs.snapshots.len() {
                let Some(share) = epochs.share(epoch, variation) else { continue };
                let of = |arm: usize, group: &u32| {
                    counts.get(&(epoch, arm)).and_then(|groups| groups.get(group)).copied()
                };
                let groups: Vec<(u64, u64)> = self
                    .seen
                    .iter()
                    .map(|group| {
                        (of(CONTROL, group).unwrap_or(0), of(variation, group).unwrap_or(0))
                    })
                    .collect();
                data.push((share, groups));
            }
            let data: Vec<StickyEpoch<'_>> =
                data.iter().map(|(share, groups)| StickyEpoch { share: *share, groups }).collect();
            if let Some(test) = sticky_srm(&data)? {
                log_e.push((1.0, test.evidence.log_e.unwrap_or_default()));
            }
        }
        Ok((!log_e.is_empty()).then(|| stats::average_log_e(log_e)))
    }
}
