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

/// Gives at most what is allocated for a tree of so many entries: its nodes have room for eleven, and are half full at least.
pub(crate) const fn tree<K, V>(entries: usize) -> usize {
    if entries == 0 {
        return 0;
    }
    let node = size_of::<(K, V)>().saturating_mul(11).saturating_add(BESIDE_BLOCK.saturating_mul(2));
    node.saturating_mul(entries.div_ceil(5))
}
