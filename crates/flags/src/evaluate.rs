//! Which variation a request gets, and why.

use crate::hash;
use crate::set::{FlagIndex, FlagSet, ValidFlag};

/// The result of evaluating a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Position of the variation to serve among the flag's variations.
    pub variation: u8,
    /// Why it is that one.
    pub reason: Reason,
}

/// Why a request got its variation. Only [`Split`](Self::Split) makes it part of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The subject's slot decided: the request is in the experiment.
    Split,
    /// The flag is disabled; control is served.
    Disabled,
    /// The override header named the variation.
    Override,
    /// The subject belongs to another part of the exclusion group; control is served.
    ExcludedByGroup,
    /// The subject is not within the coverage; control is served.
    NotCovered,
}

/// What an evaluation may read of a request beside its subject.
pub trait Attributes {
    /// The value of a request header, if it is there and is text. Names are lower-case.
    fn header(&self, name: &str) -> Option<&str>;
}

/// No attributes: what is left when a subject is all that is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAttributes;

impl Attributes for NoAttributes {
    fn header(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl FlagSet {
    /// Evaluates one flag for a subject, in this order: disabled, override, exclusion group,
    /// coverage and weights. The first that decides wins.
    ///
    /// # Panics
    ///
    /// When the index is of another, longer set.
    #[inline]
    pub fn evaluate(
        &self,
        flag: FlagIndex,
        subject: &[u8],
        attributes: &impl Attributes,
    ) -> Assignment {
        self.flag(flag).evaluate(subject, attributes)
    }
}

impl ValidFlag {
    #[inline]
    fn evaluate(&self, subject: &[u8], attributes: &impl Attributes) -> Assignment {
        let control = |reason| Assignment { variation: self.control, reason };
        if !self.enabled {
            return control(Reason::Disabled);
        }
        if let Some(variation) = self.override_of(attributes) {
            return Assignment { variation, reason: Reason::Override };
        }
        if let Some(group) = &self.group {
            let position = hash::position_of(hash::seeded_slot(subject, group.seed));
            if !group.range.contains(&position) {
                return control(Reason::ExcludedByGroup);
            }
        }
        match self.allocation.arm(hash::seeded_slot(subject, self.seed)) {
            Some(variation) => Assignment { variation, reason: Reason::Split },
            None => control(Reason::NotCovered),
        }
    }

    #[inline]
    fn override_of(&self, attributes: &impl Attributes) -> Option<u8> {
        let value = attributes.header(self.override_header.as_deref()?)?;
        self.variations
            .iter()
            .position(|variation| variation.name == value)
            .map(|position| position as u8)
    }
}
