//! MCP: calls are decided before a server sees them, and what comes back is governed.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir_test_support::native::RequestOutcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document, mcp_call};

use crate::{play, test};

/// A POST of `body` that a judge decides about: calls of `delete_files` are refused.
fn judged(body: &Value) -> Script {
    Script::request_to("/mcp", document(json!([{"use": "ask_judge"}])), vec![body.to_string().into_bytes()])
        .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)))
}

fn call(id: impl Into<Value>, name: &str) -> Value {
    mcp_call(id, name, &json!({"path": "/"}))
}

#[test]
fn a_call_that_passes_leaves_as_it_came() {
    let outcome = play(&judged(&call(1, "read_file")));
    assert_eq!((outcome.request, outcome.decision), (RequestOutcome::Sent, Decision::Allow));
    assert_eq!(outcome.callouts.len(), 1);
}

#[test]
fn a_refused_call_is_answered_with_a_result_that_says_so() {
    for id in [json!(7), json!("7"), json!("a \"quoted\" id")] {
        let outcome = play(&judged(&call(id.clone(), "delete_files")));
        assert_eq!((outcome.request.clone(), outcome.status), (RequestOutcome::Answered, 200));
        assert_eq!(outcome.decision, Decision::Refuse);
        let answer: Value = serde_json::from_slice(&outcome.client).unwrap();
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["isError"], true);
        assert_eq!(answer["result"]["content"], json!([{"type": "text", "text": "A tool call was blocked."}]));
        assert!(outcome.events.iter().all(|event| event.policy_target == Some("mcp_tool")));
    }
}
