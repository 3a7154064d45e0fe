//! OpenAI chat completions.

use serde_json::{Value, json};

use super::{
    Frame, LAST_FRAGMENT, QUESTION, SYSTEM, TOOL, TOOL_DESCRIPTION, TextAnswer, WORDS, event, frame, text_of_event,
    tool_parameters,
};

pub(super) fn request_body() -> Value {
    json!({
        "model": "gpt-4o-mini",
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": 0.2,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
        "tools": [{"type": "function", "function": {
            "name": TOOL, "description": TOOL_DESCRIPTION, "parameters": tool_parameters(),
        }}],
    })
}

pub(super) fn text_answer(fragments: usize, size: usize, words: &str) -> TextAnswer {
    TextAnswer { opening: Vec::new(), text: vec![text_saying(size, words); fragments], ending: ending("stop") }
}

/// One fragment of text.
pub(crate) fn text(size: usize) -> Frame {
    text_saying(size, WORDS)
}

fn text_saying(size: usize, words: &str) -> Frame {
    let fragment = |content: &str| event(&delta(json!({"content": content}), Value::Null));
    frame(&fragment(&text_of_event(size, words, fragment)))
}

/// The fragments of one tool call. `unique` goes into its arguments, so that no verdict can be taken from a cache.
pub(crate) fn tool_call(fragments: usize, unique: u64) -> Vec<Frame> {
    let start = json!({"index": 0, "id": format!("call_{unique:016x}"), "type": "function",
        "function": {"name": TOOL, "arguments": ""}});
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

#[cfg(test)]
mod tests {
    use memchr::memmem;

    use super::super::tests::data;
    use super::{LAST_FRAGMENT, Value, ending, tool_call};

    #[test]
    fn the_fragments_of_a_tool_call_are_one_json_document() {
        let frames = tool_call(10, 7);
        assert_eq!(frames.len(), 10);
        let fragment =
            |chunk: Value| chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap().to_owned();
        let arguments: String = frames.iter().map(|frame| fragment(data(frame))).collect();
        let arguments: Value = serde_json::from_str(&arguments).unwrap();
        assert_eq!(arguments["run"], "7");
        assert!(memmem::find(frames.last().unwrap(), LAST_FRAGMENT).is_some());
    }

    #[test]
    fn the_terminator_is_the_last_event() {
        assert_eq!(ending("stop").last().unwrap(), b"e\r\ndata: [DONE]\n\n\r\n");
    }
}
