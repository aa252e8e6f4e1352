use crate::{Distribution, Error, Grid};

/// Moving between grids.
impl Distribution {
    /// The same distributions on a grid that has all of their buckets, and others.
    ///
    /// The buckets of distributions that share a grid and follow each other are looked up once. Fails when a
    /// bucket is not in the grid.
    ///
    /// ```
    /// use latency_experiment_stats::{Distribution, Grid};
    ///
    /// let few = Grid::new([(100, 109), (400, 439)])?;
    /// let all = Grid::new([(100, 109), (110, 119), (400, 439)])?;
    /// let latencies = Distribution::on(&few, vec![60, 40])?;
    /// let moved = Distribution::moved_to(&all, [&latencies])?;
    /// assert_eq!(moved, [Distribution::on(&all, vec![60, 0, 40])?]);
    /// # Ok::<(), latency_experiment_stats::Error>(())
    /// ```
    pub fn moved_to<'a>(
        grid: &Grid,
        distributions: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Vec<Self>, Error> {
        let mut places = Places::default();
        let moved = distributions.into_iter().map(|distribution| {
            if !places.inner.is(distribution.grid()) {
                places = Places::of(distribution.grid(), grid)?;
            }
            let sums = distribution.cumulative().values;
            let up_to = places.last.iter().map(|last| sums.get(*last).copied().unwrap_or(0));
            Ok(distribution.on_grid(grid, up_to.collect()))
        });
        moved.collect()
    }
}

/// Where the buckets of a grid are in another that has all of them.
#[derive(Default)]
struct Places {
    inner: Grid,
    /// For each bucket of the other grid, the last of the inner one that does not end behind it; beyond all
    /// where there is none.
    last: Vec<usize>,
}

impl Places {
    fn of(inner: &Grid, outer: &Grid) -> Result<Self, Error> {
        let mut found = 0;
        let last = outer.edges().iter().map(|edges| {
            found += usize::from(inner.edges().get(found) == Some(edges));
            found.wrapping_sub(1)
        });
        let last = last.collect();
        match inner.edges().get(found) {
            Some(&edges) => Err(Error::MissingBucket { edges }),
            None => Ok(Self { inner: inner.clone(), last }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_keep_all_but_their_grid() {
        let (few, other) = (Grid::new([(5, 9), (30, 39)]).unwrap(), Grid::new([(1, 4)]).unwrap());
        let all = Grid::new([(1, 4), (5, 9), (10, 29), (30, 39), (40, 49)]).unwrap();
        let a = Distribution::on(&few, vec![3, 4]).unwrap().with_moments(160, 4_900);
        let b = Distribution::on(&few, vec![0, 2]).unwrap().with_at_infinity(7).unwrap();
        let c = Distribution::on(&other, vec![8]).unwrap();
        let before = [a, b, c, Distribution::default()];
        let moved = Distribution::moved_to(&all, &before).unwrap();
        assert_eq!(moved, before);
        assert!(moved.iter().all(|moved| moved.grid().is(&all)));
    }

    #[test]
    fn a_bucket_that_is_not_in_the_grid_is_named() {
        let grid = Grid::new([(1, 4), (5, 9)]).unwrap();
        for edges in [(0, 4), (1, 9), (5, 8), (10, 11)] {
            let stray = Distribution::on(&Grid::new([edges]).unwrap(), vec![0]).unwrap();
            let refused = Distribution::moved_to(&grid, [&stray]).unwrap_err();
            assert_eq!(refused, Error::MissingBucket { edges });
        }
        let stray = Distribution::from_points([(3, 1)]).unwrap();
        let refused = Distribution::moved_to(&grid, [&stray]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "bucket [3, 3] is not in the grid to move to, which must have all buckets"
        );
    }
}
