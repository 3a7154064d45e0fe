//! Rules on a stream. The exact hold-back of terms is tested with the policy that does it.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, client, fixtures, legality};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const RESPONSES: Dialect = Dialect::Responses;
const DIALECTS: [Dialect; 3] = [CHAT, MESSAGES, RESPONSES];

fn tool_call(dialect: Dialect) -> &'static [u8] {
    fixtures::stream(dialect, if dialect == MESSAGES { "tool_use" } else { "tool_call" })
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
            for fragment in ["Gr", "Weir", "dam", "water", "Paris", "Sonne"] {
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
    for (dialect, fixture, expected) in [
        (MESSAGES, "server_tool_use", ["I will search.", "A weir is a low dam."]),
        (RESPONSES, "two_parts", ["This much I can say.", "No more of it."]),
    ] {
        let outcome = play(&Script::events(dialect, document(json!([{"use": "watch"}])), fixtures::stream(dialect, fixture)));
        let texts =
            outcome.events_of("watch.content").into_iter().map(|event| event.metadata["text"].clone()).collect::<Vec<_>>();
        assert_eq!(texts, expected, "{dialect}");
    }
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
        let body = Answer { said: vec![Said::Text(&["Grüße 🌊, ", "a \"weir\"."])], cut: false }.streamed(dialect);
        let run = |chunks| {
            play(&Script::streamed(dialect, document(json!([{"use": "uppercase"}, {"use": "hold_text"}])), chunks)).client
        };
        let whole = run(vec![body.to_vec()]);
        legality::assert_stream(dialect, &whole);
        for position in 1..body.len() {
            assert_eq!(run(chunking::at(&body, &[position])), whole, "{dialect} split at {position}");
        }
    }
}

#[test]
fn arguments_that_are_not_json_at_completion_are_blocked() {
    for dialect in DIALECTS {
        for end in [r#"\""#, r#"\"}}"#] {
            let came = String::from_utf8(tool_call(dialect).to_vec()).unwrap();
            let body = came.replace(r#"sius\"}"#, &format!("sius{end}"));
            assert_ne!(body, came);
            let script = Script::events(dialect, document(json!([{"use": "ask_judge"}])), body.as_bytes())
                .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
            let outcome = play(&script);
            assert!(outcome.callouts.is_empty() && !outcome.text().contains("sius"), "{}", outcome.text());
            legality::assert_stream(dialect, &outcome.client);
        }
    }
}

#[test]
fn arguments_cut_by_length_are_blocked() {
    for (dialect, fixture) in
        [(CHAT, "call_cut_by_length"), (MESSAGES, "call_cut_by_max_tokens"), (RESPONSES, "call_cut_by_max_output_tokens")]
    {
        let script = Script::events(dialect, document(json!([{"use": "ask_judge"}])), fixtures::stream(dialect, fixture))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = play(&script);
        assert!(!outcome.text().contains("/srv"), "{}", outcome.text());
        legality::assert_stream(dialect, &outcome.client);
    }
}

#[test]
fn a_call_that_the_upstream_broke_off_is_blocked() {
    for dialect in DIALECTS {
        let body = tool_call(dialect);
        // `responses` repeats the whole call behind it.
        let position = body.windows(4).position(|window| window == b"sius").unwrap();
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
    let seen = |dialect, fixture| {
        let chain = document(json!([{"use": "uppercase"}, {"use": "watch"}]));
        let outcome = play(&Script::events(dialect, chain, fixtures::stream(dialect, fixture)));
        legality::assert_stream(dialect, &outcome.client);
        let kinds = outcome.events_of("watch.content").into_iter().map(|event| event.metadata["kind"].clone());
        (kinds.collect::<Vec<_>>(), client::streamed(dialect, &outcome.client))
    };
    let (kinds, message) = seen(MESSAGES, "thinking");
    assert_eq!(kinds, [json!("Text")], "no hook sees a signed block");
    assert_eq!(message.only().text, "I WILL LOOK THAT UP.");
    let (kinds, message) = seen(RESPONSES, "sealed_reasoning");
    assert!(kinds.is_empty(), "no hook sees a sealed item: {kinds:?}");
    assert_eq!(message.only().tools(), ["get_weather"]);
}

#[test]
fn each_kind_of_content_reaches_the_hooks_under_its_own_name() {
    let kinds = |dialect, fixture| {
        let outcome = play(&Script::events(dialect, document(json!([{"use": "watch"}])), fixtures::stream(dialect, fixture)));
        outcome.events_of("watch.content").into_iter().map(|event| event.metadata["kind"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(kinds(CHAT, "refusal"), [json!("Refusal")]);
    assert_eq!(kinds(CHAT, "reasoning"), [json!("Reasoning"), json!("Text")]);
    assert_eq!(kinds(RESPONSES, "refusal"), [json!("Refusal")]);
    assert_eq!(kinds(RESPONSES, "two_parts"), [json!("Text"), json!("Refusal")]);
    assert_eq!(kinds(RESPONSES, "open_reasoning"), [json!("Reasoning"), json!("Text")]);
}

#[test]
fn a_change_is_a_rewrite_and_leaving_alone_is_not() {
    for dialect in DIALECTS {
        let decision = |chain| play(&Script::events(dialect, document(chain), fixtures::stream(dialect, "text"))).decision;
        assert_eq!(decision(json!([{"use": "no_op"}])), Decision::Allow);
        assert_eq!(decision(json!([{"use": "watch"}, {"use": "hold_text"}])), Decision::Allow);
        assert_eq!(decision(json!([{"use": "uppercase"}])), Decision::Rewrite);
    }
}

#[test]
fn hooks_start_in_stream_order() {
    let [request, start, content, call, finish, complete] =
        ["request", "stream_start", "content", "tool_call", "finish", "complete"].map(|hook| format!("watch.{hook}"));
    for dialect in DIALECTS {
        let outcome = play(&Script::events(dialect, document(json!([{"use": "watch"}])), tool_call(dialect)));
        let seen = outcome.events.iter().map(|event| &event.event_type).filter(|hook| hook.starts_with("watch."));
        // The text of a choice is one field, to which more can come after a tool call: it ends with the choice.
        let blocks = if dialect == CHAT { [&call, &content] } else { [&content, &call] };
        assert_eq!(seen.collect::<Vec<_>>(), [&request, &start, blocks[0], blocks[1], &finish, &complete], "{dialect}");
    }
}
