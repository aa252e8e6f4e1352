use crate::special::{quantile as normal_quantile, two_sided};
use crate::{Alpha, Estimate};

/// Events and requests of both arms in one stratum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateCounts {
    /// Events, such as errors, of the control.
    pub control_events: u64,
    /// All requests of the control.
    pub control_requests: u64,
    /// Events of the variation.
    pub variation_events: u64,
    /// All requests of the variation.
    pub variation_requests: u64,
}

/// What strata have in common in their event rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MantelHaenszel {
    /// Rate of the variation over rate of the control within a stratum.
    pub risk_ratio: Estimate,
    /// Odds of the variation over odds of the control within a stratum.
    pub odds_ratio: Estimate,
    /// The Cochran-Mantel-Haenszel statistic, chi-squared with one degree of freedom without an effect.
    pub chi_squared: f64,
    /// Its p-value for one look at the planned sample size.
    pub p_value: f64,
    /// The statistic with continuity correction.
    pub corrected_chi_squared: f64,
    /// The p-value with continuity correction, which is nearer to the exact conditional one in small samples.
    pub corrected_p_value: f64,
    /// Strata with requests in both arms.
    pub strata: usize,
}

/// Stratified comparison of event rates.
///
/// **Estimand**: the risk ratio and the odds ratio that strata have in common, and whether it is 1. Adjusts for
/// strata, such as routes, that differ in their rates and in how many requests of each arm they got.
///
/// **Formula**: with a, b events and other requests of the variation, c, d of the control, n all requests,
///
/// ```text
/// RR  = sum a (c + d) / n  /  sum c (a + b) / n
/// OR  = sum R / sum S,  R = a d / n,  S = b c / n,  P = (a + d) / n,  Q = (b + c) / n
/// V(ln OR) = sum P R / (2 R.^2) + sum (P S + Q R) / (2 R. S.) + sum Q S / (2 S.^2)
/// V(ln RR) = sum [(a + b)(c + d)(a + c) - a c n] / n^2  /  (sum a (c + d) / n  sum c (a + b) / n)
/// CMH = (|sum (a - E a)| - cc)^2 / sum V a,   cc = 0 or 1/2
/// ```
///
/// where R. and S. are the sums and E, V hypergeometric.
///
/// **Source**: Mantel & Haenszel 1959; V(ln OR) Robins, Breslow & Greenland 1986; V(ln RR) Greenland &
/// Robins 1985; as in `statsmodels`' `StratifiedTable`.
///
/// **Assumptions**: independent requests. **Guarantee**: asymptotic, in large strata or many small ones,
/// **for one look at a sample size fixed in advance**; [`rate_ratio`](crate::rate_ratio) and
/// [`label_log_e`](crate::label_log_e) hold at every look.
///
/// **Numerics**: in floats; relative error 1e-12. **Behaviour at the edges**: strata without requests in an arm
/// do not count; without any the result is `None`. More events than requests count as all of them. A ratio
/// without events in either arm is unknown; with events in one arm only its point is 0 or infinite and
/// its interval unbounded. A statistic without variance is 0.
///
/// ```
/// use latency_experiment_stats::{Alpha, RateCounts, mantel_haenszel};
///
/// // Errors double on both routes, however rare they are there.
/// let route = |control_events, variation_events| RateCounts {
///     control_events, control_requests: 10_000, variation_events, variation_requests: 10_000,
/// };
/// let common = mantel_haenszel(&[route(10, 20), route(100, 200)], Alpha::DEFAULT).unwrap();
/// assert!((common.risk_ratio.point.unwrap() - 2.0).abs() < 1e-12);
/// assert!(common.risk_ratio.lower > 1.5 && common.p_value < 1e-6);
/// ```
pub fn mantel_haenszel(strata: &[RateCounts], alpha: Alpha) -> Option<MantelHaenszel> {
    let mut sums = Sums::default();
    for counts in strata {
        if counts.control_requests > 0 && counts.variation_requests > 0 {
            sums.add(Table::of(counts));
        }
    }
    if sums.strata == 0 {
        return None;
    }
    let statistic = |correction: f64| {
        let excess = (sums.excess.abs() - correction).max(0.0);
        if sums.variance > 0.0 { excess * excess / sums.variance } else { 0.0 }
    };
    // The chi-squared tail with one degree of freedom is that of a normal variable.
    let p_value = |chi_squared: f64| two_sided(chi_squared.sqrt());
    let (plain, corrected) = (statistic(0.0), statistic(0.5));
    let risk_variance = sums.risk_variance / (sums.risk.0 * sums.risk.1);
    let (r, s) = sums.odds;
    let odds_variance = 0.5 * (sums.pr / r / r + (sums.ps + sums.qr) / r / s + sums.qs / s / s);
    Some(MantelHaenszel {
        risk_ratio: ratio(sums.risk, risk_variance, alpha),
        odds_ratio: ratio(sums.odds, odds_variance, alpha),
        chi_squared: plain,
        p_value: p_value(plain),
        corrected_chi_squared: corrected,
        corrected_p_value: p_value(corrected),
        strata: sums.strata,
    })
}

/// A ratio of two sums with the variance of its logarithm.
fn ratio((above, below): (f64, f64), variance: f64, alpha: Alpha) -> Estimate {
    let unknown = Estimate::unknown_ratio(alpha);
    if above == 0.0 && below == 0.0 {
        return unknown;
    }
    let point = above / below;
    if !(variance.is_finite() && variance >= 0.0) {
        return Estimate { point: Some(point), ..unknown };
    }
    let factor = (-normal_quantile(0.5 * alpha.get()) * variance.sqrt()).exp();
    Estimate { point: Some(point), lower: point / factor, upper: point * factor, alpha }
}

/// Events and other requests: a, b of the variation, c, d of the control.
struct Table {
    a: f64,
    b: f64,
    c: f64,
    d: f64,
}

impl Table {
    fn of(counts: &RateCounts) -> Self {
        let split = |events: u64, requests: u64| {
            let events = events.min(requests);
            (events as f64, (requests - events) as f64)
        };
        let (a, b) = split(counts.variation_events, counts.variation_requests);
        let (c, d) = split(counts.control_events, counts.control_requests);
        Self { a, b, c, d }
    }
}

#[derive(Default)]
struct Sums {
    strata: usize,
    risk: (f64, f64),
    odds: (f64, f64),
    pr: f64,
    ps: f64,
    qr: f64,
    qs: f64,
    risk_variance: f64,
    excess: f64,
    variance: f64,
}

impl Sums {
    #[expect(clippy::many_single_char_names, reason = "the notation of the papers")]
    fn add(&mut self, Table { a, b, c, d }: Table) {
        let n = a + b + c + d;
        let (variation, control) = (a + b, c + d);
        let (events, others) = (a + c, b + d);
        let (r, s) = (a * (d / n), b * (c / n));
        let (p, q) = ((a + d) / n, (b + c) / n);
        self.strata += 1;
        self.risk.0 += a * (control / n);
        self.risk.1 += c * (variation / n);
        self.odds.0 += r;
        self.odds.1 += s;
        self.pr += p * r;
        self.ps += p * s;
        self.qr += q * r;
        self.qs += q * s;
        self.risk_variance += variation / n * (control / n) * events - a * (c / n);
        // a - E a with E a = variation events / n, without the cancellation.
        self.excess += (a * d - b * c) / n;
        if n > 1.0 {
            self.variance += variation / n * (control / n) * events * (others / (n - 1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(a: u64, n_a: u64, b: u64, n_b: u64) -> RateCounts {
        RateCounts {
            control_events: a,
            control_requests: n_a,
            variation_events: b,
            variation_requests: n_b,
        }
    }

    #[test]
    fn rare_and_absent_events_stay_numbers() {
        assert_eq!(mantel_haenszel(&[], Alpha::DEFAULT), None);
        assert_eq!(mantel_haenszel(&[counts(1, 5, 0, 0)], Alpha::DEFAULT), None);
        let none = mantel_haenszel(&[counts(0, 500, 0, 400)], Alpha::DEFAULT).unwrap();
        assert_eq!((none.risk_ratio, none.p_value), (Estimate::unknown_ratio(Alpha::DEFAULT), 1.0));
        let one_sided = mantel_haenszel(&[counts(0, 500, 9, 400)], Alpha::DEFAULT).unwrap();
        assert_eq!(one_sided.risk_ratio.point, Some(f64::INFINITY));
        assert_eq!((one_sided.odds_ratio.lower, one_sided.odds_ratio.upper), (0.0, f64::INFINITY));
        assert!(one_sided.p_value < 0.01);
        let all = mantel_haenszel(&[counts(5, 5, 9, 7)], Alpha::DEFAULT).unwrap();
        assert_eq!((all.risk_ratio.point, all.chi_squared), (Some(1.0), 0.0));
    }

    #[test]
    fn swapping_the_arms_inverts_the_ratios() {
        let there = [counts(31, 900, 12, 250), counts(4, 70, 60, 800)];
        let back = there.map(|s| {
            counts(s.variation_events, s.variation_requests, s.control_events, s.control_requests)
        });
        let [there, back] = [there, back].map(|s| mantel_haenszel(&s, Alpha::DEFAULT).unwrap());
        for (there, back) in
            [(there.risk_ratio, back.risk_ratio), (there.odds_ratio, back.odds_ratio)]
        {
            assert!((there.lower * back.upper - 1.0).abs() < 1e-12);
        }
        assert!((there.p_value - back.p_value).abs() < 1e-12);
    }
}
