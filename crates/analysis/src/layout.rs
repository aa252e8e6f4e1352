//! The buckets that histograms are brought to before they are compared.

use latency_experiment_record::{Bucket, Histogram};
use latency_experiment_stats::{Distribution, Error, Grid};

/// Ranges of values, ascending and disjoint, of which each holds all buckets that overlap it.
///
/// Histograms of one recorder have the same buckets, so that each range is one bucket. Recorders widen
/// buckets when their memory is spent; a wide bucket swallows the finer ones in it, because arms must
/// share their buckets to be compared. All distributions of one layout have all of its buckets, empty
/// or not, which is what makes their comparison fast.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    ranges: Vec<(u64, u64)>,
    /// Whether a range holds buckets that differ.
    pub(crate) widened: bool,
}

/// A layout that is complete.
pub(crate) struct Frame {
    grid: Grid,
    /// Where each bucket of the recorder is in the grid.
    places: Vec<u32>,
    /// The bounds of each bucket of the grid, as sums need them.
    bounds: Vec<(f64, f64)>,
    /// No bucket that it is for lies inside a wider one.
    exact: bool,
}

/// Which buckets of the recorder's layout occur. Nearly all buckets are of it, and a position in it
/// finds them without a search.
struct Known([bool; Bucket::POSITIONS]);

impl Default for Known {
    fn default() -> Self {
        Self([false; Bucket::POSITIONS])
    }
}

impl Known {
    /// Notes the buckets of a histogram; gives those back that are not of the recorder's layout.
    fn note(&mut self, histogram: &Histogram) -> Vec<(u64, u64)> {
        if histogram.buckets().for_each_position(|position, _| self.0[position] = true) {
            return Vec::new();
        }
        let bounds = histogram.buckets().iter().map(|bucket| (bucket.lower, bucket.upper));
        let others = bounds.filter(|bounds| match Bucket::position_of(*bounds) {
            Some(position) => {
                self.0[position] = true;
                false
            }
            None => true,
        });
        others.collect()
    }

    /// The bounds of those that occur, ascending.
    fn edges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let occur = self.0.iter().enumerate().filter(|(_, occurs)| **occurs);
        occur.map(|(position, _)| Bucket::bounds_at(position))
    }
}

impl Layout {
    /// The finest layout for all histograms.
    pub(crate) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut known = Known::default();
        let mut foreign: Vec<Vec<(u64, u64)>> = Vec::new();
        for histogram in histograms {
            let others = known.note(histogram);
            if !others.is_empty() {
                foreign.push(others);
            }
        }
        let mut layout = Self { ranges: known.edges().collect(), widened: false };
        for buckets in foreign {
            layout.add(buckets.into_iter());
        }
        layout
    }

    /// The finest layout for all that these are for.
    pub(crate) fn union<'a>(layouts: impl Iterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        for layout in layouts {
            union.add(layout.ranges.iter().copied());
            union.widened |= layout.widened;
        }
        union
    }

    /// This layout where it is one of fewer ranges: each range becomes the one of `coarser` around it.
    pub(crate) fn within(&self, coarser: &Self) -> Self {
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        let mut at = 0;
        for range in &self.ranges {
            at += coarser.ranges[at..].partition_point(|coarse| coarse.1 < range.0);
            if ranges.last() != coarser.ranges.get(at) {
                ranges.extend(coarser.ranges.get(at));
            }
        }
        Self { ranges, widened: self.widened || coarser.widened }
    }

    /// Adds ascending, disjoint buckets.
    fn add(&mut self, buckets: impl Iterator<Item = (u64, u64)>) {
        // Most are known already.
        let mut at = 0;
        let unknown: Vec<(u64, u64)> = buckets
            .filter(|bucket| {
                while self.ranges.get(at).is_some_and(|range| range.0 < bucket.0) {
                    at += 1;
                }
                self.ranges.get(at) != Some(bucket)
            })
            .collect();
        if !unknown.is_empty() {
            self.insert(&unknown);
        }
    }

    fn insert(&mut self, buckets: &[(u64, u64)]) {
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len() + buckets.len());
        let mut push = |range: (u64, u64)| match merged.last_mut() {
            Some(last) if range.0 <= last.1 => {
                *last = (last.0.min(range.0), last.1.max(range.1));
                self.widened = true;
            }
            _ => merged.push(range),
        };
        let mut ours = self.ranges.iter().copied().peekable();
        for bucket in buckets {
            while let Some(range) = ours.next_if(|range| range.0 < bucket.0) {
                push(range);
            }
            push(*bucket);
        }
        ours.for_each(push);
        self.ranges = merged;
    }

    /// The buckets themselves.
    pub(crate) fn grid(self) -> Result<Grid, Error> {
        Grid::new(self.ranges)
    }

    /// The layout with all its buckets.
    pub(crate) fn frame(self) -> Result<Frame, Error> {
        let mut places = vec![Frame::ELSEWHERE; Bucket::POSITIONS];
        for (place, edges) in self.ranges.iter().enumerate() {
            if let Some(position) = Bucket::position_of(*edges) {
                places[position] = u32::try_from(place).unwrap_or(Frame::ELSEWHERE);
            }
        }
        let bounds = self.ranges.iter().map(|range| (range.0 as f64, range.1 as f64)).collect();
        Ok(Frame { exact: !self.widened, bounds, grid: Grid::new(self.ranges)?, places })
    }
}

impl Frame {
    /// Stands for a bucket that is not in the grid, but inside a wider one.
    const ELSEWHERE: u32 = u32::MAX;

    /// The values of all histograms, which this layout must be for, together.
    ///
    /// With exact moments when all that hold anything have them. Fails on more values than statistics
    /// can count.
    pub(crate) fn distribution(&self, histograms: &[&Histogram]) -> Result<Distribution, Error> {
        if histograms.is_empty() {
            return Ok(Distribution::default());
        }
        let mut counts = vec![0_u64; self.grid.edges().len()];
        let mut moments = Some((0_u128, 0_u128));
        for histogram in histograms {
            let range = self.add(histogram, &mut counts);
            moments = moments.and_then(|(sum, sum_sq)| {
                let own = exact_sums(histogram, range)?;
                Some((sum.checked_add(own.0)?, sum_sq.checked_add(own.1)?))
            });
        }
        let distribution = Distribution::on(&self.grid, counts)?;
        Ok(match moments {
            Some((sum, sum_sq)) => distribution.with_exact_moments(sum, sum_sq),
            None => distribution,
        })
    }

    /// Adds the counts of a histogram; too many saturate, and are refused later.
    fn add(&self, histogram: &Histogram, counts: &mut [u64]) -> SumRange {
        let mut range = SumRange::default();
        if self.exact {
            let seen = histogram.buckets().for_each_position(|position, count| {
                let place = self.places[position] as usize;
                counts[place] = counts[place].saturating_add(count);
                range.add(self.bounds[place], count);
            });
            if seen {
                return range;
            }
        }
        let ranges = self.grid.edges();
        for bucket in histogram.buckets() {
            let place = ranges.partition_point(|range| range.1 < bucket.lower);
            counts[place] = counts[place].saturating_add(bucket.count);
            range.add((bucket.lower as f64, bucket.upper as f64), bucket.count);
        }
        range
    }
}

/// Between what the buckets of a histogram allow its sums to be.
#[derive(Clone, Copy, Default)]
struct SumRange {
    lowest: f64,
    highest: f64,
    /// Upper bound of the last bucket.
    largest: f64,
}

impl SumRange {
    #[inline]
    fn add(&mut self, (lower, upper): (f64, f64), count: u64) {
        let count = count as f64;
        self.lowest += lower * count;
        self.largest = upper;
        self.highest += upper * count;
    }
}

/// The sums of a histogram, if they agree with what its buckets allow: in a copy of a live histogram they may
/// lead by the requests that were being recorded.
fn exact_sums(histogram: &Histogram, range: SumRange) -> Option<(u128, u128)> {
    const ROUNDING: f64 = 1e-9;
    let SumRange { lowest, highest, largest } = range;
    let (sum, sum_sq) = (histogram.sums().sum?, histogram.sums().sum_sq?);
    let (total, squares) = (sum as f64, sum_sq as f64);
    let within = |low: f64, value: f64, high: f64| {
        low * (1.0 - ROUNDING) <= value && value <= high * (1.0 + ROUNDING)
    };
    let count = histogram.count().max(1) as f64;
    // With the mean m, n m^2 <= sum of squares <= largest n m.
    let agree =
        within(lowest, total, highest) && within(total / count * total, squares, largest * total);
    agree.then_some((sum, sum_sq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(buckets: &[&[(u64, u64)]]) -> Layout {
        let mut layout = Layout::default();
        for buckets in buckets {
            layout.add(buckets.iter().copied());
        }
        layout
    }

    #[test]
    fn equal_buckets_stay_and_overlapping_ones_join_in_any_order() {
        let (fine, more) = (&[(0, 1), (4, 5), (6, 7)][..], &[(2, 3), (4, 5), (9, 9)][..]);
        let both = layout(&[fine, more]);
        assert_eq!(both.ranges, [(0, 1), (2, 3), (4, 5), (6, 7), (9, 9)]);
        assert!(!both.widened);
        let wide = &[(4, 7), (8, 15)][..];
        for order in [[fine, more, wide], [wide, more, fine], [more, wide, fine]] {
            let all = layout(&order);
            assert_eq!(all.ranges, [(0, 1), (2, 3), (4, 7), (8, 15)], "{order:?}");
            assert!(all.widened);
        }
        let chain = layout(&[&[(0, 4), (10, 12)], &[(3, 8)], &[(8, 11)]]);
        assert_eq!(chain.ranges, [(0, 12)]);
    }

    #[test]
    fn a_layout_within_a_coarser_one_has_its_ranges() {
        let fine = layout(&[&[(0, 1), (2, 3), (9, 9), (20, 21)]]);
        let coarse = layout(&[&[(0, 1), (2, 9), (12, 14), (20, 30)]]);
        assert_eq!(fine.within(&coarse).ranges, [(0, 1), (2, 9), (20, 30)]);
    }
}
