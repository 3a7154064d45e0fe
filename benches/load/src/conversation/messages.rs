//! Anthropic messages.

use serde_json::{Value, json};

use super::{Frame, QUESTION, SYSTEM, TOOL, TOOL_DESCRIPTION, TextAnswer, frame, text_of_event, tool_parameters, typed_event};

pub(super) fn request_body() -> Value {
    json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "stream": true,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [{"name": TOOL, "description": TOOL_DESCRIPTION, "input_schema": tool_parameters()}],
    })
}

pub(super) fn text_answer(fragments: usize, size: usize, words: &str) -> TextAnswer {
    TextAnswer {
        opening: frames(&[
            json!({"type": "message_start", "message": {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message",
                "role": "assistant", "model": "claude-sonnet-4-5-20250929", "content": [], "stop_reason": null,
                "stop_sequence": null, "usage": {"input_tokens": 140, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ]),
        text: vec![text(size, words); fragments],
        ending: frames(&[
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": 40}}),
            json!({"type": "message_stop"}),
        ]),
    }
}

fn text(size: usize, words: &str) -> Frame {
    let fragment = |text: &str| {
        typed_event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
    };
    frame(&fragment(&text_of_event(size, words, fragment)))
}

fn frames(events: &[Value]) -> Vec<Frame> {
    events.iter().map(|event| frame(&typed_event(event))).collect()
}
