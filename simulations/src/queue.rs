//! Workers that both arms share, first come, first served.

use rand::RngExt;
use rand_distr::{Distribution as _, Exp1};

use crate::latency::normal;
use crate::random::Random;

/// Workers.
pub const WORKERS: usize = 4;

/// By what the service of the variation takes longer.
pub const SLOWER: f64 = 1.2;

/// How requests go to the arms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Split {
    /// Each by itself, with this share in the variation.
    PerRequest(f64),
    /// In pairs of time blocks of this length, in units of the mean service time; which of a pair is the
    /// variation's is tossed.
    Blocks(f64),
}

/// One request that went through the queue.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// 0 for the control, 1 for the variation.
    pub arm: usize,
    /// When it arrived, in units of the mean service time.
    pub arrival: f64,
    /// Waiting and service, likewise.
    pub latency: f64,
}

/// Serves `requests` that arrive at random moments and keep the workers busy for `utilisation` of the time when
/// all are the control's. Service times are lognormal with sigma 1.
pub fn serve(
    utilisation: f64,
    split: Split,
    requests: usize,
    mut random: Random,
) -> impl Iterator<Item = Served> {
    let rate = utilisation * WORKERS as f64;
    let mut free_at = [0.0_f64; WORKERS];
    let (mut now, mut blocks) = (0.0, Vec::new());
    (0..requests).map(move |_| {
        let gap: f64 = Exp1.sample(&mut random);
        now += gap / rate;
        let arm = match split {
            Split::PerRequest(share) => usize::from(random.random::<f64>() < share),
            Split::Blocks(length) => {
                let block = (now / length) as usize;
                while blocks.len() <= block {
                    let first = usize::from(random.random::<bool>());
                    blocks.extend([first, 1 - first]);
                }
                blocks[block]
            }
        };
        // The mean of a lognormal number is its median times exp(sigma^2 / 2).
        let service = (normal(&mut random) - 0.5).exp() * if arm == 1 { SLOWER } else { 1.0 };
        let next = (1..WORKERS).fold(0, |a, b| if free_at[b] < free_at[a] { b } else { a });
        let done = free_at[next].max(now) + service;
        free_at[next] = done;
        Served { arm, arrival: now, latency: done - now }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Runs;

    #[test]
    fn an_idle_queue_has_no_waiting_and_a_busy_one_the_known_load() {
        let runs = Runs { seed: 1, count: 1 };
        let mean = |utilisation| {
            let served =
                serve(utilisation, Split::PerRequest(0.0), 200_000, runs.generator("q", 0));
            let (mut sum, mut last) = (0.0, 0.0);
            for request in served {
                sum += request.latency;
                last = request.arrival;
            }
            (sum / 200_000.0, 200_000.0 / last)
        };
        let (idle, arrivals) = mean(0.01);
        assert!((idle - 1.0).abs() < 0.02, "{idle}");
        assert!((arrivals / 0.04 - 1.0).abs() < 0.02);
        assert!(mean(0.75).0 > 1.2);
    }

    #[test]
    fn every_pair_of_blocks_has_one_of_each_arm() {
        let runs = Runs { seed: 1, count: 1 };
        let mut arms = [None; 40];
        for request in serve(0.5, Split::Blocks(50.0), 4_000, runs.generator("b", 0)) {
            if let Some(arm) = arms.get_mut((request.arrival / 50.0) as usize) {
                assert!(arm.is_none_or(|arm| arm == request.arm));
                *arm = Some(request.arm);
            }
        }
        assert!(arms.chunks(2).all(|pair| pair[0] != pair[1]));
    }
}
