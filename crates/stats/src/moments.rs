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

    /// Whether the sums lie between what the bucket edges allow.
    pub(crate) fn agree_with(self, buckets: impl Iterator<Item = Bucket>) -> bool {
        let (mut lower, mut upper) = (Bound::default(), Bound::default());
        for bucket in buckets {
            lower.add(bucket.lower, bucket.count);
            upper.add(bucket.upper, bucket.count);
        }
        lower.sum <= self.sum
            && self.sum <= upper.sum
            && lower.sum_sq.is_some_and(|lower| lower <= self.sum_sq)
            && upper.sum_sq.is_none_or(|upper| self.sum_sq <= upper)
    }
}

/// The sums if every value were at one edge of its bucket.
struct Bound {
    sum: u128,
    /// `None` beyond 128 bits.
    sum_sq: Option<u128>,
}

impl Default for Bound {
    fn default() -> Self {
        Self { sum: 0, sum_sq: Some(0) }
    }
}

impl Bound {
    fn add(&mut self, edge: u64, count: u64) {
        // Below 2^63 counts of 64-bit values fit; of their squares only those of small values surely do.
        self.sum += u128::from(edge) * u128::from(count);
        let squares = match u32::try_from(edge) {
            Ok(_) => Some(u128::from(edge * edge) * u128::from(count)),
            Err(_) => u128::from(edge).pow(2).checked_mul(u128::from(count)),
        };
        self.sum_sq = self.sum_sq.zip(squares).and_then(|(sum, one)| sum.checked_add(one));
    }
}
