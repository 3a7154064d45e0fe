//! Streamed and whole answers get the same decision and the same content.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::client::{self, Call, Message};
use weir_test_support::fixtures::Fixture;
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, fixtures, legality};

use crate::{play, test};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

/// The same answer, streamed and whole.
fn pairs() -> Vec<(&'static Fixture, &'static Fixture)> {
    let pairs = DIALECTS.into_iter().flat_map(|dialect| {
        fixtures::wholes(dialect).iter().map(move |whole| {
            let stream = fixtures::streams(dialect).iter().find(|stream| stream.name == whole.name);
            (stream.expect("every whole body is there as a stream too"), whole)
        })
    });
    pairs.collect()
}

fn judged(script: Script) -> Outcome {
    let script = script
        .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("web_search", JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
    play(&script)
}

/// What both must agree on: arguments as values, for the two forms space them differently.
fn said(message: &Message) -> Value {
    let call = |call: &Call| json!([call.id, call.name, serde_json::from_str::<Value>(&call.arguments).ok()]);
    let choice = |choice: &client::Choice| json!({"text": choice.text, "refusal": choice.refusal, "finish": choice.finish, "calls": choice.calls.iter().map(call).collect::<Value>()});
    json!({"choices": message.choices.iter().map(choice).collect::<Value>(), "error": message.error})
}

fn assert_parity(chain: &Value) {
    for (stream, whole) in pairs() {
        let dialect = stream.dialect;
        let name = format!("{dialect} {} with {chain}", stream.name);
        let streamed = judged(Script::events(dialect, document(chain.clone()), stream.body));
        let answered = judged(Script::whole(dialect, document(chain.clone()), chunking::at(whole.body, &[10, 100])));
        legality::assert_stream(dialect, &streamed.client);
        legality::assert_whole(dialect, &answered.client);
        let (one, other) = (client::streamed(dialect, &streamed.client), client::whole(dialect, &answered.client));
        assert_eq!(said(&one), said(&other), "{name}");
        assert_eq!(streamed.decision, answered.decision, "{name}");
        let reason = |outcome: &Outcome| outcome.enforcement()["reason_code"].clone();
        assert_eq!(reason(&streamed), reason(&answered), "{name}");
        assert_eq!(streamed.callouts.len(), answered.callouts.len(), "{name}");
    }
}

#[test]
fn what_is_left_alone() {
    assert_parity(&json!([{"use": "no_op"}]));
    assert_parity(&json!([{"use": "watch"}]));
}

#[test]
fn an_untouched_whole_body_leaves_byte_for_byte() {
    for (_, whole) in pairs() {
        for chain in [json!([{"use": "no_op"}]), json!([{"use": "hold_text"}])] {
            for chunks in [vec![whole.body.to_vec()], chunking::bytes(whole.body)] {
                let outcome = judged(Script::whole(whole.dialect, document(chain.clone()), chunks));
                assert_eq!(outcome.text(), String::from_utf8_lossy(whole.body), "{} {}", whole.dialect, whole.name);
            }
        }
    }
}

#[test]
fn judged_calls() {
    assert_parity(&json!([{"use": "ask_judge"}]));
    assert_parity(&json!([{"use": "ask_judge", "with": {"message": null}}]));
}

#[test]
fn denied_calls() {
    for tool in ["get_weather", "delete_files", "web_search"] {
        assert_parity(&json!([{"use": "deny_tool", "with": {"name": tool}}]));
        assert_parity(&json!([{"use": "deny_tool", "with": {"name": tool, "message": "No."}}]));
    }
    assert_parity(&json!([{"use": "deny_tool", "with": {"name": "delete_files", "with_call": true}}]));
}

#[test]
fn changed_text() {
    assert_parity(&json!([{"use": "uppercase"}]));
    assert_parity(&json!([{"use": "hold_text", "with": {"with": "Something else."}}]));
    assert_parity(&json!([{"use": "drop_text"}]));
}

#[test]
fn answers_in_the_providers_place() {
    assert_parity(&json!([{"use": "block_stream", "with": {"text": "Not today."}}]));
}

#[test]
fn hooks_see_the_same_blocks() {
    for (stream, whole) in pairs() {
        let seen = |script| {
            let outcome = judged(script);
            let events = outcome
                .events
                .iter()
                .filter(|event| matches!(event.event_type.as_str(), "watch.content" | "watch.tool_call" | "watch.finish"));
            let mut seen = events
                .map(|event| {
                    let mut metadata = event.metadata.clone();
                    metadata.remove("block");
                    if let Some(arguments) = metadata.get("arguments").and_then(Value::as_str) {
                        // Free text stays as it is.
                        let read: Value = serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into());
                        metadata.insert("arguments".to_owned(), read);
                    }
                    Value::Object(metadata)
                })
                .collect::<Vec<_>>();
            // A body has no events that could be unknown.
            seen.retain(|metadata| metadata["kind"] != "Unknown");
            // Choices interleave in a stream, and follow one another in a whole body; and text that a stream can still add
            // to ends after the tool calls.
            seen.sort_by_key(|metadata| {
                (metadata["choice"].as_u64(), metadata.get("kind").is_none(), metadata.get("reason").is_some())
            });
            seen
        };
        let chain = document(json!([{"use": "watch"}]));
        let streamed = seen(Script::events(stream.dialect, chain.clone(), stream.body));
        let answered = seen(Script::whole(whole.dialect, chain, vec![whole.body.to_vec()]));
        assert_eq!(streamed, answered, "{} {}", stream.dialect, stream.name);
    }
}
