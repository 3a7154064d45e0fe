//! The outcome does not depend on timing or chunking: decisions, events and what the client accumulates are the same whenever the
//! verdicts come, and however the bytes are cut. Only what may legally overtake differs.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::client::{self, Call, Message};
use weir_test_support::native::{self, Outcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, fixtures, legality, policies};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

/// What the client accumulates, what was concluded, and what was told of it.
fn outcome_of(dialect: Dialect, outcome: &Outcome) -> Value {
    let message: Message = client::streamed(dialect, &outcome.client);
    let call = |call: &Call| json!([call.id, call.name, call.arguments]);
    let choice = |choice: &client::Choice| json!({"text": choice.text, "refusal": choice.refusal, "finish": choice.finish, "calls": choice.calls.iter().map(call).collect::<Value>()});
    let told = |event: &weir::event::Event| {
        // A hook for what comes behind an end may have begun before the end was known: it says that it did nothing.
        let is_compared = event.event_type != "enforcement" && event.summary != "skipped";
        is_compared.then(|| format!("{} {} {}", event.event_type, event.summary, Value::Object(event.metadata.clone())))
    };
    let mut told: Vec<String> = outcome.events.iter().filter_map(told).collect();
    // Policies, and choices, do not wait for one another.
    told.sort();
    let enforcement = outcome.enforcement();
    json!({"choices": message.choices.iter().map(choice).collect::<Value>(), "error": message.error, "told": told,
        "decision": enforcement["decision"], "reason": enforcement["reason_code"]})
}

fn assert_same_at_any_timing(chain: &Value) {
    for dialect in DIALECTS {
        for fixture in fixtures::streams(dialect) {
            let mut first = None;
            let came_illegal = legality::stream(dialect, fixture.body);
            for chunks in
                [chunking::events(fixture.body), vec![fixture.body.to_vec()], chunking::at(fixture.body, &[7, 300, 301])]
            {
                for (harmful, harmless) in [(0, 0), (100, 0), (0, 100), (1, 3), (3, 1), (100, 100)] {
                    let script = Script::streamed(dialect, document(chain.clone()), chunks.clone())
                        .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)).after(harmful))
                        .judged(JudgeRule::new("web_search", JudgeReply::Verdict(0.9)).after(harmful))
                        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)).after(harmless));
                    let outcome = native::play(&script, &policies::registry());
                    let illegal = legality::added(&came_illegal, legality::stream(dialect, &outcome.client));
                    legality::assert_none(&illegal, &outcome.client);
                    let mut came = outcome_of(dialect, &outcome);
                    if fixture.name == "content_after_call" {
                        // Text may overtake a call that waits: where it stands, or whether it came before an end, is left open.
                        came["choices"][0]["text"] = Value::Null;
                    }
                    let expected = first.get_or_insert_with(|| came.clone());
                    assert_eq!(&came, expected, "{dialect} {} with {chain}: {harmful} {harmless}", fixture.name);
                }
            }
        }
    }
}

#[test]
fn judged_calls() {
    assert_same_at_any_timing(&json!([{"use": "ask_judge"}]));
    assert_same_at_any_timing(&json!([{"use": "watch"}, {"use": "ask_judge", "with": {"message": null}}, {"use": "watch"}]));
}

#[test]
fn judged_calls_that_end_the_answer() {
    for end in ["stop", "length", "refusal"] {
        let act = json!({"at": "call", "ask": true, "act": "drop", "send": "No.", "end": end});
        assert_same_at_any_timing(&json!([{"use": "act", "with": act}]));
    }
}

#[test]
fn judged_texts() {
    assert_same_at_any_timing(&json!([{"use": "ask_about_text"}, {"use": "uppercase"}]));
}

#[test]
fn texts_that_are_held_and_calls_that_are_judged() {
    let redact = json!({"use": "redact", "with": {"term": "weather", "with": "***"}});
    assert_same_at_any_timing(&json!([redact, {"use": "ask_judge"}]));
    assert_same_at_any_timing(&json!([{"use": "ask_judge"}, redact, {"use": "uppercase"}]));
}
