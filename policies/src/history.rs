//! The tool calls that stand in a request: what the model asked for before.

use serde_json::Value;

/// Longest body that is read for it; a longer one has a history that is not known.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A call of before, with its arguments where they are JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PastCall {
    pub(crate) name: String,
    pub(crate) arguments: Option<Value>,
}

/// Reads the calls of the conversation, in their order; `None` where the body is too long or no request.
pub(crate) fn read(body: &[u8]) -> Option<Vec<PastCall>> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let mut calls = Vec::new();
    for message in [at(&body, "messages"), at(&body, "input")].into_iter().filter_map(Value::as_array).flatten() {
        take_item(message, &mut calls);
        for call in at(message, "tool_calls").as_array().into_iter().flatten() {
            take(at(at(call, "function"), "name"), at(at(call, "function"), "arguments"), &mut calls);
            take(at(at(call, "custom"), "name"), at(at(call, "custom"), "input"), &mut calls);
        }
        take(at(at(message, "function_call"), "name"), at(at(message, "function_call"), "arguments"), &mut calls);
        at(message, "content").as_array().into_iter().flatten().for_each(|part| take_item(part, &mut calls));
    }
    Some(calls)
}

/// A member of a value; null where there is none.
fn at<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

/// An item that is a call by itself: of `responses`, and the blocks of `messages`.
fn take_item(item: &Value, calls: &mut Vec<PastCall>) {
    let kind = at(item, "type").as_str().unwrap_or_default();
    let arguments = if at(item, "arguments").is_null() { at(item, "input") } else { at(item, "arguments") };
    if kind.ends_with("_call") || kind.ends_with("tool_use") {
        // Tools without a name go by their type.
        let name = if at(item, "name").is_null() { kind.trim_end_matches("_call").into() } else { at(item, "name").clone() };
        take(&name, arguments, calls);
    }
}

fn take(name: &Value, arguments: &Value, calls: &mut Vec<PastCall>) {
    let Some(name) = name.as_str() else { return };
    let arguments = match arguments {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null => None,
        value => Some(value.clone()),
    };
    calls.push(PastCall { name: name.to_owned(), arguments });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_calls_of_every_dialect_are_found_in_their_order() {
        let chat = json!({"messages": [
            {"role": "user", "content": "Go."},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{\"x\":1}"}},
                {"id": "2", "type": "function", "function": {"name": "b", "arguments": "{\"x\":"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "done"}]});
        let messages = json!({"messages": [{"role": "assistant", "content": [
            {"type": "text", "text": "Ok."},
            {"type": "tool_use", "id": "1", "name": "a", "input": {"x": 1}},
            {"type": "tool_use", "id": "2", "name": "b", "input": null}]}]});
        let responses = json!({"input": [
            {"type": "function_call", "call_id": "1", "name": "a", "arguments": "{\"x\":1}"},
            {"type": "function_call", "call_id": "2", "name": "b", "arguments": ""}]});
        for body in [chat, messages, responses] {
            let calls = read(body.to_string().as_bytes()).unwrap();
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            assert_eq!(names, ["a", "b"], "{body}");
            assert_eq!((calls[0].arguments.clone(), calls[1].arguments.clone()), (Some(json!({"x": 1})), None), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_no_known_history() {
        assert_eq!(read(b"{"), None);
        assert_eq!(read(&vec![b' '; MAX_BODY_BYTES + 1]), None);
        assert_eq!(read(b"{}"), Some(Vec::new()));
    }
}
