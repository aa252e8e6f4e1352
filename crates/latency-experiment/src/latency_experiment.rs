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

    /// Goes on with these flags in place of the ones that it was made of: the same names, each with
    /// the state that it has here. Anything wrong refuses them all, and the present ones stay.
    ///
    /// Requests on their way keep the arms that they got. Switching a flag off, which sends every
    /// request to control, or changing its coverage goes on with the same epoch. Changing the split,
    /// the salt, the variations or the epoch starts a new one, which the report compares on its own
    /// before it puts epochs together. See [`Experiments::set_flags`] for what stays in memory.
    ///
    /// ```
    /// use latency_experiment::{Flag, LatencyExperiment};
    ///
    /// let experiment = LatencyExperiment::new(Flag::new("cached_whitelist").with_coverage_bp(100));
    /// experiment.set_flags([Flag::new("cached_whitelist")])?; // one per cent, then all
    /// experiment.set_flags([Flag::new("cached_whitelist").with_enabled(false)])?; // the kill switch
    ///
    /// let error = experiment.set_flags([Flag::new("cached_whitlist")]).unwrap_err();
    /// assert!(error.to_string().contains("did you mean `cached_whitelist`?"));
    /// # Ok::<(), latency_experiment::Error>(())
    /// ```
    pub fn set_flags(&self, flags: impl IntoIterator<Item = Flag>) -> Result<(), Error> {
        self.experiments.set_flags(FlagSet::try_new(flags)?)
    }

    /// Everything that was recorded so far for the first flag in its present epoch.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(self.first_flag())
    }

    /// Everything that was recorded so far for a flag in its present epoch.
    ///
    /// # Panics
    ///
    /// When the flag is of another `LatencyExperiment`.
    pub fn snapshot_of(&self, flag: FlagHandle) -> Snapshot {
        self.experiments.snapshot(flag)
    }

    /// Everything that was recorded so far for a flag, one snapshot for each of its epochs, in the
    /// order in which they began.
    ///
    /// # Panics
    ///
    /// When the flag is of another `LatencyExperiment`.
    pub fn snapshots_of(&self, flag: FlagHandle) -> Vec<Snapshot> {
        self.experiments.snapshots(flag)
    }

    /// The comparison of the arms of the first flag, as it stands now, by the default [`Plan`].
    ///
    /// It may be asked for at any time: the statistics stay valid however often one looks.
    pub fn report(&self) -> Report {
        self.report_of(self.first_flag(), &Plan::default())
    }

    /// The comparison of the arms of a flag, as it stands now, over all of its epochs that have the
    /// same control as the present one.
    ///
    /// # Panics
    ///
    /// When the flag is of another `LatencyExperiment`.
    pub fn report_of(&self, flag: FlagHandle, plan: &Plan) -> Report {
        // First the present epoch: it is among all of them, also when another one begins meanwhile.
        let control = self.snapshot_of(flag).experiment.control;
        let mut snapshots = self.snapshots_of(flag);
        snapshots.retain(|snapshot| snapshot.experiment.control == control);
        analyze(&snapshots, plan).expect("epochs of one flag with one control can be compared")
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
