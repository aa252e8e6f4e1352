//! Exit codes: an interface that scripts rely on.

use std::process::ExitCode;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The work was done and, where asked, nothing was found to fail on.
    Pass,
    /// The work could not be done: a file that is missing or malformed, snapshots that do not belong
    /// together.
    Error,
    /// The arguments are wrong. The argument parser uses the same code.
    Usage,
    /// Something got slower.
    Regression,
    /// The data must not be judged.
    Withheld,
    /// The data do not say yet.
    Undecided,
}

impl Exit {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Pass => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Regression => 3,
            Self::Withheld => 4,
            Self::Undecided => 5,
        })
    }
}
