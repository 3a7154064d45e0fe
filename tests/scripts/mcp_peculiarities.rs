//! What odd servers of MCP send: all readers get the same messages of it, with the ids that were asked for, and what says
//! nothing stops nothing.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::native::Outcome;
use weir_test_support::script::{Script, document};
use weir_test_support::{fixtures, legality, sse};

use crate::{play, test};

const MCP: Dialect = Dialect::McpTool;

/// A policy that looks at texts, and changes those that are not in capitals.
fn uppercase() -> Value {
    document(json!([{"use": "uppercase"}]))
}

/// The exchange of a POST with this body.
fn posted(asked: &Value, content_type: &str, body: &str) -> Outcome {
    respond(asked, 200, &[("content-type", content_type)], body)
}

fn respond(asked: &Value, status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
    let script = Script::request_to("/mcp", uppercase(), vec![asked.to_string().into_bytes()]);
    play(&script.respond_with(status, headers, vec![body.as_bytes().to_vec()]))
}

fn request(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/list"})
}

fn notification() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

/// The data of the events that the client gets.
fn data(outcome: &Outcome) -> Vec<String> {
    sse::read(&outcome.client).into_iter().map(|event| event.data).filter(|data| !data.is_empty()).collect()
}

fn withheld(outcome: &Outcome) -> usize {
    outcome.events_of("message_withheld").len()
}

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"SUNNY"}]}}"#;

#[test]
fn an_answer_to_a_notification_may_say_nothing_in_any_way() {
    for (status, content_type, body) in [
        (200, "application/json", "null"),
        (200, "application/json", "{}"),
        (200, "application/json", "[]"),
        (200, "application/json", "true"),
        (200, "application/json", ""),
        (200, "application/json", " \n"),
        (200, "text/event-stream", ""),
        (200, "text/event-stream", "data: {}\n\n"),
        (200, "text/event-stream", ": open\n\n"),
        (200, "", ""),
        (202, "", ""),
        (202, "application/json", ""),
        (202, "application/json", "null"),
        (202, "text/plain", "ACCEPTED"),
        (202, "text/plain; charset=us-ascii", "ACCEPTED"),
        (202, "", "ACCEPTED"),
        (202, "application/json", "ACCEPTED"),
        (202, "text/html", "<P>"),
        (200, "application/json", r#"{"status":"OK"}"#),
        (200, "text/plain", "RECEIVED: DATA"),
        (204, "", ""),
    ] {
        let headers = [("content-type", content_type)];
        let headers = if content_type.is_empty() { &[] } else { headers.as_slice() };
        for asked in
            [notification(), json!({"jsonrpc": "2.0", "id": "s1", "result": {"action": "cancel"}}), json!([notification()])]
        {
            let outcome = respond(&asked, status, headers, body);
            assert_eq!((outcome.status, outcome.text().as_str()), (status, body), "{status} {content_type} {body} to {asked}");
        }
    }
}

#[test]
fn what_is_said_to_a_notification_is_seen_by_rules_on_text() {
    for (status, content_type, body, capitals) in [
        (202, "text/plain", "accepted", "ACCEPTED"),
        (202, "application/json", r#"{"message":"accepted"}"#, r#"{"message":"ACCEPTED"}"#),
        (200, "application/json", r#""accepted""#, r#""ACCEPTED""#),
        (200, "text/event-stream", "data: {\"note\":[\"accepted\"]}\n\n", "data: {\"note\":[\"ACCEPTED\"]}\n\n"),
        (
            200,
            "application/json",
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"accepted"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"ACCEPTED"}}"#,
        ),
    ] {
        let outcome = respond(&notification(), status, &[("content-type", content_type)], body);
        assert_eq!((outcome.status, outcome.text().as_str()), (status, capitals), "{body}");
    }
    let dropped =
        Script::request_to("/mcp", document(json!([{"use": "drop_text"}])), vec![notification().to_string().into_bytes()]);
    let outcome = play(&dropped.respond_with(202, &[("content-type", "text/plain")], vec![b"accepted".to_vec()]));
    assert_eq!(outcome.text(), "");
}

#[test]
fn a_request_that_is_accepted_without_an_answer_gets_it_on_another_stream() {
    for body in ["", "null", "ACCEPTED"] {
        let outcome = respond(&request(1), 202, &[("content-type", "text/plain")], body);
        assert_eq!((outcome.status, outcome.text().as_str()), (202, body));
    }
}

#[test]
fn a_refusal_leaves_as_json_where_the_server_says_nothing_to_the_rest_of_the_batch() {
    let chain = || document(json!([{"use": "deny_tool", "with": {"name": "delete_files", "message": "No."}}]));
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "delete_files"}});
    for (status, headers, body) in [
        (202, [].as_slice(), ""),
        (202, &[("content-type", "text/plain")], "Accepted"),
        (202, &[("content-type", "application/json")], "null"),
        (200, &[("content-type", "application/json")], "{}"),
        (200, &[], ""),
    ] {
        let batch = json!([notification(), call]).to_string().into_bytes();
        let outcome =
            play(&Script::request_to("/mcp", chain(), vec![batch]).respond_with(status, headers, vec![body.as_bytes().to_vec()]));
        legality::assert_whole(MCP, &outcome.client);
        let answers: Value = serde_json::from_slice(&outcome.client).unwrap();
        assert_eq!(outcome.status, 200, "{status} {body}");
        assert_eq!((&answers[0]["id"], &answers[0]["result"]["isError"]), (&json!(2), &json!(true)), "{status} {body}");
        assert_eq!(answers.as_array().unwrap().len(), 1);
    }
    let batch = json!([request(1), call]).to_string().into_bytes();
    let body = r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{"content":[]}}]"#;
    let outcome = play(&Script::request_to("/mcp", chain(), vec![batch]).respond("application/json", vec![body.into()]));
    let answers: Value = serde_json::from_slice(&outcome.client).unwrap();
    assert_eq!((&answers[0]["id"], &answers[1]["id"], &answers[1]["result"]["isError"]), (&json!(1), &json!(2), &json!(true)));
    assert_eq!((answers.as_array().unwrap().len(), withheld(&outcome)), (2, 1), "the server's answer to it does not leave");
}

#[test]
fn an_answer_leaves_with_the_id_that_was_asked() {
    for (asked, answered) in [
        (json!(1), "\"1\""),
        (json!(1), "1.0"),
        (json!(1), "1e0"),
        (json!(1), "\"1.0\""),
        (json!(0), "-0"),
        (json!(0), "\"0\""),
        (json!("1"), "1"),
        (json!("a-1"), "\"\\u0061-1\""),
        (json!(1), "1"),
        (json!("a"), "\"a\""),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{answered},"result":{{"content":[]}}}}"#);
        let expected = format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{{"content":[]}}}}"#);
        let whole = posted(&request(asked.clone()), "application/json", &body);
        assert_eq!((whole.status, whole.text()), (200, expected.clone()), "{answered} for {asked}");
        let streamed = posted(&request(asked.clone()), "text/event-stream", &format!("id: 7\nevent: message\ndata: {body}\n\n"));
        assert_eq!(data(&streamed), [expected], "{answered} for {asked}");
        assert!(streamed.text().contains("id: 7\n"), "{}", streamed.text());
    }
}

#[test]
fn ids_that_are_the_same_to_all_readers_are_not_asked_twice() {
    for ids in [["1", "1"], ["1", "1.0"], ["0", "-0"], ["\"a\"", "\"\\u0061\""]] {
        let batch = format!(
            r#"[{{"jsonrpc":"2.0","id":{},"method":"ping"}},{{"jsonrpc":"2.0","id":{},"method":"ping"}}]"#,
            ids[0], ids[1]
        );
        let outcome = play(&Script::request_to("/mcp", uppercase(), vec![batch.into_bytes()]));
        assert_eq!(outcome.status, 400, "{ids:?}");
    }
}

#[test]
fn of_two_requests_that_are_alike_to_some_clients_each_gets_the_answer_with_its_own_id() {
    let batch = json!([request(1), request("1")]);
    let body = r#"[{"jsonrpc":"2.0","id":"1","result":{"content":"A"}},{"jsonrpc":"2.0","id":1,"result":{"content":"B"}}]"#;
    assert_eq!(posted(&batch, "application/json", body).text(), body);
    let odd = body.replace("\"id\":1,", "\"id\":\"1.0\",");
    let outcome = posted(&batch, "application/json", &odd);
    assert_eq!((outcome.text().matches("result").count(), withheld(&outcome)), (1, 1), "it could be for either");
}

#[test]
fn what_answers_nothing_does_not_leave_and_stops_nothing() {
    // Some clients take whatever answer comes for theirs.
    for odd in [
        r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":"x","result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":[1],"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":true,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
        r#"{"jsonrpc":"2.0","id":1,"Result":{"content":[{"type":"text","text":"other"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"re\u017fult":{"content":[]}}"#,
        r#"{"JSONRPC":"2.0","ID":1,"RESULT":{"content":[]}}"#,
    ] {
        let streamed = posted(&request(1), "text/event-stream", &format!("data: {odd}\n\ndata: {RESULT}\n\n"));
        assert_eq!((data(&streamed), withheld(&streamed)), (vec![RESULT.to_owned()], 1), "{odd}");
        let batch = posted(&request(1), "application/json", &format!("[{odd},{RESULT}]"));
        assert_eq!((batch.text(), withheld(&batch)), (format!("[{RESULT}]"), 1), "{odd}");
        let alone = posted(&request(1), "application/json", odd);
        let answer: Value = serde_json::from_slice(&alone.client).unwrap();
        assert_eq!((alone.status, &answer["id"], &answer["error"]["code"]), (502, &json!(1), &json!(-32603)), "{odd}");
    }
    let twice = posted(&request(1), "text/event-stream", &format!("data: {RESULT}\n\nid: 9\ndata: {RESULT}\n\n"));
    assert_eq!((data(&twice), withheld(&twice)), (vec![RESULT.to_owned()], 1), "a second answer");
    let twice = posted(&request(1), "application/json", &format!("[{RESULT},{RESULT}]"));
    assert_eq!((twice.text(), withheld(&twice)), (format!("[{RESULT}]"), 1), "a second answer");
}

#[test]
fn the_members_of_a_message_leave_once_and_in_their_own_case() {
    let content = r#"{"content":[{"type":"text","text":"SUNNY"}]}"#;
    for odd in [
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{content},"error":null}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{}},"result":{content}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{content},"Result":{{"content":[]}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":2,"id":1,"result":{content}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":null,"result":{content}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"params":{{"message":"rain"}},"result":{content}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"text":"rain","result":{content}}}"#),
        format!(r#"{{"id":1,"result":{content}}}"#),
        format!(r#"{{"jsonrpc":"1.0","id":1,"result":{content}}}"#),
        format!(r#"{{"jsonrpc":2.0,"id":1,"re\u0073ult":{content}}}"#),
    ] {
        for outcome in
            [posted(&request(1), "application/json", &odd), posted(&request(1), "text/event-stream", &format!("data: {odd}\n\n"))]
        {
            let text = outcome.text();
            let message = text.strip_prefix("data: ").unwrap_or(&text).trim_end();
            assert_eq!(message, RESULT, "{odd}");
        }
    }
    let both = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]},"error":{"code":1,"message":"NO"}}"#;
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"NO"}}"#;
    assert_eq!(posted(&request(1), "application/json", both).text(), error, "who knows both looks for an error first");
    let asks = r#"{"jsonrpc":"2.0","id":"s","method":"elicitation/create","params":{"message":"WHICH?"},"result":null}"#;
    let outcome = posted(&request(1), "text/event-stream", &format!("data: {asks}\n\ndata: {RESULT}\n\n"));
    assert_eq!(data(&outcome), [asks.replace(",\"result\":null", ""), RESULT.to_owned()]);
}

#[test]
fn a_result_may_be_anything() {
    for result in
        ["{}", "null", "[]", "\"FINE\"", "[\"FINE\"]", "5", r#"{"content":"FINE","text":["FINE"],"deep":{"er":"FINE"}}"#]
    {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert_eq!(posted(&request(1), "application/json", &body).text(), body);
        let quiet = posted(&request(1), "application/json", &body.replace("FINE", "fine"));
        assert_eq!(quiet.text(), body, "rules see every text of it");
    }
}

#[test]
fn text_stands_twice_in_a_result_and_is_seen_twice() {
    let body = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"one","text":"two","Text":"three"}],"content":"four","Content":["five"]}}"#;
    let outcome = posted(&request(1), "application/json", body);
    for text in ["one", "two", "three", "four", "five"] {
        assert!(!outcome.text().contains(text), "{text} in {}", outcome.text());
    }
}

#[test]
fn an_event_of_another_name_says_a_message_to_all_clients_or_to_none() {
    for name in ["keepalive", "ping", "endpoint", "error", "Message"] {
        for nothing in ["{}", "null", "not json", "[]", "/messages?session=1"] {
            let stream = format!("event: {name}\ndata: {nothing}\n\ndata: {RESULT}\n\n");
            let outcome = posted(&request(1), "text/event-stream", &stream);
            assert_eq!(outcome.text(), stream);
        }
        let stream = format!("event: {name}\nid: 3\ndata: {RESULT}\n\n");
        let outcome = posted(&request(1), "text/event-stream", &stream);
        assert_eq!(outcome.text(), format!("id: 3\ndata: {RESULT}\n\n"), "who reads no other names reads it, too");
        let outcome = posted(&request(1), "text/event-stream", &format!("event: {name}\ndata: {{\"note\":\"fine\"}}\n\n"));
        assert_eq!(data(&outcome)[0], r#"{"note":"FINE"}"#, "rules see the texts");
    }
}

#[test]
fn an_error_that_names_no_request_passes() {
    for body in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"PARSE ERROR"}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"PARSE ERROR"}}"#,
    ] {
        assert_eq!(posted(&request(1), "application/json", body).text(), body);
    }
}

#[test]
fn what_cannot_be_read_is_withheld() {
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":{}}}}}"#, "[".repeat(500) + &"]".repeat(500));
    for body in ["not json", "{", r#"{"jsonrpc":"2.0","id":1,"result":{}} x"#, &deep] {
        let outcome = posted(&request(1), "application/json", body);
        let answer: Value = serde_json::from_slice(&outcome.client).unwrap();
        assert_eq!((outcome.status, &answer["id"]), (502, &json!(1)), "{}", &body[..body.len().min(80)]);
        let outcome = posted(&request(1), "text/event-stream", &format!("data: {body}\n\n"));
        let answer: Value = serde_json::from_str(&data(&outcome)[0]).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32603)), "{}", &body[..body.len().min(80)]);
    }
    for nothing in ["", "[]", "null", "{}"] {
        let outcome = posted(&request(1), "application/json", nothing);
        let answer: Value = serde_json::from_slice(&outcome.client).unwrap();
        assert_eq!((outcome.status, &answer["id"]), (502, &json!(1)), "a request is answered: {nothing}");
    }
}

#[test]
fn lines_that_readers_take_differently_leave_in_plain_form() {
    let plain = format!("data: {RESULT}\n\n");
    let (half, rest) = RESULT.split_at(RESULT.find(",\"result\"").unwrap());
    for odd in [
        format!("data: {half}\ndata: {rest}\n\n"),
        format!("data:  {RESULT} \n\n"),
        format!(" data: {{}}\ndata: {RESULT}\n\n"),
        format!("x: {RESULT}\ndata: {RESULT}\n\n"),
        format!("data: {RESULT}\r\r"),
        format!("data: {RESULT}"),
        format!("\u{feff}data: {RESULT}\n\n"),
    ] {
        let outcome = posted(&request(1), "text/event-stream", &odd);
        assert_eq!(outcome.text().replace("\": ", "\":").replace(" ,", ","), plain, "{odd:?}");
    }
    let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"SUNNY"}}"#;
    let two = posted(&request(1), "text/event-stream", &format!("id: 4\ndata: {note}\ndata: {RESULT}\n\n"));
    assert_eq!(two.text(), format!("id: 4\ndata: {note}\n\nid: 4\ndata: {RESULT}\n\n"), "who reads line by line reads two");
    let separated = RESULT.replace("SUNNY", "A\u{2028}B\\ud800C");
    let expected = RESULT.replace("SUNNY", "A\\u2028B\\ufffdC");
    let outcome = posted(&request(1), "text/event-stream", &format!("data: {separated}\n\n"));
    assert_eq!(outcome.text(), format!("data: {expected}\n\n"));
    let lone = RESULT.replace("SUNNY", "A\\ud800C");
    assert_eq!(posted(&request(1), "application/json", &lone).text(), lone.replace("\\ud800", "\\ufffd"));
}

#[test]
fn every_recorded_stream_leaves_as_it_came() {
    for fixture in fixtures::streams(MCP) {
        let outcome = play(&Script::events(MCP, document(json!([{"use": "watch"}])), fixture.body));
        assert_eq!(outcome.client, fixture.body, "{}", fixture.name);
        assert_eq!(withheld(&outcome), 0, "{}", fixture.name);
    }
}
