//! Streams of `messages` that are odd in a way that clients read differently: what leaves is what was read, and every
//! client reads it.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};

use crate::{play, test};

const MESSAGES: Dialect = Dialect::Messages;

fn begin() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}}})
}

fn finish(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 2}})
}

fn end() -> Value {
    json!({"type": "message_stop"})
}

fn start(index: impl Into<Value>, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index.into(), "content_block": block})
}

fn delta(index: impl Into<Value>, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index.into(), "delta": delta})
}

fn stop(index: impl Into<Value>) -> Value {
    json!({"type": "content_block_stop", "index": index.into()})
}

fn call(index: impl Into<Value>, name: &str) -> Value {
    start(index, json!({"type": "tool_use", "id": format!("toolu_{name}"), "name": name, "input": {}}))
}

fn input(index: impl Into<Value>, partial_json: &str) -> Value {
    delta(index, json!({"type": "input_json_delta", "partial_json": partial_json}))
}

fn text_start(index: impl Into<Value>) -> Value {
    start(index, json!({"type": "text", "text": ""}))
}

fn text(index: impl Into<Value>, text: &str) -> Value {
    delta(index, json!({"type": "text_delta", "text": text}))
}

fn named(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"))).collect()
}

fn nameless(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// A whole message with these events.
fn message(events: &[Value], reason: &str) -> Vec<Value> {
    [&[begin()], events, &[finish(reason), end()]].concat()
}

/// Plays a stream with a judge that lets everything pass.
fn judged(body: &str) -> Outcome {
    let script = Script::events(MESSAGES, document(json!([{"use": "ask_judge"}])), body.as_bytes())
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
    play(&script)
}

fn in_capitals(body: &str) -> Outcome {
    play(&Script::events(MESSAGES, document(json!([{"use": "uppercase"}])), body.as_bytes()))
}

type Calls = Vec<(String, String)>;

/// What the judge was asked: name and arguments of each call.
fn questions(outcome: &Outcome) -> Calls {
    let asked = outcome.callouts.iter().map(|callout| {
        let body: Value = serde_json::from_slice(&callout.body).unwrap();
        let matter = body["messages"][1]["content"].as_str().unwrap().to_owned();
        let (name, arguments) = matter.split_once('\n').unwrap();
        (name.to_owned(), arguments.to_owned())
    });
    asked.collect()
}

/// What a client goes by to find the block of a delta.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// The place in the list, as the official clients do.
    Place,
    /// The index, as Vercel's and LangChain's do.
    Index,
    /// The block that began last, as LiteLLM does.
    Last,
}

fn data(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The calls that such a client ends up with.
fn calls(body: &[u8], reader: Reader) -> Calls {
    let mut blocks: Vec<(Value, Value, String)> = Vec::new();
    for event in data(body) {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                let block = &event["content_block"];
                blocks.push((event["index"].clone(), block.clone(), String::new()));
                assert!(block["input"].as_object().is_none_or(serde_json::Map::is_empty), "input stands in deltas alone");
            }
            "content_block_delta" => {
                let Some(partial_json) = event["delta"].get("partial_json") else { continue };
                let block = match reader {
                    Reader::Place => event["index"].as_u64().and_then(|place| blocks.get_mut(usize::try_from(place).unwrap())),
                    Reader::Index => blocks.iter_mut().rev().find(|(index, ..)| *index == event["index"]),
                    Reader::Last => blocks.last_mut(),
                };
                block.unwrap().2.push_str(partial_json.as_str().unwrap_or("undefined"));
            }
            _ => {}
        }
    }
    let calls = blocks.into_iter().filter(|(_, block, _)| block["type"] == "tool_use");
    calls.map(|(_, block, input)| (block["name"].as_str().unwrap_or_default().to_owned(), input)).collect()
}

fn run(arguments: &str) -> (String, String) {
    ("run".to_owned(), arguments.to_owned())
}

fn weather(arguments: &str) -> (String, String) {
    ("get_weather".to_owned(), arguments.to_owned())
}

/// Streams with odd calls, and the calls that they make.
fn odd_calls() -> Vec<(&'static str, Vec<Value>, Calls)> {
    let harm = r#"{"cmd":"rm -rf /"}"#;
    let whole = |index: i64| vec![call(index, "run"), input(index, harm), stop(index)];
    let thinking = |index| start(index, json!({"type": "thinking", "thinking": "", "signature": ""}));
    let x_delta = |member: &str| delta(0, json!({"type": "x_delta", member: harm}));
    vec![
        (
            "interleaved blocks (B6)",
            vec![
                call(0, "run"),
                input(0, r#"{"cmd":""#),
                thinking(1),
                input(0, "echo 'do not "),
                call(2, "get_weather"),
                input(0, "rm -rf /"),
                call(3, "get_weather"),
                input(0, r#"' >> README"}"#),
                stop(0),
                stop(1),
                input(3, r#"{"a":3}"#),
                stop(2),
                stop(3),
            ],
            vec![run(r#"{"cmd":"echo 'do not rm -rf /' >> README"}"#), weather(""), weather(r#"{"a":3}"#)],
        ),
        (
            "blocks that never stop",
            vec![call(0, "run"), input(0, harm), call(1, "get_weather"), input(1, "{}")],
            vec![run(harm), weather("{}")],
        ),
        (
            "an unknown type of delta with input (C2)",
            vec![call(0, "run"), input(0, " "), x_delta("partial_json"), x_delta("text"), stop(0)],
            vec![run(" ")],
        ),
        (
            "no partial_json (N07a)",
            vec![
                call(0, "run"),
                input(0, r#"{"cmd":""#),
                delta(0, json!({"type": "input_json_delta"})),
                delta(0, json!({"type": "input_json_delta", "partial_json": null})),
                input(0, r#""}"#),
                stop(0),
            ],
            vec![run(r#"{"cmd":""}"#)],
        ),
        ("an index that is used twice", [whole(0), whole(0)].concat(), vec![run(harm), run(harm)]),
        ("an index that is not the place", [whole(7), whole(3)].concat(), vec![run(harm), run(harm)]),
        ("no index", vec![call(Value::Null, "run"), input(Value::Null, harm), stop(Value::Null)], vec![run(harm)]),
        ("a negative index", [whole(-1)].concat(), vec![run(harm)]),
        ("a huge index", [whole(4_294_967_296)].concat(), vec![run(harm)]),
        ("a second stop", [whole(0), vec![stop(0), stop(4)]].concat(), vec![run(harm)]),
        (
            "input behind the stop, or of no block",
            [vec![input(0, harm)], whole(0), vec![input(0, harm), input(9, harm)]].concat(),
            vec![run(harm)],
        ),
        (
            "text beside the input",
            vec![
                call(0, "run"),
                delta(0, json!({"type": "input_json_delta", "partial_json": r#"{"a":"#, "text": "x"})),
                input(0, "1}"),
                stop(0),
            ],
            vec![run(r#"{"a":1}"#)],
        ),
        (
            "deltas of another block's type",
            vec![
                text_start(0),
                input(0, harm),
                delta(0, json!({"type": "thinking_delta", "thinking": "x"})),
                text(0, "a"),
                stop(0),
                call(1, "run"),
                text(1, harm),
                delta(1, json!({"type": "signature_delta", "signature": "s"})),
                input(1, "{}"),
                stop(1),
                start(2, json!({"type": "redacted_thinking", "data": "x"})),
                input(2, harm),
                stop(2),
                start(3, json!({"type": "new_block"})),
                input(3, harm),
                text(3, harm),
                stop(3),
            ],
            vec![run("{}")],
        ),
        (
            "a block without a type",
            [vec![start(0, json!({"id": "x", "name": "run"})), input(0, harm), stop(0)], whole(1)].concat(),
            vec![run(harm)],
        ),
        (
            "blocks behind the stop reason, and behind the end",
            [whole(0), vec![finish("tool_use")], whole(1), vec![end()], whole(2), vec![end()]].concat(),
            vec![run(harm)],
        ),
        ("no id", vec![start(0, json!({"type": "tool_use", "name": "run"})), input(0, harm), stop(0)], vec![run(harm)]),
        (
            "input in the stop, and in the end",
            vec![
                call(0, "run"),
                json!({"type": "content_block_stop", "index": 0, "content_block": {"type": "tool_use", "input": {"cmd": "rm"}}}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "content": [{"type": "tool_use",
                    "id": "x", "name": "run", "input": {"cmd": "rm"}}]}, "usage": {"output_tokens": 2}}),
            ],
            vec![run("")],
        ),
    ]
}

#[test]
fn every_client_reads_the_calls_that_were_judged() {
    for (case, events, expected) in odd_calls() {
        for body in [named(&message(&events, "tool_use")), nameless(&message(&events, "tool_use"))] {
            let outcome = judged(&body);
            assert_eq!(questions(&outcome), expected, "{case}: {}", outcome.text());
            for reader in [Reader::Place, Reader::Index, Reader::Last] {
                assert_eq!(calls(&outcome.client, reader), expected, "{case}, {reader:?}: {}", outcome.text());
            }
            assert!(outcome.text().contains("message_stop"), "{case}");
            let has_names = body.starts_with("event:");
            assert_eq!(outcome.text().contains("event:"), has_names, "{case}: {}", outcome.text());
        }
    }
}

#[test]
fn calls_that_clients_read_differently_are_ambiguous() {
    let cases = [
        (
            "two open blocks with one index",
            vec![call(0, "run"), input(0, "{}"), call(0, "get_weather"), input(0, "{}"), stop(0), stop(0)],
            2,
        ),
        (
            "input in the beginning and in deltas",
            vec![
                start(0, json!({"type": "tool_use", "id": "x", "name": "run", "input": {"a": 1}})),
                input(0, r#"{"b":1}"#),
                stop(0),
            ],
            1,
        ),
        ("a delta that names another block", vec![call(1, "run"), input(0, "{}"), stop(1)], 1),
        (
            "a call that some clients know as another tool's",
            vec![
                start(0, json!({"type": "tool_use", "id": "x", "name": "get_weather", "input": {}, "toolset_name": "run"})),
                input(0, "{}"),
                stop(0),
            ],
            1,
        ),
    ];
    for (case, events, expected) in cases {
        let body = named(&message(&events, "tool_use"));
        let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "watch"}])), body.as_bytes()));
        let seen = outcome.events_of("watch.tool_call");
        let ambiguous = seen.iter().filter(|event| event.metadata["ambiguity"].is_string()).count();
        assert_eq!(ambiguous, expected, "{case}: {seen:?}");
    }
}

#[test]
fn calls_without_a_name_are_read_as_such() {
    let nameless = start(0, json!({"type": "tool_use", "id": "x", "name": null, "input": {}}));
    let body = named(&message(&[nameless, input(0, "{}"), stop(0)], "tool_use"));
    let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "watch"}])), body.as_bytes()));
    let seen = outcome.events_of("watch.tool_call");
    assert_eq!(seen[0].metadata["name"], "", "{seen:?}");
}

#[test]
fn no_client_shows_a_text_that_was_not_read() {
    let word = "nightingale";
    let unsigned = json!({"type": "thinking", "thinking": ""});
    let cases = [
        ("text in citations (C6)", vec![text_start(0), delta(0, json!({"type": "citations_delta", "text": word})), stop(0)]),
        ("text in a beginning", vec![start(0, json!({"type": "text", "text": word})), stop(0)]),
        ("text of no block", vec![text(0, word)]),
        ("text behind a stop", vec![text_start(0), text(0, "a"), stop(0), text(0, word)]),
        ("text with another index", vec![text_start(0), text(5, word), stop(0)]),
        ("text of a call", vec![call(0, "run"), text(0, word), stop(0)]),
        ("text of another type", vec![text_start(0), delta(0, json!({"type": "x_delta", "text": word})), stop(0)]),
        ("text without a type", vec![text_start(0), delta(0, json!({"text": word})), stop(0)]),
        ("text of thinking", vec![start(0, unsigned.clone()), text(0, word), stop(0)]),
        (
            "text beside a delta",
            vec![
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""},
            "text": word, "message": {"content": word}}),
                stop(0),
            ],
        ),
        (
            "text in a stop",
            vec![text_start(0), json!({"type": "content_block_stop", "index": 0, "content_block": {"text": word}})],
        ),
        (
            "another case",
            vec![json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "Text": word}}), stop(0)],
        ),
        ("an interleaved text", vec![text_start(0), text_start(1), text(0, word), text(1, word), stop(0), stop(1)]),
        ("text behind the end", vec![finish("end_turn"), end(), text_start(0), text(0, word), stop(0), text(1, word)]),
        (
            "text in message_delta",
            vec![
                json!({"type": "message_delta", "delta": {"text": word, "content": [{"type": "text", "text": word}]}, "text": word}),
            ],
        ),
    ];
    for (case, events) in cases {
        for body in [named(&message(&events, "end_turn")), nameless(&message(&events, "end_turn"))] {
            let outcome = in_capitals(&body);
            assert!(!outcome.text().contains(word), "{case}: {}", outcome.text());
            assert!(outcome.text().contains("message_stop"), "{case}: {}", outcome.text());
        }
    }
}

#[test]
fn what_says_nothing_passes() {
    let body = named(&message(&[text_start(0), text(0, "Hello"), stop(0)], "end_turn"));
    let (before, after) = body.split_at(body.find("event: content_block_delta").unwrap());
    for odd in [
        "event: ping\ndata: {}\n\n",
        "event: ping\n\n",
        "event: ping\ndata: pong\n\n",
        "event: ping\ndata: {\"type\":\"ping\",\"time\":1}\n\n",
        "data: {\"type\":\"ping\"}\n\n",
        ": note\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n",
    ] {
        let outcome = in_capitals(&format!("{before}{odd}{after}"));
        assert_eq!(outcome.text().replace("HELLO", "Hello").matches("Hello").count(), 1, "{odd:?}");
        assert!(outcome.text().ends_with(&named(&[finish("end_turn"), end()])), "{odd:?}: {}", outcome.text());
    }
}

#[test]
fn an_error_without_a_type_is_an_error() {
    let body = format!("{}event: error\ndata: {{\"error\":{{\"message\":\"m\"}}}}\n\n", named(&[begin()]));
    let outcome = in_capitals(&body);
    assert_eq!(outcome.text(), body, "nothing is added behind it");
}

#[test]
fn events_are_named_by_their_type_where_events_have_names() {
    let events = message(&[text_start(0), text(0, "a"), stop(0)], "end_turn");
    let (name, in_capitals_too) = ("event: content_block_delta\n", |body: String| body.replace("\"a\"", "\"A\""));
    for wrong in ["event: message_stop\n", "event: x\n", ""] {
        let body = named(&events).replacen(name, wrong, 1);
        assert_eq!(in_capitals(&body).text(), in_capitals_too(named(&events)), "{wrong}");
    }
    let mut body = nameless(&events);
    body.insert_str(body.find("\"a\"").and_then(|delta| body[..delta].rfind("data: ")).unwrap(), name);
    assert_eq!(in_capitals(&body).text(), in_capitals_too(nameless(&events)));
}

#[test]
fn a_refusal_in_a_stream_without_names_has_none() {
    let body = nameless(&message(&[call(0, "run"), input(0, "{}"), stop(0)], "tool_use"));
    let script = Script::events(MESSAGES, document(json!([{"use": "ask_judge"}])), body.as_bytes())
        .judged(JudgeRule::new("", JudgeReply::Verdict(1.0)));
    let outcome = play(&script);
    assert!(outcome.text().contains("A tool call was blocked."), "{}", outcome.text());
    assert!(!outcome.text().contains("event:"), "{}", outcome.text());
}

#[test]
fn thinking_is_read_unless_it_is_signed() {
    let thinking = |signature: &str| {
        let events = [
            start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, json!({"type": "thinking_delta", "thinking": "night"})),
            delta(0, json!({"type": "thinking_delta", "thinking": "ingale"})),
            delta(0, json!({"type": "signature_delta", "signature": signature})),
            stop(0),
            text_start(1),
            text(1, "a"),
            stop(1),
        ];
        named(&message(&events, "end_turn"))
    };
    for (signature, seen_kinds) in [("", vec!["Reasoning", "Text"]), ("sig", vec!["Text"])] {
        let body = thinking(signature);
        let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "watch"}])), body.as_bytes()));
        let seen = outcome.events_of("watch.content");
        let kinds: Vec<_> = seen.iter().map(|event| event.metadata["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, seen_kinds);
        assert!(kinds.len() < 2 || seen[0].metadata["text"] == "nightingale", "{seen:?}");
        assert_eq!(outcome.text(), body, "it leaves as it came");
    }
    let whole = |signature: &str| {
        json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "thinking",
            "thinking": "nightingale", "signature": signature}], "stop_reason": "end_turn", "usage": {}})
    };
    for (signature, is_seen) in [("", true), ("sig", false)] {
        let body = whole(signature).to_string();
        let outcome = play(&Script::whole(MESSAGES, document(json!([{"use": "watch"}])), vec![body.into_bytes()]));
        assert_eq!(outcome.events_of("watch.content").len(), usize::from(is_seen), "{}", outcome.text());
    }
}

#[test]
fn what_explains_the_stop_reason_is_read() {
    let details = json!({"type": "refusal", "category": "cyber", "explanation": "nightingale"});
    let finish = json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}, "usage": {"output_tokens": 1}});
    let body = named(&[begin(), text_start(0), text(0, "a"), stop(0), finish, end()]);
    let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "watch"}])), body.as_bytes()));
    let seen = outcome.events_of("watch.content");
    assert!(seen.iter().any(|event| event.metadata["text"].as_str().unwrap().contains("nightingale")), "{seen:?}");
    assert_eq!(outcome.text(), body);
}
