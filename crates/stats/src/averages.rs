use crate::{Bucket, Distribution, Edges};

/// Means and variances.
impl Distribution {
    /// The mean: exact with exact sums, otherwise that of the bucket midpoints.
    ///
    /// `None` without observations, with observations at infinity, and with observations in an overflow
    /// bucket unless the sums are exact.
    pub fn mean(&self) -> Option<f64> {
        if self.is_empty() || self.at_infinity() > 0 {
            return None;
        }
        let mean = match self.moments() {
            Some(moments) => moments.mean(self.finite_count()),
            None => self.average(Edges::midpoint),
        };
        mean.is_finite().then_some(mean)
    }

    /// Between which values the mean must lie by the buckets alone.
    pub fn mean_edges(&self) -> Option<Edges> {
        (!self.is_empty() && self.at_infinity() == 0).then(|| Edges {
            lower: self.average(|edges| edges.lower),
            upper: self.average(|edges| edges.upper),
        })
    }

    /// The sample variance, divisor n - 1: exact with exact sums, otherwise that of the bucket midpoints.
    ///
    /// `None` below two observations and where there is no [mean](Self::mean). Never negative.
    pub fn variance(&self) -> Option<f64> {
        self.variance_around(self.mean()?)
    }

    /// [`mean`](Self::mean) and [`variance`](Self::variance), in one pass over the buckets.
    pub(crate) fn mean_and_variance(&self) -> Option<(f64, Option<f64>)> {
        let count = self.finite_count();
        if self.moments().is_some() || self.at_infinity() > 0 || count == 0 {
            let mean = self.mean()?;
            return Some((mean, self.variance_around(mean)));
        }
        // Around the median, at most a standard deviation from the mean, hardly a digit cancels.
        let center = self.order_statistic(count.div_ceil(2))?.midpoint();
        let (mut sum, mut squares) = (0.0, 0.0);
        for Bucket { lower, upper, count } in self.buckets() {
            let deviation = Edges::of(lower, upper).midpoint() - center;
            let weighted = count as f64 * deviation;
            sum += weighted;
            squares += weighted * deviation;
        }
        let shift = sum / count as f64;
        let mean = Some(center + shift).filter(|mean| mean.is_finite())?;
        let variance = (squares - sum * shift).max(0.0) / (count as f64 - 1.0);
        Some((mean, Some(variance).filter(|variance| count >= 2 && variance.is_finite())))
    }

    /// [`variance`](Self::variance) of a distribution whose mean is already known.
    fn variance_around(&self, mean: f64) -> Option<f64> {
        let count = self.finite_count();
        if count < 2 {
            return None;
        }
        let deviations = |center: f64| {
            self.weighted_sum(|edges| (edges.midpoint() - center) * (edges.midpoint() - center))
        };
        let sum = match self.moments() {
            None => deviations(mean),
            // Exact sums that leave no room for a variance fall back to the buckets.
            Some(moments) => moments
                .squared_deviations(count)
                .unwrap_or_else(|| deviations(self.average(Edges::midpoint))),
        };
        let variance = sum / (count - 1) as f64;
        variance.is_finite().then_some(variance)
    }

    /// Mean of the logarithms of the values, from geometric bucket midpoints.
    ///
    /// Values below one unit count as one. `None` as for [`mean`](Self::mean).
    pub fn log_mean(&self) -> Option<f64> {
        Some(self.log_mean_and_variance()?.0)
    }

    /// Sample variance of the logarithms of the values, from geometric bucket midpoints.
    ///
    /// `None` as for [`variance`](Self::variance).
    pub fn log_variance(&self) -> Option<f64> {
        self.log_mean_and_variance()?.1
    }

    /// [`log_mean`](Self::log_mean) and [`log_variance`](Self::log_variance), in one pass over the buckets.
    pub(crate) fn log_mean_and_variance(&self) -> Option<(f64, Option<f64>)> {
        let count = self.finite_count();
        if count == 0 || self.at_infinity() > 0 {
            return None;
        }
        let (values, cumulative) = (self.grid().log_midpoints(), self.cumulative().values);
        // Around the median, at most a standard deviation from the mean, hardly a digit cancels.
        let center = values[cumulative.partition_point(|up_to| *up_to < count.div_ceil(2))];
        let (mut sum, mut squares, mut before) = (0.0, 0.0, 0);
        for (value, up_to) in values.iter().zip(cumulative) {
            let here = up_to - before;
            // An empty overflow bucket has no logarithm to multiply.
            if here > 0 {
                let weighted = here.cast_signed() as f64 * (value - center);
                sum += weighted;
                squares += weighted * (value - center);
            }
            before = *up_to;
        }
        let shift = sum / count as f64;
        let mean = Some(center + shift).filter(|mean| mean.is_finite())?;
        let variance = (squares - sum * shift).max(0.0) / (count as f64 - 1.0);
        Some((mean, (count >= 2).then_some(variance)))
    }

    fn weighted_sum(&self, value: impl Fn(Edges) -> f64) -> f64 {
        self.buckets()
            .map(|bucket| bucket.count as f64 * value(Edges::of(bucket.lower, bucket.upper)))
            .sum()
    }

    fn average(&self, value: impl Fn(Edges) -> f64) -> f64 {
        self.weighted_sum(value) / self.finite_count() as f64
    }
}

pub(crate) fn log_midpoint(edges: Edges) -> f64 {
    0.5 * (edges.lower.max(1.0).ln() + edges.upper.max(1.0).ln())
}
