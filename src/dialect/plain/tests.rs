use proptest::prelude::*;

use weir_test_support::readers::READERS;

use super::*;
use crate::dialect::Dialect;

const ALL: Wants = Wants { text: true, calls: true, reasoning: false };

/// What the stream `came` is written anew as.
fn normalized(dialect: Dialect, wants: Wants, came: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (mut parser, mut normalizer) = (sse::Parser::new(1 << 20), Normalizer::new(dialect, wants));
    let (mut input, mut out) = (came, Vec::new());
    let mut pass = |event: &sse::Event<'_>| -> Result<(), DecodeError> {
        match normalizer.event(event)? {
            None => out.extend_from_slice(event.raw),
            Some(written) => out.extend_from_slice(written),
        }
        Ok(())
    };
    while let Some(event) = parser.next(&mut input).unwrap() {
        pass(&event)?;
    }
    if let Some(event) = parser.finish() {
        pass(&event)?;
    }
    Ok(out)
}

fn chat(came: &str) -> String {
    String::from_utf8(normalized(Dialect::ChatCompletions, ALL, came.as_bytes()).unwrap()).unwrap()
}

fn chat_data(data: &str) -> String {
    let written = chat(&format!("data: {data}\n\n"));
    written.trim_end().trim_start_matches("data: ").to_owned()
}

const CHUNK: &str = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;

const LABELLED: &str = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}"#;

#[test]
fn events_that_say_something_are_all_called_alike() {
    let other = r#"{"object":"text","choices":[{"index":0,"delta":{"content":"b"}}]}"#;
    let label = r#""object":"chat.completion.chunk""#;
    let stream = |data: &[&str]| data.iter().map(|data| format!("data: {data}\n\n")).collect::<String>();
    let relabelled = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"b"}}}}],{label}}}"#);
    assert_eq!(chat(&stream(&[LABELLED, other])), stream(&[LABELLED, &relabelled]));
    let added = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"a"}}}}],{label}}}"#);
    assert_eq!(chat(&stream(&[LABELLED, CHUNK])), stream(&[LABELLED, &added]));
    let taken = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    assert_eq!(chat(&stream(&[CHUNK, LABELLED])), stream(&[CHUNK, taken]));
    // Azure's events of filters are called "": they say nothing, and stay.
    let filter = r#"{"object":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{}}]}"#;
    assert_eq!(chat(&stream(&[LABELLED, filter, LABELLED])), stream(&[LABELLED, filter, LABELLED]));
}

#[test]
fn events_of_several_choices_are_split_with_their_label() {
    let two = r#"{"object":"x","choices":[{"index":0,"delta":{"content":"a"}},{"index":0,"delta":{"content":"b"}}]}"#;
    let one = |content: &str| {
        format!(r#"data: {{"choices":[{{"index":0,"delta":{{"content":"{content}"}}}}],"object":"chat.completion.chunk"}}"#)
    };
    assert_eq!(
        chat(&format!("data: {LABELLED}\n\ndata: {two}\n\n")),
        format!("data: {LABELLED}\n\n{}\n\n{}\n\n", one("a"), one("b"))
    );
}

#[test]
fn what_a_choice_says_stands_in_the_member_in_which_it_spoke_first() {
    let event = |index: u32, delta: &str| format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{{delta}}}}}]}}\n\n");
    let stream = |deltas: &[&str]| deltas.iter().map(|delta| event(0, delta)).collect::<String>();
    let (content, refusal) = (r#""content":"a""#, r#""refusal":"b""#);
    // As providers refuse: nothing is said before it.
    let plain = stream(&[r#""role":"assistant","content":"","refusal":null"#, refusal, refusal]);
    assert_eq!(chat(&plain), plain);
    assert_eq!(chat(&stream(&[content, refusal, content])), stream(&[content, r#""content":"b""#, content]));
    assert_eq!(chat(&stream(&[refusal, content])), stream(&[refusal, r#""refusal":"a""#]));
    assert_eq!(chat(&stream(&[r#""refusal":"b","content":"a""#])), stream(&[r#""content":"ab""#]));
    let elsewhere = format!("{}{}{}", event(0, content), event(1, refusal), event(99, refusal));
    assert_eq!(chat(&elsewhere), elsewhere);
    let calls = Wants { text: false, calls: true, reasoning: false };
    let both = stream(&[content, refusal]);
    assert_eq!(normalized(Dialect::ChatCompletions, calls, both.as_bytes()).unwrap(), both.as_bytes());
}

#[test]
fn plain_events_stay_as_they_came() {
    for came in [
        ": OPENROUTER PROCESSING\n\n",
        ":\r\n\r\n",
        "id: 7\nretry: 10\n\n",
        "event: ping\n\n",
        "data:\n\n",
        "\n",
        &format!("data: {CHUNK}\n\n"),
        &format!("data:{CHUNK}\r\n\r\n"),
        &format!("id: 7\nevent: message\n: keep-alive\ndata: {CHUNK}\n\n"),
        "data: [DONE]\n\n",
        "data: {\"object\":\"new\",\"notes\":[\"a\",{\"n\":1}]}\n\n",
    ] {
        assert_eq!(chat(came), came);
    }
}

#[test]
fn lines_that_readers_take_differently_are_written_anew() {
    let plain = format!("data: {CHUNK}\n\n");
    for (came, leaves) in [
        (format!("{CHUNK}\n\n"), ""),
        (format!("  data: {CHUNK}\n\n"), ""),
        (format!("data: {CHUNK}\n\n\u{feff}data: {CHUNK}\n\n"), plain.as_str()),
        (format!("\u{feff}data: {CHUNK}\n\n"), &plain),
        (format!(": x\rdata: {CHUNK}\n\n"), &plain),
        (format!("data: {CHUNK}\r\r"), &plain),
        (format!("data:   {CHUNK}  \n\n"), &plain),
        (format!("data: {CHUNK}\n"), &plain),
        (format!("data: {CHUNK}"), &plain),
        (format!("data: {CHUNK}\nDATA: {CHUNK}\n\n"), &plain),
        ("data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"a\"}}]}\n\n".to_owned(), &plain),
        (format!("data: {CHUNK}\ndata: {CHUNK}\n\n"), &plain.repeat(2)),
        (format!("data: {CHUNK}{CHUNK}\n\n"), &plain.repeat(2)),
        (format!("data: {CHUNK}\ndata: [DONE]\n\ndata: {CHUNK}\n\n"), &format!("{plain}data: [DONE]\n\n")),
        (format!("data: \u{feff}{CHUNK}\n\n"), &plain),
        (format!("event: thread.message.delta\ndata: {CHUNK}\n\n"), &plain),
        (format!("event: a\nevent: b\nid: 1\nid: 2\nretry: x\ndata: {CHUNK}\n\n"), &format!("id: 2\n{plain}")),
        (format!(": data: {CHUNK}\n\n"), ":\n\n"),
        (format!(": x\u{2028}data: {CHUNK}\n\n"), ":\n\n"),
        (format!(": {CHUNK}\ndata: {CHUNK}\n\n"), &plain),
        ("data: [DONE] \n\n".to_owned(), "data: [DONE]\n\n"),
        ("data: [DONE] more\n\n: comment\n\n".to_owned(), "data: [DONE]\n\n"),
    ] {
        assert_eq!(chat(&came), leaves, "{came:?}");
    }
}

#[test]
fn members_that_readers_take_differently_are_written_anew() {
    let choice = |inner: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{{inner}}}}}]}}"#);
    let plain = choice(r#""content":"a""#);
    for (came, leaves) in [
        (
            r#"{"choices":[{"index":-1,"delta":{"content":"a"}}]}"#.to_owned(),
            r#"{"choices":[{"delta":{"content":"a"},"index":0}]}"#.to_owned(),
        ),
        (r#"{"choices":[{"index":null,"delta":{}}]}"#.to_owned(), r#"{"choices":[{"delta":{},"index":0}]}"#.to_owned()),
        (r#"{"choices":[{"index":"0","delta":{}}]}"#.to_owned(), r#"{"choices":[{"delta":{},"index":0}]}"#.to_owned()),
        (format!(r#"{{"id":5,{}"#, &plain[1..]), plain.clone()),
        (format!(r#"{{"created":1.5,{}"#, &plain[1..]), plain.clone()),
        (format!(r#"{{"usage":{{"prompt_tokens":"1"}},{}"#, &plain[1..]), format!(r#"{{"usage":{{}},{}"#, &plain[1..])),
        (choice(r#""content":"b","content":"a""#), plain.clone()),
        (choice(r#""content":"a","content":5"#), plain.clone()),
        (choice(r#""content":"b","role":"assistant","c\u006fntent":"a""#), choice(r#""role":"assistant","content":"a""#)),
        (choice(r#""role":"user","content":"a""#), plain.clone()),
        (choice(r#""content":"a","Content":"b""#), plain.clone()),
        (choice(r#""content":"a","tool_callſ":[]"#), plain.clone()),
        (choice(r#""content":"a","toolCalls":[]"#), plain.clone()),
        (choice(r#""content":"a","reasoning_details":[{"text":"b"}]"#), plain.clone()),
        (choice(r#""content":"a","x_vendor":{"inner":[{"text":"b"}]}"#), plain.clone()),
        (
            choice(r#""content":"a","x_vendor":{"inner":[{"mode":"b"}]}"#),
            choice(r#""content":"a","x_vendor":{"inner":[{"mode":"b"}]}"#),
        ),
        (r#"{"choices":[{"index":0,"delta":{"content":"a"},"text":"b","message":{"content":"c"}}]}"#.to_owned(), plain.clone()),
        (format!(r#"{{"chunk":{plain}}}"#), String::new()),
        (r#"{"choiceſ":[{"index":0,"delta":{"content":"a"}}]}"#.to_owned(), String::new()),
        (format!(r#"{{"choices":[],"chunk":{plain}}}"#), r#"{"choices":[]}"#.to_owned()),
        (r#"{"choices":[null,[],{"index":1,"delta":{}}]}"#.to_owned(), r#"{"choices":[{"index":1,"delta":{}}]}"#.to_owned()),
        (choice(r#""tool_calls":[null,3,{"index":0,"type":"x"}]"#), choice(r#""tool_calls":[{"index":0}]"#)),
        (choice(r#""content":"a\ud800""#), choice(r#""content":"a\ufffd""#)),
        (choice(r#""content":"\ude00\ud83d\ude00\\ud800""#), choice(r#""content":"\ufffd\ud83d\ude00\\ud800""#)),
        (choice("\"content\":\"a\u{2028}b\u{2029}c\u{85}d„e“\""), choice(r#""content":"a\u2028b\u2029c\u0085d„e“""#)),
        (format!(r#"{{"error":null,{}"#, &plain[1..]), plain.clone()),
        (format!(r#"{{"error":{{"message":"m"}},{}"#, &plain[1..]), r#"{"error":{"message":"m"}}"#.to_owned()),
        (choice(r#""reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"b"}]"#), choice(r#""reasoning":"a""#)),
        (
            choice(r#""reasoning":"a","reasoning_details":[{"text":"a"}]"#),
            choice(r#""reasoning":"a","reasoning_details":[{"text":"a"}]"#),
        ),
        (choice(r#""reasoning_details":[{"data":"x"}]"#), choice(r#""reasoning_details":[{"data":"x"}]"#)),
        (
            r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[{"token":"x"}]}}]}"#.to_owned(),
            r#"{"choices":[{"index":0,"delta":{"content":"ab"}}]}"#.to_owned(),
        ),
        (
            r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[{"token":"a"},{"token":"b"}]}}]}"#
                .to_owned(),
            r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[{"token":"a"},{"token":"b"}]}}]}"#
                .to_owned(),
        ),
        (r#"[{"choices":[]}]"#.to_owned(), String::new()),
        (r#"{"choices":null,"choices":[]}"#.to_owned(), r#"{"choices":[]}"#.to_owned()),
    ] {
        assert_eq!(chat_data(&came), leaves, "{came}");
        if !leaves.is_empty() {
            assert_eq!(chat_data(&leaves), leaves, "what was written anew is plain");
        }
    }
}

#[test]
fn choices_have_an_index_always_or_never() {
    let with = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"index\":0}]}\n\n";
    let without = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    assert_eq!(chat(&[with, without, with].concat()), with.repeat(3));
    assert_eq!(chat(&[without, with, without].concat()), without.repeat(3));
    assert_eq!(chat(&without.repeat(2)), without.repeat(2), "a server that leaves it out is read alike by all");
}

#[test]
fn text_in_what_is_of_unknown_type_stays_for_policies_to_see() {
    for came in ["{\"object\":\"new\",\"notes\":[{\"text\":\"a\"}]}", "{\"thinking\":\"a\"}"] {
        assert_eq!(chat_data(came), came);
    }
    assert_eq!(chat_data("{\"object\":\"new\",\"notes\":[{\"arguments\":\"a\"}]}"), "", "calls do not");
}

#[test]
fn two_entries_of_one_choice_become_two_frames() {
    let entry = |text: &str| format!(r#"{{"index":0,"delta":{{"content":"{text}"}}}}"#);
    let frame = |entry: String| format!("data: {{\"id\":\"c\",\"choices\":[{entry}],\"model\":\"m\"}}\n\n");
    let came = format!("data: {{\"id\":\"c\",\"choices\":[{},{}],\"model\":\"m\"}}\n\n", entry("a"), entry("b"));
    assert_eq!(chat(&came), [frame(entry("a")), frame(entry("b"))].concat());
    let twice = came.replace("\"id\":\"c\",", "\"id\":\"b\",\"id\":\"c\",");
    assert_eq!(chat(&twice), chat(&came), "what is taken out before moves them");
}

#[test]
fn a_whole_body_is_written_anew_by_the_same_rules() {
    let body = |came: &str| {
        let written = Normalizer::new(Dialect::ChatCompletions, ALL).body(came.as_bytes());
        written.map(|written| String::from_utf8(written).unwrap())
    };
    let plain = r#"{"choices":[{"index":0,"message":{"content":"a"}}]}"#;
    assert_eq!(body(plain), None);
    assert_eq!(body("{"), None, "what is no JSON is left to the decoder");
    for came in [
        r#"{"choices":[{"index":0,"message":{"content":"a"},"delta":{"content":"b"}}]}"#,
        r#"{"choices":[{"index":0,"message":{"content":"a"},"text":"b"}],"Choices":[]}"#,
        "\u{feff}{\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"}}]}",
        r#"{"choices":[{"index":0,"message":{"content":"a"}},{"index":0,"message":{"content":"b"}}]}"#,
    ] {
        assert_eq!(body(came).as_deref(), Some(plain), "{came}");
    }
}

#[test]
fn what_no_policy_looks_at_stays() {
    let calls = Wants { calls: true, ..Wants::default() };
    let came =
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"reasoning_details\":[{\"summary\":\"b\"}]}}]}\n\n";
    assert_eq!(normalized(Dialect::ChatCompletions, calls, came).unwrap(), came);
    let odd = b"\xef\xbb\xbfdata: {\"Choices\":5}\r";
    assert_eq!(normalized(Dialect::ChatCompletions, Wants::default(), odd).unwrap(), odd);
}

/// Pieces of which odd frames are made.
const PIECES: [&str; 34] = [
    r#"{"choices":["#,
    r#"{"index":0,"delta":{"#,
    r#"{"delta":{"#,
    r#""content":"a""#,
    r#""content":5"#,
    r#""Content":"x""#,
    r#""tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]"#,
    r#""tool_calls":{}"#,
    "}}",
    "}",
    "]",
    "]}",
    ",",
    ",",
    r#""id":5"#,
    r#""x":[{"text":1}]"#,
    r#""usage":{"a":1}"#,
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "data: ",
    "data: ",
    "data:",
    " ",
    "event: x\n",
    ": c\n",
    "[DONE]",
    "\u{2028}",
    "\u{feff}",
    r#"\ud800"#,
    "null",
    "\"",
    "3",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_was_written_anew_is_plain(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..30)) {
        for came in [pieces.concat(), format!("data: {{\"choices\":[{{{}", pieces.concat())] {
            if let Ok(once) = normalized(Dialect::ChatCompletions, ALL, came.as_bytes()) {
                let again = normalized(Dialect::ChatCompletions, ALL, &once);
                prop_assert_eq!(again.as_ref(), Ok(&once));
                let read = READERS.map(|reader| (reader.name, reader.read(&once)));
                for (name, reading) in &read {
                    // How calls are told apart is for the decoder to say.
                    prop_assert_eq!((&reading.text, &reading.reasoning), (&read[0].1.text, &read[0].1.reasoning), "{} of {:?}", name, String::from_utf8_lossy(&once));
                }
            }
        }
    }
}
