//! What Weir's tests share. Nothing here is compiled into weir.wasm, and nothing that judges the engine's output uses
//! the engine's own parsers.

pub mod acting;
pub mod allocations;
pub mod answer;
pub mod chunking;
pub mod client;
pub mod corpus;
pub mod fixtures;
pub mod fuzzing;
pub mod json;
pub mod legality;
pub mod native;
pub mod order;
pub mod policies;
pub mod readers;
pub mod script;
pub mod sse;
