//! What can be wrong with flags.

use std::fmt;

/// An error of this crate: all that is wrong with a set of flags, or a name that no flag has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Invalid(Vec<Problem>),
    UnknownFlag { name: String, known: Vec<String> },
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    path: String,
    message: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The place, such as `flags[0].variations[1]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value and the rule that it breaks.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Error {
    pub(crate) fn invalid(problems: Vec<Problem>) -> Self {
        Self(Kind::Invalid(problems))
    }

    pub(crate) fn unknown_flag<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        Self(Kind::UnknownFlag {
            name: name.to_owned(),
            known: known.map(ToOwned::to_owned).collect(),
        })
    }

    /// Whether a name was asked for that no flag has.
    pub fn is_unknown_flag(&self) -> bool {
        matches!(self.0, Kind::UnknownFlag { .. })
    }

    /// All that is wrong with a set of flags; empty for an unknown name.
    pub fn problems(&self) -> &[Problem] {
        match &self.0 {
            Kind::Invalid(problems) => problems,
            Kind::UnknownFlag { .. } => &[],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Invalid(problems) => {
                for (position, problem) in problems.iter().enumerate() {
                    let separator = if position == 0 { "" } else { "\n" };
                    write!(f, "{separator}{}: {}", problem.path, problem.message)?;
                }
                Ok(())
            }
            Kind::UnknownFlag { name, known } => {
                write!(f, "`{name}` is not a flag of this set; ")?;
                match nearest(name, known) {
                    Some(near) => write!(f, "did you mean `{near}`?"),
                    None => write!(f, "it has `{}`", known.join("`, `")),
                }
            }
        }
    }
}

impl std::error::Error for Error {}

/// The known name within a third of the letters, if there is one.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let candidates = known.iter().map(|known| (edit_distance(name, known), known.as_str()));
    candidates.min().filter(|(distance, known)| distance * 3 <= known.len()).map(|(_, known)| known)
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, byte_b) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(byte_a != byte_b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
