//! The reasons of a verdict in words, with figures.

use std::collections::BTreeMap;

use latency_experiment_record::{Milestone, reserved};

use crate::Plan;
use crate::analyze::{FEWEST, ROUTES_FDR};
use crate::blocks::FEWEST_PAIRS;
use crate::compare::{Setting, Subjects};
use crate::comparison::{Comparison, QuantileComparison, Verdict};
use crate::epochs::Epochs;
use crate::groups::FEWEST_GROUPS;
use crate::report::{Population, Srm};
use crate::traffic::Traffic;
use crate::verdict::{Case, Lifts};
use crate::words;

/// Why no verdict may be given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doubt {
    /// One epoch was recorded under several allocations.
    MixedFingerprints { epoch: u64, fingerprints: Vec<String> },
    /// Requests of one subject share their arm, and too few random groups say how alike they are.
    Groups { seen: usize, incomplete: bool },
    /// Blocks of time share their arm, and some requests do not say which block they are of.
    Blocks,
    /// Pairs of blocks that are not of one arm each.
    BrokenPairs { broken: usize },
    /// Whether the variation moves sizes cannot be tested.
    SizesUntested,
    /// The arms did not get the requests that their weights allot.
    Split { observed: BTreeMap<String, u64> },
    /// The arms consulted the flag unequally often.
    ExposedSplit { observed: BTreeMap<String, u64> },
    /// No request of the route consulted the flag.
    NeverConsulted,
    /// An arm has less than 20 requests.
    TooFew,
    /// Clients gave up more often in one arm.
    UnbalancedCensoring,
    /// The variation changes sizes, so that size classes of the arms hold different requests.
    SizesMoved,
}

impl Doubt {
    pub(crate) fn words(&self, comparison: &Comparison) -> String {
        match self {
            Self::MixedFingerprints { epoch, fingerprints } => format!(
                "mixed fingerprints: epoch {epoch} was recorded under {} different allocations ({})",
                fingerprints.len(),
                words::list(fingerprints)
            ),
            Self::Groups { seen: 0, .. } => {
                "sticky: requests of one subject share their arm, so request-level tests are refused, and the snapshots have no random groups to test with"
                    .to_owned()
            }
            Self::Groups { incomplete: true, .. } => {
                "sticky: requests of one subject share their arm, so request-level tests are refused, and some requests have no random group"
                    .to_owned()
            }
            Self::Groups { seen, .. } => format!(
                "sticky: requests of one subject share their arm, so request-level tests are refused, and {seen} random groups are too few: at least {FEWEST_GROUPS} are needed"
            ),
            Self::Blocks => {
                "time slices: requests of one block share their arm, so request-level tests are refused, and some requests do not say their block"
                    .to_owned()
            }
            Self::BrokenPairs { broken } => format!(
                "time slices: {} of blocks were not served by one arm each",
                words::counted(*broken as u64, "pair", "pairs")
            ),
            Self::SizesUntested => {
                "size classes: whether the variation moves sizes is not tested when requests are not the subjects"
                    .to_owned()
            }
            Self::Split { observed } => format!(
                "sample ratio mismatch: the arms did not get the requests that their weights allot, but {}",
                words::by_arm(observed)
            ),
            Self::ExposedSplit { observed } => format!(
                "sample ratio mismatch of the exposed requests: the arms did not consult the flag as often as their weights allot, but {}",
                words::by_arm(observed)
            ),
            Self::NeverConsulted => {
                "never consulted: no request of this route consulted the flag".to_owned()
            }
            Self::TooFew => format!(
                "too few: {} requests of the control and {} of the variation, at least {FEWEST} each are needed",
                words::count(comparison.n.control),
                words::count(comparison.n.variation)
            ),
            Self::UnbalancedCensoring => {
                let share = |share: Option<f64>| words::percent(share.unwrap_or_default());
                format!(
                    "unbalanced censoring: clients gave up unequally often ({} of the control's requests and {} of the variation's were cancelled), so the rest cannot be compared",
                    share(comparison.censored.control),
                    share(comparison.censored.variation)
                )
            }
            Self::SizesMoved => {
                "sizes moved: the variation changes the size of responses, so the classes of the arms hold different requests"
                    .to_owned()
            }
        }
    }
}

/// Why the verdict of a comparison that is not withheld is what it is.
pub(crate) fn reasons(
    comparison: &Comparison,
    case: &Case,
    plan: &Plan,
    compared: usize,
) -> Vec<String> {
    let mut reasons = match comparison.verdict {
        Verdict::Equivalent => vec![equivalent(comparison, plan)],
        Verdict::Undecided => undecided(comparison, case, plan, compared),
        _ => decided(comparison, case),
    };
    if comparison.segment.size.is_some() && comparison.verdict != Verdict::Undecided {
        reasons.push(
            "descriptive only: the response's size is not fixed before the arm is".to_owned(),
        );
    }
    if let Some(found) = comparison.variance_inflation.filter(|found| found.inflated) {
        reasons.push(format!(
            "clustered or time-varying effect: over {} intervals the difference between the arms varied {:.1} times as much as independent requests would, so intervals are widened by {}",
            found.intervals,
            found.factor,
            words::percent(found.factor.sqrt() - 1.0)
        ));
    }
    if comparison.dropped_share > 0.0 {
        reasons.push(format!(
            "{} of the requests could not be compared: their route and epoch has data in one arm only",
            words::percent(comparison.dropped_share)
        ));
    }
    reasons
}

/// The quantiles that are credibly different.
fn decided(comparison: &Comparison, case: &Case) -> Vec<String> {
    let minimum = case.minimum_effect;
    let pairs = comparison.quantiles.iter().zip(&case.lifts);
    pairs
        .filter_map(|(quantile, lifts)| {
            let QuantileComparison { q, lift, .. } = quantile;
            let slower = lifts.is_slower(minimum);
            if slower && lifts.answered.lower <= minimum {
                Some(by_failures(*q, lifts))
            } else if slower || lifts.is_faster(minimum) {
                Some(words::change(*q, *lift))
            } else {
                None
            }
        })
        .collect()
}

fn by_failures(q: f64, lifts: &Lifts) -> String {
    format!(
        "{} is at least {} higher when failed and cancelled requests count as slower than every answer",
        words::quantile(q),
        words::percent(lifts.with_failures.lower)
    )
}

fn equivalent(comparison: &Comparison, plan: &Plan) -> String {
    let names: Vec<String> =
        comparison.quantiles.iter().map(|quantile| words::quantile(quantile.q)).collect();
    let margin = plan.equivalence_margin().unwrap_or_default();
    format!("{} differ by less than {}", words::list(&names), words::round_percent(margin))
}

fn undecided(comparison: &Comparison, case: &Case, plan: &Plan, compared: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    let name = words::quantile(plan.primary());
    let primary = comparison.quantiles.iter().find(|quantile| quantile.q == plan.primary());
    let few = comparison.blocks.filter(|counts| counts.pairs < FEWEST_PAIRS);
    if let Some(counts) = few {
        reasons.push(format!(
            "{} of time blocks: at least {FEWEST_PAIRS} are needed before anything is claimed",
            words::counted(counts.pairs as u64, "pair", "pairs")
        ));
    } else if let Some(primary) = primary {
        let range = words::between(primary.lift);
        reasons.push(match range.as_str() {
            "anything" => format!("the requests do not bound {name} yet"),
            _ => format!("{name} is {range}"),
        });
    }
    let seen = case
        .lifts
        .iter()
        .any(|lifts| lifts.is_slower(case.minimum_effect) || lifts.is_faster(case.minimum_effect));
    if seen && !case.confirmed {
        let level = words::round_percent(ROUTES_FDR);
        reasons.push(match compared {
            1 => format!("a difference shows, but its evidence at {name}, which decides for routes, is not enough (e-BH at {level})"),
            _ => format!("a difference shows, but {compared} routes and variations are compared, and among so many its evidence at {name} is not enough (e-BH at {level})"),
        });
    }
    let hidden = comparison.quantiles.iter().zip(&case.lifts).find(|(_, lifts)| {
        lifts.answered.upper < -case.minimum_effect && !lifts.is_faster(case.minimum_effect)
    });
    if let Some((quantile, _)) = hidden {
        reasons.push(format!(
            "{} is lower among the answered requests, but not when failed and cancelled ones count as slower than every answer",
            words::quantile(quantile.q)
        ));
    }
    let change = words::round_percent(plan.planned_change());
    match comparison.requests_needed {
        Some(0) => reasons.push(format!(
            "the requests suffice to settle a {change} difference at {name}: what there is, is probably smaller"
        )),
        Some(needed) => reasons.push(format!(
            "needs about {} more requests to settle a {change} difference at {name}",
            words::about(needed)
        )),
        None => {}
    }
    reasons
}

/// Said once, when histograms had to be coarsened.
const COARSE: &str = "the histograms have buckets of different width and were reduced to the coarser ones, which widens intervals";

/// Requests that ended in no arm.
fn outside_the_experiment(epochs: &Epochs<'_>) -> u64 {
    let series = epochs.snapshots.iter().flat_map(|snapshot| &snapshot.series);
    let outside = series
        .filter(|(key, _)| reserved::is_reserved(&key.arm) && key.milestone == Milestone::Latency);
    outside.fold(0, |sum, (_, histogram)| sum.saturating_add(histogram.count()))
}

/// What concerns the whole report.
pub(crate) fn warnings(
    setting: &Setting<'_>,
    traffic: &Traffic<'_>,
    srm: &Srm,
    sizes_moved: bool,
) -> Vec<String> {
    let epochs = setting.epochs;
    let mut warnings = Vec::new();
    if epochs.arms.len() < 2 {
        warnings.push("only the control has weight: there is nothing to compare".to_owned());
    }
    if traffic.routes.is_empty() {
        let ended = outside_the_experiment(epochs);
        warnings.push(match ended {
            0 => "no request has ended yet".to_owned(),
            _ => format!(
                "all {} requests were outside the experiment: the flag is disabled, does not cover them, or was forced",
                words::count(ended)
            ),
        });
    } else if traffic.population == Population::Assigned {
        warnings
            .push("no request consulted the flag: all assigned requests are compared".to_owned());
    }
    match &setting.subjects {
        Subjects::Requests { .. } => {}
        Subjects::Sticky(groups) if groups.suffice() => warnings.push(format!(
            "sticky subjects: requests of one subject share their arm, so request-level tests are refused; intervals and the split rest on {} random groups",
            groups.count()
        )),
        Subjects::Sticky(_) => warnings.push(
            "sticky subjects without enough random groups: the split is not tested and estimates have no intervals"
                .to_owned(),
        ),
        Subjects::TimeSlices(_) => warnings.push(
            "time slices: whole blocks of time share their arm, so request-level tests are refused and the split is not tested; intervals rest on pairs of blocks"
                .to_owned(),
        ),
    }
    if setting.request_level()
        && !traffic.routes.is_empty()
        && srm.observed.values().all(|count| *count == 0)
    {
        warnings.push("no assignment was counted: the split cannot be tested".to_owned());
    }
    if sizes_moved {
        warnings.push(
            "sizes moved: the arms' responses differ in size, so comparisons by size class are withheld"
                .to_owned(),
        );
    }
    let numbers = epochs.numbers();
    if numbers.len() > 1 {
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        warnings.push(format!(
            "epochs {} are compared each for itself and combined, never pooled",
            words::list(&numbers)
        ));
    }
    let sum = |count: fn(&latency_experiment_record::Counters) -> u64| {
        epochs.snapshots.iter().fold(0_u64, |sum, s| sum.saturating_add(count(&s.counters)))
    };
    if traffic.widened {
        warnings.push(COARSE.to_owned());
    }
    let coarsened = sum(|counters| counters.coarsened);
    if coarsened > 0 {
        warnings.push(format!(
            "{} requests were recorded coarsely because the memory for histograms was spent",
            words::count(coarsened)
        ));
    }
    let overflow = sum(|counters| counters.overflow_series);
    if overflow > 0 {
        warnings.push(format!(
            "{} series share the route `_overflow` because the table of series was full",
            words::count(overflow)
        ));
    }
    warnings
}
