use std::sync::LazyLock;

use latency_experiment_stats::{Bucket, Distribution, Error};

use crate::traffic::Request;

/// Relative width of a bucket.
const WIDTH: f64 = 0.008;

/// Logarithms of the lowest and of the highest latency, in milliseconds, that have their own bucket.
const RANGE: (f64, f64) = (-9.0, 21.0);

/// Units of the histograms in a millisecond. Fine enough for integers to tell the lowest buckets apart.
pub const UNITS: f64 = 1e7;

static GRID: LazyLock<Grid> = LazyLock::new(Grid::new);

struct Grid {
    /// Buckets per unit of the logarithm.
    per_log: f64,
    /// Lower edges, one more than there are buckets.
    edges: Vec<u64>,
}

impl Grid {
    fn new() -> Self {
        let log_width = WIDTH.ln_1p();
        let count = ((RANGE.1 - RANGE.0) / log_width).ceil() as u32;
        let edge = |index| (UNITS * (RANGE.0 + f64::from(index) * log_width).exp()).ceil() as u64;
        Self { per_log: log_width.recip(), edges: (0..=count).map(edge).collect() }
    }
}

/// Latencies of one arm in buckets of 0.8 %, counted as a recorder does.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u32>,
    /// The buckets with observations lie in this range.
    first: usize,
    end: usize,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; GRID.edges.len() - 1], first: usize::MAX, end: 0 }
    }
}

impl Histogram {
    /// Counts one latency, given as the logarithm of its milliseconds.
    pub fn record(&mut self, log_latency: f64) {
        // A negative position becomes 0.
        let position = ((log_latency - RANGE.0) * GRID.per_log) as usize;
        let index = position.min(self.counts.len() - 1);
        self.counts[index] += 1;
        self.first = self.first.min(index);
        self.end = self.end.max(index + 1);
    }

    /// What has been counted so far.
    pub fn distribution(&self) -> Result<Distribution, Error> {
        let range = self.first.min(self.end)..self.end;
        let edges = GRID.edges[range.start..].windows(2);
        Distribution::new(self.counts[range].iter().zip(edges).map(|(&count, edge)| Bucket {
            lower: edge[0],
            upper: edge[1] - 1,
            count: u64::from(count),
        }))
    }
}

/// Both arms, control first.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    histograms: [Histogram; 2],
    failures: [u64; 2],
}

/// What both arms measured up to one moment.
#[derive(Debug, Clone, Default)]
pub struct Arms {
    /// Latencies of the control.
    pub control: Distribution,
    /// Latencies of the variation.
    pub variation: Distribution,
    /// Failures of control and variation.
    pub failures: [u64; 2],
}

impl Recorder {
    /// Counts one request.
    pub fn record(&mut self, request: &Request) {
        self.histograms[request.arm].record(request.log_latency);
        self.failures[request.arm] += u64::from(request.failed);
    }

    /// What has been counted so far.
    pub fn arms(&self) -> Result<Arms, Error> {
        Ok(Arms {
            control: self.histograms[0].distribution()?,
            variation: self.histograms[1].distribution()?,
            failures: self.failures,
        })
    }
}

impl Arms {
    /// Strata in one histogram per arm, which is a mistake where they differ in load and split.
    pub fn pooled(strata: &[Self]) -> Result<Self, Error> {
        Ok(Self {
            control: Distribution::merge(strata.iter().map(|arms| &arms.control))?,
            variation: Distribution::merge(strata.iter().map(|arms| &arms.variation))?,
            failures: [0, 1].map(|arm| strata.iter().map(|arms| arms.failures[arm]).sum()),
        })
    }

    /// Requests of the arm that has fewer.
    pub fn fewest(&self) -> u64 {
        self.control.count().min(self.variation.count())
    }

    /// The arms in the order of [`Recorder`].
    pub fn both(&self) -> [&Distribution; 2] {
        [&self.control, &self.variation]
    }
}

#[cfg(test)]
mod tests {
    use latency_experiment_stats::Quantile;

    use super::*;

    #[test]
    fn buckets_are_as_wide_as_they_say_and_hold_what_they_got() {
        assert!(GRID.edges.windows(2).all(|edge| edge[0] < edge[1]));
        for latency in [0.001_f64, 0.5, 1.0, 7.3, 5_000.0] {
            let mut histogram = Histogram::default();
            histogram.record(latency.ln());
            let edges = histogram.distribution().unwrap().quantile_edges(Quantile::P50).unwrap();
            assert!(edges.lower <= latency * UNITS && latency * UNITS <= edges.upper + 1.0);
            assert!(edges.upper / edges.lower < 1.0081);
        }
        let mut beyond = Histogram::default();
        beyond.record(-50.0);
        beyond.record(50.0);
        assert_eq!(beyond.distribution().unwrap().count(), 2);
        assert!(Histogram::default().distribution().unwrap().is_empty());
    }
}
