//! What is observed leaves as it came, at once, whatever the policies decide; what they decide is told.

use core::time::Duration;

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::rollout::bucket;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::native::{Cause, Outcome, RequestOutcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document};

use crate::{play, test};

pub(super) const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];
const CALL: Said<'static> = Said::Call { id: "call_1", name: "rm", arguments: &["{\"path\"", ":\"/srv\"}"] };
const TEXT: Said<'static> = Said::Text(&["I will ", "do it."]);

pub(super) fn in_mode(chain: Value, rollout: &Value) -> Value {
    let mut document = document(chain);
    document["rollout"] = rollout.clone();
    document
}

fn shadow(chain: Value) -> Value {
    in_mode(chain, &json!({"mode": "shadow"}))
}

pub(super) fn answer() -> Answer<'static> {
    Answer { said: vec![TEXT, CALL], cut: false }
}

/// The exchange streamed and whole, with the body that the provider answers.
pub(super) fn both(dialect: Dialect, document: &Value) -> [(Script, Vec<u8>); 2] {
    let (streamed, whole) = (answer().streamed(dialect), answer().whole(dialect));
    [
        (Script::events(dialect, document.clone(), &streamed), streamed),
        (Script::whole(dialect, document.clone(), vec![whole.clone()]), whole),
    ]
}

/// Every byte leaves in the step in which it came.
#[track_caller]
pub(super) fn assert_passed(outcome: &Outcome, script: &Script, body: &[u8]) {
    assert_eq!(outcome.request, RequestOutcome::Sent);
    assert_eq!(outcome.text(), String::from_utf8_lossy(body));
    let came = script.steps.iter().enumerate().filter_map(|(number, step)| match step {
        Step::ResponseBody { chunk, .. } if !chunk.is_empty() => Some((number, chunk.clone())),
        _ => None,
    });
    let left = outcome.releases.iter().map(|release| {
        assert_eq!(release.cause, Cause::Step);
        (release.step, release.bytes.clone())
    });
    assert!(came.eq(left), "something left at another time than it came");
    assert_eq!(outcome.held_time, Duration::ZERO);
}

#[test]
fn a_shadow_changes_no_byte_and_tells_what_it_would_have_done() {
    for (chain, decision, by) in [
        (json!([{"use": "uppercase"}]), "rewrite", "Uppercase"),
        (json!([{"use": "drop_text"}]), "rewrite", "DropText"),
        (json!([{"use": "hold_text"}]), "allow", ""),
        (json!([{"use": "deny_tool", "with": {"name": "rm"}}]), "refuse", "DenyTool"),
        (json!([{"use": "watch"}, {"use": "ask_judge"}]), "refuse", "AskJudge"),
        (json!([{"use": "block_stream", "with": {"text": "No."}}]), "rewrite", "BlockStream"),
    ] {
        for dialect in DIALECTS {
            for (script, body) in both(dialect, &shadow(chain.clone())) {
                let script = script.judged(JudgeRule::new("", JudgeReply::Verdict(0.9)));
                let outcome = play(&script);
                assert_passed(&outcome, &script, &body);
                let event = outcome.enforcement();
                assert_eq!(event["decision"], decision, "{dialect} {chain}");
                assert_eq!((&event["effective_decision"], &event["enforced"]), (&json!("allow"), &json!(false)));
                assert_eq!((&event["rollout_mode"], &event["status"]), (&json!("shadow"), &json!(200)));
                assert_eq!(event["decided_by"].as_str().unwrap_or_default(), by, "{dialect} {chain}");
                assert_eq!(event["held_ms"], 0.0);
                assert!(event["would_have_held_ms"].is_number());
            }
        }
    }
}

#[test]
fn a_shadow_says_how_many_tokens_it_would_have_cut() {
    for dialect in DIALECTS {
        for (script, _) in both(dialect, &shadow(json!([{"use": "drop_text"}]))) {
            let event = play(&script).enforcement();
            assert!(event["would_have_cut_tokens"].as_u64().unwrap() > 0, "{dialect}: {event}");
        }
        for (script, _) in both(dialect, &shadow(json!([{"use": "watch"}]))) {
            assert_eq!(play(&script).enforcement()["would_have_cut_tokens"], 0, "{dialect}");
        }
    }
}

#[test]
fn a_request_that_would_be_refused_leaves_as_it_came() {
    let act = json!([{"use": "act", "with": {"at": "request", "act": {"refuse": {"status": 429, "code": "over"}}}}]);
    for dialect in DIALECTS {
        for (script, body) in both(dialect, &shadow(act.clone())) {
            let outcome = play(&script);
            assert_passed(&outcome, &script, &body);
            let event = outcome.enforcement();
            assert_eq!((&event["decision"], &event["status"]), (&json!("refuse"), &json!(200)), "{dialect}");
        }
    }
}

#[test]
fn a_verdict_that_comes_after_the_answer_has_ended_reaches_the_event() {
    for dialect in DIALECTS {
        for (script, body) in both(dialect, &shadow(json!([{"use": "ask_judge"}]))) {
            for (reply, decision) in [(JudgeReply::Verdict(0.9), "refuse"), (JudgeReply::Verdict(0.1), "allow")] {
                let script = script.clone().judged(JudgeRule::new("", reply).after(1_000));
                let outcome = play(&script);
                assert_passed(&outcome, &script, &body);
                assert_eq!(outcome.enforcement()["decision"], decision, "{dialect}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_passes_and_is_told() {
    for (body, content_type) in [("{\"broken", "application/json"), ("<html>", "text/html")] {
        let script = Script::request(Dialect::Messages, shadow(json!([{"use": "watch"}])), false)
            .respond(content_type, vec![body.as_bytes().to_vec()]);
        let outcome = play(&script);
        assert_passed(&outcome, &script, body.as_bytes());
        assert!(outcome.events.iter().any(|event| event.event_type.starts_with("response_")), "{:?}", outcome.events);
    }
    let document = shadow(json!([{"use": "watch"}]));
    let script = Script::request_to("/v1/messages", document, vec![b"{\"model\":".to_vec()]).respond("application/json", vec![]);
    let outcome = play(&script);
    assert_eq!(outcome.request, RequestOutcome::Sent);
    assert_eq!(outcome.events_of("request_malformed").len(), 1);
}

pub(super) fn as_user(mut script: Script, user: &str) -> Script {
    if let Some(Step::RequestHead { headers, .. }) = script.steps.first_mut() {
        headers.push(("x-policy-user".to_owned(), user.as_bytes().to_vec()));
    }
    script
}

#[test]
fn buckets_are_the_same_wherever_the_engine_runs() {
    for (seed, key, expected) in [
        ("2026-11", "ann".as_bytes(), 588_789),
        ("2026-11", b"bob", 306_319),
        ("2026-12", b"ann", 120_682),
        ("s", b"", 158_749),
        ("seed", "jörg".as_bytes(), 440_312),
        ("seed", &[b'x'; 256], 673_685),
        ("a", b"\0b", 177_943),
    ] {
        assert_eq!(bucket(seed, key), expected, "{seed} {key:?}");
    }
}

#[test]
fn a_canary_enforces_in_one_arm_alone() {
    // Ann's bucket is 588,789, Bob's 306,319.
    let rollout = json!({"mode": "canary", "percentage": 58.8789, "seed": "2026-11"});
    let document = in_mode(json!([{"use": "uppercase"}]), &rollout);
    for dialect in DIALECTS {
        for (script, body) in both(dialect, &document) {
            let script = as_user(script, "ann");
            let control = play(&script);
            assert_passed(&control, &script, &body);
            let event = control.enforcement();
            assert_eq!((&event["rollout_mode"], &event["rollout_arm"]), (&json!("canary"), &json!("control")));
            assert_eq!((&event["rollout_key"], &event["rollout_bucket"]), (&json!("user"), &json!(588_789)));
        }
        for (script, body) in both(dialect, &document) {
            let canary = play(&as_user(script, "bob"));
            assert_ne!(canary.client, body, "{dialect}");
            let event = canary.enforcement();
            assert_eq!((&event["enforced"], &event["rollout_arm"]), (&json!(true), &json!("canary")));
            assert_eq!((&event["decision"], &event["effective_decision"]), (&json!("rewrite"), &json!("rewrite")));
        }
        for (script, body) in both(dialect, &document) {
            let nobody = play(&script);
            assert_passed(&nobody, &script, &body);
            assert_eq!(nobody.enforcement()["rollout_key"], "missing");
        }
    }
}

#[test]
fn a_mode_of_a_target_counts_for_it_alone() {
    let rollout = json!({"mode": "enforced", "targets": {"messages": "shadow"}});
    for dialect in DIALECTS {
        let outcome = play(&both(dialect, &in_mode(json!([{"use": "uppercase"}]), &rollout))[0].0);
        assert_eq!(outcome.enforcement()["enforced"], dialect != Dialect::Messages, "{dialect}");
    }
}
