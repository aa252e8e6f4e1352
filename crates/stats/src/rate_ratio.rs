use crate::beta_binomial::bernoulli_bounds;
use crate::evidence::average_log_e;
use crate::label::EFFECTS;
use crate::special::{increasing_root, increasing_root_between};
use crate::{Alpha, Alternative, Error, Estimate, Share};

/// Log ratios around the hypothesis, both signs, over which the interval of several epochs averages.
const STEPS: [f64; 9] = [0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

/// No ratio of two 64-bit counts, however skewed the share, has a logarithm beyond this.
const LARGEST_LOG_RATIO: f64 = 800.0;

/// Events, such as errors or cancelled requests, that each arm had during one epoch.
///
/// Only the events count, not the requests without: the known share says how they should split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventCounts {
    /// Share of the two arms' requests that the variation was assigned.
    pub share: Share,
    /// Events of the control.
    pub control: u64,
    /// Events of the variation.
    pub variation: u64,
}

/// Confidence sequence for the ratio of two event rates.
///
/// **Estimand**: theta = P(event | variation) / P(event | control) for each request.
///
/// **Formula**: an event falls into the variation with probability q = share theta / (share theta + 1 -
/// share). In one epoch the interval is that of [`bernoulli_confidence_sequence`](crate::bernoulli_confidence_sequence) for q, turned into theta.
/// Over several epochs it holds every theta with ln E below ln(1/alpha), where, with `q_j` at theta
/// `exp(d_j)`,
///
/// ```text
/// E(theta) = mean_j exp( sum over epochs [variation ln(q_j / q) + control ln((1 - q_j) / (1 - q))] )
/// ```
///
/// for d = plus and minus 0.0125, 0.025, ..., 3.2. The point estimate maximises the likelihood.
///
/// **Source**: the conditional test of two Poisson or binomial rates (Przyborowski & Wilenski 1940), made valid
/// at every look by Howard et al. 2021 and Lindon & Malek 2022.
///
/// **Assumptions**: requests are assigned independently with the known share of their epoch; theta is constant.
/// The base rate may vary in any way. Not for sticky assignment.
///
/// **Guarantee**: exact for every n: with probability at least 1 - alpha the interval holds theta at all looks
/// together.
///
/// `tuned_for` is the number of events at which the interval of one epoch is tightest; several epochs do not
/// use it. Fails when it is not positive and finite.
///
/// **Numerics**: each end to 1e-12; counts enter linearly. **Behaviour at the edges**: without events
/// nothing is known; an arm without events leaves its side open (0 or infinity). Epochs without events do
/// not count as epochs.
///
/// ```
/// use latency_experiment_stats::{Alpha, EventCounts, Share, rate_ratio};
///
/// let epoch = EventCounts { share: Share::HALF, control: 400, variation: 800 };
/// let ratio = rate_ratio(&[epoch], 1_000.0, Alpha::DEFAULT)?;
/// assert_eq!(ratio.point, Some(2.0));
/// assert!(ratio.lower > 1.6 && ratio.upper < 2.5);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn rate_ratio(epochs: &[EventCounts], tuned_for: f64, alpha: Alpha) -> Result<Estimate, Error> {
    let used: Vec<EventCounts> =
        epochs.iter().copied().filter(|epoch| epoch.control > 0 || epoch.variation > 0).collect();
    if let [one] = used[..] {
        return one_epoch(one, tuned_for, alpha);
    }
    // Refuses the same inputs whatever the data.
    bernoulli_bounds(0, 0, tuned_for, alpha)?;
    Ok(several_epochs(&used, alpha))
}

/// ln E against "the ratio of the event rates is at most `ratio`" ([`Alternative::Greater`]), "at least"
/// ([`Alternative::Less`]) or "exactly" ([`Alternative::TwoSided`]).
///
/// A guardrail with a margin m asks with `ratio` = 1 + m whether the variation has more than (1 + m) times
/// the errors; the proof that it has not asks with [`Alternative::Less`].
///
/// **Formula**: as for [`rate_ratio`], with `theta_j = ratio exp(d_j)` and d = 0.05, 0.1, ..., 3.2,
/// negative for `Less`, both signs for `TwoSided`.
///
/// **Source**: as for `rate_ratio`; the average of likelihood ratios over alternatives is Robbins 1970.
///
/// **Assumptions**: independent assignment with the known share of each epoch. Rates may vary in any way.
///
/// **Guarantee**: exact for every n. P(E ever reaches 1/alpha) <= alpha when the hypothesis holds for every
/// request.
///
/// **Numerics**: relative error 1e-15 of the largest term. No events give 0. Fails when `ratio` is not positive
/// and finite.
///
/// ```
/// use latency_experiment_stats::{Alternative, EventCounts, Share, rate_ratio_log_e};
///
/// let epoch = EventCounts { share: Share::HALF, control: 400, variation: 800 };
/// assert!(rate_ratio_log_e(&[epoch], 1.2, Alternative::Greater)? > 1_000_f64.ln());
/// assert!(rate_ratio_log_e(&[epoch], 2.5, Alternative::Greater)? < 0.0);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn rate_ratio_log_e(
    epochs: &[EventCounts],
    ratio: f64,
    alternative: Alternative,
) -> Result<f64, Error> {
    if !(ratio > 0.0 && ratio.is_finite()) {
        return Err(Error::NotPositive { what: "rate ratio", value: ratio });
    }
    let signs = alternative.signs();
    let steps = signs.iter().flat_map(|sign| EFFECTS.map(|size| Step::new(sign * size)));
    Ok(mixture(epochs, ratio.ln(), &steps.collect::<Vec<_>>()))
}

fn one_epoch(epoch: EventCounts, tuned_for: f64, alpha: Alpha) -> Result<Estimate, Error> {
    let (control, variation) = (epoch.control as f64, epoch.variation as f64);
    let events = epoch.control.saturating_add(epoch.variation);
    let (of_variation, of_control) = bernoulli_bounds(epoch.variation, events, tuned_for, alpha)?;
    let odds = (1.0 - epoch.share.get()) / epoch.share.get();
    let point = odds * (variation / control);
    Ok(Estimate {
        point: Some(point),
        // Rounding must not push an end across the point.
        lower: (odds * (of_variation / (1.0 - of_variation))).min(point),
        // A probability of 1 is an infinite ratio.
        upper: (odds * ((1.0 - of_control) / of_control)).max(point),
        alpha,
    })
}

fn several_epochs(epochs: &[EventCounts], alpha: Alpha) -> Estimate {
    if epochs.is_empty() {
        return Estimate::unknown_ratio(alpha);
    }
    let any = |count: fn(&EventCounts) -> u64| epochs.iter().any(|epoch| count(epoch) > 0);
    // Falls in the ratio: the events of the variation beyond those expected.
    let expected_excess = |log_ratio: f64| -> f64 {
        epochs
            .iter()
            .map(|epoch| {
                let expected = variation_share(epoch.share, log_ratio);
                // Each term is scaled by its rarer side, which keeps digits where a share is extreme.
                epoch.control as f64 * expected - epoch.variation as f64 * (1.0 - expected)
            })
            .sum()
    };
    let point = match (any(|epoch| epoch.control), any(|epoch| epoch.variation)) {
        (true, true) => {
            increasing_root(expected_excess, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO, 1e-13)
        }
        (true, false) => -LARGEST_LOG_RATIO,
        _ => LARGEST_LOG_RATIO,
    };
    let threshold = alpha.log_threshold();
    let steps = STEPS.into_iter().flat_map(|size| [size, -size]).map(Step::new);
    let steps: Vec<Step> = steps.collect();
    let excess = |log_ratio: f64| mixture(epochs, log_ratio, &steps) - threshold;
    // The interval is a few standard errors wide: searched outward from there, an end is found in a dozen
    // evaluations.
    let sum =
        |count: fn(&EventCounts) -> u64| epochs.iter().map(|one| count(one) as f64).sum::<f64>();
    let error = sum(|one| one.control).max(0.5).recip() + sum(|one| one.variation).max(0.5).recip();
    let end = |direction: f64| {
        let limit = direction * LARGEST_LOG_RATIO;
        let (mut near, mut reach) = ((point, excess(point)), 4.0 * error.sqrt());
        loop {
            let far = (point + direction * reach).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO);
            let at_far = excess(far);
            if at_far >= 0.0 {
                let (low, high) = ((near.0 * direction, near.1), (far * direction, at_far));
                let root = |at: f64| excess(direction * at);
                return Some(direction * increasing_root_between(root, low, high, 1e-13));
            }
            if far == limit {
                return None;
            }
            near = (far, at_far);
            reach *= 2.0;
        }
    };
    let (lower, upper) =
        (end(-1.0).map_or(0.0, f64::exp), end(1.0).map_or(f64::INFINITY, f64::exp));
    // exp of the largest logarithm is infinite, but that of the smallest not quite 0.
    let point = if point <= -LARGEST_LOG_RATIO { 0.0 } else { point.exp() };
    Estimate { point: Some(point), lower: lower.min(point), upper: upper.max(point), alpha }
}

/// A step of the log ratio, with its exponentials.
struct Step {
    size: f64,
    /// exp(size) - 1.
    up: f64,
    /// exp(-size) - 1.
    down: f64,
}

impl Step {
    fn new(size: f64) -> Self {
        Self { size, up: size.exp_m1(), down: (-size).exp_m1() }
    }
}

/// ln of the average likelihood ratio of `log_ratio + d` against `log_ratio`.
fn mixture(epochs: &[EventCounts], log_ratio: f64, steps: &[Step]) -> f64 {
    let shares: Vec<f64> =
        epochs.iter().map(|epoch| variation_share(epoch.share, log_ratio)).collect();
    average_log_e(steps.iter().map(|step| {
        let likelihood_ratio = |(epoch, share): (&EventCounts, &f64)| {
            let (control, variation) = (epoch.control as f64, epoch.variation as f64);
            // ln((1 - q) / (1 - q_j)), from whichever side does not cancel.
            let total = if step.size > 0.0 {
                step.size + ((1.0 - share) * step.down).ln_1p()
            } else {
                (share * step.up).ln_1p()
            };
            variation * (step.size - total) - control * total
        };
        (1.0, epochs.iter().zip(&shares).map(likelihood_ratio).sum())
    }))
}

/// The probability that an event falls into the variation.
fn variation_share(share: Share, log_ratio: f64) -> f64 {
    let log_odds = (share.get() / (1.0 - share.get())).ln() + log_ratio;
    1.0 / (1.0 + (-log_odds).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(share: f64, control: u64, variation: u64) -> EventCounts {
        EventCounts { share: Share::new(share).unwrap(), control, variation }
    }

    fn ratio(epochs: &[EventCounts]) -> Estimate {
        rate_ratio(epochs, 1_000.0, Alpha::DEFAULT).unwrap()
    }

    #[test]
    fn several_epochs_agree_with_a_direct_evaluation() {
        // E at both ends is 20 by the formula as it stands.
        let epochs = [epoch(0.01, 990, 13), epoch(0.25, 300, 140), epoch(0.5, 200, 290)];
        let estimate = ratio(&epochs);
        for theta in [estimate.lower, estimate.upper] {
            let q = |share: f64, theta: f64| share * theta / (share * theta + 1.0 - share);
            let terms = STEPS.into_iter().flat_map(|step| [step, -step]).map(|step| {
                let log: f64 = epochs
                    .iter()
                    .map(|epoch| {
                        let share = epoch.share.get();
                        let (q0, q1) = (q(share, theta), q(share, theta * f64::exp(step)));
                        epoch.variation as f64 * (q1 / q0).ln()
                            + epoch.control as f64 * ((1.0 - q1) / (1.0 - q0)).ln()
                    })
                    .sum();
                log.exp() / 18.0
            });
            let e: f64 = terms.sum();
            assert!((e - 20.0).abs() < 1e-7, "{theta}: {e}");
        }
        assert!(estimate.contains(estimate.point.unwrap()) && estimate.contains(1.4));
    }

    #[test]
    fn splitting_one_epoch_keeps_the_point_and_nearly_the_interval() {
        let whole = ratio(&[epoch(0.2, 800, 300)]);
        let halves = ratio(&[epoch(0.2, 400, 150), epoch(0.2, 400, 150)]);
        assert!((whole.point.unwrap() - halves.point.unwrap()).abs() < 1e-11);
        assert!((whole.lower / halves.lower - 1.0).abs() < 0.05, "{whole:?} {halves:?}");
        assert!((whole.upper / halves.upper - 1.0).abs() < 0.05, "{whole:?} {halves:?}");
    }

    #[test]
    fn arms_without_events_leave_their_side_open() {
        assert_eq!(ratio(&[]), Estimate::unknown_ratio(Alpha::DEFAULT));
        assert_eq!(ratio(&[epoch(0.5, 0, 0)]).point, None);
        for epochs in [vec![epoch(0.5, 0, 40)], vec![epoch(0.5, 0, 40), epoch(0.1, 0, 9)]] {
            let more = ratio(&epochs);
            assert_eq!((more.point, more.upper), (Some(f64::INFINITY), f64::INFINITY));
            assert!(more.lower > 1.5, "{more:?}");
        }
        for epochs in [vec![epoch(0.5, 40, 0)], vec![epoch(0.5, 40, 0), epoch(0.9, 9, 0)]] {
            let fewer = ratio(&epochs);
            assert_eq!((fewer.point, fewer.lower), (Some(0.0), 0.0));
            assert!(fewer.upper < 0.7, "{fewer:?}");
        }
    }

    #[test]
    fn extreme_counts_and_shares_stay_numbers() {
        for share in [1e-12, 0.3, 1.0 - 1e-12] {
            for (a, b) in [(0, 1), (1, 0), (1_000_000_000_000, 3), (u64::MAX, u64::MAX)] {
                for epochs in [vec![epoch(share, a, b)], vec![epoch(share, a, b), epoch(0.5, b, a)]]
                {
                    let estimate = ratio(&epochs);
                    assert!(estimate.lower <= estimate.upper, "{epochs:?}: {estimate:?}");
                    assert!(estimate.contains(estimate.point.unwrap()), "{estimate:?}");
                    for alternative in [Alternative::Greater, Alternative::TwoSided] {
                        let log_e = rate_ratio_log_e(&epochs, 1.1, alternative).unwrap();
                        assert!(!log_e.is_nan(), "{epochs:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_margin_is_the_null_hypothesis() {
        let twice = [epoch(0.5, 1_000, 2_000)];
        let log_e = |ratio, alternative| rate_ratio_log_e(&twice, ratio, alternative).unwrap();
        assert!(log_e(1.0, Alternative::Greater) > 100.0);
        assert!(log_e(2.0, Alternative::Greater) < 0.0);
        assert!(log_e(2.5, Alternative::Less) > 10.0);
        assert!(rate_ratio_log_e(&twice, 0.0, Alternative::Less).is_err());
        assert!(rate_ratio_log_e(&[], 1.5, Alternative::TwoSided).unwrap().abs() < 1e-12);
    }
}
