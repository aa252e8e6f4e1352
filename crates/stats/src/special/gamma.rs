//! Pieces of lnGamma whose differences stay exact when the arguments are large.

/// Half the logarithm of 2 pi.
const HALF_LN_2PI: f64 = 0.918_938_533_204_672_8;

/// r(x) = lnGamma(x) - [(x - 1/2) ln x - x + 1/2 ln 2 pi] for x > 0.
///
/// With it a ratio of gamma functions splits into deviances, logarithms of ratios and differences of
/// small numbers, none of which cancel (Loader 2000, "Fast and accurate computation of binomial
/// probabilities").
pub(crate) fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return libm::lgamma(x) - ((x - 0.5) * x.ln() - x + HALF_LN_2PI);
    }
    // Seven terms of the asymptotic series: the next is below 1e-17 from 16 on.
    let square = 1.0 / (x * x);
    (1.0 / 12.0
        - square
            * (1.0 / 360.0
                - square
                    * (1.0 / 1260.0
                        - square
                            * (1.0 / 1680.0
                                - square
                                    * (1.0 / 1188.0
                                        - square * (691.0 / 360_360.0 - square / 156.0))))))
        / x
}

/// x ln(x / mean) - x + mean where x = mean + difference, for x >= 0 and mean > 0.
///
/// Never negative. Close to the mean both logarithm and difference vanish together, so a series in
/// their ratio replaces them.
pub(crate) fn deviance(difference: f64, mean: f64) -> f64 {
    let x = mean + difference;
    if x <= 0.0 {
        return mean;
    }
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() - difference;
    }
    let ratio = difference / (x + mean);
    let square = ratio * ratio;
    let mut power = 2.0 * x * ratio;
    let mut sum = difference * ratio;
    // Each term is below 1 % of the one before it, so that ten reach the last bit.
    for odd in (3..).step_by(2).take(40) {
        power *= square;
        let next = sum + power / f64::from(odd);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stirling_error_meets_at_the_switch() {
        // mpmath 1.4.1, 30 digits.
        for (x, expected) in [
            (0.5, 0.153_426_409_720_027_34),
            (1.0, 0.081_061_466_795_327_26),
            (15.999_999, 0.005_207_656_245_003_573),
            (16.0, 0.005_207_655_919_609_641),
            (1e9, 8.333_333_333_333_333e-11),
        ] {
            assert!(
                (stirling_error(x) - expected).abs() < 1e-14,
                "{x}: {:e}",
                stirling_error(x) - expected
            );
        }
    }

    #[test]
    fn deviance_agrees_on_both_sides_of_its_switch() {
        assert_eq!(deviance(0.0, 5.0), 0.0);
        assert_eq!(deviance(-5.0, 5.0), 5.0);
        for difference in [-0.9, -0.25, -0.18, 0.15, 0.21, 0.23, 3.0] {
            let direct: f64 = (1.0 + difference) * f64::ln_1p(difference) - difference;
            assert!((deviance(difference, 1.0) - direct).abs() < 1e-15, "{difference}");
        }
    }
}
