//! The verdict rule.

use crate::comparison::Verdict;

/// What a verdict is made from.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Whether something forbids a verdict.
    pub(crate) withheld: bool,
    /// The lift of every quantile, each at its level for the verdict.
    pub(crate) lifts: Vec<Lifts>,
    /// The smallest relative change that counts.
    pub(crate) minimum_effect: f64,
    /// The relative change below which arms are equivalent.
    pub(crate) equivalence_margin: Option<f64>,
    /// Whether the comparison holds up among all that are made; always true outside routes.
    pub(crate) confirmed: bool,
}

/// Intervals of one quantile's lift; infinite where unbounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifts {
    /// From the requests that were answered.
    pub(crate) answered: Range,
    /// With the others counted as slower than every answer.
    pub(crate) with_failures: Range,
}

/// An interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Lifts {
    /// Either interval lies above the minimum effect: unanswered requests can make an arm slower.
    pub(crate) fn is_slower(&self, minimum_effect: f64) -> bool {
        self.answered.lower > minimum_effect || self.with_failures.lower > minimum_effect
    }

    /// Both intervals lie below the minimum effect: an arm is not faster for not answering.
    pub(crate) fn is_faster(&self, minimum_effect: f64) -> bool {
        self.answered.upper < -minimum_effect && self.with_failures.upper < -minimum_effect
    }

    fn is_within(&self, margin: f64) -> bool {
        [self.answered, self.with_failures]
            .iter()
            .all(|range| range.lower > -margin && range.upper < margin)
    }
}

/// The verdict, in this order: withheld; faster and slower both seen, mixed; slower; faster; all
/// intervals inside the margin, equivalent; undecided.
///
/// The crate documentation has it in prose.
pub(crate) fn decide(case: &Case) -> Verdict {
    if case.withheld {
        return Verdict::Withheld;
    }
    let any = |seen: fn(&Lifts, f64) -> bool| {
        case.confirmed && case.lifts.iter().any(|lifts| seen(lifts, case.minimum_effect))
    };
    let within = |margin| case.lifts.iter().all(|lifts| lifts.is_within(margin));
    match (any(Lifts::is_faster), any(Lifts::is_slower)) {
        (true, true) => Verdict::Mixed,
        (false, true) => Verdict::Slower,
        (true, false) => Verdict::Faster,
        (false, false) if case.equivalence_margin.is_some_and(within) => Verdict::Equivalent,
        (false, false) => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: f64, upper: f64) -> Range {
        Range { lower, upper }
    }

    fn both(lower: f64, upper: f64) -> Lifts {
        Lifts { answered: range(lower, upper), with_failures: range(lower, upper) }
    }

    fn case(lifts: &[Lifts]) -> Case {
        Case {
            withheld: false,
            lifts: lifts.to_vec(),
            minimum_effect: 0.0,
            equivalence_margin: None,
            confirmed: true,
        }
    }

    const UNSURE: (f64, f64) = (-0.1, 0.1);

    #[test]
    fn one_credible_quantile_decides_and_two_that_disagree_are_mixed() {
        let unsure = both(UNSURE.0, UNSURE.1);
        let (lower, higher) = (both(-0.3, -0.2), both(0.2, 0.3));
        assert_eq!(decide(&case(&[unsure, lower])), Verdict::Faster);
        assert_eq!(decide(&case(&[higher, unsure])), Verdict::Slower);
        assert_eq!(decide(&case(&[higher, lower])), Verdict::Mixed);
        assert_eq!(decide(&case(&[unsure, unsure])), Verdict::Undecided);
    }

    #[test]
    fn withheld_wins_over_everything() {
        let case = Case { withheld: true, ..case(&[both(-0.3, -0.2)]) };
        assert_eq!(decide(&case), Verdict::Withheld);
    }

    #[test]
    fn faster_needs_both_intervals_and_slower_one() {
        let hidden = Lifts { answered: range(-0.3, -0.2), with_failures: range(-0.3, 0.1) };
        assert_eq!(decide(&case(&[hidden])), Verdict::Undecided);
        let failing =
            Lifts { answered: range(UNSURE.0, UNSURE.1), with_failures: range(0.1, f64::INFINITY) };
        assert_eq!(decide(&case(&[failing])), Verdict::Slower);
        let both_ways =
            Lifts { answered: range(-0.3, -0.2), with_failures: range(0.1, f64::INFINITY) };
        assert_eq!(decide(&case(&[both_ways])), Verdict::Slower);
    }

    #[test]
    fn an_effect_counts_only_beyond_the_minimum() {
        let small = Case { minimum_effect: 0.2, ..case(&[both(-0.3, -0.15), both(0.1, 0.4)]) };
        assert_eq!(decide(&small), Verdict::Undecided);
        let edge = Case { minimum_effect: 0.15, ..case(&[both(-0.3, -0.15)]) };
        assert_eq!(decide(&edge), Verdict::Undecided);
    }

    #[test]
    fn equivalence_needs_a_margin_and_all_quantiles() {
        let small = [both(-0.01, 0.02), both(-0.03, 0.01)];
        assert_eq!(decide(&case(&small)), Verdict::Undecided);
        let with_margin = |lifts: &[Lifts]| Case { equivalence_margin: Some(0.05), ..case(lifts) };
        assert_eq!(decide(&with_margin(&small)), Verdict::Equivalent);
        assert_eq!(decide(&with_margin(&[small[0], both(-0.06, 0.0)])), Verdict::Undecided);
        let failing = Lifts { answered: range(-0.01, 0.01), with_failures: range(-1.0, 0.2) };
        assert_eq!(decide(&with_margin(&[small[0], failing])), Verdict::Undecided);
        // Credibly different, but by less than the margin: different wins.
        assert_eq!(decide(&with_margin(&[both(0.01, 0.02)])), Verdict::Slower);
    }

    #[test]
    fn a_route_that_is_not_confirmed_stays_undecided() {
        let case = Case { confirmed: false, ..case(&[both(-0.3, -0.2)]) };
        assert_eq!(decide(&case), Verdict::Undecided);
        let small = Case { equivalence_margin: Some(0.05), lifts: vec![both(0.01, 0.02)], ..case };
        assert_eq!(decide(&small), Verdict::Equivalent);
    }
}
