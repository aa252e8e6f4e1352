//! C: how soon the rollback finds what is bad.

use latency_experiment_stats::{Alpha, Error};

use crate::guardrail::{FREEZE_AFTER, Guardrail};
use crate::histogram::Recorder;
use crate::latency::Latency;
use crate::load::Load;
use crate::looks;
use crate::random::Random;
use crate::row::{Figure, Limit, Row, median};
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Effect, Stream, Traffic};

const ALPHA: f64 = 0.01;

/// After so many requests a run ends without having found anything.
const MOST: u64 = 300_000;

/// Simulates the criterion.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(600, 150);
    let base = Traffic::same(Latency::LogNormal(1.0), Load::Constant, 0.5);
    let slower = |times| Traffic { effect: Effect::Times(times), ..base };
    let failing = Traffic { failures: [0.01, 0.02], ..base };
    let canary = |times| Traffic { share: 0.05, ..slower(times) };
    let settings = [
        ("latency + 10 %", slower(1.1), Some(11_000.0)),
        ("latency + 50 %", slower(1.5), Some(650.0)),
        ("latency × 2", slower(2.0), Some(230.0)),
        ("failures 1 % to 2 %", failing, Some(10_600.0)),
        ("latency + 10 %, 5 % in B", canary(1.1), None),
        ("latency + 50 %, 5 % in B", canary(1.5), None),
        ("latency × 2, 5 % in B", canary(2.0), None),
    ];
    let mut rows = Vec::new();
    for (name, traffic, most) in settings {
        let found = runs.map(&format!("power, {name}"), |random| detection(traffic, random))?;
        let method = format!("rollback at {ALPHA}, median");
        let observed = Figure::Requests(median(found));
        rows.push(Row::new(name, &method, runs.count, observed, most.map(Limit::AtMost)));
    }
    Ok(Table {
        title: "C. Requests until the rollback",
        notes: "Lognormal latencies with sigma 1, 50 % in B unless said otherwise. Median number of requests of both arms, \
            counted from the freeze of the thresholds (500 requests), until the average of the four label e-processes \
            reaches 100. Failures are counted as failures only, not as slow.",
        rows,
    })
}

/// Requests after the freeze until the rollback; infinite if there is none.
fn detection(traffic: Traffic, random: Random) -> Result<f64, Error> {
    let threshold = Alpha::new(ALPHA)?.log_threshold();
    let mut stream = Stream::new(traffic, random);
    let mut recorder = Recorder::default();
    let mut advance = |recorder: &mut Recorder, by: u64| {
        for _ in 0..by {
            recorder.record(&stream.request());
        }
        recorder.arms()
    };
    let mut guardrail = Guardrail::default();
    guardrail.freeze(traffic.share, advance(&mut recorder, FREEZE_AFTER)?)?;
    let mut requests = 0;
    for look in looks::relative(1, MOST, 0.01) {
        let arms = advance(&mut recorder, look - requests)?;
        requests = look;
        if guardrail.log_e([&arms]) >= threshold {
            return Ok(look as f64);
        }
    }
    Ok(f64::INFINITY)
}
