use crate::label::{EFFECTS, LabelRatios};
use crate::{Alpha, BaseRate, Error, Share};

/// What a guardrail should find: a rate of slow or failed requests that the variation raises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelDesign {
    /// Rate of bad requests in the control, strictly between 0 and 1.
    pub control: f64,
    /// Rate in the variation, likewise; above the control's to be found.
    pub variation: f64,
    /// Share of the two arms' requests that the variation gets.
    pub share: Share,
    /// The rate that the test assumes.
    pub base_rate: BaseRate,
    /// Level of the guardrail: it acts at E >= 1/alpha.
    pub alpha: Alpha,
}

/// How many requests of both arms together a guardrail needs, in the median, to find a raised rate.
///
/// **Estimand**: the median number of requests at which [`label_log_e`](crate::label_log_e) with
/// [`Alternative::Greater`](crate::Alternative::Greater) reaches ln(1/alpha).
///
/// **Formula**: `f (ln(1/alpha) + ln 7) / g`, where g is the largest expected log likelihood ratio per
/// request over the seven effect sizes, and f the simulated shortening by the mixture: 0.72 at alpha 0.05,
/// 0.83 at 0.01, between and beyond them linear in ln alpha and at most 1.
///
/// **Source**: the expected sample size of a sequential probability ratio test, Wald 1945. **Accuracy**:
/// simulated medians had f of 0.62 to 0.74 at 0.05 and 0.76 to 0.92 at 0.01.
///
/// For a threshold at the p-quantile and latencies that grow by the factor 1 + r, the rates are 1 - p and
/// the share of the baseline above the threshold divided by 1 + r. `None` when no effect size expects
/// evidence, as for a rate that falls. Fails when a rate is not strictly between 0 and 1.
///
/// ```
/// use latency_experiment_stats::{Alpha, BaseRate, LabelDesign, Share, label_requirement};
///
/// let design = LabelDesign {
///     control: 0.01,
///     variation: 0.02,
///     share: Share::HALF,
///     base_rate: BaseRate::P99,
///     alpha: Alpha::new(0.01)?,
/// };
/// let requests = label_requirement(&design)?.unwrap();
/// assert!(requests > 5_000.0 && requests < 8_000.0);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn label_requirement(design: &LabelDesign) -> Result<Option<f64>, Error> {
    let LabelDesign { control, variation, share, base_rate, alpha } = *design;
    for value in [control, variation] {
        if !(value > 0.0 && value < 1.0) {
            return Err(Error::NotAProbability { what: "rate", value });
        }
    }
    let (a, b) = (1.0 - share.get(), share.get());
    let expected = |effect: f64| {
        let LabelRatios { bad, ok } = LabelRatios::new(share, base_rate.log_odds(), effect);
        b * (variation * bad.1 + (1.0 - variation) * ok.1)
            + a * (control * bad.0 + (1.0 - control) * ok.0)
    };
    let growth = EFFECTS.into_iter().map(expected).fold(0.0, f64::max);
    // A line through (ln 20, 0.72) and (ln 100, 0.83).
    let slope = (0.83 - 0.72) / 5_f64.ln();
    let shortening = (0.72 + slope * (alpha.log_threshold() - 20_f64.ln())).clamp(0.5, 1.0);
    let reach = alpha.log_threshold() + (EFFECTS.len() as f64).ln();
    let requests = shortening * reach / growth;
    Ok((growth > 0.0 && requests.is_finite()).then_some(requests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::special::{quantile, upper_tail};

    /// A lognormal latency with sigma 1 and a threshold at its p-quantile.
    fn slower(p: f64, factor: f64, base_rate: BaseRate, alpha: f64) -> f64 {
        let design = LabelDesign {
            control: 1.0 - p,
            variation: upper_tail(quantile(p) - f64::ln(factor)),
            share: Share::HALF,
            base_rate,
            alpha: Alpha::new(alpha).unwrap(),
        };
        label_requirement(&design).unwrap().unwrap()
    }

    #[test]
    fn predictions_are_those_that_were_simulated() {
        // Without the shortening the formula gave these.
        assert!((slower(0.5, 1.1, BaseRate::P50, 0.05) / 0.72 / 7_616.0 - 1.0).abs() < 2e-3);
        assert!((slower(0.99, 1.5, BaseRate::P99, 0.05) / 0.72 / 2_424.0 - 1.0).abs() < 2e-3);
        // Simulated medians at both levels.
        for (p, factor, base_rate, alpha, simulated) in [
            (0.5, 1.1, BaseRate::P50, 0.05, 5_198.0),
            (0.5, 1.1, BaseRate::P50, 0.01, 7_697.0),
            (0.99, 1.5, BaseRate::P99, 0.05, 1_743.0),
            (0.99, 1.5, BaseRate::P99, 0.01, 2_623.0),
            (0.5, 2.0, BaseRate::P50, 0.05, 115.0),
        ] {
            let ratio = slower(p, factor, base_rate, alpha) / simulated;
            assert!((0.8..1.25).contains(&ratio), "p {p}, x{factor}, alpha {alpha}: {ratio}");
        }
    }

    #[test]
    fn what_cannot_be_found_is_none() {
        let mut design = LabelDesign {
            control: 0.02,
            variation: 0.01,
            share: Share::HALF,
            base_rate: BaseRate::P99,
            alpha: Alpha::DEFAULT,
        };
        assert_eq!(label_requirement(&design), Ok(None));
        design.variation = 0.02;
        assert_eq!(label_requirement(&design), Ok(None));
        design.variation = 1.0;
        assert!(label_requirement(&design).is_err());
    }
}
