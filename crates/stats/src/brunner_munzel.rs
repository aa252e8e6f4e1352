use crate::grid::walk;
use crate::special::{t_critical, t_two_sided, two_sided};
use crate::{Alpha, Boundary, Comparison, Distribution, Estimate, Evidence};

/// How often the variation is the slower one, with an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrunnerMunzel {
    /// P(variation > control) + half of P(equal): 0.5 when neither is slower, 1 when the variation always is.
    pub probability_slower: Estimate,
    /// Standard error of the probability.
    pub standard_error: f64,
    /// Degrees of freedom of the fixed-n interval; `None` where the standard error is 0.
    pub degrees_of_freedom: Option<f64>,
    /// Evidence against one half; none where the standard error is 0.
    pub evidence: Evidence,
}

impl BrunnerMunzel {
    /// The studentised statistic: infinite when one arm is always the slower one, 0 at exactly one half.
    pub fn statistic(&self) -> f64 {
        let excess = self.probability_slower.point.map_or(0.0, |point| point - 0.5);
        if excess == 0.0 { 0.0 } else { excess / self.standard_error }
    }

    /// Two-sided p-value of the statistic by the normal distribution, for one look at a planned sample
    /// size; the t distribution of [`evidence`](Self::evidence) is better below some hundred requests.
    pub fn normal_p_value(&self) -> f64 {
        two_sided(self.statistic())
    }
}

/// The probability that a request is slower in the variation, with a variance that needs no equal shapes.
///
/// **Estimand**: P(B > A) + P(B = A) / 2 for requests of the same stratum, averaged with the weights of the
/// strata: the effect size of the Mann-Whitney test. Not a statement about medians or means.
///
/// **Formula**: with mid distribution functions F and the mean AUC of `F_A` over the variation, per stratum
///
/// ```text
/// v_B  = sum_B (F_A - AUC)^2 / (m - 1),   v_A = sum_A (F_B - (1 - AUC))^2 / (n - 1)
/// SE^2 = v_A / n + v_B / m,               df  = SE^4 / [(v_A / n)^2 / (n - 1) + (v_B / m)^2 / (m - 1)]
/// ```
///
/// and over strata `sum w_h AUC_h` with `sum w_h^2 SE_h^2`, df likewise.
///
/// **Source**: Brunner & Munzel 2000; anytime with the radius of [`NormalMixture`](crate::NormalMixture)
/// (Waudby-Smith et al. 2024). One stratum with [`Boundary::FixedN`] is scipy's `brunnermunzel`.
///
/// **Assumptions**: independent assignment. **Guarantee**: asymptotic; at one look with a t interval, or at all
/// looks together, as the boundary says.
///
/// **Numerics**: O(buckets), relative error 1e-12. The interval is cut to 0..=1.
///
/// **Behaviour at the edges**: strata with fewer than two requests in an arm are left out; `None` without any
/// other. When the arms do not overlap, or all values tie, the variance is 0: the point stays, the interval
/// is 0 to 1, and there is no evidence (use [`mann_whitney`](crate::mann_whitney), whose variance does not
/// vanish).
///
/// ```
/// use latency_experiment_stats::{Alpha, Boundary, Comparison, Distribution, brunner_munzel};
///
/// let control = Distribution::from_points((0..100).map(|ms| (ms, 50)))?;
/// let variation = Distribution::from_points((0..100).map(|ms| (ms + 10, 50)))?;
/// let pair = Comparison::pair(control, variation)?;
/// let effect = brunner_munzel(&pair, Boundary::default(), Alpha::DEFAULT).unwrap();
/// assert!((effect.probability_slower.point.unwrap() - 0.595).abs() < 1e-12);
/// assert!(effect.probability_slower.lower > 0.57);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn brunner_munzel(
    comparison: &Comparison,
    boundary: Boundary,
    alpha: Alpha,
) -> Option<BrunnerMunzel> {
    let strata: Vec<(f64, Placements)> = comparison
        .strata()
        .iter()
        .filter(|s| s.control.count().min(s.variation.count()) >= 2)
        .map(|stratum| (stratum.weight, Placements::of(&stratum.control, &stratum.variation)))
        .collect();
    let total: f64 = strata.iter().map(|(weight, _)| weight).sum();
    let average = |value: &dyn Fn(f64, &Placements) -> f64| -> f64 {
        strata.iter().map(|(weight, placements)| value(weight / total, placements)).sum()
    };
    if strata.is_empty() {
        return None;
    }
    let deff = comparison.design_effect();
    // The excess over one half, which keeps the digits of small effects.
    let excess = average(&|weight, placements| weight * placements.excess);
    let variance = deff * average(&|weight, placements| weight * weight * placements.variance());
    let point = (0.5 + excess).clamp(0.0, 1.0);
    let unknown = BrunnerMunzel {
        probability_slower: Estimate { point: Some(point), lower: 0.0, upper: 1.0, alpha },
        standard_error: variance.sqrt(),
        degrees_of_freedom: None,
        evidence: boundary.no_evidence(),
    };
    if variance <= 0.0 {
        return Some(unknown);
    }
    let error = variance.sqrt();
    let spread = deff * deff * average(&|weight, placements| weight.powi(4) * placements.spread());
    let degrees = variance * variance / spread;
    let z = excess / error;
    let (radius, evidence) = match boundary {
        Boundary::FixedN => (
            t_critical(alpha.get(), degrees),
            Evidence { z, log_e: None, p_value: t_two_sided(z, degrees) },
        ),
        Boundary::ConfidenceSequence { .. } => {
            let information = comparison.information();
            (boundary.radius(information, alpha), boundary.evidence(z, information, alpha))
        }
    };
    Some(BrunnerMunzel {
        probability_slower: Estimate {
            lower: (0.5 + (excess - radius * error)).max(0.0),
            upper: (0.5 + (excess + radius * error)).min(1.0),
            ..unknown.probability_slower
        },
        degrees_of_freedom: Some(degrees),
        evidence,
        ..unknown
    })
}

/// Where the requests of each arm lie in the distribution of the other, in one stratum.
struct Placements {
    control: f64,
    variation: f64,
    /// AUC - 1/2.
    excess: f64,
    /// Sample variance of `F_B` over the control.
    control_variance: f64,
    /// Sample variance of `F_A` over the variation.
    variation_variance: f64,
}

impl Placements {
    fn of(a: &Distribution, b: &Distribution) -> Self {
        let (n, m) = (a.count() as f64, b.count() as f64);
        let buckets = a.grid().edges().len().max(b.grid().edges().len());
        let mut ties: Vec<[f64; 4]> = Vec::with_capacity(buckets + 1);
        let (mut below_a, mut below_b) = (0, 0);
        let mut twice_u = 0;
        let mut add = |up_to_a: u64, up_to_b: u64| {
            let (in_a, in_b) = (up_to_a - below_a, up_to_b - below_b);
            if in_a == 0 && in_b == 0 {
                return;
            }
            twice_u += u128::from(in_b) * (2 * u128::from(below_a) + u128::from(in_a));
            // Mid distribution functions around one half.
            let f_a = (below_a as f64 + 0.5 * in_a as f64) / n - 0.5;
            let f_b = (below_b as f64 + 0.5 * in_b as f64) / m - 0.5;
            ties.push([in_a as f64, in_b as f64, f_a, f_b]);
            (below_a, below_b) = (up_to_a, up_to_b);
        };
        // Buckets of one comparison never overlap, so that the walk cannot fail.
        let _ = walk(a.cumulative(), b.cumulative(), |_, a, b| add(a, b));
        add(a.count(), b.count());
        // In integers, so that equal arms differ by exactly nothing.
        let pairs = u128::from(a.count()) * u128::from(b.count());
        let magnitude = twice_u.abs_diff(pairs) as f64 / (2.0 * pairs as f64);
        let excess = if twice_u < pairs { -magnitude } else { magnitude };
        let (mut control, mut variation) = (0.0, 0.0);
        for [in_a, in_b, f_a, f_b] in ties {
            control += in_a * (f_b + excess) * (f_b + excess);
            variation += in_b * (f_a - excess) * (f_a - excess);
        }
        Self {
            control: n,
            variation: m,
            excess,
            control_variance: control / (n - 1.0),
            variation_variance: variation / (m - 1.0),
        }
    }

    /// SE^2.
    fn variance(&self) -> f64 {
        self.control_variance / self.control + self.variation_variance / self.variation
    }

    /// SE^4 / df.
    fn spread(&self) -> f64 {
        (self.control_variance / self.control).powi(2) / (self.control - 1.0)
            + (self.variation_variance / self.variation).powi(2) / (self.variation - 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stratum;

    fn arm(points: &[(u64, u64)]) -> Distribution {
        Distribution::from_points(points.iter().copied()).unwrap()
    }

    fn fixed(a: &Distribution, b: &Distribution) -> Option<BrunnerMunzel> {
        let pair = Comparison::pair(a.clone(), b.clone()).unwrap();
        brunner_munzel(&pair, Boundary::FixedN, Alpha::DEFAULT)
    }

    #[test]
    fn separated_and_tied_arms_have_no_variance() {
        let (low, high) = (arm(&[(1, 9), (2, 9)]), arm(&[(5, 20), (6, 1)]));
        let apart = fixed(&low, &high).unwrap();
        assert_eq!((apart.statistic(), apart.normal_p_value()), (f64::INFINITY, 0.0));
        assert_eq!((apart.probability_slower.lower, apart.evidence.p_value), (0.0, 1.0));
        assert_eq!(fixed(&high, &low).unwrap().statistic(), f64::NEG_INFINITY);
        let tied = fixed(&arm(&[(5, 9)]), &arm(&[(5, 7)])).unwrap();
        assert_eq!((tied.probability_slower.point, tied.statistic()), (Some(0.5), 0.0));
        assert_eq!(fixed(&low, &arm(&[(1, 1)])), None);
        assert_eq!(fixed(&low, &Distribution::default()), None);
    }

    #[test]
    fn equal_strata_average_to_themselves() {
        let (a, b) = (arm(&[(1, 40), (2, 30), (3, 20)]), arm(&[(1, 30), (2, 30), (3, 40)]));
        let one = fixed(&a, &b).unwrap();
        let twice = [Stratum::by_requests(a.clone(), b.clone()), Stratum::by_requests(a, b)];
        let twice =
            brunner_munzel(&Comparison::new(twice).unwrap(), Boundary::FixedN, Alpha::DEFAULT)
                .unwrap();
        assert_eq!(one.probability_slower.point, twice.probability_slower.point);
        let ratio = one.standard_error / twice.standard_error;
        assert!((ratio - std::f64::consts::SQRT_2).abs() < 1e-12, "{ratio}");
        let ratio = twice.degrees_of_freedom.unwrap() / one.degrees_of_freedom.unwrap();
        assert!((ratio - 2.0).abs() < 1e-12, "{ratio}");
    }

    #[test]
    fn failures_are_slower_than_everything() {
        let control = arm(&[(1, 500), (2, 500)]);
        let failing = control.with_at_infinity(100).unwrap();
        let effect = fixed(&control, &failing).unwrap();
        assert!(effect.evidence.z > 3.0 && effect.probability_slower.lower > 0.5, "{effect:?}");
    }
}
