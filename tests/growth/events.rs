//! Writes answers event by event.

use serde_json::{Value, json};

/// Ids that differ at their end alone.
pub(crate) fn long_id(number: usize) -> String {
    format!("call_{number:0>80}")
}

pub(crate) fn body(value: &Value) -> String {
    value.to_string()
}

/// The events, under the names that their types are.
pub(crate) fn stream(events: impl IntoIterator<Item = Value>) -> String {
    let write = |event: Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    events.into_iter().map(write).collect()
}

/// The first events of all blocks, then the second of all, and so on.
pub(crate) fn side_by_side(blocks: impl Iterator<Item = Vec<Value>>) -> Vec<Value> {
    let blocks: Vec<_> = blocks.collect();
    let longest = blocks.iter().map(Vec::len).max().unwrap_or_default();
    (0..longest).flat_map(|position| blocks.iter().filter_map(move |block| block.get(position).cloned())).collect()
}

pub(crate) fn chat(chunks: Vec<Value>) -> String {
    let begin = json!({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]});
    let end = json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
    stream([begin].into_iter().chain(chunks).chain([end])) + "data: [DONE]\n\n"
}

pub(crate) fn chat_chunk(delta: Value) -> Value {
    json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

pub(crate) fn chat_call(index: Option<usize>, id: &str, name: &str, arguments: &str) -> Value {
    let mut call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    if let Some(index) = index {
        call["index"] = json!(index);
    }
    if name.is_empty() {
        call["function"].as_object_mut().unwrap().remove("name");
    }
    call
}

pub(crate) fn call_chunk(number: usize, is_whole: bool) -> Value {
    let arguments = if is_whole { "{\"a\":1}" } else { "{\"a\":" };
    chat_chunk(json!({"tool_calls": [chat_call(Some(number), &long_id(number), "f", arguments)]}))
}

pub(crate) fn more_chunk(number: usize) -> Value {
    chat_chunk(json!({"tool_calls": [{"index": number, "function": {"arguments": "1}"}}]}))
}

pub(crate) fn messages(events: Vec<Value>) -> String {
    let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let begin = json!({"type": "message_start", "message": message});
    let delta = json!({"stop_reason": "tool_use", "stop_sequence": null});
    let end = json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}});
    stream([begin].into_iter().chain(events).chain([end, json!({"type": "message_stop"})]))
}

/// A block with one delta.
pub(crate) fn block(index: usize, begin: Value, kind: &str, field: &str, text: &str) -> Vec<Value> {
    let mut delta = json!({"type": kind});
    delta[field] = json!(text);
    vec![
        json!({"type": "content_block_start", "index": index, "content_block": begin}),
        json!({"type": "content_block_delta", "index": index, "delta": delta}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}

pub(crate) fn tool_use(number: usize) -> Vec<Value> {
    let begin = json!({"type": "tool_use", "id": long_id(number), "name": "f", "input": {}});
    block(number, begin, "input_json_delta", "partial_json", "{\"a\":1}")
}

/// A block with `size` deltas.
pub(crate) fn deltas(begin: &str, kind: &str, field: &str, text: &str, size: usize) -> Vec<Value> {
    let mut open = json!({"type": begin});
    open[field] = json!("");
    let mut events = block(0, open, kind, field, text);
    let more = events[1].clone();
    events.splice(1..1, core::iter::repeat_n(more, size));
    events
}

pub(crate) fn response(output: Vec<Value>) -> Value {
    json!({"id": "r", "object": "response", "created_at": 1, "status": "completed", "error": null, "model": "m",
        "output": output, "tools": []})
}

pub(crate) fn responses(events: Vec<Value>, output: Vec<Value>) -> String {
    let begun = json!({"type": "response.created", "response": {"id": "r", "object": "response", "created_at": 1,
        "status": "in_progress", "error": null, "model": "m", "output": [], "tools": []}});
    let end = json!({"type": "response.completed", "response": response(output)});
    let events = [begun].into_iter().chain(events).chain([end]).enumerate();
    stream(events.map(|(number, mut event)| {
        event["sequence_number"] = json!(number);
        event
    }))
}

pub(crate) fn call_item(number: usize) -> Value {
    json!({"id": format!("fc_{}", long_id(number)), "type": "function_call", "status": "completed", "arguments": "{\"a\":1}",
        "call_id": long_id(number), "name": "f"})
}

/// The events of a call.
pub(crate) fn item_events(number: usize) -> Vec<Value> {
    let item = call_item(number);
    let mut begin = item.clone();
    begin["status"] = json!("in_progress");
    begin["arguments"] = json!("");
    let id = item["id"].clone();
    vec![
        json!({"type": "response.output_item.added", "output_index": number, "item": begin}),
        json!({"type": "response.function_call_arguments.delta", "output_index": number, "item_id": id, "delta": "{\"a\":1}"}),
        json!({"type": "response.function_call_arguments.done", "output_index": number, "item_id": id, "name": "f",
            "arguments": "{\"a\":1}"}),
        json!({"type": "response.output_item.done", "output_index": number, "item": item}),
    ]
}

pub(crate) fn text_item(number: usize, parts: usize) -> Value {
    let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": "a secret"});
    json!({"id": format!("msg_{number}"), "type": "message", "status": "completed", "role": "assistant",
        "content": vec![part; parts]})
}

/// The events of a text part of an item.
pub(crate) fn part_events(item: usize, part: usize) -> Vec<Value> {
    let whole = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": "a secret"});
    let mut empty = whole.clone();
    empty["text"] = json!("");
    let place = |mut event: Value| {
        event["output_index"] = json!(item);
        event["item_id"] = json!(format!("msg_{item}"));
        event["content_index"] = json!(part);
        event
    };
    vec![
        place(json!({"type": "response.content_part.added", "part": empty})),
        place(json!({"type": "response.output_text.delta", "delta": "a secret", "logprobs": []})),
        place(json!({"type": "response.output_text.done", "text": "a secret", "logprobs": []})),
        place(json!({"type": "response.content_part.done", "part": whole})),
    ]
}

/// The events of an item with one text.
pub(crate) fn text_events(item: usize) -> Vec<Value> {
    let begin = json!({"type": "response.output_item.added", "output_index": item, "item": text_item(item, 0)});
    let end = json!({"type": "response.output_item.done", "output_index": item, "item": text_item(item, 1)});
    [begin].into_iter().chain(part_events(item, 0)).chain([end]).collect()
}

pub(crate) fn mcp_call(number: usize) -> Value {
    let params = json!({"name": "f", "arguments": {"a": "a secret"}});
    json!({"jsonrpc": "2.0", "id": long_id(number), "method": "tools/call", "params": params})
}
