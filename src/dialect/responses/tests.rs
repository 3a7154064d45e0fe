//! Streams that no provider should send, and what is read of them: each test is a peculiarity.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::block::{BlockKind, Clarity};
use crate::dialect::plain::{Normalizer, Wants};
use crate::dialect::testing::{data_of, run};
use crate::dialect::{Delta, Dialect, SlotAction};

/// What was read of a stream, and what left of it where nothing was changed.
struct Read {
    /// A line for each block with a text: what it is, its tool, its text, and how clear it is if it is not plain.
    blocks: Vec<String>,
    /// The same with what the policies could not let go, as the pipeline would not: it is removed.
    without_unclear: Vec<Value>,
    output: String,
}

#[derive(Default)]
struct Block {
    kind: Option<BlockKind>,
    name: String,
    text: String,
    clarity: Clarity,
}

impl Block {
    fn line(&self) -> Option<String> {
        let kind = self.kind?;
        if kind == BlockKind::Other {
            return None;
        }
        let grade = match self.clarity {
            Clarity::Plain => String::new(),
            Clarity::Canonical => " canonical".to_owned(),
            Clarity::Ambiguous(why) => format!(" ambiguous: {why}"),
        };
        Some(format!("{kind:?} {}{}{grade}", if self.name.is_empty() { "" } else { &self.name }, self.text))
    }
}

fn stream(events: &[Value]) -> String {
    let numbered = events.iter().enumerate().map(|(number, event)| {
        let mut event = event.clone();
        if event.is_object() && event.get("sequence_number").is_none() {
            event["sequence_number"] = json!(number);
        }
        let data = if let Some(word) = event.as_str() { word.to_owned() } else { event.to_string() };
        format!("data: {data}\n\n")
    });
    numbered.collect()
}

fn read(events: &[Value]) -> Read {
    let stream = stream(events);
    let mut blocks: BTreeMap<u32, Block> = BTreeMap::new();
    let kept = run(Dialect::Responses, [stream.as_bytes()], |delta: &Delta<'_>| {
        let block = blocks.entry(delta.block.0).or_default();
        block.kind.get_or_insert(delta.kind);
        block.name.push_str(delta.name);
        if !delta.name.is_empty() {
            block.name.push(' ');
        }
        block.text.push_str(delta.text);
        block.clarity = block.clarity.and(delta.clarity);
        SlotAction::Keep
    });
    assert_eq!(kept.error, None, "{stream}");
    let is_unclear = |delta: &Delta<'_>| blocks.get(&delta.block.0).is_some_and(|block| block.clarity != Clarity::Plain);
    let removed =
        run(
            Dialect::Responses,
            [stream.as_bytes()],
            |delta| {
                if is_unclear(delta) { SlotAction::Remove } else { SlotAction::Keep }
            },
        );
    assert_eq!(removed.error, None, "{stream}");
    Read {
        blocks: blocks.values().filter_map(Block::line).collect(),
        without_unclear: data_of(&removed.output),
        output: kept.output().to_owned(),
    }
}

fn created() -> Value {
    json!({"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}})
}

fn completed(output: &Value) -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": output}})
}

fn call(arguments: impl Into<Value>) -> Value {
    json!({"id": "fc", "type": "function_call", "call_id": "c", "name": "run", "arguments": arguments.into()})
}

fn message(text: &str) -> Value {
    json!({"id": "m", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

fn added(index: impl Into<Value>, item: &Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index.into(), "item": item})
}

fn done(index: impl Into<Value>, item: &Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index.into(), "item": item})
}

fn delta(kind: &str, index: impl Into<Value>, delta: &str) -> Value {
    json!({"type": format!("response.{kind}.delta"), "output_index": index.into(), "delta": delta})
}

fn arguments(index: impl Into<Value>, text: &str) -> Value {
    delta("function_call_arguments", index, text)
}

fn arguments_done(text: &str) -> Value {
    json!({"type": "response.function_call_arguments.done", "output_index": 0, "arguments": text})
}

fn text(index: impl Into<Value>, text: &str) -> Value {
    delta("output_text", index, text)
}

/// The types of the events that leave.
fn types(data: &[Value]) -> Vec<&str> {
    data.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect()
}

const ARGUMENTS: &str = r#"{"a":1}"#;

#[test]
fn a_usual_stream_is_plain_and_leaves_as_it_came() {
    let events = [
        created(),
        added(0, &call("")),
        arguments(0, r#"{"a":"#),
        arguments(0, "1}"),
        arguments_done(ARGUMENTS),
        done(0, &call(ARGUMENTS)),
        completed(&json!([call(ARGUMENTS)])),
    ];
    let read = read(&events);
    assert_eq!(read.blocks, [r#"ToolCall run {"a":1}"#]);
    assert_eq!(read.output, stream(&events));
}

#[test]
fn a_text_that_no_event_announces_begins_a_message_and_is_announced() {
    let events = [created(), text(0, "a"), text(0, "b"), completed(&json!([]))];
    let read = read(&events);
    assert_eq!(read.blocks, ["Text ab"]);
    assert_eq!(
        types(&read.without_unclear),
        ["created", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "completed"]
    );
}

#[test]
fn a_call_that_no_event_announces_is_written_anew_once_it_is_named() {
    let named = read(&[created(), arguments(0, ARGUMENTS), done(0, &call(ARGUMENTS)), completed(&json!([]))]);
    assert_eq!(named.blocks, [r#"ToolCall run {"a":1} canonical"#]);
    let left = json!(named.without_unclear).to_string();
    assert!(!left.contains("function_call") && left.contains("withheld"), "{left}");
    let mut nameless = call(ARGUMENTS);
    nameless["name"] = json!("");
    let unnamed = read(&[created(), arguments(0, ARGUMENTS), done(0, &nameless)]);
    assert_eq!(unnamed.blocks, [r#"ToolCall {"a":1} ambiguous: no event names the tool of the call"#]);
}

#[test]
fn the_end_of_an_item_may_come_alone() {
    let read = read(&[created(), done(0, &call(ARGUMENTS)), done(1, &message("hi")), done(2, &call("{}"))]);
    assert_eq!(read.blocks, [r#"ToolCall run {"a":1} canonical"#, "Text hi", "ToolCall run {} canonical"]);
    assert_eq!(types(&read.without_unclear), ["created", "output_item.done"]);
    assert_eq!(read.without_unclear[1]["output_index"], 0);
}

#[test]
fn an_item_at_the_end_of_the_response_alone_is_written_anew() {
    let read = read(&[created(), completed(&json!([call(ARGUMENTS), message("hi")]))]);
    assert_eq!(read.blocks, [r#"ToolCall run {"a":1} canonical"#, "Text hi"]);
    assert_eq!(read.without_unclear[1]["response"]["output"], json!([message("hi")]));
}

#[test]
fn an_output_index_may_be_used_again_once_its_item_is_done() {
    let reasoning = json!({"id": "rs", "type": "reasoning", "summary": []});
    let events =
        [created(), added(0, &reasoning), done(0, &reasoning), added(0, &json!({"id": "m", "type": "message"})), text(0, "a")];
    let text_again = read(&events);
    assert_eq!(text_again.blocks, ["Text a"]);
    assert_eq!(text_again.without_unclear.last().unwrap()["output_index"], 1, "it is counted anew");
    let calls = read(&[
        created(),
        added(0, &call("")),
        arguments(0, ARGUMENTS),
        done(0, &call(ARGUMENTS)),
        added(0, &call("")),
        arguments(0, "{}"),
        done(0, &call("{}")),
    ]);
    assert_eq!(calls.blocks, [r#"ToolCall run {"a":1}"#, "ToolCall run {} canonical"]);
}

#[test]
fn two_open_calls_at_one_output_index_are_ambiguous() {
    let read = read(&[created(), added(0, &call("")), added(0, &call("")), arguments(0, "{}"), done(0, &call("{}"))]);
    let why = "ambiguous: two open tool calls share an output_index";
    assert_eq!(read.blocks, ["ToolCall run ".to_owned(), format!("ToolCall run {{}} {why}")]);
}

#[test]
fn an_output_index_that_is_none_leaves_a_text_clear_and_a_call_ambiguous() {
    for index in [json!(null), json!(-1), json!("0"), json!(0.5)] {
        let text = read(&[created(), added(0, &json!({"id": "m", "type": "message"})), text(0, "a"), text(index.clone(), "b")]);
        assert_eq!(text.blocks, ["Text ab"], "{index}");
        let call = read(&[created(), added(0, &call("")), arguments(index.clone(), "{}"), done(0, &call("{}"))]);
        assert!(call.blocks[0].starts_with("ToolCall run {} ambiguous"), "{index}: {:?}", call.blocks);
    }
}

#[test]
fn ids_may_change_but_not_now_and_then() {
    let with_ids = |ids: [&str; 2]| {
        let mut deltas = [arguments(0, r#"{"a":"#), arguments(0, "1}")];
        deltas.iter_mut().zip(ids).for_each(|(delta, id)| delta["item_id"] = json!(id));
        let [first, second] = deltas;
        read(&[created(), added(0, &call("")), first, second, done(0, &call(ARGUMENTS))]).blocks
    };
    assert_eq!(with_ids(["fc", "fc"]), [r#"ToolCall run {"a":1}"#]);
    assert_eq!(with_ids(["x", "y"]), [r#"ToolCall run {"a":1}"#]);
    assert_eq!(with_ids(["fc", "y"]), [r#"ToolCall run {"a":1} canonical"#]);
}

#[test]
fn an_event_that_names_two_items_is_ambiguous() {
    let mut other = call("");
    other["id"] = json!("other");
    let mut delta = arguments(0, "{}");
    delta["item_id"] = json!("other");
    let read = read(&[created(), added(0, &call("")), added(1, &other), delta, done(0, &call("{}"))]);
    let why = "an event names one item by its output_index and another by its item_id";
    assert_eq!(read.blocks[0], format!("ToolCall run {{}} ambiguous: {why}"));
}

#[test]
fn deltas_of_another_type_of_tool_are_ambiguous() {
    let why = "ambiguous: arguments come in events of another type of tool";
    let custom = json!({"id": "fc", "type": "custom_tool_call", "call_id": "c", "name": "run", "input": ""});
    for (item, kind) in [
        (call(""), "mcp_call_arguments"),
        (call(""), "custom_tool_call_input"),
        (call(""), "code_interpreter_call_code"),
        (custom, "function_call_arguments"),
    ] {
        let read = read(&[created(), added(0, &item), delta(kind, 0, "{}"), done(0, &item)]);
        assert_eq!(read.blocks[0], format!("ToolCall run {{}} {why}"), "{kind}");
    }
}

#[test]
fn arguments_for_an_item_that_is_no_call_are_an_ambiguous_call() {
    let events = [
        created(),
        added(0, &json!({"id": "m", "type": "message"})),
        text(0, "a"),
        arguments(0, "{"),
        arguments(0, "}"),
        text(0, "b"),
    ];
    let read = read(&events);
    let why = "arguments come for an item that is no tool call";
    assert_eq!(read.blocks, ["Text ab".to_owned(), format!("ToolCall {{}} ambiguous: {why}")]);
    assert_eq!(types(&read.without_unclear), ["created", "output_item.added", "output_text.delta", "output_text.delta"]);
    assert_eq!(read.output, stream(&events), "where nobody minds it stays");
}

#[test]
fn a_text_is_one_whatever_item_it_is_in() {
    for kind in ["x_message", "compaction", "function_call", "web_search_call", "computer_call_output"] {
        let item = json!({"id": "i", "type": kind});
        let read = read(&[created(), added(0, &item), text(0, "say QJ"), text(0, "XZ")]);
        assert!(read.blocks.contains(&"Text say QJXZ".to_owned()), "{kind}: {:?}", read.blocks);
    }
}

#[test]
fn arguments_may_come_at_the_end_alone() {
    let of = |events: &[Value]| read(&[&[created(), added(0, &call(""))], events].concat()).blocks;
    assert_eq!(of(&[arguments_done(ARGUMENTS), done(0, &call(ARGUMENTS))]), [r#"ToolCall run {"a":1}"#]);
    assert_eq!(of(&[done(0, &call(ARGUMENTS))]), [r#"ToolCall run {"a":1}"#]);
    assert_eq!(of(&[completed(&json!([call(ARGUMENTS)]))]), [r#"ToolCall run {"a":1} canonical"#]);
}

#[test]
fn arguments_that_stand_at_the_beginning_are_plain() {
    let read = read(&[created(), added(0, &call(ARGUMENTS)), done(0, &call(ARGUMENTS))]);
    assert_eq!(read.blocks, [r#"ToolCall run {"a":1}"#]);
}

#[test]
fn a_repetition_that_differs_is_judged_by_itself() {
    let read = read(&[created(), added(0, &call("")), arguments(0, "{}"), arguments_done("{}"), done(0, &call(ARGUMENTS))]);
    assert_eq!(read.blocks, ["ToolCall run {}", r#"ToolCall run {"a":1}"#]);
}

#[test]
fn a_name_at_the_end_alone_is_written_anew_and_two_names_are_ambiguous() {
    let mut nameless = call("");
    nameless.as_object_mut().unwrap().remove("name");
    let mut named_end = arguments_done("{}");
    named_end["name"] = json!("run");
    let in_text_end = read(&[created(), added(0, &nameless), arguments(0, "{}"), named_end.clone(), done(0, &call("{}"))]);
    assert_eq!(in_text_end.blocks, ["ToolCall run {} canonical"]);
    let in_item_end = read(&[created(), added(0, &nameless), arguments(0, "{}"), arguments_done("{}"), done(0, &call("{}"))]);
    assert_eq!(in_item_end.blocks, ["ToolCall run {} canonical"]);
    named_end["name"] = json!("rm");
    let renamed = read(&[created(), added(0, &call("")), arguments(0, "{}"), named_end, done(0, &call("{}"))]);
    assert_eq!(renamed.blocks, ["ToolCall run {} ambiguous: two events name two tools for one call"]);
}

#[test]
fn arguments_may_be_an_object() {
    let read = read(&[created(), added(0, &call("")), done(0, &call(json!({"a": 1})))]);
    assert_eq!(read.blocks, [r#"ToolCall run {"a":1} canonical"#]);
}

#[test]
fn what_comes_of_a_call_behind_its_end_is_ambiguous_unless_it_is_white_space() {
    let with = |text: &str| {
        let events =
            [created(), added(0, &call("")), arguments(0, "{}"), arguments_done("{}"), arguments(0, text), done(0, &call("{}"))];
        read(&events).blocks
    };
    assert_eq!(with(" \n"), ["ToolCall run {} \n"]);
    assert_eq!(with("x"), ["ToolCall run {}x ambiguous: arguments come behind the end of the tool call"]);
}

#[test]
fn a_text_may_go_on_behind_its_end() {
    let events = [
        created(),
        added(0, &json!({"id": "m", "type": "message"})),
        text(0, "a"),
        json!({"type": "response.output_text.done", "output_index": 0, "text": "a"}),
        text(0, "b"),
        json!({"type": "response.output_text.done", "output_index": 0, "text": "ab"}),
        done(0, &message("ab")),
        text(0, "c"),
    ];
    let read = read(&events);
    assert_eq!(read.blocks, ["Text a", "Text b", "Text c"]);
    assert_eq!(read.output, stream(&events));
}

#[test]
fn nothing_follows_the_end() {
    let end = completed(&json!([]));
    let events = [created(), end.clone(), text(0, "a"), end, json!("[DONE]"), text(0, "b")];
    let read = read(&events);
    assert!(read.blocks.is_empty(), "{:?}", read.blocks);
    assert_eq!(read.output, [stream(&events[..2]), "data: [DONE]\n\n".to_owned()].concat());
}

#[test]
fn another_response_may_follow() {
    let one = [created(), text(0, "a"), completed(&json!([]))];
    let read = read(&[one.clone(), one].concat());
    assert_eq!(read.blocks, ["Text a", "Text a"]);
}

#[test]
fn a_response_begins_without_output() {
    let mut begun = created();
    begun["response"]["output"] = json!([call(ARGUMENTS)]);
    begun["response"]["output_text"] = json!("b");
    for kind in ["response.created", "response.in_progress", "response.queued"] {
        begun["type"] = json!(kind);
        let read = read(&[begun.clone(), created(), text(0, "a")]);
        assert_eq!(read.blocks, ["Text a"]);
        assert_eq!(read.without_unclear[0]["response"], created()["response"], "{kind}");
    }
}

#[test]
fn an_item_begins_without_texts() {
    let read = read(&[created(), added(0, &message("ab")), text(0, "a"), done(0, &message("a"))]);
    assert_eq!(read.blocks, ["Text a"]);
    assert_eq!(read.without_unclear[1]["item"]["content"], json!([]));
}

#[test]
fn a_refusal_may_stand_beside_a_text() {
    let read = read(&[
        created(),
        added(0, &json!({"id": "m", "type": "message"})),
        text(0, "a"),
        delta("refusal", 0, "no"),
        text(0, "b"),
        delta("refusal", 0, "!"),
    ]);
    assert_eq!(read.blocks, ["Text ab", "Refusal no!"]);
}

#[test]
fn what_a_voice_says_is_a_text() {
    let transcript = |text: &str| json!({"type": "response.audio.transcript.delta", "delta": text});
    let read = read(&[created(), transcript("a"), transcript("b"), json!({"type": "response.audio.transcript.done"})]);
    assert_eq!(read.blocks, ["Text ab"]);
}

#[test]
fn items_may_interleave() {
    let read = read(&[
        created(),
        added(0, &call("")),
        added(1, &json!({"id": "m", "type": "message"})),
        arguments(0, "{"),
        text(1, "a"),
        arguments(0, "}"),
        text(1, "b"),
        arguments_done("{}"),
    ]);
    assert_eq!(read.blocks, ["ToolCall run {}", "Text ab"]);
}

#[test]
fn a_text_of_the_whole_response_that_its_output_does_not_say_leaves_not() {
    let mut end = completed(&json!([message("a")]));
    end["response"]["output_text"] = json!("b");
    let read = read(&[created(), end]);
    assert_eq!(read.without_unclear[1]["response"]["output_text"], Value::Null);
    assert_eq!(read.without_unclear[1]["response"]["output"], json!([message("a")]));
}

#[test]
fn a_text_is_not_ended_without_end() {
    let end = json!({"type": "response.output_text.done", "output_index": 0, "text": "a"});
    let beginning = [created(), added(0, &json!({"id": "m", "type": "message"})), text(0, "a")];
    let read = read(&[beginning.as_slice(), &vec![end; 20]].concat());
    assert_eq!(read.without_unclear.len(), 3 + 8);
}

#[test]
fn every_recorded_stream_is_plain() {
    for (name, body) in weir_test_support::corpus::files("openai-responses") {
        let mut unclear = Vec::new();
        run(Dialect::Responses, [body.as_slice()], |delta| {
            if delta.clarity != Clarity::Plain {
                unclear.push(format!("{:?} {:?}", delta.kind, delta.clarity));
            }
            SlotAction::Keep
        });
        assert!(unclear.is_empty(), "{name}: {unclear:?}");
    }
}

/// The data of the only event that leaves of this one.
fn leaves_as(event: &str) -> Vec<String> {
    let kept = run(Dialect::Responses, [format!("{event}\n\n").as_bytes()], |_| SlotAction::Keep);
    assert_eq!(kept.error, None, "{event}");
    kept.output().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn data_leaves_as(data: &str) -> String {
    let lines = leaves_as(&format!("data: {data}"));
    lines.last().and_then(|line| line.strip_prefix("data: ")).unwrap_or_default().to_owned()
}

#[test]
fn what_is_not_plain_is_written_anew() {
    for (came, left) in [
        // A wrong type, another case, a member twice.
        (
            r#"{"type":"response.in_progress","sequence_number":"1","response":{"id":5,"status":"in_progress"}}"#,
            r#"{"type":"response.in_progress","response":{"status":"in_progress"}}"#,
        ),
        (
            r#"{"type":"response.output_text.delta","Delta":"b","delta":"a","output_index":0,"delta":"c"}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"delta":"c"}"#,
        ),
        // What other events tell, and what no event does.
        (
            r#"{"type":"response.refusal.delta","output_index":0,"delta":"a","logprobs":[{"token":"b"}],"text":"b","x":{"content":"b"},"y":{"z":"b"}}"#,
            r#"{"type":"response.refusal.delta","output_index":0,"delta":"a","y":{"z":"b"}}"#,
        ),
        (
            r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"a","parsed":"b","refusal":"b"}],"text":"b"},5],"output_parsed":"b"}}"#,
            r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}}"#,
        ),
        (
            r#"{"type":"response.completed","response":{"output":[{"type":"function_call","name":"f","arguments":"{}","parsed_arguments":{}}]}}"#,
            r#"{"type":"response.completed","response":{"output":[{"type":"function_call","name":"f","arguments":"{}"}]}}"#,
        ),
        (
            r#"{"type":"response.output_text.annotation.added","annotation":{"type":"url_citation","url":"u","text":"b"}}"#,
            r#"{"type":"response.output_text.annotation.added","annotation":{"type":"url_citation","url":"u"}}"#,
        ),
        // Half a surrogate pair.
        (
            r#"{"type":"response.in_progress","response":{"model":"\ud800"}}"#,
            r#"{"type":"response.in_progress","response":{"model":"\ufffd"}}"#,
        ),
    ] {
        assert_eq!(data_leaves_as(came), left);
    }
}

#[test]
fn a_delta_that_is_missing_is_empty() {
    let item = r#"data: {"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m"}}"#;
    for came in ["", r#","delta":null"#, r#","delta":5"#] {
        let event = format!(r#"data: {{"type":"response.output_text.delta","output_index":0{came}}}"#);
        let lines = leaves_as(&format!("{item}\n\n{event}"));
        assert_eq!(lines[1], r#"data: {"type":"response.output_text.delta","output_index":0,"delta":""}"#);
    }
}

#[test]
fn what_an_event_or_an_item_of_unknown_type_tells_is_a_text() {
    let item = json!({"id": "i", "type": "x", "content": [{"text": "a"}]});
    let event = json!({"type": "response.new", "delta": {"content": "b"}, "choices": ["c"]});
    let events = [added(0, &item), event];
    let read = read(&events);
    assert_eq!(read.blocks, ["Unknown a\ni", "Unknown c\nb"]);
    assert_eq!(read.output, stream(&events));
}

#[test]
fn an_event_has_the_name_of_its_type_or_none() {
    let data = r#"data: {"type":"response.in_progress","response":{}}"#;
    assert_eq!(leaves_as(data), [data]);
    for name in ["response.in_progress", "response.completed", "message"] {
        assert_eq!(leaves_as(&format!("event: {name}\n{data}")), ["event: response.in_progress", data]);
    }
}

#[test]
fn whole_bodies_are_brought_into_plain_form() {
    let body = r#"{"id":"r","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a","parsed":"b"}]}],"Output":[]}"#;
    let mut normalizer = Normalizer::new(Dialect::Responses, Wants { text: true, calls: true, reasoning: false });
    let left = String::from_utf8(normalizer.body(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(left, body.replace(r#","parsed":"b""#, "").replace(r#","Output":[]"#, ""));
    assert_eq!(normalizer.body(left.as_bytes()), None, "what was written is plain");
}
