//! What an MCP server sends: results are governed as text, lists of tools are filtered, and nothing waits for anything
//! that it does not belong to.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::native::{Cause, Outcome, RequestOutcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document};
use weir_test_support::{chunking, fixtures, legality, sse};

use crate::{play, test};

const MCP: Dialect = Dialect::McpTool;

/// What comes back from a request with the id 1, as JSON.
fn whole(chain: Value, body: &[u8]) -> Outcome {
    play(&Script::whole(MCP, document(chain), vec![body.to_vec()]))
}

/// As an event stream.
fn streamed(chain: Value, body: &[u8]) -> Outcome {
    play(&Script::events(MCP, document(chain), body))
}

fn json_of(outcome: &Outcome) -> Value {
    legality::assert_whole(MCP, &outcome.client);
    serde_json::from_slice(&outcome.client).unwrap()
}

fn messages(outcome: &Outcome) -> Vec<Value> {
    legality::assert_stream(MCP, &outcome.client);
    let events = sse::read(&outcome.client);
    events
        .iter()
        .filter(|event| matches!(event.name.as_str(), "" | "message"))
        .filter_map(|event| serde_json::from_str(&event.data).ok())
        .collect()
}

/// The texts that policies saw.
fn seen(outcome: &Outcome) -> Vec<String> {
    let texts = outcome.events_of("watch.content").into_iter().map(|event| event.metadata["text"].as_str().unwrap().to_owned());
    texts.collect()
}

fn watched(name: &str) -> Vec<String> {
    let watch = json!([{"use": "watch"}]);
    let streamed = seen(&streamed(watch.clone(), fixtures::stream(MCP, name)));
    if let Some(fixture) = fixtures::wholes(MCP).iter().find(|fixture| fixture.name == name) {
        let whole = seen(&whole(watch, fixture.body));
        assert!(streamed.ends_with(&whole), "{name}: {streamed:?} {whole:?}");
    }
    streamed
}

#[test]
fn policies_see_every_text_and_nothing_that_is_none() {
    let expected: [(&str, &[&str]); 8] = [
        (
            "call",
            &[
                "asking the station",
                "cache miss",
                "formatting",
                "Sunny in Paris, 21°C",
                "Tomorrow's forecast",
                "Paris",
                "Monday",
                "clear",
            ],
        ),
        (
            "elicitation",
            &["Which Paris?", "Country", "Where it is", "Summarise the forecast.", "Be brief.", "Mild in Paris, Texas"],
        ),
        ("error", &["Unknown tool: get_weather", "read_file"]),
        ("input_required", &["Which Paris?"]),
        ("odd", &["a novel text", "deep", "er", "café / 😀", "n"]),
        ("prompt", &["Reviews code", "Please review this.", "fn main() {}"]),
        ("resource", &["# Notes\n\nWater the plants."]),
        ("tools_list", &["Weather", "Tells the weather of a city", "The city", "Deletes files", "Reads a file"]),
    ];
    for (name, texts) in expected {
        assert_eq!(watched(name), texts, "{name}");
    }
}

#[test]
fn a_changed_text_is_changed_where_it_stands_and_nowhere_else() {
    let body = fixtures::whole(MCP, "call");
    let capitals = |text: &str| {
        text.replace("Sunny in Paris, 21°C", "SUNNY IN PARIS, 21°C")
            .replace("Tomorrow's forecast", "TOMORROW'S FORECAST")
            .replace(r#""Paris""#, r#""PARIS""#)
            .replace(r#""Monday""#, r#""MONDAY""#)
            .replace(r#""clear""#, r#""CLEAR""#)
    };
    let outcome = whole(json!([{"use": "uppercase"}]), body);
    assert_eq!(outcome.text(), capitals(core::str::from_utf8(body).unwrap()));
    assert_eq!(outcome.decision, Decision::Rewrite);
}

#[test]
fn lines_of_a_changed_event_keep_their_ids() {
    let outcome = streamed(json!([{"use": "uppercase"}]), fixtures::stream(MCP, "call"));
    legality::assert_stream(MCP, &outcome.client);
    for line in ["id: s1_0\n", "retry: 3000\n", ": still there\n", "id: s1_4\nevent: message\n"] {
        assert!(outcome.text().contains(line), "{line:?} in {}", outcome.text());
    }
    assert_eq!(messages(&outcome).last().unwrap()["result"]["structuredContent"]["city"], "PARIS");
}

#[test]
fn a_stream_and_a_body_give_the_same_messages() {
    for chain in
        [json!([{"use": "uppercase"}]), json!([{"use": "drop_text"}]), json!([{"use": "hold_text", "with": {"with": "?"}}])]
    {
        for fixture in fixtures::wholes(MCP) {
            let whole = whole(chain.clone(), fixture.body);
            let streamed = streamed(chain.clone(), fixtures::stream(MCP, fixture.name));
            assert_eq!(Some(&json_of(&whole)), messages(&streamed).last(), "{} {chain}", fixture.name);
            assert_eq!(whole.decision, streamed.decision, "{} {chain}", fixture.name);
        }
    }
}

#[test]
fn text_that_is_removed_leaves_a_legal_result() {
    let outcome = whole(json!([{"use": "drop_text"}]), fixtures::whole(MCP, "call"));
    let result = json_of(&outcome)["result"].clone();
    assert_eq!(result["content"][0]["text"], "This content was withheld by policy.", "no content is empty");
    assert_eq!(result["structuredContent"]["city"], "");
    assert_eq!(result["structuredContent"]["temperature"], 21.5);
}

#[test]
fn a_tool_that_is_denied_by_name_is_not_listed() {
    let chain = json!([{"use": "deny_tool", "with": {"name": "delete_files"}}]);
    for outcome in
        [whole(chain.clone(), fixtures::whole(MCP, "tools_list")), streamed(chain.clone(), fixtures::stream(MCP, "tools_list"))]
    {
        let text = outcome.text();
        assert!(!text.contains("delete_files") && text.contains("get_weather") && text.contains("read_file"), "{text}");
        assert!(text.contains("page2"), "{text}");
        assert_eq!(outcome.decision, Decision::Rewrite);
    }
    let alone = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"delete_files","inputSchema":{"type":"object"}} ]}}"#;
    assert_eq!(json_of(&whole(chain, alone))["result"]["tools"], json!([]));
}

#[test]
fn a_tool_whose_name_can_be_read_in_two_ways_blocks_the_list() {
    let body = br#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","name":"delete_files"}]}}"#;
    assert_eq!(whole(json!([{"use": "no_op"}]), body).status, 502);
}

/// A stream on which the result is held for two steps, and messages come behind it.
fn held() -> Script {
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "held back"}]}});
    let mut chunks = vec![format!("data: {result}\n\n").into_bytes()];
    chunks.extend(chunking::events(fixtures::stream(MCP, "elicitation")).into_iter().take(3));
    Script::streamed(MCP, document(json!([{"use": "ask_about_text"}])), chunks)
        .judged(JudgeRule::new("held back", JudgeReply::Verdict(0.1)).after(3))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)))
}

#[test]
fn nothing_waits_behind_a_held_result() {
    let outcome = play(&held());
    let order: Vec<(Cause, String)> =
        outcome.releases.iter().map(|release| (release.cause, String::from_utf8_lossy(&release.bytes).into_owned())).collect();
    let position =
        |text: &str| order.iter().position(|(_, bytes)| bytes.contains(text)).unwrap_or_else(|| panic!("{text}: {order:?}"));
    assert!(position("elicitation/create") < position("held back"), "{order:?}");
    assert!(position("sampling/createMessage") < position("held back"), "{order:?}");
    assert!(position("\"ping\"") < position("held back"), "{order:?}");
    assert_eq!(outcome.text().matches("held back").count(), 1);
}

#[test]
fn a_text_that_a_judge_refuses_does_not_leave() {
    let mut script = held();
    script.judge[0].reply = JudgeReply::Verdict(0.9);
    let outcome = play(&script);
    assert!(!outcome.text().contains("held back"), "{}", outcome.text());
    assert_eq!(messages(&outcome).last().unwrap()["result"]["content"][0]["text"], "Text was withheld.");
}

/// The exchange of a POST that asks with the id 1.
fn answered(content_type: &str, body: &str) -> Outcome {
    play(&Script::request(MCP, document(json!([{"use": "no_op"}])), true).respond(content_type, vec![body.as_bytes().to_vec()]))
}

#[test]
fn a_stream_in_another_charset_is_withheld() {
    // To who reads bytes it has no data, and the official client in Python reads an answer.
    let body = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\n";
    let wide: String = body.chars().flat_map(|letter| [letter, '\0']).collect();
    for charset in ["charset=utf-16le", "charset = utf-16le", "charset*=''utf-16le", "x=\"y\";charset=\"UTF-16LE\""] {
        let outcome = answered(&format!("text/event-stream; {charset}"), &wide);
        assert_eq!((outcome.status, &outcome.enforcement()["reason_code"]), (502, &json!("RESPONSE_CHARSET")), "{charset}");
    }
    assert_eq!(answered("text/event-stream; charset=utf-8", body).text(), body);
}

#[test]
fn an_error_without_an_id_passes() {
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#;
    assert_eq!(answered("application/json", body).text(), body);
}

#[test]
fn an_error_of_the_server_keeps_its_status_and_body() {
    for (status, body) in
        [(404, r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32001,"message":"Session not found"}}"#), (401, "")]
    {
        let script = Script::request(MCP, document(json!([{"use": "uppercase"}])), true).respond_with(
            status,
            &[("content-type", "application/json")],
            vec![body.as_bytes().to_vec()],
        );
        let outcome = play(&script);
        assert_eq!((outcome.status, outcome.text()), (status, body.to_owned()));
    }
}

fn listen(chain: Value) -> Script {
    let head = Step::RequestHead { method: "GET".to_owned(), path: "/mcp".to_owned(), headers: Vec::new(), end: true };
    Script { document: document(chain), steps: vec![head], judge: Vec::new() }
}

#[test]
fn a_stream_that_the_client_listens_on_is_governed() {
    let stream = fixtures::stream(MCP, "call");
    let untouched = play(&listen(json!([{"use": "no_op"}])).respond("text/event-stream", chunking::bytes(stream)));
    assert_eq!((untouched.request, untouched.client.as_slice()), (RequestOutcome::Sent, stream));
    let changed = play(&listen(json!([{"use": "uppercase"}])).respond("text/event-stream", chunking::events(stream)));
    assert!(changed.text().contains("SUNNY IN PARIS"), "{}", changed.text());
}

#[test]
fn a_stream_that_answers_nothing_says_in_the_clients_log_why_it_ends() {
    let outcome = play(&listen(json!([{"use": "no_op"}])).respond("text/event-stream", vec![b"data: {\n\n".to_vec()]));
    assert_eq!(messages(&outcome)[0]["method"], "notifications/message");
}

#[test]
fn a_policy_answers_in_the_servers_place() {
    let chain = json!([{"use": "block_stream", "with": {"text": "Not today."}}]);
    let body = json_of(&whole(chain.clone(), fixtures::whole(MCP, "call")));
    assert_eq!((&body["result"]["isError"], &body["result"]["content"][0]["text"]), (&json!(true), &json!("Not today.")));
    assert_eq!(messages(&streamed(chain, fixtures::stream(MCP, "call"))), [body]);
}

#[test]
fn a_long_list_is_governed_to_its_end() {
    let rows: Value = (0..30_000).map(|row| json!({"name": format!("row {row}")})).collect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [], "structuredContent": {"rows": rows}}}).to_string();
    let outcome = whole(json!([{"use": "uppercase"}]), body.as_bytes());
    assert_eq!(outcome.text(), body.replace("row ", "ROW "));
    let too_long: Value = vec!["a"; 70_000].into();
    let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": {"rows": too_long}}}).to_string();
    let outcome = whole(json!([{"use": "no_op"}]), body.as_bytes());
    assert_eq!((outcome.status, &json_of(&outcome)["error"]["code"]), (502, &json!(-32603)));
}

#[test]
fn a_stream_may_last_for_any_number_of_messages() {
    let note = br#"data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"a text"}}

"#;
    let chunks = vec![note.repeat(1000); 100];
    let outcome = play(&listen(json!([{"use": "hold_text", "with": {}}])).respond("text/event-stream", chunks));
    assert_eq!(outcome.client.len(), note.len() * 100_000);
}

#[test]
fn what_people_read_of_resources_and_forms_is_text() {
    let upper = || json!([{"use": "uppercase"}]);
    let resource = json!({"uri": "file:///notes", "name": "my notes", "mimeType": "text/plain"});
    for (result, names) in [
        (json!({"resources": [resource]}), ["/resources/0/name", "/resources/0/uri"]),
        (
            json!({"resourceTemplates": [{"uriTemplate": "x/{y}", "name": "my notes"}]}),
            ["/resourceTemplates/0/name", "/resourceTemplates/0/uriTemplate"],
        ),
        (json!({"prompts": [{"name": "my_prompt", "title": "a title"}]}), ["/prompts/0/title", "/prompts/0/name"]),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
        let left = json_of(&whole(upper(), body.as_bytes()));
        let [text, name] = names.map(|pointer| {
            let (came, left) = (result.pointer(pointer).unwrap(), left["result"].pointer(pointer).unwrap());
            (came.as_str().unwrap().to_owned(), left.as_str().unwrap().to_owned())
        });
        assert_eq!(text.1, text.0.to_uppercase(), "{left}");
        assert_eq!(name.1, name.0, "who asks for it needs it as it is: {left}");
    }
    let field = json!({"type": "string", "title": "t", "enum": ["a", "b"], "enumNames": ["first", "second"], "default": "a"});
    let schema = json!({"type": "object", "properties": {"default": field}, "required": ["default"]});
    let params = json!({"message": "which?", "requestedSchema": schema});
    let asked = json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": params});
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}});
    let left = messages(&streamed(upper(), format!("data: {asked}\n\ndata: {answer}\n\n").as_bytes()));
    let field = &left[0]["params"]["requestedSchema"]["properties"]["default"];
    let expected = json!({"type": "string", "title": "T", "enum": ["a", "b"], "enumNames": ["FIRST", "SECOND"], "default": "A"});
    assert_eq!(*field, expected);
}
