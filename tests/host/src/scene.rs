//! What the scenarios have in common: documents, a provider's stream, a judge's words.

use serde_json::{Value, json};

use crate::Host;

/// The path of the governed endpoint.
pub const CHAT: &str = "/v1/chat/completions";

/// A request for a stream.
pub const ASK_FOR_STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// A request for a whole answer.
pub const ASK_FOR_WHOLE: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// The last event of a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// A document whose chain reads everything and changes nothing.
pub fn reading() -> Value {
    json!({"policy": {"id": "scene", "revision": 1}, "chain": [{"use": "content_transform", "with": {"replace": [{"find": "\u{2603} that nobody says", "with": ""}]}}]})
}

/// A document whose tool calls go to the judge of cluster `judge`.
pub fn judged() -> Value {
    json!({
        "policy": {"id": "scene", "revision": 1},
        "chain": [{"use": "tool_call_judge", "with": {"judge": "main"}}],
        "judges": {"main": {"cluster": "judge", "model": "small"}},
    })
}

/// `document` with further fields.
#[must_use]
pub fn with(mut document: Value, name: &str, value: Value) -> String {
    document[name] = value;
    document.to_string()
}

/// An event with a text.
pub fn text(text: &str) -> String {
    event(&json!({"content": text}), &Value::Null)
}

/// An event with a whole tool call.
pub fn tool_call(index: u32, name: &str, arguments: &str) -> String {
    let function = json!({"name": name, "arguments": arguments});
    event(
        &json!({"tool_calls": [{"index": index, "id": format!("call_{index}"), "type": "function", "function": function}]}),
        &Value::Null,
    )
}

/// The event that ends a choice.
pub fn finish(reason: &str) -> String {
    event(&json!({}), &json!(reason))
}

fn event(delta: &Value, finish_reason: &Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// A whole answer with a tool call.
pub fn whole_tool_call(name: &str, arguments: &str) -> String {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
            "tool_calls": [{"id": "call_0", "type": "function", "function": {"name": name, "arguments": arguments}}]}}],
    })
    .to_string()
}

/// A judge's answer.
pub fn verdict(probability: f64) -> String {
    let content = json!({"probability": probability, "explanation": "because"}).to_string();
    json!({"choices": [{"message": {"role": "assistant", "content": content}}]}).to_string()
}

/// A host and an exchange whose stream has begun.
pub fn streaming(document: &str) -> (Host, u32) {
    streaming_in(Host::new(document).start())
}

/// An exchange in this host whose stream has begun.
pub fn streaming_in(mut host: Host) -> (Host, u32) {
    let exchange = host.request(CHAT, ASK_FOR_STREAM);
    host.provider_answers(exchange, 200, "text/event-stream");
    (host, exchange)
}

/// An exchange in this host whose whole answer has begun, of the length of `body`.
pub fn ask_for_whole(host: &mut Host, body: &str) -> u32 {
    let exchange = host.request(CHAT, ASK_FOR_WHOLE);
    let length = body.len().to_string();
    host.provider_head(
        exchange,
        &[(":status", b"200"), ("content-type", b"application/json"), ("content-length", length.as_bytes())],
        false,
    );
    exchange
}
