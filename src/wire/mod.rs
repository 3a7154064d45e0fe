//! The wire below the dialects: bytes that know no language model. Events of a stream, JSON, content encodings.

pub mod encoding;
pub(crate) mod json;
pub(crate) mod scan;
pub mod sse;
