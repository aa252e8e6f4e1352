use crate::Error;
use crate::beta_binomial::dirichlet_log_e;
use crate::evidence::{average_log_e, p_value_of_log_e};

/// E-value from which a sample ratio counts as mismatched: alpha = 0.001.
pub const SRM_THRESHOLD: f64 = 1_000.0;

/// Concentrations of the Dirichlet priors that are averaged: the first finds small mismatches in much
/// data, the second large ones early.
const CONCENTRATIONS: [f64; 2] = [10_000.0, 100.0];

/// Subjects that each arm got in one epoch, and the weights that allotted them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allocation<'a> {
    /// Subjects counted at assignment, per arm.
    pub observed: &'a [u64],
    /// Weight of each arm on any scale, in the same order.
    pub weights: &'a [f64],
}

/// Whether the arms got the shares that their weights allot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Srm {
    /// ln E; infinite when an arm of weight zero got a subject.
    pub log_e: f64,
    /// min(1, 1/E) at this look.
    pub p_value: f64,
    /// Whether E reached [`SRM_THRESHOLD`].
    pub mismatch: bool,
}

/// Tests for a sample ratio mismatch, at every look.
///
/// **Estimand**: whether each subject's arm was drawn with the probabilities `pi_j` in proportion to the
/// weights.
///
/// **Formula**: per epoch, with a = conc pi, BF = B(a + n) / B(a) / prod `pi_j^n_j`, B the multivariate
/// beta function; E = (BF at conc 10,000 + BF at conc 100) / 2, multiplied over epochs.
///
/// **Source**: Lindon & Malek 2022, "Anytime-valid inference for multinomial count data"; Optimizely's `ssrm`.
///
/// **Assumptions**: subjects are independent, which is true for request IDs and false for the requests of
/// sticky users. Count at assignment, not at completion. Epochs have constant weights.
///
/// **Guarantee**: exact for every n. P(E ever reaches 1/alpha) <= alpha when the allocation is right.
///
/// **Numerics**: the gamma functions enter as differences that do not cancel; ln E is exact to 1e-6 at
/// n = 1e9. An arm of weight zero is left out, and any subject in it is a mismatch for certain. No subjects
/// give E = 1.
///
/// ```
/// use latency_experiment_stats::{Allocation, srm};
///
/// let fair = Allocation { observed: &[5_012, 4_988], weights: &[1.0, 1.0] };
/// assert!(!srm(&[fair])?.mismatch);
/// let lost = Allocation { observed: &[5_500, 4_500], weights: &[1.0, 1.0] };
/// assert!(srm(&[lost])?.mismatch);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn srm(epochs: &[Allocation<'_>]) -> Result<Srm, Error> {
    let mut log_e = 0.0;
    for epoch in epochs {
        let shares = shares(*epoch)?;
        let lost =
            epoch.observed.iter().zip(&shares).any(|(count, share)| *share == 0.0 && *count > 0);
        log_e += if lost {
            f64::INFINITY
        } else {
            average_log_e(CONCENTRATIONS.map(|concentration| {
                (1.0, dirichlet_log_e(epoch.observed, &shares, concentration))
            }))
        };
    }
    Ok(Srm { log_e, p_value: p_value_of_log_e(log_e), mismatch: log_e >= SRM_THRESHOLD.ln() })
}

/// ln of the Bayes factor of one epoch at one prior concentration, which [`srm`] averages.
///
/// Fails like [`srm`]; also when `concentration` is not positive and finite. An arm of weight zero with
/// subjects makes it infinite.
pub fn srm_log_bayes_factor(epoch: Allocation<'_>, concentration: f64) -> Result<f64, Error> {
    if !(concentration > 0.0 && concentration.is_finite()) {
        return Err(Error::NotPositive { what: "concentration", value: concentration });
    }
    let shares = shares(epoch)?;
    let lost = epoch.observed.iter().zip(&shares).any(|(count, share)| *share == 0.0 && *count > 0);
    Ok(if lost { f64::INFINITY } else { dirichlet_log_e(epoch.observed, &shares, concentration) })
}

/// The weights scaled to sum 1.
pub(crate) fn shares(epoch: Allocation<'_>) -> Result<Vec<f64>, Error> {
    let Allocation { observed, weights } = epoch;
    if observed.len() != weights.len() {
        return Err(Error::LengthMismatch { counts: observed.len(), weights: weights.len() });
    }
    for (index, &value) in weights.iter().enumerate() {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::InvalidWeight { index, value });
        }
    }
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(Error::NoWeight);
    }
    let total: f64 = weights.iter().map(|weight| weight / largest).sum();
    Ok(weights.iter().map(|weight| weight / largest / total).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_without_weight_is_left_out_or_a_mismatch() {
        let two = Allocation { observed: &[40, 60], weights: &[1.0, 1.0] };
        let three = Allocation { observed: &[40, 60, 0], weights: &[1.0, 1.0, 0.0] };
        assert_eq!(srm(&[two]).unwrap(), srm(&[three]).unwrap());
        let stray = Allocation { observed: &[40, 60, 1], weights: &[1.0, 1.0, 0.0] };
        let stray = srm(&[stray]).unwrap();
        assert!(stray.mismatch && stray.p_value == 0.0 && stray.log_e == f64::INFINITY);
    }

    #[test]
    fn no_subjects_are_no_evidence() {
        let empty = Allocation { observed: &[0, 0, 0], weights: &[1.0, 2.0, 3.0] };
        assert_eq!(srm(&[empty, empty]).unwrap(), srm(&[]).unwrap());
        assert_eq!(srm(&[empty]).unwrap(), Srm { log_e: 0.0, p_value: 1.0, mismatch: false });
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let refuse = |observed: &[u64], weights: &[f64]| {
            srm(&[Allocation { observed, weights }]).unwrap_err().to_string()
        };
        assert_eq!(
            refuse(&[1], &[1.0, 1.0]),
            "1 counts came with 2 weights: each arm has one of both"
        );
        assert_eq!(
            refuse(&[1, 2], &[0.0, 0.0]),
            "all weights are zero: at least one must be positive"
        );
        assert_eq!(
            refuse(&[1, 2], &[1.0, f64::NAN]),
            "weight 1 is NaN: weights are finite and not negative"
        );
    }

    #[test]
    fn largest_counts_stay_numbers() {
        let huge = Allocation { observed: &[u64::MAX, u64::MAX], weights: &[1.0, 1.0] };
        assert!(srm(&[huge]).unwrap().log_e < 0.0);
        let skew = Allocation { observed: &[u64::MAX, 0], weights: &[1.0, 1.0] };
        assert!(srm(&[skew]).unwrap().mismatch);
    }
}
