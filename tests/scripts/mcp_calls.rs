//! MCP requests: a call is decided before a server sees it, and a request that can be read in two ways is refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::exchange::{Observation, ResponseMode};
use weir_test_support::native::{Outcome, RequestOutcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document, mcp_call};
use weir_test_support::{legality, sse};

use crate::{play, test};

fn post(body: &[u8], document: Value) -> Script {
    Script::request_to("/mcp", document, vec![body.to_vec()])
}

fn with_header(mut script: Script, name: &str, value: &str) -> Script {
    if let Step::RequestHead { headers, .. } = &mut script.steps[0] {
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
    script
}

/// A POST that a judge decides about: calls of `delete_files` are refused.
fn judged(body: &Value) -> Script {
    post(body.to_string().as_bytes(), document(json!([{"use": "ask_judge", "with": {"message": "Not this one."}}])))
        .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)))
}

fn call(id: impl Into<Value>, name: &str) -> Value {
    mcp_call(id, name, &json!({"path": "/"}))
}

fn notification(method: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": method})
}

fn result(id: impl Into<Value>, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "result": {"content": [{"type": "text", "text": text}]}})
}

fn refusal(id: impl Into<Value>) -> Value {
    let content = json!([{"type": "text", "text": "Not this one."}]);
    json!({"jsonrpc": "2.0", "id": id.into(), "result": {"content": content, "isError": true}})
}

fn answer(outcome: &Outcome) -> Value {
    legality::assert_whole(Dialect::McpTool, &outcome.client);
    serde_json::from_slice(&outcome.client).unwrap()
}

#[track_caller]
fn sent(outcome: &Outcome) -> Value {
    match &outcome.request {
        RequestOutcome::SentBody(body) => serde_json::from_slice(body).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_passes_leaves_as_it_came() {
    let outcome = play(&judged(&call(1, "read_file")));
    assert_eq!((&outcome.request, outcome.decision), (&RequestOutcome::Sent, Decision::Allow));
    assert_eq!(outcome.callouts.len(), 1);
    assert!(outcome.events.iter().all(|event| event.policy_target == Some("mcp_tool")), "{:?}", outcome.events);
}

#[test]
fn messages_that_are_no_calls_leave_without_a_question() {
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let elicited = json!({"jsonrpc": "2.0", "id": "e-1", "result": {"action": "accept"}});
    for body in [list, elicited, notification("notifications/initialized")] {
        let outcome = play(&judged(&body));
        assert_eq!((&outcome.request, outcome.callouts.len()), (&RequestOutcome::Sent, 0), "{body}");
    }
}

#[test]
fn a_refused_call_is_answered_with_a_result_that_says_so() {
    for id in [json!(7), json!("7"), json!(-1), json!("a \"quoted\" id\u{1f600}"), json!("")] {
        let outcome = play(&judged(&call(id.clone(), "delete_files")));
        assert_eq!((&outcome.request, outcome.status), (&RequestOutcome::Answered, 200));
        assert_eq!((outcome.decision, answer(&outcome)), (Decision::Refuse, refusal(id)));
    }
}

#[test]
fn a_refusal_is_a_stream_where_the_client_takes_nothing_else() {
    let outcome = play(&with_header(judged(&call(1, "delete_files")), "accept", "text/event-stream"));
    legality::assert_stream(Dialect::McpTool, &outcome.client);
    let events = sse::read(&outcome.client);
    assert_eq!(events.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&events[0].data).unwrap(), refusal(1));
}

#[test]
fn a_result_names_its_type_where_the_protocol_knows_it() {
    let mut body = call(1, "delete_files");
    body["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let mut script = judged(&body);
    for (name, value) in [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "delete_files")] {
        script = with_header(script, name, value);
    }
    assert_eq!(answer(&play(&script))["result"]["resultType"], "complete");
}

fn tool_use(id: &str, name: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": {"path": "/"}})
}

fn sampled(content: Value, reason: &str) -> Value {
    json!({"role": "assistant", "model": "m", "content": content, "stopReason": reason})
}

/// The answer of a client's model, in each of the places where servers get it.
fn said_to_servers(sampled: &Value) -> [Value; 2] {
    let asked_again = json!({"name": "read_file", "arguments": {}, "inputResponses": {"a": sampled, "b": {"action": "accept"}}, "requestState": "s"});
    [
        json!({"jsonrpc": "2.0", "id": "s-1", "result": sampled}),
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": asked_again}),
    ]
}

#[test]
fn calls_that_a_clients_model_makes_for_a_server_are_judged() {
    let text = json!({"type": "text", "text": "I look."});
    let both = json!([text, tool_use("t1", "delete_files"), tool_use("t2", "read_file")]);
    for body in said_to_servers(&sampled(both, "toolUse")) {
        let outcome = play(&judged(&body));
        assert!(outcome.callouts.len() >= 2, "{body}");
        let said = sent(&outcome);
        let answer = if body["result"].is_null() { &said["params"]["inputResponses"]["a"] } else { &said["result"] };
        let refused = json!({"type": "text", "text": "Not this one."});
        assert_eq!(*answer, sampled(json!([text, refused, tool_use("t2", "read_file")]), "toolUse"), "{said}");
        assert_eq!(outcome.decision, Decision::Refuse);
    }
}

#[test]
fn an_answer_of_which_every_call_is_refused_ends_the_models_turn() {
    for body in said_to_servers(&sampled(tool_use("t1", "delete_files"), "toolUse")) {
        let said = sent(&play(&judged(&body)));
        let answer = if body["result"].is_null() { &said["params"]["inputResponses"]["a"] } else { &said["result"] };
        assert_eq!(*answer, sampled(json!({"type": "text", "text": "Not this one."}), "endTurn"));
    }
}

#[test]
fn an_answer_of_a_clients_model_that_passes_leaves_as_it_came() {
    let nested = json!({"type": "tool_use", "id": "t", "name": "read_file", "input": {"type": "tool_use", "name": "read_file"}});
    for content in [tool_use("t1", "read_file"), nested, json!([{"type": "text", "text": "delete_files"}])] {
        for body in said_to_servers(&sampled(content, "toolUse")) {
            let outcome = play(&judged(&body));
            assert_eq!((&outcome.request, outcome.decision), (&RequestOutcome::Sent, Decision::Allow), "{body}");
        }
    }
}

#[test]
fn an_answer_of_a_clients_model_that_can_be_read_in_two_ways_is_refused() {
    for item in [
        r#"{"type":"tool_use","name":"read_file","Name":"delete_files","input":{}}"#,
        r#"{"type":"tool_use","name":"read_file","name":"delete_files","input":{}}"#,
        r#"{"type":"text","type":"tool_use","name":"delete_files","input":{}}"#,
        r#"{"type":"tool_use","name":"read_file","input":{},"input":{"path":"/"}}"#,
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"s","result":{{"content":[{item}]}}}}"#);
        let outcome = play(&post(body.as_bytes(), document(json!([{"use": "ask_judge"}]))));
        assert_eq!(outcome.request, RequestOutcome::Answered, "{item}");
    }
}

#[test]
fn a_refused_call_that_was_to_become_a_task_is_answered_with_an_error() {
    let mut body = call(1, "delete_files");
    body["params"]["task"] = json!({"ttl": 60_000});
    let said = answer(&play(&judged(&body)));
    assert_eq!(said, json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "Not this one."}}));
}

#[test]
fn a_call_waits_for_the_judge_and_a_judge_that_fails_blocks() {
    for reply in [JudgeReply::Broken, JudgeReply::NotSent, JudgeReply::Silence, JudgeReply::Verdict(0.9)] {
        let script = post(call(1, "read_file").to_string().as_bytes(), document(json!([{"use": "ask_judge"}])))
            .judged(JudgeRule::new("", reply.clone()).after(2));
        let outcome = play(&script);
        assert_eq!(outcome.request, RequestOutcome::Answered, "{reply:?}");
        assert_eq!(answer(&outcome)["result"]["isError"], true, "{reply:?}");
    }
}

#[test]
fn arguments_that_can_be_read_in_two_ways_are_seen_as_such() {
    for arguments in [r#"{"a":1,"a":2}"#, r#"{"a":"\ud800"}"#, "[1]", "\"text\""] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"read_file","arguments":{arguments}}}}}"#
        );
        let outcome = play(&judged(&Value::Null).replacing_body(body.as_bytes()));
        assert_eq!(outcome.request, RequestOutcome::Answered, "{arguments}");
        assert!(outcome.callouts.is_empty(), "{arguments}: no judge is asked about what nobody can read");
    }
}

#[test]
fn the_name_of_the_method_is_read_as_a_server_reads_it() {
    let body = br#"{"jsonrpc":"2.0","id":1,"m\u0065thod":"t\u006fols\/call","params":{"n\u0061me":"delete_fil\u0065s"}}"#;
    let outcome = play(&judged(&Value::Null).replacing_body(body));
    assert_eq!(answer(&outcome), refusal(1));
}

#[test]
fn a_rewritten_call_leaves_with_other_arguments_and_all_else_as_it_came() {
    let body = r#"{ "jsonrpc":"2.0", "id":1,"method":"tools/call", "params":{"name":"delete_files","arguments":{"path":"/"},"_meta":{"progressToken":1.0}}, "x":1e3 }"#;
    let chain = json!([{"use": "deny_tool", "with": {"name": "delete_files", "message": null, "with_call": true}}]);
    let outcome = play(&post(body.as_bytes(), document(chain)));
    let expected = body.replace("delete_files", "noop").replace(r#"{"path":"/"}"#, r#"{"why":"denied"}"#);
    assert_eq!(outcome.request, RequestOutcome::SentBody(expected.into_bytes()));
}

#[test]
fn a_call_without_parameters_is_rewritten_like_any_other() {
    let chain = json!([{"use": "deny_tool", "with": {"name": "", "message": null, "with_call": true}}]);
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"params":null,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"params":{},"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
    ] {
        let outcome = play(&post(body.as_bytes(), document(chain.clone())));
        assert_eq!(sent(&outcome), mcp_call(1, "noop", &json!({"why": "denied"})), "{body}");
    }
}

#[test]
fn the_refused_calls_of_a_batch_stay_behind_and_are_answered_with_the_others() {
    let batch = json!([call(1, "read_file"), notification("notifications/x"), call("1", "delete_files"), call(3, "read_file")]);
    let served = json!([result(3, "three"), result(1, "one")]).to_string().into_bytes();
    let outcome = play(&judged(&batch).respond("application/json", vec![served]));
    assert_eq!(sent(&outcome), json!([batch[0], batch[1], batch[3]]));
    assert_eq!(answer(&outcome), json!([result(3, "three"), result(1, "one"), refusal("1")]));
    assert_eq!(outcome.decision, Decision::Refuse);
}

#[test]
fn refusals_of_a_batch_join_a_single_answer_in_an_array() {
    let batch = json!([call(1, "read_file"), call(2, "delete_files")]);
    let outcome = play(&judged(&batch).respond("application/json", vec![result(1, "one").to_string().into_bytes()]));
    assert_eq!(answer(&outcome), json!([result(1, "one"), refusal(2)]));
}

#[test]
fn refusals_of_a_batch_come_as_events_of_its_stream() {
    let batch = json!([call(1, "delete_files"), call(2, "read_file")]);
    let served = format!("\u{feff}id: 4\ndata: {}", result(2, "two")).into_bytes();
    for chunks in [vec![served.clone()], served.iter().map(|byte| vec![*byte]).collect()] {
        let outcome = play(&judged(&batch).respond("text/event-stream", chunks));
        legality::assert_stream(Dialect::McpTool, &outcome.client);
        let messages: Vec<Value> =
            sse::read(&outcome.client).iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
        assert_eq!(messages, [result(2, "two"), refusal(1)]);
    }
}

#[test]
fn refusals_of_a_batch_come_even_if_the_server_has_nothing_to_say() {
    let batch = json!([notification("notifications/x"), call(2, "delete_files")]);
    let empty_stream = play(&judged(&batch).respond("text/event-stream", Vec::new()));
    legality::assert_stream(Dialect::McpTool, &empty_stream.client);
    assert_eq!(sse::read(&empty_stream.client).len(), 1);
    let mut accepted = judged(&batch);
    accepted.steps.push(Step::ResponseHead { status: 202, headers: Vec::new(), end: true });
    accepted.steps.push(Step::ResponseBody { chunk: Vec::new(), end: true });
    let outcome = play(&accepted);
    assert_eq!((outcome.mode, answer(&outcome)), (Some(ResponseMode::Refuse), json!([refusal(2)])));
}

#[test]
fn a_batch_of_which_nothing_is_left_is_answered_here() {
    let outcome = play(&judged(&json!([call(1, "delete_files"), call(2, "delete_files")])));
    assert_eq!(outcome.request, RequestOutcome::Answered);
    assert_eq!(answer(&outcome), json!([refusal(1), refusal(2)]));
}

#[test]
fn calls_of_a_batch_are_judged_at_the_same_time() {
    let calls: Value = (0..20).map(|id| call(id, if id % 2 == 0 { "read_file" } else { "delete_files" })).collect();
    let mut script = judged(&calls);
    script.judge.iter_mut().for_each(|rule| rule.delay = 1);
    let outcome = play(&script);
    assert_eq!(outcome.callouts.len(), 20);
    assert_eq!(sent(&outcome).as_array().unwrap().len(), 10);
}

#[test]
fn a_policy_that_ends_the_output_answers_the_whole_batch() {
    let list = json!({"jsonrpc": "2.0", "id": "l", "method": "tools/list"});
    let batch = json!([list, call(1, "delete_files"), call(2, "read_file")]);
    let chain = json!([{"use": "finish_at_call"}]);
    let outcome = play(&post(batch.to_string().as_bytes(), document(chain)));
    assert_eq!(outcome.request, RequestOutcome::Answered);
    let answers = answer(&outcome);
    let of = |id: Value| answers.as_array().unwrap().iter().find(|answer| answer["id"] == id).unwrap().clone();
    assert_eq!(of(json!(1))["result"]["content"][0]["text"], "That is all.");
    assert_eq!(of(json!(2))["result"]["isError"], true);
    assert!(of(json!("l"))["error"]["message"].is_string());
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_as_json_rpc_says() {
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{}}}}}"#, "[".repeat(100_000));
    let bodies: [&[u8]; 21] = [
        b"",
        b"null",
        b"[]",
        b"\"tools/call\"",
        b"not json",
        b"{}",
        b"[[]]",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}"#,
        br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"a"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"a"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"a"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\"},\"param\u{17f}\":{\"name\":\"b\"}}"
            .as_bytes(),
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Arguments":{}}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["a"]}"#,
        br#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
        br#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"a"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{},"params":{"name":"a"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        let outcome = play(&post(body, document(json!([{"use": "watch"}]))));
        assert_eq!((&outcome.request, outcome.status), (&RequestOutcome::Answered, 400), "{shown}");
        assert!(answer(&outcome)["error"]["code"].is_i64(), "{shown}");
        if shown.contains("\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",") {
            assert_eq!(answer(&outcome)["id"], 1, "what was understood before the fault addresses the error");
        }
        assert!(outcome.events_of("watch.request").is_empty(), "{shown}: no policy sees what cannot be read");
    }
}

#[test]
fn ids_are_unique_within_a_batch() {
    let twice = json!([call(1, "read_file"), call(1, "delete_files")]);
    assert_eq!(play(&judged(&twice)).status, 400);
    let spelled = br#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":"\u0061","method":"ping"}]"#;
    assert_eq!(play(&judged(&Value::Null).replacing_body(spelled)).status, 400);
    let different = json!([call(1, "read_file"), call("1", "read_file")]);
    assert_eq!(play(&judged(&different)).request, RequestOutcome::Sent);
}

#[test]
fn a_batch_and_the_ids_in_it_are_bounded() {
    let many: Value = (0..10_000).map(|id| call(id, "read_file")).collect();
    let long_id = "i".repeat(2 * 1024 * 1024);
    for body in [many, call(long_id, "read_file")] {
        let outcome = play(&judged(&body));
        assert_eq!((&outcome.request, outcome.status, outcome.callouts.len()), (&RequestOutcome::Answered, 400, 0));
        legality::assert_whole(Dialect::McpTool, &outcome.client);
    }
}

#[test]
fn what_cannot_be_read_passes_where_the_document_says_so() {
    let mut allowing = document(json!([{"use": "no_op"}]));
    allowing["limits"] = json!({"on_unreadable": "allow"});
    let outcome = play(&post(b"not json", allowing));
    assert_eq!(outcome.request, RequestOutcome::Sent);
    assert!(outcome.observations.contains(&Observation::FailedOpen("request_malformed")));
}

/// A request of the 2026-07-28 protocol with these headers.
fn modern(body: &Value, headers: &[(&str, &str)]) -> Outcome {
    let mut script = judged(body);
    for (name, value) in headers {
        script = with_header(script, name, value);
    }
    play(&script)
}

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

#[test]
fn headers_that_agree_with_the_body_pass() {
    let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "file:///ü"}});
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let cases: [(Value, &[(&str, &str)]); 6] = [
        (call(1, "read_file"), &[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "read_file")]),
        (call(1, "read_file"), &[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?cmVhZF9maWxl?=")]),
        (read, &[VERSION, ("mcp-method", "resources/read"), ("mcp-name", "=?base64?ZmlsZTovLy/DvA==?=")]),
        (list.clone(), &[VERSION, ("mcp-method", "tools/list")]),
        (list, &[("mcp-protocol-version", "2025-11-25")]),
        (notification("notifications/x"), &[VERSION]),
    ];
    for (body, headers) in cases {
        assert_eq!(modern(&body, headers).request, RequestOutcome::Sent, "{headers:?}");
    }
}

#[test]
fn headers_that_disagree_with_the_body_are_refused() {
    let mut versioned = call(1, "read_file");
    versioned["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let cases: [(Value, &[(&str, &str)]); 9] = [
        (call(1, "read_file"), &[VERSION, ("mcp-method", "tools/list"), ("mcp-name", "read_file")]),
        (call(1, "read_file"), &[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "list_files")]),
        (call(1, "read_file"), &[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?cmVhZF9maWxk?=")]),
        (call(1, "read_file"), &[VERSION, ("mcp-method", "Tools/Call"), ("mcp-name", "read_file")]),
        (call(1, "read_file"), &[VERSION, ("mcp-method", "tools/call")]),
        (call(1, "read_file"), &[VERSION, ("mcp-name", "read_file")]),
        (versioned.clone(), &[("mcp-method", "tools/call"), ("mcp-name", "read_file")]),
        (versioned, &[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/call"), ("mcp-name", "read_file")]),
        // Older versions do not ask for the header; where it stands it may be relied on nevertheless.
        (call(1, "read_file"), &[("mcp-name", "list_files")]),
    ];
    for (body, headers) in cases {
        let outcome = modern(&body, headers);
        assert_eq!((&outcome.request, outcome.status), (&RequestOutcome::Answered, 400), "{headers:?}");
        let answer = answer(&outcome);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32020), &json!(1)), "{answer}");
        assert!(outcome.callouts.is_empty());
    }
}

#[test]
fn a_policy_answers_and_refuses_requests_in_the_words_of_mcp() {
    let answered =
        |body: Value, with: Value| play(&post(body.to_string().as_bytes(), document(json!([{"use": "answer", "with": with}]))));
    let outcome = answered(call(1, "read_file"), json!({"text": "Not today."}));
    assert_eq!((outcome.status, &answer(&outcome)["result"]["content"][0]["text"]), (200, &json!("Not today.")));
    let list = json!({"jsonrpc": "2.0", "id": "a", "method": "tools/list"});
    let outcome = answered(list.clone(), json!({"text": "Not today."}));
    assert_eq!((&answer(&outcome)["error"]["message"], &answer(&outcome)["id"]), (&json!("Not today."), &json!("a")));
    let outcome = answered(list, json!({"refuse": 403}));
    assert_eq!((outcome.status, &answer(&outcome)["id"]), (403, &json!("a")));
}

#[test]
fn a_body_that_a_policy_wrote_is_read_anew() {
    let rewritten = call(9, "delete_files").to_string();
    let chain = json!([{"use": "answer", "with": {"body": rewritten}}, {"use": "ask_judge"}]);
    let script = post(call(1, "read_file").to_string().as_bytes(), document(chain))
        .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)));
    assert_eq!(answer(&play(&script))["id"], 9);
    let chain = json!([{"use": "answer", "with": {"body": "not json"}}]);
    assert_eq!(play(&post(call(1, "read_file").to_string().as_bytes(), document(chain))).status, 500);
}

#[test]
fn an_encoded_request_leaves_decoded_where_its_calls_may_be_refused() {
    let body = call(1, "read_file").to_string().into_bytes();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&body).unwrap();
    let encoded = encoder.finish().unwrap();
    let asked = with_header(judged(&Value::Null).replacing_body(&encoded), "content-encoding", "gzip");
    assert_eq!(play(&asked).request, RequestOutcome::SentBody(body));
    let unasked = with_header(post(&encoded, document(json!([{"use": "drop_text"}]))), "content-encoding", "gzip");
    assert_eq!(play(&unasked).request, RequestOutcome::Sent);
}

#[test]
fn sessions_and_their_streams_pass_through() {
    let head =
        |method: &str| Step::RequestHead { method: method.to_owned(), path: "/mcp".to_owned(), headers: Vec::new(), end: true };
    for method in ["GET", "DELETE"] {
        let script = Script { document: document(json!([{"use": "no_op"}])), steps: vec![head(method)], judge: Vec::new() };
        let outcome = play(&script);
        assert_eq!((outcome.request, outcome.decision), (RequestOutcome::Sent, Decision::Allow), "{method}");
    }
    let answer = Step::ResponseHead { status: 204, headers: Vec::new(), end: true };
    let ended = Script { document: document(json!([{"use": "no_op"}])), steps: vec![head("DELETE"), answer], judge: Vec::new() };
    assert_eq!(play(&ended).enforcement()["status"], 204);
    let outcome = play(&Script { document: document(json!([{"use": "no_op"}])), steps: vec![head("PUT")], judge: Vec::new() });
    assert_eq!((outcome.request, outcome.status), (RequestOutcome::Answered, 404));
}

/// The same script with another body.
trait ReplacingBody {
    fn replacing_body(self, body: &[u8]) -> Self;
}

impl ReplacingBody for Script {
    fn replacing_body(mut self, body: &[u8]) -> Self {
        self.steps.truncate(1);
        self.steps.push(Step::RequestBody { chunk: body.to_vec(), end: true });
        if let Step::RequestHead { headers, .. } = &mut self.steps[0] {
            headers.retain(|(name, _)| name != "content-length");
        }
        self
    }
}
