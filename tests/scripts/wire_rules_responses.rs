//! The wire rules of `responses`: each test is one.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::client::{self, Message};
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{fixtures, legality, sse};

use crate::{play, test};

const RESPONSES: Dialect = Dialect::Responses;

/// Streams a fixture through the judge: `harmful` is what it has something against.
fn judged(fixture: &str, harmful: &str) -> (Outcome, Message) {
    judged_with(json!([{"use": "ask_judge"}]), fixtures::stream(RESPONSES, fixture), harmful)
}

fn judged_with(chain: Value, body: &[u8], harmful: &str) -> (Outcome, Message) {
    let script = Script::events(RESPONSES, document(chain), body)
        .judged(JudgeRule::new(harmful, JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
    let outcome = play(&script);
    legality::assert_stream(RESPONSES, &outcome.client);
    let message = client::streamed(RESPONSES, &outcome.client);
    (outcome, message)
}

fn chain(chain: Value, fixture: &str) -> (Outcome, Message) {
    judged_with(chain, fixtures::stream(RESPONSES, fixture), "")
}

/// What the judge was asked: the name and the arguments of each call.
fn asked(outcome: &Outcome) -> Vec<(String, String)> {
    let asked = outcome.callouts.iter().map(|callout| {
        let body: Value = serde_json::from_slice(&callout.body).unwrap();
        let (name, arguments) = body["messages"][1]["content"].as_str().unwrap().split_once('\n').unwrap();
        (name.to_owned(), arguments.to_owned())
    });
    asked.collect()
}

fn data(body: &[u8]) -> Vec<Value> {
    sse::read(body).iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect()
}

#[test]
fn every_call_is_judged_whatever_its_type() {
    let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    for (fixture, calls) in [
        ("tool_call", vec![call("get_weather", r#"{"city":"Paris","unit":"celsius"}"#)]),
        ("custom_tool", vec![call("run_sql", "SELECT name FROM cities")]),
        ("code_interpreter", vec![call("code_interpreter", "import math\nprint(math.tau)")]),
        ("mcp_call", vec![call("delete_files", r#"{"path":"/srv/data","recursive":true}"#)]),
        ("mcp_approval", vec![call("delete_files", r#"{"path":"/srv/data","recursive":true}"#)]),
        ("local_shell", vec![call("shell", "ls /srv\nrm -r /srv/data")]),
        ("hosted_shell", vec![call("shell", "uname -a")]),
        (
            "apply_patch",
            vec![call("apply_patch", "update_file src/main.rs\n@@\n-old\n+new\n"), call("apply_patch", "delete_file old.rs\n")],
        ),
        ("computer", vec![call("computer", r#"{"action":{"type":"click","button":"left","x":120,"y":64}}"#)]),
    ] {
        let (outcome, _) = judged(fixture, "nothing");
        assert_eq!(asked(&outcome), calls, "{fixture}");
        assert_eq!(outcome.client, fixtures::stream(RESPONSES, fixture), "{fixture} leaves as it came");
    }
    let (searched, _) = judged("web_search", "nothing");
    assert!(asked(&searched)[0].1.contains(r#""query":"weather Paris""#), "{:?}", asked(&searched));
    let (unknown, _) = judged("unknown_call", "nothing");
    assert!(asked(&unknown)[0].1.contains(r#""destination":"/srv/data""#), "{:?}", asked(&unknown));
}

#[test]
fn a_blocked_call_is_replaced_by_a_message_whatever_its_type() {
    for fixture in fixtures::streams(RESPONSES).iter().filter(|fixture| {
        [
            "tool_call",
            "custom_tool",
            "code_interpreter",
            "mcp_call",
            "mcp_approval",
            "local_shell",
            "hosted_shell",
            "apply_patch",
            "computer",
            "web_search",
            "unknown_call",
        ]
        .contains(&fixture.name)
    }) {
        let (outcome, message) = judged_with(json!([{"use": "ask_judge"}]), fixture.body, "");
        assert!(message.only().calls.is_empty(), "{}: {message:?}", fixture.name);
        assert!(message.only().text.contains("A tool call was blocked."), "{}: {message:?}", fixture.name);
        let text = outcome.text();
        assert!(!text.contains("_call\"") && !text.contains("approval_request\""), "{}: {text}", fixture.name);
        assert_eq!(message.only().finish, "completed", "{}", fixture.name);
    }
}

#[test]
fn what_is_left_is_counted_anew_when_a_call_before_it_is_removed() {
    let (outcome, message) = chain(json!([{"use": "deny_tool", "with": {"name": "get_weather"}}]), "parallel_tool_calls");
    assert_eq!(message.only().tools(), ["delete_files"]);
    let indices = data(&outcome.client).into_iter().filter_map(|event| event["output_index"].as_u64()).collect::<Vec<_>>();
    assert!(indices.iter().all(|index| *index == 0), "{indices:?}");
}

#[test]
fn text_and_calls_keep_their_order_around_a_blocked_call() {
    let (_, message) = judged("parallel_tool_calls", "get_weather");
    let types = |message: &Message| {
        message.only().content.iter().map(|item| item["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&message), ["message", "function_call"]);
    let (_, message) = judged("parallel_tool_calls", "delete_files");
    assert_eq!(types(&message), ["function_call", "message"]);
    let (_, message) = judged("text_after_call", "delete_files");
    assert_eq!(types(&message), ["message", "message"]);
}

#[test]
fn every_repetition_says_what_was_sent() {
    let (outcome, message) = chain(json!([{"use": "uppercase"}]), "text");
    let sent = "GRüßE AUS PARIS – ES SIND 18 °C UND DIE SONNE SCHEINT. ☀";
    assert_eq!(message.only().text, sent);
    let repeated = data(&outcome.client);
    for (kind, place) in [
        ("response.output_text.done", "/text"),
        ("response.content_part.done", "/part/text"),
        ("response.output_item.done", "/item/content/0/text"),
        ("response.completed", "/response/output/0/content/0/text"),
    ] {
        let event = repeated.iter().find(|event| event["type"] == kind).unwrap();
        assert_eq!(event.pointer(place), Some(&json!(sent)), "{kind}");
    }
}

#[test]
fn log_probabilities_and_annotations_go_with_the_text_that_they_describe() {
    let (outcome, _) = chain(json!([{"use": "uppercase"}]), "logprobs");
    assert!(!outcome.text().contains("\"logprob\""), "{}", outcome.text());
    let (outcome, _) = chain(json!([{"use": "uppercase"}]), "web_search");
    assert!(!outcome.text().contains("url_citation"), "{}", outcome.text());
}

#[test]
fn what_comes_in_a_repetition_alone_is_judged_there() {
    let (outcome, message) = judged("repeated_only", "delete_files");
    assert_eq!(asked(&outcome).len(), 2);
    assert_eq!(message.only().tools(), ["get_weather"]);
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn reasoning_with_a_seal_stays_byte_identical() {
    let of_reasoning = |body: &[u8]| {
        let events = sse::read(body).into_iter().map(|event| event.data);
        events.filter(|data| data.contains("\"rs_") && !data.contains("\"response\":{")).collect::<Vec<_>>()
    };
    let came = of_reasoning(fixtures::stream(RESPONSES, "sealed_reasoning"));
    assert!(came.len() > 5);
    for chain in [json!([{"use": "uppercase"}]), json!([{"use": "drop_text"}]), json!([{"use": "ask_judge"}])] {
        let (outcome, _) = judged_with(chain, fixtures::stream(RESPONSES, "sealed_reasoning"), "get_weather");
        assert_eq!(of_reasoning(&outcome.client), came);
    }
}

#[test]
fn open_reasoning_is_governed_as_text() {
    for fixture in ["open_reasoning", "reasoning"] {
        let (outcome, message) = chain(json!([{"use": "watch"}]), fixture);
        let seen = outcome.events_of("watch.content");
        let reasoning = seen.iter().find(|event| event.metadata["kind"] == "Reasoning").unwrap();
        assert_eq!(reasoning.metadata["text"], message.only().reasoning);
    }
}

#[test]
fn reasoning_leads_to_a_message_where_its_call_was_dropped() {
    for fixture in ["reasoning", "sealed_reasoning"] {
        let (_, message) = judged_with(
            json!([{"use": "ask_judge", "with": {"message": null}}]),
            fixtures::stream(RESPONSES, fixture),
            "get_weather",
        );
        assert_eq!(message.only().text, "This content was withheld by policy.", "{fixture}");
    }
}

#[test]
fn the_output_of_a_hosted_shell_goes_with_its_call() {
    let (outcome, message) = judged("hosted_shell", "uname");
    assert!(!outcome.text().contains("x86_64"), "{}", outcome.text());
    assert_eq!(message.only().text, "A tool call was blocked.It runs Linux.");
}

#[test]
fn a_cut_call_is_blocked_and_the_response_stays_incomplete() {
    let (outcome, message) = judged("call_cut_by_max_output_tokens", "nothing");
    assert!(!outcome.text().contains("/srv"), "{}", outcome.text());
    assert_eq!((message.only().finish.as_str(), message.only().calls.len()), ("max_output_tokens", 0));
}

#[test]
fn an_error_in_mid_stream_keeps_its_words() {
    let outcome = play(&Script::events(RESPONSES, document(json!([{"use": "ask_judge"}])), fixtures::stream(RESPONSES, "error")));
    assert_eq!(outcome.client, fixtures::stream(RESPONSES, "error"));
}

#[test]
fn an_answer_that_a_policy_cuts_repeats_what_had_left() {
    let (outcome, message) = chain(json!([{"use": "finish_after", "with": {"bytes": 10}}]), "text");
    assert_eq!(message.only().text, "Grüße [the end]", "{}", outcome.text());
}

#[test]
fn an_answer_in_the_providers_place_is_a_whole_response() {
    let (outcome, message) = chain(json!([{"use": "block_stream", "with": {"text": "Not today."}}]), "tool_call");
    assert_eq!((message.only().text.as_str(), message.only().finish.as_str()), ("Not today.", "completed"));
    let kinds = data(&outcome.client).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds, expected.map(|kind| format!("response.{kind}")));
}

#[test]
fn an_unknown_event_passes_as_it_came() {
    let (outcome, _) = chain(json!([{"use": "uppercase"}]), "unknown_call");
    let unknown = |body: &[u8]| sse::read(body).into_iter().find(|event| event.name == "response.weather.changed");
    assert_eq!(unknown(&outcome.client), unknown(fixtures::stream(RESPONSES, "unknown_call")));
}

#[test]
fn a_call_that_is_undecided_when_the_answer_is_finished_leaves_no_gap_in_the_numbers() {
    let body = fixtures::stream(RESPONSES, "text_after_call");
    // The call is asked about and waits; the text behind it finishes the answer meanwhile.
    let document = document(json!([{"use": "finish_after", "with": {"bytes": 10}}, {"use": "ask_judge"}]));
    let script = Script::streamed(RESPONSES, document, vec![body.to_vec()]).judged(JudgeRule::new("", JudgeReply::Silence));
    let outcome = play(&script);
    legality::assert_stream(RESPONSES, &outcome.client);
    assert!(!outcome.text().contains("function_call_arguments"), "{}", outcome.text());
    let numbers = data(&outcome.client).into_iter().map(|event| event["sequence_number"].clone());
    assert!(numbers.enumerate().all(|(place, number)| number == place), "{}", outcome.text());
}

#[test]
fn a_call_that_is_cut_off_before_it_says_what_it_asks_for_ends_as_it_began() {
    let (outcome, _) = chain(json!([{"use": "finish_after", "with": {"bytes": 5}}]), "unknown_call");
    let events = data(&outcome.client);
    let of_call = |kind: &str| {
        events
            .iter()
            .find(|event| event["type"] == kind && event["output_index"] == 0)
            .map(|event| event["item"].clone())
            .unwrap()
    };
    let mut expected = of_call("response.output_item.added");
    expected["status"] = json!("incomplete");
    assert_eq!(of_call("response.output_item.done"), expected);
    assert_eq!(events.last().unwrap()["response"]["output"][0], expected);
}
