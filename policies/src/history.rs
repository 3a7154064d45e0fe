//! The tool calls that stand in a request: what the model asked for before.

use serde_json::{Value, json};

use weir::block::ToolCallBlock;

use crate::json::read_object;

/// Longest body that is read for it; a longer one has a history that is not known.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A call of before, with its arguments where all readers read them alike; those of a tool that takes free text are a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PastCall {
    pub(crate) name: String,
    pub(crate) arguments: Option<Value>,
}

/// Reads the calls of the conversation, in their order; `None` where the body is too long, or readers could take it differently.
pub(crate) fn read(body: &[u8]) -> Option<Vec<PastCall>> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    let body = read_object(body)?;
    let mut calls = Vec::new();
    for message in [at(&body, "messages"), at(&body, "input")].into_iter().filter_map(Value::as_array).flatten() {
        take_item(message, &mut calls);
        for call in at(message, "tool_calls").as_array().into_iter().flatten() {
            take(at(at(call, "function"), "name"), written(at(at(call, "function"), "arguments")), &mut calls);
            take(at(at(call, "custom"), "name"), given(at(at(call, "custom"), "input")), &mut calls);
        }
        take(at(at(message, "function_call"), "name"), written(at(at(message, "function_call"), "arguments")), &mut calls);
        at(message, "content").as_array().into_iter().flatten().for_each(|part| take_item(part, &mut calls));
    }
    Some(calls)
}

/// What a client reads: a text where the tool takes free text; `None` where that cannot be told.
pub(crate) fn arguments_of(block: &ToolCallBlock) -> Option<Value> {
    if block.is_free_form() {
        return Some(Value::String(block.arguments().to_owned()));
    }
    if block.has_valid_arguments() { serde_json::from_str(&block.canonical_arguments()).ok() } else { None }
}

/// A member of a value; null where there is none.
fn at<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

/// An item that is a call by itself: of `responses`, and the blocks of `messages`.
fn take_item(item: &Value, calls: &mut Vec<PastCall>) {
    let kind = at(item, "type").as_str().unwrap_or_default();
    let arguments = if at(item, "arguments").is_null() { given(at(item, "input")) } else { written(at(item, "arguments")) };
    if kind.ends_with("_call") || kind.ends_with("tool_use") {
        // Tools without a name go by their type.
        let name = if at(item, "name").is_null() { kind.trim_end_matches("_call").into() } else { at(item, "name").clone() };
        take(&name, arguments, calls);
    }
}

fn take(name: &Value, arguments: Option<Value>, calls: &mut Vec<PastCall>) {
    if let Some(name) = name.as_str() {
        calls.push(PastCall { name: name.to_owned(), arguments });
    }
}

/// Arguments that are written as JSON in a string; none at all are `{}`.
fn written(arguments: &Value) -> Option<Value> {
    match arguments {
        Value::String(text) if text.trim().is_empty() => Some(json!({})),
        Value::String(text) => read_object(text.as_bytes()),
        arguments => given(arguments),
    }
}

/// Arguments that stand there as they are: an object, or the text of a tool that takes one.
fn given(arguments: &Value) -> Option<Value> {
    (!arguments.is_null()).then(|| arguments.clone())
}

#[cfg(test)]
mod tests {
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
            {"type": "function_call", "call_id": "2", "name": "b", "arguments": "{\"x\":1,\"x\":2}"}]});
        for body in [chat, messages, responses] {
            let calls = read(body.to_string().as_bytes()).unwrap();
            let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
            assert_eq!(names, ["a", "b"], "{body}");
            assert_eq!((calls[0].arguments.clone(), calls[1].arguments.clone()), (Some(json!({"x": 1})), None), "{body}");
        }
    }

    #[test]
    fn free_text_stays_text_and_no_arguments_are_an_empty_object() {
        let chat = json!({"messages": [{"role": "assistant", "tool_calls": [
            {"id": "1", "type": "custom", "custom": {"name": "a", "input": "5"}},
            {"id": "2", "type": "function", "function": {"name": "b", "arguments": ""}}]}]});
        let responses = json!({"input": [
            {"type": "custom_tool_call", "call_id": "1", "name": "a", "input": "5"},
            {"type": "function_call", "call_id": "2", "name": "b", "arguments": " "}]});
        for body in [chat, responses] {
            let arguments: Vec<_> = read(body.to_string().as_bytes()).unwrap().into_iter().map(|call| call.arguments).collect();
            assert_eq!(arguments, [Some(json!("5")), Some(json!({}))], "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_has_no_known_history() {
        assert_eq!(read(b"{"), None);
        assert_eq!(read(b"{\"messages\":[],\"messages\":[]}"), None);
        assert_eq!(read(&vec![b' '; MAX_BODY_BYTES + 1]), None);
        assert_eq!(read(b"{}"), Some(Vec::new()));
    }
}
