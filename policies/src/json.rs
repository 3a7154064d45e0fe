//! JSON of which all readers read the same.

use serde_json::Value;
use weir::arguments::Arguments;

/// Reads an object; `None` where the text is none, or one in which a member stands twice: readers differ in which they take.
pub(crate) fn read_object(text: &[u8]) -> Option<Value> {
    let text = core::str::from_utf8(text).ok()?;
    Arguments::read(text)?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_readers_take_differently_is_none() {
        assert_eq!(read_object(b" {\"a\": [1]}\n"), Some(serde_json::json!({"a": [1]})));
        for text in [&b"{\"a\":1,\"a\":2}"[..], b"{\"b\":[{\"a\":1,\"\\u0061\":2}]}", b"[1]", b"{", b"{} {}", b"\xff"] {
            assert_eq!(read_object(text), None, "{}", text.escape_ascii());
        }
    }
}
