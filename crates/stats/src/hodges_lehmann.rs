use crate::averages::log_midpoint;
use crate::special::{increasing_root, quantile as normal_quantile};
use crate::{Alpha, Comparison, Distribution, Edges, Estimate};

/// A score this close to zero over several strata is zero but for rounding.
const FLAT: f64 = 1e-12;

/// The typical difference between a request of the variation and one of the control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HodgesLehmann {
    /// Median of variation minus control over all pairs of requests, in the unit of the data.
    pub difference: Estimate,
    /// Median of variation over control over all pairs; [`Estimate::to_lift`] makes it a lift.
    pub ratio: Estimate,
}

/// Estimates by how much the variation shifts, or multiplies, every latency.
///
/// **Estimand**: the shift D (or factor) that makes the variation, moved back by it, tie with the control
/// in the Mann-Whitney sense within every stratum.
///
/// **Formula**: the point is the median of `b - a` over all pairs of one stratum; for the ratio exp of the
/// median of `ln b - ln a`. The interval is every D with |z| <= `z_(1-alpha/2)`, z the tie-corrected
/// Mann-Whitney statistic (over strata van Elteren's) after moving the variation back by D.
///
/// **Source**: Hodges & Lehmann 1963; the interval inverts the test, as R's `wilcox.test(conf.int = TRUE,
/// exact = FALSE, correct = FALSE)`, whose root finder stops within 1e-4 of the jumps found here.
///
/// **Assumptions**: independent assignment, and a pure shift (or factor) within strata; under other changes
/// it is the median pairwise difference. **Guarantee**: asymptotic, **for one look at a sample size fixed
/// in advance**.
///
/// **Numerics**: pairs are counted with two pointers, O(buckets) per step of a root finder, about a
/// millisecond at 400 buckets; values are bucket midpoints (geometric ones for the ratio), so that
/// bucketing moves a result by at most one bucket. Jumps are found to 1e-12.
///
/// **Behaviour at the edges**: ends that the data do not reach are infinite, or 0 for the ratio.
/// Observations at infinity and in overflow buckets are slower than everything and tie with each other.
/// Values below one unit count as one in the ratio. Without data in both arms nothing is known.
///
/// ```
/// use latency_experiment_stats::{Alpha, Comparison, Distribution, hodges_lehmann};
///
/// let control = Distribution::from_points((100..200).map(|ms| (ms, 10)))?;
/// let variation = Distribution::from_points((100..200).map(|ms| (ms + 7, 10)))?;
/// let shift = hodges_lehmann(&Comparison::pair(control, variation)?, Alpha::DEFAULT);
/// assert_eq!(shift.difference.point, Some(7.0));
/// assert!(shift.difference.lower >= 4.0 && shift.difference.upper <= 10.0);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn hodges_lehmann(comparison: &Comparison, alpha: Alpha) -> HodgesLehmann {
    let values = |value: fn(Edges) -> f64| -> Vec<[Arm; 2]> {
        let strata = comparison.strata().iter();
        strata.map(|s| [&s.control, &s.variation].map(|arm| Arm::new(arm, value))).collect()
    };
    let difference = Shift { strata: values(Edges::midpoint) }.estimate(alpha);
    let ratio = Shift { strata: values(log_midpoint) }.estimate(alpha);
    HodgesLehmann {
        difference,
        ratio: Estimate {
            point: ratio.point.map(f64::exp),
            lower: ratio.lower.exp(),
            upper: ratio.upper.exp(),
            alpha,
        },
    }
}

/// The values of one arm on the scale of the shift.
struct Arm {
    /// (value, observations up to and including it), ascending.
    values: Vec<(f64, u64)>,
    count: u64,
}

impl Arm {
    fn new(arm: &Distribution, value: fn(Edges) -> f64) -> Self {
        let values = arm
            .buckets()
            .scan(0, |cumulative, bucket| {
                *cumulative += bucket.count;
                Some((value(Edges::of(bucket.lower, bucket.upper)), *cumulative))
            })
            .take_while(|(value, _)| value.is_finite())
            .collect();
        Self { values, count: arm.count() }
    }

    fn up_to(&self, end: usize) -> u64 {
        self.values[..end].last().map_or(0, |(_, cumulative)| *cumulative)
    }
}

/// The search for the shift.
struct Shift {
    strata: Vec<[Arm; 2]>,
}

impl Shift {
    fn estimate(&self, alpha: Alpha) -> Estimate {
        let unknown = Estimate::unknown_difference(alpha);
        let Some((least, most)) = self.range() else {
            return unknown;
        };
        let critical = -normal_quantile(0.5 * alpha.get());
        let flat = if self.strata.len() == 1 { 0.0 } else { FLAT };
        // The score falls as the shift grows; where it is 0 over a stretch, the middle favours neither end.
        let first = self.jump(flat, true, least, most);
        let last = self.jump(-flat, false, least, most);
        let middle = first.zip(last).map(|(first, last)| first + 0.5 * (last - first));
        Estimate {
            point: middle,
            lower: self.jump(critical, true, least, most).unwrap_or(unknown.lower),
            upper: self.jump(-critical, false, least, most).unwrap_or(unknown.upper),
            ..unknown
        }
    }

    /// The least and the greatest difference between finite observations.
    fn range(&self) -> Option<(f64, f64)> {
        let ends = |[a, b]: &[Arm; 2]| {
            let (a_first, a_last) = (a.values.first()?.0, a.values.last()?.0);
            Some((b.values.first()?.0 - a_last, b.values.last()?.0 - a_first))
        };
        self.strata
            .iter()
            .filter_map(ends)
            .reduce(|all, one| (f64::min(all.0, one.0), f64::max(all.1, one.1)))
    }

    /// The pairwise difference at which z falls to `level` or, unless `inclusive`, below it. `None` when it is
    /// there before the first or not even after the last difference.
    fn jump(&self, level: f64, inclusive: bool, least: f64, most: f64) -> Option<f64> {
        let fallen = |shift: f64| {
            let excess = level - self.z(shift);
            // A z of exactly the level belongs to one side.
            if excess != 0.0 {
                excess
            } else if inclusive {
                f64::MIN_POSITIVE
            } else {
                -f64::MIN_POSITIVE
            }
        };
        let scale = least.abs().max(most.abs()).max(1.0);
        let (before, after) = (least - 1e-9 * scale, most + 1e-9 * scale);
        if fallen(before) > 0.0 || fallen(after) < 0.0 {
            return None;
        }
        let tolerance = 1e-13 * scale;
        let near = increasing_root(fallen, before, after, tolerance);
        Some(self.nearest_difference(near, 4.0 * tolerance).unwrap_or(near))
    }

    /// The pairwise difference nearest to `shift`, if within `reach`.
    fn nearest_difference(&self, shift: f64, reach: f64) -> Option<f64> {
        let mut nearest: Option<f64> = None;
        for [a, b] in &self.strata {
            let mut from = 0;
            for (value, _) in &b.values {
                // The first value of the control from which the difference is within reach or below.
                while from < a.values.len() && value - a.values[from].0 > shift + reach {
                    from += 1;
                }
                for (other, _) in &a.values[from..] {
                    let difference = value - other;
                    if difference < shift - reach {
                        break;
                    }
                    let distance = |other: f64| (other - shift).abs();
                    if nearest.is_none_or(|nearest| distance(difference) < distance(nearest)) {
                        nearest = Some(difference);
                    }
                }
            }
        }
        nearest
    }

    /// The Mann-Whitney (van Elteren) statistic after moving the variation back by `shift`.
    fn z(&self, shift: f64) -> f64 {
        let (mut score, mut variance) = (0.0, 0.0);
        for [a, b] in &self.strata {
            let (all, pairs) =
                (a.count as f64 + b.count as f64, u128::from(a.count) * u128::from(b.count));
            let (twice_u, untied) = ranks(a, b, shift);
            let magnitude = 0.5 * twice_u.abs_diff(pairs) as f64;
            let excess = if twice_u < pairs { -magnitude } else { magnitude };
            let scale = all + 1.0;
            score += excess / scale;
            // Two requests at least, because both arms have data.
            variance += pairs as f64 / 12.0 * untied / (all * (all - 1.0)) / (scale * scale);
        }
        if variance > 0.0 { score / variance.sqrt() } else { 0.0 }
    }
}

/// Twice the pairs with `b - shift` above a, ties once, and the sum of t (N - t)(N + t) over groups of ties.
fn ranks(a: &Arm, b: &Arm, shift: f64) -> (u128, f64) {
    let all = a.count as f64 + b.count as f64;
    let (mut i, mut j) = (0, 0);
    let (mut twice_u, mut untied) = (0, 0.0);
    let (mut below_a, mut below_b) = (0, 0);
    let mut add = |up_to_a: u64, up_to_b: u64| {
        let (in_a, in_b) = (up_to_a - below_a, up_to_b - below_b);
        twice_u += u128::from(in_b) * (2 * u128::from(below_a) + u128::from(in_a));
        let size = in_a as f64 + in_b as f64;
        untied += size * (all - size) * (all + size);
        (below_a, below_b) = (up_to_a, up_to_b);
    };
    while i < a.values.len() || j < b.values.len() {
        let next_a = a.values.get(i).map_or(f64::INFINITY, |(value, _)| *value);
        let next_b = b.values.get(j).map_or(f64::INFINITY, |(value, _)| *value - shift);
        i += usize::from(next_a <= next_b);
        j += usize::from(next_b <= next_a);
        add(a.up_to(i), b.up_to(j));
    }
    // What is left is at infinity in both arms.
    add(a.count, b.count);
    (twice_u, untied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stratum;

    fn arm(points: &[(u64, u64)]) -> Distribution {
        Distribution::from_points(points.iter().copied()).unwrap()
    }

    fn pair(a: &Distribution, b: &Distribution) -> HodgesLehmann {
        hodges_lehmann(&Comparison::pair(a.clone(), b.clone()).unwrap(), Alpha::DEFAULT)
    }

    #[test]
    fn the_point_is_the_median_of_all_pairs() {
        let a = arm(&[(4, 1), (6, 1), (9, 1)]);
        let even = pair(&a, &arm(&[(6, 1), (10, 1)]));
        let mut differences = [2.0, 0.0, -3.0, 6.0, 4.0, 1.0];
        differences.sort_by(f64::total_cmp);
        assert_eq!(even.difference.point, Some(0.5 * (differences[2] + differences[3])));
        assert_eq!(pair(&a, &arm(&[(6, 1)])).difference.point, Some(0.0));
        assert_eq!(even.difference.lower, f64::NEG_INFINITY);
    }

    #[test]
    fn swapping_the_arms_inverts_everything() {
        let a = Distribution::from_points((1..120).map(|v| (v * v, v % 7))).unwrap();
        let b = Distribution::from_points((1..140).map(|v| (v * v + 31, v % 5))).unwrap();
        let (there, back) = (pair(&a, &b), pair(&b, &a));
        assert_eq!(there.difference.point.unwrap(), -back.difference.point.unwrap());
        assert_eq!(there.difference.lower, -back.difference.upper);
        assert!((there.ratio.lower * back.ratio.upper - 1.0).abs() < 1e-12);
        assert!(there.ratio.lower < there.ratio.upper);
    }

    #[test]
    fn strata_share_one_shift() {
        let route = |base: u64, count: u64| {
            let arm = |shift: u64| {
                Distribution::from_points((0..50).map(|v| (base + 10 * v + shift, count))).unwrap()
            };
            Stratum::by_requests(arm(0), arm(30))
        };
        let comparison = Comparison::new([route(100, 20), route(90_000, 7)]).unwrap();
        let shift = hodges_lehmann(&comparison, Alpha::DEFAULT).difference;
        assert!((shift.point.unwrap() - 30.0).abs() < 1e-6, "{shift:?}");
        assert!(shift.lower >= 10.0 && shift.upper <= 50.0, "{shift:?}");
    }

    #[test]
    fn nothing_ties_and_infinity() {
        let empty = Distribution::default();
        let tied = arm(&[(5, 400)]);
        assert_eq!(pair(&empty, &tied).ratio, Estimate::unknown_ratio(Alpha::DEFAULT));
        let same = pair(&tied, &tied);
        assert_eq!((same.difference.point, same.ratio.point), (Some(0.0), Some(1.0)));
        assert_eq!((same.ratio.lower, same.ratio.upper), (1.0, 1.0));
        // More than half of all pairs differ by infinity: no finite shift makes up for them.
        let failing = tied.with_at_infinity(900).unwrap();
        assert_eq!(pair(&tied, &failing).difference.point, None);
        assert_eq!(pair(&tied, &failing).difference.upper, f64::INFINITY);
        let nothing_finite = empty.with_at_infinity(3).unwrap();
        assert_eq!(pair(&nothing_finite, &tied).difference.point, None);
    }
}
