//! What a hostile provider may try: to show the client another tool call than the one that was judged. The official
//! clients find blocks and calls by their place in a list, take `message_start` as it stands, and look for JSON whatever
//! the content type says.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::legality;
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const RESPONSES: Dialect = Dialect::Responses;
const MCP: Dialect = Dialect::McpTool;

/// The events of a stream of messages, or of chat.completions, where the terminator is added.
fn stream(dialect: Dialect, events: &[Value]) -> Vec<u8> {
    let mut body = String::new();
    for event in events {
        if dialect != CHAT {
            body.push_str(&format!("event: {}\n", event["type"].as_str().unwrap()));
        }
        body.push_str(&format!("data: {event}\n\n"));
    }
    if dialect == CHAT {
        body.push_str("data: [DONE]\n\n");
    }
    body.into_bytes()
}

/// Plays a stream with a judge that lets everything pass.
fn judged(dialect: Dialect, events: &[Value]) -> Outcome {
    let script = Script::events(dialect, document(json!([{"use": "ask_judge"}])), &stream(dialect, events))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
    play(&script)
}

/// What the judge was asked: name and arguments of each call.
fn questions(outcome: &Outcome) -> Vec<(String, String)> {
    let asked = outcome.callouts.iter().map(|callout| {
        let body: Value = serde_json::from_slice(&callout.body).unwrap();
        let matter = body["messages"][1]["content"].as_str().unwrap().to_owned();
        let (name, arguments) = matter.split_once('\n').unwrap();
        (name.to_owned(), arguments.to_owned())
    });
    asked.collect()
}

fn begin(content: Value) -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": content, "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}}})
}

fn tool_start(index: u32, name: &str) -> Value {
    json!({"type": "content_block_start", "index": index,
        "content_block": {"type": "tool_use", "id": format!("toolu_{name}"), "name": name, "input": {}}})
}

fn input(index: u32, text: &str) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": text}})
}

fn stop(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end() -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

/// Tool calls as the official clients of messages build them: a block's place in the list is what counts.
fn calls_by_place(body: &[u8]) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    for event in data(body) {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                calls.push((event["content_block"]["name"].as_str().unwrap_or_default().to_owned(), String::new()));
            }
            "content_block_delta" => {
                let place = usize::try_from(event["index"].as_u64().unwrap()).unwrap();
                calls[place].1.push_str(event["delta"]["partial_json"].as_str().unwrap_or_default());
            }
            _ => {}
        }
    }
    calls
}

/// Tool calls as the official client of chat.completions builds them in JavaScript (by index, the last name counts).
fn calls_by_index(body: &[u8]) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    for chunk in data(body) {
        for call in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if calls.len() <= index {
                assert_eq!(calls.len(), index, "an index leaves a gap: {}", String::from_utf8_lossy(body));
                calls.push((String::new(), String::new()));
            }
            if let Some(name) = call["function"]["name"].as_str() {
                name.clone_into(&mut calls[index].0);
            }
            calls[index].1.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
    }
    calls
}

fn data(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    text.lines()
        .filter_map(|line| line.strip_prefix("data: ").filter(|data| *data != "[DONE]"))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn call_chunk(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    let mut call = json!({"index": index, "function": {"arguments": arguments}});
    if let Some(id) = id {
        call["id"] = id.into();
        call["type"] = "function".into();
    }
    if let Some(name) = name {
        call["function"]["name"] = name.into();
    }
    chunk(json!({"tool_calls": [call]}), Value::Null)
}

fn chunk(delta: Value, finish_reason: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
}

#[test]
fn a_whole_answer_that_calls_itself_a_stream_is_judged() {
    for (dialect, body) in [
        (
            CHAT,
            r#"{"choices":[{"index":0,"message":{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"rm","arguments":"{}"}}]}}]}"#,
        ),
        (MESSAGES, r#"{"type":"message","role":"assistant","content":[{"type":"tool_use","id":"t","name":"rm","input":{}}]}"#),
        (RESPONSES, r#"{"object":"response","output":[{"type":"function_call","call_id":"c","name":"rm","arguments":"{}"}]}"#),
    ] {
        for streamed in [true, false] {
            let script = Script::request(dialect, document(json!([{"use": "ask_judge"}])), streamed)
                .respond("text/event-stream", vec![body.as_bytes().to_vec()]);
            let outcome = play(&script.judged(JudgeRule::new("rm", JudgeReply::Verdict(0.9))));
            assert_eq!(outcome.callouts.len(), 1, "{dialect}, asked for a stream: {streamed}");
            assert!(!outcome.text().contains("\"rm\""), "{}", outcome.text());
        }
    }
}

#[test]
fn a_redirect_round_the_proxy_is_refused() {
    for dialect in [CHAT, MESSAGES, RESPONSES, MCP] {
        let script = Script::request(dialect, document(json!([{"use": "ask_judge"}])), true).respond_with(
            307,
            &[("location", "https://elsewhere.example/v1/chat/completions")],
            vec![Vec::new()],
        );
        let outcome = play(&script.judged(JudgeRule::new("", JudgeReply::Verdict(0.0))));
        assert_eq!((outcome.status, outcome.enforcement()["decision"].clone()), (502, json!("refuse")));
    }
}

#[test]
fn calls_that_a_message_begins_with_are_judged() {
    let calls = json!([{"type": "tool_use", "id": "t", "name": "rm", "input": {"path": "/srv"}}]);
    let events = [vec![begin(calls)], end().to_vec()].concat();
    let passed = judged(MESSAGES, &events);
    assert_eq!(questions(&passed), [("rm".to_owned(), r#"{"path":"/srv"}"#.to_owned())]);
    assert_eq!(passed.client, stream(MESSAGES, &events));
    let script = Script::events(MESSAGES, document(json!([{"use": "ask_judge"}])), &stream(MESSAGES, &events))
        .judged(JudgeRule::new("", JudgeReply::Verdict(1.0)));
    let refused = play(&script);
    legality::assert_stream(MESSAGES, &refused.client);
    assert!(!refused.text().contains("/srv"), "{}", refused.text());
}

#[test]
fn what_is_judged_of_a_second_message_is_what_clients_read() {
    let first = [begin(json!([])), tool_start(0, "bash"), stop(0)];
    let second = [begin(json!([])), tool_start(0, "echo"), input(0, r#"{"command":"rm"}"#), stop(0)];
    let outcome = judged(MESSAGES, &[first.to_vec(), second.to_vec(), end().to_vec()].concat());
    assert_eq!(calls_by_place(&outcome.client), questions(&outcome), "{}", outcome.text());
}

#[test]
fn what_is_judged_of_messages_is_what_clients_read_whatever_the_indices() {
    let swapped = [tool_start(1, "echo"), tool_start(0, "bash"), input(1, r#"{"command":"rm"}"#), stop(0), stop(1)];
    let again = [tool_start(0, "bash"), stop(0), tool_start(0, "echo"), input(0, r#"{"command":"rm"}"#), stop(0)];
    let gap = [tool_start(3, "echo"), tool_start(1, "bash"), input(3, r#"{"command":"rm"}"#), stop(3), stop(1)];
    for blocks in [swapped, again, gap] {
        let outcome = judged(MESSAGES, &[vec![begin(json!([]))], blocks.to_vec(), end().to_vec()].concat());
        let (mut asked, mut read) = (questions(&outcome), calls_by_place(&outcome.client));
        asked.sort();
        read.sort();
        assert_eq!(read, asked, "{}", outcome.text());
        assert_eq!(read.len(), 2);
    }
}

#[test]
fn what_is_judged_of_chat_is_what_clients_read_whatever_the_indices() {
    let finish = chunk(json!({}), json!("tool_calls"));
    let echo = |index| call_chunk(index, Some("call_echo"), Some("echo"), r#"{"command":"rm"}"#);
    let bash = |index, arguments| call_chunk(index, Some("call_bash"), Some("bash"), arguments);
    let late = |index| call_chunk(index, None, None, r#"{"command":"rm"}"#);
    let name_only = |index| call_chunk(index, Some("call_echo"), Some("echo"), "");
    for chunks in [
        vec![echo(0), finish.clone(), bash(0, "{}"), finish.clone()],
        vec![echo(0), bash(0, "{}"), finish.clone()],
        vec![name_only(1), bash(0, ""), late(1), finish.clone()],
        vec![name_only(7), bash(1, "{}"), late(7), finish.clone()],
    ] {
        let outcome = judged(CHAT, &chunks);
        let (mut asked, mut read) = (questions(&outcome), calls_by_index(&outcome.client));
        asked.sort();
        read.sort();
        assert_eq!(asked.len(), 2);
        // A call behind a finish reason is judged, and does not leave: there are readers that have ended there.
        let comes_late = chunks[1] == finish;
        read.iter().for_each(|call| assert!(asked.contains(call), "{}", outcome.text()));
        assert!(read.len() == 2 || comes_late, "{}", outcome.text());
    }
}

#[test]
fn objects_that_come_as_lists_do_not_leave() {
    let call = json!({"index": 0, "id": "c", "function": {"name": "rm", "arguments": "{}"}});
    let chat = |choice: Value| format!("data: {}\n\n", json!({"choices": [choice]}));
    let delta = json!({"tool_calls": [call]});
    for body in [
        chat(json!([0, delta, null])),
        chat(json!({"index": 0, "delta": [null, null, null, null, [call], null]})),
        chat(json!({"index": 0, "delta": {"tool_calls": [[0, "c", {"name": "rm", "arguments": "{}"}, null]]}})),
        chat(json!({"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": ["rm", "{}"]}]}})),
        format!("data: {}\n\n", json!([[{"index": 0, "delta": delta}], null])),
    ] {
        let script = Script::events(CHAT, document(json!([{"use": "ask_judge"}])), body.as_bytes());
        let outcome = play(&script);
        assert!(!outcome.text().contains("rm"), "{body}: {}", outcome.text());
    }
}

#[test]
fn ids_without_end_are_refused() {
    for (dialect, begin) in [(CHAT, Vec::new()), (MESSAGES, vec![begin(json!([]))])] {
        let long = "x".repeat(400_000);
        let calls = (0..3).flat_map(|index| match dialect {
            CHAT => vec![call_chunk(index, Some(&format!("{index}{long}")), Some("f"), "{}")],
            _ => vec![tool_start(index, &long), stop(index)],
        });
        let events = begin.into_iter().chain(calls).collect::<Vec<_>>();
        let script = Script::events(dialect, document(json!([{"use": "no_op"}])), &stream(dialect, &events));
        assert_eq!(play(&script).enforcement()["reason_code"], "RESPONSE_MALFORMED", "{dialect}");
    }
}

fn response(status: &str, output: Value) -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": status, "output": output})
}

fn function_call(name: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{name}"), "call_id": format!("call_{name}"), "name": name,
        "arguments": arguments, "status": "completed"})
}

fn added(index: u32, item: &Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

fn call_delta(index: u32, delta: &str) -> Value {
    json!({"type": "response.function_call_arguments.delta", "output_index": index, "delta": delta})
}

fn item_done(index: u32, item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

/// A stream of responses with these events between its beginning and its end.
fn responses_stream(events: &[Value], output: Value) -> Vec<Value> {
    let begin = json!({"type": "response.created", "response": response("in_progress", json!([]))});
    let end = json!({"type": "response.completed", "response": response("completed", output)});
    [vec![begin], events.to_vec(), vec![end]].concat()
}

/// Every tool call that a client can read, wherever it looks: in the ends of the items and in the end of the response.
fn repeated_calls(body: &[u8]) -> Vec<(String, String)> {
    let mut calls = Vec::new();
    for event in data(body) {
        let ends_item = event["type"] == "response.output_item.done";
        let items = event["response"]["output"].as_array().into_iter().flatten();
        let all = items.chain(event.get("item").filter(|_| ends_item));
        for item in all.filter(|item| item["type"] != "message") {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            calls.push((text("name"), text("arguments")));
        }
    }
    calls.sort();
    calls.dedup();
    calls
}

/// A response whose call is said in deltas, by its item and by the end, and not the same each time.
fn repeated_differently(streamed: &str, by_item: &Value, by_end: &Value) -> Vec<Value> {
    let begun = function_call("list", "");
    responses_stream(&[added(0, &begun), call_delta(0, streamed), item_done(0, by_item)], json!([by_end]))
}

const HARMLESS: &str = r#"{"path":"/tmp"}"#;
const HARMFUL: &str = r#"{"path":"/srv"}"#;

/// Every way in which a harmless call can be repeated as a harmful one.
fn harmful_repetitions() -> [Vec<Value>; 3] {
    let (harmless, harmful) = (function_call("list", HARMLESS), function_call("list", HARMFUL));
    [(&harmful, &harmless), (&harmless, &harmful), (&harmful, &harmful)]
        .map(|(by_item, by_end)| repeated_differently(HARMLESS, by_item, by_end))
}

#[test]
fn a_repetition_that_says_something_else_is_judged_for_itself() {
    for events in harmful_repetitions() {
        let outcome = judged(RESPONSES, &events);
        assert_eq!(outcome.client, stream(RESPONSES, &events), "what was judged harmless leaves as it came");
        let questions = questions(&outcome);
        assert!(repeated_calls(&outcome.client).iter().all(|call| questions.contains(call)), "{questions:?}");
    }
}

#[test]
fn a_harmful_repetition_of_a_harmless_call_says_what_was_streamed() {
    for events in harmful_repetitions() {
        let script = Script::events(RESPONSES, document(json!([{"use": "ask_judge"}])), &stream(RESPONSES, &events))
            .judged(JudgeRule::new("/srv", JudgeReply::Verdict(1.0)))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert_eq!(repeated_calls(&outcome.client), [("list".to_owned(), HARMLESS.to_owned())], "{}", outcome.text());
        assert!(!outcome.text().contains("/srv") && outcome.text().contains("A tool call was blocked."), "{}", outcome.text());
    }
}

#[test]
fn a_repetition_does_not_bring_back_a_harmful_call() {
    let harmless = function_call("list", HARMLESS);
    for by_end in [&harmless, &function_call("list", HARMFUL)] {
        let events = repeated_differently(HARMFUL, &harmless, by_end);
        let script = Script::events(RESPONSES, document(json!([{"use": "ask_judge"}])), &stream(RESPONSES, &events))
            .judged(JudgeRule::new("/srv", JudgeReply::Verdict(1.0)))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert!(repeated_calls(&outcome.client).is_empty(), "{}", outcome.text());
    }
}

/// A call of each type whose text comes in deltas: the type, what its events are called, and where the text stands.
const STREAMED_CALLS: [(&str, &str, &str); 4] = [
    ("function_call", "function_call_arguments", "arguments"),
    ("custom_tool_call", "custom_tool_call_input", "input"),
    ("mcp_call", "mcp_call_arguments", "arguments"),
    ("code_interpreter_call", "code_interpreter_call_code", "code"),
];

/// A response with one call that says these texts: in its delta, the end of the text, the end of the item and the end of all.
fn said_four_times((kind, events, key): (&str, &str, &str), texts: [&str; 4]) -> Vec<Value> {
    let [streamed, by_text, by_item, by_end] = texts;
    let item = |text: &str| {
        let mut item = json!({"type": kind, "id": "call_1", "call_id": "call_1", "name": "list", "status": "completed"});
        item[key] = json!(text);
        item
    };
    let about =
        |event: &str, key: &str, text: &str| json!({"type": format!("response.{events}.{event}"), "output_index": 0, key: text});
    let between =
        [added(0, &item("")), about("delta", "delta", streamed), about("done", key, by_text), item_done(0, &item(by_item))];
    responses_stream(&between, json!([item(by_end)]))
}

#[test]
fn wherever_a_call_becomes_a_harmful_one_it_does_not_leave() {
    for call in STREAMED_CALLS {
        for combination in 0..16_usize {
            let texts = [0, 1, 2, 3].map(|place| if combination >> place & 1 == 1 { HARMFUL } else { HARMLESS });
            let events = said_four_times(call, texts);
            let body = stream(RESPONSES, &events);
            let allowed = judged(RESPONSES, &events);
            assert_eq!(allowed.client, body, "{call:?} {texts:?}");
            let asked = questions(&allowed);
            assert!(texts.iter().all(|text| asked.iter().any(|(_, arguments)| arguments == text)), "{call:?} {asked:?}");
            let script = Script::events(RESPONSES, document(json!([{"use": "ask_judge"}])), &body)
                .judged(JudgeRule::new("/srv", JudgeReply::Verdict(1.0)))
                .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
            let denied = play(&script);
            assert!(!denied.text().contains("/srv"), "{call:?} {texts:?}: {}", denied.text());
            assert_eq!(denied.client == body, combination == 0, "{call:?} {texts:?}");
        }
    }
}

#[test]
fn a_repetition_without_arguments_is_judged_for_itself() {
    for call in STREAMED_CALLS {
        for texts in [[HARMLESS, "", "", ""], [HARMLESS, HARMLESS, HARMLESS, ""]] {
            let events = said_four_times(call, texts);
            let outcome = judged(RESPONSES, &events);
            assert_eq!(outcome.client, stream(RESPONSES, &events), "{call:?}");
            assert_eq!(questions(&outcome).len(), 2, "{call:?}");
            assert!(questions(&outcome).iter().any(|(_, arguments)| arguments.is_empty()), "{call:?}");
        }
    }
}

#[test]
fn a_response_that_nobody_announced_says_why_its_call_was_blocked() {
    let all = responses_stream(
        &[added(0, &function_call("list", "")), call_delta(0, HARMFUL), item_done(0, &function_call("list", HARMFUL))],
        json!([function_call("list", HARMFUL)]),
    );
    let (unannounced, unended) = (&all[1..], &all[1..all.len() - 1]);
    for events in [unannounced, unended] {
        let script = Script::events(RESPONSES, document(json!([{"use": "ask_judge"}])), &stream(RESPONSES, events))
            .judged(JudgeRule::new("", JudgeReply::Verdict(1.0)));
        let outcome = play(&script);
        assert!(outcome.text().contains("A tool call was blocked.") && !outcome.text().contains("/srv"), "{}", outcome.text());
    }
}

#[test]
fn nothing_is_said_of_a_call_that_has_ended() {
    for (kind, events, key) in STREAMED_CALLS {
        let mut events_of_call = said_four_times((kind, events, key), [HARMLESS; 4]);
        let late = json!({"type": format!("response.{events}.done"), "output_index": 0, key: HARMFUL});
        let end = events_of_call.pop().unwrap();
        events_of_call.extend([late, end]);
        let outcome = judged(RESPONSES, &events_of_call);
        assert_ne!(outcome.enforcement()["reason_code"], "RESPONSE_MALFORMED", "{kind}");
        assert!(!outcome.text().contains("/srv"), "{kind}: {}", outcome.text());
    }
}

#[test]
fn a_call_keeps_the_name_that_it_was_judged_by() {
    let mut renamed = function_call("list", HARMLESS);
    renamed["name"] = json!("delete");
    let outcome = judged(RESPONSES, &repeated_differently(HARMLESS, &renamed, &renamed));
    assert_eq!(questions(&outcome), [("list".to_owned(), HARMLESS.to_owned())]);
    assert_eq!(repeated_calls(&outcome.client), questions(&outcome), "{}", outcome.text());
}

/// A response with one message that says these texts: in its delta, the end of the text, the end of the part, the end of
/// the item and the end of all.
fn said_five_times(texts: [&str; 5]) -> Vec<Value> {
    let [streamed, by_text, by_part, by_item, by_end] = texts;
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let message = |content: Value| json!({"type": "message", "id": "msg_1", "role": "assistant", "content": content});
    let about = |event: &str, key: &str, value: Value| json!({"type": format!("response.{event}"), "output_index": 0, "content_index": 0, "item_id": "msg_1", key: value});
    let between = [
        added(0, &message(json!([]))),
        about("content_part.added", "part", part("")),
        about("output_text.delta", "delta", json!(streamed)),
        about("output_text.done", "text", json!(by_text)),
        about("content_part.done", "part", part(by_part)),
        item_done(0, &message(json!([part(by_item)]))),
    ];
    responses_stream(&between, json!([message(json!([part(by_end)]))]))
}

#[test]
fn a_repeated_text_that_says_something_else_is_seen_once() {
    let body = stream(RESPONSES, &said_five_times(["some", "some more", "some more", "some more", "some more"]));
    let outcome = play(&Script::events(RESPONSES, document(json!([{"use": "watch"}])), &body));
    assert_eq!(outcome.client, body);
    let seen: Vec<_> = outcome.events_of("watch.content").into_iter().map(|event| event.metadata["text"].clone()).collect();
    assert_eq!(seen, ["some", "some more"]);
}

#[test]
fn wherever_a_text_becomes_another_one_it_is_seen() {
    for combination in 0..32_usize {
        let texts = [0, 1, 2, 3, 4].map(|place| if combination >> place & 1 == 1 { "the secret" } else { "the text" });
        let body = stream(RESPONSES, &said_five_times(texts));
        for policy in ["uppercase", "drop_text"] {
            let outcome = play(&Script::events(RESPONSES, document(json!([{"use": policy}])), &body));
            let left = outcome.text();
            assert!(!left.contains("the secret") && !left.contains("the text"), "{policy} {texts:?}: {left}");
        }
    }
}

#[test]
fn calls_that_only_the_end_of_a_response_names_are_judged() {
    let (known, late) = (function_call("list", "{}"), function_call("delete", r#"{"path":"/srv"}"#));
    for (events, output) in [(vec![], json!([late])), (vec![added(0, &known), item_done(0, &known)], json!([known, late]))] {
        let script = Script::events(
            RESPONSES,
            document(json!([{"use": "ask_judge"}])),
            &stream(RESPONSES, &responses_stream(&events, output)),
        )
        .judged(JudgeRule::new("/srv", JudgeReply::Verdict(1.0)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert!(questions(&outcome).iter().any(|(name, _)| name == "delete"), "{}", outcome.text());
        assert!(!outcome.text().contains("/srv") && outcome.text().contains("A tool call was blocked."), "{}", outcome.text());
    }
}

#[test]
fn what_readers_of_responses_could_read_in_two_ways_is_judged_or_stays_behind() {
    let call = function_call("delete", HARMFUL);
    let item = added(0, &function_call("list", ""));
    let begins_with_output = json!({"type": "response.created", "response": response("in_progress", json!([call]))});
    let begins_with_text = json!({"type": "message", "id": "m", "content": [{"type": "output_text", "text": "/srv"}]});
    let other_type = json!({"id": "ct", "type": "custom_tool_call", "call_id": "c", "name": "delete", "input": "/srv"});
    for events in [
        vec![begins_with_output],
        responses_stream(&[item.clone(), item.clone(), call_delta(0, HARMFUL)], json!([])),
        responses_stream(&[call_delta(0, HARMFUL)], json!([])),
        responses_stream(&[item, item_done(0, &other_type)], json!([])),
        responses_stream(&[added(0, &begins_with_text)], json!([])),
    ] {
        let script = Script::events(RESPONSES, document(json!([{"use": "ask_judge"}])), &stream(RESPONSES, &events))
            .judged(JudgeRule::new("/srv", JudgeReply::Verdict(1.0)))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert_ne!(outcome.enforcement()["reason_code"], "RESPONSE_MALFORMED", "{}", outcome.text());
        assert!(!outcome.text().contains("/srv"), "{}", outcome.text());
    }
}
