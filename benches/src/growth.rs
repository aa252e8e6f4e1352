//! How costs grow: with series, flags and threads.

use std::error::Error;

use crate::callgrind;
use crate::cases::{self, Case, many};
use crate::cost;
use crate::memory;
use crate::snapshots;

/// One row of a table: what was varied, and what came out.
#[derive(Clone, Debug)]
pub struct Point {
    /// How many of what was varied.
    pub size: usize,
    /// One value per column.
    pub values: Vec<f64>,
}

/// Instructions and nanoseconds per request above the bare service, by the number of series. The
/// sizes are measured one after the other, so that none evicts another's tables from the caches.
pub fn with_series(rounds: usize) -> Result<Vec<Point>, Box<dyn Error>> {
    let mut points = Vec::new();
    for size in [1, 10, 100, 1_000, 10_000] {
        let prefix = format!("{size}-series/");
        points.extend(above_bare(&many::cases(size), rounds, &prefix, &[(size, "ours")])?);
    }
    Ok(points)
}

/// The same by the number of flags, each of which the handler consults.
pub fn with_flags(rounds: usize) -> Result<Vec<Point>, Box<dyn Error>> {
    let sizes = [(1, "ours"), (2, "ours-2-flags"), (4, "ours-4-flags"), (8, "ours-8-flags")];
    let names = sizes.map(|(_, name)| name);
    let cases = ["bare"].into_iter().chain(names);
    let cases: Vec<_> = cases.filter_map(|name| cases::find(&format!("tower/{name}"))).collect();
    above_bare(&cases, rounds, "tower/", &sizes)
}

fn above_bare(
    cases: &[Case],
    rounds: usize,
    prefix: &str,
    sizes: &[(usize, &str)],
) -> Result<Vec<Point>, Box<dyn Error>> {
    let counted = callgrind::measure(cases, None)?;
    let timed = cost::measure(cases, rounds);
    let point = |&(size, name): &(usize, &str)| {
        let of = |what: &str| {
            let name = format!("{prefix}{what}");
            let counted = counted.cases.iter().find(|case| case.name == name)?;
            Some((counted.instructions, timed.cases.iter().find(|case| case.name == name)?))
        };
        let (bare, ours) = (of("bare")?, of(name)?);
        Some(Point { size, values: vec![ours.0 - bare.0, ours.1.cost_median_ns] })
    };
    Ok(sizes.iter().filter_map(point).collect())
}

/// Milliseconds per snapshot and MiB of the recorder's tables, by the number of series that two
/// threads recorded into.
pub fn snapshots_with_series(rounds: usize) -> Vec<Point> {
    [10, 100, 1_000, 10_000].map(|series| snapshot(series, series, 2, rounds)).into()
}

/// The same for 1,000 series, by the number of threads.
pub fn snapshots_with_threads(rounds: usize) -> Vec<Point> {
    [1, 2, 4, 8, 16].map(|threads| snapshot(threads, 1_000, threads as u64, rounds)).into()
}

fn snapshot(size: usize, series: usize, threads: u64, rounds: usize) -> Point {
    let (tables, bytes) = memory::of_threads(series, threads);
    let taken = snapshots::snapshots(&tables, rounds);
    Point { size, values: vec![taken.quiet.as_secs_f64() * 1e3, bytes as f64 / 1_048_576.0] }
}

/// The exponent with which a column grows, over all of its points: 0 is no growth, 1 is growth in
/// proportion.
pub fn exponent(points: &[Point], column: usize) -> f64 {
    line(points.iter().map(|point| ((point.size as f64).ln(), point.values[column].ln()))).1
}

/// What a column is at size 0 and what each further one adds, if it grows along a line.
pub fn steps(points: &[Point], column: usize) -> (f64, f64) {
    line(points.iter().map(|point| (point.size as f64, point.values[column])))
}

/// The line of least squares: its height at 0, and its slope.
fn line(points: impl ExactSizeIterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let count = points.len() as f64;
    let (x, y) = points.clone().fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x, sum.1 + y));
    let (x_mean, y_mean) = (x / count, y / count);
    let (above, below) = points.fold((0.0, 0.0), |(above, below), (x, y)| {
        (above + (x - x_mean) * (y - y_mean), below + (x - x_mean).powi(2))
    });
    (y_mean - above / below * x_mean, above / below)
}
