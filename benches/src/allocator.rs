//! The system's allocator, with a count of what each thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Sub;

/// Counts and passes on. A program installs it as its `#[global_allocator]`.
///
/// Counting takes a few instructions per allocation and shares nothing between threads.
pub struct CountingAllocator;

/// What a thread has asked of the allocator so far, or between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocations {
    /// How often it asked for memory.
    pub count: u64,
    /// How many bytes it asked for.
    pub bytes: u64,
    /// How many bytes it gave back.
    pub freed_bytes: u64,
}

thread_local! {
    static COUNTED: Cell<Allocations> =
        const { Cell::new(Allocations { count: 0, bytes: 0, freed_bytes: 0 }) };
}

impl Allocations {
    /// Everything of the calling thread so far; all zero where [`CountingAllocator`] is not
    /// installed.
    pub fn so_far() -> Self {
        COUNTED.get()
    }

    /// Bytes that were asked for and not given back.
    pub fn kept_bytes(self) -> u64 {
        self.bytes.saturating_sub(self.freed_bytes)
    }

    /// What the calling thread asks for while `run` runs, beside the result.
    pub fn during<R>(run: impl FnOnce() -> R) -> (Self, R) {
        let before = Self::so_far();
        let result = run();
        (Self::so_far() - before, result)
    }
}

impl Sub for Allocations {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            count: self.count - earlier.count,
            bytes: self.bytes - earlier.bytes,
            freed_bytes: self.freed_bytes - earlier.freed_bytes,
        }
    }
}

fn count(asked: usize, freed: usize) {
    // A thread that is being torn down is not counted any more.
    let _ = COUNTED.try_with(|counted| {
        let mut now = counted.get();
        now.count += u64::from(asked > 0);
        now.bytes += asked as u64;
        now.freed_bytes += freed as u64;
        counted.set(now);
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counting touches a
// thread-local without a destructor, which never allocates.
#[allow(
    unsafe_code,
    reason = "a global allocator cannot be had otherwise; it counts and passes on"
)]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
