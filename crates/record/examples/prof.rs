use jiff::Timestamp;
use latency_experiment_record::*;
use std::time::Instant;
struct L(u64);
impl L {
    fn next_ns(&mut self) -> u64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.uniform()).cos();
        (1e6 * normal.exp()) as u64
    }
    fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
fn main() {
    let n: usize = std::env::args().nth(1).map_or(1000, |a| a.parse().unwrap());
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
    let series: Vec<_> = (0..n)
        .map(|number| {
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
        })
        .collect();
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let series = &series;
            scope.spawn(move || {
                let mut l = L(seed);
                for &s in series {
                    recorder.write(|w| {
                        for _ in 0..1000 {
                            w.record(s, l.next_ns())
                        }
                    });
                }
            });
        }
    });
    let mut l = L(1);
    let hdrs: Vec<_> = (0..n)
        .map(|_| {
            let mut h = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2).unwrap();
            for _ in 0..1000 {
                h.saturating_record(l.next_ns());
            }
            h
        })
        .collect();
    for mode in ["drop", "keep"] {
        let (mut best, mut bestd, mut besta) = (f64::MAX, f64::MAX, f64::MAX);
        let mut kept = vec![];
        for _ in 0..60 {
            let t = Instant::now();
            let s = recorder.snapshot(experiment, Timestamp::now());
            best = best.min(t.elapsed().as_secs_f64());
            if mode == "keep" {
                if kept.len() < 10 {
                    kept.push(s);
                }
            } else {
                drop(s);
            }
            bestd = bestd.min(t.elapsed().as_secs_f64());
            let t = Instant::now();
            let mut sum = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 36, 2).unwrap();
            for h in &hdrs {
                sum.add(h).unwrap();
            }
            std::hint::black_box(sum);
            besta = besta.min(t.elapsed().as_secs_f64());
        }
        println!(
            "{mode}: snapshot {:.2} ms, with drop {:.2} ms, add {:.2} ms, ratio {:.2}",
            best * 1e3,
            bestd * 1e3,
            besta * 1e3,
            best / besta
        );
    }
}
