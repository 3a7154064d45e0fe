//! The wire rules of `messages`: each test is one.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::client::{self, Message};
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, fixtures, legality, sse};

use crate::{play, test};

const MESSAGES: Dialect = Dialect::Messages;

/// Streams a fixture through the judge: `harmful` is the tool that it has something against.
fn judged(fixture: &str, harmful: &str) -> (Outcome, Message) {
    judged_body(fixtures::stream(MESSAGES, fixture), harmful)
}

fn judged_body(body: &[u8], harmful: &str) -> (Outcome, Message) {
    let script = Script::events(MESSAGES, document(json!([{"use": "ask_judge"}])), body)
        .judged(JudgeRule::new(harmful, JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
    let outcome = play(&script);
    legality::assert_stream(MESSAGES, &outcome.client);
    let message = client::streamed(MESSAGES, &outcome.client);
    (outcome, message)
}

fn chain(chain: Value, fixture: &str) -> (Outcome, Message) {
    let outcome = play(&Script::events(MESSAGES, document(chain), fixtures::stream(MESSAGES, fixture)));
    legality::assert_stream(MESSAGES, &outcome.client);
    let message = client::streamed(MESSAGES, &outcome.client);
    (outcome, message)
}

fn reason(outcome: &Outcome) -> String {
    client::streamed(MESSAGES, &outcome.client).only().finish.clone()
}

#[test]
fn indices_stay_contiguous_when_a_call_before_another_is_dropped() {
    let (_, message) = chain(json!([{"use": "deny_tool", "with": {"name": "get_weather"}}]), "parallel_tool_use");
    assert_eq!(message.only().tools(), ["delete_files"]);
}

#[test]
fn indices_stay_contiguous_when_text_before_a_call_is_dropped() {
    let (_, message) = chain(json!([{"use": "drop_text"}]), "tool_use");
    assert_eq!((message.only().text.as_str(), message.only().tools()), ("", vec!["get_weather"]));
}

#[test]
fn several_message_deltas_pass() {
    let (outcome, message) = chain(json!([{"use": "uppercase"}]), "several_message_deltas");
    let deltas = sse::read(&outcome.client).into_iter().filter(|event| event.name == "message_delta").count();
    assert_eq!((deltas, message.only().text.as_str()), (3, "HELLO."));
}

#[test]
fn pings_pass_anywhere_and_overtake_what_is_held() {
    let body = fixtures::stream(MESSAGES, "parallel_tool_use");
    let chunks = chunking::events(body);
    let ping_in_hold = chunks.iter().rposition(|chunk| chunk.starts_with(b"event: ping")).unwrap();
    let script = Script::streamed(MESSAGES, document(json!([{"use": "ask_judge"}])), chunks)
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)).after(usize::MAX));
    let outcome = play(&script);
    legality::assert_stream(MESSAGES, &outcome.client);
    let head_and_request = 3;
    let left =
        outcome.releases.iter().find(|release| release.step == head_and_request + ping_in_hold).expect("the ping leaves at once");
    assert!(left.bytes.starts_with(b"event: ping"), "{left:?}");
}

#[test]
fn no_text_follows_a_tool_call_when_a_later_call_is_replaced_by_text() {
    let (_, message) = judged("parallel_tool_use", "delete_files");
    assert_eq!(message.only().tools(), ["get_weather"]);
    assert!(message.only().text.contains("blocked"), "the client is told why: {message:?}");
}

#[test]
fn no_text_follows_a_tool_call_when_an_earlier_call_is_replaced_by_text() {
    let (_, message) = judged("parallel_tool_use", "get_weather");
    assert_eq!(message.only().tools(), ["delete_files"]);
    assert!(message.only().text.contains("blocked"), "{message:?}");
}

#[test]
fn thinking_comes_first_and_its_signature_stays_byte_identical() {
    let body = fixtures::stream(MESSAGES, "thinking");
    let untouched =
        sse::read(body).into_iter().filter(|event| event.data.contains("thinking") || event.data.contains("signature"));
    let untouched = untouched.map(|event| event.data).collect::<Vec<_>>();
    for (outcome, _) in [
        judged("thinking", "get_weather"),
        chain(json!([{"use": "uppercase"}]), "thinking"),
        chain(json!([{"use": "drop_text"}]), "thinking"),
    ] {
        let kept = sse::read(&outcome.client)
            .into_iter()
            .map(|event| event.data)
            .filter(|data| data.contains("thinking") || data.contains("signature"));
        assert_eq!(kept.collect::<Vec<_>>(), untouched);
    }
}

#[test]
fn no_text_block_is_left_empty() {
    let (outcome, message) = chain(json!([{"use": "drop_text"}]), "tool_use");
    assert!(!outcome.text().contains(r#""type":"text""#), "{}", outcome.text());
    assert_eq!(message.only().finish, "tool_use");
}

#[test]
fn citations_of_withheld_text_do_not_tell_it() {
    for policy in [json!([{"use": "drop_text"}]), json!([{"use": "hold_text", "with": {"with": "Something else."}}])] {
        let (outcome, _) = chain(policy, "citations");
        assert!(!outcome.text().contains("1870"), "{}", outcome.text());
    }
}

#[test]
fn the_message_is_never_left_empty() {
    for chain_of in [
        json!([{"use": "deny_tool", "with": {"name": "delete_files"}}]),
        json!([{"use": "ask_judge", "with": {"message": null}}]),
    ] {
        let script = Script::events(MESSAGES, document(chain_of), fixtures::stream(MESSAGES, "whole_input"))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.9)));
        let outcome = play(&script);
        legality::assert_stream(MESSAGES, &outcome.client);
        let message = client::streamed(MESSAGES, &outcome.client);
        assert!(!message.only().text.is_empty() && message.only().calls.is_empty(), "{message:?}");
    }
    let (_, message) = chain(json!([{"use": "drop_text"}]), "text");
    assert!(!message.only().text.is_empty(), "the client is told that something was withheld");
}

#[test]
fn all_calls_blocked_turns_tool_use_into_end_turn() {
    let (outcome, message) = judged("tool_use", "get_weather");
    assert_eq!((message.only().finish.as_str(), message.only().calls.len()), ("end_turn", 0));
    assert!(!outcome.text().contains("celsius"), "nothing of the call leaves: {}", outcome.text());
}

#[test]
fn some_calls_left_keep_tool_use() {
    let (_, message) = judged("parallel_tool_use", "delete_files");
    assert_eq!(message.only().finish, "tool_use");
}

#[test]
fn every_other_stop_reason_is_preserved() {
    let (outcome, _) = chain(json!([{"use": "uppercase"}]), "stop_sequence");
    assert_eq!(reason(&outcome), "stop_sequence");
    assert!(outcome.text().contains(r#""stop_sequence":" three""#));
    let (outcome, message) = judged("call_cut_by_max_tokens", "nothing");
    assert_eq!((reason(&outcome).as_str(), message.only().calls.len()), ("max_tokens", 0));
}

#[test]
fn input_that_comes_whole_in_the_block_start_is_judged() {
    let (outcome, message) = judged("whole_input", "/srv/data");
    assert_eq!(outcome.callouts.len(), 1);
    assert!(message.only().calls.is_empty() && !outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn server_tool_use_is_judged_and_its_result_goes_with_it() {
    let (outcome, message) = judged("server_tool_use", "web_search");
    assert_eq!(outcome.callouts.len(), 1);
    assert!(!outcome.text().contains("srvtoolu_") && !outcome.text().contains("web_search_tool_result"), "{}", outcome.text());
    assert!(message.only().text.contains("A weir is a low dam."), "text after it stays: {message:?}");
    assert_eq!(message.only().finish, "end_turn");
}

#[test]
fn mcp_tool_use_is_judged() {
    let (outcome, _) = judged("mcp_tool_use", "delete_files");
    assert_eq!(outcome.callouts.len(), 1);
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn code_that_the_provider_runs_is_judged_and_its_result_goes_with_it() {
    let (outcome, message) = judged("code_execution", "ls -1");
    assert_eq!(outcome.callouts.len(), 1);
    assert!(!outcome.text().contains("srvtoolu_") && !outcome.text().contains("stdout"), "{}", outcome.text());
    assert!(message.only().text.contains("Three files."), "{message:?}");
    for kept in ["container_upload", "\"container\":{\"id\":\"container_011CU6pTr2hLT47seQ5Xs4yj\""] {
        assert!(outcome.text().contains(kept), "{kept} is lost in {}", outcome.text());
    }
    let (outcome, _) = judged("code_execution", "nothing");
    assert_eq!(outcome.client, fixtures::stream(MESSAGES, "code_execution"));
}

#[test]
fn a_paused_turn_keeps_its_stop_reason_and_its_call() {
    let (outcome, _) = judged("pause_turn", "nothing");
    assert_eq!(outcome.client, fixtures::stream(MESSAGES, "pause_turn"));
    let (outcome, _) = judged("pause_turn", "web_search");
    assert!(!outcome.text().contains("srvtoolu_"), "{}", outcome.text());
    assert_eq!(reason(&outcome), "pause_turn");
}

#[test]
fn a_refusal_keeps_its_stop_reason_and_its_details() {
    let (outcome, message) = chain(json!([{"use": "uppercase"}]), "refusal");
    assert_eq!((message.only().text.as_str(), message.only().finish.as_str()), ("I CANNOT GO ON.", "refusal"));
    assert!(outcome.text().contains("\"explanation\":\"The request was stopped.\""), "{}", outcome.text());
}

#[test]
fn a_compaction_stays_as_it_came() {
    let (outcome, message) = chain(json!([{"use": "uppercase"}]), "compaction");
    assert!(outcome.text().contains(r#"{"type":"compaction_delta","content":"They spoke of weirs.""#), "{}", outcome.text());
    assert_eq!(message.only().text, "LET US GO ON.");
    let whole =
        Script::whole(MESSAGES, document(json!([{"use": "uppercase"}])), vec![fixtures::whole(MESSAGES, "compaction").into()]);
    assert!(play(&whole).text().contains("\"content\": \"They spoke of weirs.\""));
}

#[test]
fn a_fallback_to_another_model_stays_as_it_came() {
    let (outcome, message) = chain(json!([{"use": "uppercase"}, {"use": "watch"}]), "fallback");
    assert!(outcome.text().contains(r#"{"type":"fallback","from":{"model":"claude-opus-4-6"}"#), "{}", outcome.text());
    assert_eq!(message.only().text, "A WEIR IS A LOW DAM.");
    let seen = outcome.events_of("watch.content").into_iter().find(|event| event.metadata["kind"] == "Unknown");
    assert!(
        seen.is_some_and(|event| event.metadata["text"].as_str().unwrap().starts_with("claude-opus-4-6\n")),
        "{:?}",
        outcome.events
    );
}

#[test]
fn redacted_thinking_stays_as_it_came() {
    let stream = String::from_utf8(fixtures::stream(MESSAGES, "compaction").to_vec()).unwrap();
    let block = |stream: &str| {
        stream
            .replace("\"type\":\"compaction\",\"content\":null", "\"type\":\"redacted_thinking\",\"data\":\"EqgfCioIARgBIiQ\"")
            .lines()
            .filter(|line| !line.contains("compaction_delta"))
            .fold(String::new(), |stream, line| stream + line + "\n")
    };
    let body = block(&stream);
    let script = Script::events(MESSAGES, document(json!([{"use": "uppercase"}, {"use": "drop_text"}])), body.as_bytes());
    assert!(play(&script).text().contains("\"redacted_thinking\",\"data\":\"EqgfCioIARgBIiQ\""));
}

#[test]
fn an_unknown_tool_like_block_is_judged() {
    let body = String::from_utf8(fixtures::stream(MESSAGES, "mcp_tool_use").to_vec()).unwrap();
    let body = body.replace("mcp_tool_use", "browser_tool_use").replace("mcp_tool_result", "browser_tool_result");
    let (outcome, _) = judged_body(body.as_bytes(), "delete_files");
    assert_eq!(outcome.callouts.len(), 1, "a block that looks like a tool call is one");
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn an_upstream_error_in_mid_stream_passes_with_its_event_line() {
    let (outcome, message) = judged("error", "nothing");
    assert_eq!(outcome.client, fixtures::stream(MESSAGES, "error"));
    assert_eq!(message.error.as_deref(), Some("Overloaded"));
}

#[test]
fn an_error_of_our_own_in_mid_stream_is_an_error_event() {
    let mut body = fixtures::stream(MESSAGES, "text").to_vec();
    let cut = body.windows(6).rposition(|window| window == b"event:").unwrap();
    body.truncate(cut);
    body.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\n\n");
    let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "no_op"}])), &body));
    let last = sse::read(&outcome.client).pop().unwrap();
    assert_eq!(last.name, "error", "{}", outcome.text());
    legality::assert_stream(MESSAGES, &outcome.client);
}

#[test]
fn a_stream_answered_in_the_providers_place_is_a_normal_one() {
    let (_, message) = chain(json!([{"use": "block_stream", "with": {"text": "Not today."}}]), "tool_use");
    assert_eq!((message.only().text.as_str(), message.only().finish.as_str()), ("Not today.", "end_turn"));
}

#[test]
fn finished_output_ends_at_once_and_the_hooks_go_on_seeing() {
    let body = fixtures::stream(MESSAGES, "tool_use");
    let outcome = play(&Script::events(MESSAGES, document(json!([{"use": "finish_after", "with": {"bytes": 8}}])), body));
    legality::assert_stream(MESSAGES, &outcome.client);
    let message = client::streamed(MESSAGES, &outcome.client);
    assert_eq!((message.only().text.as_str(), message.only().calls.len()), ("I will [the end]", 0));
    assert_eq!(outcome.events_of("finish.late_send")[0].metadata["refused"], json!(true));
    assert_eq!(
        outcome.events_of("finish.seen")[0].metadata,
        *json!({"tool": "get_weather", "finished": true}).as_object().unwrap()
    );
    let last_release = outcome.releases.last().unwrap().step;
    let steps = chunking::events(body).len() + 4;
    assert!(last_release + 5 < steps, "the ending leaves with the text, not with the provider's end: {last_release} of {steps}");
}

#[test]
fn a_policy_may_put_a_call_of_its_own_in_place_of_another() {
    let (outcome, message) =
        chain(json!([{"use": "deny_tool", "with": {"name": "delete_files", "with_call": true}}]), "parallel_tool_use");
    assert_eq!(message.only().tools(), ["get_weather", "noop"]);
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}
