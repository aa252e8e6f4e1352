//! Student's t distribution with any positive number of degrees of freedom.

use super::{increasing_root, ln_beta_cdf, ln_two_sided, quantile};

/// Degrees of freedom from which Hill's expansion is exact to the last bits.
const MANY: f64 = 2_000.0;

/// How large a share of the degrees t^2 may be there: beyond, the incomplete beta function takes few steps.
const NEAR: f64 = 0.02;

/// P(|T| > |t|).
pub(crate) fn t_two_sided(t: f64, degrees: f64) -> f64 {
    ln_t_two_sided(t, degrees).exp()
}

/// ln P(|T| > |t|), exact where the probability itself underflows.
///
/// The incomplete beta function, which takes about sqrt(degrees) steps near the centre; there, above 2,000
/// degrees of freedom, the z-score with the same tail by Hill 1970 (algorithm 395).
pub(crate) fn ln_t_two_sided(t: f64, degrees: f64) -> f64 {
    if t == 0.0 {
        return 0.0;
    }
    if t.is_infinite() {
        return f64::NEG_INFINITY;
    }
    let squared = t * t;
    if degrees <= MANY || squared > NEAR * degrees {
        // Both shares of the same sum, so that neither loses digits near 0; far beyond 1e150 the square
        // overflows.
        let (x, y) = if squared.is_finite() {
            (degrees / (degrees + squared), squared / (degrees + squared))
        } else {
            (degrees / t.abs() / t.abs(), 1.0)
        };
        return ln_beta_cdf(x, y, 0.5 * degrees, 0.5).min(0.0);
    }
    ln_two_sided(z_of(t.abs(), degrees))
}

/// The z-score with the same tail probability.
fn z_of(t: f64, degrees: f64) -> f64 {
    if degrees == f64::INFINITY {
        return t;
    }
    let a = degrees - 0.5;
    let b = 48.0 * a * a;
    let ratio = t / degrees.sqrt();
    // The square overflows where the logarithm does not.
    let log = if ratio < 1e100 { (ratio * ratio).ln_1p() } else { 2.0 * ratio.ln() };
    let y = a * log;
    let numerator = ((-0.4 * y - 3.3) * y - 24.0) * y - 85.5;
    ((numerator / (0.8 * y * y + 100.0 + b) + y + 3.0) / b + 1.0) * y.sqrt()
}

/// The t with P(|T| > t) = `tail`, for 0 < `tail` < 1.
pub(crate) fn t_critical(tail: f64, degrees: f64) -> f64 {
    let target = tail.ln();
    let excess = |t: f64| target - ln_t_two_sided(t, degrees);
    // Student's tails are heavier than the normal ones.
    let low = -quantile(0.5 * tail);
    let mut high = low.max(1.0);
    while excess(high) < 0.0 && high < 1e300 {
        high *= 4.0;
    }
    increasing_root(excess, low, high, 1e-15 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAILS: [(f64, f64, f64); 27] = [
        (1.0e-6, 3.0, -7.351_054_640_855_148e-7),
        (0.3, 1.0, -0.205_238_750_904_095_68),
        (1.96, 1.0, -1.202_830_484_435_030_8),
        (12.7, 1.0, -2.995_245_838_096_020_7),
        (2.5, 0.7, -1.140_358_576_837_182_2),
        (0.01, 5.5, -0.007_655_206_568_482_051),
        (2.0, 5.5, -2.335_579_571_035_242_3),
        (30.0, 5.5, -15.156_428_669_788_02),
        (100_000.0, 3.0, -33.747_905_775_666_14),
        (1.5, 17.8, -1.889_529_925_249_452_2),
        (3.3, 63.0, -6.441_447_019_092_188),
        (40.0, 63.0, -105.389_800_118_151_51),
        (0.9, 500.0, -0.998_169_386_759_978_8),
        (2.2, 1_999.5, -3.578_378_749_251_690_7),
        (60.0, 1_999.0, -1_033.231_552_179_153_4),
        (0.001, 2_500.0, -0.000_798_123_058_808_858),
        (0.7, 2_500.0, -0.725_686_001_153_323_3),
        (5.0, 2_500.0, -14.304_865_076_741_816),
        (90.0, 2_500.0, -1_809.707_629_263_303_5),
        (7.05, 2_500.0, -26.795_700_256_848_505),
        (7.1, 2_500.0, -27.149_177_257_417_712),
        (140.0, 1_000_000.0, -9_710.354_539_753_95),
        (142.0, 1_000_000.0, -9_986.871_029_294_372),
        (40.0, 1_000_000.0, -803.275_177_569_773_2),
        (2.0, 1_000_000.0, -3.090_031_220_098_037),
        (200.0, 1_000_000.0, -19_615.861_100_251_645),
        (3.0, 100_000_000_000.0, -5.914_579_040_704_171),
    ];

    const CRITICAL: [(f64, f64, f64); 10] = [
        (0.05, 1.0, 12.706_204_736_174_703),
        (0.05, 2.3, 3.807_163_208_232_132),
        (0.05, 17.835, 2.102_316_114_103_833),
        (0.01, 63.0, 2.656_145_025_099_861_7),
        (0.05, 1_999.0, 1.961_151_420_170_562),
        (0.05, 2_001.5, 1.961_149_936_106_462_4),
        (1.0e-9, 4.0, 278.309_779_924_409_95),
        (1.0e-9, 5_000.0, 6.121_136_612_582_752),
        (0.9, 7.0, 0.130_292_796_591_777_37),
        (0.001, 29.0, 3.659_405_019_466_333),
    ];

    #[test]
    fn tails_agree_with_high_precision() {
        // mpmath 1.4.1 at 50 digits: log(betainc(df/2, 1/2, 0, df/(df+t^2), regularized=True)).
        for (t, degrees, expected) in TAILS {
            let error = ln_t_two_sided(t, degrees) / expected - 1.0;
            assert!(error.abs() < 1e-13, "t {t}, df {degrees}: {error:e}");
        }
    }

    #[test]
    fn the_critical_value_inverts_the_tail() {
        // mpmath 1.4.1 at 50 digits, the root of the same expression.
        for (tail, degrees, expected) in CRITICAL {
            let error = t_critical(tail, degrees) / expected - 1.0;
            assert!(error.abs() < 1e-13, "tail {tail}, df {degrees}: {error:e}");
        }
    }

    #[test]
    fn edges_are_explicit() {
        assert_eq!(t_two_sided(0.0, 3.0), 1.0);
        assert_eq!(t_two_sided(f64::INFINITY, 3.0), 0.0);
        assert_eq!(ln_t_two_sided(2.0, f64::INFINITY), ln_two_sided(2.0));
        for degrees in [1e-3, 0.5, 7.0, 1e4, 1e300, f64::INFINITY] {
            for t in [1e-300, 1e-9, 1.0, 1e9, 1e160, 1e300] {
                let tail = t_two_sided(t, degrees);
                assert!((0.0..=1.0).contains(&tail), "t {t}, df {degrees}: {tail}");
            }
            assert!(t_critical(0.05, degrees) > 1.9, "df {degrees}");
        }
    }
}
