//! Pairs of time blocks: the units of a switchback experiment.

use std::collections::{BTreeMap, BTreeSet};

use latency_experiment_record::Histogram;
use latency_experiment_stats::{
    self as stats, Alpha, BlockPair, Boundary, Quantile, Stratum, Switchback, mean_effect,
    quantile_effect, switchback, switchback_sequence,
};

use crate::compare::CONTROL;
use crate::comparison::BlockCounts;
use crate::epochs::Epochs;
use crate::layout::{Frame, Layout};
use crate::pairing::Pairing;
use crate::traffic::{ANSWERED, Counted, consulted, counted};

/// Pairs from which on something is claimed, and for which intervals are tightest.
pub(crate) const FEWEST_PAIRS: usize = 30;

/// The series of time blocks, in pairs.
pub(crate) struct Blocks<'a> {
    pairs: BTreeMap<(usize, u64), Pair<'a>>,
    frame: Frame,
    /// Whether some requests have no block.
    pub(crate) incomplete: bool,
}

/// Two consecutive blocks; the arms that each served.
#[derive(Default)]
struct Pair<'a> {
    blocks: [BTreeMap<usize, BTreeMap<&'a str, Cell<'a>>>; 2],
}

/// One route in one block and arm.
#[derive(Default)]
struct Cell<'a> {
    answered: Vec<&'a Histogram>,
    unanswered: u64,
}

/// What the figure of a block is.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    Mean,
    Quantile(Quantile),
    /// With unanswered requests as slower than every answer.
    QuantileWithFailures(Quantile),
}

/// The pairs of one comparison.
pub(crate) struct Compared<'a> {
    frame: &'a Frame,
    /// The blocks of control and variation.
    pairs: Vec<[Vec<(&'a str, &'a Cell<'a>)>; 2]>,
    pub(crate) counts: BlockCounts,
}

impl<'a> Blocks<'a> {
    pub(crate) fn try_new(epochs: &'a Epochs<'_>) -> Result<Self, stats::Error> {
        let consulted = consulted(epochs);
        let histograms = counted(epochs, &consulted).map(|one| one.histogram);
        let frame = Layout::of(histograms).frame()?;
        let mut blocks = Self { pairs: BTreeMap::new(), frame, incomplete: false };
        for Counted { epoch, arm, key, histogram } in counted(epochs, &consulted) {
            let Some(block) = key.block else {
                blocks.incomplete = true;
                continue;
            };
            let pair = blocks.pairs.entry((epoch, block / 2)).or_default();
            let routes = pair.blocks[(block % 2) as usize].entry(arm).or_default();
            let cell = routes.entry(key.route.as_str()).or_default();
            if ANSWERED.contains(&key.outcome) {
                cell.answered.push(histogram);
            } else {
                cell.unanswered = cell.unanswered.saturating_add(histogram.count());
            }
        }
        Ok(blocks)
    }

    /// The pairs in which the control and a variation have a block each.
    pub(crate) fn compared(&'a self, pairing: &Pairing<'_>) -> Compared<'a> {
        let routes: BTreeSet<&str> = pairing.all_strata().map(|(route, _)| route).collect();
        let mut pairs = Vec::new();
        let mut counts = BlockCounts { pairs: 0, incomplete: 0, broken: 0 };
        for pair in self.pairs.values() {
            let arms =
                pair.blocks.each_ref().map(|block| block.keys().copied().collect::<Vec<_>>());
            match [&arms[0][..], &arms[1][..]] {
                [[], _] | [_, []] => counts.incomplete += 1,
                [[CONTROL], [other]] | [[other], [CONTROL]] if *other == pairing.variation => {
                    let of = |arm: usize| -> Vec<(&'a str, &'a Cell<'a>)> {
                        let blocks = pair.blocks.iter().filter_map(|block| block.get(&arm));
                        let cells = blocks.flatten().map(|(route, cell)| (*route, cell));
                        cells.filter(|(route, _)| routes.contains(route)).collect()
                    };
                    pairs.push([of(CONTROL), of(pairing.variation)]);
                }
                // A pair of the control and another variation.
                [[one], [other]] if one != other => {}
                _ => counts.broken += 1,
            }
        }
        counts.pairs = pairs.len();
        Compared { frame: &self.frame, pairs, counts }
    }
}

impl Compared<'_> {
    /// Analyses a figure of the blocks: at every look, or once.
    pub(crate) fn effect(
        &self,
        figure: Figure,
        boundary: Boundary,
        alpha: Alpha,
    ) -> Result<Switchback, stats::Error> {
        let pairs = self.pairs.iter().map(|pair| self.pair(pair, figure));
        let pairs: Vec<BlockPair> =
            pairs.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        match boundary {
            Boundary::FixedN => Ok(switchback(&pairs, alpha)),
            Boundary::ConfidenceSequence { .. } => {
                switchback_sequence(&pairs, FEWEST_PAIRS as f64, alpha)
            }
        }
    }

    /// Both blocks' figure, each route with the weight of its requests in the pair; `None` when a block
    /// has none.
    fn pair(
        &self,
        [control, variation]: &[Vec<(&str, &Cell<'_>)>; 2],
        figure: Figure,
    ) -> Result<Option<BlockPair>, stats::Error> {
        let with_failures = matches!(figure, Figure::QuantileWithFailures(_));
        let latency = |cell: &Cell<'_>| {
            let answered = self.frame.distribution(&cell.answered)?;
            if with_failures { answered.with_at_infinity(cell.unanswered) } else { Ok(answered) }
        };
        let mut strata = Vec::new();
        for (route, cell) in control {
            if let Some((_, other)) = variation.iter().find(|(other, _)| other == route) {
                strata.push(Stratum::by_requests(latency(cell)?, latency(other)?));
            }
        }
        let comparison = stats::Comparison::new(strata)?;
        let (control, variation) = match figure {
            Figure::Mean => {
                let effect = mean_effect(&comparison, Boundary::FixedN, Alpha::DEFAULT);
                (effect.control, effect.variation)
            }
            Figure::Quantile(quantile) | Figure::QuantileWithFailures(quantile) => {
                let effect =
                    quantile_effect(&comparison, quantile, Boundary::FixedN, Alpha::DEFAULT);
                (effect.control, effect.variation)
            }
        };
        let figures = control.zip(variation);
        Ok(figures.and_then(|(control, variation)| BlockPair::new(control, variation).ok()))
    }
}
