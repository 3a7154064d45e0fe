//! Weir's engine: reads the streams of language-model APIs and lets policies act on them while they flow.
//!
//! The engine is sans-IO: bytes in, bytes and effects out. It knows no proxy, clock, thread, socket or log sink; time is
//! an argument.
#![forbid(unsafe_code)]

pub mod block;
pub mod dialect;
mod json;
pub mod sse;
