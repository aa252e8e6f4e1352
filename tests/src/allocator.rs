//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts for each thread apart, so that other tests do not disturb. A test makes it its
/// `#[global_allocator]`.
#[derive(Clone, Copy, Debug)]
pub struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

impl CountingAllocator {
    /// Allocations and reallocations of this thread so far.
    pub fn allocations(&self) -> u64 {
        ALLOCATIONS.get()
    }

    /// Bytes that this thread allocated and has not freed; negative when it freed those of others.
    pub fn live_bytes(&self) -> i64 {
        LIVE_BYTES.get()
    }
}

fn count(allocations: u64, bytes: i64) {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
}

fn size(layout: Layout) -> i64 {
    i64::try_from(layout.size()).unwrap_or(i64::MAX)
}

// SAFETY: every call is passed on to the system allocator unchanged.
#[allow(
    unsafe_code,
    reason = "a global allocator cannot be had otherwise; it counts and passes on"
)]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, size(layout));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -size(layout));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, i64::try_from(new_size).unwrap_or(i64::MAX) - size(layout));
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}
