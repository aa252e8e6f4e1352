//! The arms of a request, one per flag, each packed into a few bits.

use std::array;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use latency_experiment_flags::{
    Assignment, MAX_FLAGS, MAX_VARIATIONS, RANDOM_GROUPS, Reason, ValidFlag,
};
use latency_experiment_record::ArmId;

/// What a request gets for each flag, apart from its scope.
#[derive(Clone, Copy)]
pub(crate) struct Arms([FlagArm; MAX_FLAGS]);

/// What a request gets for one flag, and the arm that it is recorded under.
///
/// Bit 0 tells whether the request consulted the flag, bits 1 to 5 are the position of the arm in
/// tables that begin with the reserved arms, 6 to 9 the variation, 10 tells whether that is another
/// one than control, 11 to 15 are the random group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlagArm(u16);

const EXPOSED: u16 = 1;
const ARM_SHIFT: u32 = 1;
const VARIATION_SHIFT: u32 = 6;
const ON: u16 = 1 << 10;
const GROUP_SHIFT: u32 = 11;

const _: () = assert!(ArmId::table_len(MAX_VARIATIONS) <= 1 << (VARIATION_SHIFT - ARM_SHIFT));
const _: () = assert!(MAX_VARIATIONS as u32 <= ON as u32 >> VARIATION_SHIFT);
const _: () = assert!(RANDOM_GROUPS as u32 <= 1 << (u16::BITS - GROUP_SHIFT));

/// Where a request keeps what it gets for one flag.
#[derive(Default)]
pub(crate) struct FlagArmCell(AtomicU16);

impl FlagArmCell {
    #[inline(always)]
    pub(crate) fn get(&self) -> FlagArm {
        FlagArm(self.0.load(Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set(&self, arm: FlagArm) {
        self.0.store(arm.0, Relaxed);
    }
}

impl FlagArm {
    /// Of a flag whose split alone decides.
    pub(crate) fn of_split(flag: &ValidFlag, variation: Option<u8>) -> Self {
        match variation {
            Some(variation) => Self::new(flag, ArmId::arm(variation), variation, 0),
            None => Self::outside(flag),
        }
    }

    pub(crate) fn of(flag: &ValidFlag, assignment: Assignment) -> Self {
        let Assignment { variation, reason, group } = assignment;
        let arm = match reason {
            Reason::Split => ArmId::arm(variation),
            Reason::Override => ArmId::FORCED,
            _ => ArmId::OUTSIDE,
        };
        Self::new(flag, arm, variation, group)
    }

    /// Control, outside the experiment.
    #[inline(never)]
    pub(crate) fn outside(flag: &ValidFlag) -> Self {
        Self::new(flag, ArmId::OUTSIDE, flag.control(), 0)
    }

    #[inline]
    fn new(flag: &ValidFlag, arm: ArmId, variation: u8, group: u8) -> Self {
        let on = if variation == flag.control() { 0 } else { ON };
        let (arm, variation) = ((arm.index() as u16) << ARM_SHIFT, u16::from(variation));
        Self(arm | variation << VARIATION_SHIFT | on | u16::from(group) << GROUP_SHIFT)
    }

    /// The same, once the request consulted the flag.
    #[inline]
    pub(crate) fn exposed(self) -> Self {
        Self(self.0 | EXPOSED)
    }

    /// Whether the request consulted the flag.
    #[inline]
    pub(crate) fn is_exposed(self) -> bool {
        self.0 & EXPOSED != 0
    }

    /// The position in tables that have two places for each arm: not exposed, and exposed.
    #[inline]
    pub(crate) fn place(self) -> usize {
        usize::from(self.0 & ((1 << VARIATION_SHIFT) - 1))
    }

    #[inline]
    pub(crate) fn arm(self) -> ArmId {
        ArmId::from_index((self.place() >> ARM_SHIFT) as u8)
    }

    #[inline]
    pub(crate) fn variation(self) -> u8 {
        ((self.0 & (ON - 1)) >> VARIATION_SHIFT) as u8
    }

    #[inline]
    pub(crate) fn is_on(self) -> bool {
        self.0 & ON != 0
    }

    /// The random group of the subject; 0 unless the flag is sticky.
    #[inline]
    pub(crate) fn group(self) -> usize {
        usize::from(self.0 >> GROUP_SHIFT)
    }
}

impl Arms {
    /// What `arm_of` says for each position.
    pub(crate) fn new(arm_of: impl FnMut(usize) -> FlagArm) -> Self {
        Self(array::from_fn(arm_of))
    }

    /// The arm of the flag at this position.
    ///
    /// # Panics
    ///
    /// When it is not below [`MAX_FLAGS`].
    pub(crate) fn of(&self, flag: usize) -> FlagArm {
        self.0[flag]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use latency_experiment_flags::{Flag, FlagSet};

    #[test]
    fn what_is_packed_comes_out_again() {
        let names: Vec<_> = (0..MAX_VARIATIONS).map(|n| (format!("v{n}"), 1)).collect();
        let flag = Flag::new("flag").with_variations(names).with_control("v3");
        let flags = FlagSet::try_new([flag]).unwrap();
        let (_, flag) = flags.iter().next().unwrap();
        for variation in 0..MAX_VARIATIONS as u8 {
            for group in 0..RANDOM_GROUPS {
                for (reason, arm) in [
                    (Reason::Split, ArmId::arm(variation)),
                    (Reason::Override, ArmId::FORCED),
                    (Reason::NotCovered, ArmId::OUTSIDE),
                ] {
                    let packed = FlagArm::of(flag, Assignment { variation, reason, group });
                    assert_eq!(
                        (packed.arm(), packed.variation(), packed.is_on(), packed.group()),
                        (arm, variation, variation != 3, usize::from(group))
                    );
                }
            }
        }
        let outside = FlagArm::outside(flag);
        assert_eq!(
            (outside.arm(), outside.variation(), outside.is_on()),
            (ArmId::OUTSIDE, 3, false)
        );
    }
}
