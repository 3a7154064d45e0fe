//! What a hostile provider of `responses` may try: the dialect says everything several times, and its clients differ in
//! which of it they take.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::legality;
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};

use crate::{play, test};

const RESPONSES: Dialect = Dialect::Responses;

/// A judge that has something against all that says so.
fn judged(script: Script) -> Outcome {
    play(&script.judged(JudgeRule::new("harmful", JudgeReply::Verdict(0.9))).judged(JudgeRule::new("", JudgeReply::Verdict(0.0))))
}

fn streamed(chain: &Value, events: &[Value]) -> Outcome {
    let mut body = String::new();
    for (number, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["sequence_number"] = json!(number);
        body.push_str(&format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    }
    judged(Script::events(RESPONSES, document(chain.clone()), body.as_bytes()))
}

fn whole(chain: &Value, body: &Value) -> Outcome {
    judged(Script::whole(RESPONSES, document(chain.clone()), vec![body.to_string().into_bytes()]))
}

fn response(status: &str, output: &Value) -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": output})
}

fn created() -> Value {
    json!({"type": "response.created", "response": response("in_progress", &json!([]))})
}

fn completed(output: &Value) -> Value {
    json!({"type": "response.completed", "response": response("completed", output)})
}

fn added(item: &Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": 0, "item": item})
}

fn done(item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": 0, "item": item})
}

/// An event about the only part of the only item.
fn of_part(kind: &str, key: &str, value: impl Into<Value>) -> Value {
    let mut event = json!({"type": kind, "item_id": "msg_1", "output_index": 0, "content_index": 0});
    event[key] = value.into();
    event
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn message(part: &Value) -> Value {
    json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
}

/// A response of one message whose text comes as `delta` and is repeated as `part`, in this many ends of it.
fn text(delta: &str, part: &Value, ends: usize) -> Vec<Value> {
    let mut empty = message(part);
    empty["content"] = json!([]);
    let mut events = vec![
        created(),
        added(&empty),
        of_part("response.content_part.added", "part", self::part("")),
        of_part("response.output_text.delta", "delta", delta),
        of_part("response.output_text.done", "text", part["text"].clone()),
    ];
    events.extend((0..ends).map(|_| of_part("response.content_part.done", "part", part.clone())));
    events.extend([done(&message(part)), completed(&json!([message(part)]))]);
    events
}

fn call(arguments: &str) -> Value {
    json!({"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "get",
        "arguments": arguments})
}

fn ask_about_text() -> Value {
    json!([{"use": "ask_about_text", "with": {"silently": true}}])
}

fn ask_judge() -> Value {
    json!([{"use": "ask_judge", "with": {"message": null}}])
}

fn assert_withheld(outcome: &Outcome) {
    assert!(!outcome.text().contains("harmful"), "{}", outcome.text());
}

#[test]
fn what_may_not_be_said_otherwise_is_never_repeated() {
    let outcome = streamed(&ask_about_text(), &text("fine", &part("harmful"), 1));
    legality::assert_stream(RESPONSES, &outcome.client);
    assert_withheld(&outcome);
    let arguments = |kind: &str, key: &str, text: &str| {
        let mut event = json!({"type": kind, "item_id": "fc_1", "output_index": 0});
        event[key] = json!(text);
        event
    };
    let other = call(r#"{"a":"harmful"}"#);
    let outcome = streamed(
        &ask_judge(),
        &[
            created(),
            added(&call("")),
            arguments("response.function_call_arguments.delta", "delta", r#"{"a":"fine"}"#),
            arguments("response.function_call_arguments.done", "arguments", r#"{"a":"harmful"}"#),
            done(&other),
            completed(&json!([other])),
        ],
    );
    legality::assert_stream(RESPONSES, &outcome.client);
    assert_withheld(&outcome);
}

#[test]
fn a_part_with_two_texts_is_edited_where_its_type_says_that_its_text_is() {
    let part = json!({"type": "output_text", "text": "harmful", "refusal": "", "annotations": []});
    let outcome = streamed(&ask_about_text(), &text("harmful", &part, 1));
    legality::assert_stream(RESPONSES, &outcome.client);
    assert_withheld(&outcome);
    assert_withheld(&whole(&ask_about_text(), &response("completed", &json!([message(&part)]))));
}

#[test]
fn text_is_seen_whatever_item_it_is_in() {
    for kind in ["compaction", "mcp_list_tools", "novel", "reasoning"] {
        let item = json!({"id": "item_1", "type": kind, "encrypted_content": "sealed"});
        let events = [
            created(),
            added(&item),
            of_part("response.output_text.delta", "delta", "harmful"),
            of_part("response.output_text.done", "text", "harmful"),
            of_part("response.content_part.done", "part", part("harmful")),
            done(&item),
            completed(&json!([item])),
        ];
        assert_withheld(&streamed(&ask_about_text(), &events));
    }
}

#[test]
fn reasoning_with_an_empty_seal_is_open() {
    let item = |content: Value| {
        json!({"id": "rs_1", "type": "reasoning", "status": "completed", "summary": [], "content": content,
            "encrypted_content": ""})
    };
    let whole = item(json!([{"type": "reasoning_text", "text": "harmful"}]));
    let events = [
        created(),
        added(&item(json!([]))),
        of_part("response.reasoning_text.delta", "delta", "harmful"),
        done(&whole),
        completed(&json!([whole])),
    ];
    assert_withheld(&streamed(&ask_about_text(), &events));
}

#[test]
fn the_whole_text_of_a_response_is_what_its_output_says() {
    let saying = |output_text: &str| {
        let mut response = response("completed", &json!([message(&part("fine"))]));
        response["output_text"] = json!(output_text);
        response
    };
    for chain in [json!([{"use": "no_op"}]), json!([{"use": "watch"}])] {
        let outcome = whole(&chain, &saying("fine"));
        assert_eq!(outcome.client, saying("fine").to_string().into_bytes());
    }
    assert_withheld(&whole(&ask_about_text(), &saying("harmful")));
    let mut events = text("fine", &part("fine"), 1);
    events.pop();
    events.push(json!({"type": "response.completed", "response": saying("harmful")}));
    assert_withheld(&streamed(&ask_about_text(), &events));
    events.pop();
    let mut unrepeated = saying("fine");
    unrepeated["output"] = json!([]);
    events.push(json!({"type": "response.completed", "response": unrepeated}));
    let outcome = streamed(&json!([{"use": "uppercase"}]), &events);
    assert!(!outcome.text().contains("fine"), "{}", outcome.text());
    let mut begun = response("in_progress", &json!([]));
    begun["output_text"] = json!("harmful");
    assert_withheld(&streamed(&ask_about_text(), &[json!({"type": "response.created", "response": begun})]));
}

#[test]
fn a_response_ends_once() {
    let output = json!([call(r#"{"a":"harmful"}"#)]);
    let outcome = streamed(&ask_judge(), &[created(), completed(&output), completed(&output)]);
    assert!(!outcome.text().contains("function_call"), "{}", outcome.text());
}

#[test]
fn a_call_that_never_ends_is_not_whole() {
    let item = json!({"id": "item_1", "type": "robot_call", "call_id": "call_1", "command": "harmful"});
    assert_withheld(&streamed(&ask_judge(), &[created(), added(&item), completed(&json!([]))]));
}

#[test]
fn only_the_known_states_of_calls_pass_unseen() {
    for more in [json!({}), json!({"output_index": 0})] {
        let mut said = json!({"type": "response.robot_call.said", "text": "harmful"});
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let item = json!({"id": "item_1", "type": "robot_call", "call_id": "call_1"});
        let events = [created(), added(&item), said, done(&item), completed(&json!([item]))];
        assert_withheld(&streamed(&ask_about_text(), &events));
    }
}

#[test]
fn a_text_is_not_repeated_without_end() {
    let long = "x".repeat(100_000);
    let mut events = text(&long, &part("y"), 1_000);
    events[4]["text"] = json!(long);
    let outcome = streamed(&json!([{"use": "uppercase"}]), &events);
    assert!(outcome.client.len() < 20 * long.len(), "{} bytes", outcome.client.len());
}

#[test]
fn a_word_is_seen_though_it_comes_in_pieces_in_an_item_of_unknown_type() {
    let item = json!({"id": "msg_1", "type": "x_message", "role": "assistant", "content": []});
    let events = [
        created(),
        added(&item),
        of_part("response.content_part.added", "part", part("")),
        of_part("response.output_text.delta", "delta", "harm"),
        of_part("response.output_text.delta", "delta", "ful"),
        completed(&json!([])),
    ];
    assert_withheld(&streamed(&ask_about_text(), &events));
    let outcome = streamed(&json!([{"use": "watch"}]), &events);
    assert!(outcome.events_of("watch.content").iter().any(|event| event.metadata["text"] == "harmful"), "{}", outcome.text());
}

#[test]
fn odd_streams_are_followed() {
    let done_call = json!({"type": "function_call", "name": "f", "arguments": "{}"});
    let reasoning = json!({"type": "reasoning"});
    let unannounced = [of_part("response.output_text.delta", "delta", "a")];
    let index_again = [added(&reasoning), done(&reasoning), added(&json!({"type": "message"}))];
    let end_alone = [done(&done_call)];
    for chain in [json!([]), json!([{"use": "watch"}]), ask_about_text(), ask_judge()] {
        for events in [unannounced.as_slice(), &index_again, &end_alone] {
            let outcome = streamed(&chain, events);
            assert_ne!(outcome.enforcement()["reason_code"], "RESPONSE_MALFORMED", "{chain}: {}", outcome.text());
        }
        assert!(streamed(&chain, &unannounced).text().contains(r#""delta":"a""#), "{chain}");
        assert!(streamed(&chain, &end_alone).text().contains("function_call"), "{chain}");
    }
}

#[test]
fn a_text_that_nobody_announces_becomes_a_whole_message_where_a_policy_ends_the_answer() {
    let chain = json!([{"use": "finish_after", "with": {"bytes": 10}}]);
    let long = "x".repeat(20);
    let outcome = streamed(&chain, &[created(), of_part("response.output_text.delta", "delta", long)]);
    legality::assert_stream(RESPONSES, &outcome.client);
}
