use crate::Alpha;

/// Which of many hypotheses to reject so that the false discovery rate stays at or below `fdr`.
///
/// **Formula**: sort the m e-values in descending order and reject the largest k for the greatest k with
/// `e_(k) >= m / (k fdr)`. Input is ln E; the answer is in the order of the input.
///
/// **Source**: Wang & Ramdas 2022, "False discovery rate control with e-values": the e-BH procedure.
///
/// **Guarantee**: exact under any dependence between the e-values, at every look, when *current* e-values
/// (not running maxima) are given. Hypotheses are few enough to count exactly in an f64.
///
/// A NaN is never rejected but counts as a hypothesis.
///
/// ```
/// use latency_experiment_stats::{Alpha, e_bh};
///
/// let log_e = [300.0_f64, 1.5, 24.0].map(f64::ln);
/// assert_eq!(e_bh(&log_e, Alpha::new(0.1)?), [true, false, true]);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn e_bh(log_e: &[f64], fdr: Alpha) -> Vec<bool> {
    let mut order: Vec<usize> = (0..log_e.len()).filter(|&index| !log_e[index].is_nan()).collect();
    order.sort_by(|&a, &b| log_e[b].total_cmp(&log_e[a]));
    let hypotheses = log_e.len() as f64;
    let rejected = order
        .iter()
        .enumerate()
        .rposition(|(position, &index)| {
            let rank = position as f64 + 1.0;
            log_e[index] >= (hypotheses / (rank * fdr.get())).ln()
        })
        .map_or(0, |last| last + 1);
    let mut rejections = vec![false; log_e.len()];
    for &index in &order[..rejected] {
        rejections[index] = true;
    }
    rejections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_input_is_not_rejected() {
        assert!(e_bh(&[], Alpha::DEFAULT).is_empty());
        assert_eq!(e_bh(&[f64::NAN, f64::NEG_INFINITY, 0.0], Alpha::DEFAULT), [false; 3]);
        assert_eq!(e_bh(&[f64::NAN, f64::INFINITY], Alpha::DEFAULT), [false, true]);
    }
}
