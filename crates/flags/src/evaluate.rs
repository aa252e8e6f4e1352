//! Which variation a request gets, and why.

use crate::flag::Subject;
use crate::hash;
use crate::set::{FlagIndex, FlagSet, ValidFlag};

/// The result of evaluating a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Position of the variation to serve among the flag's variations.
    pub variation: u8,
    /// Why it is that one.
    pub reason: Reason,
    /// The random group of the subject, below [`RANDOM_GROUPS`](crate::RANDOM_GROUPS); 0 unless the
    /// flag is sticky and the split decided.
    pub group: u8,
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
    /// The request does not say who its subject is; control is served.
    NoSubject,
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
    /// Evaluates one flag for a request. See [`ValidFlag::evaluate`].
    ///
    /// # Panics
    ///
    /// When the index is of another, longer set.
    #[inline]
    pub fn evaluate(
        &self,
        flag: FlagIndex,
        request_id: &[u8],
        attributes: &impl Attributes,
    ) -> Assignment {
        self.flag(flag).evaluate(request_id, attributes)
    }
}

impl ValidFlag {
    /// Evaluates the flag for a request, in this order: disabled, override, subject, exclusion
    /// group, coverage and weights. The first that decides wins.
    pub fn evaluate(&self, request_id: &[u8], attributes: &impl Attributes) -> Assignment {
        if !self.enabled {
            return self.control_because(Reason::Disabled);
        }
        if let Some(variation) = self.override_of(attributes) {
            return Assignment { variation, reason: Reason::Override, group: 0 };
        }
        let subject = match &self.subject {
            Subject::RequestId => Some(request_id),
            Subject::Header(name) => {
                attributes.header(name).filter(|value| !value.is_empty()).map(str::as_bytes)
            }
        };
        let Some(subject) = subject else {
            return self.control_because(Reason::NoSubject);
        };
        if let Some(group) = &self.group {
            let position = hash::position_of(hash::slot_of(hash::seeded(subject, group.seed)));
            if !group.range.contains(&position) {
                return self.control_because(Reason::ExcludedByGroup);
            }
        }
        self.assign(subject)
    }

    fn assign(&self, subject: &[u8]) -> Assignment {
        let hash = hash::seeded(subject, self.split.seed);
        let Some(variation) = self.split.of_hash(hash) else {
            return self.control_because(Reason::NotCovered);
        };
        let group = if self.is_sticky() { hash::group_of(hash) } else { 0 };
        Assignment { variation, reason: Reason::Split, group }
    }

    #[inline]
    fn control_because(&self, reason: Reason) -> Assignment {
        Assignment { variation: self.control, reason, group: 0 }
    }

    fn override_of(&self, attributes: &impl Attributes) -> Option<u8> {
        let value = attributes.header(self.override_header.as_deref()?)?;
        self.variations
            .iter()
            .position(|variation| variation.name == value)
            .map(|position| position as u8)
    }
}
