//! The definitions of tools.

use super::RequestScope;
use super::path::Path;
use super::walk::{Index, Outcome, Walk, deeper, note};
use crate::dialect::decoding::is_variant;
use crate::wire::json::{Field, Reader};

/// The members of a tool that are not those of a schema.
const DEFINED: [&str; 7] = ["name", "description", "server_description", "function", "custom", "tools", "input_examples"];

/// The members whose string says what a tool or a parameter does; `definition` is a grammar.
const DESCRIPTIONS: [&str; 4] = ["description", "server_description", "title", "definition"];

impl<'d> Walk<'d, '_> {
    /// A tool's definition, or a part of one; `is_tool` while it can be the tool itself.
    pub(super) fn definition(&mut self, reader: &mut Reader<'d>, is_tool: bool, path: &Path<'_>, depth: usize) -> Outcome {
        let depth = deeper(depth, reader)?;
        match reader.peek() {
            Some(b'{') => {
                let mut name = Field::default();
                let mut descriptions = [Field::default(); DESCRIPTIONS.len()];
                reader.object(|reader, key| {
                    let mut described = DESCRIPTIONS.iter().zip(&mut descriptions);
                    let (field, scope) = match key {
                        "name" if is_tool => (&mut name, RequestScope::ToolName),
                        key => match described.find(|(known, _)| **known == key) {
                            Some((_, field)) => (field, RequestScope::ToolDescription),
                            None if is_tool && is_variant(key, &DEFINED) => return Err(reader.malformed().into()),
                            None => return self.undescribed(reader, key, is_tool, path, depth),
                        },
                    };
                    note(field, reader)?;
                    if reader.peek() != Some(b'"') {
                        // A parameter that is called so.
                        return self.definition(reader, false, &path.member(key), depth);
                    }
                    let literal = reader.optional_string()?;
                    self.note(scope, &path.member(key), literal)
                })
            }
            Some(b'[') => {
                let mut index = Index::default();
                reader.array(|reader| self.definition(reader, is_tool, &path.element(index.next()), depth))
            }
            _ => Ok(reader.skip()?),
        }
    }

    /// A member of a definition that is no description of itself: examples, or what has descriptions in it.
    fn undescribed(&mut self, reader: &mut Reader<'d>, key: &str, is_tool: bool, path: &Path<'_>, depth: usize) -> Outcome {
        let path = path.member(key);
        // In a schema examples are a list; a parameter that is called so is an object.
        if matches!(key, "examples" | "input_examples") && reader.peek() == Some(b'[') {
            let examples = reader.optional_value()?;
            return self.leaves(RequestScope::ToolDescription, &path, examples);
        }
        self.definition(reader, is_tool && matches!(key, "function" | "custom" | "tools"), &path, depth)
    }
}
