//! The one type that most services need.

use std::fmt;

use latency_experiment_analysis::{Plan, Report, analyze};
use latency_experiment_flags::{Error, Flag, FlagSet};
use latency_experiment_layers::{Config, ExperimentLayer, Experiments, FlagHandle, WholeBody};
use latency_experiment_record::Snapshot;
use tower_layer::Layer;

/// 1 to 16 feature flags, the Tower layer that runs them as latency experiments, and the way to
/// what was measured.
///
/// It is `Copy`: pass one to `.layer(…)` and keep another for the report. Its tables live as long
/// as the process, so make one per service.
///
/// When the clock runs, what is recorded and where the layer belongs is told at
/// [`ExperimentLayer`]. Nothing runs in the background.
#[derive(Clone, Copy)]
pub struct LatencyExperiment {
    experiments: Experiments,
}

impl LatencyExperiment {
    /// An experiment on one flag, with the defaults of [`Config`].
    ///
    /// # Panics
    ///
    /// When the flag is not valid; the message says why. [`try_new`](Self::try_new) returns it as
    /// an error.
    #[track_caller]
    pub fn new(flag: Flag) -> Self {
        match Self::try_new([flag]) {
            Ok(experiment) => experiment,
            Err(error) => panic!("{error}"),
        }
    }

    /// Experiments on 1 to 16 flags, with the defaults of [`Config`]. Each flag is an experiment
    /// of its own. Everything that is wrong with the flags is in the error.
    pub fn try_new(flags: impl IntoIterator<Item = Flag>) -> Result<Self, Error> {
        Ok(Self::with_config(Config::new(FlagSet::try_new(flags)?)))
    }

    /// Experiments with routes, size classes, bounds or a clock of your own.
    pub fn with_config(config: Config) -> Self {
        Self { experiments: Experiments::new(config) }
    }

    /// The flag with this name, to ask from anywhere below the layer. Resolve it once, at start:
    /// a typo is an error here, with a suggestion.
    pub fn flag(&self, name: &str) -> Result<FlagHandle, Error> {
        self.experiments.flag(name)
    }

    /// The shared tables, to make [`AssignLayer`](crate::AssignLayer) and
    /// [`LatencyLayer`](crate::LatencyLayer) apart from each other.
    pub fn experiments(&self) -> Experiments {
        self.experiments
    }

    /// The layer that measures the bodies of responses too: a request then ends with its body, and
    /// its duration is recorded beside its latency. The response's body type changes to
    /// [`MeasuredBody`](crate::MeasuredBody).
    pub fn layer_with_body(&self) -> ExperimentLayer<WholeBody> {
        self.experiments.layer().with_body()
    }

    /// Everything that was recorded so far for the first flag.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(self.first_flag())
    }

    /// Everything that was recorded so far for a flag.
    ///
    /// # Panics
    ///
    /// When the flag is of another `LatencyExperiment`.
    pub fn snapshot_of(&self, flag: FlagHandle) -> Snapshot {
        self.experiments.snapshot(flag)
    }

    /// The comparison of the arms of the first flag, as it stands now, by the default [`Plan`].
    ///
    /// It may be asked for at any time: the statistics stay valid however often one looks.
    pub fn report(&self) -> Report {
        self.report_of(self.first_flag(), &Plan::default())
    }

    /// The comparison of the arms of a flag, as it stands now.
    ///
    /// # Panics
    ///
    /// When the flag is of another `LatencyExperiment`.
    pub fn report_of(&self, flag: FlagHandle, plan: &Plan) -> Report {
        analyze(&[self.snapshot_of(flag)], plan).expect("one snapshot always agrees with itself")
    }

    fn first_flag(self) -> FlagHandle {
        self.experiments.flags().next().expect("a flag set has at least one flag")
    }
}

impl<S> Layer<S> for LatencyExperiment {
    type Service = <ExperimentLayer as Layer<S>>::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.experiments.layer().layer(inner)
    }
}

impl fmt::Debug for LatencyExperiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyExperiment").field("experiments", &self.experiments).finish()
    }
}
