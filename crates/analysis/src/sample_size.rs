//! How many requests an experiment needs, from what was recorded before.

use std::fmt;

use latency_experiment_record::{Histogram, Milestone, Snapshot, reserved};
use latency_experiment_stats::{
    Alpha, Boundary, Design, Distribution, Power, Quantile, Requirement, Share, TunedFor,
    best_requirement, requirement,
};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::layout::Layout;
use crate::traffic::ANSWERED;
use crate::words;

/// The schema of the document.
const SCHEMA: &str = "latency-experiment/plan/1";

/// The change that an experiment should find.
///
/// ```
/// use latency_experiment_analysis::Goal;
///
/// let goal = Goal::new(0.99, -0.1)?.with_power(0.9)?.with_share(0.05)?;
/// assert!(Goal::new(0.99, 0.0).is_err());
/// # Ok::<(), latency_experiment_analysis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    quantile: Quantile,
    change: f64,
    alpha: Alpha,
    power: Power,
    share: Share,
    tuned_for: Option<TunedFor>,
    route: Option<String>,
    requests_per_second: Option<f64>,
}

impl Goal {
    /// To find that the variation's latencies are 1 + `change` times the control's, looking at one
    /// quantile: at alpha 0.05, with a power of 80 %, at an even split.
    ///
    /// The quantile is strictly between 0 and 1, the change above -1 and not 0: -0.1 is 10 % faster.
    pub fn new(quantile: f64, change: f64) -> Result<Self, Error> {
        if !(change > -1.0 && change.is_finite() && change != 0.0) {
            return Err(Error::plan(format!(
                "change {change} must be above -1 and not 0: -0.1 is 10 % faster"
            )));
        }
        Ok(Self {
            quantile: Quantile::new(quantile).map_err(Error::plan)?,
            change,
            alpha: Alpha::DEFAULT,
            power: Power::DEFAULT,
            share: Share::HALF,
            tuned_for: None,
            route: None,
            requests_per_second: None,
        })
    }

    /// Sets the error probability, strictly between 0 and 1.
    pub fn with_alpha(self, alpha: f64) -> Result<Self, Error> {
        Ok(Self { alpha: Alpha::new(alpha).map_err(Error::plan)?, ..self })
    }

    /// Sets the probability of finding the change, strictly between 0 and 1.
    pub fn with_power(self, power: f64) -> Result<Self, Error> {
        Ok(Self { power: Power::new(power).map_err(Error::plan)?, ..self })
    }

    /// Sets the share of both arms' requests that the variation gets, strictly between 0 and 1.
    pub fn with_share(self, share: f64) -> Result<Self, Error> {
        Ok(Self { share: Share::new(share).map_err(Error::plan)?, ..self })
    }

    /// Sets where the confidence sequence is tightest, at least 1,000, instead of at its answer.
    pub fn with_tuned_for(self, information: f64) -> Result<Self, Error> {
        Ok(Self { tuned_for: Some(TunedFor::new(information).map_err(Error::plan)?), ..self })
    }

    /// Plans for the requests of one route only.
    #[must_use]
    pub fn with_route(self, route: impl Into<String>) -> Self {
        Self { route: Some(route.into()), ..self }
    }

    /// Sets how many requests enter the experiment per second, to tell the time: positive.
    pub fn with_rate(self, requests_per_second: f64) -> Result<Self, Error> {
        if !(requests_per_second > 0.0 && requests_per_second.is_finite()) {
            return Err(Error::plan(format!(
                "rate {requests_per_second} must be a positive number of requests per second"
            )));
        }
        Ok(Self { requests_per_second: Some(requests_per_second), ..self })
    }
}

/// How many requests an experiment needs: the document `latency-experiment/plan/1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SampleSize {
    /// `latency-experiment/plan/1`.
    pub schema: String,
    /// The flag whose snapshots were read.
    pub experiment: String,
    /// The route; absent for all.
    pub route: Option<String>,
    /// Which quantile is compared.
    pub quantile: f64,
    /// The relative change to find.
    pub change: f64,
    /// Two-sided error probability.
    pub alpha: f64,
    /// Probability of finding the change.
    pub power: f64,
    /// Share of the variation.
    pub share: f64,
    /// What was recorded before.
    pub baseline: Baseline,
    /// For one look at the end, at this power.
    pub fixed_n: Requests,
    /// For confidence sequences: after how many requests half of all experiments have found it.
    pub sequential_median: Requests,
    /// For confidence sequences: after how many requests experiments have found it with this power.
    pub sequential_power: Requests,
}

/// The latencies that a plan starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Baseline {
    /// Whose requests: the control's or, when it has none, those outside the experiment (`_outside`).
    pub arm: String,
    /// How many.
    pub requests: u64,
    /// Their quantile, in nanoseconds.
    pub quantile_ns: Option<f64>,
}

/// A number of requests, and the time they take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Requests {
    /// Of both arms.
    pub total: u64,
    /// Of the control.
    pub control: u64,
    /// Of the variation.
    pub variation: u64,
    /// Harmonic information at the end, in requests.
    pub information: f64,
    /// What to tune a report for, at least 1,000; absent for one look.
    pub tuned_for: Option<f64>,
    /// How long that many requests take; absent without a rate.
    pub seconds: Option<f64>,
}

/// How many requests it takes to reach a goal, from the control's latencies in the snapshots.
///
/// **Formula**: with `F_B(x) = F_A(x / (1 + change))`, `x` the pooled quantile and `D = |F_A(x) - F_B(x)|`:
/// one look, `n = [z_(1-alpha/2) sqrt(p (1-p)) + z_power sqrt(...)]^2 / D^2`; at every look,
/// `D sqrt(n / (p (1-p))) = c(n) + z_power` with c the radius of the confidence sequence, tuned for the
/// answer. [`requirement`] and [`best_requirement`] have it in full.
///
/// Fails without snapshots or requests, on an unknown route, and when the buckets are too coarse for the
/// change.
pub fn sample_size(snapshots: &[Snapshot], goal: &Goal) -> Result<SampleSize, Error> {
    let Some(first) = snapshots.first() else {
        return Err(Error::snapshots("no snapshot is given: at least one is needed"));
    };
    let (arm, latencies) = baseline(snapshots, goal.route.as_deref())?;
    let design = |power: Power| Design {
        quantile: goal.quantile,
        change: goal.change,
        share: goal.share,
        alpha: goal.alpha,
        power,
    };
    let sequential = |power: Power| {
        let boundary = goal.tuned_for.map(|tuned_for| Boundary::ConfidenceSequence { tuned_for });
        let found = match boundary {
            Some(boundary) => requirement(&latencies, &design(power), boundary),
            None => best_requirement(&latencies, &design(power)),
        }?;
        Some(goal.requests(&found, Some(goal.tuned_for.unwrap_or(found.tuned_for))))
    };
    let fixed = requirement(&latencies, &design(goal.power), Boundary::FixedN);
    let fixed = fixed.map(|found| goal.requests(&found, None));
    let all = fixed.zip(sequential(Power::MEDIAN)).zip(sequential(goal.power));
    let Some(((fixed_n, sequential_median), sequential_power)) = all else {
        return Err(Error::snapshots(format!(
            "a change of {} cannot be seen at {}: the buckets of the baseline are too coarse, or it has too few requests there",
            words::signed_percent(goal.change),
            words::quantile(goal.quantile.get())
        )));
    };
    Ok(SampleSize {
        schema: SCHEMA.to_owned(),
        experiment: first.experiment.name.clone(),
        route: goal.route.clone(),
        quantile: goal.quantile.get(),
        change: goal.change,
        alpha: goal.alpha.get(),
        power: goal.power.get(),
        share: goal.share.get(),
        baseline: Baseline {
            arm,
            requests: latencies.count(),
            quantile_ns: latencies.quantile(goal.quantile).filter(|value| value.is_finite()),
        },
        fixed_n,
        sequential_median,
        sequential_power,
    })
}

impl Goal {
    fn requests(&self, found: &Requirement, tuned_for: Option<TunedFor>) -> Requests {
        let variation = (found.requests * self.share.get()).ceil();
        let control = (found.requests * (1.0 - self.share.get())).ceil();
        Requests {
            total: (control + variation) as u64,
            control: control as u64,
            variation: variation as u64,
            information: found.information,
            tuned_for: tuned_for.map(TunedFor::get),
            seconds: self.requests_per_second.map(|rate| (control + variation) / rate),
        }
    }
}

/// The control's answered requests; of all that are outside the experiment when it has none.
fn baseline(snapshots: &[Snapshot], route: Option<&str>) -> Result<(String, Distribution), Error> {
    let of = |arm: &dyn Fn(&Snapshot) -> String| -> Vec<&Histogram> {
        let series = snapshots.iter().flat_map(|snapshot| {
            let arm = arm(snapshot);
            snapshot.series.iter().filter(move |(key, _)| key.arm == arm)
        });
        series
            .filter(|(key, _)| {
                key.milestone == Milestone::Latency
                    && ANSWERED.contains(&key.outcome)
                    && route.is_none_or(|route| key.route == route)
            })
            .map(|(_, histogram)| histogram)
            .collect()
    };
    let control = of(&|snapshot| snapshot.experiment.control.clone());
    let outside = of(&|_| reserved::OUTSIDE.to_owned());
    let (arm, histograms) = if control.is_empty() {
        (reserved::OUTSIDE.to_owned(), outside)
    } else {
        (snapshots[0].experiment.control.clone(), control)
    };
    let frame = Layout::of(histograms.iter().copied()).frame()?;
    let latencies = frame.distribution(&histograms)?;
    if latencies.is_empty() {
        return Err(Error::snapshots(no_requests(snapshots, route)));
    }
    Ok((arm, latencies))
}

fn no_requests(snapshots: &[Snapshot], route: Option<&str>) -> String {
    let Some(route) = route else {
        return "the control has no answered request to plan from".to_owned();
    };
    let keys = snapshots.iter().flat_map(|snapshot| snapshot.series.keys());
    let mut routes: Vec<String> = keys.map(|key| format!("`{}`", key.route)).collect();
    routes.sort();
    routes.dedup();
    format!(
        "the control has no answered request of the route `{route}`: the snapshots have {}",
        if routes.is_empty() { "none at all".to_owned() } else { words::list(&routes) }
    )
}

impl SampleSize {
    /// The document.
    #[allow(clippy::missing_panics_doc, reason = "numbers and strings serialise")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings always serialise")
    }
}

impl fmt::Display for SampleSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { baseline, quantile, change, alpha, power, share, .. } = self;
        let name = words::quantile(*quantile);
        writeln!(
            f,
            "{} · {} · {name} {} · alpha {alpha} · power {} · {} in the variation",
            self.experiment,
            self.route.as_deref().unwrap_or("all routes"),
            words::signed_percent(*change),
            words::round_percent(*power),
            words::round_percent(*share)
        )?;
        writeln!(
            f,
            "baseline: {} requests of {}, {name} {}\n",
            words::count(baseline.requests),
            baseline.arm,
            baseline.quantile_ns.map_or_else(|| "-".to_owned(), words::duration)
        )?;
        let timed = self.fixed_n.seconds.is_some();
        let time = if timed { "time" } else { "" };
        let head = format!(
            "{:38}{:>14}{:>14}{:>14}{:>12}",
            "requests", "total", "control", "variation", time
        );
        writeln!(f, "{}", head.trim_end())?;
        writeln!(f, "{}", "─".repeat(if timed { 92 } else { 80 }))?;
        let likely = words::round_percent(*power);
        let sequential = |chance: &str| format!("looking at any time, {chance} chance by then");
        for (label, requests) in [
            (format!("one look at the end, {likely} chance"), &self.fixed_n),
            (sequential("50 %"), &self.sequential_median),
            (sequential(&likely), &self.sequential_power),
        ] {
            let line = format!(
                "{label:38}{:>14}{:>14}{:>14}{:>12}",
                words::count(requests.total),
                words::count(requests.control),
                words::count(requests.variation),
                requests.seconds.map_or_else(String::new, words::span)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        if let Some(tuned_for) = self.sequential_power.tuned_for {
            let tuned_for = words::count(tuned_for.round() as u64).replace(',', "");
            writeln!(f, "\nThe last line needs reports with --tuned-for {tuned_for}.")?;
        }
        Ok(())
    }
}
