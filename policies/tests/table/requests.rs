//! Policies that look at requests alone.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_driver::RequestOutcome;

use crate::exchange::{DIALECTS, TEXT, each, message, play, player, reason, recording, unchanged};

#[test]
fn block_requests_refuses_what_a_rule_fits_and_nothing_else() {
    let rules = [
        (json!({"models": ["gpt-4*", "claude*"]}), true),
        (json!({"models": ["other"]}), false),
        (json!({"except_models": ["other"]}), true),
        (json!({"when": [{"at": "/temperature", "greater": 1}]}), true),
        (json!({"when": [{"at": "/top_p", "greater": 1}]}), false),
        (json!({"when": [{"at": "/seed", "greater": 1}]}), true),
        (json!({"when": [{"at": "/stop", "greater": 1}]}), false),
        (json!({"tools": ["sh*"]}), true),
        (json!({"tools": ["browser"]}), false),
        (json!({"above_bytes": 10}), true),
        (json!({"above_bytes": 100_000}), false),
        (json!({"terms": ["NIGHTINGALE"]}), true),
        (json!({"terms": ["NIGHTINGALE"], "scopes": ["system"]}), false),
    ];
    each(|dialect, streamed| {
        let change = |body: &mut Value| {
            body["temperature"] = json!(1.5);
            // One that cannot be compared may be what is not to be; null is not given.
            (body["seed"], body["stop"]) = (json!("2"), Value::Null);
            body["tools"] = match dialect {
                Dialect::ChatCompletions => json!([{"type": "function", "function": {"name": "shell"}}]),
                Dialect::Messages => json!([{"name": "shell", "input_schema": {"type": "object"}}]),
                _ => json!([{"type": "function", "name": "shell"}]),
            };
            let asked = json!([{"role": "user", "content": "Tell me of nightingale."}]);
            body[if dialect == Dialect::Responses { "input" } else { "messages" }] = asked;
        };
        for (rule, is_refused) in &rules {
            let chain = json!([{"use": "block_requests", "with": {"rules": [rule]}}]);
            let outcome = play(&player(&chain), &recording(dialect, streamed, change, &[TEXT]));
            let expected = if *is_refused { (RequestOutcome::Answered, 403) } else { (RequestOutcome::Sent, 200) };
            assert_eq!((outcome.request.clone(), outcome.status), expected, "{dialect} {rule}");
            assert_eq!(reason(&outcome), if *is_refused { "REQUEST_BLOCKED" } else { "ALLOW" }, "{dialect} {rule}");
        }
        let answers =
            json!([{"use": "block_requests", "with": {"rules": [{"above_bytes": 1, "answer": true, "message": "No."}]}}]);
        let outcome = play(&player(&answers), &recording(dialect, streamed, unchanged, &[TEXT]));
        assert_eq!(message(dialect, streamed, &outcome).only().text, "No.", "{dialect}");
    });
}

#[test]
fn block_requests_refuses_a_body_that_readers_take_differently_where_it_looks_into_it() {
    let chain = json!([{"use": "block_requests", "with": {"rules": [{"when": [{"at": "/metadata/tier", "equals": "free"}]}]}}]);
    for dialect in DIALECTS {
        let mut recording = recording(dialect, false, |body| body["metadata"] = json!({"tier": "paid"}), &[TEXT]);
        assert_eq!(play(&player(&chain), &recording).status, 200, "{dialect}");
        let body = String::from_utf8(recording.request_body.clone()).unwrap();
        recording.request_body = body.replace(r#""tier":"paid""#, r#""tier":"free","tier":"paid""#).into_bytes();
        assert_eq!(play(&player(&chain), &recording).status, 403, "{dialect}");
    }
}
