//! What the engine reads of a request body.

pub(crate) mod parts;

use super::decoding::{self, Strings, is_variant};
use super::{DecodeError, Dialect};
use crate::route::Endpoint;
use crate::wire::json::{Field, Form, Reader, Value};

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

/// What refers to input that stands at the provider.
const REFERENCES: [&str; 2] = ["previous_response_id", "conversation"];

/// The type of an item that does so.
const ITEM_REFERENCE: &str = "item_reference";

/// The facts of a request that the engine and the policies need at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model that was asked for; empty when the request names none.
    pub model: String,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
    /// What refers to input that stands at the provider, and so is not in the request: the first such member of a
    /// `responses` request (<https://platform.openai.com/docs/api-reference/responses/create>).
    pub stored_input: Option<&'static str>,
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
    let text = decoding::utf8(body)?;
    let (mut model, mut stream) = (Field::default(), Field::default());
    let mut asked = [Field::default(); ASKED.len()];
    let mut references = [Field::<Value>::default(); REFERENCES.len()];
    let mut reader = Reader::new(text);
    reader.object(|reader, key| match key {
        "model" => model.fill(reader, Reader::optional_string),
        "stream" => stream.fill(reader, Reader::optional_bool),
        key => {
            let mut fields = ASKED.iter().zip(&mut asked).chain(REFERENCES.iter().zip(&mut references));
            match fields.find(|(known, _)| **known == key) {
                Some((_, field)) => field.fill(reader, Reader::optional_value),
                None if is_variant(key, &["model", "stream"]) || is_variant(key, &ASKED) || is_variant(key, &REFERENCES) => {
                    Err(reader.malformed())
                }
                None => reader.skip(),
            }
        }
    })?;
    reader.end()?;
    let mut strings = Strings::default();
    let model = strings.read(text, model.get())?;
    let model = strings.get(text, model).to_owned();
    let stored_input = match endpoint {
        Endpoint::Dialect(Dialect::Responses) => {
            let refers = REFERENCES.iter().zip(&references).find(|(_, field)| field.get().is_some()).map(|(key, _)| *key);
            let input = ASKED.iter().zip(&asked).find_map(|(key, field)| field.get().filter(|_| *key == "input"));
            refers.or(if has_item_reference(text, input)? { Some(ITEM_REFERENCE) } else { None })
        }
        _ => None,
    };
    Ok(RequestFacts { model, stream: stream.get().unwrap_or(false), stored_input })
}

/// Whether one of the items of `input` is known to the provider by its id alone. It needs no type to be one.
fn has_item_reference(source: &str, input: Option<Value>) -> Result<bool, DecodeError> {
    let Some(input) = input.filter(|input| input.form == Form::Array) else { return Ok(false) };
    let (mut found, mut strings) = (false, Strings::default());
    Reader::at(source, input).array::<DecodeError>(|reader| {
        let item = reader.optional_members(["type", "id", "role", "content"])?;
        if let Some([kind, id, role, content]) = item {
            let kind = strings.read(source, kind)?;
            let is_reference = match strings.get(source, kind) {
                "" => id.is_some() && role.is_none() && content.is_none(),
                kind => kind == ITEM_REFERENCE,
            };
            found |= is_reference;
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
