//! OpenAI responses.

use serde_json::{Value, json};

use super::{Frame, QUESTION, SYSTEM, TOOL, TOOL_DESCRIPTION, TextAnswer, frame, text_of_event, tool_parameters, typed_event};

const ITEM_ID: &str = "msg_0ad69c3c5fcb01f60068eba7956c948193be6ab573376051d6";

pub(super) fn request_body() -> Value {
    json!({
        "model": "gpt-4.1-mini",
        "stream": true,
        "instructions": SYSTEM,
        "input": [{"role": "user", "content": QUESTION}],
        "tools": [{"type": "function", "name": TOOL, "description": TOOL_DESCRIPTION, "parameters": tool_parameters()}],
    })
}

/// The whole text is said four more times when it is complete, as the API does.
pub(super) fn text_answer(fragments: usize, size: usize, words: &str) -> TextAnswer {
    let mut events = Numbered(0);
    let opening = vec![
        events.next(json!({"type": "response.created", "response": response("in_progress", json!([]))})),
        events.next(json!({"type": "response.output_item.added", "output_index": 0, "item": item("in_progress", json!([]))})),
        events.next(about_text(json!({"type": "response.content_part.added", "part": part("")}))),
    ];
    let mut whole = String::new();
    let mut text = Vec::with_capacity(fragments);
    for _ in 0..fragments {
        let fragment = |text: &str| {
            about_text(json!({"type": "response.output_text.delta", "delta": text, "logprobs": [], "obfuscation": "z823ifMVbk"}))
        };
        let said = text_of_event(size, words, |text| events.peek(fragment(text)));
        text.push(events.next(fragment(&said)));
        whole.push_str(&said);
    }
    let complete = item("completed", json!([part(&whole)]));
    let ending = vec![
        events.next(about_text(json!({"type": "response.output_text.done", "text": whole, "logprobs": []}))),
        events.next(about_text(json!({"type": "response.content_part.done", "part": part(&whole)}))),
        events.next(json!({"type": "response.output_item.done", "output_index": 0, "item": complete})),
        events.next(json!({"type": "response.completed", "response": response("completed", json!([complete]))})),
    ];
    TextAnswer { opening, text, ending }
}

/// Numbers the events of a stream.
struct Numbered(usize);

impl Numbered {
    fn next(&mut self, event: Value) -> Frame {
        let frame = frame(&self.peek(event));
        self.0 += 1;
        frame
    }

    /// How the event would be written if it were the next.
    fn peek(&self, mut event: Value) -> String {
        event["sequence_number"] = Value::from(self.0);
        typed_event(&event)
    }
}

fn about_text(mut event: Value) -> Value {
    event["item_id"] = Value::from(ITEM_ID);
    event["output_index"] = Value::from(0);
    event["content_index"] = Value::from(0);
    event
}

fn response(status: &str, output: Value) -> Value {
    json!({"id": "resp_cf6a51c744e3834e48525f02", "object": "response", "created_at": 1_760_000_000, "status": status,
        "error": null, "incomplete_details": null, "model": "gpt-4.1-mini-2025-04-14", "output": output,
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": null})
}

fn item(status: &str, content: Value) -> Value {
    json!({"id": ITEM_ID, "type": "message", "status": status, "content": content, "role": "assistant"})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

#[cfg(test)]
mod tests {
    use super::super::tests::data;
    use super::text_answer;

    #[test]
    fn the_events_are_numbered_and_the_end_repeats_what_was_said() {
        let answer = text_answer(20, 300, crate::conversation::WORDS);
        let events: Vec<_> = [answer.opening, answer.text, answer.ending].concat().iter().map(data).collect();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
        let said: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        let completed = events.last().unwrap();
        assert_eq!(completed["type"], "response.completed");
        assert_eq!(completed["response"]["output"][0]["content"][0]["text"], said);
    }
}
