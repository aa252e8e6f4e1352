//! A vector that grows while others read it.

use std::sync::OnceLock;

const FIRST: usize = 16;
const SEGMENTS: usize = 20;

/// A grow-only array of doubling segments, each allocated on the first touch of one of its
/// elements. Elements never move, so readers need no lock and writers need no copy.
///
/// It holds up to 16 × (2²⁰ − 1) elements; an empty one is 320 bytes.
pub(crate) struct Segments<T> {
    segments: [OnceLock<Box<[T]>>; SEGMENTS],
}

impl<T: Default> Segments<T> {
    pub(crate) const fn new() -> Self {
        Self { segments: [const { OnceLock::new() }; SEGMENTS] }
    }

    /// The element at `index`, unless nothing in its segment was ever touched.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let (segment, offset) = locate(index);
        self.segments.get(segment)?.get()?.get(offset)
    }

    /// The element at `index`; its segment is allocated when it is touched for the first time.
    ///
    /// `None` only beyond the capacity.
    #[inline]
    pub(crate) fn touch(&self, index: usize) -> Option<&T> {
        match self.get(index) {
            Some(element) => Some(element),
            None => self.allocate(index),
        }
    }

    #[cold]
    fn allocate(&self, index: usize) -> Option<&T> {
        let (segment, offset) = locate(index);
        let segment = self.segments.get(segment)?;
        segment.get_or_init(|| (0..segment_len(index)).map(|_| T::default()).collect()).get(offset)
    }
}

impl<T: Default> Default for Segments<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Segment and offset of an index: segment k starts at 16 × (2ᵏ − 1).
#[inline]
const fn locate(index: usize) -> (usize, usize) {
    let shifted = index + FIRST;
    let segment = (shifted.ilog2() - FIRST.ilog2()) as usize;
    (segment, shifted - (FIRST << segment))
}

const fn segment_len(index: usize) -> usize {
    FIRST << locate(index).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let segments = Segments::<AtomicUsize>::new();
        for index in 0..5_000 {
            assert_eq!(segments.touch(index).unwrap().fetch_add(index + 1, Ordering::Relaxed), 0);
        }
        for index in 0..5_000 {
            assert_eq!(segments.get(index).unwrap().load(Ordering::Relaxed), index + 1);
        }
    }

    #[test]
    fn segments_are_allocated_by_touch_only_and_beyond_the_capacity_is_none() {
        let segments = Segments::<AtomicUsize>::new();
        assert!(segments.get(40).is_none());
        assert!(segments.touch(40).is_some());
        assert!(segments.get(15).is_none() && segments.get(47).is_some());
        assert!(segments.touch(FIRST * ((1 << SEGMENTS) - 1)).is_none());
    }
}
