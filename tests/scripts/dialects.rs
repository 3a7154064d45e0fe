//! The same answer gets the same decision, the same questions and the same content in every dialect, streamed and whole.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{client, legality};

use crate::{play, test};

/// The dialects that models answer in.
const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

const TEXT: Said<'_> = Said::Text(&["I will ", "look at the ", "files: Grüße 🌊."]);
const WEATHER: Said<'_> = Said::Call { id: "call_1", name: "get_weather", arguments: &["{\"city\":", "\"Paris\"}"] };
const DELETE: Said<'_> =
    Said::Call { id: "call_2", name: "delete_files", arguments: &["{\"path\":\"/srv", "/data\",\"recursive\":true}"] };
const EMPTY: Said<'_> = Said::Call { id: "call_3", name: "list_files", arguments: &["{}"] };

fn answers() -> Vec<Answer<'static>> {
    let saids: [&[Said<'_>]; 7] = [
        &[TEXT],
        &[WEATHER],
        &[DELETE],
        &[TEXT, WEATHER, DELETE],
        &[TEXT, DELETE, WEATHER],
        &[DELETE, EMPTY, WEATHER],
        &[TEXT, EMPTY],
    ];
    saids.into_iter().map(|said| Answer { said: said.to_vec(), cut: false }).collect()
}

fn chains() -> Vec<Value> {
    vec![
        json!([]),
        json!([{"use": "watch"}]),
        json!([{"use": "ask_judge"}]),
        json!([{"use": "ask_judge", "with": {"message": null}}]),
        json!([{"use": "uppercase"}, {"use": "ask_judge"}, {"use": "hold_text"}]),
        json!([{"use": "drop_text"}, {"use": "ask_judge"}]),
        json!([{"use": "hold_text", "with": {"with": "Something else."}}]),
        json!([{"use": "deny_tool", "with": {"name": "get_weather", "message": "No."}}]),
        json!([{"use": "deny_tool", "with": {"name": "delete_files", "with_call": true}}, {"use": "ask_judge"}]),
        json!([{"use": "block_stream", "with": {"text": "Not today."}}]),
    ]
}

/// What must not depend on the dialect.
fn in_common(dialect: Dialect, streamed: bool, outcome: &Outcome) -> Value {
    let message = if streamed {
        legality::assert_stream(dialect, &outcome.client);
        client::streamed(dialect, &outcome.client)
    } else {
        legality::assert_whole(dialect, &outcome.client);
        client::whole(dialect, &outcome.client)
    };
    let choice = message.only();
    let calls: Value =
        choice.calls.iter().map(|call| json!([call.name, serde_json::from_str::<Value>(&call.arguments).unwrap()])).collect();
    let finish = match choice.finish.as_str() {
        // responses does not tell an answer with calls from one without.
        "stop" | "end_turn" | "tool_calls" | "tool_use" | "completed" => "complete",
        "length" | "max_tokens" | "max_output_tokens" => "cut off",
        other => panic!("{dialect} ends with {other}"),
    };
    let questions: Value = outcome
        .callouts
        .iter()
        .map(|callout| {
            let body: Value = serde_json::from_slice(&callout.body).unwrap();
            let matter = body.pointer("/messages/1/content").unwrap().as_str().unwrap();
            // Whole bodies space arguments as they like.
            matter.chars().filter(|character| !character.is_whitespace()).collect::<String>()
        })
        .collect();
    let mut events: Vec<_> = outcome.events.iter().map(|event| event.event_type.clone()).collect();
    events.retain(|event| !event.starts_with("watch.stream_start") && !event.starts_with("watch.response"));
    events.sort_unstable();
    // Where nothing is left of a text some dialects have to say so, others only where nothing is left of the message.
    let text = choice.text.replace("This content was withheld by policy.", "");
    let enforcement = outcome.enforcement();
    json!({"decision": format!("{:?}", outcome.decision), "reason": enforcement["reason_code"], "text": text, "calls": calls,
        "finish": finish, "questions": questions, "events": events})
}

fn judged(script: Script) -> Outcome {
    let script = script.judged(JudgeRule::new("/srv/data", JudgeReply::Verdict(0.9)));
    play(&script.judged(JudgeRule::new("", JudgeReply::Verdict(0.1))))
}

#[test]
fn the_same_answer_gets_the_same_decision_in_every_dialect_streamed_and_whole() {
    for (answer, chain) in answers().iter().flat_map(|answer| chains().into_iter().map(move |chain| (answer, chain))) {
        let mut expected: Option<Value> = None;
        for dialect in DIALECTS {
            let streamed = Script::events(dialect, document(chain.clone()), &answer.streamed(dialect));
            let whole = Script::whole(dialect, document(chain.clone()), vec![answer.whole(dialect)]);
            for (is_stream, script) in [(true, streamed), (false, whole)] {
                let common = in_common(dialect, is_stream, &judged(script));
                let form = if is_stream { "streamed" } else { "whole" };
                assert_eq!(*expected.get_or_insert_with(|| common.clone()), common, "{dialect} {form}: {answer:?} with {chain}");
            }
        }
    }
}

#[test]
fn a_call_that_is_cut_off_gets_the_same_decision_in_every_dialect() {
    let cut = Said::Call { id: "call_4", name: "get_weather", arguments: &["{\"city\":", "\"Par"] };
    for said in [vec![TEXT, cut], vec![TEXT, WEATHER, cut]] {
        let answer = Answer { said, cut: true };
        let [chat, messages, responses] = DIALECTS.map(|dialect| {
            let chain = json!([{"use": "ask_judge"}]);
            let outcome = judged(Script::events(dialect, document(chain), &answer.streamed(dialect)));
            in_common(dialect, true, &outcome)
        });
        assert_eq!(chat, messages, "{answer:?}");
        assert_eq!(chat, responses, "{answer:?}");
    }
}
