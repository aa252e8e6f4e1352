//! A recorder with series in it, and latencies to fill them with.

use jiff::Timestamp;
use latency_experiment_record::{
    Arm, ArmId, Experiment, ExperimentId, Fingerprint, Limits, Milestone, Outcome, Recorder,
    SeriesId, SeriesKey, Subject,
};

/// A recorder with one experiment and some series.
pub struct Tables {
    /// Records and takes snapshots.
    pub recorder: Recorder,
    /// The experiment that all series belong to.
    pub experiment: ExperimentId,
    /// One series per route.
    pub series: Vec<SeriesId>,
}

impl Tables {
    /// Tables with so many series, all of them empty.
    pub fn new(series: usize) -> Self {
        let recorder = Recorder::new(Limits::default(), Timestamp::now());
        let (experiment, _) = recorder.register(Experiment {
            name: "bench".to_owned(),
            epoch: 1,
            fingerprint: Fingerprint(1),
            control: "control".to_owned(),
            arms: vec![Arm { name: "control".to_owned(), weight: 1 }],
            subject: Subject::RequestId,
            coverage_bp: 10_000,
        });
        let series = (0..series).map(|number| {
            recorder.series_of(experiment, ArmId::arm(0), |arm| SeriesKey {
                arm: arm.to_owned(),
                route: format!("GET /route/{number}"),
                size: "0-500kB".to_owned(),
                outcome: Outcome::Completed,
                milestone: Milestone::Latency,
                exposed: true,
                group: None,
                block: None,
            })
        });
        Self { recorder, experiment, series: series.collect() }
    }

    /// Records so many latencies into each series, from the calling thread.
    pub fn fill(&self, per_series: usize, latencies: &mut LogNormal) {
        for &series in &self.series {
            let writer = self.recorder.writer();
            for _ in 0..per_series {
                writer.record(series, latencies.next_ns());
            }
        }
    }
}

/// Log-normal latencies: a median of 1 ms and a σ of 1, so that 99 in 100 lie within a factor of
/// 13 of the median to either side, and ten thousand of them spread over about eleven octaves.
pub struct LogNormal(u64);

impl LogNormal {
    /// The sequence with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next latency, in nanoseconds.
    pub fn next_ns(&mut self) -> u64 {
        // Box and Muller, 1958.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.uniform()).cos();
        (1e6 * normal.exp()) as u64
    }

    fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
