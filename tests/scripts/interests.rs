//! What is read, and what can be refused, follows from what the chain wants.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::native::RequestOutcome;
use weir_test_support::script::{Script, document, path};

use crate::{play, test};

const DIALECTS: [Dialect; 4] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool];

/// Answers that no chain with an interest in them would let pass as they are.
const ODD: [(&str, &str, &[u8]); 6] = [
    ("text/event-stream", "", b"data: {\"choices\":[\n\ndata: no json\n\n"),
    ("text/event-stream; charset=utf-16", "", b"\xff\xfe\0{"),
    ("text/event-stream", "br", b"\x0b\x02\x80"),
    ("application/json", "", b"{\"choices\":[{\"a\":1,\"a\":2}"),
    ("application/json", "gzip", b"not gzip"),
    ("image/png", "", b"\x89PNG"),
];

fn chains_that_read_no_response() -> [Value; 3] {
    [json!([]), json!([{"use": "see_nothing"}]), json!([{"use": "see_requests"}])]
}

#[test]
fn a_response_that_no_policy_wants_to_see_passes_whatever_it_is() {
    for dialect in DIALECTS {
        for chain in chains_that_read_no_response() {
            for (content_type, encoding, body) in ODD {
                let headers = [("content-type", content_type), ("content-encoding", encoding)];
                let script = Script::request(dialect, document(chain.clone()), true);
                let outcome = play(&script.respond_with(200, &headers, vec![body.to_vec()]));
                let shown = format!("{dialect} {chain} {content_type} {encoding}");
                assert_eq!((outcome.status, outcome.client.as_slice()), (200, body), "{shown}");
                assert_eq!(outcome.decision, Decision::Allow, "{shown}");
                assert_eq!(outcome.events_of("enforcement").len(), 1, "{shown}");
                assert!(outcome.events_of("see_nothing.called").is_empty(), "{shown}");
            }
        }
    }
}

#[test]
fn a_redirect_that_no_policy_wants_to_see_passes() {
    for chain in chains_that_read_no_response() {
        let script = Script::request(Dialect::ChatCompletions, document(chain), true);
        assert_eq!(play(&script.respond_with(302, &[("location", "/elsewhere")], vec![Vec::new()])).status, 302);
    }
}

#[test]
fn a_request_that_no_policy_wants_to_see_passes_whatever_it_is() {
    for dialect in DIALECTS {
        for chain in [json!([]), json!([{"use": "see_nothing"}])] {
            let script = Script::request_to(path(dialect), document(chain), vec![b"{\"model\":1,\"model\":2} and more".to_vec()]);
            assert_eq!(play(&script).request, RequestOutcome::Sent, "{dialect}");
        }
        let read = Script::request_to(path(dialect), document(json!([{"use": "see_requests"}])), vec![b"no request".to_vec()]);
        assert_ne!(play(&read).request, RequestOutcome::Sent, "{dialect}");
    }
}

#[test]
fn one_policy_that_wants_to_see_a_response_makes_the_chain_read_it() {
    for wants in ["no_op", "drop_text", "ask_judge"] {
        let chain = json!([{"use": "see_nothing"}, {"use": wants}]);
        let script = Script::request(Dialect::ChatCompletions, document(chain), true);
        let outcome = play(&script.respond("text/event-stream", vec![b"data: no json\n\n".to_vec()]));
        assert!(!outcome.text().contains("no json"), "{wants}");
    }
}
