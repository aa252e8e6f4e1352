//! A hash table that is read without a lock.

use std::sync::OnceLock;

use latency_experiment_record::AtomicRef;

/// An open-addressing table whose slots are written once and never change, so that readers need no
/// lock and share no cache line with a writer. Most entries are in the one slot that their hash
/// leads to at once; the others are in segments, each allocated when the ones before have no room near
/// a key. Inserters take turns by a lock of their own. Entries live as long as the process.
pub(crate) struct Slots<E: 'static> {
    direct: [AtomicRef<E>; DIRECT],
    segments: [OnceLock<Box<[AtomicRef<E>]>>; SEGMENTS],
}

const DIRECT: usize = 64;
const SEGMENTS: usize = 6;
const FIRST_SEGMENT: usize = 64;
/// Neighbours that a key may be stored in.
const WINDOW: usize = 8;

impl<E> Slots<E> {
    pub(crate) const fn new() -> Self {
        Self {
            direct: [const { AtomicRef::empty() }; DIRECT],
            segments: [const { OnceLock::new() }; SEGMENTS],
        }
    }

    /// The entry that `is_it` recognizes, if it is in the slot that its hash leads to at once.
    #[inline(always)]
    pub(crate) fn find_direct(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&'static E> {
        self.direct[direct(hash)].get().filter(|entry| is_it(entry))
    }

    /// The entry that `is_it` recognizes.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&'static E> {
        self.find_direct(hash, &is_it).or_else(|| self.find_further(hash, is_it))
    }

    fn find_further(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&'static E> {
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

    /// Inserts under the caller's lock, unless all slots that the key may be in are taken; tells whether
    /// it did.
    pub(crate) fn insert(&self, hash: u64, entry: E) -> bool {
        let slot = self.empty_slot(hash);
        if let Some(slot) = slot {
            slot.set(&*Box::leak(Box::new(entry)));
        }
        slot.is_some()
    }

    fn empty_slot(&self, hash: u64) -> Option<&AtomicRef<E>> {
        let is_empty = |slot: &&AtomicRef<E>| slot.get().is_none();
        let direct = Some(&self.direct[direct(hash)]).filter(is_empty);
        direct.or_else(|| {
            let segments = self.segments.iter().enumerate().map(|(position, segment)| {
                let slots = FIRST_SEGMENT << (2 * position);
                segment.get_or_init(|| (0..slots).map(|_| AtomicRef::empty()).collect())
            });
            segments.flat_map(|segment| window(segment, hash)).find(is_empty)
        })
    }
}

/// The highest bits of a hash, which are not those that tell windows apart.
#[inline(always)]
fn direct(hash: u64) -> usize {
    (hash >> (u64::BITS - DIRECT.ilog2())) as usize
}

#[inline]
fn window<E>(segment: &[AtomicRef<E>], hash: u64) -> impl Iterator<Item = &AtomicRef<E>> {
    let mask = segment.len() - 1;
    (0..WINDOW).map(move |step| &segment[(hash as usize + step) & mask])
}
