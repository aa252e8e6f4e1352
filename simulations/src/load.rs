use crate::latency::normal;
use crate::random::Random;

/// How much the load slows every request down, in both arms alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Not at all.
    Constant,
    /// A logarithm that swings as a stationary autoregression of order 1.
    Swinging {
        /// Standard deviation of the logarithm.
        deviation: f64,
        /// Requests after which the correlation has fallen to 1/e.
        correlation: f64,
    },
}

impl Load {
    /// The swing of the acceptance criteria.
    pub const AR1: Self = Self::Swinging { deviation: 0.3, correlation: 2_000.0 };

    /// How tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "iid",
            Self::Swinging { .. } => "AR1",
        }
    }
}

/// A [`Load`] in the course of time.
#[derive(Debug, Clone)]
pub struct LoadPath {
    now: f64,
    kept: f64,
    added: f64,
}

impl LoadPath {
    /// Begins anywhere in the stationary distribution.
    pub fn new(load: Load, random: &mut Random) -> Self {
        match load {
            Load::Constant => Self { now: 0.0, kept: 0.0, added: 0.0 },
            Load::Swinging { deviation, correlation } => {
                let kept = (-1.0 / correlation).exp();
                let added = deviation * (1.0 - kept * kept).sqrt();
                Self { now: deviation * normal(random), kept, added }
            }
        }
    }

    /// The logarithm of the slowdown of the next request.
    pub fn step(&mut self, random: &mut Random) -> f64 {
        if self.added > 0.0 {
            self.now = self.kept * self.now + self.added * normal(random);
        }
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Runs;

    #[test]
    fn the_swing_is_stationary_and_forgets_at_its_rate() {
        let load = Load::Swinging { deviation: 0.3, correlation: 50.0 };
        let ends = Runs { seed: 1, count: 20_000 }.map("swing", |mut random| {
            let mut path = LoadPath::new(load, &mut random);
            let first = path.step(&mut random);
            Ok((first, (0..50).map(|_| path.step(&mut random)).last().unwrap_or(first)))
        });
        let ends = ends.unwrap();
        let mean = |value: &dyn Fn(&(f64, f64)) -> f64| {
            ends.iter().map(value).sum::<f64>() / ends.len() as f64
        };
        let (first, last) = (mean(&|end| end.0 * end.0), mean(&|end| end.1 * end.1));
        assert!((first / 0.09 - 1.0).abs() < 0.04 && (last / 0.09 - 1.0).abs() < 0.04);
        let correlation = mean(&|end| end.0 * end.1) / 0.09;
        assert!((correlation - (-1_f64).exp()).abs() < 0.03, "{correlation}");
        assert!(mean(&|end| end.1).abs() < 0.01);
    }
}
