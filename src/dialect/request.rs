//! What the engine reads of a request body.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{DecodeError, Dialect, document};

/// The facts of a request that the engine and the policies need at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model that was asked for; empty when the request names none.
    pub model: String,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
}

/// The fields that decide what is asked and how it is answered: none of them may stand twice, because proxy and
/// provider could each take another one.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    stream: Option<bool>,
    #[serde(rename = "messages")]
    _messages: Option<IgnoredAny>,
    #[serde(rename = "system")]
    _system: Option<IgnoredAny>,
    #[serde(rename = "tools")]
    _tools: Option<IgnoredAny>,
    #[serde(rename = "tool_choice")]
    _tool_choice: Option<IgnoredAny>,
    #[serde(rename = "functions")]
    _functions: Option<IgnoredAny>,
    #[serde(rename = "n")]
    _n: Option<IgnoredAny>,
}

/// Reads the facts of a request body.
///
/// # Errors
/// When the body is not a request of `dialect`, or one that readers could understand differently.
pub fn read(dialect: Dialect, body: &[u8]) -> Result<RequestFacts, DecodeError> {
    match dialect {
        // What is read so far has the same names in both.
        Dialect::ChatCompletions | Dialect::Messages => {}
    }
    let text = document::utf8(body)?;
    let object_start = text.len().saturating_sub(text.trim_start().len());
    if !text.trim_start().starts_with('{') {
        return Err(DecodeError::Malformed { at: object_start });
    }
    let request: Request<'_> = document::read(text)?;
    Ok(RequestFacts { model: request.model.map(Cow::into_owned).unwrap_or_default(), stream: request.stream.unwrap_or(false) })
}

#[cfg(test)]
mod tests;
