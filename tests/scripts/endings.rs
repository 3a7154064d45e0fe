//! Where and why an answer ends that a policy ends; and texts that are searched as clients join them.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::client::{self, Message};
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, legality};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const RESPONSES: Dialect = Dialect::Responses;
const DIALECTS: [Dialect; 3] = [CHAT, MESSAGES, RESPONSES];

const TEXT: Said<'static> = Said::Text(&["I will ", "do it: sec"]);
const BAD: Said<'static> = Said::Call { id: "call_1", name: "rm", arguments: &["{\"path\"", ":\"/srv\"}"] };
const GOOD: Said<'static> = Said::Call { id: "call_2", name: "ls", arguments: &["{\"path\"", ":\"/tmp\"}"] };

fn judged(script: Script, delay: usize) -> Script {
    script
        .judged(JudgeRule::new("rm", JudgeReply::Verdict(0.9)).after(delay))
        .judged(JudgeRule::new("ls", JudgeReply::Verdict(0.0)))
}

/// Plays an answer streamed, with the verdict about the harmful call at every delay, and whole.
fn play_all(dialect: Dialect, said: &[Said<'static>], chain: &Value) -> Vec<(String, Outcome, Message)> {
    let answer = Answer { said: said.to_vec(), cut: false };
    let (stream, document) = (answer.streamed(dialect), document(chain.clone()));
    let mut played = Vec::new();
    for (cut, chunks) in [("events", chunking::events(&stream)), ("one chunk", vec![stream.clone()])] {
        for delay in [0, 1, 2, 4, 100] {
            let outcome = play(&judged(Script::streamed(dialect, document.clone(), chunks.clone()), delay));
            legality::assert_stream(dialect, &outcome.client);
            let message = client::streamed(dialect, &outcome.client);
            played.push((format!("{dialect} {cut} {delay} {chain}"), outcome, message));
        }
    }
    for delay in [0, 100] {
        let outcome = play(&judged(Script::whole(dialect, document.clone(), vec![answer.whole(dialect)]), delay));
        legality::assert_whole(dialect, &outcome.client);
        let message = client::whole(dialect, &outcome.client);
        played.push((format!("{dialect} whole {delay} {chain}"), outcome, message));
    }
    played
}

#[test]
fn an_end_lets_no_later_call_out_at_any_timing() {
    let chain = json!([{"use": "act", "with": {"at": "call", "ask": true, "act": "drop", "send": " No.", "end": "stop"}}]);
    for dialect in DIALECTS {
        for (name, outcome, message) in play_all(dialect, &[TEXT, BAD, GOOD], &chain) {
            let choice = message.only();
            assert_eq!((choice.text.as_str(), choice.calls.len()), ("I will do it: sec No.", 0), "{name}");
            assert_eq!(outcome.events_of("acting.call").iter().filter(|event| event.summary == "judged").count(), 1, "{name}");
        }
    }
}

#[test]
fn an_end_leaves_what_came_before_it_and_gives_its_own_reason() {
    for (end, reasons) in [
        ("stop", ["tool_calls", "tool_use", "completed"]),
        ("length", ["length", "max_tokens", "max_output_tokens"]),
        ("refusal", ["content_filter", "refusal", "content_filter"]),
    ] {
        let chain = json!([{"use": "act", "with": {"at": "call", "tool": "ls", "end": end}}]);
        for (dialect, reason) in DIALECTS.into_iter().zip(reasons) {
            for (name, outcome, message) in play_all(dialect, &[TEXT, GOOD, BAD], &chain) {
                assert_eq!(message.only().tools(), ["ls"], "{name}");
                let finish = match dialect {
                    RESPONSES => outcome.text().contains(reason),
                    _ => message.only().finish == reason,
                };
                assert!(finish, "{name}: {}", outcome.text());
            }
        }
    }
}

#[test]
fn an_end_behind_a_call_that_was_held_cuts_nothing() {
    let chain = json!([{"use": "act", "with": {"at": "call", "act": "drop", "end": "stop"}}]);
    for (dialect, reason) in [(CHAT, "stop"), (MESSAGES, "end_turn")] {
        for (name, _, message) in play_all(dialect, &[TEXT, BAD, GOOD], &chain) {
            assert_eq!((message.only().finish.as_str(), message.only().calls.len()), (reason, 0), "{name}");
        }
    }
}

#[test]
fn text_that_an_earlier_policy_holds_stays_before_what_a_later_one_says() {
    let redact = json!({"use": "redact", "with": {"term": "secret", "with": "***"}});
    for end in [Value::Null, json!("stop")] {
        let act = json!({"use": "act", "with": {"at": "call", "act": "drop", "send": " No.", "end": end}});
        for dialect in DIALECTS {
            for (name, _, message) in play_all(dialect, &[TEXT, BAD], &json!([redact, act])) {
                assert_eq!(message.only().text, "I will do it: sec No.", "{name}");
            }
        }
    }
}

#[test]
fn held_text_is_dropped_where_an_end_says_so() {
    let redact = json!({"use": "redact", "with": {"term": "secret", "with": "***"}});
    let act = json!({"use": "act", "with": {"at": "call", "act": "drop", "send": "No.", "end": "stop_dropping"}});
    for dialect in DIALECTS {
        for (name, _, message) in play_all(dialect, &[TEXT, BAD], &json!([redact, act])) {
            assert_eq!(message.only().text, "I will do it: No.", "{name}");
        }
    }
}

#[test]
fn a_whole_answer_can_be_refused_from_any_hook() {
    for at in ["text", "call", "finish"] {
        let chain = json!([{"use": "act", "with": {"at": at, "refuse_output": true}}]);
        for dialect in DIALECTS {
            let answer = Answer { said: vec![TEXT, GOOD], cut: false };
            let outcome = play(&Script::whole(dialect, document(chain.clone()), vec![answer.whole(dialect)]));
            assert_eq!(outcome.status, 403, "{dialect} {at}");
            assert!(outcome.text().contains("The answer was refused.") && !outcome.text().contains("/tmp"), "{dialect} {at}");
        }
    }
}

/// A stream of this dialect in which a client joins these texts, each in a block of its own.
fn in_blocks(dialect: Dialect, texts: [&'static str; 2]) -> Vec<u8> {
    let [one, two] = texts.map(|text| vec![text]);
    let said = vec![Said::Text(&one), Said::Text(&two)];
    Answer { said, cut: false }.streamed(dialect)
}

#[test]
fn a_term_is_found_over_the_edges_of_what_a_client_joins() {
    let chain = document(json!([{"use": "redact", "with": {"term": "Nightingale", "with": "***"}}]));
    for dialect in [CHAT, MESSAGES] {
        for cut in 1.."Nightingale".len() {
            let texts = ["Project Nightingale"; 2];
            let edge = "Project ".len() + cut;
            let body = in_blocks(dialect, [&texts[0][..edge], &texts[1][edge..]]);
            for chunks in [chunking::events(&body), chunking::bytes(&body)] {
                let outcome = play(&Script::streamed(dialect, chain.clone(), chunks));
                legality::assert_stream(dialect, &outcome.client);
                assert_eq!(client::streamed(dialect, &outcome.client).only().text, "Project ***", "{dialect} {cut}");
                assert!(!outcome.text().contains("Project N"), "no beginning of it leaves: {}", outcome.text());
            }
        }
    }
}

#[test]
fn a_term_is_found_over_a_finish_reason() {
    let chunk = |content: &str, finish: Value| {
        let choices = json!([{"index": 0, "delta": {"content": content}, "finish_reason": finish}]);
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let body = [chunk("Project Night", json!("stop")), chunk("ingale", json!("stop")), "data: [DONE]\n\n".to_owned()].concat();
    let chain = document(json!([{"use": "redact", "with": {"term": "Nightingale", "with": "***"}}]));
    let outcome = play(&Script::events(CHAT, chain, body.as_bytes()));
    assert!(!outcome.text().contains("Night") && !outcome.text().contains("ingale"), "{}", outcome.text());
}

#[test]
fn a_term_is_found_over_two_messages_of_one_stream() {
    let chain = document(json!([{"use": "redact", "with": {"term": "Nightingale", "with": "***"}}]));
    for dialect in [MESSAGES, RESPONSES] {
        let message = |text: Said<'static>| Answer { said: vec![text], cut: false }.streamed(dialect);
        let body = [message(Said::Text(&["Project Night"])), message(Said::Text(&["ingale, it sings"]))].concat();
        for chunks in [chunking::events(&body), vec![body.clone()]] {
            let outcome = play(&Script::streamed(dialect, chain.clone(), chunks));
            let text = outcome.text();
            assert!(!text.contains("Night") && !text.contains("ingale"), "{dialect}: {text}");
            assert!(text.contains("Project ") && text.contains(", it sings"), "{dialect}: {text}");
        }
    }
}

#[test]
fn nothing_is_said_behind_the_end() {
    let chunk = |content: &str| {
        let choices = json!([{"index": 0, "delta": {"content": content}, "finish_reason": null}]);
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let body = [chunk("Project Night"), "data: [DONE]\n\n".to_owned(), chunk("ingale")].concat();
    let chain = document(json!([{"use": "redact", "with": {"term": "Nightingale", "with": "***"}}]));
    let outcome = play(&Script::events(CHAT, chain, body.as_bytes()));
    assert!(outcome.text().contains("Night") && !outcome.text().contains("ingale"), "{}", outcome.text());
}

#[test]
fn exactly_what_could_become_a_term_waits() {
    let chain = document(json!([{"use": "redact", "with": {"term": "Nightingale", "with": "***"}}]));
    for dialect in [CHAT, MESSAGES] {
        let answer = Answer { said: vec![Said::Text(&["a Nig", "ht", "fall, No"])], cut: false };
        let events = chunking::events(&answer.streamed(dialect));
        let outcome = play(&Script::streamed(dialect, chain.clone(), events.clone()));
        assert_eq!(client::streamed(dialect, &outcome.client).only().text, "a Nightfall, No", "{dialect}");
        let step = |delta: &str| 3 + events.iter().position(|event| String::from_utf8_lossy(event).contains(delta)).unwrap();
        let left_by = |step: usize| {
            let releases = outcome.releases.iter().filter(|release| release.step <= step);
            let bytes: Vec<u8> = releases.flat_map(|release| release.bytes.clone()).collect();
            client::streamed(dialect, &bytes).choices.first().map(|choice| choice.text.clone()).unwrap_or_default()
        };
        assert_eq!(left_by(step("a Nig")), "a ", "{dialect}");
        assert_eq!(left_by(step("\"ht\"")), "a ", "{dialect}");
        assert_eq!(left_by(step("fall, No")), "a Nightfall, No", "{dialect}");
    }
}
