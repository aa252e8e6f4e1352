//! The only place that hashes subjects. What it computes is a contract: another result would move
//! every subject of every running experiment.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The seed of a salt: its XXH3 (64 bits).
pub(crate) fn seed(salt: &str) -> u64 {
    xxh3_64(salt.as_bytes())
}

/// The seeded XXH3 of a subject.
#[inline]
pub(crate) fn seeded(subject: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(subject, seed)
}

/// The slot that a hash stands for: its upper 32 bits.
#[inline]
pub(crate) fn slot_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The random group that a hash stands for, of [`RANDOM_GROUPS`]: from its lower 32 bits, which
/// the arm does not depend on.
#[inline]
pub(crate) fn group_of(hash: u64) -> u8 {
    (((hash & u64::from(u32::MAX)) * u64::from(RANDOM_GROUPS)) >> 32) as u8
}

/// The slot of a subject under a salt, of 2³²: `xxh3_64_with_seed(subject, xxh3_64(salt)) >> 32`.
///
/// ```
/// assert_eq!(latency_experiment_flags::slot("checkout", b"01JCKJZS2YFSTBQQ5W6ASQZ1Y2"), 2_541_389_172);
/// ```
pub fn slot(salt: &str, subject: &[u8]) -> u32 {
    slot_of(seeded(subject, seed(salt)))
}

/// How many random groups the subjects of each arm are dealt into, when a subject sends many
/// requests. Requests of one subject resemble each other; groups of subjects do not, so the spread
/// between groups is what tells how certain a comparison is.
pub const RANDOM_GROUPS: u8 = 32;

/// The position of a subject in an exclusion group, of 10,000.
pub fn exclusion_position(salt: &str, subject: &[u8]) -> u16 {
    position_of(slot(salt, subject))
}

#[inline]
pub(crate) fn position_of(slot: u32) -> u16 {
    ((u64::from(slot) * 10_000) >> 32) as u16
}

/// A hash of named fields that keeps them apart: each is preceded by its length.
pub(crate) fn fingerprint<'a>(fields: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
        bytes.extend_from_slice(field.as_bytes());
    }
    xxh3_64(&bytes)
}
