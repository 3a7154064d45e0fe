//! What is concluded, apart from what is done to the bytes.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::client::{self, Message};
use weir_test_support::native::{Outcome, RequestOutcome};
use weir_test_support::script::{Script, document};
use weir_test_support::{chunking, legality};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const DIALECTS: [Dialect; 3] = [CHAT, Dialect::Messages, Dialect::Responses];

const CALL: Said<'static> = Said::Call { id: "call_1", name: "rm", arguments: &["{\"path\"", ":\"/srv\"}"] };
const TEXT: Said<'static> = Said::Text(&["I will ", "do it."]);

/// Plays an answer streamed and whole, and gives what the client makes of both.
fn both(dialect: Dialect, said: &[Said<'static>], chain: &Value) -> [(Outcome, Message); 2] {
    let answer = Answer { said: said.to_vec(), cut: false };
    let streamed = play(&Script::events(dialect, document(chain.clone()), &answer.streamed(dialect)));
    legality::assert_stream(dialect, &streamed.client);
    let whole = play(&Script::whole(dialect, document(chain.clone()), vec![answer.whole(dialect)]));
    legality::assert_whole(dialect, &whole.client);
    let messages = [client::streamed(dialect, &streamed.client), client::whole(dialect, &whole.client)];
    let mut messages = messages.into_iter();
    [streamed, whole].map(|outcome| (outcome, messages.next().unwrap()))
}

#[test]
fn what_a_policy_does_without_a_word_is_inferred() {
    for (act, expected) in [
        (json!({"at": "call", "act": "drop"}), Decision::Refuse),
        (json!({"at": "call", "act": {"text": "No."}}), Decision::Refuse),
        (json!({"at": "call", "act": {"call": "ls"}}), Decision::Rewrite),
        (json!({"at": "call", "send_call": "ls"}), Decision::Rewrite),
        (json!({"at": "call", "send": "Mind you:"}), Decision::Rewrite),
        (json!({"at": "finish", "send_call": "ls"}), Decision::Rewrite),
        (json!({"at": "text", "act": {"text": "Else."}}), Decision::Rewrite),
        (json!({"at": "text", "act": "forward"}), Decision::Allow),
        (json!({"at": "response", "act": {"text": "A cached answer."}}), Decision::Rewrite),
    ] {
        for dialect in DIALECTS {
            for (outcome, _) in both(dialect, &[TEXT, CALL], &json!([{"use": "act", "with": act}])) {
                assert_eq!(outcome.decision, expected, "{dialect} {act}");
            }
        }
    }
}

#[test]
fn what_a_policy_concludes_counts_whatever_it_does() {
    for (act, conclusion) in [
        (json!({"at": "call", "act": "drop"}), "rewrite"),
        (json!({"at": "call", "act": {"text": "No."}}), "escalate"),
        (json!({"at": "call", "act": {"call": "ls"}}), "summary"),
        (json!({"at": "text", "act": {"text": "Short."}}), "summary"),
        (json!({"at": "response", "act": {"text": "A cached answer."}}), "allow"),
    ] {
        for dialect in DIALECTS {
            let mut act = act.clone();
            act["conclude"] = json!(conclusion);
            act["categories"] = json!(["pii", "pii", "secrets"]);
            for (outcome, _) in both(dialect, &[TEXT, CALL], &json!([{"use": "act", "with": act}])) {
                let enforcement = outcome.enforcement();
                assert_eq!(enforcement["decision"], conclusion, "{dialect} {act}");
                assert_eq!(enforcement["reason_code"], "ACTED", "{dialect} {act}");
                assert_eq!(enforcement["triggered_categories"], json!(["pii", "secrets"]), "{dialect} {act}");
            }
        }
    }
}

#[test]
fn a_request_that_is_answered_here_is_a_rewrite_unless_the_policy_says_otherwise() {
    for (conclude, expected) in [(Value::Null, Decision::Rewrite), (json!("allow"), Decision::Allow)] {
        let act = json!({"at": "request", "act": {"text": "A cached answer."}, "conclude": conclude});
        for dialect in DIALECTS {
            let outcome = play(&Script::request(dialect, document(json!([{"use": "act", "with": act}])), true));
            assert_eq!((outcome.request, outcome.decision), (RequestOutcome::Answered, expected), "{dialect}");
        }
    }
}

#[test]
fn a_refusal_of_a_request_says_what_the_policy_says() {
    let act = json!({"at": "request", "act": {"refuse": {"status": 429, "code": "over_budget", "retry_after": 30}}});
    for dialect in DIALECTS {
        let outcome = play(&Script::request(dialect, document(json!([{"use": "act", "with": act}])), true));
        assert_eq!((outcome.status, outcome.decision), (429, Decision::Refuse), "{dialect}");
        let error: Value = serde_json::from_slice(&outcome.client).unwrap();
        assert_eq!((&error["error"]["type"], &error["error"]["message"]), (&json!("rate_limit_error"), &json!("Not now.")));
        if dialect != Dialect::Messages {
            assert_eq!(error["error"]["code"], "over_budget", "{dialect}");
        }
    }
}

#[test]
fn a_call_that_a_policy_sends_is_named_by_the_finish_reason() {
    for dialect in [CHAT, Dialect::Messages] {
        for at in ["text", "finish"] {
            let chain = json!([{"use": "act", "with": {"at": at, "send_call": "ls"}}]);
            for (_, message) in both(dialect, &[TEXT], &chain) {
                assert_eq!(message.only().tools(), ["ls"], "{dialect} {at}");
                assert_eq!(message.only().finish, if dialect == CHAT { "tool_calls" } else { "tool_use" }, "{dialect} {at}");
            }
        }
    }
}

#[test]
fn what_a_policy_says_takes_the_place_of_what_it_drops() {
    for dialect in DIALECTS {
        for at in ["text", "call"] {
            let chain = json!([{"use": "act", "with": {"at": at, "send": "Only this.", "act": "drop"}}]);
            let said = if at == "text" { TEXT } else { CALL };
            for (_, message) in both(dialect, &[said], &chain) {
                assert_eq!((message.only().text.as_str(), message.only().calls.len()), ("Only this.", 0), "{dialect} {at}");
            }
        }
    }
}

#[test]
fn a_rewritten_request_is_read_again() {
    let body = json!({"model": "another", "stream": false, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1});
    let chain = json!([{"use": "act", "with": {"at": "request", "act": {"body": body.to_string()}}}, {"use": "watch"}]);
    let answer = Answer { said: vec![TEXT], cut: false };
    let script = Script::request(CHAT, document(chain), true).respond("application/json", vec![answer.whole(CHAT)]);
    let outcome = play(&script);
    let seen = &outcome.events_of("watch.request")[0].metadata;
    assert_eq!((&seen["model"], &seen["stream"]), (&json!("another"), &json!(false)));
    assert_eq!((outcome.enforcement()["model"].clone(), outcome.client), (json!("another"), answer.whole(CHAT)));
}

#[test]
fn a_rewritten_request_that_cannot_be_read_does_not_leave() {
    let chain = json!([{"use": "act", "with": {"at": "request", "act": {"body": "{\"model\":1}"}}}]);
    let outcome = play(&Script::request(CHAT, document(chain), true));
    assert_eq!((outcome.request, outcome.status), (RequestOutcome::Answered, 500));
}

/// A chat stream in which more comes for a call after its arguments have closed.
fn trailing(tail: &str) -> Vec<u8> {
    let chunk = |delta: Value, finish: Value| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let call = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "rm", "arguments": "{\"a\":1}"}});
    let more = json!({"index": 0, "function": {"arguments": tail}});
    [
        chunk(json!({"role": "assistant", "tool_calls": [call]}), Value::Null),
        chunk(json!({"tool_calls": [more]}), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
    .into_bytes()
}

#[test]
fn what_comes_for_a_call_after_its_end_is_dropped_at_any_timing() {
    use weir_test_support::script::{JudgeReply, JudgeRule};
    let body = trailing("{\"b\":2}");
    for delay in [0, 1, 2, 100] {
        for chunks in [chunking::events(&body), vec![body.clone()]] {
            let script = Script::streamed(CHAT, document(json!([{"use": "ask_judge"}])), chunks)
                .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)).after(delay));
            let outcome = play(&script);
            let message = client::streamed(CHAT, &outcome.client);
            assert_eq!(message.only().calls[0].arguments, "{\"a\":1}", "{delay}");
            assert_eq!(outcome.events_of("tool_call_trailing").len(), 1, "{delay}");
            assert_eq!((outcome.decision, outcome.callouts.len()), (Decision::Rewrite, 1), "{delay}");
        }
    }
}

#[test]
fn arguments_are_edited_in_place() {
    let chain = json!([{"use": "act", "with": {"at": "call", "act": {"arguments": "{\"path\":\"/tmp\"}"}}}]);
    for dialect in DIALECTS {
        for (outcome, message) in both(dialect, &[TEXT, CALL], &chain) {
            let call = &message.only().calls[0];
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            assert_eq!((call.id.as_str(), call.name.as_str(), arguments), ("call_1", "rm", json!({"path": "/tmp"})), "{dialect}");
            assert_eq!(outcome.decision, Decision::Rewrite, "{dialect}");
            assert!(!outcome.text().contains("/srv"), "{dialect}");
        }
    }
}
