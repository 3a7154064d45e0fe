//! What the engine reads of a request body.

pub(crate) mod parts;

use super::DecodeError;
use super::document::{self, Strings};
use crate::json::{Field, Reader};
use crate::route::Endpoint;

pub use parts::{MAX_REQUEST_PARTS, RequestPart, RequestRewrite, RequestScope};

/// What is asked and how it is to be answered: none of these may stand twice, because proxy and provider could each take
/// another one.
const ASKED: [&str; 12] = [
    "messages",
    "system",
    "instructions",
    "input",
    "prompt",
    "suffix",
    "requests",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "n",
];

/// The facts of a request that the engine and the policies need at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model that was asked for; empty when the request names none.
    pub model: String,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
}

/// Reads the facts of a request body.
///
/// # Errors
/// When the body is not a request of `endpoint`, or one that readers could understand differently.
pub fn read(endpoint: Endpoint, body: &[u8]) -> Result<RequestFacts, DecodeError> {
    if endpoint == Endpoint::MessageBatches && body.is_empty() {
        // They are listed and fetched, too.
        return Ok(RequestFacts::default());
    }
    let text = document::utf8(body)?;
    let (mut model, mut stream) = (Field::default(), Field::default());
    let mut asked = [Field::default(); ASKED.len()];
    let mut reader = Reader::new(text);
    reader.object(|reader, key| match key {
        "model" => model.fill(reader, Reader::optional_string),
        "stream" => stream.fill(reader, Reader::optional_bool),
        key => match ASKED.iter().zip(&mut asked).find(|(known, _)| **known == key) {
            Some((_, field)) => field.fill(reader, Reader::optional_value),
            None => reader.skip(),
        },
    })?;
    reader.end()?;
    let mut strings = Strings::default();
    let model = strings.read(text, model.get())?;
    Ok(RequestFacts { model: strings.get(text, model).to_owned(), stream: stream.get().unwrap_or(false) })
}

#[cfg(test)]
mod tests;
