//! chat.completions (<https://platform.openai.com/docs/api-reference/chat>).

mod body;
mod decode;
mod echo;
mod encode;
mod fields;
pub(super) mod output;
mod plain;
mod splice;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;
pub(super) use plain::SCHEMA;

/// What clients take as the terminator: they look at the beginning of the data only.
const TERMINATOR: &[u8] = b"[DONE]";

#[cfg(test)]
mod tests;
