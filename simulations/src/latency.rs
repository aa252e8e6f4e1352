use rand::RngExt;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::random::Random;

/// How latencies are distributed, in multiples of a millisecond. Everything is drawn as a natural logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Median 1, logarithms with this standard deviation.
    LogNormal(f64),
    /// At least 1, exceeds x with probability x to the minus shape. At shape 1.5 the variance is infinite.
    Pareto(f64),
    /// A cache: 80 % hits around 1 (sigma 0.3), 20 % misses around 10 (sigma 0.4).
    Bimodal,
}

impl Latency {
    /// The three shapes of the acceptance criteria.
    pub const SHAPES: [Self; 3] = [Self::LogNormal(1.0), Self::Pareto(1.5), Self::Bimodal];

    /// How tables call it.
    pub fn name(self) -> String {
        match self {
            Self::LogNormal(sigma) => format!("lognormal {sigma:?}"),
            Self::Pareto(shape) => format!("Pareto {shape:?}"),
            Self::Bimodal => "bimodal".to_owned(),
        }
    }

    /// The logarithm of one latency.
    pub fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::LogNormal(sigma) => sigma * normal(random),
            Self::Pareto(shape) => {
                let exponential: f64 = Exp1.sample(random);
                exponential / shape
            }
            Self::Bimodal if random.random::<f64>() < 0.8 => 0.3 * normal(random),
            Self::Bimodal => 10_f64.ln() + 0.4 * normal(random),
        }
    }
}

/// A standard normal number.
pub(crate) fn normal(random: &mut Random) -> f64 {
    StandardNormal.sample(random)
}
