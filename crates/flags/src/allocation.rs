//! Which slots belong to which arm: integer arithmetic only.

/// Full coverage, in basis points: every subject is in the experiment.
pub const FULL_COVERAGE_BP: u16 = 10_000;

const SLOTS: u128 = 1 << 32;

/// The slots of one arm: `[start, end)`, of which `[start, included_end)` are in the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    end: u64,
    included_end: u64,
}

/// The arms' shares of the 2³² slots.
///
/// With W the sum of the weights and c their cumulated sums, arm i owns
/// `[floor(2³²·cᵢ / W), floor(2³²·cᵢ₊₁ / W))`; a slot is included when
/// `slot − start < (end − start)·coverage_bp / 10000`, in integer division.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation(Vec<Range>);

impl Allocation {
    /// The shares for these weights. All weights 0 leave every slot to nobody.
    pub(crate) fn new(weights: impl Iterator<Item = u32> + Clone, coverage_bp: u16) -> Self {
        let total: u128 = weights.clone().map(u128::from).sum();
        let edge = |cumulated: u128| (SLOTS * cumulated).checked_div(total).unwrap_or(0) as u64;
        let mut cumulated = 0;
        Self(
            weights
                .map(|weight| {
                    let start = edge(cumulated);
                    cumulated += u128::from(weight);
                    let end = edge(cumulated);
                    let included =
                        (end - start) * u64::from(coverage_bp) / u64::from(FULL_COVERAGE_BP);
                    Range { end, included_end: start + included }
                })
                .collect(),
        )
    }

    /// The arm that owns the slot, unless the slot is not in the experiment.
    #[inline]
    pub(crate) fn arm(&self, slot: u32) -> Option<u8> {
        let slot = u64::from(slot);
        let position = self.0.iter().position(|range| slot < range.end)?;
        (slot < self.0[position].included_end).then_some(position as u8)
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
            let arm = |coverage| Allocation::new(weights.iter().copied(), coverage).arm(slot);
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
            for (range, weight) in allocation.0.iter().zip(&weights) {
                let share = (range.end - start) as f64 / 4_294_967_296.0;
                prop_assert!((share - f64::from(*weight) / total).abs() < 1e-9);
                start = range.end;
            }
            prop_assert_eq!(start, 1 << 32, "no slot is left over");
        }
    }

    #[test]
    fn a_zero_weight_arm_owns_nothing_and_no_weight_at_all_includes_nobody() {
        let allocation = Allocation::new([0, 1].into_iter(), 10_000);
        assert_eq!((allocation.arm(0), allocation.arm(u32::MAX)), (Some(1), Some(1)));
        assert_eq!(Allocation::new([0, 0].into_iter(), 10_000).arm(0), None);
    }
}
