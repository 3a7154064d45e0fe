//! Policies with raw access: they see bodies as bytes, at the client's edge of the chain, and the event says so.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::document::{Document, DocumentError, PolicyConfig, Registry, parse};
use weir::policy::{Interests, Policy, PolicyContext, RawAction, RawChunkAction, Refusal, SharedPolicy};
use weir_driver::{Cause, Outcome, Player, Recording, RequestOutcome, Split};
use weir_test_support::answer::{Answer, Said};
use weir_test_support::{policies, script};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];
const TEXT: Said<'static> = Said::Text(&["Go on, ", "and on."]);
const RM: Said<'static> = Said::Call { id: "call_1", name: "rm", arguments: &["{\"path\"", ":\"/srv\"}"] };
const STAMP: &[u8] = b"\n: stamped\n\n";

/// What a raw policy does to what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Does {
    Nothing,
    /// Writes zeros for small letters o, and something behind the last byte.
    Stamp,
    /// Keeps all until the last byte has come.
    Delay,
    /// Adds more than a call may.
    Grow,
    /// Adds less.
    GrowALittle,
    Refuse,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "nothing")]
    request: Does,
    #[serde(default = "nothing")]
    answer: Does,
}

const fn nothing() -> Does {
    Does::Nothing
}

fn zeros(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if *byte == b'o' { b'0' } else { *byte }).collect()
}

fn whole(does: Does, body: &[u8]) -> RawAction {
    match does {
        Does::Nothing | Does::Delay => RawAction::Keep,
        Does::Stamp => RawAction::Replace([&zeros(body), STAMP].concat()),
        Does::Grow => RawAction::Replace([body, &vec![b' '; 70_000]].concat()),
        Does::GrowALittle => RawAction::Replace([body, &vec![b' '; 2000]].concat()),
        Does::Refuse => RawAction::Refuse(Refusal::new(451, "Not here.")),
    }
}

impl Policy<Vec<u8>> for Raw {
    fn interests(&self) -> Interests {
        Interests::RAW
    }

    fn on_raw_request(&self, body: &[u8], _: &PolicyContext<Vec<u8>>) -> RawAction {
        match self.request {
            Does::Stamp => RawAction::Replace(String::from_utf8_lossy(body).replace("\"m\"", "\"other\"").into_bytes()),
            does => whole(does, body),
        }
    }

    fn on_raw_response(&self, body: &[u8], _: &PolicyContext<Vec<u8>>) -> RawAction {
        whole(self.answer, body)
    }

    fn on_raw_chunk(&self, chunk: &[u8], is_last: bool, cx: &PolicyContext<Vec<u8>>) -> RawChunkAction {
        match self.answer {
            Does::Nothing | Does::Refuse => RawChunkAction::Keep,
            Does::Stamp if is_last => RawChunkAction::Replace([&zeros(chunk), STAMP].concat()),
            Does::Stamp => RawChunkAction::Replace(zeros(chunk)),
            Does::Grow => RawChunkAction::Replace([chunk, &vec![b'\n'; 70_000]].concat()),
            Does::GrowALittle => RawChunkAction::Replace([chunk, &vec![b'\n'; 2000]].concat()),
            Does::Delay => RawChunkAction::Replace(cx.scratchpad(|kept| {
                kept.extend_from_slice(chunk);
                if is_last { core::mem::take(kept) } else { Vec::new() }
            })),
        }
    }
}

fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    Ok(SharedPolicy::new("Raw", parse::<Raw>(config.with)?))
}

fn registry() -> Registry {
    policies::registry().with("raw", make)
}

fn read(chain: &Value, more: &Value) -> Result<Document, DocumentError> {
    let mut document = json!({"policy": {"id": "raw"}, "chain": chain});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Document::parse(&document.to_string(), &registry(), &|_| None)
}

fn player(chain: &Value, more: &Value) -> Player {
    Player::new(Arc::new(read(chain, more).unwrap().chain))
}

fn denying() -> Value {
    json!({"use": "deny_tool", "with": {"name": "rm"}})
}

fn raw(request: &str, answer: &str) -> Value {
    json!({"use": "raw", "with": {"request": request, "answer": answer}})
}

fn recording(dialect: Dialect, streamed: bool, said: &[Said<'static>]) -> Recording {
    let mut body = script::request_body(dialect, streamed);
    body["model"] = json!("m");
    let answer = Answer { said: said.to_vec(), cut: false };
    let recording = Recording::post(script::path(dialect), body.to_string());
    if streamed { recording.streamed(answer.streamed(dialect)) } else { recording.whole(answer.whole(dialect)) }
}

fn play(player: &Player, recording: &Recording, split: &Split) -> Outcome {
    let outcome = player.play(&recording.steps(split));
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    assert!(!outcome.stuck);
    outcome
}

fn each(mut check: impl FnMut(Dialect, bool)) {
    for dialect in DIALECTS {
        for streamed in [true, false] {
            check(dialect, streamed);
        }
    }
}

fn reason(outcome: &Outcome) -> String {
    outcome.enforcement()["reason_code"].as_str().unwrap().to_owned()
}

#[test]
fn all_others_read_the_request_that_a_raw_policy_made() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, &[TEXT]);
        let outcome = play(&player(&json!([denying(), raw("stamp", "nothing")]), &json!({})), &recording, &Split::Bytes);
        let RequestOutcome::SentBody(body) = &outcome.request else { panic!("{:?}", outcome.request) };
        let sent: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&sent["model"], &outcome.enforcement()["model"]), (&json!("other"), &json!("other")), "{dialect}");
        assert_eq!(outcome.client, recording.response.as_ref().unwrap().body, "{dialect} {streamed}");
        let event = outcome.enforcement();
        assert_eq!((&event["raw"], &event["raw_policies"]), (&json!(true), &json!(["Raw"])), "{dialect}");
        assert_eq!((&event["decision"], &event["decided_by"]), (&json!("rewrite"), &json!("Raw")), "{dialect}");
    });
}

#[test]
fn what_a_raw_policy_makes_of_an_answer_leaves_as_it_is_and_it_sees_what_all_others_let_go() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, &[TEXT, RM]);
        let without = play(&player(&json!([denying()]), &json!({})), &recording, &Split::Events);
        assert!(!without.text().contains("/srv") && !without.enforcement().as_object().unwrap().contains_key("raw"));
        for split in [Split::Whole, Split::Events, Split::Bytes, Split::Every(13)] {
            let stamping = player(&json!([denying(), raw("nothing", "stamp")]), &json!({}));
            let outcome = play(&stamping, &recording, &split);
            assert_eq!(outcome.client, [&zeros(&without.client), STAMP].concat(), "{dialect} {streamed} {split:?}");
            assert_eq!(outcome.enforcement()["decision"], "refuse", "the most restrictive one");
            let delayed = play(&player(&json!([denying(), raw("nothing", "delay")]), &json!({})), &recording, &split);
            assert_eq!(delayed.client, without.client, "{dialect} {streamed} {split:?}");
        }
    });
}

#[test]
fn a_raw_policy_that_changes_nothing_changes_nothing() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, &[TEXT, RM]);
        let outcome = play(&player(&json!([raw("nothing", "nothing")]), &json!({})), &recording, &Split::Bytes);
        assert_eq!((&outcome.request, &outcome.client), (&RequestOutcome::Sent, &recording.response.as_ref().unwrap().body));
        assert_eq!((&outcome.enforcement()["decision"], &outcome.enforcement()["raw"]), (&json!("allow"), &json!(true)));
    });
}

#[test]
fn the_outermost_of_several_raw_policies_stands_at_the_end() {
    let chain = json!([raw("nothing", "stamp"), raw("nothing", "stamp")]);
    let recording = recording(Dialect::ChatCompletions, false, &[TEXT]);
    let outcome = play(&player(&chain, &json!({})), &recording, &Split::Whole);
    let (body, once) = (&recording.response.as_ref().unwrap().body, zeros(STAMP));
    assert_eq!(outcome.client, [&zeros(body), &once, STAMP].concat());
    assert_eq!(outcome.enforcement()["raw_policies"], json!(["Raw", "Raw"]));
}

#[test]
fn a_raw_policy_refuses_a_request_and_a_whole_answer_in_the_words_of_the_dialect() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, &[TEXT]);
        let outcome = play(&player(&json!([raw("refuse", "nothing")]), &json!({})), &recording, &Split::Whole);
        assert_eq!((outcome.status, &outcome.request, outcome.decision.name()), (451, &RequestOutcome::Answered, "refuse"));
        if !streamed {
            let outcome = play(&player(&json!([raw("nothing", "refuse")]), &json!({})), &recording, &Split::Every(20));
            let error: Value = serde_json::from_slice(&outcome.client).unwrap();
            assert_eq!((outcome.status, outcome.decision.name()), (451, "refuse"), "{dialect}");
            assert_eq!(error["error"]["message"], "Not here.", "{dialect}: {error}");
        }
    });
}

#[test]
fn what_grows_beyond_its_bound_does_not_leave_and_the_error_names_the_bound() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, &[TEXT]);
        let bounds = json!({"limits": {"max_request_bytes": 70_000, "max_rewritten_bytes": 1024}});
        for (chain, status, bound) in [
            (json!([raw("grow", "nothing")]), 413, "limits.max_request_bytes"),
            (json!([raw("nothing", "grow")]), if streamed { 200 } else { 502 }, "the 65536 bytes that a call may add"),
            (json!([raw("nothing", "grow_a_little")]), if streamed { 200 } else { 502 }, "limits.max_rewritten_bytes"),
        ] {
            let outcome = play(&player(&chain, &bounds), &recording, &Split::Events);
            assert_eq!((outcome.status, reason(&outcome).as_str()), (status, "RAW_TOO_LARGE"), "{dialect} {streamed} {chain}");
            assert_eq!(outcome.events_of("raw_too_large")[0].metadata["bound"], bound, "{dialect} {streamed}");
            assert!(!outcome.text().contains("and on.") && outcome.client.len() < 1024, "{dialect} {streamed}");
        }
    });
}

#[test]
fn in_the_shadow_raw_policies_change_no_byte_and_nothing_waits_for_them() {
    each(|dialect, streamed| {
        for does in ["stamp", "delay", "grow", "refuse"] {
            let recording = recording(dialect, streamed, &[TEXT, RM]);
            let shadow = json!({"rollout": {"mode": "shadow"}});
            let outcome = play(&player(&json!([raw(does, does)]), &shadow), &recording, &Split::Events);
            assert_eq!(outcome.request, RequestOutcome::Sent, "{dialect} {streamed} {does}");
            assert_eq!(outcome.client, recording.response.as_ref().unwrap().body, "{dialect} {streamed} {does}");
            assert!(outcome.releases.iter().all(|release| release.cause == Cause::Step), "{dialect} {streamed} {does}");
            assert_eq!((&outcome.enforcement()["raw"], &outcome.enforcement()["enforced"]), (&json!(true), &json!(false)));
        }
    });
}

#[test]
fn errors_of_the_provider_and_refusals_of_others_do_not_come_to_raw_policies() {
    for dialect in DIALECTS {
        let failed = Recording::post(script::path(dialect), script::request_body(dialect, false).to_string());
        let failed = failed.answered(500, "application/json", r#"{"error":{"message":"oops"}}"#);
        let outcome = play(&player(&json!([raw("nothing", "stamp")]), &json!({})), &failed, &Split::Whole);
        assert_eq!((outcome.status, outcome.text().as_str()), (500, r#"{"error":{"message":"oops"}}"#), "{dialect}");
        let broken = Recording::post(script::path(dialect), script::request_body(dialect, false).to_string()).whole("{oops");
        let outcome = play(&player(&json!([raw("nothing", "stamp")]), &json!({})), &broken, &Split::Whole);
        assert!(outcome.status == 502 && !outcome.text().contains("stamped"), "{dialect}: {}", outcome.text());
    }
}

#[test]
fn no_policy_stands_behind_a_raw_one_whose_bytes_it_would_not_see() {
    let error = read(&json!([raw("nothing", "stamp"), denying()]), &json!({})).unwrap_err();
    assert_eq!(error.path, "chain[1]");
    assert!(error.message.contains("Raw") && error.message.contains("end of the chain"), "{error}");
    assert!(read(&json!([denying(), raw("nothing", "stamp"), raw("stamp", "nothing")]), &json!({})).is_ok());
}
