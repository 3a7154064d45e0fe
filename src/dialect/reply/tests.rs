use serde_json::{Value, json};

use super::*;
use crate::answer::AnswerBlock;
use crate::dialect::testing::{data_of, keep, run_body};

fn reply(dialect: Dialect, ending: Ending, streamed: bool) -> Reply {
    let blocks = vec![AnswerBlock::Text("not \"this\"".to_owned())];
    let said = Answer { choices: vec![AnswerChoice { blocks, ending }], ..Answer::default() };
    let origin = Origin { call_id: "42", model: "m\"", created: 7 };
    answer(dialect, &origin, &said, streamed).unwrap()
}

#[test]
fn whole_answers_have_the_shape_of_the_api() {
    let chat = reply(Dialect::ChatCompletions, Ending::Stop, false);
    assert_eq!((chat.status, chat.content_type), (200, "application/json"));
    let expected = json!({
        "id": "chatcmpl-42", "object": "chat.completion", "created": 7, "model": "m\"",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "not \"this\"", "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    });
    assert_eq!(serde_json::from_slice::<Value>(&chat.body).unwrap(), expected);
    let messages = reply(Dialect::Messages, Ending::Refusal, false);
    let expected = json!({
        "id": "msg_42", "type": "message", "role": "assistant", "model": "m\"",
        "content": [{"type": "text", "text": "not \"this\""}], "stop_reason": "refusal", "stop_sequence": null,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    });
    assert_eq!(serde_json::from_slice::<Value>(&messages.body).unwrap(), expected);
}

#[test]
fn streamed_and_whole_answers_say_the_same() {
    for dialect in [Dialect::ChatCompletions, Dialect::Messages] {
        for ending in [Ending::Stop, Ending::Refusal] {
            let whole = String::from_utf8(reply(dialect, ending, false).body).unwrap();
            let (whole, _) = run_body(dialect, &whole, |_| Default::default(), &[]).unwrap();
            let streamed = reply(dialect, ending, true);
            assert_eq!(streamed.content_type, "text/event-stream");
            let streamed = keep(dialect, core::str::from_utf8(&streamed.body).unwrap());
            assert_eq!(streamed.error, None);
            let finish = |parts: &[String]| {
                parts.iter().filter(|part| part.starts_with("finish") || *part == "end").cloned().collect::<Vec<_>>()
            };
            assert_eq!(finish(&streamed.parts), finish(&whole));
            assert!(streamed.parts.iter().any(|part| part.contains(r#"not \"this\""#)));
        }
    }
}

#[test]
fn a_streamed_chat_answer_has_role_content_and_finish_chunks() {
    let chunks = data_of(&reply(Dialect::ChatCompletions, Ending::Stop, true).body);
    let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(deltas, [&json!({"role": "assistant", "content": ""}), &json!({"content": "not \"this\""}), &json!({})]);
    assert!(chunks.iter().all(|chunk| chunk["id"] == "chatcmpl-42" && chunk["created"] == 7));
}

#[test]
fn errors_have_the_shape_and_the_types_of_the_api() {
    let body = |dialect, status| {
        let reply = error(dialect, status, "policy_refused", "no");
        assert_eq!(reply.status, status);
        serde_json::from_slice::<Value>(&reply.body).unwrap()
    };
    let chat = |kind: &str| json!({"error": {"message": "no", "type": kind, "param": null, "code": "policy_refused"}});
    let messages = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "no"}});
    let cases = [
        (400, "invalid_request_error", "invalid_request_error"),
        (403, "permission_error", "permission_error"),
        (413, "invalid_request_error", "request_too_large"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "api_error", "api_error"),
        (503, "api_error", "overloaded_error"),
    ];
    for (status, chat_type, messages_type) in cases {
        assert_eq!(body(None, status), chat(chat_type));
        assert_eq!(body(Some(Dialect::ChatCompletions), status), chat(chat_type));
        assert_eq!(body(Some(Dialect::Messages), status), messages(messages_type));
    }
}
