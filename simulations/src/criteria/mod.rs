//! One question per file. Letters are those of the acceptance criteria of the statistics.

mod bias;
mod canaries;
mod coverage;
mod exclusion;
mod false_alarms;
pub(crate) mod interference;
pub(crate) mod peeking;
mod planning;
mod power;
pub(crate) mod ramp;
mod rivals;
mod split;
mod sticky;

use latency_experiment_stats::Error;

use crate::scale::Scale;
use crate::table::Table;

/// A question to the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Criterion {
    /// False alarms under a thousand looks; in a ramp; of the sample ratio check.
    B,
    /// Requests until the rollback.
    C,
    /// Coverage of fixed-n intervals.
    D,
    /// Bias by a changed mix of routes.
    G,
    /// Plans against simulated run lengths.
    H,
    /// Sticky users.
    I,
    /// False alarms against the number of looks.
    Peeking,
    /// Requests to see a difference, and means of canaries, beside other methods.
    Rivals,
    /// Arms that share workers.
    Interference,
}

impl Criterion {
    /// Those that promise something.
    pub const PROMISES: [Self; 6] = [Self::B, Self::C, Self::D, Self::G, Self::H, Self::I];

    /// Simulates it.
    pub fn tables(self, scale: Scale) -> Result<Vec<Table>, Error> {
        Ok(match self {
            Self::B => {
                vec![false_alarms::table(scale)?, ramp::table(scale)?, split::table(scale)?]
            }
            Self::C => vec![power::table(scale)?],
            Self::D => vec![coverage::table(scale)?],
            Self::G => vec![bias::table(scale)?],
            Self::H => vec![planning::table(scale)?],
            Self::I => vec![sticky::table(scale)?],
            Self::Peeking => vec![peeking::table(scale)?],
            Self::Rivals => vec![rivals::table(scale)?, canaries::table(scale)?],
            Self::Interference => vec![interference::table(scale)?],
        })
    }
}
