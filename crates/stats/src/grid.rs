use std::sync::{Arc, OnceLock};

use crate::averages::log_midpoint;
use crate::{Edges, Error};

/// Bucket edges that distributions share.
///
/// Distributions on one grid are merged and compared several times as fast as those that each keep the
/// buckets they need; nothing else differs. Cheap to clone.
///
/// ```
/// use latency_experiment_stats::{Distribution, Grid, Quantile};
///
/// let grid = Grid::new([(100, 109), (110, 119), (400, 439)])?;
/// let latencies = Distribution::on(&grid, vec![60, 40, 0])?;
/// assert_eq!(latencies.quantile(Quantile::P99), Some(114.5));
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Grid(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    edges: Vec<(u64, u64)>,
    /// Taken once for all distributions, when first asked for.
    log_midpoints: OnceLock<Vec<f64>>,
}

impl Grid {
    /// A grid of buckets with these lower and upper edges, both inclusive, in ascending order.
    ///
    /// Fails on a bucket with reversed edges and on one that does not begin above the bucket before it.
    pub fn new(edges: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, Error> {
        let edges: Vec<(u64, u64)> = edges.into_iter().collect();
        let mut previous_upper = None;
        for (index, &(lower, upper)) in edges.iter().enumerate() {
            if lower > upper {
                return Err(Error::ReversedBucket { index, lower, upper });
            }
            if let Some(previous_upper) = previous_upper.filter(|previous| lower <= *previous) {
                return Err(Error::UnsortedBuckets { index, lower, previous_upper });
            }
            previous_upper = Some(upper);
        }
        Ok(Self::of_sorted(edges))
    }

    /// The edges of the buckets.
    pub fn edges(&self) -> &[(u64, u64)] {
        &self.0.edges
    }

    /// The logarithm of each bucket's geometric midpoint; values below one unit count as one.
    pub(crate) fn log_midpoints(&self) -> &[f64] {
        let logarithm = |&(lower, upper): &(u64, u64)| log_midpoint(Edges::of(lower, upper));
        self.0.log_midpoints.get_or_init(|| self.edges().iter().map(logarithm).collect())
    }

    /// A grid of edges that are known to ascend.
    pub(crate) fn of_sorted(edges: Vec<(u64, u64)>) -> Self {
        Self(Arc::new(Inner { edges, log_midpoints: OnceLock::new() }))
    }

    /// Whether two grids are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// One value per bucket of a grid, such as the observations up to and including it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a, T> {
    pub(crate) grid: &'a Grid,
    pub(crate) values: &'a [T],
}

/// Walks two columns in step. `visit` gets each bucket of either and, of both columns, the value of the last
/// bucket that ends at or before it; before the first bucket that is the default.
///
/// Fails where buckets overlap without being equal.
#[inline(always)] // so that what `visit` adds up stays in registers
pub(crate) fn walk<A: Copy + Default, B: Copy + Default>(
    a: Column<'_, A>,
    b: Column<'_, B>,
    mut visit: impl FnMut((u64, u64), A, B),
) -> Result<(), Error> {
    if a.grid.is(b.grid) {
        for ((edges, a), b) in a.grid.edges().iter().zip(a.values).zip(b.values) {
            visit(*edges, *a, *b);
        }
        return Ok(());
    }
    let (edges_a, edges_b) = (a.grid.edges(), b.grid.edges());
    let (mut last_a, mut last_b) = (A::default(), B::default());
    let (mut i, mut j) = (0, 0);
    while i < edges_a.len() && j < edges_b.len() {
        let (first, second) = (edges_a[i], edges_b[j]);
        let edges = if first == second {
            (last_a, last_b) = (a.values[i], b.values[j]);
            (i, j) = (i + 1, j + 1);
            first
        } else if first.1 < second.0 {
            last_a = a.values[i];
            i += 1;
            first
        } else if second.1 < first.0 {
            last_b = b.values[j];
            j += 1;
            second
        } else {
            return Err(Error::MixedBuckets { first, second });
        };
        visit(edges, last_a, last_b);
    }
    for (edges, value) in edges_a[i..].iter().zip(&a.values[i..]) {
        last_a = *value;
        visit(*edges, last_a, last_b);
    }
    for (edges, value) in edges_b[j..].iter().zip(&b.values[j..]) {
        last_b = *value;
        visit(*edges, last_a, last_b);
    }
    Ok(())
}

/// The values of two columns combined bucket by bucket, on the grid of both.
///
/// Fails where buckets overlap without being equal.
pub(crate) fn combine<A: Copy + Default, B: Copy + Default, C>(
    a: Column<'_, A>,
    b: Column<'_, B>,
    mut value: impl FnMut(A, B) -> C,
) -> Result<(Grid, Vec<C>), Error> {
    if a.grid.is(b.grid) {
        let values = a.values.iter().zip(b.values).map(|(a, b)| value(*a, *b)).collect();
        return Ok((a.grid.clone(), values));
    }
    // Where most buckets are in both there are not many more than these: growing would copy them all.
    let most = a.values.len().max(b.values.len());
    let most = most + most.min(a.values.len().min(b.values.len())) / 4 + 8;
    let (mut edges, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most));
    walk(a, b, |span, a, b| {
        edges.push(span);
        values.push(value(a, b));
    })?;
    Ok((Grid::of_sorted(edges), values))
}
