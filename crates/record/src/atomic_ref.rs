//! A reference that threads share.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// An atomic `Option<&'static T>`: how threads share what lives as long as the process, without
/// counting references, which would be a cache line that all of them write.
///
/// Setting it releases and getting it acquires: whoever sees the reference sees what it refers to as
/// it was when it was set.
///
/// ```
/// use latency_experiment_record::AtomicRef;
///
/// static PRESENT: AtomicRef<str_like::Name> = AtomicRef::empty();
/// static ONE: str_like::Name = str_like::Name("one");
/// # mod str_like { #[derive(Debug, PartialEq)] pub struct Name(pub &'static str); }
/// assert_eq!(PRESENT.get(), None);
/// PRESENT.set(&ONE);
/// assert_eq!(PRESENT.get(), Some(&ONE));
/// ```
pub struct AtomicRef<T: 'static> {
    /// Null, or what a `&'static T` was made into.
    pointer: AtomicPtr<T>,
    /// `Send` and `Sync` where the reference is.
    _reference: PhantomData<&'static T>,
}

impl<T> AtomicRef<T> {
    /// No reference.
    #[cfg(not(loom))]
    pub const fn empty() -> Self {
        Self { pointer: AtomicPtr::new(ptr::null_mut()), _reference: PhantomData }
    }

    /// No reference.
    #[cfg(loom)]
    pub fn empty() -> Self {
        Self { pointer: AtomicPtr::new(ptr::null_mut()), _reference: PhantomData }
    }

    /// This reference.
    pub fn new(value: &'static T) -> Self {
        let new = Self::empty();
        new.set(Some(value));
        new
    }

    /// The reference that was set last, if any.
    #[inline]
    #[allow(unsafe_code, reason = "std has no atomic reference; crossbeam's loses its provenance")]
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or was made from a `&'static T` by `set`, and is nowhere else
        // written. What it points to is alive and shared for as long as the process lives.
        unsafe { self.pointer.load(Ordering::Acquire).as_ref() }
    }

    /// Sets the reference, or none.
    #[inline]
    pub fn set(&self, value: impl Into<Option<&'static T>>) {
        let pointer = value.into().map_or(ptr::null(), ptr::from_ref);
        self.pointer.store(pointer.cast_mut(), Ordering::Release);
    }
}

impl<T> Default for AtomicRef<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: fmt::Debug> fmt::Debug for AtomicRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AtomicRef").field(&self.get()).finish()
    }
}
