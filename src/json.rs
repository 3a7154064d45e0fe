//! Small tools on JSON text that serde_json does not have.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Whether `text` is one JSON object that every reader reads alike: no key twice in one object, no lone surrogate.
pub fn is_unambiguous_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<Unambiguous>(text).is_ok()
}
