//! The places in which the dialects say strings: texts, and arguments that come as strings.

use serde_json::Value;
use weir::dialect::Dialect;
use weir_test_support::native::Outcome;
use weir_test_support::script::Script;
use weir_test_support::sse;

use crate::torture::{tortured, values};

/// A place in which a dialect says a string.
pub(crate) struct Place {
    pub(crate) dialect: Dialect,
    pub(crate) says: What,
    /// The events before it on its stream; `None` for a whole body.
    before: Option<&'static [&'static str]>,
    /// The events behind it.
    after: &'static [&'static str],
    /// An event or a whole body, with `VALUE` for the string.
    pub(crate) document: &'static str,
    /// Where the string stands in it.
    pub(crate) path: &'static [&'static str],
}

/// What a string is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Text,
    /// The arguments of a tool call.
    Arguments,
}

/// What deltas said before: a document may be read by the template of one like it.
pub(crate) const SAID_BEFORE: &str = "|";

impl Place {
    /// The document in forms that are written to be misread.
    pub(crate) fn tortured(&self) -> Vec<Vec<u8>> {
        tortured(self.document, &[("VALUE", values())], 1200)
    }

    /// The exchange in which `body` is the document.
    pub(crate) fn script(&self, policies: Value, body: &[u8]) -> Script {
        let Some(before) = self.before else { return Script::whole(self.dialect, policies, vec![body.to_vec()]) };
        let after = self.after.iter().map(|data| data.as_bytes());
        let events = before.iter().map(|data| data.as_bytes()).chain([body]).chain(after);
        let stream = events.flat_map(|data| [b"data: ", data, b"\n\n"].concat()).collect();
        Script::streamed(self.dialect, policies, vec![stream])
    }

    /// Whether the client got what was said before as it came: else it is in what was written anew.
    pub(crate) fn left_before(&self, outcome: &Outcome) -> bool {
        let says_before = |data: &&&str| data.contains(&format!("{SAID_BEFORE:?}"));
        let said = self.before.and_then(|before| before.iter().find(says_before));
        said.is_some_and(|said| sse::read(&outcome.client).iter().any(|event| event.data == **said))
    }

    /// The documents that the client gets, but for those before that left as they came.
    pub(crate) fn left(&self, outcome: &Outcome) -> Vec<Vec<u8>> {
        let Some(before) = self.before else { return vec![outcome.client.clone()] };
        let events = sse::read(&outcome.client).into_iter().map(|event| event.data);
        events.filter(|data| !before.contains(&data.as_str())).map(String::into_bytes).collect()
    }
}

/// Of chat.completions.
pub(crate) fn chat_completions() -> Vec<Place> {
    let dialect = Dialect::ChatCompletions;
    vec![
        Place {
            dialect,
            says: What::Text,
            before: Some(&[r#"{"choices":[{"index":0,"delta":{"content":"|"},"finish_reason":null}]}"#]),
            after: &[],
            document: r#"{"choices":[{"index":0,"delta":{"content":"VALUE"},"finish_reason":null}]}"#,
            path: &["choices", "0", "delta", "content"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: Some(&[
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"|"}}]},"finish_reason":null}]}"#,
            ]),
            after: &[],
            document: r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"VALUE"}}]},"finish_reason":null}]}"#,
            path: &["choices", "0", "delta", "tool_calls", "0", "function", "arguments"],
        },
        Place {
            dialect,
            says: What::Text,
            before: None,
            after: &[],
            document: r#"{"choices":[{"index":0,"message":{"content":"VALUE"},"finish_reason":"stop"}]}"#,
            path: &["choices", "0", "message", "content"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: None,
            after: &[],
            document: r#"{"choices":[{"index":0,"message":{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"VALUE"}}]},"finish_reason":"tool_calls"}]}"#,
            path: &["choices", "0", "message", "tool_calls", "0", "function", "arguments"],
        },
    ]
}

/// Of messages.
pub(crate) fn messages() -> Vec<Place> {
    let dialect = Dialect::Messages;
    vec![
        Place {
            dialect,
            says: What::Text,
            before: Some(&[
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"|"}}"#,
            ]),
            after: &[],
            document: r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"VALUE"}}"#,
            path: &["delta", "text"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: Some(&[
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"|"}}"#,
            ]),
            after: &[
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
            ],
            document: r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"VALUE"}}"#,
            path: &["delta", "partial_json"],
        },
        Place {
            dialect,
            says: What::Text,
            before: None,
            after: &[],
            document: r#"{"type":"message","content":[{"type":"text","text":"VALUE"}],"stop_reason":"end_turn"}"#,
            path: &["content", "0", "text"],
        },
    ]
}

const CREATED: &str = r#"{"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}"#;
const MESSAGE_ADDED: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"m","type":"message","role":"assistant","content":[]}}"#;
const PART_ADDED: &str = r#"{"type":"response.content_part.added","item_id":"m","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#;
const TEXT_DELTA: &str = r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"|"}"#;
const CALL_ADDED: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"f","type":"function_call","call_id":"c","name":"f","arguments":""}}"#;
const ARGUMENTS_DELTA: &str = r#"{"type":"response.function_call_arguments.delta","item_id":"f","output_index":0,"delta":"|"}"#;
/// Says nothing once more.
const CALL_DONE: &str =
    r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"f","type":"function_call","call_id":"c","name":"f"}}"#;

/// Of responses, where it says what it has not said before.
pub(crate) fn responses() -> Vec<Place> {
    let dialect = Dialect::Responses;
    vec![
        Place {
            dialect,
            says: What::Text,
            before: Some(&[CREATED, MESSAGE_ADDED, PART_ADDED, TEXT_DELTA]),
            after: &[],
            document: r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"VALUE"}"#,
            path: &["delta"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: Some(&[CREATED, CALL_ADDED, ARGUMENTS_DELTA]),
            after: &[CALL_DONE],
            document: r#"{"type":"response.function_call_arguments.delta","item_id":"f","output_index":0,"delta":"VALUE"}"#,
            path: &["delta"],
        },
        Place {
            dialect,
            says: What::Text,
            before: None,
            after: &[],
            document: r#"{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"VALUE"}]}]}"#,
            path: &["output", "0", "content", "0", "text"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: None,
            after: &[],
            document: r#"{"status":"completed","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"VALUE"}]}"#,
            path: &["output", "0", "arguments"],
        },
    ]
}

/// Of responses, where the end says what has not been streamed.
pub(crate) fn ends_of_responses() -> Vec<Place> {
    let dialect = Dialect::Responses;
    vec![
        Place {
            dialect,
            says: What::Text,
            before: Some(&[CREATED, MESSAGE_ADDED, PART_ADDED]),
            after: &[],
            document: r#"{"type":"response.output_text.done","item_id":"m","output_index":0,"content_index":0,"text":"VALUE"}"#,
            path: &["text"],
        },
        Place {
            dialect,
            says: What::Text,
            before: Some(&[CREATED, MESSAGE_ADDED, PART_ADDED]),
            after: &[],
            document: r#"{"type":"response.content_part.done","item_id":"m","output_index":0,"content_index":0,"part":{"type":"output_text","text":"VALUE"}}"#,
            path: &["part", "text"],
        },
        Place {
            dialect,
            says: What::Text,
            before: Some(&[CREATED, MESSAGE_ADDED]),
            after: &[],
            document: r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"m","type":"message","role":"assistant","content":[{"type":"output_text","text":"VALUE"}]}}"#,
            path: &["item", "content", "0", "text"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: Some(&[CREATED, CALL_ADDED]),
            after: &[],
            document: r#"{"type":"response.function_call_arguments.done","item_id":"f","output_index":0,"arguments":"VALUE"}"#,
            path: &["arguments"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: Some(&[CREATED, CALL_ADDED]),
            after: &[],
            document: r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"f","type":"function_call","call_id":"c","name":"f","arguments":"VALUE"}}"#,
            path: &["item", "arguments"],
        },
        Place {
            dialect,
            says: What::Text,
            before: Some(&[CREATED]),
            after: &[],
            document: r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"VALUE"}]}]}}"#,
            path: &["response", "output", "0", "content", "0", "text"],
        },
        Place {
            dialect,
            says: What::Arguments,
            before: Some(&[CREATED]),
            after: &[],
            document: r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"VALUE"}]}}"#,
            path: &["response", "output", "0", "arguments"],
        },
    ]
}

/// As [`ends_of_responses`], once more after a delta has said it.
pub(crate) fn repetitions_of_responses() -> Vec<Place> {
    let streamed: fn(What) -> &'static [&'static str] = |what| match what {
        What::Text => &[CREATED, MESSAGE_ADDED, PART_ADDED, TEXT_DELTA],
        What::Arguments => &[CREATED, CALL_ADDED, ARGUMENTS_DELTA],
    };
    ends_of_responses().into_iter().map(|place| Place { before: Some(streamed(place.says)), ..place }).collect()
}

/// Of what MCP servers answer.
pub(crate) fn mcp_results() -> Vec<Place> {
    let dialect = Dialect::McpTool;
    let document = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"VALUE"}],"isError":false}}"#;
    let path = &["result", "content", "0", "text"];
    vec![
        Place { dialect, says: What::Text, before: None, after: &[], document, path },
        Place { dialect, says: What::Text, before: Some(&[]), after: &[], document, path },
        Place {
            dialect,
            says: What::Text,
            before: None,
            after: &[],
            document: r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"city":"VALUE"}}}"#,
            path: &["result", "structuredContent", "city"],
        },
    ]
}
