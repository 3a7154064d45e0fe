//! ToolCallJudge at work on whole exchanges.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Run, Shape, call_in_question, careful_judge, run, run_stream};
use weir::decision::Decision;
use weir::dialect::Dialect::{self, ChatCompletions, Messages};
use weir::exchange::{CalloutReply, EndReason};
use weir_test_support::answer::{Answer, Said};
use weir_test_support::client::{check_request, next_request};
use weir_test_support::fixtures::{self, stream, whole};
use weir_test_support::{chunking, legality, sse};

const BLOCKED: &str = "⛔ BLOCKED: delete_files - so it seems";

fn chain(fields: Value) -> Value {
    let mut with = json!({"judge": "main"});
    for (field, value) in fields.as_object().unwrap() {
        with[field] = value.clone();
    }
    json!([{"use": "tool_call_judge", "with": with}])
}

fn parallel(dialect: Dialect) -> &'static str {
    if dialect == ChatCompletions { "parallel_tool_calls" } else { "parallel_tool_use" }
}

fn judged(fields: Value, dialect: Dialect, name: &str) -> support::Outcome {
    run(&chain(fields), dialect, Shape::Stream, &chunking::events(stream(dialect, name)), &careful_judge)
}

#[test]
fn of_two_calls_the_harmful_one_is_replaced_and_the_next_turn_is_accepted() {
    for dialect in [ChatCompletions, Messages] {
        let outcome = judged(json!({}), dialect, parallel(dialect));
        let choice = outcome.message.only();
        assert_eq!(choice.tools(), ["get_weather"]);
        assert_eq!(choice.text, BLOCKED);
        assert_eq!(choice.finish, if dialect == ChatCompletions { "tool_calls" } else { "tool_use" });
        assert_eq!((outcome.decision, outcome.reason_code()), (Decision::Refuse, "TOOL_CALL_REFUSED"));
        assert_eq!(outcome.policy_events(), ["judge.passed", "judge.blocked", "judge.summary"]);
        assert_eq!(
            json!(outcome.event("judge.summary").metadata),
            json!({"judged": 2, "passed": 1, "blocked": 1, "skipped": 0, "failed": 0})
        );
        check_request(dialect, &next_request(dialect, &outcome.message)).unwrap();
    }
}

#[test]
fn events_name_the_call_and_never_show_its_arguments() {
    let outcome = judged(json!({}), ChatCompletions, "parallel_tool_calls");
    let blocked = &outcome.event("judge.blocked").metadata;
    assert_eq!(blocked["tool"], "delete_files");
    assert_eq!(blocked["tool_call_id"], "call_Zt4HcP9oJr6AyQe3XvLk7DsB");
    assert_eq!(blocked["probability"], 0.9);
    assert_eq!(blocked["argument_bytes"], r#"{"path":"/srv/data","recursive":true}"#.len());
    assert!(!format!("{:?}", outcome.events).contains("/srv"));
}

#[test]
fn an_answer_that_was_one_blocked_call_ends_as_text() {
    for (dialect, finish) in [(ChatCompletions, "stop"), (Messages, "end_turn")] {
        let outcome = judged(json!({"deny": ["get_*", "delete_*"]}), dialect, parallel(dialect));
        assert_eq!((outcome.message.only().tools(), outcome.message.only().finish.as_str()), (vec![], finish));
        check_request(dialect, &next_request(dialect, &outcome.message)).unwrap();
    }
}

#[test]
fn calls_that_pass_leave_as_they_came() {
    // A ping may overtake what is held.
    let without_pings = |body: &[u8]| sse::read(body).into_iter().filter(|event| event.name != "ping").collect::<Vec<_>>();
    for dialect in [ChatCompletions, Messages] {
        for fixture in fixtures::streams(dialect).iter().filter(|fixture| fixture.is_plain()) {
            if ["call_cut_by_length", "call_cut_by_max_tokens"].contains(&fixture.name) {
                continue;
            }
            let harmless = |_: &Value| json!({"probability": 0, "explanation": ""}).to_string();
            let outcome = run(&chain(json!({})), dialect, Shape::Stream, &chunking::events(fixture.body), &harmless);
            assert_eq!(without_pings(&outcome.out), without_pings(fixture.body), "{}", fixture.name);
            assert_eq!(outcome.out.len(), fixture.body.len(), "{}", fixture.name);
            assert_eq!(outcome.decision, Decision::Allow, "{}", fixture.name);
        }
    }
}

#[test]
fn parallel_calls_are_judged_at_the_same_time_and_leave_in_their_order() {
    for dialect in [ChatCompletions, Messages] {
        let mut run = Run::start(&chain(json!({})), dialect, Shape::Stream);
        let _ = run.feed(stream(dialect, parallel(dialect)), false);
        let [first, second] = &run.callouts[..] else { panic!("both questions must be out: {:?}", run.callouts) };
        assert_eq!(call_in_question(first)["tool"], "get_weather");
        assert_eq!(call_in_question(second)["tool"], "delete_files");
        assert!(!String::from_utf8_lossy(&run.out).contains("get_weather"));
        let (first, second) = (first.id, second.id);
        let harmless = r#"{"probability":0,"explanation":""}"#;
        let _ = run.answer(second, harmless);
        assert!(!String::from_utf8_lossy(&run.out).contains("delete_files"), "the second call overtook the first");
        let _ = run.answer(first, harmless);
        let _ = run.feed(b"", true);
        let outcome = run.end(EndReason::Completed);
        assert_eq!(outcome.message.only().tools(), ["get_weather", "delete_files"]);
        legality::assert_stream(dialect, &outcome.out);
    }
}

#[test]
fn a_whole_body_is_judged_as_the_stream_is() {
    for dialect in [ChatCompletions, Messages] {
        for fixture in fixtures::wholes(dialect) {
            for fields in
                [json!({}), json!({"allow": ["delete_files"]}), json!({"deny": ["get_weather"]}), json!({"threshold": 0.05})]
            {
                let streamed = judged(fields.clone(), dialect, fixture.name);
                let body = [whole(dialect, fixture.name).to_vec()];
                let whole = run(&chain(fields.clone()), dialect, Shape::Whole, &body, &careful_judge);
                assert_eq!(whole.message, streamed.message, "{} {fields}", fixture.name);
                assert_eq!(
                    (whole.decision, whole.reason_code()),
                    (streamed.decision, streamed.reason_code()),
                    "{}",
                    fixture.name
                );
                assert_eq!(whole.policy_events(), streamed.policy_events(), "{}", fixture.name);
            }
        }
    }
}

#[test]
fn the_lists_come_before_the_judge_and_deny_before_allow() {
    for dialect in [ChatCompletions, Messages] {
        let fields = json!({"allow": ["*"], "deny": ["delete_files"]});
        let outcome = run_stream(&chain(fields), dialect, stream(dialect, parallel(dialect)));
        assert_eq!(outcome.message.only().tools(), ["get_weather"]);
        assert_eq!(outcome.message.only().text, "⛔ BLOCKED: delete_files - this tool is not allowed here");
        assert_eq!(outcome.reason_code(), "TOOL_CALL_DENIED");
        assert_eq!(outcome.event("judge.passed").metadata["by"], "allowlist");
        let enforcement = &outcome.event("enforcement").metadata;
        assert_eq!(
            (&enforcement["allowlist_hits"], &enforcement["denylist_hits"]),
            (&json!(["get_weather"]), &json!(["delete_files"]))
        );
    }
}

#[test]
fn a_call_that_was_cut_off_is_blocked_without_a_question() {
    for (dialect, name) in [(ChatCompletions, "call_cut_by_length"), (Messages, "call_cut_by_max_tokens")] {
        let outcome = run_stream(&chain(json!({})), dialect, stream(dialect, name));
        assert_eq!(outcome.message.only().tools(), [""; 0], "{name}");
        assert_eq!(outcome.reason_code(), "TOOL_CALL_INVALID", "{name}");
    }
}

#[test]
fn a_judge_that_fails_blocks_or_lets_pass_as_configured_and_the_client_hears_nothing_of_it() {
    let replies = [
        CalloutReply::NotSent,
        CalloutReply::Broken,
        CalloutReply::Response { status: 500, body: b"upstream connect error" },
        CalloutReply::Response { status: 200, body: br#"{"choices":[{"message":{"content":"upstream says NaN"}}]}"# },
        CalloutReply::Response {
            status: 200,
            body: br#"{"choices":[{"message":{"content":"{\"probability\":7,\"explanation\":\"upstream\"}"}}]}"#,
        },
    ];
    for reply in replies {
        for (on_error, tools, code) in [("block", &[][..], "TOOL_CALL_UNCHECKED"), ("allow", &["get_weather"][..], "ALLOW")] {
            let mut run = Run::start(&chain(json!({"on_error": on_error})), ChatCompletions, Shape::Stream);
            let _ = run.feed(stream(ChatCompletions, "tool_call"), true);
            let question = run.callouts.first().expect("the judge is asked").id;
            let _ = run.reply(question, reply);
            let outcome = run.end(EndReason::Completed);
            legality::assert_stream(ChatCompletions, &outcome.out);
            assert_eq!(outcome.message.only().tools(), tools, "{reply:?}");
            assert_eq!(outcome.reason_code(), code);
            assert_eq!(outcome.event("judge.failed").metadata["failed_open"], on_error == "allow");
            assert!(!String::from_utf8_lossy(&outcome.out).contains("upstream"), "{reply:?}");
        }
    }
}

#[test]
fn after_a_block_the_answer_can_end_and_later_calls_are_skipped() {
    for dialect in [ChatCompletions, Messages] {
        let outcome = judged(json!({"after_block": "end", "deny": ["get_weather"]}), dialect, parallel(dialect));
        let choice = outcome.message.only();
        assert_eq!((choice.tools(), choice.text.as_str()), (vec![], "⛔ BLOCKED: get_weather - this tool is not allowed here"));
        assert_eq!(choice.finish, if dialect == ChatCompletions { "stop" } else { "end_turn" });
        assert_eq!(outcome.policy_events(), ["judge.blocked", "judge.skipped", "judge.summary"]);
        check_request(dialect, &next_request(dialect, &outcome.message)).unwrap();
    }
}

#[test]
fn a_call_before_the_one_that_ends_the_answer_passes_whichever_verdict_comes_first() {
    for dialect in [ChatCompletions, Messages] {
        let mut run = Run::start(&chain(json!({"after_block": "end"})), dialect, Shape::Stream);
        let _ = run.feed(stream(dialect, parallel(dialect)), false);
        let [first, second] = [run.callouts[0].id, run.callouts[1].id];
        let _ = run.answer(second, r#"{"probability":1,"explanation":"bad"}"#);
        let _ = run.answer(first, r#"{"probability":0,"explanation":"good"}"#);
        let _ = run.feed(b"", true);
        let outcome = run.end(EndReason::Completed);
        legality::assert_stream(dialect, &outcome.out);
        assert_eq!(outcome.message.only().tools(), ["get_weather"]);
        assert_eq!(outcome.message.only().text, "⛔ BLOCKED: delete_files - bad");
        assert_eq!(outcome.policy_events(), ["judge.passed", "judge.blocked", "judge.summary"]);
    }
}

#[test]
fn a_client_that_leaves_while_the_judge_thinks_ends_the_exchange_once() {
    let mut run = Run::start(&chain(json!({})), ChatCompletions, Shape::Stream);
    let _ = run.feed(stream(ChatCompletions, "tool_call"), false);
    assert_eq!(run.callouts.len(), 1);
    let outcome = run.end(EndReason::ClientGone);
    assert_eq!(outcome.policy_events(), ["judge.summary"]);
    assert_eq!(outcome.event("judge.summary").metadata["judged"], 1);
    assert_eq!(outcome.event("enforcement").metadata["ended"], "client_gone");
}

#[test]
fn text_alone_needs_no_judge_and_no_summary() {
    for dialect in [ChatCompletions, Messages] {
        let outcome = run_stream(&chain(json!({})), dialect, stream(dialect, "text"));
        assert!(outcome.out == stream(dialect, "text") && outcome.policy_events().is_empty());
    }
}

#[test]
fn a_policy_before_it_in_the_chain_hides_what_it_dropped() {
    for dialect in [ChatCompletions, Messages] {
        let mut chain = chain(json!({}));
        chain.as_array_mut().unwrap().insert(0, json!({"use": "content_only"}));
        let outcome = run_stream(&chain, dialect, stream(dialect, parallel(dialect)));
        assert_eq!(outcome.policy_events(), ["content_only.dropped"; 2]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn decisions_do_not_depend_on_chunking(cuts in proptest::collection::vec(0_usize..6000, 0..12)) {
        for dialect in [ChatCompletions, Messages] {
            for fixture in fixtures::streams(dialect) {
                let chunks = chunking::at(fixture.body, &cuts);
                let cut = run(&chain(json!({})), dialect, Shape::Stream, &chunks, &careful_judge);
                let by_event = judged(json!({}), dialect, fixture.name);
                // Text does not wait for a verdict: where it stands beside the message may differ.
                for (choice, expected) in cut.message.choices.iter().zip(&by_event.message.choices) {
                    prop_assert_eq!(&choice.calls, &expected.calls, "{}", fixture.name);
                    prop_assert_eq!(&choice.finish, &expected.finish, "{}", fixture.name);
                    prop_assert_eq!(choice.text.len(), expected.text.len(), "{}", fixture.name);
                }
                prop_assert_eq!(cut.message.choices.len(), by_event.message.choices.len());
                prop_assert_eq!(cut.policy_events(), by_event.policy_events(), "{}", fixture.name);
                prop_assert_eq!(cut.reason_code(), by_event.reason_code(), "{}", fixture.name);
            }
        }
    }
}

/// An answer that is one call of `name`, in two dialects.
fn one_call(name: &str, arguments: &str, fields: &Value, judge: &dyn Fn(&Value) -> String) -> Vec<support::Outcome> {
    let arguments = [arguments];
    let said = vec![Said::Call { id: "call_1", name, arguments: &arguments }];
    let answer = Answer { said, cut: false };
    let play = |dialect| run(&chain(fields.clone()), dialect, Shape::Stream, &[answer.streamed(dialect)], judge);
    [ChatCompletions, Messages].map(play).into()
}

#[test]
fn harm_that_stands_anywhere_in_long_arguments_is_shown_to_a_judge() {
    let judge = |call: &Value| {
        let harmful = call["arguments"].as_str().unwrap().contains("rm -rf /");
        json!({"probability": if harmful { 1.0 } else { 0.0 }, "explanation": "so it seems"}).to_string()
    };
    for before in (0..3_000).step_by(97) {
        let (before, after) = ("x".repeat(before), "y".repeat(3_000 - before));
        let arguments = json!({"cmd": format!("{before}rm -rf /{after}")}).to_string();
        for outcome in one_call("bash", &arguments, &json!({"max_argument_bytes": 512}), &judge) {
            assert_eq!(outcome.message.only().tools(), Vec::<&str>::new(), "{}", before.len());
            assert_eq!(outcome.reason_code(), "TOOL_CALL_REFUSED");
        }
    }
    let harmless = json!({"cmd": "x".repeat(3_000)}).to_string();
    for outcome in one_call("bash", &harmless, &json!({"max_argument_bytes": 512}), &judge) {
        assert_eq!(outcome.message.only().tools(), ["bash"]);
        assert_eq!(outcome.event("judge.passed").metadata["questions"], 8);
        assert_eq!(outcome.event("judge.summary").metadata["judged"], 1);
    }
}

#[test]
fn a_part_without_a_verdict_is_a_call_without_one() {
    let judge = |call: &Value| if call["part"] == 2 { "no idea".to_owned() } else { careful_judge(call) };
    let arguments = json!({"cmd": "x".repeat(1_000)}).to_string();
    for outcome in one_call("bash", &arguments, &json!({"max_argument_bytes": 512}), &judge) {
        assert_eq!(outcome.reason_code(), "TOOL_CALL_UNCHECKED");
    }
}

#[test]
fn what_cannot_be_shown_whole_is_blocked_unasked() {
    let arguments = json!({"cmd": "x".repeat(1_000)}).to_string();
    let fields = json!({"max_argument_bytes": 512, "max_questions_per_call": 2});
    for outcome in one_call("bash", &arguments, &fields, &|_| panic!("nobody is asked")) {
        assert_eq!(outcome.reason_code(), "TOOL_CALL_TOO_LONG");
        assert_eq!(outcome.message.only().tools(), Vec::<&str>::new());
    }
}

#[test]
fn a_denied_tool_is_denied_inside_a_parallel_call_too() {
    let fields = json!({"deny": ["deny_me"], "allow": ["get_*"]});
    let using = |names: &[&str]| {
        let uses: Vec<Value> = names.iter().map(|name| json!({"recipient_name": name, "parameters": {}})).collect();
        json!({"tool_uses": uses}).to_string()
    };
    let name = "multi_tool_use.parallel";
    for (arguments, reason) in [
        (using(&["functions.get_weather", "functions.deny_me"]), "TOOL_CALL_DENIED"),
        (using(&["deny_me"]), "TOOL_CALL_DENIED"),
        (using(&["functions.get_weather", "get_time"]), "ALLOW"),
        (using(&["functions.get_weather", "functions.delete_all"]), "ALLOW"),
        ("{}".to_owned(), "TOOL_CALL_INVALID"),
    ] {
        for outcome in one_call(name, &arguments, &fields, &careful_judge) {
            assert_eq!(outcome.reason_code(), reason, "{arguments}");
        }
    }
    let asked = std::cell::Cell::new(0);
    let judge = |call: &Value| {
        asked.set(asked.get() + 1);
        careful_judge(call)
    };
    one_call(name, &using(&["get_weather", "get_time"]), &fields, &judge);
    assert_eq!(asked.get(), 0, "all of them are allowed");
    one_call(name, &using(&["get_weather", "move_file"]), &fields, &judge);
    assert_eq!(asked.get(), 2, "one of them is not");
}
