//! `latency-experiment report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use latency_experiment_analysis::{Comparison, Plan, Report, Verdict, analyze};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{print, read_all};

/// Compare the arms of an experiment: quantiles, lifts with intervals, verdicts
///
/// Snapshots of several instances are merged. Exits with 0 when the report was printed, with 1 on an
/// error, with 2 on wrong arguments, and as --fail-on says.
#[derive(Args)]
pub(crate) struct Options {
    /// Snapshot files of one experiment; `-` is standard input
    #[arg(required = true, value_name = "SNAPSHOT.json")]
    snapshots: Vec<PathBuf>,

    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Error probability of the intervals [default: 0.05]
    #[arg(long)]
    alpha: Option<f64>,

    /// Quantiles to compare, separated by commas [default: 0.5,0.95,0.99]
    #[arg(long, value_name = "Q,…", value_delimiter = ',')]
    quantiles: Option<Vec<f64>>,

    /// The quantile that decides first, one of --quantiles [default: the first]
    #[arg(long, value_name = "Q")]
    primary: Option<f64>,

    /// Make intervals tightest at this information, a quarter of the requests of an even split;
    /// at least 1000 [default: 5000]
    #[arg(long, value_name = "N")]
    tuned_for: Option<f64>,

    /// Smallest relative change that counts as faster or slower, such as 0.02 [default: 0]
    #[arg(long, value_name = "X")]
    minimum_effect: Option<f64>,

    /// Relative change, either way, below which arms are equivalent, such as 0.05 [default: none]
    #[arg(long, value_name = "X")]
    equivalence_margin: Option<f64>,

    /// Add figures for one look at a number of requests that was fixed in advance: intervals, tests of
    /// means, ranks and rates, adjusted p-values
    #[arg(long)]
    fixed_n: bool,

    /// Add p-values of quantiles that need no approximation; very conservative, takes longer
    #[arg(long)]
    strict: bool,

    /// Add the median difference and ratio over all pairs of requests; takes longer
    #[arg(long)]
    hodges_lehmann: bool,

    /// Exit with 3 if anything is slower, 4 if the overall verdict is withheld, 5 if it is undecided;
    /// several, separated by commas, are checked in the order 4, 3, 5
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHEN")]
    fail_on: Vec<FailOn>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// A table for people; its text may change
    Table,
    /// The document latency-experiment/report/1
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// The overall verdict or that of a route is slower or mixed
    Regression,
    /// The split is mismatched, or an overall verdict is withheld
    Withheld,
    /// An overall verdict is undecided
    Undecided,
}

impl Options {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let plan = self.plan().map_err(Failure::usage)?;
        let snapshots = read_all(&self.snapshots)?;
        let report = analyze(&snapshots, &plan).map_err(Failure::error)?;
        let text = match self.format {
            Format::Table => report.to_string(),
            Format::Json => report.to_json() + "\n",
        };
        print(&text)?;
        Ok(judge(&report, &self.fail_on))
    }

    fn plan(&self) -> Result<Plan, latency_experiment_analysis::Error> {
        let mut plan = Plan::default()
            .with_fixed_n(self.fixed_n)
            .with_strict(self.strict)
            .with_hodges_lehmann(self.hodges_lehmann)
            .with_route_details(true);
        if let Some(alpha) = self.alpha {
            plan = plan.with_alpha(alpha)?;
        }
        if let Some(quantiles) = &self.quantiles {
            plan = plan.with_quantiles(quantiles.iter().copied())?;
        }
        if let Some(primary) = self.primary {
            plan = plan.with_primary(primary)?;
        }
        if let Some(tuned_for) = self.tuned_for {
            plan = plan.with_tuned_for(tuned_for)?;
        }
        if let Some(minimum_effect) = self.minimum_effect {
            plan = plan.with_minimum_effect(minimum_effect)?;
        }
        if let Some(margin) = self.equivalence_margin {
            plan = plan.with_equivalence_margin(margin)?;
        }
        Ok(plan)
    }
}

/// The exit that the report asks for, the worst first.
fn judge(report: &Report, fail_on: &[FailOn]) -> Exit {
    let overall = |verdict: Verdict| report.overall().any(|row| row.verdict == verdict);
    let slower = |row: &Comparison| matches!(row.verdict, Verdict::Slower | Verdict::Mixed);
    let asked = |when: FailOn| fail_on.contains(&when);
    if asked(FailOn::Withheld) && (report.srm.mismatch || overall(Verdict::Withheld)) {
        Exit::Withheld
    } else if asked(FailOn::Regression) && report.overall().chain(report.routes()).any(slower) {
        Exit::Regression
    } else if asked(FailOn::Undecided) && overall(Verdict::Undecided) {
        Exit::Undecided
    } else {
        Exit::Pass
    }
}
