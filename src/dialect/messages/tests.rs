use proptest::prelude::*;
use serde_json::Value;

use crate::block::{BlockKind, Chunk, build_text_chunk};
use crate::dialect::framing::WITHHELD;
use crate::dialect::testing::{Transcript, data_of, keep, run, run_body, stream};
use crate::dialect::{
    DecodeError, Decoder, Delta, Dialect, Encoder, Ending, Frame, FrameRole, Insertion, MAX_BLOCKS, SlotAction, TooLate,
};
use crate::wire::sse;

const MESSAGES: Dialect = Dialect::Messages;

const BEGIN: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}"#;
const END: &str = r#"{"type":"message_stop"}"#;

fn start(index: u32, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: u32, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

fn text(index: u32, text: &str) -> String {
    delta(index, &format!(r#"{{"type":"text_delta","text":"{text}"}}"#))
}

fn input(index: u32, json: &str) -> String {
    delta(index, &format!(r#"{{"type":"input_json_delta","partial_json":{json:?}}}"#))
}

fn stop(index: u32) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

fn finish(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":9}}}}"#
    )
}

fn text_block(index: u32, content: &str) -> Vec<String> {
    vec![start(index, r#"{"type":"text","text":""}"#), text(index, content), stop(index)]
}

fn call_block(index: u32, id: &str) -> Vec<String> {
    let block = format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#);
    vec![start(index, &block), input(index, r#"{"a":1}"#), stop(index)]
}

/// A message of these events, with the reason that it stops for.
fn message(events: &[Vec<String>], reason: &str) -> String {
    let mut all = vec![BEGIN.to_owned()];
    all.extend(events.iter().flatten().cloned());
    all.extend([finish(reason), END.to_owned()]);
    named(&all)
}

/// Events with the names that belong to them.
fn named(data: &[String]) -> String {
    let name = |data: &str| serde_json::from_str::<Value>(data).unwrap()["type"].as_str().unwrap().to_owned();
    data.iter().map(|data| format!("event: {}\ndata: {data}\n\n", name(data))).collect()
}

fn without_blocks(stream: &str, removed: &[u32]) -> Transcript {
    run(
        MESSAGES,
        [stream.as_bytes()],
        |delta| if removed.contains(&delta.block.0) { SlotAction::Remove } else { SlotAction::Keep },
    )
}

/// What a client makes of a stream: its blocks in short notation, and the stop reason. Panics on an illegal stream.
fn client(output: &[u8]) -> (Vec<String>, String) {
    let (mut blocks, mut open, mut reason, mut begun, mut ended) = (Vec::new(), false, String::new(), false, false);
    let mut seen_call = false;
    for event in data_of(output) {
        assert!(!ended, "nothing follows message_stop");
        let kind = event["type"].as_str().unwrap();
        assert!(begun || kind == "message_start" || kind == "ping", "message_start comes first");
        match kind {
            "message_start" => begun = true,
            "content_block_start" => {
                assert!(!open && reason.is_empty(), "blocks come one after the other");
                assert_eq!(event["index"], blocks.len(), "indices are dense");
                let block = &event["content_block"];
                let kind = block["type"].as_str().unwrap();
                assert!(!seen_call || kind == "tool_use", "after tool_use comes tool_use only");
                seen_call |= kind == "tool_use";
                let own = block["text"].as_str().unwrap_or_default();
                blocks.push(format!("{kind} {}{own}", block["id"].as_str().unwrap_or_default()));
                open = true;
            }
            "content_block_delta" => {
                assert!(open && event["index"] == blocks.len().saturating_sub(1), "a delta has an open block");
                let delta = &event["delta"];
                let text = delta["text"].as_str().or_else(|| delta["partial_json"].as_str()).unwrap_or_default();
                blocks.last_mut().unwrap().push_str(text);
            }
            "content_block_stop" => {
                assert!(open && event["index"] == blocks.len().saturating_sub(1), "a stop has an open block");
                assert_ne!(blocks.last().unwrap(), "text ", "no text block is empty");
                open = false;
            }
            "message_delta" => {
                assert!(!open, "all blocks are closed before message_delta");
                assert!(!blocks.is_empty(), "no message is empty");
                reason.push_str(event["delta"]["stop_reason"].as_str().unwrap_or_default());
            }
            "message_stop" => ended = true,
            _ => {}
        }
    }
    (blocks, reason)
}

fn parts(events: &[String]) -> Vec<String> {
    let transcript = keep(MESSAGES, &named(events));
    assert_eq!(transcript.error, None);
    transcript.parts
}

#[test]
fn blocks_run_from_start_to_stop() {
    let events = [text_block(0, r"a\nb"), call_block(1, "x")].concat();
    let stream = message(&[events], "tool_use");
    let expected = [
        "0:Text^",
        r#"0:Text"a\nb""#,
        "0:Text$",
        "1:ToolCall^[x,f]",
        r#"1:ToolCall"{\"a\":1}""#,
        "1:ToolCall$",
        "finish 0 tool_use",
        "end",
    ];
    assert_eq!(keep(MESSAGES, &stream).parts, expected);
}

#[test]
fn every_kind_of_block_is_told_apart() {
    let cases = [
        (r#"{"type":"text","text":""}"#, "0:Text^"),
        (r#"{"type":"tool_use","id":"x","name":"f","input":{ }}"#, "0:ToolCall^[x,f]"),
        (r#"{"type":"tool_use","id":"x","name":"f","input":{"a": 1}}"#, r#"0:ToolCall^[x,f]"{\"a\": 1}""#),
        (r#"{"type":"server_tool_use","id":"x","name":"f","input":{}}"#, "0:ServerToolCall^[x,f]"),
        (r#"{"type":"mcp_tool_use","id":"x","name":"f","input":{}}"#, "0:ServerToolCall^[x,f]"),
        (r#"{"type":"web_search_tool_result","tool_use_id":"x","content":[]}"#, "0:ToolResult^[x,]"),
        (r#"{"type":"thinking","thinking":"t","signature":""}"#, "0:Other^"),
        (r#"{"type":"redacted_thinking","data":"t"}"#, "0:Other^"),
        (r#"{"type":"compaction","content":null}"#, "0:Unknown^"),
        (r#"{"type":"new","text":3,"name":["n","m"],"input":{"k":"v"}}"#, r#"0:Unknown^"n\nm\nv""#),
        (r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}"#, r#"0:Unknown^"a\nb""#),
    ];
    for (block, expected) in cases {
        assert_eq!(parts(&[start(0, block), stop(0)])[0], expected, "{block}");
    }
}

#[test]
fn deltas_without_text_belong_to_their_block() {
    let events = [
        start(0, r#"{"type":"thinking","thinking":""}"#),
        delta(0, r#"{"type":"thinking_delta","thinking":"t"}"#),
        delta(0, r#"{"type":"signature_delta","signature":"s"}"#),
        stop(0),
        start(1, r#"{"type":"text","text":""}"#),
        delta(1, r#"{"type":"citations_delta","citation":{"text":"c"}}"#),
        delta(1, r#"{"type":"new_delta","note":"n"}"#),
        stop(1),
    ];
    assert_eq!(
        parts(&events),
        ["0:Other^", "0:Other", "0:Other", "0:Other$", "1:Text^", "1:Text", r#"2:Unknown^$"n""#, "1:Text$"]
    );
}

#[test]
fn an_open_block_is_cut_by_max_tokens_by_the_end_and_by_another_message() {
    let open = start(0, r#"{"type":"tool_use","id":"x","name":"f","input":{}}"#);
    let after = |event: &str| parts(&[open.clone(), event.to_owned()])[1..].join(" ");
    assert_eq!(after(&finish("max_tokens")), "0:cut finish 0 max_tokens");
    assert_eq!(after(&finish("tool_use")), "0:stop finish 0 tool_use");
    assert_eq!(after(END), "0:stop end");
    assert_eq!(after(BEGIN), "0:cut");
    assert_eq!(after(r#"{"type":"ping"}"#), "0:cut");
}

#[test]
fn events_without_blocks_keep_their_place() {
    let role = |event: &str| {
        let mut frame = Frame::default();
        let mut parser = sse::Parser::new(1000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        Decoder::new(MESSAGES).event(&event, &mut frame, &mut |_| {}).unwrap();
        assert!(frame.slots.is_empty());
        frame.role
    };
    let cases = [
        (": keep-alive\n\n", FrameRole::Free),
        ("event: ping\n\n", FrameRole::Free),
        ("event: ping\ndata: {\"type\":\"ping\"}\n\n", FrameRole::Free),
        ("data: {\"type\":\"message_start\"}\n\n", FrameRole::Content),
        ("data: [DONE]\n\n", FrameRole::Content),
        ("data: {\"type\":\"message_delta\",\"delta\":{}}\n\n", FrameRole::Closing),
        ("data: {\"type\":\"message_stop\"}\n\n", FrameRole::Terminator),
        ("event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n", FrameRole::Failure),
    ];
    for (event, expected) in cases {
        assert_eq!(role(event), expected, "{event:?}");
    }
}

#[test]
fn something_unknown_is_one_slot_with_its_strings() {
    let events = [
        r#"{"type":"new_event","note":{"text":"a\nb","n":1},"list":["c",null]}"#.to_owned(),
        start(0, r#"{"type":"text","text":""}"#),
        delta(0, r#"{"type":"new_delta","note":"d"}"#),
        stop(0),
        start(1, r#"{"type":"new","text":"e"}"#),
        delta(1, r#"{"type":"new_delta","note":"f"}"#),
        stop(1),
    ];
    let expected = [
        r#"0:Unknown^$"a\nb\nc""#,
        "1:Text^",
        r#"2:Unknown^$"d""#,
        "1:Text$",
        r#"3:Unknown^"e""#,
        r#"3:Unknown"f""#,
        "3:Unknown$",
    ];
    assert_eq!(parts(&events), expected);
    let whole = r#"{"type":"message","content":[{"type":"new","text":"e"}]}"#;
    assert_eq!(run_body(MESSAGES, whole, |_| SlotAction::Keep, &[]).unwrap().0, [r#"0:Unknown^$"e""#, "end"]);
    assert_eq!(run_body(MESSAGES, r#"{"new":["e"]}"#, |_| SlotAction::Keep, &[]).unwrap().0, [r#"0:Unknown^$"e""#, "end"]);
}

#[test]
fn something_unknown_leaves_as_it_came_or_not_at_all() {
    let without = |kept: bool| {
        let note = r#"{"type":"note","text":"n"}"#.to_owned();
        let notes = vec![delta(1, r#"{"type":"note_delta","note":"n"}"#)];
        let block = vec![start(2, r#"{"type":"new"}"#), delta(2, r#"{"type":"new_delta"}"#), stop(2)];
        let [begin, end] = [text_block(1, "a")[..2].to_vec(), vec![stop(1)]];
        let [notes, block, note] = if kept { [notes, block, vec![note]] } else { [vec![], vec![], vec![]] };
        message(&[call_block(0, "x"), note, begin, notes, end, block], "tool_use")
    };
    let stream = without(true);
    assert_eq!(keep(MESSAGES, &stream).output(), stream);
    let removed =
        run(
            MESSAGES,
            [stream.as_bytes()],
            |delta| {
                if delta.kind == BlockKind::Unknown { SlotAction::Remove } else { SlotAction::Keep }
            },
        );
    assert_eq!(removed.output(), without(false));
}

#[test]
fn an_unknown_delta_goes_with_its_block_and_follows_its_index() {
    let note = |index| delta(index, r#"{"type":"note_delta","note":"n"}"#);
    let [mut removed, mut left] = [call_block(0, "x"), call_block(1, "y")];
    removed.insert(1, note(0));
    left.insert(1, note(1));
    let output = without_blocks(&message(&[removed, left], "tool_use"), &[0]);
    assert_eq!(output.output().matches("note_delta").count(), 1);
    assert!(output.output().contains(&note(0)));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    assert_eq!(keep(MESSAGES, &stream(&["hello"])).error, Some(DecodeError::Malformed { at: 0 }));
}

/// What is read of these events, none of which was arranged.
fn read_unarranged(events: &[String]) -> Result<(), DecodeError> {
    let (mut decoder, mut frame) = (Decoder::new(MESSAGES), Frame::default());
    events.iter().try_for_each(|data| {
        let event = named(core::slice::from_ref(data));
        let mut parser = sse::Parser::new(10_000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        decoder.event(&event, &mut frame, &mut |_| {})
    })
}

#[test]
fn what_the_arrangement_leaves_no_room_for_is_not_read() {
    let text_start = start(0, r#"{"type":"text","text":""}"#);
    let call_start = start(0, r#"{"type":"tool_use","id":"x","name":"f","input":{}}"#);
    let cases = [
        ("delta without block", vec![text(0, "a")]),
        ("stop without block", vec![stop(0)]),
        ("start of an open block", vec![text_start.clone(), call_start.clone()]),
        ("text in a call", vec![call_start, text(0, "a")]),
        ("input in a text", vec![text_start.clone(), input(0, "a")]),
        ("start without index", vec![r#"{"type":"content_block_start"}"#.to_owned()]),
        ("delta without delta", vec![text_start, r#"{"type":"content_block_delta","index":0}"#.to_owned()]),
    ];
    for (case, events) in cases {
        assert!(matches!(read_unarranged(&events), Err(DecodeError::Unreachable(_))), "{case}");
    }
}

#[test]
fn a_slot_that_nobody_decided_about_does_not_leave() {
    let mut decoder = Decoder::new(MESSAGES);
    let (mut encoder, mut frame, mut out) = (Encoder::new(MESSAGES), Frame::default(), Vec::new());
    for data in [vec![BEGIN.to_owned()], text_block(0, "secret"), call_block(1, "secret")].concat() {
        let event = named(core::slice::from_ref(&data));
        let mut parser = sse::Parser::new(10_000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        decoder.event(&event, &mut frame, &mut |_| {}).unwrap();
        encoder.event(event.raw, &frame, &[], &mut out);
    }
    encoder.end(Ending::Stop, &mut out);
    assert!(!String::from_utf8(out).unwrap().contains("secret"));
    let (mut frame, mut out) = (Frame::default(), Vec::new());
    Decoder::new(MESSAGES).body(BODY.as_bytes(), &mut frame, &mut |_| {}).unwrap();
    Encoder::new(MESSAGES).body(BODY.as_bytes(), &frame, &[], &[], &mut out);
    let left: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(left["content"].as_array().unwrap().len(), 1, "the sentence that says so: {left}");
}

#[test]
fn blocks_are_bounded() {
    let events: Vec<String> = (0..=u32::try_from(MAX_BLOCKS).unwrap()).map(|index| start(index, r#"{"type":"text"}"#)).collect();
    assert_eq!(keep(MESSAGES, &named(&events)).error, Some(DecodeError::TooManyBlocks));
    let call = start(0, r#"{"type":"tool_use","id":"x","name":"f","input":{}}"#);
    let long = "x".repeat(1 << 20);
    let waiting = (1..10).flat_map(|index| [start(index, r#"{"type":"text","text":""}"#), text(index, &long)]);
    let events: Vec<String> = core::iter::once(call).chain(waiting).collect();
    assert_eq!(keep(MESSAGES, &named(&events)).error, Some(DecodeError::TooMuchWaiting));
}

#[test]
fn blocks_that_are_left_close_the_gap_of_removed_ones() {
    let stream = message(&[text_block(0, "a"), call_block(1, "x"), call_block(2, "y")], "tool_use");
    let left = |removed: &[u32]| client(&without_blocks(&stream, removed).output);
    let (a, x, y) = ("text a".to_owned(), "tool_use x{\"a\":1}".to_owned(), "tool_use y{\"a\":1}".to_owned());
    assert_eq!(left(&[]), (vec![a.clone(), x.clone(), y.clone()], "tool_use".to_owned()));
    assert_eq!(left(&[0]), (vec![x.clone(), y.clone()], "tool_use".to_owned()));
    assert_eq!(left(&[1]), (vec![a.clone(), y], "tool_use".to_owned()));
    assert_eq!(left(&[1, 2]), (vec![a], "end_turn".to_owned()));
}

#[test]
fn a_message_of_which_nothing_is_left_says_so() {
    let stream = message(&[call_block(0, "x")], "tool_use");
    let (blocks, reason) = client(&without_blocks(&stream, &[0]).output);
    assert_eq!((blocks.len(), reason.as_str()), (1, "end_turn"));
    assert!(blocks[0].starts_with("text This"), "{blocks:?}");
}

#[test]
fn other_stop_reasons_are_preserved() {
    let stream = message(&[text_block(0, "a"), call_block(1, "x")], "pause_turn");
    assert_eq!(client(&without_blocks(&stream, &[1]).output).1, "pause_turn");
}

#[test]
fn server_side_calls_do_not_count_for_the_stop_reason() {
    let server = call_block(0, "s").join("\n").replace("tool_use", "server_tool_use");
    let server: Vec<String> = server.lines().map(str::to_owned).collect();
    let stream = message(&[server, call_block(1, "x")], "tool_use");
    assert_eq!(client(&without_blocks(&stream, &[0]).output).1, "tool_use");
}

#[test]
fn replaced_text_and_input_stand_where_the_old_ones_stood() {
    let replace = |stream: &str, which: fn(&Delta<'_>) -> bool| {
        let action = |delta: &Delta<'_>| {
            if which(delta) { SlotAction::Replace("new".to_owned()) } else { SlotAction::Keep }
        };
        run(MESSAGES, [stream.as_bytes()], action).output().to_owned()
    };
    let stream = message(&[text_block(0, "old"), call_block(1, "x")], "tool_use");
    let expected = stream.replace("\"old\"", "\"new\"");
    assert_eq!(replace(&stream, |delta| delta.text == "old"), expected);
    let expected = stream.replace(r#""{\"a\":1}""#, r#""new""#);
    assert_eq!(replace(&stream, |delta| delta.text.starts_with('{')), expected);
    for which in [(|delta: &Delta<'_>| delta.block.0 == 0 && delta.starts) as fn(&Delta<'_>) -> bool, |delta: &Delta<'_>| {
        delta.block.0 == 0 && delta.stops
    }] {
        let blocks = client(replace(&stream, which).as_bytes()).0;
        assert!(blocks[0] == "text newold" || blocks[0] == "text oldnew", "text goes in as a delta: {blocks:?}");
    }
}

#[test]
fn input_that_comes_whole_can_be_replaced() {
    let whole = start(0, r#"{"type":"tool_use","id":"x","name":"f","input":{"a":1}}"#);
    let stream = message(&[vec![whole, stop(0)]], "tool_use");
    let replaced = |input: &str| {
        let action = |delta: &Delta<'_>| {
            if delta.starts { SlotAction::Replace(input.to_owned()) } else { SlotAction::Keep }
        };
        run(MESSAGES, [stream.as_bytes()], action).output().to_owned()
    };
    assert_eq!(replaced(r#"{"b":2}"#), stream.replace(r#"{"a":1}"#, r#"{"b":2}"#));
    assert_eq!(replaced("not JSON"), stream.replace(r#"{"a":1}"#, "{}"));
}

#[test]
fn a_text_block_that_lost_its_text_is_not_empty() {
    let stream = message(&[text_block(0, "secret")], "end_turn");
    let removed =
        run(MESSAGES, [stream.as_bytes()], |delta| if delta.text.is_empty() { SlotAction::Keep } else { SlotAction::Remove });
    assert_eq!(client(&removed.output).0.len(), 1);
    assert!(!removed.output().contains("secret"));
}

#[test]
fn a_citation_does_not_keep_a_text_block_that_lost_its_text() {
    let citation = |index| delta(index, r#"{"type":"citations_delta","citation":{"cited_text":"c"}}"#);
    let cited = |before: bool| {
        let mut block = text_block(0, "secret");
        block.insert(if before { 1 } else { 2 }, citation(0));
        block
    };
    let removed_texts = |stream: &str| {
        run(MESSAGES, [stream.as_bytes()], |delta| if delta.text == "secret" { SlotAction::Remove } else { SlotAction::Keep })
    };
    for before in [true, false] {
        let alone = removed_texts(&message(&[cited(before)], "end_turn"));
        assert_eq!(client(&alone.output).0.len(), 1, "{}", alone.output());
        assert!(alone.output().contains(WITHHELD) && !alone.output().contains("cited"), "{}", alone.output());
        let followed = removed_texts(&message(&[cited(before), text_block(1, "said")], "end_turn"));
        assert_eq!(client(&followed.output).0.len(), 1, "{}", followed.output());
        assert!(!followed.output().contains("cited"), "{}", followed.output());
        let untouched = message(&[cited(before)], "end_turn");
        assert_eq!(keep(MESSAGES, &untouched).output(), untouched);
    }
    // What follows the text that is left keeps its citation, under the block's new index.
    let mut second = text_block(1, "secret");
    second.splice(2..2, [citation(1), text(1, "left")]);
    let partly = removed_texts(&message(&[text_block(0, "secret"), second], "end_turn"));
    assert_eq!(client(&partly.output).0.len(), 1, "{}", partly.output());
    assert!(partly.output().contains("cited") && !partly.output().contains(r#""index":1"#), "{}", partly.output());
}

#[test]
fn what_waits_for_the_first_text_of_a_block_is_bounded() {
    let citation = delta(0, r#"{"type":"citations_delta","citation":{"cited_text":"c"}}"#);
    let mut block = text_block(0, "secret");
    block.splice(2..2, core::iter::repeat_n(citation, 2_000));
    let stream = message(&[block], "end_turn");
    let removed =
        run(MESSAGES, [stream.as_bytes()], |delta| if delta.text.is_empty() { SlotAction::Keep } else { SlotAction::Remove });
    assert!(removed.output().contains("cited") && removed.output().contains(WITHHELD), "the block is opened, and not empty");
}

/// An encoder that has let `events` pass.
fn encoder_after(events: &[String]) -> (Encoder, Decoder, Vec<u8>) {
    let (mut encoder, mut decoder, mut out) = (Encoder::new(MESSAGES), Decoder::new(MESSAGES), Vec::new());
    pass(&mut encoder, &mut decoder, events, &mut out);
    (encoder, decoder, out)
}

fn pass(encoder: &mut Encoder, decoder: &mut Decoder, events: &[String], out: &mut Vec<u8>) {
    let mut frame = Frame::default();
    for data in events {
        let event = named(core::slice::from_ref(data));
        let mut parser = sse::Parser::new(10_000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        decoder.event(&event, &mut frame, &mut |_| {}).unwrap();
        encoder.event(event.raw, &frame, &[SlotAction::Keep], out);
    }
}

#[test]
fn own_text_goes_into_an_open_text_block_or_gets_its_own() {
    let begin = vec![BEGIN.to_owned()];
    let own = build_text_chunk(0, "own");
    let thinking = [start(0, r#"{"type":"thinking","thinking":""}"#), stop(0)];
    type Case<'a> = (&'a str, Vec<String>, Vec<String>, &'a [&'a str]);
    let cases: [Case<'_>; 4] = [
        ("before the message", vec![], [begin.clone(), text_block(0, "a")].concat(), &["text own", "text a"]),
        ("between blocks", begin.clone(), text_block(0, "a"), &["text own", "text a"]),
        ("in a text block", [begin.clone(), text_block(0, "a")[..2].to_vec()].concat(), vec![stop(0)], &["text aown"]),
        ("in another block", [begin, thinking[..1].to_vec()].concat(), thinking[1..].to_vec(), &["thinking ", "text own"]),
    ];
    for (case, before, after, expected) in cases {
        let (mut encoder, mut decoder, mut out) = encoder_after(&before);
        encoder.chunk(&own, &mut out).unwrap();
        pass(&mut encoder, &mut decoder, &after, &mut out);
        encoder.end(Ending::Stop, &mut out);
        assert_eq!(client(&out), (expected.iter().map(|block| (*block).to_owned()).collect(), "end_turn".to_owned()), "{case}");
    }
}

#[test]
fn text_never_follows_a_released_call() {
    let (mut encoder, _, mut out) = encoder_after(&[vec![BEGIN.to_owned()], call_block(0, "x")].concat());
    assert_eq!(encoder.chunk(&build_text_chunk(0, "late"), &mut out), Err(TooLate));
}

#[test]
fn own_tool_calls_are_blocks_of_their_own() {
    let call = Chunk::ToolCall { choice: 0, call_id: "z".into(), name: "g".into(), arguments: "{}".into(), free_form: false };
    let (mut encoder, _, mut out) = encoder_after(&[BEGIN.to_owned()]);
    encoder.chunk(&call, &mut out).unwrap();
    encoder.end(Ending::Stop, &mut out);
    assert_eq!(client(&out), (vec!["tool_use z{}".to_owned()], "tool_use".to_owned()));
}

#[test]
fn a_stream_can_be_ended_at_any_place() {
    let text = text_block(0, "a");
    for passed in [vec![], vec![BEGIN.to_owned()], [vec![BEGIN.to_owned()], text[..2].to_vec()].concat()] {
        let (mut encoder, _, mut out) = encoder_after(&passed);
        encoder.end(Ending::Refusal, &mut out);
        assert_eq!(client(&out).1, "refusal");
        let output = String::from_utf8(out.clone()).unwrap();
        assert!(output.lines().filter(|line| line.starts_with("data")).count() == output.matches("event: ").count());
        assert!(output.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
        encoder.failure("late", &mut out);
        assert_eq!(encoder.chunk(&build_text_chunk(0, "late"), &mut out), Err(TooLate));
        assert_eq!(out.len(), output.len(), "nothing follows the terminator");
    }
}

#[test]
fn a_failure_has_its_event_line() {
    let (mut encoder, _, mut out) = encoder_after(&[]);
    encoder.failure("why", &mut out);
    encoder.end(Ending::Stop, &mut out);
    let expected = r#"{"type":"error","error":{"type":"api_error","message":"why"}}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("event: error\ndata: {expected}\n\n"));
}

const BODY: &str = r#"{"id":"m","type":"message","content":[{"type":"thinking","thinking":"t","signature":"s"}, {"type":"text","text":"hi"},{"type":"tool_use","id":"x","name":"f","input":{"a":1.0}},{"type":"tool_use","id":"y","name":"g","input":{}}],"stop_reason":"tool_use","usage":{"output_tokens":1}}"#;

#[test]
fn a_whole_body_gives_the_same_blocks() {
    let (parts, output) = run_body(MESSAGES, BODY, |_| SlotAction::Keep, &[]).unwrap();
    let expected = [
        "0:Other^$",
        r#"1:Text^$"hi""#,
        r#"2:ToolCall^$[x,f]"{\"a\":1.0}""#,
        r#"3:ToolCall^$[y,g]"{}""#,
        "finish 0 tool_use",
        "end",
    ];
    assert_eq!(parts, expected);
    assert_eq!(output, BODY);
}

#[test]
fn a_whole_body_can_be_edited() {
    let edit = |action: &dyn Fn(&Delta<'_>) -> SlotAction, insertions: &[Insertion]| -> Value {
        serde_json::from_str(&run_body(MESSAGES, BODY, action, insertions).unwrap().1).unwrap()
    };
    let outline = |body: &Value| {
        let blocks = body["content"].as_array().unwrap().iter();
        let blocks: Vec<String> = blocks
            .map(|block| format!("{}:{}", block["type"].as_str().unwrap(), block["text"].as_str().unwrap_or_default()))
            .collect();
        format!("{} {}", blocks.join(" "), body["stop_reason"].as_str().unwrap())
    };
    let remove = |kind| {
        move |delta: &Delta<'_>| {
            if delta.kind == kind { SlotAction::Remove } else { SlotAction::Keep }
        }
    };
    let blocked = Insertion { before: 4, chunk: build_text_chunk(0, "blocked"), extras: String::new() };
    assert_eq!(outline(&edit(&remove(BlockKind::ToolCall), &[])), "thinking: text:hi end_turn");
    assert_eq!(
        outline(&edit(&remove(BlockKind::ToolCall), core::slice::from_ref(&blocked))),
        "thinking: text:hi text:blocked end_turn"
    );
    assert_eq!(
        outline(&edit(&|_| SlotAction::Keep, &[blocked])),
        "thinking: text:hi text:blocked tool_use: tool_use: tool_use",
        "text goes before the first call"
    );
    let one_left = edit(
        &|delta| {
            if delta.name == "f" { SlotAction::Remove } else { SlotAction::Keep }
        },
        &[],
    );
    assert_eq!(outline(&one_left), "thinking: text:hi tool_use: tool_use");
    let emptied = edit(
        &|delta| {
            if delta.kind == BlockKind::Other { SlotAction::Keep } else { SlotAction::Remove }
        },
        &[],
    );
    assert!(outline(&emptied).starts_with("thinking: text:This"), "never an empty message");
    let replaced = edit(
        &|delta| {
            if delta.name == "g" { SlotAction::Replace(r#"{"b":2}"#.into()) } else { SlotAction::Keep }
        },
        &[],
    );
    assert_eq!(replaced["content"][3]["input"]["b"], 2);
}

proptest! {
    #[test]
    fn whatever_is_removed_and_added_leaves_a_legal_message(
        kinds in prop::collection::vec(0u8..4, 1..6),
        removed in prop::collection::vec(any::<bool>(), 6),
        own_text_after in 0usize..30,
        broken_off_after in 0usize..60,
    ) {
        // Calls come last, as providers send them.
        let mut kinds = kinds;
        kinds.sort_unstable();
        let mut events = vec![BEGIN.to_owned()];
        for (index, kind) in (0u32..).zip(&kinds) {
            events.extend(match kind {
                0 => vec![start(index, r#"{"type":"thinking","thinking":""}"#), stop(index)],
                1 | 2 => text_block(index, "t"),
                _ => call_block(index, "x"),
            });
        }
        let has_call = kinds.contains(&3);
        events.extend([finish(if has_call { "tool_use" } else { "end_turn" }), END.to_owned()]);
        let (mut encoder, mut decoder, mut out) = (Encoder::new(MESSAGES), Decoder::new(MESSAGES), Vec::new());
        let mut frame = Frame::default();
        for (position, data) in events.iter().enumerate().take(broken_off_after) {
            if position == own_text_after {
                let _too_late_is_fine = encoder.chunk(&build_text_chunk(0, "own"), &mut out);
            }
            let event = named(core::slice::from_ref(data));
            let mut parser = sse::Parser::new(10_000);
            let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
            decoder.event(&event, &mut frame, &mut |_| {}).unwrap();
            let is_removed = frame.slots.first().is_some_and(|slot| removed[slot.block.0 as usize]);
            encoder.event(event.raw, &frame, &[if is_removed { SlotAction::Remove } else { SlotAction::Keep }], &mut out);
        }
        encoder.end(Ending::Stop, &mut out);
        let (blocks, reason) = client(&out);
        // A message of thinking alone is what the provider sent, unless something was taken away.
        prop_assert!(!blocks.is_empty());
        let calls_left = blocks.iter().any(|block| block.starts_with("tool_use"));
        prop_assert_eq!(calls_left, reason == "tool_use");
    }
}
