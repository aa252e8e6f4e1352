use crate::Distribution;
use crate::search::first_true;

/// A distribution function that is continuous in the logarithm of the value: linear inside each bucket.
///
/// Buckets reach half a unit beyond their inclusive edges, so that neighbours touch and even a single
/// value has a width.
#[derive(Clone, Copy)]
pub(crate) struct LogCdf<'a> {
    edges: &'a [(u64, u64)],
    cumulative: &'a [u64],
    total: f64,
}

impl<'a> LogCdf<'a> {
    /// `distribution` must not be empty.
    pub(crate) fn new(distribution: &'a Distribution) -> Self {
        let (edges, cumulative) = (distribution.grid().edges(), distribution.cumulative().values);
        Self { edges, cumulative, total: distribution.count() as f64 }
    }

    fn from(&self, index: usize) -> f64 {
        (self.edges[index].0 as f64 - 0.5).max(0.25)
    }

    fn to(&self, index: usize) -> f64 {
        self.edges[index].1 as f64 + 0.5
    }

    /// The bucket in which the share of observations reaches `share`, or their number.
    pub(crate) fn bucket_of(&self, share: f64) -> usize {
        self.cumulative.partition_point(|up_to| (*up_to as f64) < share * self.total)
    }

    /// Share of observations up to the end of bucket `index`, or before the first for `None`.
    fn share_up_to(&self, index: Option<usize>) -> f64 {
        index.map_or(0.0, |index| self.cumulative[index] as f64 / self.total)
    }

    /// Share of observations at or below `value`, which lies in bucket `index` or between it and the one
    /// before; an index beyond the last bucket stands for everything behind it.
    fn share_in(&self, index: usize, value: f64) -> f64 {
        let before = self.share_up_to(index.checked_sub(1));
        if index == self.edges.len() || value <= self.from(index) {
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
        // upper + 1/2 <= value in integers, whose comparison is cheaper; the cast saturates.
        let ends_by = value - 0.5;
        if ends_by < 0.0 {
            return first;
        }
        let last = ends_by as u64;
        first + self.edges[first..end].partition_point(|edges| edges.1 <= last)
    }
}

/// The share of a distribution up to some value: known, or to be interpolated in a bucket when it matters.
#[derive(Clone, Copy)]
enum UpTo {
    Share(f64),
    Bucket(usize),
}

impl LogCdf<'_> {
    /// Where `value` lies among the buckets in `range`, and between which shares its own is.
    fn locate(&self, range: (usize, usize), value: f64) -> (usize, UpTo) {
        let index = self.find(range, value);
        (index, UpTo::Bucket(index))
    }

    fn least(&self, up_to: UpTo) -> f64 {
        match up_to {
            UpTo::Share(share) => share,
            UpTo::Bucket(index) => self.share_up_to(index.checked_sub(1)),
        }
    }

    fn most(&self, up_to: UpTo) -> f64 {
        match up_to {
            UpTo::Share(share) => share,
            // Behind the last bucket nothing is added.
            UpTo::Bucket(index) => {
                self.share_up_to(self.edges.len().checked_sub(1).map(|last| index.min(last)))
            }
        }
    }

    fn share(&self, up_to: UpTo, value: f64) -> f64 {
        match up_to {
            UpTo::Share(share) => share,
            UpTo::Bucket(index) => self.share_in(index, value),
        }
    }
}

/// A value with the shares of both distributions up to it.
#[derive(Clone, Copy)]
struct Point {
    value: f64,
    a: UpTo,
    b: UpTo,
}

/// The shares `F_a(v)` and `F_b(v * ratio)` at the v where `weight_a F_a(v) + weight_b F_b(v * ratio)` reaches
/// `target`, which must be positive.
///
/// Exact up to rounding: both functions are linear in ln v between neighbouring edges, so that a search over
/// the edges of either and one interpolation suffice. Where observations at infinity keep the sum from
/// reaching the target, the shares are those of all that is finite.
///
/// The search begins at the bucket `near` of a, which becomes the one where it ended.
pub(crate) fn shares_at(
    (a, weight_a): (LogCdf<'_>, f64),
    (b, weight_b): (LogCdf<'_>, f64),
    ratio: f64,
    target: f64,
    near: &mut usize,
) -> (f64, f64) {
    let all = |cdf: LogCdf<'_>| UpTo::Share(cdf.share_up_to(cdf.edges.len().checked_sub(1)));
    let mut low = Point { value: 0.0, a: UpTo::Share(0.0), b: UpTo::Share(0.0) };
    let mut high = Point { value: f64::INFINITY, a: all(a), b: all(b) };
    let shares =
        |point: Point| (a.share(point.a, point.value), b.share(point.b, point.value * ratio));
    let mix = |a: f64, b: f64| weight_a * a + weight_b * b;
    // Narrows the bracket to a point and says whether the target is reached there. Most points are decided by
    // the ends of their buckets, without a logarithm.
    let mut narrow = |point: Point| {
        let reached = mix(a.least(point.a), b.least(point.b)) >= target
            || mix(a.most(point.a), b.most(point.b)) >= target && {
                let (a, b) = shares(point);
                mix(a, b) >= target
            };
        if reached && point.value < high.value {
            high = point;
        } else if !reached && point.value > low.value {
            low = point;
        }
        reached
    };

    // The first bucket of a whose end reaches the target, and the buckets of b that can lie beside it.
    let mut beside = (0, b.edges.len());
    let in_a = first_true(*near as u64, a.edges.len() as u64, |bucket| {
        let bucket = bucket as usize;
        if bucket == a.edges.len() {
            return true;
        }
        let value = a.to(bucket);
        let (index, b) = b.locate(beside, value * ratio);
        let reached = narrow(Point { value, a: UpTo::Share(a.share_up_to(Some(bucket))), b });
        *if reached { &mut beside.1 } else { &mut beside.0 } = index;
        reached
    });
    let in_a = in_a as usize;
    *near = in_a;
    if in_a < a.edges.len() {
        let value = a.from(in_a);
        let (_, b) = b.locate(beside, value * ratio);
        narrow(Point { value, a: UpTo::Share(a.share_up_to(in_a.checked_sub(1))), b });
    }
    // Then the same among those buckets of b, where a stays inside one bucket.
    let in_a = UpTo::Bucket(in_a);
    let (mut first, mut end) = beside;
    while first < end {
        let middle = first + (end - first) / 2;
        let value = b.to(middle) / ratio;
        let up_to = UpTo::Share(b.share_up_to(Some(middle)));
        if narrow(Point { value, a: in_a, b: up_to }) {
            end = middle;
        } else {
            first = middle + 1;
        }
    }
    if first < b.edges.len() {
        let (before, after) = (b.share_up_to(first.checked_sub(1)), b.share_up_to(Some(first)));
        narrow(Point { value: b.from(first) / ratio, a: in_a, b: UpTo::Share(before) });
        narrow(Point { value: b.to(first) / ratio, a: in_a, b: UpTo::Share(after) });
    }

    let ((low_a, low_b), (high_a, high_b)) = (shares(low), shares(high));
    let (below, above) = (mix(low_a, low_b), mix(high_a, high_b));
    if high.value == f64::INFINITY || above <= below {
        return (high_a, high_b);
    }
    let inside = ((target - below) / (above - below)).clamp(0.0, 1.0);
    (low_a + inside * (high_a - low_a), low_b + inside * (high_b - low_b))
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
                    let (a, b) = (&a, &b);
                    let found = |mut near| {
                        let (a, b) = ((LogCdf::new(a), 0.3), (LogCdf::new(b), 0.7));
                        shares_at(a, b, ratio, target, &mut near)
                    };
                    let found = [0, 17, 59].map(found);
                    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
                    let found = found[0];
                    let expected = (direct(a, high), direct(b, high * ratio));
                    assert!(
                        (found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9,
                        "ratio {ratio}, target {target}: {found:?} {expected:?}"
                    );
                }
            }
        }
    }
}
