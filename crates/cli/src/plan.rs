//! `latency-experiment plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use latency_experiment_analysis::{Error, Goal, sample_size};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::{print, read_all};

/// Tell how many requests, and how much time, an experiment needs to find a change
///
/// Starts from the control's latencies in snapshots of the service as it is. Three answers: for one look at
/// the end, and for reports that are looked at at any time, after how many requests half of the
/// experiments, and 80 % of them (--power), have found the change. Exits with 0, with 1 on an error
/// and with 2 on wrong arguments.
#[derive(Args)]
pub(crate) struct Options {
    /// Snapshot files of the service as it is; `-` is standard input
    #[arg(required = true, value_name = "BASELINE.json")]
    snapshots: Vec<PathBuf>,

    /// The quantile that is compared
    #[arg(long, value_name = "Q", default_value_t = 0.5)]
    quantile: f64,

    /// The change to find, such as -10% (faster) or 0.05 (5 % slower)
    #[arg(long, value_name = "CHANGE", value_parser = change, allow_hyphen_values = true)]
    change: f64,

    /// Plan for the requests of one route only, such as "GET /api/v1/categories"
    #[arg(long)]
    route: Option<String>,

    /// Two-sided error probability
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,

    /// Chance of finding the change
    #[arg(long, default_value_t = 0.8)]
    power: f64,

    /// Weights of control and variation, such as 95:5
    #[arg(long, value_name = "CONTROL:VARIATION", default_value = "1:1", value_parser = allocation)]
    allocation: f64,

    /// Requests that enter the experiment, such as 120/s, 7000/min, 400k/h or 2M/d
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,

    /// Keep intervals tightest at this information instead of at the answer; at least 1000
    #[arg(long, value_name = "N")]
    tuned_for: Option<f64>,

    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A table for people; its text may change
    Table,
    /// The document latency-experiment/plan/1
    Json,
}

impl Options {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let goal = self.goal().map_err(Failure::usage)?;
        let snapshots = read_all(&self.snapshots)?;
        let answer = sample_size(&snapshots, &goal).map_err(Failure::error)?;
        print(&match self.format {
            Format::Table => answer.to_string(),
            Format::Json => answer.to_json() + "\n",
        })?;
        Ok(Exit::Pass)
    }

    fn goal(&self) -> Result<Goal, Error> {
        let mut goal = Goal::new(self.quantile, self.change)?
            .with_alpha(self.alpha)?
            .with_power(self.power)?
            .with_share(self.allocation)?;
        if let Some(route) = &self.route {
            goal = goal.with_route(route);
        }
        if let Some(rate) = self.rate {
            goal = goal.with_rate(rate)?;
        }
        if let Some(tuned_for) = self.tuned_for {
            goal = goal.with_tuned_for(tuned_for)?;
        }
        Ok(goal)
    }
}

/// `-10%` or `-0.1`.
fn change(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent.trim(), 0.01),
        None => (text.trim(), 1.0),
    };
    let number: f64 =
        number.parse().map_err(|_| "expected a relative change such as -10% or 0.05".to_owned())?;
    Ok(number * scale)
}

/// `95:5` as the share of the variation.
fn allocation(text: &str) -> Result<f64, String> {
    let rule = || "expected the weights of control and variation, such as 1:1 or 95:5".to_owned();
    let (control, variation) = text.split_once(':').ok_or_else(rule)?;
    let weight = |text: &str| text.trim().parse::<f64>().ok().filter(|weight| *weight > 0.0);
    let (control, variation) = weight(control).zip(weight(variation)).ok_or_else(rule)?;
    let share = variation / (control + variation);
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err(rule()) }
}

/// `120/s` in requests per second.
fn rate(text: &str) -> Result<f64, String> {
    let rule = || "expected requests per time, such as 120/s, 7000/min, 400k/h or 2M/d".to_owned();
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" | "day" => 86_400.0,
        _ => return Err(rule()),
    };
    let number = number.trim();
    let (number, scale) = match number.strip_suffix(['k', 'K']) {
        Some(thousands) => (thousands, 1e3),
        None => number.strip_suffix('M').map_or((number, 1.0), |millions| (millions, 1e6)),
    };
    let number = number.parse::<f64>().ok().filter(|rate| *rate > 0.0 && rate.is_finite());
    number.map(|number| number * scale / seconds).ok_or_else(rule)
}
