//! The experiment and the series that the tests record into.

use latency_experiment_record::*;

pub(crate) fn experiment() -> Experiment {
    Experiment {
        name: "flag".to_owned(),
        epoch: 1,
        fingerprint: Fingerprint(7),
        control: "control".to_owned(),
        arms: ["control", "variation"].map(|name| Arm { name: name.to_owned(), weight: 1 }).into(),
        subject: Subject::RequestId,
        coverage_bp: 10_000,
    }
}

pub(crate) fn key(arm: &str, route: &str) -> SeriesKey {
    SeriesKey {
        arm: arm.to_owned(),
        route: route.to_owned(),
        size: "0-500kB".to_owned(),
        outcome: Outcome::Completed,
        milestone: Milestone::Latency,
        exposed: true,
        group: None,
        block: None,
    }
}
