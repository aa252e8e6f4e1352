//! A vector that grows while others read it.

use std::array;

use crate::sync::OnceLock;

/// Elements that are allocated together.
const CHUNK: usize = if cfg!(loom) { 2 } else { 16 };
/// Chunks that are found without a detour.
const NEAR: usize = if cfg!(loom) { 2 } else { 64 };
/// Directories of further chunks, each twice as long as the one before.
const FAR: usize = if cfg!(loom) { 1 } else { 16 };

/// A grow-only array of chunks, each allocated on the first touch of one of its elements. Elements
/// never move, so readers need no lock and writers need no copy.
///
/// It holds up to 16 × 64 × 2¹⁶ elements; the first 1,024 of them are the fastest to find. An
/// empty one is 1.4 KiB: thousands of experiments, in one process of tests, have several each.
pub(crate) struct Segments<T> {
    near: [Chunk<T>; NEAR],
    far: [OnceLock<Box<[Chunk<T>]>>; FAR],
}

/// Elements that are allocated together, on the first touch of one of them.
type Chunk<T> = OnceLock<Box<[T; CHUNK]>>;

impl<T: Default> Segments<T> {
    pub(crate) fn new() -> Self {
        let (near, far) = (|_| OnceLock::new(), |_| OnceLock::new());
        Self { near: array::from_fn(near), far: array::from_fn(far) }
    }

    /// The element at `index`, unless nothing in its chunk was ever touched.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let chunk = match self.near.get(index / CHUNK) {
            Some(chunk) => chunk,
            None => self.far(index / CHUNK)?,
        };
        Some(&chunk.get()?[index % CHUNK])
    }

    /// The element at `index`; its chunk is allocated when it is touched for the first time.
    ///
    /// `None` only beyond the capacity.
    #[inline]
    pub(crate) fn touch(&self, index: usize) -> Option<&T> {
        match self.get(index) {
            Some(element) => Some(element),
            None => self.allocate(index),
        }
    }

    /// A chunk beyond the near ones, unless its directory was never touched.
    fn far(&self, chunk: usize) -> Option<&Chunk<T>> {
        let (directory, offset) = locate(chunk);
        self.far.get(directory)?.get()?.get(offset)
    }

    #[cold]
    #[inline(never)]
    fn allocate(&self, index: usize) -> Option<&T> {
        let chunk = self.near.get(index / CHUNK).or_else(|| self.allocate_far(index / CHUNK))?;
        let chunk = chunk.get_or_init(|| Box::new(array::from_fn(|_| T::default())));
        Some(&chunk[index % CHUNK])
    }

    fn allocate_far(&self, chunk: usize) -> Option<&Chunk<T>> {
        let (directory, offset) = locate(chunk);
        let chunks = || (0..NEAR << directory).map(|_| OnceLock::new()).collect();
        self.far.get(directory)?.get_or_init(chunks).get(offset)
    }
}

impl<T: Default> Default for Segments<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Directory of a chunk beyond the near ones, and its offset there: directory k starts at chunk
/// 64 × 2ᵏ.
const fn locate(chunk: usize) -> (usize, usize) {
    let directory = (chunk.ilog2() - NEAR.ilog2()) as usize;
    (directory, chunk - (NEAR << directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let segments = Segments::<AtomicUsize>::new();
        for index in 0..20_000 {
            assert_eq!(segments.touch(index).unwrap().fetch_add(index + 1, Ordering::Relaxed), 0);
        }
        for index in 0..20_000 {
            assert_eq!(segments.get(index).unwrap().load(Ordering::Relaxed), index + 1);
        }
    }

    #[test]
    fn chunks_are_allocated_by_touch_only_and_beyond_the_capacity_is_none() {
        let segments = Segments::<AtomicUsize>::new();
        for index in [40, CHUNK * NEAR - 1, CHUNK * NEAR, 3 * CHUNK * NEAR] {
            assert!(segments.get(index).is_none());
            assert!(segments.touch(index).is_some());
            let neighbours = index / CHUNK * CHUNK..(index / CHUNK + 1) * CHUNK;
            assert!(neighbours.clone().all(|index| segments.get(index).is_some()));
            assert!(segments.get(neighbours.end + CHUNK).is_none());
        }
        assert!(segments.touch(CHUNK * (NEAR << FAR)).is_none());
        assert!(segments.touch(usize::MAX).is_none());
    }
}
