use crate::Distribution;
use crate::bucket::Cell;

/// A distribution function that is continuous in the logarithm of the value: linear inside each bucket.
///
/// Buckets reach half a unit beyond their inclusive edges, so that neighbours touch and even a single
/// value has a width.
#[derive(Clone, Copy)]
pub(crate) struct LogCdf<'a> {
    cells: &'a [Cell],
    total: f64,
}

impl<'a> LogCdf<'a> {
    /// `distribution` must not be empty.
    pub(crate) fn new(distribution: &'a Distribution) -> Self {
        Self { cells: distribution.cells(), total: distribution.count() as f64 }
    }

    fn from(&self, index: usize) -> f64 {
        (self.cells[index].lower as f64 - 0.5).max(0.25)
    }

    fn to(&self, index: usize) -> f64 {
        self.cells[index].upper as f64 + 0.5
    }

    /// Share of observations up to the end of bucket `index`, or before the first for `None`.
    fn share_up_to(&self, index: Option<usize>) -> f64 {
        index.map_or(0.0, |index| self.cells[index].cumulative as f64 / self.total)
    }

    /// Share of observations at or below `value`, which lies in bucket `index` or between it and the one
    /// before; an index beyond the last bucket stands for everything behind it.
    fn share_in(&self, index: usize, value: f64) -> f64 {
        let before = self.share_up_to(index.checked_sub(1));
        if index == self.cells.len() || value <= self.from(index) {
            return before;
        }
        let after = self.share_up_to(Some(index));
        if value >= self.to(index) {
            return after;
        }
        let inside = (value / self.from(index)).ln() / (self.to(index) / self.from(index)).ln();
        before + (after - before) * inside
    }

    /// The first bucket in `range` that ends above `value`, or the end of the range.
    fn find(&self, (first, end): (usize, usize), value: f64) -> usize {
        first + self.cells[first..end].partition_point(|cell| cell.upper as f64 + 0.5 <= value)
    }
}

/// A value with the shares of both distributions up to it.
#[derive(Clone, Copy)]
struct Point {
    value: f64,
    a: f64,
    b: f64,
}

/// The shares `F_a(v)` and `F_b(v * ratio)` at the v where `weight_a F_a(v) + weight_b F_b(v * ratio)` reaches
/// `target`, which must be positive.
///
/// Exact up to rounding: both functions are linear in ln v between neighbouring edges, so that a search over
/// the edges of either and one interpolation suffice. Where observations at infinity keep the sum from
/// reaching the target, the shares are those of all that is finite.
pub(crate) fn shares_at(
    (a, weight_a): (LogCdf<'_>, f64),
    (b, weight_b): (LogCdf<'_>, f64),
    ratio: f64,
    target: f64,
) -> (f64, f64) {
    let mut low = Point { value: 0.0, a: 0.0, b: 0.0 };
    let mut high = Point {
        value: f64::INFINITY,
        a: a.share_up_to(a.cells.len().checked_sub(1)),
        b: b.share_up_to(b.cells.len().checked_sub(1)),
    };
    // Narrows the bracket to a point and says whether the target is reached there.
    let mut narrow = |point: Point| {
        let reached = weight_a * point.a + weight_b * point.b >= target;
        if reached && point.value < high.value {
            high = point;
        } else if !reached && point.value > low.value {
            low = point;
        }
        reached
    };

    // The first bucket of a whose end reaches the target, and the buckets of b that can lie beside it.
    let (mut first, mut end) = (0, a.cells.len());
    let mut beside = (0, b.cells.len());
    while first < end {
        let middle = first + (end - first) / 2;
        let value = a.to(middle);
        let index = b.find(beside, value * ratio);
        let b = b.share_in(index, value * ratio);
        if narrow(Point { value, a: a.share_up_to(Some(middle)), b }) {
            (end, beside.1) = (middle, index);
        } else {
            (first, beside.0) = (middle + 1, index);
        }
    }
    let in_a = first;
    if in_a < a.cells.len() {
        let value = a.from(in_a);
        let index = b.find(beside, value * ratio);
        let b = b.share_in(index, value * ratio);
        narrow(Point { value, a: a.share_up_to(in_a.checked_sub(1)), b });
    }
    // Then the same among those buckets of b, where a stays inside one bucket.
    let (mut first, mut end) = beside;
    while first < end {
        let middle = first + (end - first) / 2;
        let value = b.to(middle) / ratio;
        if narrow(Point { value, a: a.share_in(in_a, value), b: b.share_up_to(Some(middle)) }) {
            end = middle;
        } else {
            first = middle + 1;
        }
    }
    if first < b.cells.len() {
        let value = b.from(first) / ratio;
        narrow(Point { value, a: a.share_in(in_a, value), b: b.share_up_to(first.checked_sub(1)) });
        let value = b.to(first) / ratio;
        narrow(Point { value, a: a.share_in(in_a, value), b: b.share_up_to(Some(first)) });
    }

    let mixed = |point: Point| weight_a * point.a + weight_b * point.b;
    let (below, above) = (mixed(low), mixed(high));
    if high.value == f64::INFINITY || above <= below {
        return (high.a, high.b);
    }
    let inside = ((target - below) / (above - below)).clamp(0.0, 1.0);
    (low.a + inside * (high.a - low.a), low.b + inside * (high.b - low.b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;

    /// F at `value`, bucket by bucket.
    fn direct(distribution: &Distribution, value: f64) -> f64 {
        let below: f64 = distribution
            .buckets()
            .map(|bucket| {
                let from = (bucket.lower as f64 - 0.5).max(0.25);
                let to = bucket.upper as f64 + 0.5;
                bucket.count as f64 * ((value / from).ln() / (to / from).ln()).clamp(0.0, 1.0)
            })
            .sum();
        below / distribution.count() as f64
    }

    #[test]
    fn the_search_agrees_with_bisection() {
        let buckets = |width: u64, start: u64, seed: u64| {
            let cells = (0..60).map(|index| Bucket {
                lower: start + index * width,
                upper: start + index * width + width - 1,
                count: (index * index * seed) % 7,
            });
            Distribution::new(cells).unwrap()
        };
        for (a, b) in [
            (buckets(10, 0, 3), buckets(10, 0, 5)),
            (buckets(1, 5, 3), buckets(40, 100, 1)),
            (buckets(1_000, 9_000, 2), buckets(3, 0, 4).with_at_infinity(20).unwrap()),
        ] {
            for ratio in [1e-3, 0.5, 0.93, 1.0, 1.07, 2.0, 1e3] {
                for target in [0.05, 0.37, 0.5, 0.9] {
                    let mixed = |value| 0.3 * direct(&a, value) + 0.7 * direct(&b, value * ratio);
                    let (mut low, mut high) = (1e-9_f64, 1e12_f64);
                    for _ in 0..200 {
                        let middle = (low * high).sqrt();
                        *if mixed(middle) < target { &mut low } else { &mut high } = middle;
                    }
                    let found =
                        shares_at((LogCdf::new(&a), 0.3), (LogCdf::new(&b), 0.7), ratio, target);
                    let expected = (direct(&a, high), direct(&b, high * ratio));
                    assert!(
                        (found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9,
                        "ratio {ratio}, target {target}: {found:?} {expected:?}"
                    );
                }
            }
        }
    }
}
