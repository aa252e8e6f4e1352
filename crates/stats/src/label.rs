use std::borrow::Cow;

use crate::evidence::average_log_e;
use crate::{Error, Share};

/// Effect sizes, in log odds, over which the likelihood ratios are averaged.
pub(crate) const EFFECTS: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

/// What the variation is suspected of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternative {
    /// More than the control: slower, or more often bad.
    Greater,
    /// Less than the control: faster, or less often bad.
    Less,
    /// Either.
    TwoSided,
}

impl Alternative {
    /// Signs of the effects that count as the alternative.
    pub(crate) fn signs(self) -> &'static [f64] {
        match self {
            Self::Greater => &[1.0],
            Self::Less => &[-1.0],
            Self::TwoSided => &[1.0, -1.0],
        }
    }
}

/// How many requests were bad in each arm during one epoch.
///
/// Counts of instances, routes or sizes that share an epoch's split may be added up first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelCounts {
    /// Share of the two arms' requests that the variation was assigned.
    pub share: Share,
    /// Bad requests of the control.
    pub bad_control: u64,
    /// Bad requests of the variation.
    pub bad_variation: u64,
    /// Other requests of the control.
    pub ok_control: u64,
    /// Other requests of the variation.
    pub ok_variation: u64,
}

/// The rate of bad requests that the effect sizes start from; it moves power, never validity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BaseRate(f64);

impl BaseRate {
    /// For thresholds at the median.
    pub const P50: Self = Self(0.5);
    /// For thresholds at the p95.
    pub const P95: Self = Self(0.05);
    /// For thresholds at the p99, and for errors without history.
    pub const P99: Self = Self(0.01);

    /// Checks that `rate` is strictly between 0 and 1, then clamps it to 0.00001..=0.5.
    pub fn new(rate: f64) -> Result<Self, Error> {
        if rate > 0.0 && rate < 1.0 {
            Ok(Self(rate.clamp(1e-5, 0.5)))
        } else {
            Err(Error::NotAProbability { what: "base rate", value: rate })
        }
    }

    /// The rate in use.
    pub fn get(self) -> f64 {
        self.0
    }

    pub(crate) fn log_odds(self) -> f64 {
        (self.0 / (1.0 - self.0)).ln()
    }
}

/// ln E against "bad requests are no more likely in the variation", a process valid at every look.
///
/// **Estimand**: whether each request is bad with a probability that its arm does not change (or does not
/// raise). Bad means slower than a threshold that was fixed before, failed, cancelled, or of some size.
///
/// **Formula**: for effect sizes d and base rate `e0`, with `l0 = logit e0`, `eA = expit(l0 - share d)`,
/// `eB = expit(l0 + (1 - share) d)`, the posterior probability of the variation given a bad request is
/// `q_bad = share eB / (share eB + (1 - share) eA)`, and `q_ok` likewise; the log likelihood ratio of the
/// arm labels given badness is summed over epochs, and E is the average over d = 0.05, 0.1, ..., 3.2
/// (negative for [`Alternative::Less`], both signs for [`Alternative::TwoSided`]).
///
/// **Source**: conditional multinomial inference of Lindon & Malek 2022, applied to the arm given the outcome;
/// stratified count e-values as in Turner & Grünwald 2023.
///
/// **Assumptions**: requests are assigned independently with the known share of their epoch. Nothing about
/// latencies, load or time.
///
/// **Guarantee**: exact for every n, any load and any order of arrival: P(E ever reaches 1/alpha) <= alpha when
/// no request is likelier to be bad in the variation. Not valid for sticky assignment.
///
/// **Numerics**: counts enter linearly, relative error 1e-15 of the largest term. No requests give 0.
///
/// ```
/// use latency_experiment_stats::{Alternative, BaseRate, LabelCounts, Share, label_log_e};
///
/// let counts = LabelCounts {
///     share: Share::HALF,
///     bad_control: 50, bad_variation: 110, ok_control: 4_950, ok_variation: 4_890,
/// };
/// let log_e = label_log_e(&[counts], BaseRate::P99, Alternative::Greater);
/// assert!(log_e.exp() > 1_000.0);
/// ```
pub fn label_log_e(epochs: &[LabelCounts], base_rate: BaseRate, alternative: Alternative) -> f64 {
    LabelTest::new([], base_rate, alternative).log_e(epochs)
}

/// [`label_log_e`] with its logarithms taken once, for many counts under the same few shares.
///
/// ```
/// use latency_experiment_stats::{Alternative, BaseRate, LabelCounts, LabelTest, Share, label_log_e};
///
/// let test = LabelTest::new([Share::HALF], BaseRate::P95, Alternative::TwoSided);
/// let counts = LabelCounts {
///     share: Share::HALF,
///     bad_control: 50, bad_variation: 40, ok_control: 950, ok_variation: 960,
/// };
/// assert_eq!(test.log_e(&[counts]), label_log_e(&[counts], BaseRate::P95, Alternative::TwoSided));
/// ```
#[derive(Debug, Clone)]
pub struct LabelTest {
    base: f64,
    alternative: Alternative,
    known: Vec<(Share, Vec<LabelRatios>)>,
}

impl LabelTest {
    /// A test whose logarithms are known at these shares; other shares cost what they cost in
    /// [`label_log_e`].
    pub fn new(
        shares: impl IntoIterator<Item = Share>,
        base_rate: BaseRate,
        alternative: Alternative,
    ) -> Self {
        let mut test = Self { base: base_rate.log_odds(), alternative, known: Vec::new() };
        for share in shares {
            if test.known.iter().all(|(known, _)| *known != share) {
                let ratios = test.ratios(share);
                test.known.push((share, ratios));
            }
        }
        test
    }

    /// ln E, as [`label_log_e`] has it.
    pub fn log_e(&self, epochs: &[LabelCounts]) -> f64 {
        let mut sums = [0.0; 2 * EFFECTS.len()];
        let effects = self.alternative.signs().len() * EFFECTS.len();
        for counts in epochs {
            let known = self.known.iter().find(|(share, _)| *share == counts.share);
            let ratios = known
                .map_or_else(|| Cow::Owned(self.ratios(counts.share)), |(_, known)| known.into());
            for (sum, ratios) in sums.iter_mut().zip(&*ratios) {
                *sum += ratios.log_ratio(counts);
            }
        }
        average_log_e(sums[..effects].iter().map(|log_e| (1.0, *log_e)))
    }

    fn ratios(&self, share: Share) -> Vec<LabelRatios> {
        let signs = self.alternative.signs().iter();
        let effects = signs.flat_map(|sign| EFFECTS.map(|size| sign * size));
        effects.map(|effect| LabelRatios::new(share, self.base, effect)).collect()
    }
}

/// What one request adds to the log likelihood ratio, by outcome; pairs are for the control and the variation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelRatios {
    pub(crate) bad: (f64, f64),
    pub(crate) ok: (f64, f64),
}

impl LabelRatios {
    /// Log likelihood ratio of one epoch.
    fn log_ratio(&self, counts: &LabelCounts) -> f64 {
        // Zero requests must give zero even where a logarithm is large.
        counts.bad_variation as f64 * self.bad.1
            + counts.bad_control as f64 * self.bad.0
            + counts.ok_variation as f64 * self.ok.1
            + counts.ok_control as f64 * self.ok.0
    }

    /// At base log odds `base` and an effect on the log odds.
    pub(crate) fn new(share: Share, base: f64, effect: f64) -> Self {
        let share = share.get();
        let control = base - share * effect;
        let variation = base + (1.0 - share) * effect;
        Self {
            bad: label(share, ln_expit(control), ln_expit(variation)),
            ok: label(share, ln_expit(-control), ln_expit(-variation)),
        }
    }
}

/// ln of P(arm | outcome) / P(arm) for the control and the variation, from the log probabilities of the
/// outcome in each.
fn label(share: f64, control: f64, variation: f64) -> (f64, f64) {
    let mixed = share * (variation - control).exp_m1();
    let total = mixed.ln_1p();
    (-total, variation - control - total)
}

/// ln of the logistic function.
fn ln_expit(x: f64) -> f64 {
    if x < 0.0 { x - x.exp().ln_1p() } else { -(-x).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_requests_are_no_evidence() {
        let none = LabelCounts {
            share: Share::new(1e-12).unwrap(),
            bad_control: 0,
            bad_variation: 0,
            ok_control: 0,
            ok_variation: 0,
        };
        for alternative in [Alternative::Greater, Alternative::Less, Alternative::TwoSided] {
            assert!(label_log_e(&[none], BaseRate::P99, alternative).abs() < 1e-15);
            assert!(label_log_e(&[], BaseRate::P99, alternative).abs() < 1e-15);
        }
    }

    #[test]
    fn swapping_arms_swaps_the_sides() {
        let counts = LabelCounts {
            share: Share::new(0.2).unwrap(),
            bad_control: 31,
            bad_variation: 14,
            ok_control: 900,
            ok_variation: 215,
        };
        let swapped = LabelCounts {
            share: Share::new(0.8).unwrap(),
            bad_control: 14,
            bad_variation: 31,
            ok_control: 215,
            ok_variation: 900,
        };
        let greater = label_log_e(&[counts], BaseRate::P95, Alternative::Greater);
        let less = label_log_e(&[swapped], BaseRate::P95, Alternative::Less);
        assert!((greater - less).abs() < 1e-9);
    }
}
