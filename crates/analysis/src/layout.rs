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
}

impl Layout {
    /// The finest layout for all histograms.
    pub(crate) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut layout = Self::default();
        for histogram in histograms {
            layout.add(histogram.buckets().iter().map(|bucket| (bucket.lower, bucket.upper)));
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

    /// The layout with all its buckets.
    pub(crate) fn frame(self) -> Result<Frame, Error> {
        Ok(Frame { grid: Grid::new(self.ranges)? })
    }
}

impl Frame {
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
            let mut at = 0;
            for bucket in histogram.buckets() {
                while ranges[at].1 < bucket.lower {
                    at += 1;
                }
                // Too many are refused below.
                counts[at] = counts[at].saturating_add(bucket.count);
            }
            let sums = histogram.sums();
            moments = moments.and_then(|(sum, sum_sq)| {
                Some((sum.checked_add(sums.sum?)?, sum_sq.checked_add(sums.sum_sq?)?))
            });
        }
        let distribution = Distribution::on(&self.grid, counts)?;
        Ok(match moments {
            Some((sum, sum_sq)) => distribution.with_moments(sum, sum_sq),
            None => distribution,
        })
    }
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
