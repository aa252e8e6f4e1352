use crate::random::Runs;

/// How thorough a simulation is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Seed of everything.
    pub seed: u64,
    /// Few runs, for the gate of the repository.
    pub short: bool,
    /// Runs of every setting, in place of those that each criterion names.
    pub runs: Option<usize>,
}

impl Scale {
    /// The runs of one setting: `full` for the published figures, `short` for the gate.
    pub fn runs(self, full: usize, short: usize) -> Runs {
        let count = self.runs.unwrap_or(if self.short { short } else { full });
        Runs { seed: self.seed, count }
    }
}
