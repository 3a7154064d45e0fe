use proptest::prelude::*;

use super::OwnText;
use crate::dialect::testing::run;
use crate::dialect::{Dialect, SlotAction};
use crate::wire::json;

/// What becomes of the text of an event.
#[derive(Debug, Clone)]
enum Fate {
    Kept,
    Removed,
    Replaced(String),
}

impl Fate {
    fn action(&self) -> SlotAction {
        match self {
            Self::Kept => SlotAction::Keep,
            Self::Removed => SlotAction::Remove,
            Self::Replaced(text) => SlotAction::Replace(text.clone()),
        }
    }
}

/// The events of an answer with these texts. With `number` each has a member that no other has.
fn events(dialect: Dialect, texts: &[&str], besides: &str, number: bool) -> String {
    let numbered = |position: usize| if number { format!(r#","x":{position}"#) } else { String::new() };
    let mut stream = String::new();
    let chat = |delta: &str, rest: &str| {
        format!(
            "data: {{\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]{rest}}}\n\n"
        )
    };
    let message = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
    if dialect == Dialect::Messages {
        stream += &message(
            "message_start",
            r#","message":{"id":"m1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}"#,
        );
        stream += &message("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#);
    } else {
        stream += &chat(r#""role":"assistant","content":"""#, "");
    }
    for (position, text) in texts.iter().enumerate() {
        let (text, number) = (json::to_text(*text), numbered(position));
        stream += &match dialect {
            Dialect::Messages => {
                message("content_block_delta", &format!(r#","index":0,"delta":{{"type":"text_delta","text":{text}}}{number}"#))
            }
            _ => chat(&format!(r#""content":{text}"#), &format!("{besides}{number}")),
        };
    }
    stream
}

/// What leaves of the events, and whether any of them was changed in the way of an earlier one.
fn left(dialect: Dialect, texts: &[&str], besides: &str, fates: &[Fate], number: bool) -> String {
    let stream = events(dialect, texts, besides, number);
    let mut fates = fates.iter();
    let transcript = run(dialect, [stream.as_bytes()], |delta| {
        if delta.text.is_empty() { SlotAction::Keep } else { fates.next().map_or(SlotAction::Keep, Fate::action) }
    });
    assert_eq!(transcript.error, None);
    let mut output = transcript.output().to_owned();
    for position in (0..texts.len()).rev() {
        output = output.replace(&format!(r#","x":{position}"#), "");
    }
    output
}

fn fate() -> impl Strategy<Value = Fate> {
    let replaced = prop_oneof![Just("\"\\\n\u{2028}é".to_owned()), "[a-z\"]{0,9}"];
    prop_oneof![Just(Fate::Kept), Just(Fate::Removed), replaced.prop_map(Fate::Replaced)]
}

proptest! {
    #[test]
    fn events_that_are_alike_are_changed_as_those_that_are_not(
        turns in proptest::collection::vec(("[a-c\"\\\\ é]{1,6}", fate()), 1..12),
        besides in prop_oneof![
            Just(""),
            Just(r#","usage":null"#),
            Just(r#","usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}"#),
            Just(r#","obfuscation":"xyz""#),
        ],
    ) {
        let texts: Vec<&str> = turns.iter().map(|(text, _)| text.as_str()).collect();
        let fates: Vec<Fate> = turns.iter().map(|(_, fate)| fate.clone()).collect();
        for dialect in [Dialect::ChatCompletions, Dialect::Messages] {
            let (alike, unlike) = (left(dialect, &texts, besides, &fates, false), left(dialect, &texts, besides, &fates, true));
            prop_assert_eq!(alike, unlike);
        }
    }
}

#[test]
fn padding_may_differ_between_events_that_are_alike() {
    let event = |padding: &str| {
        format!(
            "data: {{\"id\":\"c1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"finish_reason\":null}}],\"obfuscation\":\"{padding}\"}}\n\n"
        )
    };
    let stream = [event("x"), event("xyz"), event("")].concat();
    let replaced = run(Dialect::ChatCompletions, [stream.as_bytes()], |_| SlotAction::Replace("b".to_owned()));
    assert_eq!(replaced.output(), stream.replace("\"a\"", "\"b\""));
}

#[test]
fn what_tells_a_text_in_another_member_leaves_with_it_however_many_events_are_alike() {
    let event = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"secret\"},\"logprobs\":{\"content\":[{\"token\":\"secret\"}]},\"finish_reason\":null}]}\n\n";
    let stream = event.repeat(3);
    let replaced = run(Dialect::ChatCompletions, [stream.as_bytes()], |_| SlotAction::Replace("*".to_owned()));
    assert!(!replaced.output().contains("secret"), "{}", replaced.output());
    assert_eq!(replaced.output().matches("\"*\"").count(), 3);
}

#[test]
fn an_event_of_our_own_says_each_text_as_if_it_was_built_for_it() {
    let event = |kind: u32| {
        move |text: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("data: {{\"id\":\"\\\"\\\"\",\"{kind}\":").as_bytes());
            json::write(text, out);
            out.extend_from_slice(b",\"more\":\"\"}\n\n");
        }
    };
    let mut own = OwnText::default();
    let texts = [(1, "a"), (1, ""), (1, "."), (2, "\"\u{2028}\\"), (2, "é"), (2, "\n"), (1, "b"), (2, "c"), (1, "d"), (1, "\\")];
    for (kind, text) in texts {
        let (mut written, mut expected) = (Vec::new(), Vec::new());
        own.write(kind, text, &mut written, event(kind));
        event(kind)(text, &mut expected);
        assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(expected).unwrap());
    }
    let long = |text: &str, out: &mut Vec<u8>| {
        out.resize(super::MAX_BYTES, b' ');
        json::write(text, out);
    };
    let mut written = Vec::new();
    own.write(3, "y", &mut written, long);
    written.clear();
    own.write(3, "x", &mut written, long);
    assert!(written.ends_with(b"\"x\""), "what is too long to be kept is built each time");
    assert!(own.before.len() < super::MAX_BYTES);
}

#[test]
fn events_that_take_turns_are_built_once_each_and_alike_ones_no_more() {
    let built = core::cell::Cell::new(0);
    let event = |text: &str, out: &mut Vec<u8>| {
        built.set(built.get() + 1);
        json::write(text, out);
    };
    let mut own = OwnText::default();
    for turn in 0..10 {
        own.write(turn % 2, "a", &mut Vec::new(), event);
    }
    assert_eq!(built.take(), 10);
    for _ in 0..10 {
        own.write(7, "a", &mut Vec::new(), event);
    }
    assert_eq!(built.take(), 3, "the first, and two to learn from");
}
