//! Events, bodies and content blocks of a type that Weir does not know: untouched they pass byte for byte, policies see
//! their strings, and may let them pass or drop them, but not edit them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde::Deserialize;
use serde_json::{Value, json};
use weir::block::{BlockKind, ContentBlock, build_text_chunk};
use weir::decision::Decision;
use weir::dialect::{Dialect, MAX_BLOCKS};
use weir::policy::{BlockAction, DeltaAction, Policy, SharedPolicy, StreamingContext};
use weir_test_support::native::{self, Outcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, client, fixtures, policies};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const RESPONSES: Dialect = Dialect::Responses;

/// Treats what is of unknown type and contains `secret` in this way, and lets all else pass.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    Drop,
    Replace,
    HoldAndForward,
    HoldAndDrop,
    HoldAndReplace,
}

impl Policy for Unknown {
    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if block.kind() != BlockKind::Unknown || !delta.contains("secret") {
            return DeltaAction::Forward;
        }
        match self {
            Self::Drop => DeltaAction::Drop,
            Self::Replace => DeltaAction::Replace("something else".into()),
            Self::HoldAndForward | Self::HoldAndDrop | Self::HoldAndReplace => DeltaAction::Hold,
        }
    }

    async fn on_content_complete(&self, block: &ContentBlock, _: &StreamingContext) -> BlockAction {
        match self {
            Self::HoldAndDrop => BlockAction::Drop,
            Self::HoldAndReplace if block.text().contains("secret") => BlockAction::Replace(build_text_chunk(0, "[withheld]")),
            _ => BlockAction::Forward,
        }
    }
}

fn play(script: &Script) -> Outcome {
    let make = |config: weir::document::PolicyConfig<'_>| {
        let (how,): (Unknown,) = weir::document::parse(config.with)?;
        Ok(SharedPolicy::new("Unknown", how))
    };
    native::play(script, &policies::registry().with("unknown", make))
}

fn with(how: &str) -> Value {
    json!([{"use": "unknown", "with": [how]}])
}

/// Things of unknown type, each as the events that it consists of.
fn unknowns(dialect: Dialect) -> Vec<String> {
    match dialect {
        CHAT => vec![
            "data: {\"object\":\"new.event\",\"notes\":[{\"n\":1.0,\"text\":\"a s\\u0065cret\"}]}\n\n".to_owned(),
            "event: vendor\ndata: {\"text\":\"secret\"}\n\n".to_owned(),
        ],
        RESPONSES => vec![
            "event: vendor\ndata: {\"type\":\"vendor\",\"notes\":[{\"n\":1.0,\"text\":\"a s\\u0065cret\"}]}\n\n".to_owned(),
            "event: response.new\ndata: {\"type\":\"response.new\",\"output_index\":0,\"text\":\"secret\"}\n\n".to_owned(),
        ],
        _ => vec![
            "event: vendor\ndata: {\"type\":\"vendor\",\"notes\":[{\"n\":1.0,\"text\":\"a s\\u0065cret\"}]}\n\n".to_owned(),
            [
                ("content_block_start", r#""index":1,"content_block":{"type":"new_block","secrets":["secret"]}"#),
                ("content_block_delta", r#""index":1,"delta":{"type":"new_delta","note":"secret"}"#),
                ("content_block_stop", r#""index":1"#),
            ]
            .map(|(name, rest)| format!("event: {name}\ndata: {{\"type\":\"{name}\",{rest}}}\n\n"))
            .concat(),
        ],
    }
}

/// The fixture `text` with `unknown` behind its text.
fn stream_with(dialect: Dialect, unknown: &str) -> Vec<u8> {
    let text = String::from_utf8(fixtures::stream(dialect, "text").to_vec()).unwrap();
    let end = match dialect {
        CHAT => text.rfind("\n\ndata: {\"id\":").and_then(|usage| text[..usage].rfind("\n\ndata: {\"id\":")).unwrap() + 2,
        RESPONSES => text.rfind("event: response.completed").unwrap(),
        _ => text.rfind("event: message_delta").unwrap(),
    };
    [&text[..end], unknown, &text[end..]].concat().into_bytes()
}

fn cases() -> impl Iterator<Item = (Dialect, String)> {
    [CHAT, MESSAGES, RESPONSES]
        .into_iter()
        .flat_map(|dialect| unknowns(dialect).into_iter().map(move |unknown| (dialect, unknown)))
}

/// The events in an order of their own: a `ping` may overtake what is held.
fn sorted_lines(body: &[u8]) -> Vec<&str> {
    let mut lines: Vec<_> = core::str::from_utf8(body).unwrap().lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn untouched_they_pass_as_they_came_however_they_are_cut() {
    let chains = [json!([{"use": "no_op"}]), json!([{"use": "watch"}, {"use": "hold_text"}]), with("hold_and_forward")];
    for (dialect, unknown) in cases() {
        let body = stream_with(dialect, &unknown);
        for (chain, chunks) in chains.iter().flat_map(|chain| [(chain, chunking::events(&body)), (chain, chunking::bytes(&body))])
        {
            let outcome = play(&Script::streamed(dialect, document(chain.clone()), chunks));
            assert_eq!(sorted_lines(&outcome.client), sorted_lines(&body), "{chain}");
            assert_eq!(outcome.client.len(), body.len(), "{chain}");
            assert_eq!(outcome.decision, Decision::Allow);
        }
    }
}

#[test]
fn policies_see_their_strings_as_content_of_its_own_kind() {
    for (dialect, unknown) in cases() {
        let outcome = play(&Script::events(dialect, document(json!([{"use": "watch"}])), &stream_with(dialect, &unknown)));
        let seen = outcome.events_of("watch.content").into_iter().find(|event| event.metadata["kind"] == "Unknown");
        let seen = seen.unwrap_or_else(|| panic!("{unknown} is not seen: {:?}", outcome.events));
        assert!(seen.metadata["text"].as_str().unwrap().contains("secret"), "{seen:?}");
        assert_eq!(seen.metadata["complete"], json!(true));
    }
}

#[test]
fn a_policy_can_drop_them_whole_and_the_rest_stays() {
    for (dialect, unknown) in cases() {
        for how in ["drop", "replace", "hold_and_drop"] {
            let outcome = play(&Script::events(dialect, document(with(how)), &stream_with(dialect, &unknown)));
            assert!(!outcome.text().contains("cret"), "{how}: {}", outcome.text());
            assert!(!outcome.text().contains("something else"), "what cannot be edited is dropped: {}", outcome.text());
            let without = fixtures::stream(dialect, "text");
            assert_eq!(outcome.text(), String::from_utf8_lossy(without), "{how}");
            assert_eq!(outcome.decision, Decision::Rewrite, "{how}");
        }
    }
}

#[test]
fn text_of_a_policys_own_can_stand_in_their_place() {
    for (dialect, unknown) in cases() {
        let outcome = play(&Script::events(dialect, document(with("hold_and_replace")), &stream_with(dialect, &unknown)));
        assert!(!outcome.text().contains("cret"), "{}", outcome.text());
        assert!(client::streamed(dialect, &outcome.client).only().text.ends_with("[withheld]"), "{}", outcome.text());
    }
}

#[test]
fn they_wait_behind_a_call_that_is_held() {
    let call = fixtures::stream(CHAT, "tool_call");
    let call = String::from_utf8(call.to_vec()).unwrap();
    let before = call.rfind("\n\ndata: {\"id\":").and_then(|usage| call[..usage].rfind("\n\ndata: {\"id\":")).unwrap() + 2;
    let body = [&call[..before], &unknowns(CHAT)[0], &call[before..]].concat();
    let held = Script::events(CHAT, document(json!([{"use": "ask_judge"}])), body.as_bytes())
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)).after(2));
    assert_eq!(play(&held).text(), body);
}

#[test]
fn a_whole_body_of_an_unknown_type_passes_or_is_answered_in_its_place() {
    for (dialect, body) in [(CHAT, r#"{"object":"new", "note":"secret"}"#), (MESSAGES, r#"{"type":"new", "note":"secret"}"#)] {
        let kept = play(&Script::whole(dialect, document(with("hold_and_forward")), vec![body.into()]));
        assert_eq!(kept.text(), body);
        for how in ["drop", "replace", "hold_and_drop"] {
            let dropped = play(&Script::whole(dialect, document(with(how)), vec![body.into()]));
            assert!(!dropped.text().contains("secret"), "{}", dropped.text());
            assert!(client::whole(dialect, &dropped.client).error.is_some(), "{}", dropped.text());
        }
    }
}

#[test]
fn a_block_of_unknown_type_in_a_whole_body_passes_or_is_left_out() {
    let whole = String::from_utf8(fixtures::whole(MESSAGES, "text").to_vec()).unwrap();
    let body = whole.replacen("\"content\": [", "\"content\": [{\"type\":\"new_block\",\"secrets\":[\"secret\"]},", 1);
    assert_ne!(body, whole);
    let kept = play(&Script::whole(MESSAGES, document(with("hold_and_forward")), vec![body.clone().into_bytes()]));
    assert_eq!(kept.text(), body);
    let dropped = play(&Script::whole(MESSAGES, document(with("hold_and_drop")), vec![body.into_bytes()]));
    let values = [&dropped.client[..], whole.as_bytes()].map(|body| serde_json::from_slice::<Value>(body).unwrap());
    assert_eq!(values[0], values[1]);
}

#[test]
fn there_may_be_any_number_of_unknown_events() {
    for dialect in [CHAT, MESSAGES, RESPONSES] {
        let body = stream_with(dialect, &unknowns(dialect)[0].repeat(MAX_BLOCKS + 1));
        let outcome = play(&Script::streamed(dialect, document(with("hold_and_forward")), vec![body.clone()]));
        assert!(outcome.client == body, "{dialect}");
    }
}
