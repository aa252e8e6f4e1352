use crate::Bucket;

/// Exact integer sums of the values and of their squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moments {
    pub(crate) sum: u128,
    pub(crate) sum_sq: u128,
}

impl Moments {
    /// Sum of squared deviations from the mean, in integers up to the last subtraction.
    ///
    /// `None` where the integers overflow or the sums are impossible together.
    pub(crate) fn squared_deviations(self, count: u64) -> Option<f64> {
        let count = u128::from(count);
        let center = self.sum / count;
        let rest = self.sum % count;
        // sum (x - center)^2 = sum_sq - 2 center sum + center^2 n, and sum = center n + rest.
        let around_center = self
            .sum_sq
            .checked_sub(center.checked_mul(center)?.checked_mul(count)?)?
            .checked_sub(center.checked_mul(rest)?.checked_mul(2)?)?;
        let correction = rest as f64 * (rest as f64 / count as f64);
        let sum = around_center as f64 - correction;
        (sum >= 0.0).then_some(sum)
    }

    /// The mean, without losing the digits of a sum beyond 2^53.
    pub(crate) fn mean(self, count: u64) -> f64 {
        let count = u128::from(count);
        (self.sum / count) as f64 + (self.sum % count) as f64 / count as f64
    }

    /// The sums of two sets of values together; `None` beyond 128 bits.
    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            sum: self.sum.checked_add(other.sum)?,
            sum_sq: self.sum_sq.checked_add(other.sum_sq)?,
        })
    }

    /// Whether the sum lies between what the bucket edges allow, and the sum of squares between what the
    /// sum and the largest edge do, but for rounding.
    pub(crate) fn agree_with(self, buckets: impl Iterator<Item = Bucket>) -> bool {
        const ROUNDING: f64 = 1e-9;
        let (mut lowest, mut highest, mut all, mut largest) = (0.0, 0.0, 0.0, 0.0);
        for Bucket { lower, upper, count } in buckets {
            // A distribution holds less than 2^63, and signed integers become floats in one instruction.
            let count = count.cast_signed() as f64;
            largest = upper as f64;
            lowest += lower as f64 * count;
            highest += largest * count;
            all += count;
        }
        let (sum, sum_sq) = (self.sum as f64, self.sum_sq as f64);
        let within = |low: f64, value: f64, high: f64| {
            low * (1.0 - ROUNDING) <= value && value <= high * (1.0 + ROUNDING)
        };
        // With the mean m, n m^2 <= sum of squares <= largest n m.
        within(lowest, sum, highest) && within(sum / all * sum, sum_sq, largest * sum)
    }
}
