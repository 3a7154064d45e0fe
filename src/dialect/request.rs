//! What the engine reads of a request body.

use super::DecodeError;
use super::document::{self, Strings};
use crate::json::{Field, Reader};
use crate::route::Endpoint;

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
    let [mut messages, mut system, mut tools, mut tool_choice, mut functions, mut n] = [Field::default(); 6];
    let mut reader = Reader::new(text);
    reader.object(|reader, key| {
        let field = match key {
            "model" => return model.fill(reader, Reader::optional_string),
            "stream" => return stream.fill(reader, Reader::optional_bool),
            // These decide what is asked and how it is answered: none of them may stand twice, because proxy and
            // provider could each take another one.
            "messages" => &mut messages,
            "system" => &mut system,
            "tools" => &mut tools,
            "tool_choice" => &mut tool_choice,
            "functions" => &mut functions,
            "n" => &mut n,
            _ => return reader.skip(),
        };
        field.fill(reader, Reader::optional_value)
    })?;
    reader.end()?;
    let mut strings = Strings::default();
    let model = strings.read(text, model.get())?;
    Ok(RequestFacts { model: strings.get(text, model).to_owned(), stream: stream.get().unwrap_or(false) })
}

#[cfg(test)]
mod tests;
