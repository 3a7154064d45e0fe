//! What was learned about the proxy, which has no call to ask it: valid for the whole VM, that is, for a worker.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Whether body callbacks come while a request's head is paused (`allow_on_headers_stop_iteration`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadHold {
    /// No request has shown it yet.
    Unproven,
    /// They came: for good, the setting cannot change within a VM's configuration.
    Proven,
    /// Body bytes arrived and no callback came.
    Missing,
}

const UNPROVEN: u8 = 0;
const PROVEN: u8 = 1;
const MISSING: u8 = 2;

static HEAD_HOLD: AtomicU8 = AtomicU8::new(UNPROVEN);
static TRAILERS_SEEN: AtomicBool = AtomicBool::new(false);
static BUFFER_EXCEEDED_AT: AtomicUsize = AtomicUsize::new(usize::MAX);
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Most bytes of bodies that all exchanges of a worker may keep together. A worker's memory ends at 1 GiB, and who
/// exhausts it stops every stream; growing buffers and what is made of their contents take several times their length.
const MAX_KEPT_BYTES: usize = 192 * 1024 * 1024;

/// What every exchange may keep, however much the others do.
const ALWAYS_KEPT_BYTES: usize = 64 * 1024;

/// What is known about holding heads.
pub(crate) fn head_hold() -> HeadHold {
    match HEAD_HOLD.load(Relaxed) {
        PROVEN => HeadHold::Proven,
        MISSING => HeadHold::Missing,
        _ => HeadHold::Unproven,
    }
}

/// A body callback came while a head was paused.
pub(crate) fn prove_head_hold() {
    HEAD_HOLD.store(PROVEN, Relaxed);
}

/// Body bytes arrived while a head was paused, and no callback. Whether that is news.
pub(crate) fn miss_head_hold() -> bool {
    HEAD_HOLD.compare_exchange(UNPROVEN, MISSING, Relaxed, Relaxed).is_ok()
}

/// Whether responses may end with trailers here: then nothing can be sent once they came, unless the body is paused.
pub(crate) fn trailers_seen() -> bool {
    TRAILERS_SEEN.load(Relaxed)
}

/// A response ended with trailers.
pub(crate) fn see_trailers() {
    TRAILERS_SEEN.store(true, Relaxed);
}

/// How many bytes the proxy is known to be unable to buffer, if that was found out.
pub(crate) fn buffer_exceeded_at() -> Option<usize> {
    Some(BUFFER_EXCEEDED_AT.load(Relaxed)).filter(|bytes| *bytes != usize::MAX)
}

/// The proxy could not buffer that many bytes. Whether that is news.
pub(crate) fn exceed_buffer(bytes: usize) -> bool {
    BUFFER_EXCEEDED_AT.fetch_min(bytes, Relaxed) > bytes
}

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
