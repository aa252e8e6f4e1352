//! The buckets that histograms are brought to before they are compared.

use latency_experiment_record::Histogram;
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
}

/// Buckets of the recorder, the overflow bucket included.
const RECORDER_BUCKETS: usize = (30 << 7) + 1;

/// The position of a bucket among those of this project's recorder: 128 per octave up to 2^36, then one.
/// `None` for one that is not its.
///
/// Nearly all buckets are of these, and a position finds them without a search.
fn recorder_index((lower, upper): (u64, u64)) -> Option<usize> {
    if lower >= 1 << 36 {
        return (lower == 1 << 36 && upper == u64::MAX).then_some(RECORDER_BUCKETS - 1);
    }
    let shift = (lower | 128).ilog2() - 7;
    let width = 1 << shift;
    let own = lower & (width - 1) == 0 && upper == lower + (width - 1);
    own.then_some(((shift as usize) << 7) + (lower >> shift) as usize)
}

/// Which buckets of the recorder occur.
struct Known([bool; RECORDER_BUCKETS]);

impl Default for Known {
    fn default() -> Self {
        Self([false; RECORDER_BUCKETS])
    }
}

impl Known {
    /// Notes a bucket; false when it is not one of the recorder's.
    fn note(&mut self, edges: (u64, u64)) -> bool {
        let index = recorder_index(edges);
        if let Some(index) = index {
            self.0[index] = true;
        }
        index.is_some()
    }

    /// The edges of those that occur, ascending.
    fn edges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let occur = self.0.iter().enumerate().filter(|(_, occurs)| **occurs);
        occur.map(|(index, _)| {
            if index == RECORDER_BUCKETS - 1 {
                return (1 << 36, u64::MAX);
            }
            let shift = (index >> 7).saturating_sub(1);
            let lower = ((index - (shift << 7)) as u64) << shift;
            (lower, lower + ((1 << shift) - 1))
        })
    }
}

impl Layout {
    /// The finest layout for all histograms.
    pub(crate) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut known = Known::default();
        let mut foreign: Vec<Vec<(u64, u64)>> = Vec::new();
        for histogram in histograms {
            let buckets = histogram.buckets().iter().map(|bucket| (bucket.lower, bucket.upper));
            let others: Vec<(u64, u64)> = buckets.filter(|edges| !known.note(*edges)).collect();
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
        let mut places = vec![Frame::ELSEWHERE; RECORDER_BUCKETS];
        for (place, edges) in self.ranges.iter().enumerate() {
            if let Some(index) = recorder_index(*edges) {
                places[index] = u32::try_from(place).unwrap_or(Frame::ELSEWHERE);
            }
        }
        Ok(Frame { grid: Grid::new(self.ranges)?, places })
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
        let ranges = self.grid.edges();
        let mut counts = vec![0_u64; ranges.len()];
        let mut moments = Some((0_u128, 0_u128));
        for histogram in histograms {
            let (mut lowest, mut highest) = (0.0, 0.0);
            for bucket in histogram.buckets() {
                let place = match recorder_index((bucket.lower, bucket.upper)) {
                    Some(index) if self.places[index] != Self::ELSEWHERE => {
                        self.places[index] as usize
                    }
                    _ => ranges.partition_point(|range| range.1 < bucket.lower),
                };
                // Too many are refused below.
                counts[place] = counts[place].saturating_add(bucket.count);
                let count = bucket.count as f64;
                lowest += bucket.lower as f64 * count;
                highest += bucket.upper as f64 * count;
            }
            moments = moments.and_then(|(sum, sum_sq)| {
                let own = exact_sums(histogram, lowest, highest)?;
                Some((sum.checked_add(own.0)?, sum_sq.checked_add(own.1)?))
            });
        }
        let distribution = Distribution::on(&self.grid, counts)?;
        Ok(match moments {
            Some((sum, sum_sq)) => distribution.with_exact_moments(sum, sum_sq),
            None => distribution,
        })
    }
}

/// The sums of a histogram, if they agree with what its buckets allow: in a copy of a live histogram they may
/// lead by the requests that were being recorded.
fn exact_sums(histogram: &Histogram, lowest: f64, highest: f64) -> Option<(u128, u128)> {
    const ROUNDING: f64 = 1e-9;
    let (sum, sum_sq) = (histogram.sums().sum?, histogram.sums().sum_sq?);
    let (total, squares) = (sum as f64, sum_sq as f64);
    let largest = histogram.buckets().into_iter().last().map_or(0.0, |bucket| bucket.upper as f64);
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
    fn buckets_of_the_recorder_are_found_by_position() {
        let mut next = 0;
        for index in 0..RECORDER_BUCKETS {
            let mut known = Known::default();
            known.0[index] = true;
            let edges = known.edges().next().unwrap();
            assert_eq!((edges.0, recorder_index(edges)), (next, Some(index)));
            next = edges.1.wrapping_add(1);
        }
        assert_eq!(next, 0, "they tile all values");
        for foreign in [(0, 1), (256, 256), (257, 258), (1 << 36, 1 << 37), (1 << 37, u64::MAX)] {
            assert_eq!(recorder_index(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_layout_within_a_coarser_one_has_its_ranges() {
        let fine = layout(&[&[(0, 1), (2, 3), (9, 9), (20, 21)]]);
        let coarse = layout(&[&[(0, 1), (2, 9), (12, 14), (20, 30)]]);
        assert_eq!(fine.within(&coarse).ranges, [(0, 1), (2, 9), (20, 30)]);
    }
}
