use crate::special::t_two_sided;
use crate::welch::Sample;
use crate::{Alpha, Error, Estimate};

/// Fewest rounds on each side for a judgement.
const MIN_ROUNDS: usize = 8;

/// How a figure changed between the rounds before and those after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeforeAfter {
    /// After over before; [`Estimate::to_lift`] makes it a lift.
    pub ratio: Estimate,
    /// The t statistic; positive means slower after. 0 where the rounds do not bound the change.
    pub t: f64,
    /// Degrees of freedom; `None` where the rounds do not bound the change.
    pub degrees_of_freedom: Option<f64>,
    /// Two-sided p-value, for one look at the planned number of rounds.
    pub p_value: f64,
    /// Whether there are at least 8 rounds on each side.
    pub enough: bool,
}

/// Compares a figure per round, such as a quantile of a load test, before a change and after it.
///
/// **Estimand**: the ratio of the geometric means of the figure over rounds. The unit is the round, not the
/// request: requests of one round share its noise, so that request-level intervals find a difference
/// between two rounds of the same code in 53 % of cases.
///
/// **Formula**: [`Welch`](crate::Welch)'s t test on the logarithms. **Source**: Welch 1947.
///
/// **Assumptions**: rounds are independent, and nothing but the change differs between the sides;
/// interleave them A B B A where both builds can run, otherwise drift between the runs cannot be told from
/// the change. **Guarantee**: asymptotic in rounds, near its level from 8 rounds on each side, **for one
/// look**.
///
/// **Behaviour at the edges**: below two rounds on a side, or when all rounds of both sides are equal,
/// nothing is known but the point. Fails on a figure that is not positive and finite.
///
/// ```
/// use latency_experiment_stats::{Alpha, before_after};
///
/// let before = [212.0, 205.0, 209.0, 220.0, 207.0, 211.0, 208.0, 214.0];
/// let after = [171.0, 168.0, 175.0, 169.0, 173.0, 166.0, 170.0, 172.0];
/// let change = before_after(&before, &after, Alpha::DEFAULT)?;
/// assert!(change.enough && change.ratio.to_lift().upper < -0.1); // credibly more than 10 % faster
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn before_after(before: &[f64], after: &[f64], alpha: Alpha) -> Result<BeforeAfter, Error> {
    let [a, b] = [Sample::of_logarithms(before, "round")?, Sample::of_logarithms(after, "round")?];
    let log_mean = |rounds: &[f64]| {
        let total: f64 = rounds.iter().map(|round| round.ln()).sum();
        (!rounds.is_empty()).then(|| total / rounds.len() as f64)
    };
    let point = log_mean(before).zip(log_mean(after)).map(|(a, b)| (b - a).exp());
    let unknown = BeforeAfter {
        ratio: Estimate { point, ..Estimate::unknown_ratio(alpha) },
        t: 0.0,
        degrees_of_freedom: None,
        p_value: t_two_sided(0.0, 1.0),
        enough: before.len().min(after.len()) >= MIN_ROUNDS,
    };
    let test = a.zip(b).and_then(|(a, b)| a.compare(b, alpha));
    Ok(test.map_or(unknown, |test| {
        let test = test.exponentiated();
        BeforeAfter {
            ratio: test.effect,
            t: test.t,
            degrees_of_freedom: Some(test.degrees_of_freedom),
            p_value: test.p_value,
            ..unknown
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rounds_are_not_enough() {
        let seven = [10.0, 11.0, 10.5, 10.2, 10.8, 10.1, 10.4];
        let change = before_after(&seven, &seven, Alpha::DEFAULT).unwrap();
        assert!(!change.enough && change.ratio.contains(1.0));
        let one = before_after(&seven[..1], &seven, Alpha::DEFAULT).unwrap();
        assert_eq!((one.ratio.lower, one.p_value), (0.0, 1.0));
        assert!(one.ratio.point.is_some());
        let none = before_after(&[], &seven, Alpha::DEFAULT).unwrap();
        assert_eq!(none.ratio, Estimate::unknown_ratio(Alpha::DEFAULT));
        let equal = before_after(&[5.0; 9], &[4.0; 9], Alpha::DEFAULT).unwrap();
        assert_eq!(equal.degrees_of_freedom, None);
        assert!((equal.ratio.point.unwrap() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn impossible_figures_are_refused() {
        for figure in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(before_after(&[figure, 1.0], &[1.0], Alpha::DEFAULT).is_err());
        }
    }
}
