//! Counts heap allocations, so that tests can say that there are none.
//!
//! The only unsafe code of the tests: a global allocator cannot be written without it. It hands everything on to the
//! system's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread. A test makes it its `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        let live = LIVE.with(|live| {
            live.set(live.get().wrapping_add(layout.size()));
            live.get()
        });
        MOST.with(|most| most.set(most.get().max(live)));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.with(|live| live.set(live.get().wrapping_sub(layout.size())));
        // SAFETY: the caller keeps the promises of `dealloc`, and `alloc` took the memory from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How many allocations `work` makes on this thread.
pub fn count(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

/// The most bytes that `work` has allocated at a time, beside what was allocated before it.
pub fn most_bytes(work: impl FnOnce()) -> usize {
    let before = LIVE.with(Cell::get);
    MOST.with(|most| most.set(before));
    work();
    MOST.with(Cell::get) - before
}

/// The bytes that are allocated now on this thread.
pub fn live_bytes() -> usize {
    LIVE.with(Cell::get)
}
