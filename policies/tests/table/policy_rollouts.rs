//! A policy in shadow by a rollout of its own: whichever it is, nothing changes and nothing waits, and the event says what it
//! would have decided.

use serde_json::{Value, json};
use weir_driver::{Outcome, Player, Recording, RequestOutcome};

use crate::exchange::{LS, RM, TEXT, each, judged, play, recording, unchanged, with_history, with_result};

/// Every built-in policy, set so that it acts, and what it decides about an answer, or about a second request.
fn policies() -> Vec<(Value, &'static str)> {
    let rules = |rule: Value| {
        let mut rule = rule;
        rule["id"] = json!("one");
        json!({"use": "rules", "with": {"rules": [rule]}})
    };
    vec![
        (json!({"use": "no_op"}), "allow"),
        (json!({"use": "content_only"}), "rewrite"),
        (json!({"use": "content_transform", "with": {"case": "upper"}}), "rewrite"),
        (json!({"use": "string_replacement", "with": {"replacements": [["will do", "did"]]}}), "rewrite"),
        (rules(json!({"match": {"terms": ["will do"]}})), "rewrite"),
        (rules(json!({"match": {"pattern": "w[il]{3} do"}, "action": "refuse"})), "refuse"),
        (rules(json!({"match": {"terms": ["paris"]}, "action": "redact"})), "rewrite"),
        (rules(json!({"match": {"terms": ["paris"]}, "action": "refuse"})), "refuse"),
        (rules(json!({"match": {"terms": ["paris"]}, "action": "escalate"})), "escalate"),
        (rules(json!({"match": {"terms": ["oslo"]}, "action": "allow"})), "refuse"),
        (rules(json!({"match": {"terms": ["rm -rf"]}, "action": "refuse"})), "refuse"),
        (
            json!({"use": "rules", "with": {"summary": {"judge": "two"},
            "rules": [{"id": "one", "match": {"terms": ["will do"]}, "action": "summary"}]}}),
            "summary",
        ),
        (json!({"use": "tool_call_judge", "with": {"judge": "one"}}), "refuse"),
        (json!({"use": "tool_rules", "with": {"rules": [], "default": "deny"}}), "refuse"),
        (json!({"use": "tool_rules", "with": {"rules": [{"tools": ["shell"], "verdict": "escalate"}]}}), "escalate"),
        (json!({"use": "block_requests", "with": {"rules": [{"above_bytes": 1}]}}), "refuse"),
        (json!({"use": "rate_limit", "with": {"requests": {"limit": 1, "window": "1m"}}}), "refuse"),
        (json!({"use": "budget", "with": {"tokens": 1, "every": "day", "of": "output"}}), "refuse"),
        (json!({"use": "text_judge", "with": {"rules": "x", "panel": {"judges": [{"judge": "one"}]}}}), "refuse"),
        (json!({"use": "parallel", "with": {"panel": {"judges": [{"judge": "one"}]}}}), "refuse"),
        // It would have answered the second from its cache, which changes nothing.
        (json!({"use": "cache_response"}), "allow"),
    ]
}

/// What stands behind them: it is enforced, and acts on text and calls.
fn enforced() -> Vec<Value> {
    vec![
        json!({"use": "rules", "with": {"rules": [{"id": "it", "match": {"terms": ["it"]}, "with": "that", "answer": ["text"]}]}}),
        json!({"use": "rate_limit", "with": {"requests": {"limit": 2, "window": "1m"}}}),
        json!({"use": "tool_call_judge", "with": {"judge": "two"}}),
    ]
}

fn chain(shadow: Option<&Value>, enforced: &[Value]) -> Player {
    let shadow = shadow.map(|entry| {
        let mut entry = entry.clone();
        entry["rollout"] = json!({"mode": "shadow"});
        entry
    });
    judged(&shadow.into_iter().chain(enforced.iter().cloned()).collect::<Value>())
}

/// Plays it twice, since some policies act on the second exchange alone.
fn twice(player: &Player, recording: &Recording) -> [Outcome; 2] {
    [play(player, recording), play(player, recording)]
}

#[track_caller]
fn assert_same(outcome: &Outcome, alone: &Outcome, what: &str) {
    assert_eq!(outcome.text(), alone.text(), "{what}");
    assert_eq!((&outcome.request, outcome.status), (&alone.request, alone.status), "{what}");
    let leaving = |outcome: &Outcome| -> Vec<_> {
        outcome.releases.iter().map(|release| (release.step, release.cause, release.bytes.clone())).collect()
    };
    assert_eq!(leaving(outcome), leaving(alone), "{what}");
    assert_eq!(outcome.held_time, alone.held_time, "{what}");
    let (event, of_alone) = (outcome.enforcement(), alone.enforcement());
    for field in ["decision", "effective_decision", "reason_code", "decided_by", "judge_questions", "enforced"] {
        assert_eq!(event[field], of_alone[field], "{what}: {field}");
    }
}

#[test]
fn no_policy_in_shadow_changes_or_delays_anything_and_each_says_what_it_would_have_decided() {
    for (policy, decision) in policies() {
        for enforced in [vec![], enforced()] {
            each(|dialect, streamed| {
                let what = format!("{dialect} streamed {streamed} before {} others: {policy}", enforced.len());
                let recording = recording(dialect, streamed, unchanged, &[TEXT, RM]);
                let outcomes = twice(&chain(Some(&policy), &enforced), &recording);
                let alone = twice(&chain(None, &enforced), &recording);
                for (outcome, alone) in outcomes.iter().zip(&alone) {
                    assert_same(outcome, alone, &what);
                }
                if enforced.is_empty() {
                    assert_eq!(outcomes[1].request, RequestOutcome::Sent, "{what}");
                }
                let told = &outcomes[1].enforcement()["policy_rollouts"][0];
                assert_eq!((&told["decision"], &told["enforced"]), (&json!(decision), &json!(false)), "{what}: {told}");
            });
        }
    }
}

/// Results of tools, and how often tools were called, stand in requests of later turns.
#[test]
fn no_policy_in_shadow_changes_a_later_turn() {
    const LONG: &str =
        "Line one of a long log. Line two of a long log. Line three of a long log. Line four of a long log. The end.";
    each(|dialect, streamed| {
        let limit = json!({"use": "stop_after_tools", "with": {"max_repeats": 2}});
        let summarise = json!({"use": "summarise", "with": {"judge": "two", "longer_than": 100, "max_bytes": 64}});
        for (policy, recording, decision) in [
            (limit, recording(dialect, streamed, with_history(dialect, 2, "shell"), &[LS]), "refuse"),
            (summarise, recording(dialect, streamed, with_result(dialect, LONG), &[TEXT]), "summary"),
        ] {
            let outcome = play(&chain(Some(&policy), &[]), &recording);
            assert_same(&outcome, &play(&chain(None, &[]), &recording), &policy.to_string());
            let told = &outcome.enforcement()["policy_rollouts"][0];
            assert_eq!(told["decision"], decision, "{dialect}: {told}");
        }
    });
}
