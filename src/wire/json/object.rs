//! Objects that readers could take differently, such as the arguments of a tool call.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Form, Malformed, Reader, to_text, unescape_into};

/// How deep an object may be nested to be put into canonical form: as deep as serde_json reads.
const MAX_DEPTH: usize = 128;

/// Whether `text` is one JSON object that every reader reads alike: no key twice in one object, no lone surrogate.
/// (serde_json itself refuses lone surrogates and nesting deeper than 128.)
pub(crate) fn is_unambiguous_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<Unambiguous>(text).is_ok()
}

/// A JSON value in which no object has a key twice; the value itself is not kept.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_unit<E: Error>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Unambiguous, A::Error> {
        while elements.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unambiguous, A::Error> {
        let mut keys = hashbrown::HashSet::new();
        while let Some(key) = members.next_key::<Key<'de>>()? {
            if !keys.insert(key.0) {
                return Err(A::Error::custom("a key stands twice in one object"));
            }
            members.next_value::<Unambiguous>()?;
        }
        Ok(Unambiguous)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The object `text` as readers understand it: escapes resolved, keys sorted, no white space. Numbers stay as they are
/// written: readers differ in how many digits they keep. `None` if it is no object, or one that readers take differently.
pub(crate) fn canonical(text: &str) -> Option<String> {
    if !is_unambiguous_object(text) {
        return None;
    }
    let (mut reader, mut out) = (Reader::new(text), String::with_capacity(text.len()));
    write_canonical(text, &mut reader, MAX_DEPTH, &mut out).ok()?;
    Some(out)
}

fn write_canonical(text: &str, reader: &mut Reader<'_>, depth: usize, out: &mut String) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or_else(|| reader.malformed())?;
    match reader.peek() {
        Some(b'{') => {
            let mut members = BTreeMap::new();
            reader.object(|reader, key| {
                let mut value = String::new();
                write_canonical(text, reader, depth, &mut value)?;
                members.insert(key.to_owned(), value);
                Ok::<_, Malformed>(())
            })?;
            write_list('{', members.iter().map(|(key, value)| [&to_text(key), ":", value].concat()), '}', out);
        }
        Some(b'[') => {
            let mut elements = Vec::new();
            reader.array(|reader| {
                let mut value = String::new();
                write_canonical(text, reader, depth, &mut value)?;
                elements.push(value);
                Ok::<_, Malformed>(())
            })?;
            write_list('[', elements.into_iter(), ']', out);
        }
        _ => match reader.optional_value()? {
            None => out.push_str("null"),
            Some(value) => {
                let scalar = text.get(value.start..value.end).unwrap_or_default();
                match value.form {
                    Form::EscapedString => {
                        let mut unescaped = String::new();
                        let inner = text.get(value.start.saturating_add(1)..value.end.saturating_sub(1)).unwrap_or_default();
                        unescape_into(inner, &mut unescaped).map_err(|_| Malformed { at: value.start })?;
                        out.push_str(&to_text(&unescaped));
                    }
                    _ => out.push_str(scalar),
                }
            }
        },
    }
    Ok(())
}

fn write_list(open: char, items: impl Iterator<Item = String>, close: char, out: &mut String) {
    out.push(open);
    for (position, item) in items.enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(close);
}
