use std::sync::Arc;

use crate::grid::{Column, combine};
use crate::moments::Moments;
use crate::{Bucket, Edges, Error, Grid, Quantile};

/// How many observations a distribution may hold: 2^63 - 1, so that twice the number of pairs between two
/// of them fits a `u128`.
const MAX_COUNT: u64 = i64::MAX as u64;

/// Slack for `level * n` meeting a whole number: 0.95 * 20 must ask for the 19th observation even where
/// the product rounds up.
pub(crate) const RANK_SLACK: f64 = 1e-9;

/// What one arm measured in one stratum: sorted, disjoint buckets with their cumulative counts.
///
/// Cheap to clone: clones share the buckets. Quantities that the buckets bracket are returned as
/// [`Edges`]; point estimates are bucket midpoints.
///
/// ```
/// use latency_experiment_stats::{Bucket, Distribution, Quantile};
///
/// let latencies = Distribution::new([
///     Bucket { lower: 100, upper: 109, count: 60 },
///     Bucket { lower: 110, upper: 119, count: 39 },
///     Bucket { lower: 400, upper: 439, count: 1 },
/// ])?;
/// assert_eq!(latencies.count(), 100);
/// assert_eq!(latencies.quantile(Quantile::P50), Some(104.5));
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Distribution {
    grid: Grid,
    /// Observations up to and including each bucket of the grid.
    cumulative: Arc<Vec<u64>>,
    at_infinity: u64,
    moments: Option<Moments>,
}

impl Distribution {
    /// Builds a distribution from buckets in ascending order. Empty buckets are dropped.
    ///
    /// Fails on a bucket with reversed edges, on one that does not begin above the bucket before it, and
    /// on more than 2^63 - 1 observations.
    pub fn new(buckets: impl IntoIterator<Item = Bucket>) -> Result<Self, Error> {
        let buckets: Vec<Bucket> = buckets.into_iter().collect();
        // Empty buckets are dropped, but must be in order too.
        let grid = Grid::new(buckets.iter().map(|bucket| (bucket.lower, bucket.upper)))?;
        let used = || buckets.iter().filter(|bucket| bucket.count > 0);
        let counts: Vec<u64> = used().map(|bucket| bucket.count).collect();
        if counts.len() == buckets.len() {
            return Self::on(&grid, counts);
        }
        Self::on(
            &Grid::of_sorted(used().map(|bucket| (bucket.lower, bucket.upper)).collect()),
            counts,
        )
    }

    /// Builds a distribution from the count of each bucket of a grid, of which any may be 0.
    ///
    /// Fails unless there are as many counts as buckets, and on more than 2^63 - 1 observations.
    pub fn on(grid: &Grid, counts: Vec<u64>) -> Result<Self, Error> {
        if counts.len() != grid.edges().len() {
            return Err(Error::GridMismatch { counts: counts.len(), buckets: grid.edges().len() });
        }
        let mut cumulative = counts;
        let mut sum = 0_u64;
        for count in &mut cumulative {
            sum = sum.saturating_add(*count);
            *count = sum;
        }
        // Checked once: a sum that saturated is too large as well.
        add_counts(sum, 0)?;
        Ok(Self { grid: grid.clone(), cumulative: Arc::new(cumulative), ..Self::default() })
    }

    /// Builds a distribution of exactly known values, given as (value, count) in ascending order.
    pub fn from_points(points: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, Error> {
        Self::new(points.into_iter().map(|(value, count)| Bucket {
            lower: value,
            upper: value,
            count,
        }))
    }

    /// The same distribution with the exact sum of its values and of their squares, which make the mean
    /// and the variance exact instead of accurate to a bucket.
    ///
    /// Sums that contradict the buckets are ignored: in a copy of a live histogram they may lead the
    /// counts by the requests being recorded.
    #[must_use]
    pub fn with_moments(mut self, sum: u128, sum_sq: u128) -> Self {
        self.moments =
            Some(Moments { sum, sum_sq }).filter(|moments| moments.agree_with(self.buckets()));
        self
    }

    /// [`with_moments`](Self::with_moments) for sums that are known to agree with the buckets.
    #[must_use]
    pub fn with_exact_moments(self, sum: u128, sum_sq: u128) -> Self {
        Self { moments: Some(Moments { sum, sum_sq }), ..self }
    }

    /// The same distribution with `count` further observations above everything measured, such as
    /// requests that failed instead of answering.
    ///
    /// Quantiles and ranks count them as infinitely slow. A mean no longer exists then.
    pub fn with_at_infinity(&self, count: u64) -> Result<Self, Error> {
        add_counts(self.finite_count(), count)?;
        Ok(Self { at_infinity: count, ..self.clone() })
    }

    /// The observations of all `parts` in one distribution.
    ///
    /// Integer additions only, so that every order of merging gives the same bits. Exact sums survive when
    /// every part with observations has them. Fails when buckets overlap without being equal, and on more
    /// than 2^63 - 1 observations.
    pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Result<Self, Error> {
        let mut parts: Vec<&Self> = parts.into_iter().collect();
        if let [one] = parts[..] {
            return Ok(one.clone());
        }
        let mut at_infinity = 0;
        let mut moments = Some(Moments { sum: 0, sum_sq: 0 });
        for part in &parts {
            at_infinity = add_counts(at_infinity, part.at_infinity)?;
            if part.finite_count() > 0 {
                moments = moments.zip(part.moments).and_then(|(all, one)| all.checked_add(one));
            }
        }
        // What has no buckets shares no grid either.
        parts.retain(|part| !part.grid.edges().is_empty());
        let (grid, cumulative) = merge_cumulative(&parts)?;
        let merged = Self { grid, cumulative: Arc::new(cumulative), at_infinity: 0, moments };
        // Parts without observations have no sums to keep.
        let moments = merged.moments.filter(|_| merged.finite_count() > 0);
        Self { moments, ..merged }.with_at_infinity(at_infinity)
    }

    /// All observations, those at infinity included.
    pub fn count(&self) -> u64 {
        self.finite_count() + self.at_infinity
    }

    /// Observations at infinity.
    pub fn at_infinity(&self) -> u64 {
        self.at_infinity
    }

    /// Whether there are no observations at all.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The buckets with observations, in ascending order.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + Clone + '_ {
        let mut before = 0;
        let cells = self.grid.edges().iter().zip(self.cumulative.iter());
        cells.filter_map(move |(&(lower, upper), &cumulative)| {
            let count = cumulative - before;
            before = cumulative;
            (count > 0).then_some(Bucket { lower, upper, count })
        })
    }

    /// Observations in buckets that end at or below `edge`; exact when `edge` is a bucket's upper edge.
    pub fn count_up_to(&self, edge: u64) -> u64 {
        self.count_of_first(self.grid.edges().partition_point(|(_, upper)| *upper <= edge))
    }

    /// Observations in buckets that begin at or below `value`.
    pub(crate) fn count_from_below(&self, value: u64) -> u64 {
        self.count_of_first(self.grid.edges().partition_point(|(lower, _)| *lower <= value))
    }

    /// Observations in the first buckets of the grid.
    pub(crate) fn count_of_first(&self, buckets: usize) -> u64 {
        buckets.checked_sub(1).map_or(0, |last| self.cumulative[last])
    }

    /// Where the `rank`-th smallest observation lies, counting from 1.
    ///
    /// `None` when there is no such observation; both edges are infinite for one at infinity.
    pub fn order_statistic(&self, rank: u64) -> Option<Edges> {
        if rank == 0 || rank > self.count() {
            return None;
        }
        let index = self.cumulative.partition_point(|cumulative| *cumulative < rank);
        let edges = self.grid.edges().get(index);
        Some(edges.map_or(Edges::ABOVE, |&(lower, upper)| Edges::of(lower, upper)))
    }

    /// Where the quantile lies: the edges of the smallest value with at least `quantile` of the
    /// observations at or below it (the inverted empirical distribution function).
    ///
    /// `None` without observations.
    pub fn quantile_edges(&self, quantile: Quantile) -> Option<Edges> {
        let rank = (quantile.get() * self.count() as f64 - RANK_SLACK).ceil();
        self.order_statistic((rank as u64).max(1).min(self.count()))
    }

    /// Point estimate of the quantile: the midpoint of its bucket.
    ///
    /// `None` without observations; infinite in an overflow bucket or among observations at infinity.
    pub fn quantile(&self, quantile: Quantile) -> Option<f64> {
        self.quantile_edges(quantile).map(Edges::midpoint)
    }

    pub(crate) fn moments(&self) -> Option<Moments> {
        self.moments
    }

    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The same observations on another grid, with their sums up to and including each of its buckets.
    pub(crate) fn on_grid(&self, grid: &Grid, cumulative: Vec<u64>) -> Self {
        Self { grid: grid.clone(), cumulative: Arc::new(cumulative), ..self.clone() }
    }

    /// Observations up to and including each bucket of the grid.
    pub(crate) fn cumulative(&self) -> Column<'_, u64> {
        Column { grid: &self.grid, values: &self.cumulative }
    }

    pub(crate) fn finite_count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or_default()
    }
}

impl PartialEq for Distribution {
    fn eq(&self, other: &Self) -> bool {
        // Clones need no look at their buckets.
        let shared = self.grid.is(&other.grid) && Arc::ptr_eq(&self.cumulative, &other.cumulative);
        self.at_infinity == other.at_infinity
            && self.moments == other.moments
            && (shared || self.buckets().eq(other.buckets()))
    }
}

fn add_counts(a: u64, b: u64) -> Result<u64, Error> {
    a.checked_add(b).filter(|sum| *sum <= MAX_COUNT).ok_or(Error::TooManyObservations)
}

/// Merges the buckets of `parts`: one after the other where they share a grid, else pairwise in a tree, so
/// that the work is linear in the buckets where most of them are in all parts.
fn merge_cumulative(parts: &[&Distribution]) -> Result<(Grid, Vec<u64>), Error> {
    let Some((first, others)) = parts.split_first() else {
        return Ok((Grid::default(), Vec::new()));
    };
    if others.iter().all(|other| other.grid.is(&first.grid)) {
        let mut sums = first.cumulative.to_vec();
        let mut total = first.finite_count();
        for other in others {
            total = add_counts(total, other.finite_count())?;
            sums.iter_mut().zip(other.cumulative.iter()).for_each(|(sum, here)| *sum += here);
        }
        return Ok((first.grid.clone(), sums));
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    let (left, right) = (merge_cumulative(left)?, merge_cumulative(right)?);
    add_cumulative(
        Column { grid: &left.0, values: &left.1 },
        Column { grid: &right.0, values: &right.1 },
    )
}

fn add_cumulative(
    left: Column<'_, u64>,
    right: Column<'_, u64>,
) -> Result<(Grid, Vec<u64>), Error> {
    let total = |column: Column<'_, u64>| column.values.last().copied().unwrap_or_default();
    add_counts(total(left), total(right))?;
    combine(left, right, |left, right| left + right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(lower: u64, upper: u64, count: u64) -> Bucket {
        Bucket { lower, upper, count }
    }

    #[test]
    fn errors_name_the_bucket_and_the_rule() {
        let refuse = |buckets: &[Bucket]| Distribution::new(buckets.to_vec()).unwrap_err();
        let reversed = refuse(&[bucket(1, 2, 1), bucket(9, 3, 1)]);
        assert_eq!(
            reversed.to_string(),
            "bucket 1 has lower edge 9 above its upper edge 3: edges are inclusive and ordered"
        );
        let touching = refuse(&[bucket(1, 5, 0), bucket(5, 9, 1)]);
        assert!(
            touching.to_string().starts_with("bucket 1 begins at 5, not above 5"),
            "{touching}"
        );
        let many = refuse(&[bucket(1, 1, u64::MAX / 2), bucket(2, 2, 1)]);
        assert_eq!(many, Error::TooManyObservations);
        let full = Distribution::new([bucket(1, 1, u64::MAX / 2)]).unwrap();
        assert_eq!(full.with_at_infinity(1), Err(Error::TooManyObservations));
        assert_eq!(Distribution::merge([&full, &full]), Err(Error::TooManyObservations));
    }

    #[test]
    fn overlapping_schemas_do_not_merge() {
        let fine = Distribution::new([bucket(0, 9, 1), bucket(10, 19, 1)]).unwrap();
        let coarse = Distribution::new([bucket(0, 19, 1)]).unwrap();
        assert_eq!(
            Distribution::merge([&fine, &coarse]),
            Err(Error::MixedBuckets { first: (0, 9), second: (0, 19) })
        );
    }

    #[test]
    fn whole_ranks_meet_their_level() {
        // 0.95 * 20 and 0.07 * 100 round above the whole number.
        let twenty = Distribution::from_points((1..=20).map(|value| (value, 1))).unwrap();
        assert_eq!(twenty.quantile(Quantile::P95), Some(19.0));
        let hundred = Distribution::from_points((1..=100).map(|value| (value, 1))).unwrap();
        assert_eq!(hundred.quantile(Quantile::new(0.07).unwrap()), Some(7.0));
        assert_eq!(hundred.quantile(Quantile::new(1e-12).unwrap()), Some(1.0));
    }

    #[test]
    fn overflow_and_infinity_are_infinitely_slow() {
        let measured = Distribution::new([bucket(0, 9, 8), bucket(10, u64::MAX, 1)]).unwrap();
        assert_eq!(measured.quantile(Quantile::P50), Some(4.5));
        assert_eq!(measured.quantile(Quantile::P99), Some(f64::INFINITY));
        assert_eq!(
            measured.quantile_edges(Quantile::P99),
            Some(Edges { lower: 10.0, upper: f64::INFINITY })
        );
        assert_eq!((measured.mean(), measured.variance()), (None, None));
        // With exact sums the overflow bucket has a mean.
        assert_eq!(measured.clone().with_moments(8 * 4 + 400, 160_128).mean(), Some(48.0));

        let failed = measured.with_at_infinity(91).unwrap();
        assert_eq!(failed.count(), 100);
        assert_eq!(failed.order_statistic(10), Some(Edges::ABOVE));
        assert_eq!(failed.order_statistic(101), None);
        assert_eq!((failed.mean(), failed.log_mean()), (None, None));
    }

    #[test]
    fn sums_that_contradict_the_buckets_are_ignored() {
        let arm = Distribution::new([bucket(10, 19, 2)]).unwrap();
        assert_eq!(arm.clone().with_moments(27, 369).mean(), Some(13.5));
        // A sum that leads the counts by a request in flight.
        assert_eq!(arm.clone().with_moments(42, 600).mean(), Some(14.5));
        assert_eq!(arm.clone().with_moments(27, 10).mean(), Some(14.5));
        // Squares below what the sum demands: no variance can be negative.
        assert!(arm.with_moments(38, 200).variance().unwrap() >= 0.0);
    }

    #[test]
    fn exact_variance_survives_a_large_offset() {
        let offset = 1_u128 << 60;
        let values = [offset + 1, offset + 2, offset + 6];
        let points = values.map(|value| (value as u64, 1));
        let arm = Distribution::from_points(points).unwrap();
        let sum_sq = values.iter().map(|value| value * value).sum();
        let arm = arm.with_moments(values.iter().sum(), sum_sq);
        assert_eq!(arm.variance(), Some(7.0));
    }
}
