use crate::grid::walk;
use crate::special::{ln_two_sided, two_sided, upper_tail};
use crate::{Alternative, Comparison, Distribution};

/// The Mann-Whitney test of one comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// Pairs of one request of each arm in which the variation is slower, ties counting half.
    pub u: f64,
    /// Twice [`u`](Self::u), an exact integer; `None` beyond 128 bits.
    pub twice_u: Option<u128>,
    /// Sum of t^3 - t over the sizes t of all groups of ties; `None` beyond 128 bits.
    pub tie_sum: Option<u128>,
    /// Standardised statistic without continuity correction; positive means that the variation is slower.
    pub z: f64,
    /// Two-sided p-value for one look at the planned sample size.
    pub p_value: f64,
    /// Its natural logarithm, which does not underflow.
    pub log_p_value: f64,
    /// P(variation < control) + half of P(equal), for requests of the same stratum.
    pub probability_faster: f64,
    /// Half a pair in standard errors, what a continuity correction takes off; `None` over several strata.
    half_pair: Option<f64>,
}

impl MannWhitney {
    /// The p-value for an alternative fixed in advance.
    pub fn p_value_for(&self, alternative: Alternative) -> f64 {
        match alternative {
            Alternative::Greater => upper_tail(self.z),
            Alternative::Less => upper_tail(-self.z),
            Alternative::TwoSided => self.p_value,
        }
    }

    /// The p-value with a continuity correction of half a pair, as some textbooks and scipy's default have it.
    ///
    /// `None` over several strata, whose weighted sum does not move in steps of one.
    pub fn corrected_p_value_for(&self, alternative: Alternative) -> Option<f64> {
        let half_pair = self.half_pair?;
        Some(match alternative {
            Alternative::Greater => upper_tail(self.z - half_pair),
            Alternative::Less => upper_tail(-self.z - half_pair),
            // Twice the tail of the larger side, which exceeds 1 for a z within the correction.
            Alternative::TwoSided => (2.0 * upper_tail(self.z.abs() - half_pair)).min(1.0),
        })
    }
}

/// The tie-corrected Mann-Whitney test; over strata, van Elteren's.
///
/// **Estimand**: the probability that a request is slower in the variation than one of the control in the
/// same stratum, against 1/2. It is not a test of medians or of means.
///
/// **Formula**: U counts the pairs with the variation slower, ties half, summed over strata; with N = n + m
/// requests in a stratum, var U = n m / 12 \[(N + 1) - sum (t^3 - t) / (N (N - 1))\], and
/// z = sum (U - n m / 2) / (N + 1) / sqrt(sum var U / (N + 1)^2). One stratum gives the usual z. No continuity
/// correction, unless [asked for](MannWhitney::corrected_p_value_for). Weights of the strata do not enter.
///
/// **Source**: Mann & Whitney 1947; ties: Lehmann 1975, section 1.4; strata: van Elteren 1960.
///
/// **Guarantee**: asymptotic, **for one look at a sample size fixed in advance**. Peeking at it after every
/// request rejects a true null hypothesis in about two experiments of three: show the p-value only when the
/// planned size is reached.
///
/// **Numerics**: U in exact integers; the variance as sum t (N - t)(N + t), which does not cancel. Counts
/// to 1e12 per bucket are exact, and nothing overflows. Observations at infinity tie with each other.
///
/// `None` when no stratum has data in both arms. All values tied give z = 0.
///
/// ```
/// use latency_experiment_stats::{Comparison, Distribution, mann_whitney};
///
/// let control = Distribution::from_points([(10, 1), (20, 1), (30, 1)])?;
/// let variation = Distribution::from_points([(20, 1), (40, 1)])?;
/// let test = mann_whitney(&Comparison::pair(control, variation)?).unwrap();
/// assert_eq!(test.u, 4.5);
/// assert_eq!(test.probability_faster, 0.25);
/// # Ok::<(), latency_experiment_stats::Error>(())
/// ```
pub fn mann_whitney(comparison: &Comparison) -> Option<MannWhitney> {
    if comparison.strata().is_empty() {
        return None;
    }
    let mut total = Total::default();
    for stratum in comparison.strata() {
        total.add(&Ranks::of(&stratum.control, &stratum.variation)?);
    }
    let z = if total.variance > 0.0 { total.score / total.variance.sqrt() } else { 0.0 };
    let half_pair = match comparison.strata() {
        [one] if total.variance > 0.0 => {
            let scale = one.control.count() as f64 + one.variation.count() as f64 + 1.0;
            Some(0.5 / scale / total.variance.sqrt())
        }
        [_] => Some(0.0),
        _ => None,
    };
    Some(MannWhitney {
        u: total.u,
        twice_u: total.twice_u,
        tie_sum: total.tie_sum,
        z,
        p_value: two_sided(z),
        log_p_value: ln_two_sided(z),
        probability_faster: (total.twice_faster / (2.0 * total.pairs)).clamp(0.0, 1.0),
        half_pair,
    })
}

/// Rank sums of one stratum.
struct Ranks {
    /// Twice the pairs with the variation slower, ties once. At most 2^127 because an arm holds fewer
    /// than 2^63 requests.
    twice_u: u128,
    /// All pairs.
    pairs: u128,
    /// Requests of both arms.
    requests: f64,
    /// Sum of t (N - t)(N + t) over ties, which equals N^3 - N - sum (t^3 - t).
    untied: f64,
    tie_sum: Option<u128>,
}

/// Up to how many requests of both arms all sums fit 64 bits: cubes add up to less than 2^63.
const REGISTERS_FIT: u128 = 1 << 21;

/// Up to how many requests of both arms sums of cubes fit 128 bits, whatever the ties.
const CUBES_FIT: u128 = 1 << 42;

impl Ranks {
    /// `None` when the buckets do not pair up, which a comparison rules out.
    fn of(control: &Distribution, variation: &Distribution) -> Option<Self> {
        let all = u128::from(control.count()) + u128::from(variation.count());
        if all < REGISTERS_FIT && control.at_infinity() + variation.at_infinity() == 0 {
            return Self::small(control, variation);
        }
        let mut twice_u = 0;
        let mut cubes = Cubes::new(all);
        let (mut below_a, mut below_b) = (0, 0);
        // A group of `a` and `b` equal observations above `below_a` of the control.
        let mut add_tie = |below_a: u64, a: u64, b: u64| {
            // An arm holds less than 2^63, so that neither sum overflows.
            twice_u += u128::from(b) * u128::from(2 * below_a + a);
            cubes.add(a + b);
        };
        walk(control.cumulative(), variation.cumulative(), |_, a, b| {
            let tie = (a - below_a, b - below_b);
            if tie != (0, 0) {
                add_tie(below_a, tie.0, tie.1);
                (below_a, below_b) = (a, b);
            }
        })
        .ok()?;
        add_tie(below_a, control.at_infinity(), variation.at_infinity());
        let (untied, tie_sum) = cubes.finish();
        Some(Self {
            twice_u,
            pairs: u128::from(control.count()) * u128::from(variation.count()),
            requests: all as f64,
            untied,
            tie_sum,
        })
    }

    /// [`of`](Self::of) for arms of the usual size, in single registers.
    fn small(control: &Distribution, variation: &Distribution) -> Option<Self> {
        let (mut twice_u, mut cubes) = (0_u64, 0_u64);
        let (mut below_a, mut below_b) = (0, 0);
        walk(control.cumulative(), variation.cumulative(), |_, up_to_a, up_to_b| {
            let (a, b) = (up_to_a - below_a, up_to_b - below_b);
            // All of it is below 2^32, and the product of two such is cheap.
            let size = u64::from((a + b) as u32);
            twice_u += u64::from(b as u32) * u64::from((below_a + up_to_a) as u32);
            cubes += size * size * size;
            (below_a, below_b) = (up_to_a, up_to_b);
        })
        .ok()?;
        let all = below_a + below_b;
        // Sizes add up to all.
        let tie_sum = cubes - all;
        Some(Self {
            twice_u: twice_u.into(),
            pairs: u128::from(below_a) * u128::from(below_b),
            requests: all as f64,
            untied: (all * all * all - all - tie_sum) as f64,
            tie_sum: Some(tie_sum.into()),
        })
    }
}

/// Sums of the cubes of tied groups: in integers alone where those fit, else also in floats.
enum Cubes {
    Exact { all: u128, tie_sum: u128 },
    Large { all: f64, untied: f64, tie_sum: Option<u128> },
}

impl Cubes {
    fn new(all: u128) -> Self {
        if all < CUBES_FIT {
            Self::Exact { all, tie_sum: 0 }
        } else {
            Self::Large { all: all as f64, untied: 0.0, tie_sum: Some(0) }
        }
    }

    fn add(&mut self, size: u64) {
        match self {
            Self::Exact { tie_sum, .. } => {
                // Nearly all ties are small enough for one register.
                let cubed = if size < 1 << 21 {
                    u128::from(size * size * size)
                } else {
                    u128::from(size) * u128::from(size) * u128::from(size)
                };
                *tie_sum += cubed - u128::from(size);
            }
            Self::Large { all, untied, tie_sum } => {
                let size_f64 = size as f64;
                *untied += size_f64 * (*all - size_f64) * (*all + size_f64);
                let cubed = u128::from(size).checked_pow(3);
                *tie_sum = tie_sum
                    .zip(cubed)
                    .and_then(|(sum, cubed)| sum.checked_add(cubed - u128::from(size)));
            }
        }
    }

    /// N^3 - N - sum (t^3 - t) without cancellation, and the sum.
    fn finish(self) -> (f64, Option<u128>) {
        match self {
            Self::Exact { all, tie_sum } => {
                ((all * all * all - all - tie_sum) as f64, Some(tie_sum))
            }
            Self::Large { untied, tie_sum, .. } => (untied, tie_sum),
        }
    }
}

/// Sums over strata.
struct Total {
    u: f64,
    twice_u: Option<u128>,
    twice_faster: f64,
    pairs: f64,
    tie_sum: Option<u128>,
    score: f64,
    variance: f64,
}

impl Default for Total {
    fn default() -> Self {
        Self {
            u: 0.0,
            twice_u: Some(0),
            twice_faster: 0.0,
            pairs: 0.0,
            tie_sum: Some(0),
            score: 0.0,
            variance: 0.0,
        }
    }
}

impl Total {
    fn add(&mut self, ranks: &Ranks) {
        let Ranks { twice_u, pairs, requests, untied, tie_sum } = *ranks;
        let magnitude = twice_u.abs_diff(pairs) as f64 / 2.0;
        let excess = if twice_u < pairs { -magnitude } else { magnitude };
        let untied = if requests > 1.0 { untied / (requests * (requests - 1.0)) } else { 0.0 };
        let scale = requests + 1.0;
        self.u += twice_u as f64 / 2.0;
        self.twice_u = self.twice_u.and_then(|sum| sum.checked_add(twice_u));
        self.twice_faster += (2 * pairs - twice_u) as f64;
        self.pairs += pairs as f64;
        self.tie_sum = self.tie_sum.zip(tie_sum).and_then(|(sum, one)| sum.checked_add(one));
        self.score += excess / scale;
        self.variance += pairs as f64 / 12.0 * untied / (scale * scale);
    }
}
