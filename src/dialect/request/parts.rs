//! The texts of a request: where each stands, what it is, and the request with others in their place.
//!
//! The names of the members differ from API to API and never contradict each other: one reader finds the texts of all
//! of them. What it does not know it skips; a member that it knows must not stand twice, nor in another case: some
//! readers take it for the same.

mod definition;
mod path;
mod walk;

use core::ops::Range;
use std::borrow::Cow;

use self::path::Path;
use self::walk::Walk;
use crate::dialect::DecodeError;
use crate::dialect::decoding::utf8;
use crate::wire::json::{Edits, Reader, to_text, unescape};

/// Most texts that one request may have.
pub const MAX_REQUEST_PARTS: usize = 65_536;

/// What a text of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestScope {
    /// What the operator says: `system`, `instructions`, messages of the roles system and developer.
    System,
    /// What the user says; also what is to be embedded or completed.
    User,
    /// What the model said before, its unsealed reasoning and the answer that is predicted included.
    Assistant,
    /// Name of a tool that the model may call.
    ToolName,
    /// What a tool, or one of its parameters, is said to do: descriptions, titles, examples, grammars.
    ToolDescription,
    /// A string in the arguments of an earlier tool call; all of them where they are no JSON.
    ToolArgument,
    /// What came of a tool call.
    ToolResult,
}

/// A text of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPart<'a> {
    /// What it is.
    pub scope: RequestScope,
    /// Where it stands, such as `messages[2].content[0].text`.
    pub path: String,
    /// Its characters.
    pub text: Cow<'a, str>,
    /// The string in the body, with its quotes.
    literal: Range<usize>,
    /// Where that string is JSON itself, the string in it that this is.
    nested: Option<Range<usize>>,
}

/// A request with other texts: every other byte stays.
#[derive(Debug)]
pub struct RequestRewrite<'a> {
    body: &'a [u8],
    edits: Edits,
    /// The edits of strings that are JSON themselves, each with where it stands in the body.
    nested: Vec<(Range<usize>, Edits)>,
}

impl<'a> RequestRewrite<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, edits: Edits::default(), nested: Vec::new() }
    }

    /// Puts `text` in place of the text of `part`, which must be a part of this body.
    pub fn replace(&mut self, part: &RequestPart<'_>, text: &str) {
        let Some(nested) = &part.nested else {
            self.edits.replace(part.literal.clone(), to_text(text));
            return;
        };
        // Parts are replaced in the order of the body, so that those of one string follow each other.
        let position = self.nested.iter().rposition(|(literal, _)| *literal == part.literal).unwrap_or_else(|| {
            self.nested.push((part.literal.clone(), Edits::default()));
            self.nested.len().saturating_sub(1)
        });
        if let Some((_, edits)) = self.nested.get_mut(position) {
            edits.replace(nested.clone(), to_text(text));
        }
    }

    /// The body; `None` if nothing was replaced.
    pub fn into_body(mut self) -> Option<Vec<u8>> {
        for (literal, edits) in core::mem::take(&mut self.nested) {
            let changed = self.body.get(literal.clone()).and_then(|string| edit_string(string, edits));
            // What was read as JSON in a string is one.
            self.edits.replace(literal, changed.unwrap_or_else(|| "\"\"".to_owned()));
        }
        if self.edits.is_empty() {
            return None;
        }
        let mut body = Vec::with_capacity(self.body.len());
        self.edits.apply(self.body, &mut body);
        Some(body)
    }
}

/// The string `literal` with `edits` in the text that it stands for.
fn edit_string(literal: &[u8], edits: Edits) -> Option<String> {
    let literal = core::str::from_utf8(literal).ok()?;
    let (mut unescaped, mut edited) = (String::new(), Vec::new());
    let text = unescape(literal, &mut unescaped).ok()?.unwrap_or(&unescaped);
    edits.apply(text.as_bytes(), &mut edited);
    core::str::from_utf8(&edited).ok().map(to_text)
}

/// The texts of `body`, in its order.
pub(crate) fn read(body: &[u8]) -> Result<Vec<RequestPart<'_>>, DecodeError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let source = utf8(body)?;
    let mut parts = Vec::new();
    let mut reader = Reader::new(source);
    Walk::new(source, &mut parts).request(&mut reader, &Path::ROOT, 0)?;
    reader.end()?;
    parts.sort_by_key(|part| part.literal.start);
    Ok(parts)
}

#[cfg(test)]
mod tests;
