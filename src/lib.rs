//! Weir's engine: reads the streams of language-model APIs and lets policies act on them while they flow.
//!
//! The engine is sans-IO: bytes in, bytes and effects out. It knows no proxy, clock, thread, socket or log sink; time is
//! an argument.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "a panic fails the test, as it should"))]

pub mod block;
mod cell;
pub mod chain;
pub mod decision;
pub mod dialect;
pub mod document;
mod effect;
pub mod event;
pub mod exchange;
pub mod fingerprint;
mod head;
pub mod id;
pub mod judge;
pub mod limits;
pub mod policy;
pub mod route;
pub mod time;
pub mod wire;
