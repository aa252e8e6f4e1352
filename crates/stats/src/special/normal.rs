//! The standard normal distribution, with its far tails on the log scale.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

/// Half the logarithm of 2 pi.
const HALF_LN_2PI: f64 = 0.918_938_533_204_672_8;

/// P(Z > z).
pub(crate) fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// P(|Z| > |z|).
pub(crate) fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() * FRAC_1_SQRT_2)
}

/// ln P(|Z| > |z|), exact where the probability itself underflows.
pub(crate) fn ln_two_sided(z: f64) -> f64 {
    (LN_2 + ln_cdf(-z.abs())).min(0.0)
}

/// ln P(Z <= z).
pub(crate) fn ln_cdf(z: f64) -> f64 {
    if z > 0.0 {
        return (-upper_tail(z)).ln_1p();
    }
    let t = -z;
    if t < 20.0 {
        return upper_tail(t).ln();
    }
    // Laplace's continued fraction P(Z > t) = phi(t) / (t + 1/(t + 2/(t + ...))), evaluated from the
    // inside; at t >= 20 twenty levels reach the last bit.
    let mut tail = t;
    for level in (1..=20).rev() {
        tail = t + f64::from(level) / tail;
    }
    -0.5 * t * t - HALF_LN_2PI - tail.ln()
}

/// The z with P(Z <= z) = p, for 0 < p < 1.
///
/// Wichura 1988, algorithm AS 241 (PPND16), relative error about 1e-16.
pub(crate) fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * horner(&CENTRAL.0, r) / horner(&CENTRAL.1, r);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let z = if r <= 5.0 {
        horner(&MIDDLE.0, r - 1.6) / horner(&MIDDLE.1, r - 1.6)
    } else {
        horner(&TAIL.0, r - 5.0) / horner(&TAIL.1, r - 5.0)
    };
    if q < 0.0 { -z } else { z }
}

/// A polynomial with the coefficient of the highest power first.
fn horner(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

type Rational = ([f64; 8], [f64; 8]);

const CENTRAL: Rational = (
    [
        2_509.080_928_730_122_6,
        33_430.575_583_588_13,
        67_265.770_927_008_7,
        45_921.953_931_549_87,
        13_731.693_765_509_46,
        1_971.590_950_306_551_3,
        133.141_667_891_784_38,
        3.387_132_872_796_366_5,
    ],
    [
        5_226.495_278_852_545,
        28_729.085_735_721_943,
        39_307.895_800_092_71,
        21_213.794_301_586_597,
        5_394.196_021_424_751,
        687.187_007_492_057_9,
        42.313_330_701_600_91,
        1.0,
    ],
);

const MIDDLE: Rational = (
    [
        7.745_450_142_783_414e-4,
        2.272_384_498_926_918_4e-2,
        2.417_807_251_774_506e-1,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ],
    [
        1.050_750_071_644_416_9e-9,
        5.475_938_084_995_345e-4,
        1.519_866_656_361_645_7e-2,
        1.481_039_764_274_800_8e-1,
        6.897_673_349_851e-1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ],
);

const TAIL: Rational = (
    [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        1.242_660_947_388_078_4e-3,
        2.653_218_952_657_612_4e-2,
        2.965_605_718_285_048_7e-1,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_104,
    ],
    [
        2.044_263_103_389_939_8e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_8e-5,
        7.868_691_311_456_133e-4,
        1.487_536_129_085_061_5e-2,
        1.369_298_809_227_358e-1,
        5.998_322_065_558_88e-1,
        1.0,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_inverts_the_tail() {
        for z in [-30.0, -8.0, -5.5, -3.0, -1.2, -0.3, 0.0, 0.9, 2.0, 5.0] {
            let p = upper_tail(-z);
            assert!((quantile(p) - z).abs() < 1e-9 * z.abs().max(1.0), "{z}");
        }
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-15);
        assert!((quantile(1e-300) + 37.047_096_299_361_2).abs() < 1e-12);
    }

    #[test]
    fn log_tail_is_continuous_and_exact() {
        // mpmath 1.4.1: log(ncdf(z)).
        for (z, expected) in [
            (-5.0, -15.064_998_393_988_726),
            (-19.999_999, -203.917_135_321_344_7),
            (-20.000_001, -203.917_175_420_850_83),
            (-60.0, -1_805.013_560_680_567),
            (3.0, -0.001_350_809_964_748_193_8),
        ] {
            assert!((ln_cdf(z) / expected - 1.0).abs() < 1e-13, "{z}: {}", ln_cdf(z));
        }
    }
}
