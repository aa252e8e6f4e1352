//! Seeded traffic, recorded with the real recorder.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use latency_experiment_analysis::{Comparison, Plan, Report, Segment, analyze};
use latency_experiment_record::{
    Arm, ArmId, AssignedCounters, Experiment, ExperimentId, Fingerprint, Limits, Milestone,
    Outcome, Recorder, SeriesId, SeriesKey, Snapshot, Subject,
};

pub(crate) const ROUTE: &str = "GET /api/v1/categories";

/// A small generator (`SplitMix64`), because tests need the same numbers everywhere and for ever.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In 0..1.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A lognormal latency with this median, in nanoseconds.
    pub(crate) fn latency(&mut self, median_ns: f64, sigma: f64) -> u64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.uniform()).cos();
        (median_ns * (sigma * normal).exp()) as u64
    }
}

/// One instance of a service in one epoch.
pub(crate) struct Service {
    recorder: Recorder,
    experiment: ExperimentId,
    counters: AssignedCounters,
    arms: Vec<String>,
    series: BTreeMap<SeriesKey, SeriesId>,
}

impl Service {
    /// Two arms of equal weight, first epoch.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Experiment)) -> Self {
        let mut experiment = Experiment {
            name: "cached_whitelist".to_owned(),
            epoch: 1,
            fingerprint: Fingerprint(1),
            control: "control".to_owned(),
            arms: arms(&[("control", 1), ("variation", 1)]),
            subject: Subject::RequestId,
            coverage_bp: 10_000,
        };
        change(&mut experiment);
        let arms = experiment.arms.iter().map(|arm| arm.name.clone()).collect();
        let recorder = Recorder::new(Limits::default(), Timestamp::UNIX_EPOCH);
        let (experiment, counters) = recorder.register(experiment);
        Self { recorder, experiment, counters, arms, series: BTreeMap::new() }
    }

    /// Records a request that completed with a small response and consulted the flag.
    pub(crate) fn request(&mut self, arm: usize, route: &str, latency_ns: u64) {
        self.ended(arm, route, Outcome::Completed, latency_ns);
    }

    pub(crate) fn ended(&mut self, arm: usize, route: &str, outcome: Outcome, latency_ns: u64) {
        self.record(arm, latency_ns, |key| {
            route.clone_into(&mut key.route);
            key.outcome = outcome;
        });
    }

    /// Records a request whose series differs from the usual one.
    pub(crate) fn record(
        &mut self,
        arm: usize,
        latency_ns: u64,
        change: impl FnOnce(&mut SeriesKey),
    ) {
        let mut key = SeriesKey {
            arm: self.arms[arm].clone(),
            route: ROUTE.to_owned(),
            size: "0-500kB".to_owned(),
            outcome: Outcome::Completed,
            milestone: Milestone::Latency,
            exposed: true,
            group: None,
            block: None,
        };
        change(&mut key);
        let (recorder, experiment) = (self.recorder, self.experiment);
        let series =
            *self.series.entry(key.clone()).or_insert_with(|| recorder.series(experiment, key));
        let writer = recorder.writer();
        writer.assigned(self.counters, ArmId::arm(arm as u8));
        writer.record(series, latency_ns);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.recorder.snapshot(self.experiment, Timestamp::from_second(60).unwrap())
    }
}

pub(crate) fn arms(arms: &[(&str, u32)]) -> Vec<Arm> {
    arms.iter().map(|(name, weight)| Arm { name: (*name).to_owned(), weight: *weight }).collect()
}

/// Two arms on one route with lognormal latencies of these medians, in milliseconds.
pub(crate) fn two_arms(seed: u64, requests: u64, control_ms: f64, variation_ms: f64) -> Snapshot {
    let mut service = Service::new();
    let mut random = Seeded::new(seed);
    for _ in 0..requests {
        let arm = (random.next() % 2) as usize;
        let median = [control_ms, variation_ms][arm] * 1e6;
        service.request(arm, ROUTE, random.latency(median, 0.5));
    }
    service.snapshot()
}

pub(crate) fn report(snapshots: &[Snapshot]) -> Report {
    analyze(snapshots, &Plan::default()).unwrap()
}

pub(crate) fn overall(report: &Report) -> &Comparison {
    report.overall().next().expect("there is an overall comparison")
}

pub(crate) fn route<'a>(report: &'a Report, route: &str) -> &'a Comparison {
    report.comparison(&Segment::route(route), "variation").expect("the route is in the report")
}

/// Whether some reason contains the text.
pub(crate) fn says(comparison: &Comparison, text: &str) -> bool {
    comparison.reasons.iter().any(|reason| reason.contains(text))
}
