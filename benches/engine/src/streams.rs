//! Streams as providers write them, made up here so that they have any wanted length. Every event differs a little from
//! the one before, as in a real answer.

use serde_json::{Value, json};
use weir::dialect::Dialect;

/// A stream of one answer, cut into one chunk per event, as a proxy gets it from a provider that flushes each.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) dialect: Dialect,
    pub(crate) events: Vec<Vec<u8>>,
    /// What a judge of tool calls is asked about. In MCP the call stands in the request: whatever comes is the answer to one.
    pub(crate) tool_calls: usize,
}

const WORDS: [&str; 12] =
    ["The", " third", " build", " machine", " is", " \"almost\"", " full", ":\n", " 94", "%", " – clean", " it."];

/// The fragments that the arguments of a tool call come in.
const ARGUMENTS: [&str; 10] =
    ["{\"mach", "ine\":", "\"build", "-3\",", "\"comm", "and\":\"du", " --max", "-depth 1", " /var/cache", "\"}"];

impl Stream {
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(Vec::len).sum()
    }

    /// Text alone. In MCP it is what the server says before the result.
    pub(crate) fn text(dialect: Dialect, deltas: usize) -> Self {
        Self::answer(dialect, deltas, false)
    }

    /// Text and a tool call at its end.
    pub(crate) fn tool_call(dialect: Dialect, deltas: usize) -> Self {
        Self::answer(dialect, deltas, true)
    }

    fn answer(dialect: Dialect, deltas: usize, tool_call: bool) -> Self {
        let events = match dialect {
            Dialect::Messages => messages(deltas, tool_call),
            Dialect::Responses => responses(deltas, tool_call),
            Dialect::McpTool => mcp_tool(deltas),
            _ => chat(deltas, tool_call),
        };
        Self { dialect, events, tool_calls: usize::from(tool_call || dialect == Dialect::McpTool) }
    }
}

fn words(count: usize) -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().cycle().take(count)
}

fn chat(deltas: usize, tool_call: bool) -> Vec<Vec<u8>> {
    let delta = |delta: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]);
    let fragment = |call: Value| delta(json!({"tool_calls": [call]}));

    let mut choices = vec![delta(json!({"role": "assistant", "content": "", "refusal": null}))];
    choices.extend(words(deltas).map(|word| delta(json!({"content": word}))));
    if tool_call {
        choices.push(fragment(json!({"index": 0, "id": "call_q7Yd0mT3", "type": "function",
            "function": {"name": "run_command", "arguments": ""}})));
        choices.extend(ARGUMENTS.map(|part| fragment(json!({"index": 0, "function": {"arguments": part}}))));
    }
    let reason = if tool_call { "tool_calls" } else { "stop" };
    choices.push(json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": reason}]));

    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "chatcmpl-A8b4rFvQqL3yTn0W", "object": "chat.completion.chunk", "created": 1_760_000_000,
            "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_f85bea6784",
            "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n").into_bytes()
    };
    let mut events: Vec<_> = choices.into_iter().map(|choices| chunk(choices, Value::Null)).collect();
    let usage = json!({"prompt_tokens": 140, "completion_tokens": deltas, "total_tokens": deltas + 140});
    events.push(chunk(json!([]), usage));
    events.push(b"data: [DONE]\n\n".to_vec());
    events
}

fn messages(deltas: usize, tool_call: bool) -> Vec<Vec<u8>> {
    let start = |index: usize, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: usize| json!({"type": "content_block_stop", "index": index});

    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message",
            "role": "assistant", "model": "claude-sonnet-4-5-20250929", "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": {"input_tokens": 140, "output_tokens": 1}}}),
        start(0, json!({"type": "text", "text": ""})),
        json!({"type": "ping"}),
    ];
    events.extend(words(deltas).map(|word| delta(0, json!({"type": "text_delta", "text": word}))));
    events.push(stop(0));
    if tool_call {
        events.push(start(1, json!({"type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2t", "name": "run_command", "input": {}})));
        events.extend(ARGUMENTS.map(|part| delta(1, json!({"type": "input_json_delta", "partial_json": part}))));
        events.push(stop(1));
    }
    let reason = if tool_call { "tool_use" } else { "end_turn" };
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"output_tokens": deltas}}));
    events.push(json!({"type": "message_stop"}));
    named(events)
}

fn responses(deltas: usize, tool_call: bool) -> Vec<Vec<u8>> {
    let response = |status: &str, output: Value| {
        json!({"id": "resp_cf6a51c744e3834e48525f02", "object": "response", "created_at": 1_760_000_000, "status": status,
            "error": null, "incomplete_details": null, "model": "gpt-4.1-mini-2025-04-14", "output": output,
            "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": null})
    };
    // What every event about a part of the answer begins with.
    let about = |kind: &str, output: usize, rest: Value| {
        let mut event = json!({"type": format!("response.{kind}"), "output_index": output});
        event.as_object_mut().into_iter().zip(rest.as_object()).for_each(|(event, rest)| event.extend(rest.clone()));
        event
    };
    let text: String = words(deltas).collect();
    let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    let message = |status: &str, content: Value| json!({"id": "msg_b0916c4b2b840f6fd565", "type": "message", "status": status, "content": content, "role": "assistant"});
    let (of_text, of_call) = ("msg_b0916c4b2b840f6fd565", "fc_47d6ba7ef1ae8b57c759");
    let call = |status: &str, arguments: &str| {
        json!({"id": of_call, "type": "function_call", "status": status, "arguments": arguments,
            "call_id": "call_j6qLFWI9U96rQLOC", "name": "run_command"})
    };

    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]))}),
        about("output_item.added", 0, json!({"item": message("in_progress", json!([]))})),
        about("content_part.added", 0, json!({"item_id": of_text, "content_index": 0, "part": part("")})),
    ];
    events.extend(words(deltas).map(|word| {
        about("output_text.delta", 0, json!({"item_id": of_text, "content_index": 0, "delta": word, "logprobs": []}))
    }));
    let mut output = vec![message("completed", json!([part(&text)]))];
    events.extend([
        about("output_text.done", 0, json!({"item_id": of_text, "content_index": 0, "text": text, "logprobs": []})),
        about("content_part.done", 0, json!({"item_id": of_text, "content_index": 0, "part": part(&text)})),
        about("output_item.done", 0, json!({"item": output[0]})),
    ]);
    if tool_call {
        let arguments = ARGUMENTS.concat();
        output.push(call("completed", &arguments));
        events.push(about("output_item.added", 1, json!({"item": call("in_progress", "")})));
        events
            .extend(ARGUMENTS.map(|part| about("function_call_arguments.delta", 1, json!({"item_id": of_call, "delta": part}))));
        events.push(about("function_call_arguments.done", 1, json!({"item_id": of_call, "arguments": arguments})));
        events.push(about("output_item.done", 1, json!({"item": output[1]})));
    }
    events.push(json!({"type": "response.completed", "response": response("completed", Value::from(output))}));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = Value::from(number);
    }
    named(events)
}

fn mcp_tool(notifications: usize) -> Vec<Vec<u8>> {
    let progress = |(number, word): (usize, &str)| {
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1,
            "progress": number, "total": notifications, "message": word}})
    };
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"isError": false,
        "content": [{"type": "text", "text": "812M\t/var/cache/apt\n9.4G\t/var/cache"}]}});
    let messages = words(notifications).enumerate().map(|(number, word)| progress((number + 1, word))).chain([result]);
    messages.map(|message| format!("event: message\ndata: {message}\n\n").into_bytes()).collect()
}

/// Events that bear their type as their name.
fn named(events: Vec<Value>) -> Vec<Vec<u8>> {
    events
        .into_iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()).into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ARGUMENTS, Dialect, Stream, Value};

    #[test]
    fn the_arguments_of_the_tool_call_are_json() {
        let arguments: Value = serde_json::from_str(&ARGUMENTS.concat()).unwrap();
        assert_eq!(arguments["machine"], "build-3");
    }

    #[test]
    fn a_longer_stream_differs_by_its_deltas_alone() {
        for dialect in [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool] {
            let (short, long) = (Stream::tool_call(dialect, 10), Stream::tool_call(dialect, 25));
            assert_eq!(long.events.len() - short.events.len(), 15);
        }
    }
}
