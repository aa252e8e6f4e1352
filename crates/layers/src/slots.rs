//! A hash table that is read without a lock.

use std::sync::OnceLock;

/// An open-addressing table whose slots are written once and never change, so that readers need no
/// lock and share no cache line with a writer. It grows by segments, each allocated when the ones
/// before have no room near a key. Inserters take turns by a lock of their own.
pub(crate) struct Slots<E> {
    segments: [OnceLock<Box<[OnceLock<E>]>>; SEGMENTS],
}

const SEGMENTS: usize = 6;
const FIRST_SEGMENT: usize = 64;
/// Neighbours that a key may be stored in.
const WINDOW: usize = 8;

impl<E> Slots<E> {
    pub(crate) const fn new() -> Self {
        Self { segments: [const { OnceLock::new() }; SEGMENTS] }
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&E> {
        for segment in &self.segments {
            for slot in window(segment.get()?, hash) {
                // Slots are never emptied: had the key come, it would be here or before.
                let entry = slot.get()?;
                if is_it(entry) {
                    return Some(entry);
                }
            }
        }
        None
    }

    /// Inserts under the caller's lock. When all windows of a key are full the entry comes back.
    pub(crate) fn insert(&self, hash: u64, mut entry: E) -> Result<(), E> {
        for (position, segment) in self.segments.iter().enumerate() {
            let slots = FIRST_SEGMENT << (2 * position);
            let segment = segment.get_or_init(|| (0..slots).map(|_| OnceLock::new()).collect());
            for slot in window(segment, hash) {
                match slot.set(entry) {
                    Ok(()) => return Ok(()),
                    Err(occupied) => entry = occupied,
                }
            }
        }
        Err(entry)
    }
}

#[inline]
fn window<E>(segment: &[OnceLock<E>], hash: u64) -> impl Iterator<Item = &OnceLock<E>> {
    let mask = segment.len() - 1;
    (0..WINDOW).map(move |step| &segment[(hash as usize + step) & mask])
}
