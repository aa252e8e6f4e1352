//! B: experiments without a difference, looked at a thousand times.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, Quantile, mann_whitney, quantile_effect,
};

use super::exclusion::{FEWEST, INTERVALS, note_misses};
use crate::guardrail::{FREEZE_AFTER, Guardrail};
use crate::histogram::{Arms, Recorder};
use crate::latency::Latency;
use crate::load::Load;
use crate::looks;
use crate::random::Random;
use crate::row::Row;
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Stream, Traffic};

/// Levels of the rollback: the default and one at which more is to be seen.
pub(crate) const ROLLBACK: [f64; 2] = [0.01, 0.05];

/// Tests for one planned look, which are wrong when they are asked at every look.
const NAIVE: [&str; 3] = ["Mann-Whitney", "fixed-n p50", "fixed-n p99"];

const LOOKS: usize = 1_000;
const REQUESTS: u64 = 200_000;

/// Where the outcomes of the methods stand.
const ALL: usize = ROLLBACK.len() + INTERVALS.len() + NAIVE.len();

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(2_000, 120);
    let mut rows = Vec::new();
    for latency in Latency::SHAPES {
        for load in [Load::Constant, Load::AR1] {
            for share in [0.5, 0.05] {
                let traffic = Traffic::same(latency, load, share);
                let setting = traffic.name();
                let rates = runs.shares(&setting, |random| run(traffic, random))?;
                rows.extend(methods().zip(rates).map(|((method, alpha), rate)| {
                    Row::error_rate(&setting, (&method, alpha), runs.count, rate)
                }));
            }
        }
    }
    Ok(Table {
        title: "B. False alarms under 1,000 looks",
        notes: "A/A experiments of 200,000 requests, looked at 1,000 times (log-spaced, the first at 20 requests of the \
            variation expected). A run counts when the method is wrong at any look. Rollback: the average of the label \
            e-processes of p50, p95, p99 and failures (1 % in both arms), thresholds frozen after 500 requests. \
            Intervals: confidence sequences tuned for 5,000, wrong when they exclude \"no change\". Beside them the tests \
            for one planned look at a level of 5 %, asked at every look.",
        rows,
    })
}

/// Every method with the level at which it is held to its promise.
fn methods() -> impl Iterator<Item = (String, Option<f64>)> {
    let rollback = ROLLBACK.map(|alpha| (format!("rollback at {alpha}"), Some(alpha)));
    let intervals = INTERVALS.map(|name| (format!("interval of {name}"), Some(0.05)));
    let naive = NAIVE.map(|name| (format!("{name}, peeking"), None));
    rollback.into_iter().chain(intervals).chain(naive)
}

fn run(traffic: Traffic, random: Random) -> Result<[bool; ALL], Error> {
    let mut stream = Stream::new(traffic, random);
    let mut recorder = Recorder::default();
    let mut guardrail = Guardrail::default();
    let mut alarms = [false; ALL];
    let first = (FEWEST as f64 / traffic.share).max(50.0) as u64;
    let mut requests = 0;
    for look in looks::spread(first, REQUESTS, LOOKS) {
        while requests < look {
            recorder.record(&stream.request());
            requests += 1;
            if requests == FREEZE_AFTER {
                guardrail.freeze(traffic.share, recorder.arms()?)?;
            }
        }
        let arms = recorder.arms()?;
        let (rollback, rest) = alarms.split_at_mut(ROLLBACK.len());
        note_rollback(&guardrail, std::slice::from_ref(&arms), rollback)?;
        let comparison = Comparison::pair(arms.control.clone(), arms.variation.clone())?;
        let (intervals, naive) = rest.split_at_mut(INTERVALS.len());
        note_misses(&comparison, Boundary::default(), 1.0, intervals);
        note_naive(&comparison, naive);
    }
    Ok(alarms)
}

/// Notes the levels at which the guardrail rolls back.
pub(crate) fn note_rollback(
    guardrail: &Guardrail,
    epochs: &[Arms],
    alarms: &mut [bool],
) -> Result<(), Error> {
    if guardrail.is_open() || alarms.iter().all(|alarm| *alarm) {
        return Ok(());
    }
    let log_e = guardrail.log_e(epochs);
    for (alarm, alpha) in alarms.iter_mut().zip(ROLLBACK) {
        *alarm |= log_e >= Alpha::new(alpha)?.log_threshold();
    }
    Ok(())
}

/// Notes which of the tests for one planned look reject at 5 %.
fn note_naive(comparison: &Comparison, alarms: &mut [bool]) {
    if comparison.control_count().min(comparison.variation_count()) < FEWEST {
        return;
    }
    let alpha = Alpha::DEFAULT;
    let quantile =
        |quantile| quantile_effect(comparison, quantile, Boundary::FixedN, alpha).evidence.p_value;
    let tests: [&dyn Fn() -> f64; 3] = [
        &|| mann_whitney(comparison).map_or(1.0, |test| test.p_value),
        &|| quantile(Quantile::P50),
        &|| quantile(Quantile::P99),
    ];
    for (alarm, p_value) in alarms.iter_mut().zip(tests) {
        *alarm = *alarm || p_value() <= alpha.get();
    }
}
