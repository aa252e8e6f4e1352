/// Benjamini-Hochberg adjusted p-values: reject those at or below the false discovery rate.
///
/// **Formula**: `p_(i) m / i` for the i-th smallest of m, made monotone from the largest down, at most 1.
/// **Source**: Benjamini & Hochberg 1995; scipy's `false_discovery_control`.
///
/// **Guarantee**: the expected share of false rejections is at most the level for independent or positively
/// dependent p-values, **at the one look they are valid at**. For tables of fixed-n figures; segments that
/// are looked at continuously use [`e_bh`](crate::e_bh), which holds under any dependence.
///
/// The answer is in the order of the input. Numbers above 1, and those that are not numbers, count as 1;
/// negative ones as 0.
///
/// ```
/// use latency_experiment_stats::benjamini_hochberg;
///
/// let adjusted = benjamini_hochberg(&[0.01, 0.5, 0.02]);
/// for (adjusted, expected) in adjusted.iter().zip([0.03, 0.5, 0.03]) {
///     assert!((adjusted - expected).abs() < 1e-15);
/// }
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let (p_values, order) = sorted(p_values);
    let hypotheses = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0;
    for (position, &index) in order.iter().enumerate().rev() {
        least = f64::min(least, p_values[index] * hypotheses / (position as f64 + 1.0));
        adjusted[index] = least;
    }
    adjusted
}

/// Holm adjusted p-values: reject those at or below the family-wise error level.
///
/// **Formula**: `p_(i) (m - i + 1)` for the i-th smallest of m, made monotone from the smallest up, at most 1.
/// **Source**: Holm 1979. **Guarantee**: the probability of any false rejection is at most the level, under any
/// dependence. Input and edges as for [`benjamini_hochberg`].
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let (p_values, order) = sorted(p_values);
    let mut adjusted = vec![1.0; p_values.len()];
    let mut most = 0.0;
    for (position, &index) in order.iter().enumerate() {
        most = f64::max(most, p_values[index] * (p_values.len() - position) as f64).min(1.0);
        adjusted[index] = most;
    }
    adjusted
}

/// Bonferroni adjusted p-values, `m p` and at most 1: the simplest, never better than [`holm`].
///
/// **Source**: Dunn 1961. **Guarantee**, input and edges as for `holm`.
pub fn bonferroni(p_values: &[f64]) -> Vec<f64> {
    let (p_values, _) = sorted(p_values);
    p_values.iter().map(|p| (p * p_values.len() as f64).min(1.0)).collect()
}

/// The p-values as probabilities, and their indices in ascending order.
fn sorted(p_values: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let probability = |p: &f64| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) };
    let p_values: Vec<f64> = p_values.iter().map(probability).collect();
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    (p_values, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_input_is_no_evidence() {
        for adjust in [benjamini_hochberg, holm, bonferroni] {
            assert!(adjust(&[]).is_empty());
            assert_eq!(adjust(&[f64::NAN, 7.0, -1.0]), [1.0, 1.0, 0.0]);
            assert_eq!(adjust(&[0.25]), [0.25]);
        }
    }
}
