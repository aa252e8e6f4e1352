//! Which slots belong to which arm: integer arithmetic only.

/// Full coverage, in basis points: every subject is in the experiment.
pub const FULL_COVERAGE_BP: u16 = 10_000;

const SLOTS: u128 = 1 << 32;

/// What each of the 2³² slots is given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation<T> {
    /// The first share of several, with the slot that it ends before: most requests need look no
    /// further.
    first: (u64, T),
    /// The further ones but for the last, ascending.
    shares: Box<[(u64, T)]>,
    /// What the slots after them are given to.
    rest: T,
}

impl Allocation<Option<u8>> {
    /// The arms' shares for these weights; slots that are not in the experiment are given to nobody.
    ///
    /// With W the sum of the weights and c their cumulated sums, arm i owns
    /// `[floor(2³²·cᵢ / W), floor(2³²·cᵢ₊₁ / W))`; a slot is included when
    /// `slot − start < (end − start)·coverage_bp / 10000`, in integer division. All weights 0 leave
    /// every slot to nobody.
    pub(crate) fn new(weights: impl Iterator<Item = u32> + Clone, coverage_bp: u16) -> Self {
        let total: u128 = weights.clone().map(u128::from).sum();
        let edge = |cumulated: u128| (SLOTS * cumulated).checked_div(total).unwrap_or(0) as u64;
        let (mut shares, mut cumulated) = (Vec::new(), 0);
        for (position, weight) in weights.enumerate() {
            let start = edge(cumulated);
            cumulated += u128::from(weight);
            let end = edge(cumulated);
            let included = (end - start) * u64::from(coverage_bp) / u64::from(FULL_COVERAGE_BP);
            let included_end = start + included;
            if included_end > start {
                shares.push((included_end, Some(position as u8)));
            }
            if end > included_end {
                shares.push((end, None));
            }
        }
        let (_, rest) = shares.pop().unwrap_or((0, None));
        let first = if shares.is_empty() { (0, None) } else { shares.remove(0) };
        Self { first, shares: shares.into(), rest }
    }
}

impl<T: Copy> Allocation<T> {
    /// What the slot is given to.
    #[inline(always)]
    pub(crate) fn of(&self, slot: u32) -> T {
        let slot = u64::from(slot);
        if slot < self.first.0 {
            return self.first.1;
        }
        if self.shares.is_empty() {
            return self.rest;
        }
        let share = self.shares.iter().find(|(end, _)| slot < *end);
        share.map_or(self.rest, |(_, owner)| *owner)
    }

    /// The same slots, given to what `owner` makes of it.
    pub(crate) fn map<U>(&self, owner: impl Fn(T) -> U) -> Allocation<U> {
        let share = |&(end, share): &(u64, T)| (end, owner(share));
        Allocation {
            first: share(&self.first),
            shares: self.shares.iter().map(share).collect(),
            rest: owner(self.rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn growing_the_coverage_moves_nobody(weights in proptest::collection::vec(0u32..1_000, 1..6), slot: u32, small in 0u16..=10_000, large in 0u16..=10_000) {
            let (small, large) = (small.min(large), small.max(large));
            let arm = |coverage| Allocation::new(weights.iter().copied(), coverage).of(slot);
            if let Some(arm_before) = arm(small) {
                prop_assert_eq!(arm(large), Some(arm_before));
            }
            if weights.iter().any(|&weight| weight > 0) {
                prop_assert!(arm(10_000).is_some(), "full coverage includes every slot");
            }
        }

        #[test]
        fn arms_own_slots_in_proportion_to_their_weights(weights in proptest::collection::vec(0u32..1_000_000, 2..6)) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let allocation = Allocation::new(weights.iter().copied(), 10_000);
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let mut start = 0;
            let last = (1 << 32, allocation.rest);
            let shares = [&allocation.first].into_iter().chain(&allocation.shares).chain([&last]);
            for &(end, arm) in shares.filter(|(end, _)| *end > 0) {
                let share = (end - start) as f64 / 4_294_967_296.0;
                let weight = weights[usize::from(arm.unwrap())];
                prop_assert!((share - f64::from(weight) / total).abs() < 1e-9);
                start = end;
            }
        }
    }

    #[test]
    fn a_zero_weight_arm_owns_nothing_and_no_weight_at_all_includes_nobody() {
        let allocation = Allocation::new([0, 1].into_iter(), 10_000);
        assert_eq!((allocation.of(0), allocation.of(u32::MAX)), (Some(1), Some(1)));
        assert_eq!(Allocation::new([0, 0].into_iter(), 10_000).of(0), None);
    }
}
