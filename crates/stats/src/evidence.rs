/// How strongly the data speak against "no difference".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Standardised statistic; positive means that the variation is slower. Always finite.
    pub z: f64,
    /// Natural logarithm of the e-value at this look; `None` for a fixed-n analysis, which has none.
    pub log_e: Option<f64>,
    /// Two-sided p-value. Sequential: min(1, 1/E), valid at every look. Fixed-n: valid only once, at
    /// the planned sample size.
    pub p_value: f64,
}

impl Evidence {
    /// No evidence at all: what an empty arm gives.
    pub(crate) fn none(sequential: bool) -> Self {
        Self { z: 0.0, log_e: sequential.then_some(0.0), p_value: 1.0 }
    }

    /// Evidence of a sequential analysis.
    pub(crate) fn sequential(z: f64, log_e: f64) -> Self {
        Self { z, log_e: Some(log_e), p_value: p_value_of_log_e(log_e) }
    }
}

/// The always-valid p-value min(1, 1/E) of an e-value given as ln E.
///
/// By Ville's inequality it is at most alpha at any look with probability at most alpha when the null
/// hypothesis holds. A NaN counts as no evidence.
pub fn p_value_of_log_e(log_e: f64) -> f64 {
    if log_e > 0.0 { (-log_e).exp() } else { 1.0 }
}

/// ln of the weighted average of e-values: ln(sum of `w_i` `E_i`) with the weights scaled to sum 1.
///
/// **Estimand**: evidence against the intersection of the hypotheses. **Formula**: logsumexp(ln w + ln E).
/// **Source**: Vovk & Wang 2021, Proposition 3.1 (averages dominate every symmetric merging of e-values).
/// **Guarantee**: an average of e-values is an e-value, and an average of e-processes an e-process,
/// under any dependence, when the weights are fixed in advance; it is at least `w_i` `E_i` for each i and
/// so never weaker than Bonferroni. Average *current* values: an average of running maxima is not valid.
///
/// Pairs are (weight, ln E). Weights that are not positive and finite are left out; without any the
/// result is 0, that is E = 1.
///
/// ```
/// use latency_experiment_stats::average_log_e;
///
/// let average = average_log_e([(1.0, 8.0_f64.ln()), (1.0, 2.0_f64.ln())]);
/// assert!((average.exp() - 5.0).abs() < 1e-12);
/// ```
pub fn average_log_e(weighted: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    // Kept, because each may be costly to compute.
    let used: Vec<(f64, f64)> = weighted
        .into_iter()
        .filter(|(weight, log_e)| *weight > 0.0 && weight.is_finite() && !log_e.is_nan())
        .collect();
    let (mut total, mut largest) = (0.0, f64::NEG_INFINITY);
    for (weight, log_e) in &used {
        total += weight;
        largest = f64::max(largest, *log_e);
    }
    if total == 0.0 {
        return 0.0;
    }
    if largest.is_infinite() {
        return largest;
    }
    let parts = used.iter().map(|(weight, log_e)| weight / total * (log_e - largest).exp());
    let sum: f64 = parts.sum();
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_values_stay_numbers() {
        assert_eq!(average_log_e([]), 0.0);
        assert_eq!(average_log_e([(0.0, 5.0), (f64::NAN, 3.0)]), 0.0);
        assert_eq!(average_log_e([(1.0, f64::NEG_INFINITY)]), f64::NEG_INFINITY);
        assert_eq!(average_log_e([(1.0, f64::INFINITY), (1.0, 0.0)]), f64::INFINITY);
        assert!(
            (average_log_e([(1.0, 5000.0), (3.0, -5000.0)]) - (5000.0 - 4.0_f64.ln())).abs() < 1e-9
        );
    }

    #[test]
    fn p_values_are_probabilities() {
        assert_eq!(p_value_of_log_e(-3.0), 1.0);
        assert_eq!(p_value_of_log_e(f64::NAN), 1.0);
        assert_eq!(p_value_of_log_e(f64::INFINITY), 0.0);
        assert!((p_value_of_log_e(20.0_f64.ln()) - 0.05).abs() < 1e-15);
    }
}
