//! chat.completions (<https://platform.openai.com/docs/api-reference/chat>).

mod body;
mod decode;
mod encode;
mod fields;
pub(super) mod output;
mod splice;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;

/// What clients take as the terminator: they look at the beginning of the data only.
const TERMINATOR: &[u8] = b"[DONE]";

#[cfg(test)]
mod tests;
