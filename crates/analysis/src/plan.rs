//! What is asked of the data, fixed before looking at them.

use latency_experiment_stats::{Alpha, Boundary, Quantile, TunedFor};

use crate::Error;

/// What is asked of the data. Fix it before looking at them.
///
/// | | default | why |
/// |---|---|---|
/// | alpha | 0.05 | the customary level; it holds over all looks together |
/// | quantiles | 0.5, 0.95, 0.99 | the typical request, a slow one, and the tail |
/// | primary | the first quantile | the median needs the fewest requests |
/// | tuned for | 5,000 | intervals are tightest after 20,000 requests of an even split |
/// | minimum effect | 0 | any credible difference counts |
/// | equivalence margin | none | "equivalent" needs a margin that someone chose |
/// | fixed n | no | dashboards are looked at more than once |
/// | strict, Hodges-Lehmann | no | they cost more time than all the rest |
/// | route details | no | overall they are always there; for each route they cost time that a service needs |
///
/// ```
/// use latency_experiment_analysis::Plan;
///
/// let plan = Plan::default().with_quantiles([0.5, 0.9])?.with_primary(0.9)?.with_alpha(0.01)?;
/// assert_eq!((plan.alpha(), plan.primary()), (0.01, 0.9));
///
/// let error = Plan::default().with_alpha(1.5).unwrap_err();
/// assert_eq!(error.to_string(), "alpha 1.5 must be strictly between 0 and 1");
/// # Ok::<(), latency_experiment_analysis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Plan {
    alpha: Alpha,
    /// At least one, no two equal.
    quantiles: Vec<Quantile>,
    /// Position in `quantiles`.
    primary: usize,
    tuned_for: TunedFor,
    minimum_effect: f64,
    equivalence_margin: Option<f64>,
    fixed_n: bool,
    strict: bool,
    hodges_lehmann: bool,
    route_details: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            alpha: Alpha::DEFAULT,
            quantiles: vec![Quantile::P50, Quantile::P95, Quantile::P99],
            primary: 0,
            tuned_for: TunedFor::DEFAULT,
            minimum_effect: 0.0,
            equivalence_margin: None,
            fixed_n: false,
            strict: false,
            hodges_lehmann: false,
            route_details: false,
        }
    }
}

impl Plan {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the error probability of every interval, strictly between 0 and 1.
    pub fn with_alpha(self, alpha: f64) -> Result<Self, Error> {
        Ok(Self { alpha: Alpha::new(alpha).map_err(Error::plan)?, ..self })
    }

    /// Sets the quantiles: at least one, each strictly between 0 and 1, none twice. The first
    /// becomes the primary one.
    pub fn with_quantiles(self, quantiles: impl IntoIterator<Item = f64>) -> Result<Self, Error> {
        let mut checked: Vec<Quantile> = Vec::new();
        for value in quantiles {
            let quantile = Quantile::new(value).map_err(Error::plan)?;
            if checked.contains(&quantile) {
                return Err(Error::plan(format!("quantile {value} is given twice")));
            }
            checked.push(quantile);
        }
        if checked.is_empty() {
            return Err(Error::plan("no quantile is given: at least one is needed"));
        }
        Ok(Self { quantiles: checked, primary: 0, ..self })
    }

    /// Sets the quantile that decides first, one of those of the plan: set those before.
    pub fn with_primary(self, quantile: f64) -> Result<Self, Error> {
        let position = self.quantiles().position(|planned| planned == quantile);
        let Some(primary) = position else {
            let planned: Vec<String> = self.quantiles().map(|q| q.to_string()).collect();
            return Err(Error::plan(format!(
                "primary quantile {quantile} is none of the plan's quantiles {}",
                planned.join(", ")
            )));
        };
        Ok(Self { primary, ..self })
    }

    /// Sets where the intervals are tightest: at this harmonic information `n_a n_b / (n_a + n_b)`
    /// in requests, at least 1,000. At an even split it is a quarter of all requests.
    pub fn with_tuned_for(self, information: f64) -> Result<Self, Error> {
        Ok(Self { tuned_for: TunedFor::new(information).map_err(Error::plan)?, ..self })
    }

    /// Sets the smallest relative change that counts as faster or slower: 0.02 is 2 %. From 0 up
    /// to, but not including, 1.
    pub fn with_minimum_effect(self, minimum_effect: f64) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&minimum_effect) {
            return Err(Error::plan(format!(
                "minimum effect {minimum_effect} must be at least 0 and below 1: 0.02 is 2 %"
            )));
        }
        Ok(Self { minimum_effect, ..self })
    }

    /// Sets the relative change, either way, below which the arms count as equivalent: 0.05 is
    /// 5 %. Strictly between 0 and 1.
    pub fn with_equivalence_margin(self, margin: f64) -> Result<Self, Error> {
        if !(margin > 0.0 && margin < 1.0) {
            return Err(Error::plan(format!(
                "equivalence margin {margin} must be strictly between 0 and 1: 0.05 is 5 %"
            )));
        }
        Ok(Self { equivalence_margin: Some(margin), ..self })
    }

    /// Adds intervals for one look at a sample size fixed in advance beside the always-valid ones.
    #[must_use]
    pub fn with_fixed_n(self, fixed_n: bool) -> Self {
        Self { fixed_n, ..self }
    }

    /// Adds p-values of each quantile that need no approximation (Howard & Ramdas 2022, Theorem 5). They
    /// are very conservative.
    #[must_use]
    pub fn with_strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// Adds the Hodges-Lehmann estimates: the median difference and ratio over all pairs of requests.
    #[must_use]
    pub fn with_hodges_lehmann(self, hodges_lehmann: bool) -> Self {
        Self { hodges_lehmann, ..self }
    }

    /// Adds to each route what the overall comparison always has: the geometric mean, exact ratios of
    /// the error and censoring rates, and label e-values. The other options imply it.
    #[must_use]
    pub fn with_route_details(self, route_details: bool) -> Self {
        Self { route_details, ..self }
    }

    /// Whether routes have all that the overall comparison has.
    pub fn route_details(&self) -> bool {
        self.route_details || self.fixed_n || self.strict || self.hodges_lehmann
    }

    /// Error probability of every interval.
    pub fn alpha(&self) -> f64 {
        self.alpha.get()
    }

    /// The quantiles, in the order given.
    pub fn quantiles(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.quantiles.iter().map(|quantile| quantile.get())
    }

    /// The quantile that decides first.
    pub fn primary(&self) -> f64 {
        self.quantiles[self.primary].get()
    }

    /// The harmonic information at which intervals are tightest, in requests.
    pub fn tuned_for(&self) -> f64 {
        self.tuned_for.get()
    }

    /// The smallest relative change that counts.
    pub fn minimum_effect(&self) -> f64 {
        self.minimum_effect
    }

    /// The relative change below which the arms count as equivalent, if one was chosen.
    pub fn equivalence_margin(&self) -> Option<f64> {
        self.equivalence_margin
    }

    /// Whether fixed-n intervals stand beside the always-valid ones.
    pub fn fixed_n(&self) -> bool {
        self.fixed_n
    }

    /// Whether strict p-values are given.
    pub fn strict(&self) -> bool {
        self.strict
    }

    /// Whether Hodges-Lehmann estimates are given.
    pub fn hodges_lehmann(&self) -> bool {
        self.hodges_lehmann
    }

    /// The level of displayed intervals.
    pub(crate) fn level(&self) -> Alpha {
        self.alpha
    }

    /// The boundary of confidence sequences, tuned for at least as much as the design needs.
    pub(crate) fn boundary(&self, at_least: TunedFor) -> Boundary {
        let tuned_for = if self.tuned_for < at_least { at_least } else { self.tuned_for };
        Boundary::ConfidenceSequence { tuned_for }
    }

    /// What strict tests and exact sequences are tuned for, in requests of an arm or events.
    pub(crate) fn trials(&self) -> f64 {
        2.0 * self.tuned_for.get()
    }

    pub(crate) fn checked_quantiles(&self) -> impl Iterator<Item = Quantile> + '_ {
        self.quantiles.iter().copied()
    }

    /// Position of the primary quantile.
    pub(crate) fn primary_position(&self) -> usize {
        self.primary
    }

    pub(crate) fn primary_quantile(&self) -> Quantile {
        self.quantiles[self.primary]
    }

    /// The quantiles with the level of each in the verdict when `variations` are compared with the
    /// control: the primary one keeps its share of alpha, the others divide theirs.
    pub(crate) fn verdict_levels(
        &self,
        variations: usize,
    ) -> impl Iterator<Item = (Quantile, Alpha)> + '_ {
        let others = self.quantiles.len() - 1;
        self.quantiles.iter().enumerate().map(move |(position, &quantile)| {
            let parts = if position == self.primary { variations } else { others * variations };
            (quantile, self.alpha.split(parts))
        })
    }

    /// The change that "requests needed" plans for: never the observed one, which would promise
    /// more than the data can keep.
    pub(crate) fn planned_change(&self) -> f64 {
        if self.minimum_effect > 0.0 { self.minimum_effect } else { 0.05 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_breaks_a_rule_is_named_with_the_rule() {
        let plan = Plan::default;
        for (result, message) in [
            (plan().with_alpha(0.0), "alpha 0 must be strictly between 0 and 1"),
            (plan().with_quantiles([]), "no quantile is given: at least one is needed"),
            (plan().with_quantiles([0.5, 0.5]), "quantile 0.5 is given twice"),
            (plan().with_quantiles([1.0]), "quantile 1 must be strictly between 0 and 1"),
            (
                plan().with_primary(0.9),
                "primary quantile 0.9 is none of the plan's quantiles 0.5, 0.95, 0.99",
            ),
            (
                plan().with_minimum_effect(-0.1),
                "minimum effect -0.1 must be at least 0 and below 1: 0.02 is 2 %",
            ),
            (
                plan().with_equivalence_margin(0.0),
                "equivalence margin 0 must be strictly between 0 and 1: 0.05 is 5 %",
            ),
        ] {
            let error = result.unwrap_err();
            assert!(error.is_plan());
            assert_eq!(error.to_string(), message);
        }
        for information in [999.0, f64::NAN, f64::INFINITY] {
            let error = plan().with_tuned_for(information).unwrap_err();
            assert!(error.to_string().contains("at least 1000"), "{error}");
        }
        assert!(plan().with_minimum_effect(f64::NAN).is_err());
        assert!(plan().with_equivalence_margin(f64::NAN).is_err());
    }

    #[test]
    fn the_first_quantile_is_primary_unless_another_is_chosen() {
        assert_eq!(Plan::default().primary(), 0.5);
        let plan = Plan::default().with_primary(0.99).unwrap();
        assert_eq!(plan.primary(), 0.99);
        assert_eq!(plan.with_quantiles([0.9, 0.99]).unwrap().primary(), 0.9);
    }

    #[test]
    fn the_verdict_divides_alpha_over_arms_and_secondary_quantiles() {
        let levels: Vec<f64> =
            Plan::default().verdict_levels(2).map(|(_, alpha)| alpha.get()).collect();
        assert_eq!(levels, [0.025, 0.0125, 0.0125]);
        let one = Plan::default().with_quantiles([0.5]).unwrap();
        assert_eq!(one.verdict_levels(1).map(|(_, alpha)| alpha.get()).collect::<Vec<_>>(), [0.05]);
    }
}
