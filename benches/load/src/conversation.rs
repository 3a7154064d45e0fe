//! What is said in an exchange: the request, and the events of the answer, as the providers write them.

use serde_json::{Value, json};

/// What the provider writes for one SSE event: one chunk of HTTP/1.1.
pub(crate) type Frame = Vec<u8>;

/// The wire format of an exchange. All measurements know chat.completions; those that take a dialect know the others.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Dialect {
    #[default]
    #[value(name = "chat.completions")]
    ChatCompletions,
    #[value(name = "messages")]
    Messages,
}

impl Dialect {
    /// Where requests go.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// What comes before the text of an answer.
    pub(crate) fn opening(self) -> Vec<Frame> {
        match self {
            Self::ChatCompletions => Vec::new(),
            Self::Messages => vec![
                messages_event(&json!({"type": "message_start", "message": {"id": "msg_01XFDUDYJgAACzvnptvVoYEL",
                    "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929", "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 140, "output_tokens": 1}}})),
                messages_event(
                    &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                ),
            ],
        }
    }

    /// One fragment of text; the whole event has `size` bytes, or as few as it can.
    pub(crate) fn text(self, size: usize) -> Frame {
        let event = |content: &str| match self {
            Self::ChatCompletions => event(&delta(json!({"content": content}), Value::Null)),
            Self::Messages => {
                named_event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": content}}))
            }
        };
        let words = "The third build machine is almost full. ";
        let content: String = words.chars().cycle().take(size.saturating_sub(event("").len())).collect();
        frame(&event(&content))
    }

    /// The end of an answer of text.
    pub(crate) fn ending(self) -> Vec<Frame> {
        match self {
            Self::ChatCompletions => ending("stop"),
            Self::Messages => vec![
                messages_event(&json!({"type": "content_block_stop", "index": 0})),
                messages_event(&json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": 40}})),
                messages_event(&json!({"type": "message_stop"})),
            ],
        }
    }
}

/// Stands in the last fragment of a tool call, so that the client knows when it has the whole call.
pub(crate) const LAST_FRAGMENT: &[u8] = b"last_fragment";

/// The body of a request of an ordinary agent.
pub(crate) fn request_body() -> Vec<u8> {
    json!({
        "model": "gpt-4o-mini",
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": 0.2,
        "messages": [
            {"role": "system", "content": "You are an assistant of the operations team. Use the tools where they help."},
            {"role": "user", "content": "Look at the disk usage of the build machines and tell me which one to clean first."},
        ],
        "tools": [{"type": "function", "function": {
            "name": "run_command",
            "description": "Runs a command on one machine and returns its output.",
            "parameters": {"type": "object", "required": ["machine", "command"], "properties": {
                "machine": {"type": "string"}, "command": {"type": "string"},
            }},
        }}],
    })
    .to_string()
    .into_bytes()
}

/// One fragment of text of chat.completions.
pub(crate) fn text(size: usize) -> Frame {
    Dialect::ChatCompletions.text(size)
}

/// The fragments of one tool call. `unique` goes into its arguments, so that no verdict can be taken from a cache.
pub(crate) fn tool_call(fragments: usize, unique: u64) -> Vec<Frame> {
    let start = json!({"index": 0, "id": format!("call_{unique:016x}"), "type": "function",
        "function": {"name": "run_command", "arguments": ""}});
    let mut frames = vec![tool_call_delta(start)];
    let opening = format!(r#"{{"machine":"build-3","run":"{unique}","command":"du"#);
    frames.push(arguments(&opening));
    for _ in 3..fragments {
        frames.push(arguments(" --max-depth 1 /var/cache"));
    }
    frames.push(arguments(&format!(r#"","{}":true}}"#, String::from_utf8_lossy(LAST_FRAGMENT))));
    frames
}

/// The end of an answer: the finish reason, the usage, the terminator.
pub(crate) fn ending(finish_reason: &str) -> Vec<Frame> {
    let usage = chunk(json!([]), json!({"prompt_tokens": 140, "completion_tokens": 40, "total_tokens": 180}));
    vec![frame(&event(&delta(json!({}), json!(finish_reason)))), frame(&event(&usage)), frame("data: [DONE]\n\n")]
}

/// The answer of a judge that finds nothing wrong.
pub(crate) fn harmless_verdict() -> Vec<u8> {
    let verdict = json!({"probability": 0.0, "explanation": "ok"}).to_string();
    json!({
        "id": "chatcmpl-judge", "object": "chat.completion", "created": 1_760_000_000, "model": "small-judge",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": verdict}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 12, "total_tokens": 102},
    })
    .to_string()
    .into_bytes()
}

fn arguments(fragment: &str) -> Frame {
    tool_call_delta(json!({"index": 0, "function": {"arguments": fragment}}))
}

fn tool_call_delta(call: Value) -> Frame {
    frame(&event(&delta(json!({"tool_calls": [call]}), Value::Null)))
}

fn delta(delta: Value, finish_reason: Value) -> Value {
    let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
    chunk(json!([choice]), Value::Null)
}

fn chunk(choices: Value, usage: Value) -> Value {
    json!({
        "id": "chatcmpl-A8b4rFvQqL3yTn0W", "object": "chat.completion.chunk", "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_f85bea6784",
        "choices": choices, "usage": usage,
    })
}

fn event(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

fn messages_event(event: &Value) -> Frame {
    frame(&named_event(event))
}

fn named_event(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
}

fn frame(event: &str) -> Frame {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use memchr::memmem;

    use super::{LAST_FRAGMENT, Value, ending, text, tool_call};

    #[test]
    fn a_text_event_has_the_wanted_size() {
        let frame = text(300);
        assert!(frame.starts_with(b"12c\r\ndata: {"), "300 bytes are 0x12c");
        assert!(frame.ends_with(b"}\n\n\r\n"));
    }

    #[test]
    fn the_fragments_of_a_tool_call_are_one_json_document() {
        let frames = tool_call(10, 7);
        assert_eq!(frames.len(), 10);
        let arguments: String = frames.iter().map(|frame| fragment(frame)).collect();
        let arguments: Value = serde_json::from_str(&arguments).unwrap();
        assert_eq!(arguments["run"], "7");
        assert!(memmem::find(frames.last().unwrap(), LAST_FRAGMENT).is_some());
    }

    #[test]
    fn the_terminator_is_the_last_event() {
        assert_eq!(ending("stop").last().unwrap(), b"e\r\ndata: [DONE]\n\n\r\n");
    }

    fn fragment(frame: &[u8]) -> String {
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let (_, chunk) = text.split_once("data: ").unwrap();
        let chunk: Value = serde_json::from_str(chunk.trim()).unwrap();
        chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap().to_owned()
    }
}
