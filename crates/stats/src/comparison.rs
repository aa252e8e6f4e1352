use crate::distribution::RANK_SLACK;
use crate::steps::{Arm, Steps};
use crate::{DesignEffect, Distribution, Edges, Error};

/// Slack for a weighted distribution function that should meet a level exactly but was summed in floats.
pub(crate) const LEVEL_SLACK: f64 = 1e-12;

/// Both arms in one stratum, such as one route in one epoch, and the weight of the stratum.
#[derive(Debug, Clone, PartialEq)]
pub struct Stratum {
    /// What the control measured.
    pub control: Distribution,
    /// What the variation measured.
    pub variation: Distribution,
    /// Weight of the stratum in the combined effect, on any scale; not negative.
    pub weight: f64,
}

impl Stratum {
    /// A stratum that weighs as much as it has requests: right between routes, where the combined effect
    /// should be that on the traffic as it was.
    pub fn by_requests(control: Distribution, variation: Distribution) -> Self {
        let weight = control.count() as f64 + variation.count() as f64;
        Self { control, variation, weight }
    }

    /// A stratum that weighs its harmonic information `n_a n_b / (n_a + n_b)`: right between the epochs of
    /// one route, whose splits differ. Weights by requests would waste most of the information of a ramp.
    pub fn by_information(control: Distribution, variation: Distribution) -> Self {
        let weight = information(&control, &variation);
        Self { control, variation, weight }
    }
}

/// The data of one comparison: control against variation, post-stratified.
///
/// Every method of this crate that compares two arms takes one. A single stratum is the plain two-sample
/// comparison; several strata are combined with their weights, so that an arm that happened to get more
/// of a slow route, or more of a slow hour, is not called slow for it.
///
/// Strata in which an arm is empty cannot be compared and are left out;
/// [`dropped_share`](Self::dropped_share) says how much that is. The order of the strata changes results
/// only in the last bits.
///
/// Building one merges the buckets of all strata; O(total buckets) where strata share their buckets. Ask
/// it as many quantiles and levels as needed.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Strata with data in both arms, weights scaled to sum 1.
    strata: Vec<Stratum>,
    steps: Steps,
    /// Harmonic information without the design effect.
    information: f64,
    design_effect: f64,
    dropped_share: f64,
}

impl Comparison {
    /// Compares two arms in one stratum.
    ///
    /// Fails when their buckets overlap without being equal.
    pub fn pair(control: Distribution, variation: Distribution) -> Result<Self, Error> {
        Self::new([Stratum { control, variation, weight: 1.0 }])
    }

    /// Compares two arms over strata.
    ///
    /// Fails on a weight that is negative or not finite, and when buckets of any two strata overlap without
    /// being equal.
    pub fn new(strata: impl IntoIterator<Item = Stratum>) -> Result<Self, Error> {
        let mut used = Vec::new();
        let (mut kept, mut dropped) = (0.0, 0.0);
        for (index, stratum) in strata.into_iter().enumerate() {
            let Stratum { control, variation, weight } = &stratum;
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(Error::InvalidWeight { index, value: *weight });
            }
            let requests = control.count() as f64 + variation.count() as f64;
            if control.is_empty() || variation.is_empty() || *weight == 0.0 {
                dropped += requests;
            } else {
                kept += requests;
                used.push(stratum);
            }
        }
        // Dividing by the largest first keeps the sum finite for any finite weights.
        let largest = used.iter().fold(0.0, |largest, stratum| f64::max(largest, stratum.weight));
        let total: f64 = used.iter().map(|stratum| stratum.weight / largest).sum();
        for stratum in &mut used {
            stratum.weight = stratum.weight / largest / total;
        }
        let steps = Steps::of(&used)?;
        let information = used.iter().map(|s| information(&s.control, &s.variation)).sum();
        let dropped_share = if dropped > 0.0 { dropped / (kept + dropped) } else { 0.0 };
        Ok(Self { strata: used, steps, information, design_effect: 1.0, dropped_share })
    }

    /// Compares two arms over groups of strata, such as routes that each consist of epochs.
    ///
    /// Groups weigh their requests, and strata within a group their harmonic information; requests of
    /// strata in which an arm is empty do not count. Pairs are (control, variation).
    ///
    /// Fails when buckets of any two strata overlap without being equal.
    pub fn nested<G>(groups: impl IntoIterator<Item = G>) -> Result<Self, Error>
    where
        G: IntoIterator<Item = (Distribution, Distribution)>,
    {
        let mut strata = Vec::new();
        for group in groups {
            let first = strata.len();
            strata.extend(group.into_iter().map(|(a, b)| Stratum::by_information(a, b)));
            let group = &mut strata[first..];
            let informative = || group.iter().filter(|stratum| stratum.weight > 0.0);
            let information: f64 = informative().map(|stratum| stratum.weight).sum();
            let requests: f64 = informative()
                .map(|stratum| stratum.control.count() as f64 + stratum.variation.count() as f64)
                .sum();
            if information > 0.0 {
                for stratum in group {
                    stratum.weight *= requests / information;
                }
            }
        }
        Self::new(strata)
    }

    /// The strata in use, with weights scaled to sum 1.
    pub fn strata(&self) -> &[Stratum] {
        &self.strata
    }

    /// Harmonic information: the sum of `n_a n_b / (n_a + n_b)` over the strata, in requests.
    ///
    /// The clock of the confidence sequences; a quarter of all requests at an even split.
    pub fn information(&self) -> f64 {
        self.information / self.design_effect
    }

    /// The same data whose variances are `design_effect` times those of independent requests, and whose
    /// information is by that factor smaller.
    ///
    /// For sticky subjects, whose requests resemble each other, and for effects that vary over time. Heeded by
    /// [`quantile_effect`](crate::quantile_effect), [`mean_effect`](crate::mean_effect),
    /// [`geometric_mean_effect`](crate::geometric_mean_effect), [`common_ratio`](crate::common_ratio) and
    /// [`brunner_munzel`](crate::brunner_munzel); the other methods demand independent requests.
    #[must_use]
    pub fn with_design_effect(self, design_effect: DesignEffect) -> Self {
        Self { design_effect: design_effect.get(), ..self }
    }

    /// By how much variances exceed those of independent requests; 1 unless
    /// [said otherwise](Self::with_design_effect).
    pub(crate) fn design_effect(&self) -> f64 {
        self.design_effect
    }

    /// Share of all requests that lie in strata left out.
    pub fn dropped_share(&self) -> f64 {
        self.dropped_share
    }

    /// Requests of the control in the strata in use.
    pub fn control_count(&self) -> u64 {
        self.strata.iter().fold(0, |sum, stratum| sum.saturating_add(stratum.control.count()))
    }

    /// Requests of the variation in the strata in use.
    pub fn variation_count(&self) -> u64 {
        self.strata.iter().fold(0, |sum, stratum| sum.saturating_add(stratum.variation.count()))
    }

    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// The first bucket at which the weighted share of the arm's observations up to it reaches `level`.
    pub(crate) fn first_reaching(&self, arm: Arm, level: f64) -> Edges {
        let level = level - self.level_slack(arm);
        if level <= 0.0 {
            return Edges::BELOW;
        }
        let index = self.steps.first(|index| self.steps.share(arm, index) >= level);
        let edges = self.steps.grid().edges().get(index);
        edges.map_or(Edges::ABOVE, |&(lower, upper)| Edges::of(lower, upper))
    }

    /// A single stratum compares whole ranks, as an order statistic does; sums of weighted shares carry
    /// their own rounding.
    fn level_slack(&self, arm: Arm) -> f64 {
        match &self.strata[..] {
            [one] => RANK_SLACK / arm.of(one).count() as f64,
            _ => LEVEL_SLACK,
        }
    }
}

/// `n_a n_b / (n_a + n_b)`, 0 for an empty arm.
pub(crate) fn information(control: &Distribution, variation: &Distribution) -> f64 {
    let (a, b) = (control.count() as f64, variation.count() as f64);
    if a > 0.0 && b > 0.0 { a * b / (a + b) } else { 0.0 }
}
