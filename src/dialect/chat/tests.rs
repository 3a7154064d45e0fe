use proptest::prelude::*;

use crate::block::{BlockKind, build_text_chunk};
use crate::dialect::testing::{Transcript, data_of, keep, run, run_body, stream};
use crate::dialect::{
    DecodeError, Decoder, Delta, Dialect, Encoder, Ending, Frame, FrameRole, Insertion, MAX_BLOCKS, MAX_CHOICES, MAX_PIECES,
    Slot, SlotAction, TooLate,
};
use crate::wire::sse;

const CHAT: Dialect = Dialect::ChatCompletions;

/// A chunk whose one choice has this delta, and none or this finish reason.
fn chunk(delta: &str, finish_reason: &str) -> String {
    let finish_reason = if finish_reason.is_empty() { "null".to_owned() } else { format!("{finish_reason:?}") };
    format!(
        r#"{{"id":"c1","created":7,"model":"m","system_fingerprint":"fp","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}]}}"#
    )
}

fn call(index: u32, rest: &str) -> String {
    chunk(&format!(r#"{{"tool_calls":[{{"index":{index},{rest}}}]}}"#), "")
}

fn streamed(chunks: &[String]) -> String {
    let mut data: Vec<&str> = chunks.iter().map(String::as_str).collect();
    data.push("[DONE]");
    stream(&data)
}

fn parts(chunks: &[String]) -> Vec<String> {
    let transcript = keep(CHAT, &streamed(chunks));
    assert_eq!(transcript.error, None);
    transcript.parts
}

/// A stream whose deltas of the tool calls `removed` (by name, or by block where the name does not stand) are removed.
fn without_blocks(chunks: &[String], removed: &[u32]) -> Transcript {
    run(
        CHAT,
        [streamed(chunks).as_bytes()],
        |delta| {
            if removed.contains(&delta.block.0) { SlotAction::Remove } else { SlotAction::Keep }
        },
    )
}

/// What a client makes of a stream, choice 0: content, tool calls as `index id name arguments`, finish reasons.
fn client(output: &[u8]) -> (String, Vec<String>, Vec<String>) {
    let (mut content, mut calls, mut reasons) = (String::new(), Vec::<[String; 4]>::new(), Vec::new());
    for chunk in data_of(output) {
        for choice in chunk["choices"].as_array().unwrap() {
            assert!(reasons.is_empty(), "nothing of a choice follows its finish reason");
            content.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                let index = call["index"].to_string();
                let position = calls.iter().position(|call| call[0] == index).unwrap_or_else(|| {
                    assert_eq!(index, calls.len().to_string(), "indices are dense");
                    calls.push([index.clone(), String::new(), String::new(), String::new()]);
                    calls.len().saturating_sub(1)
                });
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                calls[position][1] += &text(&call["id"]);
                calls[position][2] += &text(&call["function"]["name"]);
                calls[position][3] += &text(&call["function"]["arguments"]);
            }
            reasons.extend(choice["finish_reason"].as_str().map(str::to_owned));
        }
    }
    (content, calls.iter().map(|call| call.join(" ")).collect(), reasons)
}

#[test]
fn text_is_one_block_until_the_finish_reason() {
    let chunks = [
        chunk(r#"{"role":"assistant","content":""}"#, ""),
        chunk(r#"{"content":"a\n\"\u00e9\ud83d\ude00"}"#, ""),
        chunk(r#"{"content":"b"}"#, ""),
        chunk("{}", "stop"),
    ];
    assert_eq!(parts(&chunks), [r#"0:Text^"a\n\"é😀""#, r#"0:Text"b""#, "0:stop", "finish 0 stop", "end"]);
}

#[test]
fn every_kind_of_text_is_a_block_of_its_own() {
    let chunks = [
        chunk(r#"{"reasoning_content":"r"}"#, ""),
        chunk(r#"{"reasoning":"s"}"#, ""),
        chunk(r#"{"content":"t"}"#, "stop"),
        r#"{"choices":[{"index":1,"delta":{"refusal":"u"},"finish_reason":"stop"}]}"#.to_owned(),
    ];
    let expected = [
        r#"0:Reasoning^"r""#,
        r#"0:Reasoning"s""#,
        r#"1:Text^"t""#,
        "0:stop",
        "1:stop",
        "finish 0 stop",
        r#"2:Refusal@1^"u""#,
        "2:stop",
        "finish 1 stop",
        "end",
    ];
    assert_eq!(parts(&chunks), expected);
}

#[test]
fn content_may_be_a_list_of_parts() {
    let chunks = [chunk(r#"{"content":[{"type":"text","text":"a"},{"type":"x","x":1},{"type":"text","text":"b"}]}"#, "stop")];
    assert_eq!(parts(&chunks), [r#"0:Text^"a""#, r#"0:Text"b""#, "0:stop", "finish 0 stop", "end"]);
}

#[test]
fn a_tool_call_stops_where_its_arguments_close() {
    let chunks = [
        call(0, r#""id":"x","type":"function","function":{"name":"f","arguments":""}"#),
        call(0, r#""function":{"arguments":"{\"a\":"}"#),
        call(0, r#""function":{"arguments":"\"}\\\"\"}"}"#),
        call(1, r#""id":"y","function":{"name":"g","arguments":"{}"}"#),
        chunk("{}", "tool_calls"),
    ];
    let expected = [
        "0:ToolCall^[x,f]",
        r#"0:ToolCall"{\"a\":""#,
        r#"0:ToolCall$"\"}\\\"\"}""#,
        r#"1:ToolCall^$[y,g]"{}""#,
        "finish 0 tool_calls",
        "end",
    ];
    assert_eq!(parts(&chunks), expected);
}

#[test]
fn tool_calls_are_told_apart_however_they_come() {
    let cases: &[(&str, &[String], &[&str])] = &[
        (
            "several in one chunk, with content and finish reason",
            &[chunk(
                r#"{"content":"t","tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}},{"index":1,"id":"y","function":{"name":"g","arguments":"{}"}}]}"#,
                "tool_calls",
            )],
            &[r#"0:Text^"t""#, r#"1:ToolCall^$[x,f]"{}""#, r#"2:ToolCall^$[y,g]"{}""#, "0:stop", "finish 0 tool_calls"],
        ),
        (
            "interleaved",
            &[
                call(0, r#""id":"x","function":{"name":"f","arguments":"{"}"#),
                call(1, r#""id":"y","function":{"name":"g","arguments":"{"}"#),
                call(0, r#""function":{"arguments":"}"}"#),
                call(1, r#""function":{"arguments":"}"}"#),
            ],
            &[r#"0:ToolCall^[x,f]"{""#, r#"1:ToolCall^[y,g]"{""#, r#"0:ToolCall$"}"~"#, r#"1:ToolCall$"}"~"#],
        ),
        (
            "name and id late",
            &[call(0, r#""function":{"arguments":"{}"}"#), call(0, r#""function":{"name":"f"}"#), call(0, r#""id":"x""#)],
            &[r#"0:ToolCall^"{}"~"#, "0:ToolCall$[,f]", "0:ToolCall[x,]"],
        ),
        (
            "id and name repeated",
            &[
                call(0, r#""id":"x","function":{"name":"f","arguments":"{"}"#),
                call(0, r#""id":"x","function":{"name":"f","arguments":"}"}"#),
            ],
            &[r#"0:ToolCall^[x,f]"{""#, r#"0:ToolCall$"}"~"#],
        ),
        (
            "without index",
            &[
                chunk(r#"{"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{"}}]}"#, ""),
                chunk(r#"{"tool_calls":[{"function":{"arguments":"}"}}]}"#, ""),
                chunk(r#"{"tool_calls":[{"id":"y","function":{"name":"f","arguments":"{}"}}]}"#, ""),
            ],
            &[r#"0:ToolCall^[x,f]"{"~"#, r#"0:ToolCall$"}"~"#, r#"1:ToolCall^$[y,f]"{}"~"#],
        ),
        (
            "the same index for every call",
            &[
                call(0, r#""id":"x","function":{"name":"f","arguments":"{}"}"#),
                call(0, r#""id":"y","function":{"name":"f","arguments":"{}"}"#),
            ],
            &[r#"0:ToolCall^$[x,f]"{}""#, r#"1:ToolCall^$[y,f]"{}"~"#],
        ),
        (
            "bytes after the end",
            &[
                call(0, r#""id":"x","function":{"name":"f","arguments":"{}"}"#),
                call(0, r#""function":{"arguments":" {\"b\":1}"}"#),
            ],
            &[r#"0:ToolCall^$[x,f]"{}""#, r#"0:ToolCall" {\"b\":1}"?(it goes on after it was complete)"#],
        ),
        (
            "custom tool",
            &[
                call(0, r#""id":"x","type":"custom","custom":{"name":"f","input":""}"#),
                call(0, r#""custom":{"input":"{} ls"}"#),
                chunk("{}", "tool_calls"),
            ],
            &["0:ToolCall^[x,f] free", r#"0:ToolCall"{} ls" free"#, "0:stop", "finish 0 tool_calls"],
        ),
        (
            "legacy function call",
            &[
                chunk(r#"{"function_call":{"name":"f","arguments":"{"}}"#, ""),
                chunk(r#"{"function_call":{"arguments":"}"}}"#, "function_call"),
            ],
            &[r#"0:ToolCall^[,f]"{""#, r#"0:ToolCall$"}""#, "finish 0 function_call"],
        ),
        (
            "content after a tool call",
            &[call(0, r#""id":"x","function":{"name":"f","arguments":"{}"}"#), chunk(r#"{"content":"t"}"#, "stop")],
            &[r#"0:ToolCall^$[x,f]"{}""#, r#"1:Text^"t""#, "1:stop", "finish 0 stop"],
        ),
    ];
    for (case, chunks, expected) in cases {
        let mut expected = expected.to_vec();
        expected.push("end");
        assert_eq!(parts(chunks), expected, "{case}");
    }
}

/// A second part of a call that began as `x`, `f`, `{`.
fn continued(second: &str) -> String {
    let began = call(0, r#""id":"x","type":"function","function":{"name":"f","arguments":"{"}"#);
    parts(&[began, second.to_owned()]).swap_remove(1)
}

#[test]
fn a_peculiarity_is_the_calls_alone() {
    let whole = |index: &str, fields: &str| {
        let function = r#""function":{"name":"f","arguments":"{}"}"#;
        let fields = [index, r#""id":"x""#, function, fields].into_iter().filter(|field| !field.is_empty());
        let data = chunk(&format!(r#"{{"tool_calls":[{{{}}}]}}"#, fields.collect::<Vec<_>>().join(",")), "");
        parts(&[data]).swap_remove(0)
    };
    assert_eq!(whole(r#""index":0"#, ""), r#"0:ToolCall^$[x,f]"{}""#);
    assert_eq!(whole("", ""), r#"0:ToolCall^$[x,f]"{}""#, "Mistral's");
    for index in [r#""index":-1"#, r#""index":"0""#, r#""index":1e3"#, r#""index":7"#, r#""index":99999999999"#] {
        assert_eq!(whole(index, ""), r#"0:ToolCall^$[x,f]"{}"~"#, "{index}");
    }
    let without_index = |fields: &str| format!(r#"{{"id":"y","function":{{"name":"g",{fields}}}}}"#);
    let [complete, begun] = [r#""arguments":"{}""#, r#""arguments":"{""#].map(without_index);
    let alone = |elements: &str| parts(&[chunk(&format!(r#"{{"tool_calls":[{elements}]}}"#), "")]);
    assert_eq!(alone(&begun)[0], r#"0:ToolCall^[y,g]"{"~"#, "what follows belongs to it for some clients alone");
    assert_eq!(alone(&format!("{complete},{}", complete.replace("\"y\"", "\"z\"")))[1], r#"1:ToolCall^$[z,g]"{}"~"#);
    assert_eq!(whole(r#""index":0"#, r#""type":"custom""#), r#"0:ToolCall^$[x,f]"{}"~"#);
    let both = whole(r#""index":0"#, r#""custom":{"name":"g","input":"i"}"#);
    assert_eq!(both, r#"0:ToolCall^$[x,f]"{}"?(it is a function and a custom tool)"#);
    for (second, expected) in [
        (call(0, r#""function":{"arguments":"}"}"#), r#"0:ToolCall$"}""#),
        (call(0, r#""function":{"name":"","arguments":"}"}"#), r#"0:ToolCall$"}""#),
        (call(0, r#""id":"y","function":{"arguments":"}"}"#), r#"0:ToolCall$"}"?(its id changes)"#),
        (call(0, r#""function":{"name":"f","arguments":"}"}"#), r#"0:ToolCall$"}"~"#),
        (call(0, r#""function":{"name":"g","arguments":"}"}"#), r#"0:ToolCall$[,g]"}"?(its name comes in pieces, or changes)"#),
        (call(0, r#""custom":{"input":"}"}"#), r#"0:ToolCall$"}"?(it is a function and a custom tool)"#),
        (chunk(r#"{"tool_calls":[{"function":{"arguments":"}"}}]}"#, ""), r#"0:ToolCall$"}"~"#),
    ] {
        assert_eq!(continued(&second), expected, "{second}");
    }
}

#[test]
fn arguments_that_are_json_are_read_as_the_text_that_they_are() {
    let read = |arguments: &str| parts(&[call(0, &format!(r#""id":"x","function":{{"name":"f","arguments":{arguments}}}"#))]);
    assert_eq!(read(r#"{"a": [1,"b"]}"#), [r#"0:ToolCall^$[x,f]"{\"a\": [1,\"b\"]}"~"#, "end"]);
    assert_eq!(read("[1]"), [r#"0:ToolCall^[x,f]"[1]"~"#, "0:stop", "end"]);
    assert_eq!(read("null"), ["0:ToolCall^[x,f]", "0:stop", "end"]);
}

#[test]
fn another_call_on_the_index_of_one_that_is_complete_is_ambiguous_unless_it_has_an_id() {
    let first = call(0, r#""id":"x","function":{"name":"f","arguments":"{}"}"#);
    let second = |fields: &str| parts(&[first.clone(), call(0, fields)]).swap_remove(1);
    let why = "?(it has the index of an earlier call)";
    assert_eq!(second(r#""function":{"name":"g","arguments":"{}"}"#), format!(r#"1:ToolCall^$[,g]"{{}}"{why}"#));
    assert_eq!(second(r#""function":{"name":"f","arguments":"{}"}"#), format!(r#"1:ToolCall^$[,f]"{{}}"{why}"#));
    assert_eq!(second(r#""id":"y","function":{"name":"g","arguments":"{}"}"#), r#"1:ToolCall^$[y,g]"{}"~"#);
    assert_eq!(second(r#""id":"x","function":{"name":"f","arguments":" "}"#), r#"0:ToolCall" "~"#);
    assert_eq!(second(r#""function":{"arguments":" \n"}"#), r#"0:ToolCall" \n""#);
}

#[test]
fn two_elements_about_one_call_in_one_chunk_are_not_joined_by_every_client() {
    let data = chunk(
        r#"{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{"}},{"index":0,"function":{"arguments":"}"}}]}"#,
        "",
    );
    assert_eq!(parts(&[data]), [r#"0:ToolCall^[x,f]"{""#, r#"0:ToolCall$"}"~"#, "end"]);
}

#[test]
fn reasoning_in_parts_and_transcripts_are_text_and_leave_changed() {
    let chunks = [
        chunk(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},{"type":"text","text":"b"}]}"#, ""),
        chunk(r#"{"content":[{"type":"thinking","thinking":"c"}]}"#, ""),
        chunk(r#"{"audio":{"id":"u","transcript":"d","data":"AAAA"}}"#, ""),
        chunk(r#"{"reasoning":"e","reasoning_details":[{"type":"reasoning.text","text":"e"}]}"#, "stop"),
    ];
    let expected = ["0:Reasoning^\"a\"", "1:Text^\"b\"", "0:Reasoning\"c\"", "1:Text\"d\"", "0:Reasoning\"e\""];
    assert_eq!(parts(&chunks)[..5], expected);
    let changed = run(CHAT, [streamed(&chunks).as_bytes()], |delta| SlotAction::Replace(delta.text.to_uppercase()));
    let expected = [
        chunk(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"A"}]},{"type":"text","text":"B"}]}"#, ""),
        chunk(r#"{"content":[{"type":"thinking","thinking":"C"}]}"#, ""),
        chunk(r#"{"audio":{"id":"u","transcript":"D"}}"#, ""),
        chunk(r#"{"reasoning":"E"}"#, "stop"),
    ];
    assert_eq!(changed.output(), streamed(&expected));
    assert_eq!(keep(CHAT, &streamed(&chunks)).output(), streamed(&chunks));
}

#[test]
fn an_open_tool_call_is_cut_by_length_and_by_the_end_but_complete_at_the_terminator() {
    let open = call(0, r#""id":"x","function":{"name":"f","arguments":"{"}"#);
    let last = |parts: Vec<String>| parts[1..].join(" ");
    assert_eq!(last(parts(&[open.clone(), chunk("{}", "length")])), "0:cut finish 0 length end");
    assert_eq!(last(parts(core::slice::from_ref(&open))), "0:stop end");
    assert_eq!(last(keep(CHAT, &stream(&[&open])).parts), "0:cut");
}

#[test]
fn every_choice_has_its_own_blocks_and_finish_reason() {
    let chunks = [
        r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#.to_owned(),
        r#"{"choices":[{"index":1,"delta":{"content":"c"},"finish_reason":"stop"}]}"#.to_owned(),
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#.to_owned(),
    ];
    let expected =
        [r#"0:Text^"a""#, r#"1:Text@1^"b""#, r#"1:Text@1"c""#, "1:stop", "finish 1 stop", "0:cut", "finish 0 length", "end"];
    assert_eq!(parts(&chunks), expected);
}

#[test]
fn documents_without_content_keep_their_place() {
    let role = |event: &str| {
        let mut frame = Frame::default();
        let mut parser = sse::Parser::new(1000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        Decoder::new(CHAT).event(&event, &mut frame, &mut |_| {}).unwrap();
        assert!(frame.slots.is_empty());
        frame.role
    };
    let cases = [
        (": keep-alive\n\n", FrameRole::Free),
        ("\n", FrameRole::Free),
        ("data:\n\n", FrameRole::Free),
        ("data: {\"choices\":[],\"usage\":{}}\n\n", FrameRole::Content),
        ("data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n", FrameRole::Content),
        ("data: {\"usage\":{}}\n\n", FrameRole::Content),
        ("data: {\"error\":{\"message\":\"x\"}}\n\n", FrameRole::Failure),
        ("data: [DONE]\n\n", FrameRole::Terminator),
        ("data: [DONE] \n\n", FrameRole::Terminator),
    ];
    for (event, expected) in cases {
        assert_eq!(role(event), expected, "{event:?}");
    }
}

#[test]
fn something_unknown_is_one_slot_with_its_strings_and_leaves_as_it_came_or_not_at_all() {
    let unknown = r#"{"object":"new","notes":["a\nb",{"n":1,"more":"c"}]}"#;
    let stream = |unknown: &[&str]| {
        let [before, after] = [chunk(r#"{"content":"t"}"#, ""), chunk("{}", "stop")];
        streamed(&[&[before][..], &unknown.iter().map(|data| (*data).to_owned()).collect::<Vec<_>>(), &[after]].concat())
    };
    let came = stream(&[unknown]);
    let kept = keep(CHAT, &came);
    assert_eq!(kept.parts, [r#"0:Text^"t""#, r#"1:Unknown^$"new\na\nb\nc""#, "0:stop", "finish 0 stop", "end"]);
    assert_eq!(kept.output(), came);
    let remove = |delta: &Delta<'_>| if delta.kind == BlockKind::Unknown { SlotAction::Remove } else { SlotAction::Keep };
    assert_eq!(run(CHAT, [came.as_bytes()], remove).output(), stream(&[]));
    let (parts, body) = run_body(CHAT, unknown, remove, &[]).unwrap();
    assert_eq!(parts, [r#"0:Unknown^$"new\na\nb\nc""#, "end"]);
    assert!(body.contains("error") && !body.contains("notes"), "{body}");
}

#[test]
fn what_readers_could_take_differently_is_an_error() {
    let malformed = |at| DecodeError::Malformed { at };
    let cases: Vec<(&str, String, DecodeError)> = vec![
        ("not JSON", "{".to_owned(), malformed(0)),
        ("malformed after the choices", r#"{"choices":[],"x":tru}"#.to_owned(), malformed(18)),
        ("more after the end", r#"{"choices":[]}]"#.to_owned(), malformed(14)),
    ];
    for (case, data, expected) in cases {
        let transcript = keep(CHAT, &stream(&[&data]));
        assert!(transcript.parts.is_empty(), "{case}: nothing is reported");
        let error = transcript.error.unwrap_or_else(|| panic!("{case} passes"));
        let same_place = expected == malformed(0) && matches!(error, DecodeError::Malformed { .. });
        assert!(same_place || error == expected, "{case}: {error:?}");
    }
    let invalid_utf8 = run(CHAT, [&b"data: {\"choices\":[],\"x\":\"\xff\"}\n\n"[..]], |_| SlotAction::Keep);
    assert_eq!(invalid_utf8.error, Some(DecodeError::Utf8 { at: 19 }));
}

#[test]
fn odd_but_unambiguous_json_is_read_as_clients_read_it() {
    let deep = format!(r#"{{"x":{}{},"choices":[]}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(parts(&[deep]), ["end"], "depth of what is not read does not matter");
    let odd = r#"{"big":1e999,"choices":[{"index":0,"delta":{"\u0063ontent":"\u0061\u0000"}}]}"#;
    assert_eq!(parts(&[odd.to_owned()]), [r#"0:Text^"a\0""#, "0:stop", "end"]);
}

#[test]
fn blocks_choices_and_pieces_are_bounded() {
    let error = |max: usize, write: &dyn Fn(&str) -> String, item: &dyn Fn(usize) -> String| {
        let [within, beyond] = [max, max + 1].map(|count| {
            let items: Vec<String> = (0..count).map(item).collect();
            keep(CHAT, &stream(&[&write(&items.join(","))])).error
        });
        assert_eq!(within, None, "as many as the bound allows");
        beyond
    };
    let calls = |calls: &str| chunk(&format!(r#"{{"tool_calls":[{calls}]}}"#), "");
    let choices = |choices: &str| format!(r#"{{"choices":[{choices}]}}"#);
    let call = |index| format!(r#"{{"index":{index}}}"#);
    assert_eq!(error(MAX_BLOCKS, &calls, &call), Some(DecodeError::TooManyBlocks));
    let choice = |index| format!(r#"{{"index":{index},"delta":{{}}}}"#);
    assert_eq!(error(MAX_CHOICES, &choices, &choice), Some(DecodeError::TooManyChoices));
    assert_eq!(error(MAX_PIECES, &calls, &|_| r#"{"index":0}"#.to_owned()), Some(DecodeError::TooManyPieces));
}

fn two_calls() -> Vec<String> {
    vec![
        chunk(r#"{"role":"assistant","content":null}"#, ""),
        call(0, r#""id":"x","function":{"name":"f","arguments":""}"#),
        call(0, r#""function":{"arguments":"{}"}"#),
        call(1, r#""id":"y","function":{"name":"g","arguments":""}"#),
        call(1, r#""function":{"arguments":"{}"}"#),
        chunk("{}", "tool_calls"),
        r#"{"choices":[],"usage":{"total_tokens":3}}"#.to_owned(),
    ]
}

#[test]
fn calls_that_are_left_close_the_gap_of_removed_ones() {
    let chunks = two_calls();
    assert_eq!(
        client(&without_blocks(&chunks, &[0]).output),
        (String::new(), vec!["0 y g {}".into()], vec!["tool_calls".into()])
    );
    assert_eq!(
        client(&without_blocks(&chunks, &[1]).output),
        (String::new(), vec!["0 x f {}".into()], vec!["tool_calls".into()])
    );
}

#[test]
fn a_message_whose_calls_are_all_removed_says_so_and_just_stops() {
    let removed = without_blocks(&two_calls(), &[0, 1]);
    let (content, calls, reasons) = client(&removed.output);
    assert!(!content.is_empty() && calls.is_empty());
    assert_eq!(reasons, ["stop"]);
    assert!(removed.output().contains("total_tokens") && removed.output().ends_with("data: [DONE]\n\n"));
    assert_eq!(removed.output().matches("\n\n").count(), 5, "chunks with nothing left are not written: {}", removed.output());
}

#[test]
fn other_finish_reasons_are_preserved() {
    let mut chunks = two_calls();
    chunks[5] = chunk("{}", "length");
    assert_eq!(client(&without_blocks(&chunks, &[0, 1]).output).2, ["length"]);
}

#[test]
fn removed_text_takes_its_log_probabilities_along_and_leaves_the_rest() {
    let chunk = r#"{ "n":1.0, "choices" : [{"delta":{"role":"assistant", "content":"secret","tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]},"index":0,"logprobs":{"content":[{"token":"secret"}]}}],"obfuscation":"z"}"#;
    let removed = run(CHAT, [stream(&[chunk]).as_bytes()], |delta| {
        if delta.kind == BlockKind::Text { SlotAction::Remove } else { SlotAction::Keep }
    });
    let expected = chunk.replace(r#""secret","#, "null,").replace(r#"{"content":[{"token":"secret"}]}"#, "null");
    assert_eq!(removed.output(), stream(&[&expected]));
}

#[test]
fn replaced_text_and_arguments_stand_where_the_old_ones_stood() {
    let cases = [
        (r#"{"content":"a\n"}"#, r#"{"content":"<\"new\">"}"#),
        (r#"{"content":[{"type":"text","text":"a"},{"x":1}]}"#, r#"{"content":[{"type":"text","text":"<\"new\">"},{"x":1}]}"#),
        (
            r#"{"tool_calls":[{"function":{"arguments":"{"},"index":0}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"<\"new\">"},"index":0}]}"#,
        ),
        (
            r#"{"tool_calls":[{"index":0,"id":"x"}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"<\"new\">"},"index":0,"id":"x"}]}"#,
        ),
        (
            r#"{"tool_calls":[{"index":0,"custom":{"input":"a"}}]}"#,
            r#"{"tool_calls":[{"index":0,"custom":{"input":"<\"new\">"}}]}"#,
        ),
        (r#"{"function_call":{"name":"f"}}"#, r#"{"function_call":{"arguments":"<\"new\">","name":"f"}}"#),
    ];
    for (delta, expected) in cases {
        let replaced = run(CHAT, [stream(&[&chunk(delta, "")]).as_bytes()], |_| SlotAction::Replace("<\"new\">".to_owned()));
        assert_eq!(replaced.output(), stream(&[&chunk(expected, "")]), "{delta}");
    }
}

#[test]
fn a_call_that_has_left_keeps_an_id_that_comes_late() {
    let chunks = [
        call(0, r#""function":{"name":"f","arguments":"{}"}"#),
        call(0, r#""id":"x","function":{"arguments":" "}"#),
        chunk("{}", "tool_calls"),
    ];
    let removed =
        run(CHAT, [streamed(&chunks).as_bytes()], |delta| if delta.starts { SlotAction::Keep } else { SlotAction::Remove });
    assert_eq!(client(&removed.output).1, ["0 x f {}"]);
}

/// The indices of the tool calls that begin in a stream.
fn indices(output: &[u8]) -> Vec<u64> {
    let chunks = data_of(output);
    let calls = chunks.iter().flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten());
    calls.filter(|call| call["id"].is_string()).map(|call| call["index"].as_u64().unwrap()).collect()
}

#[test]
fn indices_are_the_upstreams_until_a_call_is_removed() {
    for upstream in [[0, 0, 0], [0, 1, 2], [1, 2, 3], [5, 3, 9], [2, 2, 0]] {
        let begins = |(position, index): (usize, &u32)| {
            call(*index, &format!(r#""id":"id{position}","function":{{"name":"f","arguments":"{{}}"}}"#))
        };
        let mut chunks: Vec<String> = upstream.iter().enumerate().map(begins).collect();
        chunks.insert(1, chunk(r#"{"content":"t"}"#, ""));
        chunks.push(chunk("{}", "tool_calls"));
        let untouched = streamed(&chunks);
        assert_eq!(keep(CHAT, &untouched).output(), untouched, "an untouched stream leaves as it came");
        let without_text = without_blocks(&chunks, &[1]);
        assert_eq!(indices(&without_text.output), upstream.map(u64::from), "{upstream:?}: no call was removed");
        assert_eq!(indices(&without_blocks(&chunks, &[0]).output), [0, 1], "{upstream:?}");
        let first = u64::from(upstream[0]);
        assert_eq!(indices(&without_blocks(&chunks, &[2]).output), [first, first + 1], "{upstream:?}");
    }
}

#[test]
fn calls_that_leave_late_keep_their_indices() {
    let chunks = [
        call(0, r#""id":"x","function":{"name":"f","arguments":"{}"}"#),
        chunk(r#"{"content":"t"}"#, ""),
        call(1, r#""id":"y","function":{"name":"g","arguments":"{}"}"#),
    ];
    let (mut encoder, mut decoder, mut out) = (Encoder::new(CHAT), Decoder::new(CHAT), Vec::new());
    let events: Vec<String> = chunks.iter().map(|chunk| stream(&[chunk])).collect();
    let frames = events.iter().map(|event| {
        let mut frame = Frame::default();
        let mut parser = sse::Parser::new(10_000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        decoder.event(&event, &mut frame, &mut |_| {}).unwrap();
        frame
    });
    let frames: Vec<Frame> = frames.collect();
    for position in [1, 0, 2] {
        encoder.event(events[position].as_bytes(), &frames[position], &[SlotAction::Keep], &mut out);
    }
    assert_eq!(String::from_utf8(out).unwrap(), [1, 0, 2].map(|position| events[position].as_str()).concat());
}

#[test]
fn an_edited_event_keeps_its_other_lines() {
    let raw = "id: 4\r\nevent: e\r\ndata: {\"choices\":[{\"delta\":\r\ndata: {\"content\":\"a\"}}]}\r\n: c\r\n\r\n";
    let edited = run(CHAT, [raw.as_bytes()], |_| SlotAction::Replace("b".to_owned()));
    let plain = "id: 4\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n";
    assert_eq!(edited.output(), plain, "what was not plain is written anew");
    let raw = "id: 4\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\r\n: c\r\n\r\n";
    let edited = run(CHAT, [raw.as_bytes()], |_| SlotAction::Replace("b".to_owned()));
    assert_eq!(edited.output(), raw.replace("\"a\"", "\"b\""));
}

/// An encoder that has let `chunks` pass.
fn encoder_after(chunks: &[String]) -> (Encoder, Vec<u8>) {
    let (mut encoder, mut decoder, mut frame, mut out) = (Encoder::new(CHAT), Decoder::new(CHAT), Frame::default(), Vec::new());
    for chunk in chunks {
        let event = stream(&[chunk]);
        let mut parser = sse::Parser::new(10_000);
        let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
        decoder.event(&event, &mut frame, &mut |_| {}).unwrap();
        let actions = vec![SlotAction::Keep; frame.slots.len()];
        encoder.event(event.raw, &frame, &actions, &mut out);
    }
    out.clear();
    (encoder, out)
}

#[test]
fn own_chunks_look_like_the_upstreams() {
    let (mut encoder, mut out) = encoder_after(&[chunk(r#"{"role":"assistant","content":""}"#, "")]);
    encoder.chunk(&build_text_chunk(0, "a\"b"), &mut out).unwrap();
    let expected = r#"data: {"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"a\"b"},"finish_reason":null}]}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n\n"));
}

#[test]
fn a_stream_can_be_ended_at_any_place() {
    for (passed, ending, reason) in [
        (vec![], Ending::Refusal, "content_filter"),
        (vec![chunk(r#"{"content":"a"}"#, "")], Ending::Stop, "stop"),
        (two_calls()[..3].to_vec(), Ending::Stop, "tool_calls"),
    ] {
        let (mut encoder, mut out) = encoder_after(&passed);
        encoder.end(ending, &mut out);
        let (content, _, reasons) = client(&out);
        assert_eq!(reasons, [reason]);
        assert_eq!(content.is_empty(), !passed.is_empty(), "an empty message says why");
        assert!(out.ends_with(b"data: [DONE]\n\n"));
        let length = out.len();
        encoder.end(ending, &mut out);
        encoder.failure("late", &mut out);
        assert_eq!(encoder.chunk(&build_text_chunk(0, "late"), &mut out), Err(TooLate));
        assert_eq!(out.len(), length, "nothing follows the terminator");
    }
}

#[test]
fn text_cannot_follow_a_finish_reason() {
    let (mut encoder, mut out) = encoder_after(&[chunk(r#"{"content":"a"}"#, "stop")]);
    assert_eq!(encoder.chunk(&build_text_chunk(0, "late"), &mut out), Err(TooLate));
}

#[test]
fn a_failure_is_an_error_object_and_no_terminator_follows() {
    let (mut encoder, mut out) = encoder_after(&[]);
    encoder.failure("why", &mut out);
    encoder.end(Ending::Stop, &mut out);
    let expected = r#"data: {"error":{"message":"why","type":"api_error","param":null,"code":null}}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n\n"));
}

#[test]
fn own_events_stand_apart_from_an_event_that_lacks_its_blank_line() {
    let mut encoder = Encoder::new(CHAT);
    let mut out = Vec::new();
    encoder.event(b"data: {\"choices\":[]}\n", &Frame::default(), &[], &mut out);
    encoder.failure("why", &mut out);
    assert!(out.starts_with(b"data: {\"choices\":[]}\n\ndata: {\"error\""));
}

const BODY: &str = r#"{"id":"c", "choices":[{"index":0,"message":{"role":"assistant","content":"hi","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"y","type":"custom","custom":{"name":"g","input":"ls"}}]},"logprobs":{"content":[]},"finish_reason":"tool_calls"}],"usage":{"total_tokens":1}}"#;

#[test]
fn a_whole_body_gives_the_same_blocks() {
    let (parts, output) = run_body(CHAT, BODY, |_| SlotAction::Keep, &[]).unwrap();
    let expected = [r#"0:Text^$"hi""#, r#"1:ToolCall^$[x,f]"{}""#, r#"2:ToolCall^$[y,g]"ls" free"#, "finish 0 tool_calls", "end"];
    assert_eq!(parts, expected);
    assert_eq!(output, BODY);
}

#[test]
fn a_whole_body_can_be_edited() {
    let without_calls = BODY.replace(r#","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"y","type":"custom","custom":{"name":"g","input":"ls"}}]"#, "");
    let stopped = without_calls.replace(r#""finish_reason":"tool_calls""#, r#""finish_reason":"stop""#);
    let insertion = |before, text: &str| Insertion { before, chunk: build_text_chunk(0, text), extras: String::new() };
    let is_call = |delta: &Delta<'_>| delta.kind == BlockKind::ToolCall;
    let remove_calls = |delta: &Delta<'_>| {
        if is_call(delta) { SlotAction::Remove } else { SlotAction::Keep }
    };
    let edit =
        |action: &dyn Fn(&Delta<'_>) -> SlotAction, insertions: &[Insertion]| run_body(CHAT, BODY, action, insertions).unwrap().1;
    assert_eq!(edit(&remove_calls, &[]), stopped);
    assert_eq!(edit(&remove_calls, &[insertion(1, " blocked")]), stopped.replace("\"hi\"", "\"hi blocked\""));
    assert_eq!(edit(&|_| SlotAction::Keep, &[insertion(0, "so: ")]), BODY.replace("\"hi\"", "\"so: hi\""));
    let emptied: serde_json::Value = serde_json::from_str(&edit(&|_| SlotAction::Remove, &[])).unwrap();
    assert!(!emptied["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "never an empty message");
    assert_eq!(emptied["choices"][0]["logprobs"], serde_json::Value::Null);
    let one_left = edit(
        &|delta| {
            if delta.name == "f" { SlotAction::Remove } else { SlotAction::Keep }
        },
        &[],
    );
    assert_eq!(one_left, BODY.replace(r#"{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}},"#, ""));
    let replaced = edit(
        &|delta| {
            if delta.name == "f" { SlotAction::Replace("{\"b\":1}".to_owned()) } else { SlotAction::Keep }
        },
        &[],
    );
    assert_eq!(replaced, BODY.replace(r#""arguments":"{}""#, r#""arguments":"{\"b\":1}""#));
}

#[test]
fn a_body_without_content_gets_some_when_its_calls_are_removed() {
    let body = r#"{"choices":[{"message":{"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
    let (_, output) = run_body(CHAT, body, |_| SlotAction::Remove, &[]).unwrap();
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    let choice = &output["choices"][0];
    assert!(choice["message"]["content"].is_string() && choice["message"].get("tool_calls").is_none());
    assert_eq!(choice["finish_reason"], "stop");
}

proptest! {
    #[test]
    fn whatever_is_removed_and_added_leaves_a_legal_stream(
        kinds in prop::collection::vec(0u8..3, 1..6),
        removed in prop::collection::vec(any::<bool>(), 8),
        own_text_after in 0usize..12,
        broken_off_after in 0usize..16,
    ) {
        let mut chunks = vec![chunk(r#"{"role":"assistant","content":""}"#, "")];
        let mut indices = 0u32..;
        let has_calls = kinds.iter().any(|kind| *kind > 0);
        for kind in &kinds {
            if *kind == 0 {
                chunks.push(chunk(r#"{"content":"t"}"#, ""));
                continue;
            }
            let index = indices.next().unwrap();
            let id = format!(r#""id":"id{index}","function":{{"name":"f","arguments":"{{"}}"#);
            chunks.extend([call(index, &id), call(index, r#""function":{"arguments":"}"}"#)]);
        }
        chunks.push(chunk("{}", if has_calls { "tool_calls" } else { "stop" }));
        let (mut encoder, mut decoder, mut out) = (Encoder::new(CHAT), Decoder::new(CHAT), Vec::new());
        let mut frame = Frame::default();
        for (position, chunk) in chunks.iter().enumerate().take(broken_off_after) {
            if position == own_text_after {
                let _too_late_is_fine = encoder.chunk(&build_text_chunk(0, "own"), &mut out);
            }
            let event = stream(&[chunk]);
            let mut parser = sse::Parser::new(10_000);
            let event = parser.next(&mut event.as_bytes()).unwrap().unwrap();
            decoder.event(&event, &mut frame, &mut |_| {}).unwrap();
            let action = |slot: &Slot| if removed[slot.block.0 as usize] { SlotAction::Remove } else { SlotAction::Keep };
            let actions: Vec<SlotAction> = frame.slots.iter().map(action).collect();
            encoder.event(event.raw, &frame, &actions, &mut out);
        }
        encoder.end(Ending::Stop, &mut out);
        let (content, calls, reasons) = client(&out);
        prop_assert!(!content.is_empty() || !calls.is_empty(), "no message is empty");
        prop_assert_eq!(reasons, [if calls.is_empty() { "stop" } else { "tool_calls" }]);
    }
}
