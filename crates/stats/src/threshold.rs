use crate::{
    Alternative, BaseRate, Distribution, Error, LabelCounts, Quantile, Share, average_log_e,
    label_log_e,
};

/// Quantiles of the baseline at which a [`DominanceGrid`] has its thresholds.
const GRID: [f64; 8] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999];

/// From where on a request of either arm counts as slow.
///
/// Freeze it before counting: at the upper edge of a bucket that holds a quantile of earlier requests. A
/// threshold estimated from the data that it judges breaks every guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Requests of the control above this edge are slow.
    control: u64,
    /// Requests of the variation above this value are slow.
    variation: u64,
    /// Whether a bucket that the variation's value cuts counts as slow.
    cut_is_slow: bool,
}

impl Threshold {
    /// The same edge for both arms: the hypothesis is that the variation is not slower.
    pub fn new(edge: u64) -> Self {
        Self { control: edge, variation: edge, cut_is_slow: true }
    }

    /// The upper edge of the bucket that holds the quantile of `baseline`, for both arms.
    ///
    /// `None` without requests, and where the quantile lies in an overflow bucket or at infinity.
    pub fn at(baseline: &Distribution, quantile: Quantile) -> Option<Self> {
        let upper = baseline.quantile_edges(quantile)?.upper;
        upper.is_finite().then(|| Self::new(upper as u64))
    }

    /// Allows the variation latencies up to 1 + `margin` times those of the control.
    ///
    /// The control keeps its edge x; a request of the variation is slow above the smallest bucket edge at or
    /// over x (1 + margin). [`label_log_e`] with [`Alternative::Greater`] then tests whether the variation is
    /// more than `margin` slower: every scale factor up to 1 + margin obeys the hypothesis, exactly.
    ///
    /// Fails when the margin is not above -1 and finite.
    pub fn allowing(self, margin: f64) -> Result<Self, Error> {
        // A product that rounded down, such as 100 * 1.15, must not fall short of its edge.
        let variation = (scaled(self.control, margin)? * (1.0 + 1e-12)).floor() as u64;
        Ok(Self { variation, cut_is_slow: false, ..self })
    }

    /// Demands that the variation takes less than 1 + `margin` times the control: -0.1 asks for a proof of
    /// "more than 10 % faster", 0.05 for one of "at most 5 % slower".
    ///
    /// A request of the variation is slow above the largest bucket edge at or under x (1 + margin). The test
    /// is [`label_log_e`] with [`Alternative::Less`]: every scale factor from 1 + margin up obeys its
    /// hypothesis, exactly.
    ///
    /// Fails when the margin is not above -1 and finite.
    pub fn demanding(self, margin: f64) -> Result<Self, Error> {
        let variation = scaled(self.control, margin)?.floor() as u64;
        Ok(Self { variation, cut_is_slow: true, ..self })
    }

    /// Counts the slow requests of each arm in one epoch. Observations at infinity are slow.
    ///
    /// Give only requests that came after the threshold was frozen.
    pub fn count(
        self,
        share: Share,
        control: &Distribution,
        variation: &Distribution,
    ) -> LabelCounts {
        let ok_control = control.count_up_to(self.control);
        let ok_variation = if self.cut_is_slow {
            variation.count_up_to(self.variation)
        } else {
            variation.count_from_below(self.variation)
        };
        LabelCounts {
            share,
            bad_control: control.count() - ok_control,
            bad_variation: variation.count() - ok_variation,
            ok_control,
            ok_variation,
        }
    }
}

/// edge (1 + margin), as a number of the unit.
fn scaled(edge: u64, margin: f64) -> Result<f64, Error> {
    if margin > -1.0 && margin.is_finite() {
        Ok(edge as f64 * (1.0 + margin))
    } else {
        Err(Error::NotPositive { what: "1 + margin", value: 1.0 + margin })
    }
}

/// Thresholds over the whole distribution of one stratum, frozen together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DominanceGrid([Option<Threshold>; GRID.len()]);

impl DominanceGrid {
    /// Thresholds at the p10, p25, p50, p75, p90, p95, p99 and p99.9 of `baseline`: requests from before the
    /// test, or the first few hundred of the stratum, both arms together.
    ///
    /// Quantiles that the baseline does not have count nothing later and only cost power.
    pub fn new(baseline: &Distribution) -> Self {
        Self(GRID.map(|level| Threshold::at(baseline, Quantile::new(level).ok()?)))
    }

    /// Counts the requests of one epoch at all thresholds. Give only requests that came after the freeze.
    pub fn count(
        &self,
        share: Share,
        control: &Distribution,
        variation: &Distribution,
    ) -> DominanceCounts {
        DominanceCounts(self.0.map(|threshold| Some(threshold?.count(share, control, variation))))
    }
}

/// Slow requests of one stratum and epoch at every threshold of a [`DominanceGrid`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DominanceCounts([Option<LabelCounts>; GRID.len()]);

/// ln E against "no latency is likelier to be exceeded in the variation": differences anywhere in the
/// distribution.
///
/// **Estimand**: whether the control's latencies are stochastically as large as the variation's at every
/// threshold of the grid ([`Alternative::Greater`] finds slowdowns, `Less` speedups).
///
/// **Formula**: the average of [`label_log_e`] over the p10, p25, p50, p75, p90, p95, p99 and p99.9 of the
/// baseline, each with its own base rate 1 - p, strata and epochs summed inside.
///
/// **Source**: averaging e-values, Vovk & Wang 2021; each as in `label_log_e`.
///
/// **Assumptions and guarantee**: those of `label_log_e`, exact at every look: independent assignment with
/// known shares, thresholds frozen before. It finds a shift, a heavier tail alone, or a changed share of
/// cache hits; a sequential Kolmogorov-Smirnov test needs seven times the requests.
///
/// **Behaviour at the edges**: no requests give 0. Ties count as one side of their threshold in both arms.
///
/// ```
/// use latency_experiment_stats::{Alternative, Distribution, DominanceGrid, Share, dominance_log_e};
///
/// let arm = |slow| Distribution::from_points([(10, 9_000 - slow), (20, 1_000), (900, slow)]);
/// let grid = DominanceGrid::new(&arm(50)?);
/// // Only the tail moved.
/// let counts = grid.count(Share::HALF, &arm(50)?, &arm(150)?);
/// assert!(dominance_log_e(&[counts], Alternative::Greater) > 100_f64.ln());
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn dominance_log_e(strata: &[DominanceCounts], alternative: Alternative) -> f64 {
    let at = |index: usize| -> f64 {
        let counts: Vec<LabelCounts> = strata.iter().filter_map(|counts| counts.0[index]).collect();
        BaseRate::new(1.0 - GRID[index]).map_or(0.0, |rate| label_log_e(&counts, rate, alternative))
    };
    average_log_e((0..GRID.len()).map(|index| (1.0, at(index))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;

    fn arm(counts: &[u64]) -> Distribution {
        let buckets = counts.iter().zip(0..).map(|(&count, index)| Bucket {
            lower: index * 10,
            upper: index * 10 + 9,
            count,
        });
        Distribution::new(buckets).unwrap()
    }

    fn slow(threshold: Threshold, variation: &Distribution) -> u64 {
        threshold.count(Share::HALF, variation, variation).bad_variation
    }

    #[test]
    fn margins_round_towards_the_hypothesis() {
        // Ten buckets of one request each; the frozen edge is 49.
        let flat = arm(&[1; 10]);
        let frozen = Threshold::at(&flat, Quantile::P50).unwrap();
        assert_eq!(slow(frozen, &flat), 5);
        // 49 * 1.1 = 53.9 lies in 50..=59, whose edge 59 is the smallest over it, 49 the largest under it.
        assert_eq!(slow(frozen.allowing(0.1).unwrap(), &flat), 4);
        assert_eq!(slow(frozen.demanding(0.1).unwrap(), &flat), 5);
        // 49 * 0.9 = 44.1 lies in 40..=49.
        assert_eq!(slow(frozen.demanding(-0.1).unwrap(), &flat), 6);
        assert_eq!(slow(frozen.allowing(-0.1).unwrap(), &flat), 5);
        // The edge itself is at or over and at or under.
        for same in [frozen.allowing(0.0).unwrap(), frozen.demanding(0.0).unwrap()] {
            assert_eq!(slow(same, &flat), 5);
        }
        assert!(frozen.allowing(-1.0).is_err() && frozen.demanding(f64::NAN).is_err());
    }

    #[test]
    fn observations_at_infinity_are_slow() {
        let failing = arm(&[10, 0, 0]).with_at_infinity(3).unwrap();
        let counts = Threshold::new(9).count(Share::HALF, &failing, &arm(&[4, 2]));
        assert_eq!((counts.bad_control, counts.ok_control), (3, 10));
        assert_eq!((counts.bad_variation, counts.ok_variation), (2, 4));
        assert_eq!(Threshold::at(&failing, Quantile::P99), None);
        assert_eq!(Threshold::at(&Distribution::default(), Quantile::P50), None);
    }

    #[test]
    fn the_grid_finds_what_a_median_does_not() {
        let before = arm(&[400, 300, 200, 90, 9, 1]);
        let grid = DominanceGrid::new(&before);
        let tail = grid.count(
            Share::HALF,
            &arm(&[8_000, 6_000, 4_000, 1_800, 180, 20]),
            &arm(&[8_000, 6_000, 4_000, 1_600, 300, 100]),
        );
        assert!(dominance_log_e(&[tail], Alternative::Greater) > 20_f64.ln());
        assert!(dominance_log_e(&[tail], Alternative::Less) < 0.0);
        assert!(dominance_log_e(&[], Alternative::Greater).abs() < 1e-12);
        let nothing = DominanceGrid::new(&Distribution::default());
        let nothing = nothing.count(Share::HALF, &before, &before);
        assert!(dominance_log_e(&[nothing], Alternative::TwoSided).abs() < 1e-12);
    }
}
