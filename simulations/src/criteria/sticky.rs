//! I: users who stay in one arm.

use latency_experiment_analysis::{Plan, Segment, Verdict, analyze};
use latency_experiment_record::Snapshot;
use latency_experiment_stats::{
    Alpha, Boundary, Comparison, DesignEffect, Distribution, Error, GroupCounts, GroupedStratum,
    Quantile, Share, StickyEpoch, TunedFor, geometric_mean_effect, mean_effect, quantile_effect,
    random_groups, sticky_srm,
};

use super::false_alarms::{ROLLBACK, note_rollback};
use crate::guardrail::{FREEZE_AFTER, Guardrail};
use crate::histogram::{Arms, Recorder, UNITS};
use crate::looks;
use crate::random::Random;
use crate::row::{Figure, Limit, Row};
use crate::scale::Scale;
use crate::sessions::{GROUPS, Sessions};
use crate::table::Table;
use crate::traffic::Request;

const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];
const LOOKS: usize = 1_000;
const REQUESTS: u64 = 200_000;

/// What is asked, with the level that it promises.
const METHODS: [(&str, Option<f64>); 10] = [
    ("interval of p50, random groups", Some(0.05)),
    ("interval of p95, random groups", Some(0.05)),
    ("interval of p99, random groups", Some(0.05)),
    ("interval of mean, groups of p50", None),
    ("interval of geometric mean, groups of p50", None),
    ("sticky sample ratio at 0.001", None),
    ("interval of p50, request level", None),
    ("interval of p99, request level", None),
    ("rollback at 0.01, request level", None),
    ("rollback at 0.05, request level", None),
];

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(2_000, 150);
    let setting = "20 requests per user, 32 groups";
    let rates = runs.shares(setting, run)?;
    let mut rows: Vec<Row> = METHODS
        .iter()
        .zip(rates)
        .map(|(method, rate)| Row::error_rate(setting, *method, runs.count, rate))
        .collect();
    let refused = Figure::Fact(is_refused());
    rows.push(Row::new(
        "a sticky snapshot",
        "request-level report refused",
        1,
        refused,
        Limit::True,
    ));
    Ok(Table {
        title: "I. Sticky users",
        notes: "A/A: users send 20 requests each and stay in their arm (50 %); logarithms have a standard deviation of 0.4 \
            between users and 0.5 within one. 200,000 requests, 1,000 looks from 1,000 requests on. Random groups: shares \
            above the edge frozen after 500 requests, 32 groups, tuned for 5,000. Beside them the methods for independent \
            requests, which the report refuses to use here.",
        rows,
    })
}

/// Requests by random group, above and in all, per arm and quantile.
struct Groups {
    /// From this logarithm of milliseconds on a request is slow.
    slow_from: [f64; 3],
    counts: [[[GroupCounts; GROUPS]; 2]; 3],
}

impl Groups {
    fn freeze(arms: &Arms) -> Result<Self, Error> {
        let pooled = Distribution::merge(arms.both())?;
        let slow_from = QUANTILES.map(|quantile| {
            let edge = pooled.quantile_edges(quantile).map_or(f64::INFINITY, |edges| edges.upper);
            ((edge + 1.0) / UNITS).ln()
        });
        Ok(Self { slow_from, counts: [[[GroupCounts::default(); GROUPS]; 2]; 3] })
    }

    fn record(&mut self, request: &Request, group: usize) {
        for (counts, slow_from) in self.counts.iter_mut().zip(self.slow_from) {
            let count = &mut counts[request.arm][group];
            count.requests += 1;
            count.slow += u64::from(request.log_latency >= slow_from);
        }
    }

    fn design_effect(&self, quantile: usize) -> Result<Option<DesignEffect>, Error> {
        let [control, variation] = &self.counts[quantile];
        random_groups(&[GroupedStratum { weight: 1.0, control, variation }])
    }

    /// Whether the sample ratio is called mismatched.
    fn is_mismatched(&self) -> Result<bool, Error> {
        let [control, variation] = &self.counts[0];
        let pairs = control.iter().zip(variation);
        let groups: Vec<(u64, u64)> = pairs.map(|(a, b)| (a.requests, b.requests)).collect();
        let epoch = StickyEpoch { share: Share::HALF, groups: &groups };
        Ok(sticky_srm(&[epoch])?.is_some_and(|srm| srm.mismatch))
    }
}

fn run(random: Random) -> Result<[bool; METHODS.len()], Error> {
    let mut sessions = Sessions::new(random);
    let mut recorder = Recorder::default();
    for _ in 0..FREEZE_AFTER {
        recorder.record(&sessions.request().0);
    }
    let before = recorder.arms()?;
    let mut groups = Groups::freeze(&before)?;
    let mut guardrail = Guardrail::default();
    guardrail.freeze(0.5, before)?;
    let boundary = Boundary::ConfidenceSequence { tuned_for: TunedFor::DEFAULT };
    let mut alarms = [false; METHODS.len()];
    let mut requests = FREEZE_AFTER;
    for look in looks::spread(2 * FREEZE_AFTER, REQUESTS, LOOKS) {
        while requests < look {
            let (request, group) = sessions.request();
            recorder.record(&request);
            groups.record(&request, group);
            requests += 1;
        }
        let arms = recorder.arms()?;
        let naive = Comparison::pair(arms.control.clone(), arms.variation.clone())?;
        let misses = |comparison: &Comparison, index: usize| {
            let alpha = Alpha::DEFAULT;
            let ratio = match index {
                0..3 => quantile_effect(comparison, QUANTILES[index], boundary, alpha).ratio,
                3 => mean_effect(comparison, boundary, alpha).ratio,
                _ => geometric_mean_effect(comparison, boundary, alpha).ratio,
            };
            !ratio.contains(1.0)
        };
        for (index, alarm) in alarms.iter_mut().enumerate().take(5).filter(|(_, alarm)| !**alarm) {
            let quantile = if index < 3 { index } else { 0 };
            if let Some(effect) = groups.design_effect(quantile)? {
                *alarm = misses(&naive.clone().with_design_effect(effect), index);
            }
        }
        alarms[5] = alarms[5] || groups.is_mismatched()?;
        alarms[6] = alarms[6] || misses(&naive, 0);
        alarms[7] = alarms[7] || misses(&naive, 2);
        note_rollback(&guardrail, &[arms], &mut alarms[8..8 + ROLLBACK.len()])?;
    }
    Ok(alarms)
}

/// Whether a report on sticky subjects gives no interval, no test and no verdict.
fn is_refused() -> bool {
    let series = |arm: &str, lower: u64| {
        format!(
            r#"{{"arm": "{arm}", "route": "GET /", "size": "0-500kB", "outcome": "completed",
                "milestone": "latency", "exposed": true, "unit": "ns",
                "buckets": [[{lower}, {}, 9000]]}}"#,
            lower + 1_000
        )
    };
    let document = format!(
        r#"{{"schema": "latency-experiment/snapshot/1", "instance": "a",
            "started_at": "2026-01-01T00:00:00Z", "taken_at": "2026-01-01T01:00:00Z",
            "experiment": "sticky", "epoch": 1, "fingerprint": "00000000000000a1",
            "control": "control", "subject": "sticky",
            "arms": [{{"name": "control", "weight": 1}}, {{"name": "variation", "weight": 1}}],
            "assigned": {{"control": 9000, "variation": 9000}},
            "series": [{}, {}]}}"#,
        series("control", 8_000_000),
        series("variation", 4_000_000)
    );
    let Ok(snapshot) = Snapshot::from_json(&document) else { return false };
    let Ok(report) = analyze(&[snapshot], &Plan::default()) else { return false };
    report.comparison(&Segment::default(), "variation").is_some_and(|comparison| {
        let unbounded = |quantile: &latency_experiment_analysis::QuantileComparison| {
            quantile.p_value.is_none() && quantile.lift.upper.is_none()
        };
        comparison.verdict == Verdict::Withheld
            && comparison.e_value.is_none()
            && comparison.quantiles.iter().all(unbounded)
    })
}
