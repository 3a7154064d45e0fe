//! Arguments of tool calls: JSON of their own, within a string or within the document.

use serde_json::Value;
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::client;
use weir_test_support::native::{Outcome, RequestOutcome};
use weir_test_support::script::{Script, mcp_call};
use weir_test_support::sse;

use crate::readers::readers;
use crate::torture::{tortured, values};
use crate::{assert_both_were_tried, is_refused, play};

/// What models send, before it is tortured.
const ARGUMENTS: [&str; 4] = [
    "{}",
    r#"{"path":"/srv","n":1.50,"list":[1,{"deep":[null,true]}]}"#,
    r#" { "big" : 123456789012345678901234567890 , "small" : -0 , "e" : 1E+2 , "any" : "VALUE" } "#,
    r#"{"text":"\u00e9\ud83d\ude00\u0000\/","any":"VALUE"}"#,
];

/// Arguments in thousands of forms, all UTF-8. None at all are a matter of their own.
fn arguments() -> Vec<String> {
    let all = ARGUMENTS.into_iter().flat_map(|arguments| tortured(arguments, &[("VALUE", values())], 700));
    all.filter_map(|arguments| String::from_utf8(arguments).ok()).filter(|arguments| !arguments.trim().is_empty()).collect()
}

/// What Weir made of the arguments of the only call: `None` if it refused to read them.
fn canonical(outcome: &Outcome) -> Option<String> {
    let is_answered = matches!(outcome.request, RequestOutcome::Answered);
    if is_answered || is_refused(outcome) {
        return None;
    }
    let calls = outcome.events_of("read.call");
    assert_eq!(calls.len(), 1, "{:?}", outcome.events);
    calls[0].metadata["canonical"].as_str().map(str::to_owned)
}

/// Holds what was read of `came`, documents that have the arguments at `path`, against what readers read there.
#[track_caller]
fn assert_read_alike(what: &str, came: &[Vec<u8>], path: &[&str], canonical: &[Option<String>]) {
    let read = canonical.iter().flatten().count();
    assert_both_were_tried(what, read, canonical.len() - read);
    let made: Vec<Vec<u8>> = canonical.iter().map(|canonical| canonical.clone().unwrap_or_default().into_bytes()).collect();
    for (by_came, by_made) in readers(came, path).into_iter().zip(readers(&made, &[])) {
        for (number, document) in came.iter().enumerate().filter(|(number, _)| canonical[*number].is_some()) {
            let shown = String::from_utf8_lossy(document);
            assert!(by_came.read[number].is_some(), "{what}: nobody reads this in {}: {shown}", by_came.language);
            assert_eq!(by_made.read[number], by_came.read[number], "{what}, as read in {}: {shown}", by_came.language);
        }
    }
}

/// An answer that calls a tool with these arguments, which come in two parts.
fn calling(dialect: Dialect, arguments: &str, streamed: bool) -> Vec<u8> {
    let (middle, _) = arguments.char_indices().nth(arguments.chars().count() / 2).unwrap();
    let parts = [&arguments[..middle], &arguments[middle..]];
    let answer = Answer { said: vec![Said::Call { id: "c", name: "f", arguments: &parts }], cut: false };
    if streamed { answer.streamed(dialect) } else { answer.whole(dialect) }
}

/// The input that a stream of messages says, as it stands there.
fn partial_json(stream: &[u8]) -> String {
    let events = sse::read(stream).into_iter().map(|event| serde_json::from_str::<Value>(&event.data).unwrap());
    events.filter_map(|event| event["delta"]["partial_json"].as_str().map(str::to_owned)).collect()
}

#[test]
fn arguments_in_a_string_are_what_clients_read() {
    use Dialect::{ChatCompletions, Messages, Responses};
    let arguments = arguments();
    for (dialect, streamed) in
        [(ChatCompletions, true), (ChatCompletions, false), (Messages, true), (Responses, true), (Responses, false)]
    {
        let script = if streamed { Script::streamed } else { Script::whole };
        let outcomes = arguments.iter().map(|arguments| {
            let body = calling(dialect, arguments, streamed);
            let outcome = play(|document| script(dialect, document, vec![body.clone()]));
            // Of chat.completions nothing leaves that comes behind the end of the arguments.
            let left = if outcome.client == body {
                arguments.clone()
            } else {
                let left = match (dialect, streamed) {
                    // Clients of messages have the value that it is read as.
                    (Messages, _) => partial_json(&outcome.client),
                    (_, true) => client::streamed(dialect, &outcome.client).only().calls[0].arguments.clone(),
                    (_, false) => client::whole(dialect, &outcome.client).only().calls[0].arguments.clone(),
                };
                let is_cut = dialect == ChatCompletions && streamed;
                // What was written anew, for a line separator in it, says the same.
                assert!(is_cut || left == *arguments, "{dialect}: {arguments} left changed: {}", outcome.text());
                left
            };
            (left.into_bytes(), canonical(&outcome))
        });
        let (left, canonical): (Vec<_>, Vec<_>) = outcomes.unzip();
        let form = if streamed { "streamed" } else { "whole" };
        assert_read_alike(&format!("{dialect} {form}"), &left, &[], &canonical);
    }
}

#[test]
fn arguments_in_an_answer_of_messages_are_what_clients_read() {
    let written = |arguments: &String| {
        let block = r#"{"type":"tool_use","id":"c","name":"f","input":ARGUMENTS}"#.replace("ARGUMENTS", arguments);
        format!(r#"{{"type":"message","content":[{block}],"stop_reason":"tool_use"}}"#).into_bytes()
    };
    let outcomes = arguments().into_iter().map(|arguments| {
        let body = written(&arguments);
        let outcome = play(|document| Script::whole(Dialect::Messages, document, vec![body.clone()]));
        let canonical = canonical(&outcome);
        // Half a surrogate pair is written anew.
        (outcome.client, canonical)
    });
    let (left, canonical): (Vec<_>, Vec<_>) = outcomes.unzip();
    assert_read_alike("messages", &left, &["content", "0", "input"], &canonical);
}

#[test]
fn arguments_in_a_request_of_mcp_are_what_servers_read() {
    let written = |arguments: &String| {
        let call = mcp_call(1, "f", &Value::Null).to_string();
        call.replace(r#""arguments":null"#, &format!(r#""arguments":{arguments}"#)).into_bytes()
    };
    let bodies: Vec<Vec<u8>> = arguments().iter().map(written).collect();
    let read = |body: &Vec<u8>| canonical(&play(|document| Script::request_to("/mcp", document, vec![body.clone()])));
    let canonical: Vec<_> = bodies.iter().map(read).collect();
    assert_read_alike("mcp_tool", &bodies, &["params", "arguments"], &canonical);
}
