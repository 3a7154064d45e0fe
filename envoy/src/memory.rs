//! The memory of a worker, which all its exchanges share, whatever their configuration.
//!
//! A worker's memory ends at 1 GiB, and who exhausts it stops every stream. What the module allocates is counted as it is
//! allocated, whatever for; what exchanges keep of bodies has a bound of its own below that, so that long bodies that pile up
//! do not stop exchanges with short ones.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::alloc::System;

use cap::Cap;

/// Everything that the module allocates. It refuses nothing: a refused allocation would be a trap. Elsewhere than in the proxy
/// nothing is counted: there the allocator is the program's own affair.
#[cfg_attr(target_family = "wasm", global_allocator)]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Most bytes that may be allocated when an exchange begins.
const MAX_AT_BEGINNING: usize = 448 * MIB;

/// Most bytes that may be allocated when an exchange that is under way takes more in. Between this and the end of the memory
/// there is room for what is made of the longest bodies in one turn, and for what falls between allocations.
const MAX_UNDER_WAY: usize = 640 * MIB;

/// What is made of bytes takes several times their length.
const WORKING_FACTOR: usize = 4;

const MIB: usize = 1024 * 1024;

static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Most bytes of bodies that all exchanges of a worker may keep together.
const MAX_KEPT_BYTES: usize = 192 * MIB;

/// What an exchange may keep of bodies however much the others do; the heap as a whole bounds how many there are.
const ALWAYS_KEPT_BYTES: usize = 64 * 1024;

/// Whether there is memory for one more exchange.
pub(crate) fn admits_exchange() -> bool {
    HEAP.allocated() <= MAX_AT_BEGINNING
}

/// Whether there is memory to work on that many bytes.
fn has_room_for(bytes: usize) -> bool {
    HEAP.allocated().saturating_add(bytes.saturating_mul(WORKING_FACTOR)) <= MAX_UNDER_WAY
}

/// What an exchange keeps of the worker's memory.
#[derive(Debug, Default)]
pub(crate) struct Kept(usize);

impl Kept {
    /// Whether it may keep that many bytes more. What is short always may: exchanges that pile up long bodies must not
    /// stop those that do not.
    pub(crate) fn may_grow(&self, bytes: usize) -> bool {
        let is_short = self.0.saturating_add(bytes) <= ALWAYS_KEPT_BYTES;
        has_room_for(bytes) && (is_short || KEPT_BYTES.load(Relaxed).saturating_add(bytes) <= MAX_KEPT_BYTES)
    }

    /// Whether it may keep that many bytes more for policies that are observed beside enforced ones: they leave half of what there
    /// is to those that are enforced.
    pub(crate) fn may_observe(&self, bytes: usize) -> bool {
        let needed = bytes.saturating_mul(WORKING_FACTOR);
        HEAP.allocated().saturating_add(needed) <= MAX_AT_BEGINNING / 2
            && KEPT_BYTES.load(Relaxed).saturating_add(bytes) <= MAX_KEPT_BYTES / 2
    }

    /// Notes how much it is now.
    pub(crate) fn set(&mut self, bytes: usize) {
        KEPT_BYTES.fetch_sub(core::mem::replace(&mut self.0, bytes), Relaxed);
        KEPT_BYTES.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set(0);
    }
}
