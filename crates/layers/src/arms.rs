//! The arms of a request, one per flag, packed so that a request carries and copies little.

use latency_experiment_flags::{
    Assignment, MAX_FLAGS, MAX_VARIATIONS, RANDOM_GROUPS, Reason, ValidFlag,
};
use latency_experiment_record::ArmId;

/// What a request gets for each flag, and the arm that it is recorded under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arms([FlagArm; MAX_FLAGS]);

/// What a request gets for one flag.
///
/// Bits 0 to 4 are the position of the arm in tables that begin with the reserved arms, 5 to 8 the
/// variation, 9 tells whether that is another one than control, 10 to 14 are the random group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlagArm(u16);

const ARM_BITS: u32 = 5;
const VARIATION_BITS: u32 = 4;
const ON: u16 = 1 << (ARM_BITS + VARIATION_BITS);
const GROUP_SHIFT: u32 = ARM_BITS + VARIATION_BITS + 1;

const _: () = assert!(ArmId::table_len(MAX_VARIATIONS) <= 1 << ARM_BITS);
const _: () = assert!(MAX_VARIATIONS <= 1 << VARIATION_BITS);
const _: () = assert!(RANDOM_GROUPS as u32 <= 1 << (u16::BITS - GROUP_SHIFT));

impl FlagArm {
    /// Of a flag whose split alone decides.
    #[inline]
    pub(crate) fn of_plain(flag: &ValidFlag, variation: Option<u8>) -> Self {
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
        let variation = u16::from(variation) << ARM_BITS;
        Self(arm.index() as u16 | variation | on | u16::from(group) << GROUP_SHIFT)
    }

    #[inline]
    pub(crate) fn arm(self) -> ArmId {
        ArmId::from_index(self.0 as u8 & ((1 << ARM_BITS) - 1))
    }

    #[inline]
    pub(crate) fn variation(self) -> u8 {
        (self.0 >> ARM_BITS) as u8 & ((1 << VARIATION_BITS) - 1)
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
    /// What `arm_of` says for each of these flags.
    pub(crate) fn new<'a>(
        flags: impl Iterator<Item = &'a ValidFlag>,
        mut arm_of: impl FnMut(&'a ValidFlag) -> FlagArm,
    ) -> Self {
        let mut arms = Self::default();
        for (flag, definition) in flags.enumerate() {
            arms.set(flag, arm_of(definition));
        }
        arms
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: usize, arm: FlagArm) {
        self.0[flag % MAX_FLAGS] = arm;
    }

    /// The arm of the flag at this position, below [`MAX_FLAGS`].
    #[inline]
    pub(crate) fn of(&self, flag: usize) -> FlagArm {
        // The remainder is the position itself, and spares a check.
        self.0[flag % MAX_FLAGS]
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
