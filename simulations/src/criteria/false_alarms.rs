//! B: experiments without a difference, looked at a thousand times.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, NormalMixture, Quantile, TunedFor, mann_whitney,
    quantile_effect, welch,
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
pub(crate) const NAIVE: [&str; 4] = ["Welch t", "Mann-Whitney", "fixed-n p50", "fixed-n p99"];

const LOOKS: usize = 1_000;
const REQUESTS: u64 = 200_000;

/// Where the outcomes of the methods stand.
const ALL: usize = ROLLBACK.len() + INTERVALS.len() + NAIVE.len() + 1;

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
            for one planned look at a level of 5 %, asked at every look, and a sequential t test on means with plug-in \
            variance (mSPRT).",
        rows,
    })
}

/// Every method with the level at which it is held to its promise.
fn methods() -> impl Iterator<Item = (String, Option<f64>)> {
    let rollback = ROLLBACK.map(|alpha| (format!("rollback at {alpha}"), Some(alpha)));
    let intervals = INTERVALS.map(|name| (format!("interval of {name}"), Some(0.05)));
    let naive = NAIVE.map(|name| (format!("{name}, peeking"), None));
    let mixture = [("mSPRT of means".to_owned(), None)];
    rollback.into_iter().chain(intervals).chain(naive).chain(mixture)
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
        let (intervals, rest) = rest.split_at_mut(INTERVALS.len());
        note_misses(&comparison, Boundary::default(), 1.0, intervals);
        let (naive, mixture) = rest.split_at_mut(NAIVE.len());
        note_naive(&arms, &comparison, naive);
        note_mixture(&arms, &comparison, mixture)?;
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
pub(crate) fn note_naive(arms: &Arms, comparison: &Comparison, alarms: &mut [bool]) {
    if arms.fewest() < FEWEST {
        return;
    }
    let alpha = Alpha::DEFAULT;
    let quantile =
        |quantile| quantile_effect(comparison, quantile, Boundary::FixedN, alpha).evidence.p_value;
    let tests: [&dyn Fn() -> f64; 4] = [
        &|| welch(&arms.control, &arms.variation, alpha).map_or(1.0, |test| test.p_value),
        &|| mann_whitney(comparison).map_or(1.0, |test| test.p_value),
        &|| quantile(Quantile::P50),
        &|| quantile(Quantile::P99),
    ];
    for (alarm, p_value) in alarms.iter_mut().zip(tests) {
        *alarm = *alarm || p_value() <= alpha.get();
    }
}

/// Notes whether the mixture sequential probability ratio test on the difference of the means rejects, with
/// each arm's own variance plugged in, as experiment platforms have it.
fn note_mixture(arms: &Arms, comparison: &Comparison, alarms: &mut [bool]) -> Result<(), Error> {
    if arms.fewest() < FEWEST || alarms[0] {
        return Ok(());
    }
    let alpha = Alpha::DEFAULT;
    let mixture = NormalMixture::new(TunedFor::DEFAULT.get(), alpha)?;
    if let Some(test) = welch(&arms.control, &arms.variation, alpha) {
        alarms[0] = mixture.log_e(test.t, comparison.information()) >= alpha.log_threshold();
    }
    Ok(())
}
