use std::ops::Add;

use crate::grid::{Column, combine};
use crate::{Distribution, Error, Grid, Stratum};

/// Up to how many strata a share is added up when it is asked for, instead of beforehand for all buckets.
const FEW: usize = 3;

/// Which side of a comparison is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arm {
    Control,
    Variation,
}

impl Arm {
    pub(crate) fn of(self, stratum: &Stratum) -> &Distribution {
        match self {
            Self::Control => &stratum.control,
            Self::Variation => &stratum.variation,
        }
    }
}

/// The weighted distribution functions of both arms over strata, at every bucket of any of them.
///
/// Shares are cumulative counts times weight over total, so that one stratum has no rounding to speak of
/// and many have that of their sum.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    grid: Grid,
    shares: Source,
}

/// The weighted shares of observations up to and including a bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Shares {
    control: f64,
    variation: f64,
    /// Of both arms together.
    pooled: f64,
}

impl Add for Shares {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            control: self.control + other.control,
            variation: self.variation + other.variation,
            pooled: self.pooled + other.pooled,
        }
    }
}

#[derive(Debug, Clone)]
enum Source {
    /// Strata on one grid, few enough that a share is added up faster than it is looked up.
    Strata(Vec<Scaled>),
    /// One entry for each bucket.
    Table(Vec<Shares>),
}

/// A stratum with the share that one observation of each arm, and of either, makes.
#[derive(Debug, Clone)]
struct Scaled {
    control: Distribution,
    variation: Distribution,
    per_control: f64,
    per_variation: f64,
    per_request: f64,
}

impl Scaled {
    fn new(Stratum { control, variation, weight }: &Stratum) -> Self {
        let (n_a, n_b) = (control.count() as f64, variation.count() as f64);
        Self {
            control: control.clone(),
            variation: variation.clone(),
            per_control: weight / n_a,
            per_variation: weight / n_b,
            per_request: weight / (n_a + n_b),
        }
    }

    fn shares(&self, control: u64, variation: u64) -> Shares {
        let (control, variation) = (exact(control), exact(variation));
        Shares {
            control: self.per_control * control,
            variation: self.per_variation * variation,
            pooled: self.per_request * (control + variation),
        }
    }
}

/// A count, which is below 2^63: signed integers become floats in one instruction.
fn exact(count: u64) -> f64 {
    count.cast_signed() as f64
}

impl Steps {
    /// Fails when buckets of any two strata overlap without being equal.
    ///
    /// Many strata are merged pairwise in a tree: linear in the buckets where strata share them.
    pub(crate) fn of(strata: &[Stratum]) -> Result<Self, Error> {
        if let Some(first) = strata.first().filter(|_| strata.len() <= FEW) {
            let grid = first.control.grid();
            let on_one = |stratum: &Stratum| {
                stratum.control.grid().is(grid) && stratum.variation.grid().is(grid)
            };
            if strata.iter().all(on_one) {
                let scaled = strata.iter().map(Scaled::new).collect();
                return Ok(Self { grid: grid.clone(), shares: Source::Strata(scaled) });
            }
        }
        let (grid, table) = table(strata)?;
        Ok(Self { grid, shares: Source::Table(table) })
    }

    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The first bucket from which on `holds`, or their number.
    pub(crate) fn first(&self, holds: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.grid.edges().len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// The arm's weighted share of observations up to and including a bucket.
    pub(crate) fn share(&self, arm: Arm, bucket: usize) -> f64 {
        match (&self.shares, arm) {
            (Source::Table(table), Arm::Control) => table[bucket].control,
            (Source::Table(table), Arm::Variation) => table[bucket].variation,
            (Source::Strata(strata), Arm::Control) => strata
                .iter()
                .map(|s| s.per_control * exact(s.control.cumulative().values[bucket]))
                .sum(),
            (Source::Strata(strata), Arm::Variation) => strata
                .iter()
                .map(|s| s.per_variation * exact(s.variation.cumulative().values[bucket]))
                .sum(),
        }
    }

    /// Both arms' weighted share of observations up to and including a bucket.
    pub(crate) fn pooled(&self, bucket: usize) -> f64 {
        match &self.shares {
            Source::Table(table) => table[bucket].pooled,
            Source::Strata(strata) => strata
                .iter()
                .map(|s| {
                    let [a, b] =
                        [&s.control, &s.variation].map(|arm| arm.cumulative().values[bucket]);
                    s.shares(a, b).pooled
                })
                .sum(),
        }
    }
}

fn table(strata: &[Stratum]) -> Result<(Grid, Vec<Shares>), Error> {
    match strata {
        [] => Ok((Grid::default(), Vec::new())),
        [one] => {
            let scaled = Scaled::new(one);
            combine(one.control.cumulative(), one.variation.cumulative(), |a, b| {
                scaled.shares(a, b)
            })
        }
        _ => {
            let (left, right) = strata.split_at(strata.len() / 2);
            let (mut left, right) = (table(left)?, table(right)?);
            if left.0.is(&right.0) {
                left.1.iter_mut().zip(right.1).for_each(|(sum, shares)| *sum = *sum + shares);
                return Ok(left);
            }
            combine(
                Column { grid: &left.0, values: &left.1 },
                Column { grid: &right.0, values: &right.1 },
                Shares::add,
            )
        }
    }
}
