//! What things take of the memory, beside themselves.

use smallvec::{Array, SmallVec};

/// What an allocator keeps beside each block, at most.
const BESIDE_BLOCK: usize = 16;

/// Gives what a block of `bytes` takes; nothing where there is none.
pub(crate) const fn block(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.saturating_add(BESIDE_BLOCK) }
}

/// Gives what is allocated for a list that no longer fits in its own place.
pub(crate) fn spilled<A: Array>(list: &SmallVec<A>) -> usize {
    if list.spilled() { block(list.capacity().saturating_mul(size_of::<A::Item>())) } else { 0 }
}
