use crate::log_cdf::{LogCdf, shares_at};
use crate::special::{increasing_root, increasing_root_between, quantile as normal_quantile};
use crate::{
    Alpha, Boundary, Distribution, Error, NormalMixture, Power, Quantile, Share, TunedFor,
};

/// What an experiment should be able to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// The quantile whose change is looked for.
    pub quantile: Quantile,
    /// Relative change of the variation's latencies, above -1 and not 0: 0.05 is 5 % slower.
    pub change: f64,
    /// Share of the two arms' requests that the variation gets.
    pub share: Share,
    /// Two-sided error level.
    pub alpha: Alpha,
    /// Probability of finding the change by then; [`Power::MEDIAN`] gives the median run length.
    pub power: Power,
}

/// How many requests a design needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requirement {
    /// Harmonic information at which the change is found, in requests.
    pub information: f64,
    /// The same as requests of both arms together: information / (share (1 - share)).
    pub requests: f64,
    /// What the confidence sequence should be tuned for: the information, at least [`TunedFor::MIN`].
    pub tuned_for: TunedFor,
    /// Share of the control's requests at or below the pooled quantile.
    pub control_rate: f64,
    /// Share of the variation's requests at or below it.
    pub variation_rate: f64,
}

/// How many requests a quantile comparison needs to find a given change.
///
/// **Estimand**: the sample size at which the interval of [`quantile_effect`](crate::quantile_effect)
/// excludes "no change" with probability `power`, if the variation multiplied every latency of `baseline` by
/// 1 + `change`.
///
/// **Formula**: with x the p-quantile of both arms together, n the harmonic information and c the radius of
/// the confidence sequence,
///
/// ```text
/// D          = |F_A(x) - F_A(x / (1 + change))|
/// sequential : D sqrt(n / (p (1-p))) = c(n) + z_power
/// fixed n    : n = [z_(1-alpha/2) sqrt(p (1-p)) + z_power sqrt(share v_A + (1-share) v_B)]^2 / D^2
/// ```
///
/// where v is F (1 - F) of each arm at x.
///
/// **Source**: Fleiss 1981, chapter 3; for confidence sequences the drift crossing its boundary. The median of
/// simulated run lengths was 0.75 to 1.01 of the prediction.
///
/// With [`Boundary::ConfidenceSequence`] the given tuning is kept; use [`best_requirement`] to tune for the
/// answer. `None` without requests in the baseline, for a change of zero (or not above -1), and where the
/// buckets are too coarse to see it.
///
/// ```
/// use latency_experiment_stats::{
///     Alpha, Boundary, Design, Distribution, Power, Quantile, Share, requirement,
/// };
///
/// let baseline = Distribution::from_points((100..200).map(|ms| (ms, 100)))?;
/// let design = Design {
///     quantile: Quantile::P50,
///     change: 0.05,
///     share: Share::HALF,
///     alpha: Alpha::DEFAULT,
///     power: Power::DEFAULT,
/// };
/// let sequential = requirement(&baseline, &design, Boundary::default()).unwrap();
/// let fixed = requirement(&baseline, &design, Boundary::FixedN).unwrap();
/// assert!(fixed.requests > 1_000.0 && sequential.requests < 4.0 * fixed.requests);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn requirement(
    baseline: &Distribution,
    design: &Design,
    boundary: Boundary,
) -> Option<Requirement> {
    let rates = Rates::of(baseline, design)?;
    let information = match boundary {
        Boundary::FixedN => rates.fixed(design),
        Boundary::ConfidenceSequence { tuned_for } => rates.sequential(design, tuned_for),
    };
    rates.requirement(design, information)
}

/// [`requirement`] of a confidence sequence that is tuned for the answer itself, which makes it smallest.
///
/// The tuning is the information needed, at least [`TunedFor::MIN`], found by three rounds of substitution.
pub fn best_requirement(baseline: &Distribution, design: &Design) -> Option<Requirement> {
    let rates = Rates::of(baseline, design)?;
    let mut information = TunedFor::DEFAULT.get();
    for _ in 0..3 {
        information = rates.sequential(design, TunedFor::at_least_min(information));
    }
    rates.requirement(design, information)
}

/// Requests per arm to tell two rates apart at one look, with equal arms.
///
/// **Formula**: with P the mean of both rates,
///
/// ```text
/// [z_(1-alpha/2) sqrt(2 P (1-P)) + z_power sqrt(p_A (1-p_A) + p_B (1-p_B))]^2 / (p_B - p_A)^2
/// ```
///
/// **Source**: Fleiss 1981, chapter 3; `statsmodels`' `samplesize_proportions_2indep_onetail`. Infinite for
/// equal rates. Fails when a rate is not strictly between 0 and 1.
pub fn requests_per_arm_for_rates(
    control: f64,
    variation: f64,
    alpha: Alpha,
    power: Power,
) -> Result<f64, Error> {
    for value in [control, variation] {
        if !(value > 0.0 && value < 1.0) {
            return Err(Error::NotAProbability { what: "rate", value });
        }
    }
    let rates = Rates { quantile: 0.5 * (control + variation), control, variation };
    // At an even split the harmonic information is half of an arm.
    Ok(2.0 * rates.information_at_one_look(Share::HALF, alpha, power))
}

/// Shares of each arm at or below the quantile of both together.
struct Rates {
    quantile: f64,
    control: f64,
    variation: f64,
}

impl Rates {
    fn of(baseline: &Distribution, design: &Design) -> Option<Self> {
        let Design { change, quantile, share, .. } = *design;
        if baseline.is_empty() || !(change > -1.0 && change.is_finite()) {
            return None;
        }
        let baseline = LogCdf::new(baseline);
        let mut near = baseline.bucket_of(quantile.get());
        let (control, variation) = shares_at(
            (baseline, 1.0 - share.get()),
            (baseline, share.get()),
            // A variation that takes 1 + change as long is at v where the baseline is at v / (1 + change).
            1.0 / (1.0 + change),
            quantile.get(),
            &mut near,
        );
        let rates = Self { quantile: quantile.get(), control, variation };
        (rates.difference() > 0.0).then_some(rates)
    }

    fn difference(&self) -> f64 {
        (self.control - self.variation).abs()
    }

    fn fixed(&self, design: &Design) -> f64 {
        self.information_at_one_look(design.share, design.alpha, design.power)
    }

    fn information_at_one_look(&self, share: Share, alpha: Alpha, power: Power) -> f64 {
        let variance = |rate: f64| rate * (1.0 - rate);
        let (share, rest) = (share.get(), 1.0 - share.get());
        // 1/n_A = share / n_h and 1/n_B = (1 - share) / n_h.
        let alternative = share * variance(self.control) + rest * variance(self.variation);
        let reach = -normal_quantile(0.5 * alpha.get()) * variance(self.quantile).sqrt()
            + normal_quantile(power.get()) * alternative.sqrt();
        (reach.max(0.0) / self.difference()).powi(2)
    }

    fn sequential(&self, design: &Design, tuned_for: TunedFor) -> f64 {
        let mixture = NormalMixture::tuned(tuned_for.get(), design.alpha);
        let drift = self.difference() / (self.quantile * (1.0 - self.quantile)).sqrt();
        let power = normal_quantile(design.power.get());
        let excess = |log_information: f64| {
            let information = log_information.exp();
            drift * information.sqrt() - mixture.radius(information, design.alpha) - power
        };
        // The radius is between two and ten standard errors for all but extreme plans.
        let bracket = [2.0, 10.0].map(|radius: f64| 2.0 * ((radius + power).max(0.1) / drift).ln());
        let [low, high] = bracket.map(|at| (at, excess(at)));
        let root = if low.1 <= 0.0 && high.1 >= 0.0 {
            increasing_root_between(excess, low, high, 1e-10)
        } else {
            increasing_root(excess, -5.0, 90.0, 1e-10)
        };
        root.exp()
    }

    fn requirement(&self, design: &Design, information: f64) -> Option<Requirement> {
        let share = design.share.get();
        let requests = information / (share * (1.0 - share));
        (requests > 0.0 && requests.is_finite()).then(|| Requirement {
            information,
            requests,
            tuned_for: TunedFor::at_least_min(information),
            control_rate: self.control,
            variation_rate: self.variation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;
    use crate::special::upper_tail;

    /// A lognormal latency with sigma 1 in buckets of 0.4 %.
    fn lognormal() -> Distribution {
        let edge = |index: i32| f64::from(index) * 0.004;
        let value = |index: i32| (1e9 * edge(index).exp()) as u64;
        Distribution::new((-1_250..1_250).map(|index| Bucket {
            lower: value(index),
            upper: value(index + 1) - 1,
            count: (1e9 * (upper_tail(edge(index)) - upper_tail(edge(index + 1)))) as u64,
        }))
        .unwrap()
    }

    fn design(quantile: Quantile, change: f64, power: Power) -> Design {
        Design { quantile, change, share: Share::HALF, alpha: Alpha::DEFAULT, power }
    }

    #[test]
    fn predictions_are_those_that_were_simulated() {
        // Total requests at an even split: median of the confidence sequence tuned for 5,000, and fixed n
        // with a power of 80 %.
        let baseline = lognormal();
        for (quantile, change, sequential, fixed) in [
            (Quantile::P50, 0.05, 24_349.0, 20_719.0),
            (Quantile::P50, 0.1, 6_907.0, 5_431.0),
            (Quantile::P50, 0.5, 916.0, 302.0),
            (Quantile::P50, 1.0, 504.0, 104.0),
            (Quantile::P99, 0.1, 59_334.0, 48_598.0),
            (Quantile::P99, 0.5, 4_373.0, 3_109.0),
            (Quantile::P99, 1.0, 2_419.0, 1_393.0),
        ] {
            let median = design(quantile, change, Power::MEDIAN);
            let requests = requirement(&baseline, &median, Boundary::default()).unwrap().requests;
            assert!((requests / sequential - 1.0).abs() < 2e-3, "{change}: {requests}");
            let best = best_requirement(&baseline, &median).unwrap();
            assert!(best.requests <= requests * 1.001, "{change}: {best:?}");
            let powered = design(quantile, change, Power::DEFAULT);
            let requests = requirement(&baseline, &powered, Boundary::FixedN).unwrap().requests;
            assert!((requests / fixed - 1.0).abs() < 5e-3, "{change}: {requests}");
        }
    }

    #[test]
    fn small_shares_cost_more_and_faster_is_like_slower() {
        let baseline = lognormal();
        let even = design(Quantile::P50, 0.1, Power::DEFAULT);
        let canary = Design { share: Share::new(0.01).unwrap(), ..even };
        let [even, canary] =
            [even, canary].map(|design| best_requirement(&baseline, &design).unwrap().requests);
        assert!(canary > 20.0 * even && canary < 30.0 * even, "{even} {canary}");
        let faster = design(Quantile::P50, 1.0 / 1.1 - 1.0, Power::DEFAULT);
        let faster = best_requirement(&baseline, &faster).unwrap().requests;
        assert!((faster / even - 1.0).abs() < 1e-3);
    }

    #[test]
    fn what_cannot_be_planned_is_none() {
        let baseline = lognormal();
        for change in [0.0, -1.0, -3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                best_requirement(&baseline, &design(Quantile::P50, change, Power::DEFAULT)),
                None
            );
        }
        let some = design(Quantile::P50, 0.1, Power::DEFAULT);
        assert_eq!(best_requirement(&Distribution::default(), &some), None);
        let failing = Distribution::default().with_at_infinity(50).unwrap();
        assert_eq!(requirement(&failing, &some, Boundary::FixedN), None);
    }

    #[test]
    fn rates_that_cannot_be_told_apart_need_infinitely_many() {
        let needed = |a, b| requests_per_arm_for_rates(a, b, Alpha::DEFAULT, Power::DEFAULT);
        assert_eq!(needed(0.1, 0.1), Ok(f64::INFINITY));
        assert!(needed(0.0, 0.1).is_err());
    }
}
