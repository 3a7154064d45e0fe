//! Answers that policies give in the model's place: legal in every dialect, streamed and whole, and read alike.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use core::time::Duration;

use serde_json::{Value, json};
use weir::answer::{Answer, AnswerBlock, AnswerChoice};
use weir::decision::Decision;
use weir::dialect::{Dialect, Ending};
use weir::document::{self, Registry};
use weir::exchange::{End, Request, Response};
use weir::policy::{Policy, PolicyContext, RequestAction, ResponseAction, SharedPolicy, StreamAction, StreamingContext};
use weir::state::Scope;
use weir::usage::Usage;
use weir_test_support::answer::{Answer as Provided, Said};
use weir_test_support::client::{self, Message};
use weir_test_support::native::{self, Outcome, RequestOutcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document as script_document, mcp_call};
use weir_test_support::{legality, policies};

const MODELS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

/// Gives its configuration as the answer: to the request, or once the response begins.
#[derive(Debug, serde::Deserialize)]
struct Give {
    answer: Answer,
    #[serde(default)]
    late: bool,
}

impl Policy for Give {
    async fn on_request(&self, _: &Request, _: &PolicyContext) -> RequestAction {
        if self.late { RequestAction::SendRequest } else { RequestAction::SendResponse(self.answer.clone()) }
    }

    async fn on_response(&self, _: &Response, _: &PolicyContext) -> ResponseAction {
        if self.late { ResponseAction::SendAnswer(self.answer.clone()) } else { ResponseAction::SendResponse }
    }

    async fn on_stream_start(&self, _: &StreamingContext) -> StreamAction {
        if self.late { StreamAction::BlockStream(self.answer.clone()) } else { StreamAction::SendStreamingResponse }
    }
}

/// Records what is answered, and says it in an event.
#[derive(Debug)]
struct Record;

impl Policy for Record {
    async fn on_request(&self, _: &Request, cx: &PolicyContext) -> RequestAction {
        cx.record_answer();
        RequestAction::SendRequest
    }

    fn on_stream_complete(&self, _: &End, cx: &PolicyContext) {
        let answer = cx.recorded_answer();
        cx.emit("recorded", "", weir::event::Severity::Debug, json!({ "answer": answer }));
        let _kept = cx.state(Scope::Worker).put("last", b"seen", Duration::from_secs(1));
    }
}

fn registry() -> Registry {
    policies::registry()
        .with("give", |config| Ok(SharedPolicy::new("Give", document::parse::<Give>(config.with)?)))
        .with("record", |_| Ok(SharedPolicy::new("Record", Record)))
}

fn text(text: &str) -> AnswerBlock {
    AnswerBlock::Text(text.to_owned())
}

fn call(id: &str, name: &str, arguments: &str) -> AnswerBlock {
    AnswerBlock::ToolCall { call_id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned(), free_form: false }
}

fn answer(blocks: Vec<AnswerBlock>, ending: Ending) -> Answer {
    Answer { choices: vec![AnswerChoice { blocks, ending }], ..Answer::default() }
}

fn answers() -> Vec<Answer> {
    let search = || call("call_1", "web_search", r#"{"query":"weirs \"and\" dams","n":12345678901234567890}"#);
    vec![
        Answer::text("Grüße, 🌊 \"weir\"."),
        Answer { usage: Some(Usage { input_tokens: 3, output_tokens: 5 }), ..Answer::text("with usage") },
        answer(vec![text("one "), text("two")], Ending::Cut),
        answer(vec![text("I look."), search()], Ending::Stop),
        answer(vec![search(), call("", "get_weather", ""), text("behind")], Ending::Stop),
        answer(vec![AnswerBlock::Refusal("I will not.".to_owned())], Ending::Refusal),
        answer(vec![AnswerBlock::Reasoning("hm".to_owned()), text("so")], Ending::Stop),
        answer(Vec::new(), Ending::Stop),
    ]
}

fn play(script: &Script) -> Outcome {
    native::play(script, &registry())
}

fn chain(answer: &Answer, late: bool, behind: Value) -> Value {
    let mut chain = vec![json!({"use": "give", "with": {"answer": answer, "late": late}})];
    chain.extend(behind.as_array().unwrap().iter().cloned());
    script_document(Value::Array(chain))
}

fn script(dialect: Dialect, document: Value, streamed: bool, provided: Option<&Provided<'_>>) -> Script {
    match provided {
        None => Script::request(dialect, document, streamed),
        Some(provided) if streamed => Script::events(dialect, document, &provided.streamed(dialect)),
        Some(provided) => Script::whole(dialect, document, vec![provided.whole(dialect)]),
    }
}

#[track_caller]
fn read(dialect: Dialect, streamed: bool, body: &[u8]) -> Message {
    if streamed {
        legality::assert_stream(dialect, body);
        client::streamed(dialect, body)
    } else {
        legality::assert_whole(dialect, body);
        client::whole(dialect, body)
    }
}

/// Text, refusal, calls (id, name, arguments) and finish reason of a choice.
type Spoken = (String, String, Vec<(String, String, Value)>, String);

/// What counts of a message, whatever the ids of its parts.
fn said(message: &Message) -> Vec<Spoken> {
    let choices = message.choices.iter().map(|choice| {
        let calls = choice.calls.iter().map(|call| {
            let arguments = serde_json::from_str(&call.arguments).expect("arguments are JSON");
            (call.id.clone(), call.name.clone(), arguments)
        });
        (choice.text.clone(), choice.refusal.clone(), calls.collect(), choice.finish.clone())
    });
    choices.collect()
}

#[test]
fn every_answer_is_legal_and_reads_alike_streamed_and_whole() {
    for dialect in MODELS {
        for answer in answers() {
            let document = chain(&answer, false, json!([]));
            let [streamed, whole] = [true, false].map(|streamed| {
                let outcome = play(&script(dialect, document.clone(), streamed, None));
                assert_eq!((&outcome.request, outcome.status), (&RequestOutcome::Answered, 200), "{dialect} {answer:?}");
                read(dialect, streamed, &outcome.client)
            });
            assert_eq!(said(&streamed), said(&whole), "{dialect} {answer:?}");
            let calls = answer.choices[0].blocks.iter().filter(|block| matches!(block, AnswerBlock::ToolCall { .. }));
            assert_eq!(whole.only().calls.len(), calls.count(), "{dialect}");
        }
    }
}

#[test]
fn chat_says_every_choice() {
    let mut answer = answer(vec![text("first")], Ending::Stop);
    answer.choices.push(AnswerChoice { blocks: vec![call("c", "f", "{}")], ending: Ending::Stop });
    for streamed in [true, false] {
        let outcome = play(&script(Dialect::ChatCompletions, chain(&answer, false, json!([])), streamed, None));
        let message = read(Dialect::ChatCompletions, streamed, &outcome.client);
        let finishes: Vec<_> = message.choices.iter().map(|choice| choice.finish.as_str()).collect();
        assert_eq!(finishes, ["stop", "tool_calls"]);
    }
}

#[test]
fn an_answer_takes_the_place_of_a_response_that_has_begun() {
    let provided = Provided { said: vec![Said::Text(&["The provider's."])], cut: false };
    for dialect in MODELS {
        for answer in answers() {
            for streamed in [true, false] {
                let asked = play(&script(dialect, chain(&answer, false, json!([])), streamed, None));
                let late = play(&script(dialect, chain(&answer, true, json!([])), streamed, Some(&provided)));
                let [asked, late] = [asked, late].map(|outcome| said(&read(dialect, streamed, &outcome.client)));
                assert_eq!(late, asked, "{dialect} {answer:?}");
            }
        }
    }
}

#[test]
fn an_answer_that_cannot_be_said_is_refused() {
    for (dialect, arguments) in [(Dialect::Messages, "[1]"), (Dialect::ChatCompletions, "{"), (Dialect::Responses, "")] {
        let outcome = play(&Script::request(
            dialect,
            chain(&answer(vec![call("c", "f", arguments)], Ending::Stop), false, json!([])),
            true,
        ));
        assert_eq!(outcome.status, if arguments.is_empty() { 200 } else { 500 }, "{dialect}: {}", outcome.text());
    }
}

/// A chain behind the answer that judges its calls and writes its text in capitals.
fn behind() -> Value {
    json!([{"use": "ask_judge", "with": {"message": "Withheld."}}, {"use": "uppercase"}])
}

#[test]
fn the_policies_behind_see_an_answer_only_if_it_says_so() {
    let own = answer(vec![text("I look."), call("a", "web_search", "{}"), call("b", "delete_files", "{}")], Ending::Stop);
    let provided = Provided { said: vec![Said::Text(&["The provider's."])], cut: false };
    for dialect in MODELS {
        for (streamed, late, delay) in [true, false]
            .into_iter()
            .flat_map(|streamed| [true, false].into_iter().flat_map(move |late| [0, 2].map(|delay| (streamed, late, delay))))
        {
            let played = |answer: &Answer| {
                let script = script(dialect, chain(answer, late, behind()), streamed, late.then_some(&provided))
                    .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)).after(delay))
                    .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)).after(delay));
                let outcome = play(&script);
                assert!(!outcome.stuck, "{dialect} {streamed} {late} {delay}");
                (read(dialect, streamed, &outcome.client), outcome)
            };
            let (message, outcome) = played(&own.clone().through_policies());
            let context = format!("{dialect}, streamed {streamed}, late {late}, delay {delay}: {}", outcome.text());
            assert_eq!(message.only().tools(), ["web_search"], "{context}");
            assert!(message.only().text.starts_with("I LOOK."), "{context}");
            assert!(message.only().text.contains("Withheld."), "{context}");
            assert!(!message.only().text.contains("provider"), "{context}");
            assert_eq!(outcome.callouts.len(), 2, "{context}");
            assert_eq!(outcome.decision, Decision::Refuse, "{context}");

            let (message, outcome) = played(&own);
            assert_eq!(message.only().tools(), ["web_search", "delete_files"], "a policy's own words pass no other");
            assert_eq!(message.only().text, "I look.");
            assert!(outcome.callouts.is_empty());
        }
    }
}

#[test]
fn an_answer_that_passes_all_policies_is_allowed() {
    let script = Script::request(
        Dialect::Messages,
        chain(&Answer::text("Hi.").through_policies(), false, json!([{"use": "watch"}])),
        true,
    );
    let outcome = play(&script);
    assert_eq!(outcome.decision, Decision::Allow);
    assert_eq!(outcome.enforcement()["streamed"], true);
    for event in ["watch.request", "watch.stream_start", "watch.content", "watch.finish", "watch.complete"] {
        assert_eq!(outcome.events_of(event).len(), 1, "{event}");
    }
}

#[test]
fn a_policy_behind_can_refuse_the_request_that_was_answered() {
    let answer = Answer::text("Hi.").through_policies();
    let script =
        Script::request(Dialect::Messages, chain(&answer, false, json!([{"use": "answer", "with": {"refuse": 429}}])), true);
    assert_eq!(play(&script).status, 429);
}

#[test]
fn a_client_that_leaves_while_the_answer_is_judged_ends_the_exchange() {
    let own = answer(vec![call("a", "web_search", "{}")], Ending::Stop).through_policies();
    let mut script =
        Script::request(Dialect::Messages, chain(&own, false, behind()), true).judged(JudgeRule::new("", JudgeReply::Silence));
    script.steps.push(Step::ClientGone);
    let outcome = play(&script);
    assert_eq!(outcome.request, RequestOutcome::Held);
    assert_eq!(outcome.enforcement()["ended"], "client_gone");
}

#[test]
fn mcp_gets_a_result_and_the_policies_behind_see_call_and_text() {
    let body = mcp_call(7, "get_weather", &json!({"city": "Paris"})).to_string().into_bytes();
    let answer = |passes| Answer { passes_policies: passes, ..Answer::text("Sunny.") };
    let played = |passes, probability| {
        let script = Script::request_to("/mcp", chain(&answer(passes), false, behind()), vec![body.clone()])
            .judged(JudgeRule::new("", JudgeReply::Verdict(probability)));
        let outcome = play(&script);
        assert_eq!(outcome.request, RequestOutcome::Answered, "{}", outcome.text());
        serde_json::from_slice::<Value>(&outcome.client).unwrap_or_else(|_| panic!("{}", outcome.text()))
    };
    let said = |message: &Value| (message["result"]["isError"].clone(), message["result"]["content"][0]["text"].clone());
    assert_eq!(said(&played(true, 0.1)), (json!(false), json!("SUNNY.")));
    assert_eq!(said(&played(true, 0.9)), (json!(true), json!("Withheld.")));
    assert_eq!(said(&played(false, 0.1)), (json!(true), json!("Sunny.")));
}

fn recorded(dialect: Dialect, streamed: bool, provided: &Provided<'_>) -> Option<Answer> {
    let document = script_document(json!([{"use": "record"}, {"use": "deny_tool", "with": {"name": "f"}}]));
    let outcome = play(&script(dialect, document, streamed, Some(provided)));
    let [event] = outcome.events_of("recorded")[..] else { panic!("one event was expected") };
    serde_json::from_value(event.metadata["answer"].clone()).unwrap()
}

#[test]
fn what_was_answered_is_recorded_as_it_came_and_can_be_given_again() {
    let provided = Provided {
        said: vec![Said::Text(&["I ", "look."]), Said::Call { id: "c1", name: "f", arguments: &[r#"{"a""#, ":1}"] }],
        cut: false,
    };
    for dialect in MODELS {
        for streamed in [true, false] {
            let answer = recorded(dialect, streamed, &provided).expect("it is whole");
            let expected = vec![text("I look."), call("c1", "f", r#"{"a":1}"#)];
            assert_eq!(answer.choices, [AnswerChoice { blocks: expected, ending: Ending::Stop }], "{dialect} {streamed}");
            for other in MODELS {
                let outcome = play(&script(other, chain(&answer, false, json!([])), streamed, None));
                let message = read(other, streamed, &outcome.client);
                assert_eq!((message.only().text.as_str(), message.only().tools()), ("I look.", vec!["f"]));
            }
        }
    }
}

#[test]
fn what_broke_off_is_not_recorded() {
    let provided = Provided { said: vec![Said::Text(&["I ", "look."])], cut: false };
    for dialect in MODELS {
        let document = script_document(json!([{"use": "record"}]));
        let stream = provided.streamed(dialect);
        let script = Script::events(dialect, document, &stream).interrupted(3, Step::UpstreamReset);
        let outcome = play(&script);
        assert_eq!(outcome.events_of("recorded")[0].metadata["answer"], Value::Null, "{dialect}");
    }
}
