//! One bracketed root finder for every inversion.

/// The root of an increasing function between `low` and `high`, where `f(low) <= 0 <= f(high)`.
///
/// ITP (Oliveira & Takahashi 2021): never more than one step slower than bisection, superlinear on
/// smooth functions. Returns a point whose bracket is narrower than `2 * tolerance`.
pub(crate) fn increasing_root(f: impl Fn(f64) -> f64, low: f64, high: f64, tolerance: f64) -> f64 {
    let (f_low, f_high) = (f(low), f(high));
    increasing_root_between(f, (low, f_low), (high, f_high), tolerance)
}

/// [`increasing_root`] where the function is known at both ends, given as (argument, value).
pub(crate) fn increasing_root_between(
    f: impl Fn(f64) -> f64,
    (mut low, mut f_low): (f64, f64),
    (mut high, mut f_high): (f64, f64),
    tolerance: f64,
) -> f64 {
    if f_low >= 0.0 {
        return low;
    }
    if f_high <= 0.0 {
        return high;
    }
    let truncation = 0.2 / (high - low);
    let steps = ((high - low) / (2.0 * tolerance)).log2().ceil().max(0.0) + 1.0;
    let mut budget = tolerance * steps.exp2();
    // The bracket cannot shrink below neighbouring floats, whatever the tolerance.
    for _ in 0..256 {
        let width = high - low;
        let middle = low + 0.5 * width;
        if width <= 2.0 * tolerance || middle <= low || middle >= high {
            break;
        }
        let falsi = if f_low.is_finite() && f_high.is_finite() {
            (high * f_low - low * f_high) / (f_low - f_high)
        } else {
            middle
        };
        let sign = (middle - falsi).signum();
        let nudge = truncation * width * width;
        let truncated = if nudge <= (middle - falsi).abs() { falsi + sign * nudge } else { middle };
        let radius = (budget - 0.5 * width).max(0.0);
        let candidate =
            if (truncated - middle).abs() <= radius { truncated } else { middle - sign * radius };
        let candidate = if candidate > low && candidate < high { candidate } else { middle };
        let value = f(candidate);
        if value > 0.0 {
            (high, f_high) = (candidate, value);
        } else if value < 0.0 {
            (low, f_low) = (candidate, value);
        } else {
            return candidate;
        }
        budget *= 0.5;
    }
    low + 0.5 * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_smooth_kinked_and_infinite_roots() {
        assert!(
            (increasing_root(|x| x * x * x - 2.0, 0.0, 2.0, 1e-14) - 2.0_f64.cbrt()).abs() < 1e-13
        );
        assert!(
            (increasing_root(|x| if x < 0.3 { -1.0 } else { 5.0 }, 0.0, 1.0, 1e-12) - 0.3).abs()
                < 1e-11
        );
        let logarithm = increasing_root(|x: f64| x.ln(), 0.0, 7.0, 1e-13);
        assert!((logarithm - 1.0).abs() < 1e-12);
        assert_eq!(increasing_root(|x| x + 5.0, 0.0, 1.0, 1e-9), 0.0);
    }
}
