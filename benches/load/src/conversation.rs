//! What is said in an exchange: the request, and the events of the answer, as the providers write them.

mod chat;
mod mcp;
mod messages;
mod responses;

use serde_json::{Value, json};

pub(crate) use self::chat::{ending, text, tool_call};

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
    #[value(name = "responses")]
    Responses,
    #[value(name = "mcp_tool")]
    McpTool,
}

/// An answer of text alone, made before it is needed: what it takes to make it is not to be measured.
#[derive(Debug)]
pub(crate) struct TextAnswer {
    /// What comes before the text.
    pub(crate) opening: Vec<Frame>,
    /// The fragments of text. In MCP the messages that come before the result.
    pub(crate) text: Vec<Frame>,
    pub(crate) ending: Vec<Frame>,
}

impl Dialect {
    /// Where requests go.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
            Self::McpTool => "/mcp",
        }
    }

    /// The body of a request of an ordinary agent.
    pub(crate) fn request_body(self) -> Vec<u8> {
        let body = match self {
            Self::ChatCompletions => chat::request_body(),
            Self::Messages => messages::request_body(),
            Self::Responses => responses::request_body(),
            Self::McpTool => mcp::request_body(),
        };
        body.to_string().into_bytes()
    }

    /// An answer with so many fragments of text, which say `words` again and again; the event of each has `size` bytes, or as few as
    /// it can.
    pub(crate) fn text_answer(self, fragments: usize, size: usize, words: &str) -> TextAnswer {
        match self {
            Self::ChatCompletions => chat::text_answer(fragments, size, words),
            Self::Messages => messages::text_answer(fragments, size, words),
            Self::Responses => responses::text_answer(fragments, size, words),
            Self::McpTool => mcp::text_answer(fragments, size, words),
        }
    }
}

/// Stands in the last fragment of a tool call, so that the client knows when it has the whole call.
pub(crate) const LAST_FRAGMENT: &[u8] = b"last_fragment";

const SYSTEM: &str = "You are an assistant of the operations team. Use the tools where they help.";
const QUESTION: &str = "Look at the disk usage of the build machines and tell me which one to clean first.";
const TOOL: &str = "run_command";
const TOOL_DESCRIPTION: &str = "Runs a command on one machine and returns its output.";

fn tool_parameters() -> Value {
    json!({"type": "object", "required": ["machine", "command"], "properties": {
        "machine": {"type": "string"}, "command": {"type": "string"},
    }})
}

/// What answers say where nothing else is asked for.
pub(crate) const WORDS: &str = "The third build machine is almost full. ";

/// What an event says for it to have `size` bytes; `event` writes the event that says something.
fn text_of_event(size: usize, words: &str, event: impl Fn(&str) -> String) -> String {
    words.chars().cycle().take(size.saturating_sub(event("").len())).collect()
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

/// An event without a name.
fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// An event whose name is its type.
fn typed_event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
}

fn frame(event: &str) -> Frame {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Frame, Value, WORDS};
    use clap::ValueEnum;

    #[test]
    fn every_fragment_of_text_has_the_wanted_size() {
        for dialect in Dialect::value_variants() {
            let answer = dialect.text_answer(1001, 300, WORDS);
            assert_eq!(answer.text.len(), 1001);
            for frame in answer.text {
                assert!(frame.starts_with(b"12c\r\n"), "{dialect:?}: 300 bytes are 0x12c");
                assert!(frame.ends_with(b"}\n\n\r\n"));
            }
        }
    }

    /// The JSON of an event.
    pub(super) fn data(frame: &Frame) -> Value {
        let frame = String::from_utf8(frame.clone()).unwrap();
        let (_, data) = frame.split_once("data: ").unwrap();
        serde_json::from_str(data).unwrap()
    }
}
