//! How many requests our methods need, and others that allow peeking.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, NormalMixture, Quantile, TunedFor, brunner_munzel,
    geometric_mean_effect, quantile_effect, strict_test, welch,
};

use crate::guardrail::{FREEZE_AFTER, Guardrail};
use crate::histogram::{Arms, Recorder};
use crate::latency::Latency;
use crate::load::Load;
use crate::looks;
use crate::random::Random;
use crate::row::{Figure, Row, median};
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Effect, Stream, Traffic};

/// Methods, ours first. All at 5 %.
const METHODS: [&str; 8] = [
    "rollback",
    "p50 interval",
    "p99 interval",
    "geometric mean interval",
    "P(slower) (Brunner-Munzel)",
    "strict p50 (Howard-Ramdas)",
    "strict p99 (Howard-Ramdas)",
    "mSPRT of means",
];

/// After so many requests a run ends.
const MOST: u64 = 300_000;

/// Simulates it.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(300, 20);
    let traffic =
        |latency, effect| Traffic { effect, ..Traffic::same(latency, Load::Constant, 0.5) };
    let (lognormal, bimodal) = (Latency::LogNormal(1.0), Latency::Bimodal);
    let settings = [
        ("lognormal 1.0, + 10 %", traffic(lognormal, Effect::Times(1.1))),
        ("lognormal 1.0, + 50 %", traffic(lognormal, Effect::Times(1.5))),
        (
            "lognormal 1.0, 2 % of B three times slower",
            traffic(lognormal, Effect::Tail { share: 0.02, times: 3.0 }),
        ),
        ("bimodal, + 10 %", traffic(bimodal, Effect::Times(1.1))),
        ("bimodal, + 50 %", traffic(bimodal, Effect::Times(1.5))),
    ];
    let mut rows = Vec::new();
    for (name, traffic) in settings {
        let found = runs.map(&format!("rivals, {name}"), |random| run(traffic, random))?;
        rows.extend(METHODS.iter().enumerate().map(|(index, method)| {
            let requests = median(found.iter().map(|run| run[index]).collect());
            Row::new(name, method, runs.count, Figure::Requests(requests), None)
        }));
    }
    Ok(Table {
        title: "Requests to see a difference",
        notes: "Median number of requests of both arms, 50 % in B, until a method at 5 % sees a difference; \"never\" when most \
            runs of 300,000 requests ended without. Intervals tuned for 5,000 (20,000 requests); the strict test for \
            10,000 per arm. The rollback is one-sided and counted from the first request on, 500 of which it needs \
            for its thresholds.",
        rows,
    })
}

fn run(traffic: Traffic, random: Random) -> Result<[f64; METHODS.len()], Error> {
    let mut stream = Stream::new(traffic, random);
    let mut recorder = Recorder::default();
    let mut guardrail = Guardrail::default();
    let mut found = [f64::INFINITY; METHODS.len()];
    let mut requests = 0;
    for look in looks::relative(100, MOST, 0.02) {
        while requests < look {
            recorder.record(&stream.request());
            requests += 1;
            if requests == FREEZE_AFTER {
                guardrail.freeze(traffic.share, recorder.arms()?)?;
            }
        }
        let arms = recorder.arms()?;
        let comparison = Comparison::pair(arms.control.clone(), arms.variation.clone())?;
        for (index, found) in found.iter_mut().enumerate().filter(|(_, at)| at.is_infinite()) {
            if log_e(index, &guardrail, &arms, &comparison)? >= Alpha::DEFAULT.log_threshold() {
                *found = look as f64;
            }
        }
    }
    Ok(found)
}

fn log_e(
    method: usize,
    guardrail: &Guardrail,
    arms: &Arms,
    comparison: &Comparison,
) -> Result<f64, Error> {
    let (boundary, alpha) = (Boundary::default(), Alpha::DEFAULT);
    let per_arm = 2.0 * TunedFor::DEFAULT.get();
    let quantile = |quantile| quantile_effect(comparison, quantile, boundary, alpha).evidence;
    let log_e = match method {
        0 if guardrail.is_open() => None,
        0 => Some(guardrail.log_e([arms])),
        1 => quantile(Quantile::P50).log_e,
        2 => quantile(Quantile::P99).log_e,
        3 => geometric_mean_effect(comparison, boundary, alpha).evidence.log_e,
        4 => brunner_munzel(comparison, boundary, alpha).and_then(|test| test.evidence.log_e),
        5 => Some(strict_test(comparison, Quantile::P50, per_arm)?.log_e),
        6 => Some(strict_test(comparison, Quantile::P99, per_arm)?.log_e),
        _ => match welch(&arms.control, &arms.variation, alpha) {
            Some(test) => {
                let mixture = NormalMixture::new(TunedFor::DEFAULT.get(), alpha)?;
                Some(mixture.log_e(test.t, comparison.information()))
            }
            None => None,
        },
    };
    Ok(log_e.unwrap_or(0.0))
}
