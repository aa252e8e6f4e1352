//! A vector that grows while others read it.

use std::array;

use crate::atomic_ref::AtomicRef;
use crate::sync::OnceLock;

/// Chunks that are found without a detour.
const NEAR: usize = if cfg!(loom) { 2 } else { 64 };
/// Most chunks that are allocated together.
const MOST_TOGETHER: usize = if cfg!(loom) { 1 } else { 16 };
/// Directories of further chunks, each twice as long as the one before.
const FAR: usize = if cfg!(loom) { 1 } else { 16 };

/// A grow-only array of chunks, each allocated on the first touch of one of its elements. Elements
/// never move, so readers need no lock and writers need no copy. They live as long as the process, as
/// the shard does that has them.
///
/// It holds up to 64 × 2¹⁶ chunks; the first 64 of them are the fastest to find. An empty one is 900
/// bytes: thousands of experiments, in one process of tests, have several each.
pub(crate) struct Segments<T: 'static, const CHUNK: usize> {
    near: [ChunkRef<T, CHUNK>; NEAR],
    far: [OnceLock<Box<[ChunkRef<T, CHUNK>]>>; FAR],
}

type ChunkRef<T, const CHUNK: usize> = AtomicRef<Chunk<T, CHUNK>>;

/// Elements that are allocated together, on the first touch of one of them. Aligned, so that two
/// threads never share a cache line.
#[repr(align(64))]
struct Chunk<T, const LEN: usize>([T; LEN]);

impl<T: Default, const CHUNK: usize> Segments<T, CHUNK> {
    pub(crate) fn new() -> Self {
        let (near, far) = (|_| AtomicRef::empty(), |_| OnceLock::new());
        Self { near: array::from_fn(near), far: array::from_fn(far) }
    }

    /// The element at `index`, unless nothing in its chunk was ever touched.
    pub(crate) fn get(&self, index: usize) -> Option<&'static T> {
        self.near(index).or_else(|| Some(&self.far(index / CHUNK)?.get()?.0[index % CHUNK]))
    }

    /// The same, if it is one of those that are found without a detour.
    fn near(&self, index: usize) -> Option<&'static T> {
        let chunk = self.near.get(index / CHUNK)?.get()?;
        Some(&chunk.0[index % CHUNK])
    }

    /// The element at `index`; its chunk is allocated when it is touched for the first time. Only
    /// one thread at a time may call it.
    ///
    /// `None` only beyond the capacity.
    pub(crate) fn touch(&self, index: usize) -> Option<&'static T> {
        match self.get(index) {
            Some(element) => Some(element),
            None => self.allocate(index),
        }
    }

    /// A chunk beyond the near ones, unless its directory was never touched.
    fn far(&self, chunk: usize) -> Option<&ChunkRef<T, CHUNK>> {
        let (directory, offset) = locate(chunk)?;
        self.far.get(directory)?.get()?.get(offset)
    }

    #[cold]
    #[inline(never)]
    fn allocate(&self, index: usize) -> Option<&'static T> {
        let chunk = index / CHUNK;
        let near = self.near.get(chunk..).filter(|chunks| !chunks.is_empty());
        let places = near.or_else(|| self.allocate_far(chunk))?.iter();
        // The more there are, the more are allocated together: few waste little, and neighbours of many
        // lie side by side, so that the processor fetches them before they are asked for.
        let together = places.take(chunk.clamp(1, MOST_TOGETHER));
        let empty: Vec<_> = together.take_while(|place| place.get().is_none()).collect();
        let chunk = |_: &_| Chunk(array::from_fn(|_| T::default()));
        let chunks: &'static [_] = empty.iter().map(chunk).collect::<Vec<_>>().leak();
        for (place, chunk) in empty.into_iter().zip(chunks) {
            place.set(chunk);
        }
        self.get(index)
    }

    /// The places of a chunk beyond the near ones and of those after it in its directory.
    fn allocate_far(&self, chunk: usize) -> Option<&[ChunkRef<T, CHUNK>]> {
        let (directory, offset) = locate(chunk)?;
        let chunks = || (0..NEAR << directory).map(|_| AtomicRef::empty()).collect();
        self.far.get(directory)?.get_or_init(chunks).get(offset..)
    }
}

/// Directory of a chunk beyond the near ones, and its offset there: directory k starts at chunk
/// 64 × 2ᵏ.
fn locate(chunk: usize) -> Option<(usize, usize)> {
    let directory = chunk.checked_ilog2()?.checked_sub(NEAR.ilog2())? as usize;
    Some((directory, chunk - (NEAR << directory)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const CHUNK: usize = 16;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let segments = Segments::<AtomicUsize, CHUNK>::new();
        for index in 0..20_000 {
            assert_eq!(segments.touch(index).unwrap().fetch_add(index + 1, Ordering::Relaxed), 0);
        }
        for index in 0..20_000 {
            assert_eq!(segments.get(index).unwrap().load(Ordering::Relaxed), index + 1);
        }
    }

    #[test]
    fn chunks_are_allocated_by_touch_only_and_beyond_the_capacity_is_none() {
        let segments = Segments::<AtomicUsize, CHUNK>::new();
        for index in [40, CHUNK * NEAR - 1, CHUNK * NEAR, 3 * CHUNK * NEAR] {
            assert!(segments.get(index).is_none());
            assert!(segments.touch(index).is_some());
            let neighbours = index / CHUNK * CHUNK..(index / CHUNK + 1) * CHUNK;
            assert!(neighbours.clone().all(|index| segments.get(index).is_some()));
            assert!(segments.get(neighbours.end + MOST_TOGETHER * CHUNK).is_none());
        }
        assert!(segments.touch(CHUNK * (NEAR << FAR)).is_none());
        assert!(segments.touch(usize::MAX).is_none());
    }
}
