//! The memory of a worker, which all its exchanges share, whatever their configuration.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Most bytes of bodies that all exchanges of a worker may keep together. A worker's memory ends at 1 GiB, and who
/// exhausts it stops every stream; growing buffers and what is made of their contents take several times their length.
const MAX_KEPT_BYTES: usize = 192 * 1024 * 1024;

/// What every exchange may keep, however much the others do.
const ALWAYS_KEPT_BYTES: usize = 64 * 1024;

/// What an exchange keeps of the worker's memory.
#[derive(Debug, Default)]
pub(crate) struct Kept(usize);

impl Kept {
    /// Whether it may keep that many bytes more. What is short always may: exchanges that pile up long bodies must not
    /// stop those that do not.
    pub(crate) fn may_grow(&self, bytes: usize) -> bool {
        self.0.saturating_add(bytes) <= ALWAYS_KEPT_BYTES || KEPT_BYTES.load(Relaxed).saturating_add(bytes) <= MAX_KEPT_BYTES
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
