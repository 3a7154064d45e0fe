//! Counts what the program asks the allocator for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, with a counter in front of it.
struct CountingAllocator;

// SAFETY: every method hands its arguments unchanged to `System`, which keeps the contract of `GlobalAlloc`; counting
// neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this `layout`, since all the other methods only pass on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // A buffer that grows is an allocation, too: it is what a steady state must not do.
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for `dealloc`; the caller's promise about `size` is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How often `work` asks for memory, or for more of it.
pub(crate) fn count(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn a_growing_buffer_is_counted() {
        // Other tests run beside this one and may allocate, too: there can be more, never fewer.
        assert!(count(|| drop(std::hint::black_box(vec![0_u8; 64]))) >= 1);
    }
}
