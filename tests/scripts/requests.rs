//! What requests get: each way in which a request can be odd has an explicit verdict.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::exchange::{Observation, ResponseMode};
use weir_test_support::client;
use weir_test_support::native::{Outcome, RequestOutcome};
use weir_test_support::script::{self, Script, Step, document};
use weir_test_support::{fixtures, legality};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;
const MESSAGES: Dialect = Dialect::Messages;
const DIALECTS: [Dialect; 3] = [CHAT, MESSAGES, Dialect::Responses];

/// A request to `path`, answered with a stream by a provider that reads the path leniently.
fn request(path: &str, document: Value, dialect: Dialect) -> Outcome {
    let body = script::request_body(dialect, true).to_string().into_bytes();
    let script = Script::request_to(path, document, vec![body])
        .respond("text/event-stream", vec![fixtures::stream(dialect, "text").to_vec()]);
    play(&script)
}

#[test]
fn every_spelling_of_an_endpoint_is_governed() {
    for (path, dialect) in [
        ("/v1/chat/completions", CHAT),
        ("/V1/Chat/Completions", CHAT),
        ("//v1//chat///completions", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/v1/chat/completions?api-version=2024-10-21", CHAT),
        ("/v1/chat%2Fcompletions", CHAT),
        ("/%761/chat/%63ompletions", CHAT),
        ("/v1/messages", MESSAGES),
        ("/v1/Messages?beta=true", MESSAGES),
        ("/v1//messages", MESSAGES),
        ("/v1/%6D%65ssages", MESSAGES),
    ] {
        let outcome = request(path, document(json!([{"use": "uppercase"}])), dialect);
        assert_eq!((outcome.request.clone(), outcome.mode), (RequestOutcome::Sent, Some(ResponseMode::Stream)), "{path}");
        assert!(client::streamed(dialect, &outcome.client).only().text.contains("LOW DAM"), "{path}: {}", outcome.text());
        assert_eq!(outcome.enforcement()["policy_target"], dialect.name(), "{path}");
    }
}

#[test]
fn an_unknown_path_gets_the_verdict_of_the_document() {
    for path in [
        "/v1/audio/speech",
        "/v1/chat/completions/x",
        "/v2/chat/completions",
        "/openai/deployments/x/chat/completions",
        "/v1/models/../embeddings",
        "/v1/models/..%2ffiles",
        "/",
        "",
        "/v1/chat/completions%",
        "*",
    ] {
        let blocked = request(path, document(json!([{"use": "no_op"}])), CHAT);
        assert_eq!((blocked.request.clone(), blocked.status), (RequestOutcome::Answered, 404), "{path}");
        assert!(blocked.observations.contains(&Observation::Failed("unknown_path")), "{path}: {:?}", blocked.observations);
        legality::assert_whole(CHAT, &blocked.client);
        let mut allowing = document(json!([{"use": "uppercase"}]));
        allowing["routes"] = json!({"unknown": "allow"});
        let allowed = request(path, allowing, CHAT);
        assert_eq!(
            (allowed.request.clone(), allowed.client.as_slice()),
            (RequestOutcome::Sent, fixtures::stream(CHAT, "text")),
            "{path}"
        );
        assert!(allowed.observations.contains(&Observation::FailedOpen("unknown_path")), "{path}: {:?}", allowed.observations);
        for outcome in [blocked, allowed] {
            assert_eq!(outcome.events_of("unknown_path")[0].metadata["route"], "unknown", "{path}");
        }
    }
}

/// What a browser asks before a page of another origin may send a request, with a body where it is none.
fn preflight(routes: Value, body: Option<&[u8]>) -> Outcome {
    let mut document = document(json!([{"use": "uppercase"}]));
    document["routes"] = routes;
    let mut script = Script::request_to("/v1/chat/completions", document, vec![body.unwrap_or_default().to_vec()]);
    let headers = [("origin", "https://example.com"), ("access-control-request-method", "POST")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
    let (method, path) = ("OPTIONS".to_owned(), "/v1/chat/completions".to_owned());
    script.steps[0] = Step::RequestHead { method, path, headers, end: body.is_none() };
    if body.is_none() {
        script.steps.truncate(1);
    }
    play(&script.respond_with(204, &[("access-control-allow-origin", "*")], Vec::new()))
}

#[test]
fn a_browser_may_ask_whether_it_may_send_a_request() {
    let passed = preflight(json!({}), None);
    assert_eq!((passed.request.clone(), passed.status), (RequestOutcome::Sent, 204));
    assert_eq!(passed.events_of("route_allowed")[0].metadata["route"], "preflight");
    assert!(passed.observations.iter().all(|seen| !matches!(seen, Observation::FailedOpen(_))), "{:?}", passed.observations);
    let blocked = preflight(json!({"preflight": "block"}), None);
    assert_eq!((blocked.request.clone(), blocked.status), (RequestOutcome::Answered, 403));
    let with_body = preflight(json!({}), Some(b"{\"messages\":[]}"));
    assert_eq!((with_body.request.clone(), with_body.status), (RequestOutcome::Answered, 404), "it is no such question");
}

/// The endpoints beside the dialects', with a body that is a request of each.
fn other_endpoints() -> [(&'static str, &'static str, Value); 5] {
    let messages = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    [
        ("count_tokens", "/v1/messages/count_tokens?beta=true", messages.clone()),
        ("message_batches", "/v1/messages/batches", json!({"requests": [{"custom_id": "1", "params": messages}]})),
        ("batches", "/v1/batches", json!({"input_file_id": "file-1", "endpoint": "/v1/chat/completions"})),
        ("embeddings", "/v1/embeddings", json!({"model": "m", "input": "Hello"})),
        ("completions", "/v1/completions", json!({"model": "m", "prompt": "Hello"})),
    ]
}

fn to_other_endpoint(path: &str, routes: Value, chain: Value, body: &Value) -> Outcome {
    let mut document = document(chain);
    document["routes"] = routes;
    let script = Script::request_to(path, document, vec![body.to_string().into_bytes()])
        .respond("application/json", vec![b"{\"total\":1}".to_vec()]);
    play(&script)
}

#[test]
fn another_endpoint_is_blocked_with_an_event_that_names_it() {
    for (name, path, body) in other_endpoints() {
        let outcome = to_other_endpoint(path, json!({name: "block"}), json!([{"use": "watch"}]), &body);
        assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 403), "{name}");
        assert_eq!(outcome.events_of("route_blocked")[0].metadata["route"], name);
        assert_eq!(outcome.enforcement()["route"], name);
        assert_eq!(outcome.enforcement()["reason_code"], "ROUTE_BLOCKED");
        assert!(outcome.events_of("watch.request").is_empty(), "{name}");
        let error: Value = serde_json::from_slice(&outcome.client).unwrap();
        assert!(error["error"]["message"].as_str().unwrap().contains(&format!("routes.{name}")), "{error}");
        let is_of_messages = ["count_tokens", "message_batches"].contains(&name);
        assert_eq!(error["type"] == "error", is_of_messages, "the error is of its API: {error}");
    }
}

/// Requests that refer to input at the provider, and the name of what refers to it.
fn requests_for_stored_input() -> [(&'static str, Value); 3] {
    [
        ("previous_response_id", json!({"model": "m", "input": "Go on.", "previous_response_id": "resp_1"})),
        ("conversation", json!({"model": "m", "input": "Go on.", "conversation": {"id": "conv_1"}})),
        ("item_reference", json!({"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]})),
    ]
}

#[test]
fn input_that_stands_at_the_provider_is_named_in_the_event_of_its_request() {
    for (name, body) in requests_for_stored_input() {
        let outcome = to_other_endpoint("/v1/responses", json!({}), json!([{"use": "no_op"}]), &body);
        assert_eq!(outcome.request, RequestOutcome::Sent, "{name}");
        assert_eq!(outcome.events_of("request.received")[0].metadata["stored_input"], name);
    }
    let unstored =
        to_other_endpoint("/v1/responses", json!({}), json!([{"use": "no_op"}]), &json!({"model": "m", "input": "Hi"}));
    assert!(unstored.events_of("request.received")[0].metadata.get("stored_input").is_none());
}

#[test]
fn input_that_stands_at_the_provider_is_refused_where_routes_say_so() {
    for (name, body) in requests_for_stored_input() {
        let outcome = to_other_endpoint("/v1/responses", json!({"stored_input": "block"}), json!([{"use": "watch"}]), &body);
        assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 403), "{name}");
        assert_eq!(outcome.enforcement()["reason_code"], "STORED_INPUT_BLOCKED");
        assert!(outcome.events_of("watch.request").is_empty(), "{name}");
        let error: Value = serde_json::from_slice(&outcome.client).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(name) && message.contains("routes.stored_input"), "{message}");
    }
    let unstored = json!({"model": "m", "input": [{"role": "user", "content": "Hi"}]});
    let outcome = to_other_endpoint("/v1/responses", json!({"stored_input": "block"}), json!([{"use": "no_op"}]), &unstored);
    assert_eq!(outcome.request, RequestOutcome::Sent);
}

#[test]
fn another_endpoint_passes_with_an_event_that_names_it() {
    for (name, path, body) in other_endpoints() {
        let outcome = to_other_endpoint(path, json!({name: "allow"}), json!([{"use": "answer", "with": {"refuse": 451}}]), &body);
        assert_eq!((outcome.request.clone(), outcome.text().as_str()), (RequestOutcome::Sent, "{\"total\":1}"), "{name}");
        assert!(outcome.observations.contains(&Observation::FailedOpen("route_allowed")), "{name}: {:?}", outcome.observations);
        assert_eq!(outcome.events.len(), 1, "{:#?}", outcome.events);
        assert_eq!(outcome.events_of("route_allowed")[0].metadata["route"], name);
    }
}

#[test]
fn the_request_to_another_endpoint_goes_through_the_policies_and_its_answer_passes() {
    for (name, path, body) in other_endpoints().into_iter().filter(|(name, ..)| *name != "batches") {
        let watched = to_other_endpoint(path, json!({name: "govern"}), json!([{"use": "watch"}, {"use": "uppercase"}]), &body);
        assert_eq!((watched.request.clone(), watched.text().as_str()), (RequestOutcome::Sent, "{\"total\":1}"), "{name}");
        assert_eq!(watched.events_of("watch.request").len(), 1, "{name}");
        assert_eq!(watched.events_of("request.received")[0].metadata["route"], name);
        assert_eq!(watched.enforcement()["route"], name);
        for (policy, status) in [(json!({"refuse": 451}), 451), (json!({"text": "Not today."}), 403)] {
            let refused = to_other_endpoint(path, json!({name: "govern"}), json!([{"use": "answer", "with": policy}]), &body);
            assert_eq!((refused.request.clone(), refused.status), (RequestOutcome::Answered, status), "{name}");
        }
        let malformed = to_other_endpoint(path, json!({name: "govern"}), json!([{"use": "no_op"}]), &json!("no object"));
        assert_eq!((malformed.request.clone(), malformed.status), (RequestOutcome::Answered, 400), "{name}");
    }
}

#[test]
fn an_event_of_a_route_does_not_show_the_query() {
    let outcome = request("/v1/x?key=secret", document(json!([{"use": "no_op"}])), CHAT);
    assert_eq!(outcome.events_of("unknown_path")[0].metadata["path"], "/v1/x");
    assert!(!format!("{:?}", outcome.events).contains("secret"));
}

#[test]
fn mapped_and_prefixed_endpoints_are_governed() {
    let mut document = document(json!([{"use": "uppercase"}]));
    document["routes"] = json!({
        "map": [{"path": "/openai/deployments/*/chat/completions", "to": "chat.completions"}],
        "prefixes": ["/proxy/anthropic"],
    });
    for (path, dialect) in
        [("/openai/deployments/mine/chat/completions?api-version=1", CHAT), ("/proxy/anthropic/v1/messages", MESSAGES)]
    {
        let outcome = request(path, document.clone(), dialect);
        assert!(client::streamed(dialect, &outcome.client).only().text.contains("LOW DAM"), "{path}: {}", outcome.text());
    }
}

#[test]
fn the_list_of_models_passes() {
    for path in ["/v1/models", "/v1/models?limit=5", "/v1/models/gpt-4.1-mini"] {
        let head = Step::RequestHead { method: "GET".to_owned(), path: path.to_owned(), headers: Vec::new(), end: true };
        let script = Script { document: document(json!([{"use": "uppercase"}])), steps: vec![head], judge: Vec::new() }
            .respond("application/json", vec![b"{\"object\":\"list\"}".to_vec()]);
        let outcome = play(&script);
        assert_eq!((outcome.request.clone(), outcome.text().as_str()), (RequestOutcome::Sent, "{\"object\":\"list\"}"), "{path}");
        assert_eq!(outcome.events.len(), 1, "{:#?}", outcome.events);
        assert_eq!(outcome.events_of("route_allowed")[0].metadata["route"], "models");
        assert!(outcome.observations.is_empty(), "the list has nothing to be checked: {:?}", outcome.observations);
    }
}

#[test]
fn another_method_on_an_endpoint_is_not_a_way_around() {
    for method in ["GET", "PUT", "PATCH", "post", ""] {
        let body = script::request_body(CHAT, true).to_string().into_bytes();
        let mut script = Script::request_to("/v1/chat/completions", document(json!([{"use": "no_op"}])), vec![body]);
        if let Step::RequestHead { method: known, .. } = &mut script.steps[0] {
            method.clone_into(known);
        }
        assert_eq!(play(&script).request, RequestOutcome::Answered, "{method}");
    }
}

fn with_body(dialect: Dialect, document: Value, body: &[u8]) -> Outcome {
    let script = Script::request_to(script::path(dialect), document, vec![body.to_vec()])
        .respond("text/event-stream", vec![fixtures::stream(dialect, "text").to_vec()]);
    play(&script)
}

#[test]
fn a_body_that_cannot_be_read_is_refused_in_the_dialect_and_never_leaves() {
    let bodies: [&[u8]; 12] = [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"model\":\"m\",\"messages\":[]",
        b"{\"model\":\"m\",\"messages\":[]} trailing",
        b"{\"model\":\"m\",\"model\":\"other\",\"messages\":[]}",
        b"{\"model\":\"m\",\"stream\":true,\"stream\":false,\"messages\":[]}",
        b"{\"model\":\"m\",\"stream\":\"true\",\"messages\":[]}",
        b"{\"model\":\"\xff\",\"messages\":[]}",
        b"\xef\xbb\xbf{\"model\":7,\"messages\":[]}",
    ];
    for dialect in DIALECTS {
        for body in bodies {
            let shown = String::from_utf8_lossy(body);
            let refused = with_body(dialect, document(json!([{"use": "watch"}])), body);
            assert_eq!((refused.request.clone(), refused.status), (RequestOutcome::Answered, 400), "{shown}");
            assert_eq!(refused.decision, Decision::Refuse, "{shown}");
            assert!(refused.events_of("watch.request").is_empty(), "{shown}: no policy sees what cannot be read");
            legality::assert_whole(dialect, &refused.client);
        }
    }
}

#[test]
fn a_body_that_cannot_be_read_passes_where_the_document_says_so() {
    let mut allowing = document(json!([{"use": "no_op"}]));
    allowing["limits"] = json!({"on_unreadable": "allow"});
    let outcome = with_body(CHAT, allowing, b"not json");
    assert_eq!(outcome.request, RequestOutcome::Sent);
    assert!(outcome.observations.contains(&Observation::FailedOpen("request_malformed")), "{:?}", outcome.observations);
}

#[test]
fn an_encoding_that_cannot_be_read_gets_the_configured_verdict() {
    for encoding in ["br", "compress", "identity, gzip", "\u{e9}"] {
        let script = |document| {
            let mut script = Script::request_to("/v1/messages", document, vec![b"\x1f\x8b\x08".to_vec()]);
            if let Step::RequestHead { headers, .. } = &mut script.steps[0] {
                headers.push(("content-encoding".to_owned(), encoding.as_bytes().to_vec()));
            }
            script
        };
        let refused = play(&script(document(json!([{"use": "no_op"}]))));
        assert_eq!((refused.request.clone(), refused.status), (RequestOutcome::Answered, 415), "{encoding}");
        legality::assert_whole(MESSAGES, &refused.client);
        let mut allowing = document(json!([{"use": "no_op"}]));
        allowing["limits"] = json!({"on_unreadable": "allow"});
        assert_eq!(play(&script(allowing)).request, RequestOutcome::Sent, "{encoding}");
    }
}

#[test]
fn a_body_is_read_as_its_reader_does_or_not_at_all() {
    // Servers that heed the charset read other members here than are written.
    let body = br#"{"model":"m","max_tokens":1,"messages":[],"user":"+ACIALAAi-messages+ACI-"}"#;
    let with_type = |content_type: &str| {
        let mut script = Script::request_to("/v1/messages", document(json!([{"use": "no_op"}])), vec![body.to_vec()]);
        if let Step::RequestHead { headers, .. } = &mut script.steps[0] {
            headers[0].1 = content_type.as_bytes().to_vec();
        }
        play(&script)
    };
    for charset in ["; charset=utf-8", ";charset=UTF-8", "; charset=\"utf-8\"", "; charset=utf8", "; profile=x", ""] {
        assert_eq!(with_type(&format!("application/json{charset}")).request, RequestOutcome::Sent, "{charset}");
    }
    for charset in ["charset=utf-7", "charset=UTF-16LE", "x=y;charset = utf-7", "charset*=''utf-7", "charset*0=utf-; charset*1=7"]
    {
        let refused = with_type(&format!("application/json; {charset}"));
        assert_eq!((refused.request, refused.status), (RequestOutcome::Answered, 415), "{charset}");
    }
}

/// A request with that body and content-encoding, answered with a text.
fn encoded(document: Value, encoding: &str, body: &[u8]) -> Outcome {
    let mut script = Script::request_to("/v1/messages", document, vec![body.to_vec()])
        .respond("text/event-stream", vec![fixtures::stream(MESSAGES, "text").to_vec()]);
    if let Step::RequestHead { headers, .. } = &mut script.steps[0] {
        headers.push(("content-encoding".to_owned(), encoding.as_bytes().to_vec()));
    }
    play(&script)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_encoded_body_is_read_and_leaves_as_it_came() {
    let body = script::request_body(MESSAGES, true).to_string().into_bytes();
    let outcome = encoded(document(json!([{"use": "watch"}, {"use": "uppercase"}])), "gzip", &gzip(&body));
    assert_eq!(outcome.request, RequestOutcome::Sent);
    assert_eq!(outcome.events_of("watch.request")[0].metadata["bytes"], body.len());
    assert!(client::streamed(MESSAGES, &outcome.client).only().text.contains("LOW DAM"), "{}", outcome.text());
}

#[test]
fn an_encoded_body_that_may_be_rewritten_leaves_decoded() {
    let body = script::request_body(MESSAGES, true).to_string().into_bytes();
    let untouched = encoded(document(json!([{"use": "may_rewrite"}])), "gzip", &gzip(&body));
    assert_eq!((untouched.request, untouched.decision), (RequestOutcome::SentBody(body), Decision::Allow));
}

#[test]
fn an_encoded_body_that_is_broken_or_too_long_is_refused() {
    let body = script::request_body(MESSAGES, true).to_string().into_bytes();
    let whole = gzip(&body);
    let mut followed = whole.clone();
    followed.extend_from_slice(&whole);
    for broken in [body.as_slice(), &whole[..whole.len() - 1], &followed, b""] {
        let outcome = encoded(document(json!([{"use": "watch"}])), "gzip", broken);
        assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 400));
        assert_eq!(outcome.enforcement()["reason_code"], "REQUEST_MALFORMED");
        legality::assert_whole(MESSAGES, &outcome.client);
    }
    let mut small = document(json!([{"use": "no_op"}]));
    small["limits"] = json!({"max_request_bytes": 65536});
    let outcome = encoded(small, "gzip", &gzip(&vec![b' '; 10_000_000]));
    assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 413));
}

#[test]
fn header_values_that_are_not_utf8_are_read_as_bytes() {
    let mut script = Script::request(CHAT, document(json!([{"use": "watch"}])), true);
    if let Step::RequestHead { headers, .. } = &mut script.steps[0] {
        for name in ["x-policy-user", "traceparent", "content-type"] {
            headers.retain(|(known, _)| known != name);
            headers.push((name.to_owned(), b"\xff\xfe\x00".to_vec()));
        }
    }
    assert_eq!(play(&script).request, RequestOutcome::Sent);
}

#[test]
fn a_path_that_is_not_utf8_has_a_verdict() {
    let outcome = request("/v1/chat/completions\u{fffd}", document(json!([{"use": "no_op"}])), CHAT);
    assert_eq!(outcome.request, RequestOutcome::Answered);
}

#[test]
fn a_request_without_a_body_is_refused() {
    for dialect in DIALECTS {
        let head = Step::RequestHead {
            method: "POST".to_owned(),
            path: script::path(dialect).to_owned(),
            headers: Vec::new(),
            end: true,
        };
        let outcome = play(&Script { document: document(json!([{"use": "no_op"}])), steps: vec![head], judge: Vec::new() });
        assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 400));
        legality::assert_whole(dialect, &outcome.client);
    }
}

#[test]
fn a_dialect_that_is_no_target_passes() {
    let mut document = document(json!([{"use": "uppercase"}]));
    document["targets"] = json!(["messages"]);
    let outcome = request("/v1/chat/completions", document, CHAT);
    assert_eq!(outcome.client, fixtures::stream(CHAT, "text"));
}

#[test]
fn a_policy_answers_in_the_form_that_was_asked_for() {
    for dialect in DIALECTS {
        for streamed in [true, false] {
            let script = Script::request(dialect, document(json!([{"use": "answer", "with": {"text": "Not today."}}])), streamed);
            let outcome = play(&script);
            assert_eq!(
                (outcome.request.clone(), outcome.status, outcome.decision),
                (RequestOutcome::Answered, 200, Decision::Rewrite)
            );
            let message = if streamed {
                legality::assert_stream(dialect, &outcome.client);
                client::streamed(dialect, &outcome.client)
            } else {
                legality::assert_whole(dialect, &outcome.client);
                client::whole(dialect, &outcome.client)
            };
            assert_eq!(message.only().text, "Not today.");
        }
    }
}

#[test]
fn a_policy_refuses_with_an_error_of_the_dialect() {
    for dialect in DIALECTS {
        let outcome = play(&Script::request(dialect, document(json!([{"use": "answer", "with": {"refuse": 451}}])), true));
        assert_eq!((outcome.status, outcome.request.clone()), (451, RequestOutcome::Answered));
        legality::assert_whole(dialect, &outcome.client);
        assert!(client::whole(dialect, &outcome.client).error.unwrap().contains("refused"));
    }
}

#[test]
fn a_policy_rewrites_the_body_and_the_next_one_sees_it() {
    let body = r#"{"model":"other","messages":[]}"#;
    let script = Script::request(CHAT, document(json!([{"use": "answer", "with": {"body": body}}, {"use": "watch"}])), true);
    let outcome = play(&script);
    assert_eq!(
        (outcome.request.clone(), outcome.decision),
        (RequestOutcome::SentBody(body.as_bytes().to_vec()), Decision::Rewrite)
    );
    assert_eq!(outcome.events_of("watch.request")[0].metadata["bytes"], body.len());
}

#[test]
fn the_trace_and_the_user_are_in_every_event() {
    let mut script = Script::events(CHAT, document(json!([{"use": "watch"}])), fixtures::stream(CHAT, "text"));
    if let Step::RequestHead { headers, .. } = &mut script.steps[0] {
        headers.push(("traceparent".to_owned(), b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec()));
        headers.push(("x-policy-user".to_owned(), b"ada".to_vec()));
    }
    let outcome = play(&script);
    for event in &outcome.events {
        assert_eq!(event.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"), "{event:?}");
        assert_eq!(event.policy_target, Some("chat.completions"), "{event:?}");
    }
    let mut ids = outcome.events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), outcome.events.len(), "ids of events differ");
    assert_eq!(outcome.enforcement()["policy_user"], "ada");
}
