//! Which instances a snapshot is of, and from when to when.

use jiff::Timestamp;

use crate::Error;

/// What one instance contributed to a snapshot: everything that it counted in this time.
///
/// Snapshots keep this when they are merged, so that files that were merged before still cannot be
/// counted twice, while those of other times still can be added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The instance.
    pub instance: String,
    /// From when it counted.
    pub from: Timestamp,
    /// Until when it counted; not before `from`.
    pub to: Timestamp,
}

impl Part {
    /// Whether both count something of the same instance at the same time. Parts that only touch do not.
    fn overlaps(&self, other: &Self) -> bool {
        let during = self.from < other.to && other.from < self.to;
        self.instance == other.instance
            && (during || (self.from, self.to) == (other.from, other.to))
    }
}

/// Both lists together, sorted, with parts that touch joined.
///
/// Fails when a part of one overlaps one of the other, which would count requests twice.
pub(crate) fn join(ours: &[Part], theirs: &[Part]) -> Result<Vec<Part>, Error> {
    let twice = ours.iter().find(|part| theirs.iter().any(|other| part.overlaps(other)));
    if let Some(Part { instance, .. }) = twice {
        return Err(Error::mismatch(
            "instance",
            format!(
                "both snapshots cover instance `{instance}` at the same time: the later one contains the earlier one, use only the later"
            ),
        ));
    }
    Ok(tidy(ours.iter().chain(theirs).cloned().collect()))
}

/// Sorted, with parts that touch joined: one form for every order of merging.
pub(crate) fn tidy(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_unstable();
    let mut tidy: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match tidy.last_mut() {
            Some(last) if last.instance == part.instance && part.from <= last.to => {
                last.to = last.to.max(part.to);
            }
            _ => tidy.push(part),
        }
    }
    tidy
}

/// The names of all instances, each once, joined with `+`.
pub(crate) fn names(parts: &[Part]) -> String {
    let mut names: Vec<&str> = parts.iter().flat_map(|part| part.instance.split('+')).collect();
    names.sort_unstable();
    names.dedup();
    names.join("+")
}
