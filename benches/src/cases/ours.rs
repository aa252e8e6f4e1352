//! `LatencyExperiment` as the cases set it up.

use latency_experiment::{Config, Flag, FlagHandle, FlagSet, LatencyExperiment, current};

/// What the handlers answer: of the same length whatever the flags say.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    On,
    Off,
}

impl Answer {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::On => "from the cache ",
            Self::Off => "from the origin",
        }
    }

    /// Consults a flag by its name, as a handler does that was given no handle.
    pub(super) fn by_name(flag: &str) -> Self {
        let on = current().is_on(flag).expect("it is the name of a flag");
        if on { Self::On } else { Self::Off }
    }

    /// Consults every flag, as a handler does that has a use for each of them.
    pub(super) fn by<const N: usize>(flags: &[FlagHandle; N]) -> Self {
        let on = flags.iter().fold(false, |on, flag| on ^ flag.is_on());
        if on { Self::On } else { Self::Off }
    }
}

/// The defaults, with so many flags that are split 50:50.
pub(super) fn config(flags: usize) -> Config {
    let flags = (0..flags).map(|number| Flag::new(format!("flag-{number}")));
    Config::new(FlagSet::try_new(flags).expect("the flags are valid"))
}

/// The name of the first flag.
pub(super) const FIRST: &str = "flag-0";

/// The handles of all flags, whose number the compiler knows as it knows what a handler consults.
pub(super) fn flags_of<const N: usize>(experiment: LatencyExperiment) -> &'static [FlagHandle; N] {
    let flags: Vec<_> = experiment.experiments().flags().collect();
    let flags: Box<[_; N]> = flags.try_into().expect("the experiment has as many flags");
    Box::leak(flags)
}
