//! From snapshots to a report.

use std::collections::BTreeMap;
use std::rc::Rc;

use latency_experiment_record::Snapshot;
use latency_experiment_stats::{self as stats, Alpha, benjamini_hochberg, e_bh};

use crate::compare::{Depth, Figures, Setting, Subjects};
use crate::comparison::{Comparison, Segment, Verdict};
use crate::epochs::Epochs;
use crate::one_arm::OneArm;
use crate::pairing::Pairing;
use crate::reasons::{self, Doubt};
use crate::report::{Population, Report, SCHEMA, Srm};
use crate::split::split;
use crate::traffic::{Answered, Recorded, Route, Tallies, Traffic};
use crate::verdict::{Case, decide};
use crate::{Error, Plan};

/// Fewest requests per arm for a verdict.
pub(crate) const FEWEST: u64 = 20;

/// ln of the e-value from which a check of the arms' balance has failed.
const UNBALANCED: f64 = 4.605_170_185_988_091; // ln 100

/// False discovery rate over routes and variations.
pub(crate) const ROUTES_FDR: f64 = 0.1;

/// What the snapshots of one experiment say.
///
/// Snapshots of equal epochs, such as those of several instances, are merged; different epochs are
/// compared each for itself and combined with weights, never pooled. The result does not depend on
/// the order of the snapshots.
///
/// Fails without snapshots; on snapshots of different experiments or controls; where
/// [`Snapshot::merge`] does, such as on requests counted twice; and on more than 2⁶³ requests in one
/// arm. Too little data, a broken split or any other reason not to judge is no error: the report
/// says it in words.
///
/// ```
/// use latency_experiment_analysis::{Plan, Verdict, analyze};
/// # use latency_experiment_record::*;
/// # let now = jiff::Timestamp::UNIX_EPOCH;
/// # let recorder = Recorder::new(Limits::default(), now);
/// # let (experiment, _) = recorder.register(Experiment {
/// #     name: "cached_whitelist".to_owned(),
/// #     epoch: 1,
/// #     fingerprint: Fingerprint(1),
/// #     control: "control".to_owned(),
/// #     arms: ["control", "variation"].map(|name| Arm { name: name.to_owned(), weight: 1 }).into(),
/// #     subject: Subject::RequestId,
/// #     coverage_bp: 10_000,
/// # });
/// // A recorder without any request so far: a report is still produced.
/// let snapshot = recorder.snapshot(experiment, now);
/// let report = analyze(&[snapshot], &Plan::default())?;
/// let overall = report.overall().next().unwrap();
/// assert_eq!(overall.verdict, Verdict::Withheld);
/// assert_eq!(
///     overall.reasons,
///     ["too few: 0 requests of the control and 0 of the variation, at least 20 each are needed"],
/// );
/// # Ok::<(), latency_experiment_analysis::Error>(())
/// ```
pub fn analyze(snapshots: &[Snapshot], plan: &Plan) -> Result<Report, Error> {
    let epochs = Epochs::try_new(snapshots)?;
    let traffic = Traffic::try_new(&epochs)?;
    Ok(report(&epochs, traffic, plan)?)
}

fn report(epochs: &Epochs<'_>, traffic: Traffic<'_>, plan: &Plan) -> Result<Report, stats::Error> {
    let setting = Setting::try_new(plan, epochs)?;
    let srm = split(&setting)?;
    let doubts = general_doubts(&setting, &srm);
    let population = traffic.population;

    let moved = sizes_moved(&setting, &traffic);
    let warnings = reasons::warnings(&setting, &traffic, &srm, moved.values().any(|moved| *moved));
    let comparisons = compare(&setting, traffic, &moved)?.judge(&doubts);

    let latest = epochs.latest();
    let times = epochs.snapshots.iter();
    Ok(Report {
        schema: SCHEMA.to_owned(),
        experiment: latest.experiment.name.clone(),
        epoch: latest.experiment.epoch,
        epochs: epochs.numbers(),
        control: latest.experiment.control.clone(),
        alpha: plan.alpha(),
        primary: plan.primary(),
        tuned_for: setting.tuned_for(),
        minimum_effect: plan.minimum_effect(),
        equivalence_margin: plan.equivalence_margin(),
        fixed_n: plan.fixed_n(),
        started_at: times.clone().map(|s| s.started_at).min().unwrap_or(latest.started_at),
        taken_at: times.map(|s| s.taken_at).max().unwrap_or(latest.taken_at),
        population,
        warnings,
        srm,
        comparisons,
    })
}

/// What forbids every verdict of the report.
fn general_doubts(setting: &Setting<'_>, srm: &Srm) -> Vec<Doubt> {
    let mut doubts: Vec<Doubt> = setting
        .epochs
        .mixed_fingerprints()
        .into_iter()
        .map(|(epoch, fingerprints)| Doubt::MixedFingerprints { epoch, fingerprints })
        .collect();
    match &setting.subjects {
        Subjects::Sticky(groups) if !groups.suffice() => {
            doubts.push(Doubt::Groups { seen: groups.count(), incomplete: groups.incomplete });
        }
        Subjects::TimeSlices(blocks) if blocks.incomplete => doubts.push(Doubt::Blocks),
        _ => {}
    }
    if srm.mismatch {
        doubts.push(Doubt::Split { observed: srm.observed.clone() });
    }
    if let Some(exposed) = srm.exposed.as_ref().filter(|exposed| exposed.mismatch) {
        doubts.push(Doubt::ExposedSplit { observed: exposed.observed.clone() });
    }
    doubts
}

/// A comparison before its verdict.
struct Row {
    segment: Segment,
    variation: usize,
    population: Population,
    figures: Figures,
    doubts: Vec<Doubt>,
}

/// All comparisons, in the order of the report.
fn compare<'a>(
    setting: &'a Setting<'a>,
    traffic: Traffic<'_>,
    moved: &'a BTreeMap<usize, bool>,
) -> Result<Rows<'a>, stats::Error> {
    let Traffic { population, routes, grid, .. } = traffic;
    let segments = 1 + routes.iter().map(Recorded::segments).sum::<usize>();
    let all = Vec::with_capacity(segments * setting.variations().len());
    let mut rows = Rows { setting, population, moved, all, control: None };
    let mut analysed = Vec::new();
    for route in routes {
        let route = route.tally()?;
        rows.route(&route)?;
        if route.population == population {
            analysed.push((route.name, route.total.moved_to(&grid)?));
        }
    }
    rows.overall(&analysed)?;
    Ok(rows)
}

/// By variation, whether the sizes of all responses together differ between the arms.
fn sizes_moved(setting: &Setting<'_>, traffic: &Traffic<'_>) -> BTreeMap<usize, bool> {
    let mut classes: BTreeMap<&str, Answered> = BTreeMap::new();
    for (size, answered) in traffic.analysed().flat_map(Recorded::answered) {
        classes.entry(size).and_modify(|class| class.add(&answered)).or_insert(answered);
    }
    let classes: Vec<Answered> = classes.into_values().collect();
    let moved = |variation| setting.sizes_log_e(&classes, variation) >= UNBALANCED;
    setting.variations().map(|variation| (variation, moved(variation))).collect()
}

/// The comparisons in the order of the report.
struct Rows<'a> {
    setting: &'a Setting<'a>,
    /// Of the report.
    population: Population,
    /// By variation, whether the sizes of all responses together differ between the arms.
    moved: &'a BTreeMap<usize, bool>,
    all: Vec<Row>,
    /// That of the last row: variations of one segment usually share it.
    control: Option<Rc<OneArm>>,
}

impl Rows<'_> {
    /// Adds what is compared last and stands first: the routes together.
    fn overall(&mut self, routes: &[(&str, Tallies)]) -> Result<(), stats::Error> {
        for variation in self.setting.variations() {
            let segments = routes.iter().map(|(name, total)| (*name, total)).collect();
            let pairing = Pairing { segments, variation };
            self.add(Segment::overall(), &pairing, self.population, Vec::new())?;
        }
        self.all.rotate_right(self.setting.variations().len());
        Ok(())
    }

    fn route(&mut self, route: &Route<'_>) -> Result<(), stats::Error> {
        let Route { name, population, total, sizes } = route;
        let consulted = *population == self.population;
        let doubts = if consulted { Vec::new() } else { vec![Doubt::NeverConsulted] };
        for variation in self.setting.variations() {
            let pairing = Pairing { segments: vec![(*name, total)], variation };
            self.add(Segment::route(*name), &pairing, *population, doubts.clone())?;
        }
        let classes: Vec<Answered> = sizes.iter().map(|(_, tallies)| tallies.answered()).collect();
        let moved = self.setting.variations().map(|variation| {
            let here = || self.setting.sizes_log_e(&classes, variation) >= UNBALANCED;
            (variation, self.moved[&variation] || here())
        });
        let moved: Vec<(usize, bool)> = moved.collect();
        for (size, tallies) in sizes {
            for (variation, moved) in &moved {
                let mut doubts = doubts.clone();
                if *moved {
                    doubts.push(Doubt::SizesMoved);
                } else if !self.setting.request_level() {
                    doubts.push(Doubt::SizesUntested);
                }
                let pairing = Pairing { segments: vec![(*name, tallies)], variation: *variation };
                self.add(Segment::size(*name, *size), &pairing, *population, doubts)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        segment: Segment,
        pairing: &Pairing<'_>,
        population: Population,
        mut doubts: Vec<Doubt>,
    ) -> Result<(), stats::Error> {
        let depth = match &segment {
            all if all.is_overall() => Depth::Overall,
            route if route.is_route() => Depth::Route,
            _ => Depth::Size,
        };
        let figures = self.setting.figures(pairing, depth, &mut self.control)?;
        if figures.n.control.min(figures.n.variation) < FEWEST {
            doubts.push(Doubt::TooFew);
        }
        // A split that is off looks unbalanced in everything, also in what nobody did.
        if figures.censoring_log_e >= UNBALANCED && figures.gave_up {
            doubts.push(Doubt::UnbalancedCensoring);
        }
        if let Some(counts) = figures.more.blocks.filter(|counts| counts.broken > 0) {
            doubts.push(Doubt::BrokenPairs { broken: counts.broken });
        }
        let variation = pairing.variation;
        self.all.push(Row { segment, variation, population, figures, doubts });
        Ok(())
    }

    /// The comparisons with their verdicts.
    fn judge(mut self, general: &[Doubt]) -> Vec<Comparison> {
        self.adjust();
        let confirmed = self.confirmed_routes();
        let compared = confirmed.iter().flatten().count();
        self.all
            .into_iter()
            .zip(confirmed)
            .map(|(mut row, confirmed)| {
                row.doubts.splice(0..0, general.iter().cloned());
                row.judge(self.setting, confirmed, compared)
            })
            .collect()
    }

    /// Adjusts the fixed-n p-values of the routes for their number.
    fn adjust(&mut self) {
        let routes = |row: &&mut Row| row.segment.is_route();
        let tests = |row: &Row| row.figures.mann_whitney.map(|test| test.p_value);
        let p_values: Vec<f64> =
            self.all.iter().filter(|row| row.segment.is_route()).filter_map(tests).collect();
        let mut adjusted = benjamini_hochberg(&p_values).into_iter();
        for row in self.all.iter_mut().filter(routes) {
            let own = tests(row).and_then(|_| adjusted.next());
            if let Some(fixed_n) = &mut row.figures.more.fixed_n {
                fixed_n.adjusted_p_value = own;
            }
        }
    }

    /// For each route that consulted the flag, whether e-BH over routes and variations rejects it;
    /// `None` for the other rows, which are not among the hypotheses.
    fn confirmed_routes(&self) -> Vec<Option<bool>> {
        let hypothesis =
            |row: &Row| row.segment.is_route() && !row.doubts.contains(&Doubt::NeverConsulted);
        let hypotheses = self.all.iter().filter(|row| hypothesis(row));
        // No test is no evidence.
        let log_e: Vec<f64> = hypotheses.map(|row| row.figures.log_e.unwrap_or_default()).collect();
        let fdr = Alpha::new(ROUTES_FDR).expect("the rate is strictly between 0 and 1");
        let mut rejected = e_bh(&log_e, fdr).into_iter();
        self.all.iter().map(|row| if hypothesis(row) { rejected.next() } else { None }).collect()
    }
}

impl Row {
    fn judge(self, setting: &Setting<'_>, confirmed: Option<bool>, compared: usize) -> Comparison {
        let Self { segment, variation, population, figures, doubts } = self;
        let plan = setting.plan;
        let case = Case {
            withheld: !doubts.is_empty(),
            lifts: figures.lifts,
            minimum_effect: plan.minimum_effect(),
            equivalence_margin: plan.equivalence_margin(),
            confirmed: confirmed.unwrap_or(true),
        };
        let verdict = decide(&case);
        let rejected = match confirmed {
            _ if case.withheld => false,
            Some(rejected) => rejected,
            None => segment.is_overall() && figures.primary_rejected,
        };
        let undecided = verdict == Verdict::Undecided;
        let mut comparison = Comparison {
            segment,
            variation: setting.epochs.arms[variation].clone(),
            requests_needed: figures.requests_needed.filter(|_| undecided),
            e_value: figures.log_e.map(|log_e| log_e.exp().min(f64::MAX)),
            n: figures.n,
            quantiles: figures.quantiles,
            mean: figures.mean,
            mann_whitney: figures.mann_whitney,
            errors: figures.errors,
            censored: figures.censored,
            common_ratio: figures.common_ratio,
            geometric_mean: figures.more.geometric_mean,
            probability_slower: figures.more.probability_slower,
            errors_ratio: figures.more.errors_ratio,
            censored_ratio: figures.more.censored_ratio,
            labels: figures.more.labels,
            variance_inflation: figures.more.variance_inflation,
            blocks: figures.more.blocks,
            hodges_lehmann: figures.more.hodges_lehmann,
            fixed_n: figures.more.fixed_n,
            population,
            dropped_share: figures.dropped_share,
            information: figures.information,
            rejected,
            verdict,
            reasons: Vec::new(),
        };
        comparison.reasons = if case.withheld {
            doubts.iter().map(|doubt| doubt.words(&comparison)).collect()
        } else {
            reasons::reasons(&comparison, &case, plan, compared)
        };
        comparison
    }
}
