//! B: a canary that is ramped up while the load drifts, without a difference.

use latency_experiment_stats::{Boundary, Comparison, Error, mann_whitney};

use super::exclusion::{FEWEST, INTERVALS, note_misses};
use super::false_alarms::{ROLLBACK, note_rollback};
use crate::guardrail::{FREEZE_AFTER, Guardrail};
use crate::histogram::{Arms, Recorder};
use crate::latency::Latency;
use crate::load::Load;
use crate::random::Random;
use crate::row::Row;
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Stream, Traffic};

/// Shares of the variation in the course of the ramp.
pub(crate) const SHARES: [f64; 4] = [0.01, 0.05, 0.25, 0.5];

/// Requests at each share.
pub(crate) const STEP: u64 = 50_000;

/// By what everything is slower at the end than at the beginning.
const DRIFT: f64 = 1.5;

const LOOKS: u64 = 1_000;

/// What an analysis that pools the epochs is asked for.
const POOLED: [&str; 4] = [
    "rollback at 0.05, pooled",
    "interval of p50, pooled",
    "interval of mean, pooled",
    "Mann-Whitney, pooled, peeking",
];

const ALL: usize = ROLLBACK.len() + INTERVALS.len() + POOLED.len();

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(2_000, 150);
    let traffic = Traffic::same(Latency::LogNormal(1.0), Load::AR1, SHARES[0]);
    let setting = format!("ramp, {}, {}", traffic.latency.name(), traffic.load.name());
    let rates = runs.shares(&setting, |random| run(traffic, random))?;
    let rollback = ROLLBACK.map(|alpha| (format!("rollback at {alpha}"), Some(alpha)));
    let intervals = INTERVALS.map(|name| (format!("interval of {name}"), Some(0.05)));
    let pooled = POOLED.map(|name| (name.to_owned(), None));
    let methods = rollback.into_iter().chain(intervals).chain(pooled);
    let row = |((method, alpha), rate): ((String, Option<f64>), f64)| {
        Row::error_rate(&setting, (&method, alpha), runs.count, rate)
    };
    let rows = methods.zip(rates).map(row).collect();
    Ok(Table {
        title: "B. False alarms in a ramp",
        notes: "A/A: 1, 5, 25 and 50 % in B for 50,000 requests each, while everything becomes slower by half; a look \
            every 200 requests. Epochs are strata, thresholds are frozen after 500 requests of each epoch. Beside them \
            the same methods on the epochs pooled into one histogram per arm.",
        rows,
    })
}

/// A ramp in the course of time.
pub(crate) struct Ramp {
    stream: Stream,
    requests: u64,
    /// Both arms, epoch by epoch; the last one is running.
    closed: Vec<Arms>,
    running: Recorder,
    guardrail: Guardrail,
}

impl Ramp {
    pub(crate) fn new(traffic: Traffic, random: Random) -> Self {
        Self {
            stream: Stream::new(traffic, random),
            requests: 0,
            closed: Vec::new(),
            running: Recorder::default(),
            guardrail: Guardrail::default(),
        }
    }

    /// Goes on to the given number of requests, and tells the epochs so far.
    pub(crate) fn advance(&mut self, to: u64) -> Result<Vec<Arms>, Error> {
        while self.requests < to {
            let epoch = (self.requests / STEP) as usize;
            let share = SHARES[epoch.min(SHARES.len() - 1)];
            if self.requests.is_multiple_of(STEP) {
                if epoch > 0 {
                    self.closed.push(std::mem::take(&mut self.running).arms()?);
                }
                self.stream.set_share(share);
            }
            let progress = self.requests as f64 / (STEP * SHARES.len() as u64) as f64;
            self.stream.set_drift(progress * DRIFT.ln());
            self.running.record(&self.stream.request());
            self.requests += 1;
            if self.requests % STEP == FREEZE_AFTER {
                self.guardrail.freeze(share, self.running.arms()?)?;
            }
        }
        Ok(self.closed.iter().cloned().chain([self.running.arms()?]).collect())
    }
}

/// The epochs as strata.
pub(crate) fn stratified(epochs: &[Arms]) -> Result<Comparison, Error> {
    Comparison::nested([epochs.iter().map(|arms| (arms.control.clone(), arms.variation.clone()))])
}

fn run(traffic: Traffic, random: Random) -> Result<[bool; ALL], Error> {
    let mut ramp = Ramp::new(traffic, random);
    let mut naive = Guardrail::default();
    naive.freeze(SHARES[0], Arms::pooled(&ramp.advance(FREEZE_AFTER)?)?)?;
    let mut alarms = [false; ALL];
    let last = STEP * SHARES.len() as u64;
    for look in (1..=LOOKS).map(|look| look * last / LOOKS).filter(|look| *look > FREEZE_AFTER) {
        let epochs = ramp.advance(look)?;
        let (rollback, rest) = alarms.split_at_mut(ROLLBACK.len());
        note_rollback(&ramp.guardrail, &epochs, rollback)?;
        let (intervals, rest) = rest.split_at_mut(INTERVALS.len());
        note_misses(&stratified(&epochs)?, Boundary::default(), 1.0, intervals);
        if rest.iter().any(|alarm| !alarm) {
            note_pooled(&mut naive, &Arms::pooled(&epochs)?, rest)?;
        }
    }
    Ok(alarms)
}

fn note_pooled(naive: &mut Guardrail, arms: &Arms, alarms: &mut [bool]) -> Result<(), Error> {
    let [control, variation] = arms.both().map(|arm| arm.count() as f64);
    if arms.fewest() < FEWEST {
        return Ok(());
    }
    naive.claim_share(variation / (control + variation))?;
    let mut rollback = [true, alarms[0]];
    note_rollback(naive, std::slice::from_ref(arms), &mut rollback)?;
    let comparison = Comparison::pair(arms.control.clone(), arms.variation.clone())?;
    // Of the intervals only those of the median and of the mean.
    let mut missed = [alarms[1], true, true, alarms[2], true];
    note_misses(&comparison, Boundary::default(), 1.0, &mut missed);
    let mann_whitney = alarms[3] || mann_whitney(&comparison).is_some_and(|t| t.p_value <= 0.05);
    alarms.copy_from_slice(&[rollback[1], missed[0], missed[3], mann_whitney]);
    Ok(())
}
