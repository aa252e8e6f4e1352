//! Tests of means that allow peeking, on canaries: what the variance that they use is worth.

use latency_experiment_stats::{
    Alpha, Boundary, Comparison, Error, NormalMixture, TunedFor, mean_effect, welch,
};

use super::exclusion::FEWEST;
use crate::histogram::Recorder;
use crate::latency::Latency;
use crate::load::Load;
use crate::looks;
use crate::random::Random;
use crate::row::Row;
use crate::scale::Scale;
use crate::table::Table;
use crate::traffic::{Stream, Traffic};

const METHODS: [(&str, Option<f64>); 2] =
    [("interval of mean", Some(0.05)), ("mSPRT of means", None)];

const LOOKS: usize = 500;
const REQUESTS: u64 = 200_000;

/// Simulates it.
pub(super) fn table(scale: Scale) -> Result<Table, Error> {
    let runs = scale.runs(1_000, 50);
    let mut rows = Vec::new();
    for latency in Latency::SHAPES {
        for share in [0.5, 0.05, 0.01] {
            let traffic = Traffic::same(latency, Load::Constant, share);
            let setting = traffic.name();
            let rates = runs.shares(&format!("means, {setting}"), |random| run(traffic, random))?;
            rows.extend(
                METHODS
                    .iter()
                    .zip(rates)
                    .map(|(method, rate)| Row::error_rate(&setting, *method, runs.count, rate)),
            );
        }
    }
    Ok(Table {
        title: "Means of canaries",
        notes: "A/A experiments of 200,000 requests, 500 looks. Our interval of the mean takes the larger coefficient of \
            variation of both arms; beside it the mixture sequential probability ratio test (mSPRT) on the difference \
            of the means with each arm's own variance plugged in. Both tuned for 5,000, at 5 %.",
        rows,
    })
}

fn run(traffic: Traffic, random: Random) -> Result<[bool; METHODS.len()], Error> {
    let (boundary, alpha) = (Boundary::default(), Alpha::DEFAULT);
    let mixture = NormalMixture::new(TunedFor::DEFAULT.get(), alpha)?;
    let mut stream = Stream::new(traffic, random);
    let mut recorder = Recorder::default();
    let mut alarms = [false; METHODS.len()];
    let first = (FEWEST as f64 / traffic.share).max(50.0) as u64;
    let mut requests = 0;
    for look in looks::spread(first, REQUESTS, LOOKS) {
        while requests < look {
            recorder.record(&stream.request());
            requests += 1;
        }
        let arms = recorder.arms()?;
        if arms.fewest() < FEWEST {
            continue;
        }
        let comparison = Comparison::pair(arms.control.clone(), arms.variation.clone())?;
        alarms[0] = alarms[0] || !mean_effect(&comparison, boundary, alpha).ratio.contains(1.0);
        if let Some(test) = welch(&arms.control, &arms.variation, alpha).filter(|_| !alarms[1]) {
            alarms[1] = mixture.log_e(test.t, comparison.information()) >= alpha.log_threshold();
        }
    }
    Ok(alarms)
}
