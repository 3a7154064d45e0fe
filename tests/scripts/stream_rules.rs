//! Rules on a stream. The exact hold-back of terms is
//! tested with the policy that does it.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::client;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, fixtures, legality};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const DIALECTS: [Dialect; 2] = [CHAT, MESSAGES];

fn tool_call(dialect: Dialect) -> &'static [u8] {
    fixtures::stream(dialect, if dialect == CHAT { "tool_call" } else { "tool_use" })
}

#[test]
fn no_prefix_of_held_text_leaves_before_it_is_decided() {
    for dialect in DIALECTS {
        let body = fixtures::stream(dialect, "text");
        let document = document(json!([{"use": "hold_text", "with": {"with": "Something else."}}]));
        for chunks in [chunking::bytes(body), chunking::events(body)] {
            let outcome = play(&Script::streamed(dialect, document.clone(), chunks));
            legality::assert_stream(dialect, &outcome.client);
            assert_eq!(client::streamed(dialect, &outcome.client).only().text, "Something else.");
            for fragment in ["Gr", "Weir", "dam", "water"] {
                assert!(!outcome.text().contains(fragment), "{fragment} left: {}", outcome.text());
            }
        }
    }
}

#[test]
fn held_text_is_not_joined_across_choices() {
    let body = fixtures::stream(CHAT, "two_choices");
    let outcome = play(&Script::events(CHAT, document(json!([{"use": "watch"}, {"use": "hold_text"}])), body));
    let texts = outcome
        .events_of("watch.content")
        .into_iter()
        .map(|event| (event.metadata["choice"].clone(), event.metadata["text"].clone()));
    assert_eq!(texts.collect::<Vec<_>>(), [(json!(0), json!("First answer."))]);
}

#[test]
fn text_is_not_joined_across_blocks() {
    let body = fixtures::stream(MESSAGES, "server_tool_use");
    let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "watch"}])), body));
    let texts = outcome.events_of("watch.content").into_iter().map(|event| event.metadata["text"].clone()).collect::<Vec<_>>();
    assert_eq!(texts, [json!("I will search."), json!("A weir is a low dam.")]);
}

#[test]
fn a_later_policy_sees_what_an_earlier_one_left() {
    for dialect in DIALECTS {
        let document = document(json!([{"use": "uppercase"}, {"use": "watch"}, {"use": "drop_text"}, {"use": "watch"}]));
        let outcome = play(&Script::events(dialect, document, tool_call(dialect)));
        let texts =
            outcome.events_of("watch.content").into_iter().map(|event| event.metadata["text"].clone()).collect::<Vec<_>>();
        assert_eq!(texts[0], json!("I WILL LOOK THAT UP."), "{dialect}");
        assert!(texts[1..].iter().all(|text| text == ""), "{dialect}: what was dropped is not seen: {texts:?}");
    }
}

#[test]
fn replacement_text_does_not_depend_on_the_chunks() {
    for dialect in DIALECTS {
        let body = fixtures::stream(dialect, "text");
        let run = |chunks| {
            play(&Script::streamed(dialect, document(json!([{"use": "uppercase"}, {"use": "hold_text"}])), chunks)).client
        };
        let whole = run(vec![body.to_vec()]);
        legality::assert_stream(dialect, &whole);
        for position in 1..body.len() {
            assert_eq!(run(chunking::at(body, &[position])), whole, "{dialect} split at {position}");
        }
    }
}

#[test]
fn arguments_that_are_not_json_at_completion_are_blocked() {
    let broken = |dialect, from: &str, to: &str| {
        let text = String::from_utf8(tool_call(dialect).to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    };
    for (dialect, body) in [
        (CHAT, broken(CHAT, r#""arguments":"\"celsius\"}""#, r#""arguments":"\"celsius\"""#)),
        (MESSAGES, broken(MESSAGES, r#""partial_json":"\"celsius\"}""#, r#""partial_json":"\"celsius\"}}""#)),
    ] {
        let script = Script::events(dialect, document(json!([{"use": "ask_judge"}])), body.as_bytes())
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert!(outcome.callouts.is_empty() && !outcome.text().contains("celsius"), "{}", outcome.text());
        legality::assert_stream(dialect, &outcome.client);
    }
}

#[test]
fn arguments_cut_by_length_are_blocked() {
    for (dialect, fixture) in [(CHAT, "call_cut_by_length"), (MESSAGES, "call_cut_by_max_tokens")] {
        let script = Script::events(dialect, document(json!([{"use": "ask_judge"}])), fixtures::stream(dialect, fixture))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert!(!outcome.text().contains("/srv/da"), "{}", outcome.text());
        legality::assert_stream(dialect, &outcome.client);
    }
}

#[test]
fn a_call_that_the_upstream_broke_off_is_blocked() {
    for dialect in DIALECTS {
        let body = tool_call(dialect);
        let position = body.windows(7).rposition(|window| window == b"celsius").unwrap();
        let chunks = chunking::events(&body[..position]);
        let ended = Script::streamed(dialect, document(json!([{"use": "ask_judge"}, {"use": "watch"}])), chunks.clone())
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let reset = ended.clone().interrupted(chunks.len(), weir_test_support::script::Step::UpstreamReset);
        for script in [ended, reset] {
            let outcome = play(&script);
            assert!(!outcome.text().contains("Par"), "{dialect}: {}", outcome.text());
            assert_eq!(outcome.events_of("watch.complete").len(), 1);
        }
    }
}

#[test]
fn immutable_blocks_are_skipped_never_failed() {
    let outcome = play(&Script::events(
        MESSAGES,
        document(json!([{"use": "uppercase"}, {"use": "watch"}])),
        fixtures::stream(MESSAGES, "thinking"),
    ));
    legality::assert_stream(MESSAGES, &outcome.client);
    assert_eq!(client::streamed(MESSAGES, &outcome.client).only().text, "I WILL LOOK THAT UP.");
    let kinds = outcome.events_of("watch.content").into_iter().map(|event| event.metadata["kind"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds, [json!("Text")], "no hook sees a signed block");
}

#[test]
fn each_kind_of_content_reaches_the_hooks_under_its_own_name() {
    let kinds = |fixture| {
        let outcome = play(&Script::events(CHAT, document(json!([{"use": "watch"}])), fixtures::stream(CHAT, fixture)));
        outcome.events_of("watch.content").into_iter().map(|event| event.metadata["kind"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(kinds("refusal"), [json!("Refusal")]);
    assert_eq!(kinds("reasoning"), [json!("Reasoning"), json!("Text")]);
}

#[test]
fn a_change_is_a_rewrite_and_leaving_alone_is_not() {
    for dialect in DIALECTS {
        let decision = |chain| play(&Script::events(dialect, document(chain), fixtures::stream(dialect, "text"))).decision;
        assert_eq!(decision(json!([])), Decision::Allow);
        assert_eq!(decision(json!([{"use": "watch"}, {"use": "hold_text"}])), Decision::Allow);
        assert_eq!(decision(json!([{"use": "uppercase"}])), Decision::Rewrite);
    }
}

#[test]
fn hooks_start_in_stream_order() {
    for (dialect, expected) in [
        // The text of a choice is one field, to which more can come after a tool call: it ends with the choice.
        (CHAT, vec!["watch.request", "watch.stream_start", "watch.tool_call", "watch.content", "watch.finish", "watch.complete"]),
        (
            MESSAGES,
            vec!["watch.request", "watch.stream_start", "watch.content", "watch.tool_call", "watch.finish", "watch.complete"],
        ),
    ] {
        let outcome = play(&Script::events(dialect, document(json!([{"use": "watch"}])), tool_call(dialect)));
        let seen =
            outcome.events.iter().filter(|event| event.event_type.starts_with("watch.")).map(|event| event.event_type.as_str());
        assert_eq!(seen.collect::<Vec<_>>(), expected, "{dialect}");
    }
}
