use crate::search::first_true;
use crate::special::{ln_beta_cdf, quantile as normal_quantile};
use crate::{Alpha, BetaBinomial, Distribution, Edges, Error, Estimate, Quantile};

/// Confidence sequence for a quantile of one arm.
///
/// **Estimand**: the `quantile` of the distribution that the observations are drawn from.
///
/// **Formula**: the number of observations up to the true quantile is binomial, so every rank k at which
/// [`BetaBinomial`] of probability `quantile` reaches 1/alpha is excluded; the interval is the order
/// statistics at the outermost ranks that remain, with outward bucket edges.
///
/// **Source**: Howard & Ramdas 2022, "Sequential estimation of quantiles", Theorem 1 in its
/// beta-binomial form.
///
/// **Assumptions**: observations are independent and identically distributed over time. With load that swings
/// the interval speaks of the superpopulation; comparisons of two arms do not need this.
/// **Guarantee**: exact for every n; holds at all looks together with probability 1 - alpha.
///
/// `tuned_for` is the number of observations at which the interval is tightest, for a report with
/// [`TunedFor`](crate::TunedFor) n* usually 2 n*. It is tuned at level 0.05 whatever `alpha` is.
///
/// **Behaviour at the edges**: an end is infinite when no possible rank on its side reaches 1/alpha, as with
/// few observations at a far quantile, or when it falls among observations at infinity. No observations
/// give no point and an unbounded interval. Fails when `tuned_for` is not positive and finite.
///
/// ```
/// use latency_experiment_stats::{Alpha, Distribution, Quantile, quantile_confidence_sequence};
///
/// let arm = Distribution::from_points((1..=1_000).map(|ms| (ms, 10)))?;
/// let median = quantile_confidence_sequence(&arm, Quantile::P50, 10_000.0, Alpha::DEFAULT)?;
/// assert_eq!(median.point, Some(500.0));
/// assert!(median.lower > 480.0 && median.upper < 520.0);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn quantile_confidence_sequence(
    distribution: &Distribution,
    quantile: Quantile,
    tuned_for: f64,
    alpha: Alpha,
) -> Result<Estimate, Error> {
    let mixture = BetaBinomial::new(quantile.get(), tuned_for, Alpha::DEFAULT)?;
    let n = distribution.count();
    let center = ((quantile.get() * n as f64).round() as u64).min(n);
    let bottom = mixture.log_e(center, n);
    let search = RankSearch { mixture, n, center, bottom, threshold: alpha.log_threshold() };
    Ok(between(distribution, quantile, alpha, search.lower(), search.upper()))
}

/// Confidence interval for a quantile of one arm, for one look at a sample size fixed in advance.
///
/// **Estimand and source**: as in every textbook of order statistics (David & Nagaraja 2003, section 7.1);
/// the ranks are the binomial quantile at alpha/2 and one more than that at 1 - alpha/2, as in
/// `scipy.stats.quantile_test`. **Guarantee**: exact for independent observations; coverage at least
/// 1 - alpha. An end without a rank is infinite, which small samples at far quantiles always are.
pub fn quantile_confidence_interval(
    distribution: &Distribution,
    quantile: Quantile,
    alpha: Alpha,
) -> Estimate {
    let n = distribution.count();
    let tail = 0.5 * alpha.get();
    let rank_below = |level: f64, upper: bool| {
        if n == 0 { 0 } else { binomial_rank(n, quantile.get(), level, upper) }
    };
    let lower = rank_below(tail, false);
    let upper = rank_below(tail, true) + 1;
    between(distribution, quantile, alpha, Some(lower), Some(upper))
}

/// The interval between two ranks, outward to their bucket edges.
fn between(
    distribution: &Distribution,
    quantile: Quantile,
    alpha: Alpha,
    lower: Option<u64>,
    upper: Option<u64>,
) -> Estimate {
    let at = |rank: Option<u64>| rank.and_then(|rank| distribution.order_statistic(rank));
    Estimate {
        point: distribution.quantile(quantile),
        lower: at(lower).map_or(Edges::BELOW.lower, |edges| edges.lower),
        upper: at(upper).map_or(Edges::ABOVE.upper, |edges| edges.upper),
        alpha,
    }
}

/// Finds the ranks at which the mixture crosses its threshold.
struct RankSearch {
    mixture: BetaBinomial,
    n: u64,
    center: u64,
    /// ln E at the centre, where it is smallest.
    bottom: f64,
    threshold: f64,
}

impl RankSearch {
    /// The smallest rank that is not excluded, or `None` when none below the centre is excluded.
    fn lower(&self) -> Option<u64> {
        self.first_excluded(self.center, |steps| self.center - steps)
            .map(|steps| self.center - steps + 1)
    }

    /// The smallest rank that is excluded above the centre.
    fn upper(&self) -> Option<u64> {
        self.first_excluded(self.n - self.center, |steps| self.center + steps)
            .map(|steps| self.center + steps)
    }

    /// How many steps from the centre the first excluded rank lies, if at most `reach`.
    ///
    /// ln E falls towards the centre and grows away from it. A guess by Newton's method on its square root,
    /// which is nearly linear, then doubling steps around the guess, then bisection: about four evaluations
    /// instead of the thirty of plain bisection.
    fn first_excluded(&self, reach: u64, rank: impl Fn(u64) -> u64) -> Option<u64> {
        let excluded = |steps: u64| self.mixture.log_e(rank(steps), self.n) >= self.threshold;
        let guess = if reach > 0 { self.guess(reach, &rank) } else { 0 };
        let steps = first_true(guess, reach, excluded);
        // The search takes the last step for granted.
        (steps < reach || excluded(reach)).then_some(steps)
    }

    fn guess(&self, reach: u64, rank: &impl Fn(u64) -> u64) -> u64 {
        let n = self.n as f64;
        let center = self.center as f64;
        let direction = if rank(reach) < self.center { -1.0 } else { 1.0 };
        let target = (2.0 * (self.threshold - self.bottom)).sqrt();
        // Where the threshold would be if ln E were the parabola of its normal approximation.
        let mut steps = (target * self.mixture.spread_at(n)).clamp(1.0, reach as f64);
        for _ in 0..2 {
            let at = center + direction * steps;
            let height = (2.0 * (self.mixture.log_e_at(at, n) - self.bottom)).sqrt();
            let slope = direction * self.mixture.slope_at(at, n);
            if height > 0.0 && slope > 0.0 {
                steps = (steps + (target - height) * height / slope).clamp(1.0, reach as f64);
            }
        }
        (steps.ceil() as u64).clamp(1, reach)
    }
}

/// The binomial quantile: the smallest k with P(X <= k) >= `tail`, or, for the upper one, with
/// P(X > k) <= `tail`.
fn binomial_rank(n: u64, p: f64, tail: f64, upper: bool) -> u64 {
    let log_tail = tail.ln();
    let reached = |k: u64| {
        if k >= n {
            return true;
        }
        let (successes, failures) = (k as f64 + 1.0, (n - k) as f64);
        if upper {
            // P(X > k) = I_p(k + 1, n - k).
            ln_beta_cdf(p, 1.0 - p, successes, failures) <= log_tail
        } else {
            // P(X <= k) = I_{1-p}(n - k, k + 1).
            ln_beta_cdf(1.0 - p, p, failures, successes) >= log_tail
        }
    };
    let z = normal_quantile(if upper { 1.0 - tail } else { tail });
    let spread = (n as f64 * p * (1.0 - p)).sqrt();
    let guess = ((n as f64 * p + z * spread).max(0.0) as u64).min(n);
    first_true(guess, n, reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_definition() {
        for (n, q) in [(1, 0.5), (60, 0.5), (500, 0.95), (4_000, 0.99), (4_000, 0.01)] {
            let arm = Distribution::from_points((1..=n).map(|value| (value, 1))).unwrap();
            let quantile = Quantile::new(q).unwrap();
            let mixture = BetaBinomial::new(q, 1_000.0, Alpha::DEFAULT).unwrap();
            let kept: Vec<u64> =
                (0..=n).filter(|&k| mixture.log_e(k, n) < Alpha::DEFAULT.log_threshold()).collect();
            let interval =
                quantile_confidence_sequence(&arm, quantile, 1_000.0, Alpha::DEFAULT).unwrap();
            let (first, last) = (kept[0], kept[kept.len() - 1]);
            let lower = if first == 0 { f64::NEG_INFINITY } else { first as f64 };
            let upper = if last == n { f64::INFINITY } else { last as f64 + 1.0 };
            assert_eq!((interval.lower, interval.upper), (lower, upper), "n {n}, q {q}");
        }
    }

    #[test]
    fn too_little_data_bounds_nothing() {
        for arm in [Distribution::default(), Distribution::from_points([(5, 3)]).unwrap()] {
            let sequence =
                quantile_confidence_sequence(&arm, Quantile::P99, 1_000.0, Alpha::DEFAULT).unwrap();
            assert_eq!((sequence.lower, sequence.upper), (f64::NEG_INFINITY, f64::INFINITY));
            let interval = quantile_confidence_interval(&arm, Quantile::P99, Alpha::DEFAULT);
            assert_eq!(interval.upper, f64::INFINITY);
        }
    }
}
