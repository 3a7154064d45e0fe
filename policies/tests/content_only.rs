//! ContentOnly at work on whole exchanges.
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

use serde_json::{Value, json};
use support::{Shape, run, run_stream};
use weir::decision::Decision;
use weir::dialect::Dialect::{self, ChatCompletions, Messages};
use weir_test_support::client::{check_request, next_request};
use weir_test_support::fixtures::{self, stream};

fn chain() -> Value {
    json!([{"use": "content_only", "with": {"notice": "No tools here."}}])
}

#[test]
fn no_call_leaves_and_text_passes() {
    for dialect in [ChatCompletions, Messages] {
        for fixture in fixtures::streams(dialect) {
            let before = weir_test_support::client::streamed(dialect, fixture.body);
            let outcome = run_stream(&chain(), dialect, fixture.body);
            assert_eq!(outcome.message.error, before.error, "{}", fixture.name);
            for (choice, before) in outcome.message.choices.iter().zip(&before.choices) {
                assert_eq!(choice.calls, [], "{}", fixture.name);
                assert!(choice.text.starts_with(&before.text), "{}", fixture.name);
                assert_eq!((&choice.refusal, &choice.reasoning), (&before.refusal, &before.reasoning), "{}", fixture.name);
            }
        }
    }
}

#[test]
fn an_answer_that_was_calls_alone_says_so_and_can_go_back_in_the_next_turn() {
    for (dialect, name, finish) in [(ChatCompletions, "parallel_tool_calls", "stop"), (Messages, "parallel_tool_use", "end_turn")]
    {
        let outcome = run_stream(&chain(), dialect, stream(dialect, name));
        assert_eq!(outcome.message.only().text, "No tools here.");
        assert_eq!(outcome.message.only().finish, finish);
        check_request(dialect, &next_request(dialect, &outcome.message)).unwrap();
        assert_eq!(outcome.policy_events(), ["content_only.dropped"; 2]);
        assert_eq!((outcome.decision, outcome.reason_code()), (Decision::Rewrite, "TOOL_CALL_DROPPED"));
    }
}

#[test]
fn what_has_no_calls_passes_byte_for_byte() {
    for (dialect, name) in
        [(ChatCompletions, "text"), (ChatCompletions, "refusal"), (Messages, "thinking"), (Messages, "citations")]
    {
        let outcome = run_stream(&chain(), dialect, stream(dialect, name));
        if outcome.policy_events().is_empty() {
            assert!(outcome.out == stream(dialect, name), "{name} was changed");
            assert_eq!(outcome.decision, Decision::Allow);
        }
    }
    assert!(run_stream(&chain(), Messages, stream(Messages, "text")).policy_events().is_empty());
}

#[test]
fn a_whole_body_is_treated_as_the_stream_is() {
    fn both(dialect: Dialect, name: &str) {
        let streamed = run_stream(&chain(), dialect, stream(dialect, name));
        let body = vec![fixtures::whole(dialect, name).to_vec()];
        let whole = run(&chain(), dialect, Shape::Whole, &body, &|call| panic!("{call}"));
        assert_eq!(whole.message, streamed.message, "{name}");
        assert_eq!((whole.decision, whole.reason_code()), (streamed.decision, streamed.reason_code()), "{name}");
        assert_eq!(whole.policy_events(), streamed.policy_events(), "{name}");
    }
    for fixture in fixtures::wholes(ChatCompletions) {
        both(ChatCompletions, fixture.name);
    }
    for fixture in fixtures::wholes(Messages) {
        both(Messages, fixture.name);
    }
}
