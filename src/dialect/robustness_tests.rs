//! Nothing that an upstream can send makes a decoder or an encoder panic.

use proptest::prelude::*;

use super::testing::run;
use super::*;
use crate::block::build_text_chunk;

/// Fragments that reach deep into the dialects.
const FRAGMENTS: [&str; 41] = [
    "data: ",
    "\n\n",
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "0",
    "-1",
    "\"",
    "\\ud800",
    "é",
    "[DONE]",
    r#""choices":[{"index":0,"delta":{"#,
    r#""content":"a\n""#,
    r#""tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]"#,
    r#""function_call":{"arguments":"{"}"#,
    r#"},"finish_reason":"tool_calls"}]"#,
    r#"data: {"choices":[{"delta":{"content":"a","tool_calls":[{"id":"x"},{"index":1}]},"logprobs":{}}]}"#,
    r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
    r#"data: {"type":"message_start","message":{}}"#,
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#,
    r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","input":{"a":1}}}"#,
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
    r#"data: {"type":"content_block_stop","index":0}"#,
    r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}"#,
    r#"data: {"type":"message_stop"}"#,
    r#"data: {"type":"response.created","response":{"id":"r","output":[]},"sequence_number":0}"#,
    r#"data: {"type":"response.output_item.added","output_index":0,"item":{"type":"message","content":[]}}"#,
    r#"data: {"type":"response.output_item.added","output_index":1,"item":{"type":"shell_call","action":{"commands":["a"]}}}"#,
    r#"data: {"type":"response.output_item.added","output_index":2,"item":{"type":"new","a":["b"]}}"#,
    r#"data: {"type":"response.output_text.delta","output_index":0,"delta":"a","logprobs":[{}]}"#,
    r#"data: {"type":"response.shell_call_command.added","output_index":1,"command":"b"}"#,
    r#"data: {"type":"response.output_text.done","output_index":0,"text":"b"}"#,
    r#"data: {"type":"response.output_item.done","output_index":1,"item":{"type":"shell_call","action":{"commands":["a","b"]}}}"#,
    r#"data: {"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"refusal","refusal":"c"}]}}"#,
    r#"data: {"type":"response.new","output_index":1,"a":"b"}"#,
    r#"data: {"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"d"}]},{"type":"apply_patch_call","operation":{"type":"e","path":"f"}}]}}"#,
];

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

fn action(number: u8) -> SlotAction {
    match number % 4 {
        0 => SlotAction::Remove,
        1 => SlotAction::Replace("{\"b\":\"\n\"}".to_owned()),
        2 => SlotAction::Replace(String::new()),
        _ => SlotAction::Keep,
    }
}

/// Frames that are alike but for a string, and some that only look so.
const CHAT_DOCUMENTS: [&str; 20] = [
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"obfuscation":"xyz"}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"b\n\u00e9"},"finish_reason":null}],"obfuscation":"x"}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"longer than eight bytes"},"finish_reason":null}],"obfuscation":3}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":null}],"obfuscation":"x"}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":null},"finish_reason":null}],"obfuscation":"x"}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"\ud800"},"finish_reason":null}],"obfuscation":"x"}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"obfuscation":"x"}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"error":"x"}"#,
    r#"{"choices":[{"delta":{"content":"a"},"index":1}]}"#,
    r#"{"choices":[{"delta":{"content":"b"},"index":1}]}"#,
    r#"{"choices":[{"delta":{"refusal":"a"},"index":1}]}"#,
    r#"{"choices":[{"delta":{"content":"a","refusal":"b"}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"a\":1"}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":""}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"y","function":{"name":"f","arguments":"{"}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"custom":{"input":"{"}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}]}"#,
    r#"{"choices":[{"delta":{"function_call":{"arguments":"{"}}}]}"#,
];

const MESSAGES_DOCUMENTS: [&str; 14] = [
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"x","name":"f","input":{}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\"b\" and more"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\ud800"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":3}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"a"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"a"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"b\""}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_stop","index":1}"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_document_is_read_alike_whether_or_not_one_like_it_came_before(
        chat in prop::collection::vec(prop::sample::select(&CHAT_DOCUMENTS[..]), 0..25),
        messages in prop::collection::vec(prop::sample::select(&MESSAGES_DOCUMENTS[..]), 0..25),
    ) {
        for (dialect, documents) in DIALECTS.into_iter().zip([chat, messages]) {
            let alike = documents.iter().map(|source| format!("data: {source}\n\n"));
            let transcript = run(dialect, [alike.collect::<String>().as_bytes()], |_| SlotAction::Keep);
            // More white space in each makes all of them different.
            let unlike = documents.iter().enumerate().map(|(position, source)| {
                format!("data: {{{}{}\n\n", " ".repeat(position), source.strip_prefix('{').unwrap())
            });
            let expected = run(dialect, [unlike.collect::<String>().as_bytes()], |_| SlotAction::Keep);
            prop_assert_eq!(transcript.parts, expected.parts);
            prop_assert_eq!(
                transcript.error.as_ref().map(core::mem::discriminant),
                expected.error.as_ref().map(core::mem::discriminant)
            );
        }
    }
}

proptest! {
    #[test]
    fn streams_of_anything(
        deltas in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..20),
        separate in any::<bool>(),
        actions in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        let stream = deltas.join(if separate { "\n\n" } else { "" });
        for dialect in DIALECTS {
            let mut actions = actions.iter().copied().cycle();
            let transcript = run(dialect, [stream.as_bytes()], |_| action(actions.next().unwrap_or_default()));
            prop_assert!(core::str::from_utf8(&transcript.output).is_ok());
            let whole = run(dialect, [stream.as_bytes()], |_| SlotAction::Keep);
            let bytewise = run(dialect, stream.as_bytes().chunks(1), |_| SlotAction::Keep);
            prop_assert_eq!(whole.parts, bytewise.parts);
        }
    }

    #[test]
    fn bodies_of_anything(
        deltas in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..12),
        numbers in prop::collection::vec(any::<u8>(), 1..8),
        before in 0usize..4,
    ) {
        let deltas = deltas.concat();
        let bodies = [
            deltas.clone(),
            format!("{{{deltas}}}"),
            format!(r#"{{"content":[{deltas}],"stop_reason":"tool_use"}}"#),
            r#"{"content":[{"type":"text","text":"a"},{"type":"tool_use","input":3},{"type":"text"}],"stop_reason":"tool_use"}"#.to_owned(),
            r#"{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"b"}]},{"type":"web_search_call","action":{}},{"type":"shell_call","action":{"commands":["c"]}},{"type":"reasoning","summary":[{"type":"summary_text","text":"d"}]},{"type":"new_call"}]}"#.to_owned(),
            r#"{"choices":[{"message":{"content":[{"text":"a","refusal":"b"}],"tool_calls":[{},{"custom":{}}],"function_call":{}},"finish_reason":"tool_calls"}]}"#.to_owned(),
        ];
        for (dialect, body) in DIALECTS.into_iter().flat_map(|dialect| bodies.iter().map(move |body| (dialect, body))) {
            let (mut frame, mut out) = (Frame::default(), Vec::new());
            if Decoder::new(dialect).body(body.as_bytes(), &mut frame, &mut |_| {}).is_err() {
                continue;
            }
            let actions: Vec<SlotAction> = frame.slots.iter().zip(numbers.iter().cycle()).map(|(_, number)| action(*number)).collect();
            let insertions = [Insertion { before, chunk: build_text_chunk(0, "own"), extras: String::new() }];
            Encoder::new(dialect).body(body.as_bytes(), &frame, &actions, &insertions, &mut out);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
        }
    }
}
