use crate::special::quantile as normal_quantile;
use crate::{Alpha, Estimate};

/// Wilson's interval for a rate.
///
/// **Estimand**: the probability of an event such as an error. **Formula**: the p with
/// `|k/n - p| <= z sqrt(p (1 - p) / n)`, z the normal quantile at 1 - alpha/2. **Source**: Wilson 1927.
///
/// **Assumptions**: independent trials. **Guarantee**: asymptotic, **for one look at a sample size fixed in
/// advance**, but near its level from few trials on, also at rates near 0. More events than trials count as all
/// of them. Without trials the interval is 0 to 1.
///
/// ```
/// use latency_experiment_stats::{Alpha, wilson};
///
/// let errors = wilson(0, 100, Alpha::DEFAULT);
/// assert_eq!((errors.point, errors.lower), (Some(0.0), 0.0));
/// assert!((errors.upper - 0.037).abs() < 1e-3);
/// ```
pub fn wilson(events: u64, trials: u64, alpha: Alpha) -> Estimate {
    if trials == 0 {
        return Estimate { point: None, lower: 0.0, upper: 1.0, alpha };
    }
    let (events, n) = (events.min(trials) as f64, trials as f64);
    let rate = events / n;
    let z = normal_quantile(0.5 * alpha.get());
    let squared = z * z / n;
    let center = rate + 0.5 * squared;
    let reach = z.abs() * ((rate * (1.0 - rate) + 0.25 * squared) / n).sqrt();
    // No event and nothing but events bound exactly, which the difference of two equal numbers may miss.
    let lower = if events == 0.0 { 0.0 } else { ((center - reach) / (1.0 + squared)).max(0.0) };
    let upper = if events == n { 1.0 } else { ((center + reach) / (1.0 + squared)).min(1.0) };
    Estimate { point: Some(rate), lower: lower.min(rate), upper: upper.max(rate), alpha }
}

/// Newcombe's interval for the difference of two rates, variation minus control.
///
/// **Estimand**: P(event | variation) - P(event | control). **Formula**: with the [`wilson`] intervals of
/// both rates,
///
/// ```text
/// lower = d - sqrt((p_B - l_B)^2 + (u_A - p_A)^2),   upper = d + sqrt((u_B - p_B)^2 + (p_A - l_A)^2)
/// ```
///
/// **Source**: Newcombe 1998, method 10. **Assumptions, guarantee**: as for `wilson`. An arm without trials
/// gives the interval -1 to 1 and no point. Pairs are (events, trials).
///
/// ```
/// use latency_experiment_stats::{Alpha, newcombe};
///
/// let difference = newcombe((30, 400), (33, 400), Alpha::DEFAULT);
/// assert!((difference.point.unwrap() - 0.0075).abs() < 1e-12);
/// assert!(difference.contains(0.0));
/// ```
pub fn newcombe(control: (u64, u64), variation: (u64, u64), alpha: Alpha) -> Estimate {
    let [a, b] = [control, variation].map(|(events, trials)| wilson(events, trials, alpha));
    let Some((rate_a, rate_b)) = a.point.zip(b.point) else {
        return Estimate { point: None, lower: -1.0, upper: 1.0, alpha };
    };
    let difference = rate_b - rate_a;
    Estimate {
        point: Some(difference),
        lower: (difference - (rate_b - b.lower).hypot(a.upper - rate_a)).max(-1.0),
        upper: (difference + (b.upper - rate_b).hypot(rate_a - a.lower)).min(1.0),
        alpha,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_stay_inside() {
        for (events, trials) in
            [(0, 1), (1, 1), (0, 0), (7, 3), (u64::MAX, u64::MAX), (1, u64::MAX)]
        {
            let rate = wilson(events, trials, Alpha::DEFAULT);
            assert!(0.0 <= rate.lower && rate.lower <= rate.upper && rate.upper <= 1.0, "{rate:?}");
            assert!(rate.point.is_none_or(|point| rate.contains(point)), "{rate:?}");
            let difference = newcombe((events, trials), (trials, trials), Alpha::DEFAULT);
            assert!(-1.0 <= difference.lower && difference.upper <= 1.0, "{difference:?}");
        }
    }

    #[test]
    fn swapping_the_arms_negates_the_difference() {
        let there = newcombe((3, 50), (20, 700), Alpha::DEFAULT);
        let back = newcombe((20, 700), (3, 50), Alpha::DEFAULT);
        assert_eq!((there.lower, there.upper), (-back.upper, -back.lower));
    }
}
