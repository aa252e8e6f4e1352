use rand::RngExt;

use crate::latency::Latency;
use crate::load::{Load, LoadPath};
use crate::random::Random;

/// What the variation does to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// Nothing: an A/A experiment.
    None,
    /// Multiplies its latency.
    Times(f64),
    /// Multiplies the latency of a share of the requests.
    Tail {
        /// Which share.
        share: f64,
        /// By what.
        times: f64,
    },
}

/// A stream of requests, each assigned independently.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Latencies of the control at an even load.
    pub latency: Latency,
    /// The load that both arms share.
    pub load: Load,
    /// Share of the requests that the variation gets.
    pub share: f64,
    /// What the variation changes.
    pub effect: Effect,
    /// Probability that a request of control and variation fails.
    pub failures: [f64; 2],
}

impl Traffic {
    /// Two arms of the same code, 1 % failures in both.
    pub fn same(latency: Latency, load: Load, share: f64) -> Self {
        Self { latency, load, share, effect: Effect::None, failures: [0.01; 2] }
    }

    /// How tables call it.
    pub fn name(&self) -> String {
        let percent = 100.0 * self.share;
        format!("{}, {}, {percent} % in B", self.latency.name(), self.load.name())
    }
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// The logarithm of its latency in milliseconds.
    pub log_latency: f64,
    /// 0 for the control, 1 for the variation.
    pub arm: usize,
    /// Whether it failed. Independent of its latency.
    pub failed: bool,
}

/// [`Traffic`] in the course of time.
#[derive(Debug)]
pub struct Stream {
    traffic: Traffic,
    load: LoadPath,
    drift: f64,
    random: Random,
}

impl Stream {
    /// Begins a stream.
    pub fn new(traffic: Traffic, mut random: Random) -> Self {
        let load = LoadPath::new(traffic.load, &mut random);
        Self { traffic, load, drift: 0.0, random }
    }

    /// Assigns another share to the variation from now on.
    pub fn set_share(&mut self, share: f64) {
        self.traffic.share = share;
    }

    /// Slows all requests down from now on, in both arms, by this logarithm of a factor.
    pub fn set_drift(&mut self, drift: f64) {
        self.drift = drift;
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        let Self { traffic, load, drift, random } = self;
        let arm = usize::from(random.random::<f64>() < traffic.share);
        let mut log_latency = traffic.latency.draw(random) + load.step(random) + *drift;
        if arm == 1 {
            log_latency += match traffic.effect {
                Effect::Times(factor) => factor.ln(),
                Effect::Tail { share, times } if random.random::<f64>() < share => times.ln(),
                Effect::None | Effect::Tail { .. } => 0.0,
            };
        }
        Request { log_latency, arm, failed: random.random::<f64>() < traffic.failures[arm] }
    }
}
