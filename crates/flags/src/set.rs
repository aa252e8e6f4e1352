//! Flags that were checked and are ready to evaluate.

use std::ops::Range;

use crate::allocation::{Allocation, FULL_COVERAGE_BP};
use crate::error::{Error, Problem};
use crate::flag::{Flag, Subject, Variation};
use crate::hash;
use crate::split::Split;

/// Most flags in one set.
pub const MAX_FLAGS: usize = 16;
/// Most variations of one flag.
pub const MAX_VARIATIONS: usize = 16;

/// Position of a flag in its [`FlagSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlagIndex(u8);

impl FlagIndex {
    /// The position as an integer.
    #[inline]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// 1 to 16 validated flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagSet {
    flags: Vec<ValidFlag>,
}

/// A flag that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidFlag {
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) epoch: u64,
    pub(crate) variations: Vec<Variation>,
    pub(crate) control: u8,
    pub(crate) coverage_bp: u16,
    pub(crate) subject: Subject,
    /// By variation; nobody's when it is not covered.
    pub(crate) split: Split<Option<u8>>,
    pub(crate) group: Option<Group>,
    pub(crate) override_header: Option<String>,
    fingerprint: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) seed: u64,
    pub(crate) range: Range<u16>,
}

impl FlagSet {
    /// Checks the flags. Everything that is wrong with any of them is in the error.
    pub fn try_new(flags: impl IntoIterator<Item = Flag>) -> Result<Self, Error> {
        let flags: Vec<Flag> = flags.into_iter().collect();
        let mut problems = Vec::new();
        if !(1..=MAX_FLAGS).contains(&flags.len()) {
            problems.push(Problem::new(
                "flags",
                format!("{} flags, but a set holds 1 to {MAX_FLAGS}", flags.len()),
            ));
        }
        for (position, flag) in flags.iter().enumerate() {
            let at = format!("flags[{position}]");
            check(flag, &at, &mut problems);
            if flags[..position].iter().any(|other| other.name == flag.name) {
                problems.push(Problem::new(
                    format!("{at}.name"),
                    format!("`{}` names an earlier flag too", flag.name),
                ));
            }
        }
        if problems.is_empty() {
            Ok(Self { flags: flags.into_iter().map(ValidFlag::new).collect() })
        } else {
            Err(Error::invalid(problems))
        }
    }

    /// How many flags there are: 1 to 16.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// The flag with this name. The error suggests the nearest name.
    pub fn find(&self, name: &str) -> Result<FlagIndex, Error> {
        match self.iter().find(|(_, flag)| flag.name == name) {
            Some((index, _)) => Ok(index),
            None => {
                Err(Error::unknown_flag(name, self.flags.iter().map(|flag| flag.name.as_str())))
            }
        }
    }

    /// The same flags in the order of `names`. The error names those that are missing and those
    /// that are too many.
    pub fn in_order_of<'a>(
        mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let names: Vec<&str> = names.into_iter().collect();
        let missing = names.iter().filter(|name| self.find(name).is_err()).map(|name| {
            Problem::new(
                "flags",
                format!("`{name}` is missing, which the service was started with"),
            )
        });
        let unknown = self.flags.iter().filter(|flag| !names.contains(&flag.name.as_str()));
        let unknown = unknown.map(|flag| {
            let error = Error::unknown_flag(&flag.name, names.iter().copied());
            Problem::new("flags", error.to_string())
        });
        let problems: Vec<_> = missing.chain(unknown).collect();
        if !problems.is_empty() {
            return Err(Error::invalid(problems));
        }
        self.flags.sort_by_key(|flag| names.iter().position(|name| *name == flag.name));
        Ok(self)
    }

    /// The flag at this position.
    ///
    /// # Panics
    ///
    /// When the index is of another, longer set.
    #[inline]
    pub fn flag(&self, index: FlagIndex) -> &ValidFlag {
        &self.flags[index.get()]
    }

    /// All flags with their positions.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FlagIndex, &ValidFlag)> {
        self.flags.iter().enumerate().map(|(position, flag)| (FlagIndex(position as u8), flag))
    }
}

impl ValidFlag {
    fn new(flag: Flag) -> Self {
        let fingerprint = fingerprint(&flag);
        let salt = flag.salt.as_deref().unwrap_or(&flag.name);
        let control = flag.variations.iter().position(|variation| variation.name == flag.control);
        Self {
            split: Split {
                seed: hash::seed(salt),
                allocation: Allocation::new(
                    flag.variations.iter().map(|variation| variation.weight),
                    flag.coverage_bp,
                ),
            },
            group: flag
                .exclusion_group
                .map(|group| Group { seed: hash::seed(&group.salt), range: group.from..group.to }),
            control: control.map_or(0, |position| position as u8),
            fingerprint,
            name: flag.name,
            enabled: flag.enabled,
            epoch: flag.epoch,
            variations: flag.variations,
            coverage_bp: flag.coverage_bp,
            subject: match flag.subject {
                Subject::Header(name) => Subject::Header(name.to_ascii_lowercase()),
                subject => subject,
            },
            override_header: flag.override_header.map(|name| name.to_ascii_lowercase()),
        }
    }

    /// The name of the flag.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The variations with their weights.
    pub fn variations(&self) -> &[Variation] {
        &self.variations
    }

    /// The name of the variation at this position; that of control beyond the last one.
    pub fn variation_name(&self, variation: u8) -> &str {
        let variation = self
            .variations
            .get(usize::from(variation))
            .or_else(|| self.variations.get(usize::from(self.control)));
        variation.map_or("control", |variation| variation.name.as_str())
    }

    /// Position of control among the variations.
    #[inline]
    pub fn control(&self) -> u8 {
        self.control
    }

    /// What is hashed to choose the arm.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Whether all requests of a subject get the same arm.
    #[inline]
    pub fn is_sticky(&self) -> bool {
        self.subject != Subject::RequestId
    }

    /// The coverage in basis points; 0 when the flag is disabled.
    pub fn coverage_bp(&self) -> u16 {
        if self.enabled { self.coverage_bp } else { 0 }
    }

    /// A hash of all that decides which subject gets which arm: salt, weights, variations, control,
    /// subject and exclusion group. What it does not depend on, such as the coverage, starts no new
    /// epoch.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

fn fingerprint(flag: &Flag) -> u64 {
    let mut fields = vec![
        "flag/1".to_owned(),
        flag.salt.clone().unwrap_or_else(|| flag.name.clone()),
        match &flag.subject {
            Subject::RequestId => "request_id".to_owned(),
            Subject::Header(name) => format!("header:{}", name.to_ascii_lowercase()),
        },
        flag.control.clone(),
    ];
    for Variation { name, weight } in &flag.variations {
        fields.extend([name.clone(), weight.to_string()]);
    }
    if let Some(group) = &flag.exclusion_group {
        fields.extend([
            "group".to_owned(),
            group.salt.clone(),
            group.from.to_string(),
            group.to.to_string(),
        ]);
    }
    hash::fingerprint(fields.iter().map(String::as_str))
}

const NAME_RULE: &str = "must be 1 to 64 letters, digits, `_`, `-` or `.`";

fn check(flag: &Flag, at: &str, problems: &mut Vec<Problem>) {
    let mut problem =
        |path: &str, message: String| problems.push(Problem::new(format!("{at}.{path}"), message));
    if !is_name(&flag.name) {
        problem("name", format!("`{}` {NAME_RULE}", flag.name));
    }
    if !(2..=MAX_VARIATIONS).contains(&flag.variations.len()) {
        problem(
            "variations",
            format!("{} variations, but a flag has 2 to {MAX_VARIATIONS}", flag.variations.len()),
        );
    }
    for (position, Variation { name, .. }) in flag.variations.iter().enumerate() {
        let path = format!("variations[{position}]");
        if !is_name(name) {
            problem(&path, format!("`{name}` {NAME_RULE}"));
        } else if name.starts_with('_') {
            problem(&path, format!("`{name}` starts with `_`, which is reserved"));
        }
        if flag.variations[..position].iter().any(|other| other.name == *name) {
            problem(&path, format!("`{name}` is there twice"));
        }
    }
    if flag.variations.iter().map(|variation| u64::from(variation.weight)).sum::<u64>()
        > u64::from(u32::MAX)
    {
        problem("weights", format!("the weights together exceed {}", u32::MAX));
    }
    if flag.variations.iter().all(|variation| variation.name != flag.control) {
        let names: Vec<_> =
            flag.variations.iter().map(|variation| format!("`{}`", variation.name)).collect();
        problem(
            "control",
            format!("`{}` is not among the variations ({})", flag.control, names.join(", ")),
        );
    }
    if flag.coverage_bp > FULL_COVERAGE_BP {
        problem("coverage_bp", format!("{} is not in 0..=10000", flag.coverage_bp));
    }
    if let Some(group) =
        flag.exclusion_group.as_ref().filter(|group| group.from > group.to || group.to > 10_000)
    {
        problem(
            "exclusion_group",
            format!("[{}, {}) is not a range within 0..=10000", group.from, group.to),
        );
    }
    if let Subject::Header(name) = &flag.subject
        && !is_header_name(name)
    {
        problem("subject.header", format!("`{name}` is not an HTTP header name"));
    }
    if let Some(header) = flag.override_header.as_ref().filter(|header| !is_header_name(header)) {
        problem("override_header", format!("`{header}` is not an HTTP header name"));
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// A token of RFC 9110, section 5.6.2.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
