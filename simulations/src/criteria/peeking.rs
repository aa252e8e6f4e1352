//! What looking more often does to tests for one look, and to ours.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, Quantile, mann_whitney, mean_effect, quantile_effect, welch,
};

use crate::guardrail::{FREEZE_AFTER, Guardrail};
use crate::histogram::Recorder;
use crate::latency::Latency;
use crate::load::Load;
use crate::random::Random;
use crate::row::Row;
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Stream, Traffic};

/// How often an experiment is looked at, at even distances, the last time at its end.
pub(crate) const LOOKS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// Four tests for one look, then three methods for every look.
pub(crate) const METHODS: [(&str, Option<f64>); 7] = [
    ("Welch t", None),
    ("Mann-Whitney", None),
    ("fixed-n p50", None),
    ("fixed-n p99", None),
    ("confidence sequence of p50", Some(0.05)),
    ("confidence sequence of the mean", Some(0.05)),
    ("rollback at 0.05", Some(0.05)),
];

const REQUESTS: u64 = 100_000;
const MOST: u64 = LOOKS[LOOKS.len() - 1];

/// How a number of looks is called in the table.
pub(crate) fn setting(looks: u64) -> String {
    format!("{} looks", crate::row::grouped(looks as f64))
}

/// Simulates it.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(2_000, 100);
    let alarms = runs.map("peeking", run)?;
    let mut rows = Vec::new();
    for (position, looks) in LOOKS.into_iter().enumerate() {
        for (index, method) in METHODS.into_iter().enumerate() {
            let wrong = alarms.iter().filter(|run| run[index][position]).count();
            let rate = wrong as f64 / runs.count as f64;
            rows.push(Row::error_rate(&setting(looks), method, runs.count, rate));
        }
    }
    Ok(Table {
        title: "Peeking",
        notes: "A/A experiments of 100,000 requests, lognormal with sigma 1, 50 % in B, looked at at even distances. Share \
            of the runs in which a method at 5 % sees a difference at any look.",
        rows,
    })
}

type Alarms = [[bool; LOOKS.len()]; METHODS.len()];

fn run(random: Random) -> Result<Alarms, Error> {
    let traffic = Traffic::same(Latency::LogNormal(1.0), Load::Constant, 0.5);
    let mut stream = Stream::new(traffic, random);
    let mut recorder = Recorder::default();
    let mut guardrail = Guardrail::default();
    let mut alarms = Alarms::default();
    let alpha = Alpha::DEFAULT;
    for look in 1..=MOST {
        for request in 1..=REQUESTS / MOST {
            recorder.record(&stream.request());
            if (look - 1) * (REQUESTS / MOST) + request == FREEZE_AFTER {
                guardrail.freeze(traffic.share, recorder.arms()?)?;
            }
        }
        let arms = recorder.arms()?;
        let comparison = Comparison::pair(arms.control.clone(), arms.variation.clone())?;
        let quantile =
            |quantile, boundary| quantile_effect(&comparison, quantile, boundary, alpha).evidence;
        let tests: [&dyn Fn() -> bool; METHODS.len()] = [
            &|| is_below(welch(&arms.control, &arms.variation, alpha).map(|test| test.p_value)),
            &|| is_below(mann_whitney(&comparison).map(|test| test.p_value)),
            &|| is_below(Some(quantile(Quantile::P50, Boundary::FixedN).p_value)),
            &|| is_below(Some(quantile(Quantile::P99, Boundary::FixedN).p_value)),
            &|| is_below(Some(quantile(Quantile::P50, Boundary::default()).p_value)),
            &|| {
                let effect = mean_effect(&comparison, Boundary::default(), alpha);
                is_below(Some(effect.evidence.p_value))
            },
            &|| !guardrail.is_open() && guardrail.log_e([&arms]) >= alpha.log_threshold(),
        ];
        let taken = LOOKS.map(|looks| look.is_multiple_of(MOST / looks));
        for (alarms, test) in alarms.iter_mut().zip(tests) {
            // A test whose outcome can no longer change anything is not made.
            if alarms.iter().zip(taken).any(|(alarm, taken)| taken && !alarm) && test() {
                alarms.iter_mut().zip(taken).for_each(|(alarm, taken)| *alarm |= taken);
            }
        }
    }
    Ok(alarms)
}

fn is_below(p_value: Option<f64>) -> bool {
    p_value.is_some_and(|p_value| p_value <= Alpha::DEFAULT.get())
}
