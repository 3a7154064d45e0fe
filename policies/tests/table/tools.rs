//! Policies about tool calls that ask nobody.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_driver::Recording;
use weir_test_support::answer::Said;
use weir_test_support::{fixtures, script};

use crate::exchange::{LS, RM, TEXT, answer, each, play, player, reason, recording, shell, unchanged, with_history};

#[test]
fn stop_after_tools_ends_the_answer_at_the_call_that_is_too_many() {
    each(|dialect, streamed| {
        let chain = json!([{"use": "stop_after_tools", "with": {"max_calls": 1, "message": "Enough."}}]);
        let (outcome, message) = answer(&chain, dialect, streamed, &[TEXT, LS, RM]);
        assert_eq!(message.only().calls.len(), 1, "{dialect} {streamed}");
        assert!(message.only().text.contains("Enough."), "{dialect} {streamed}: {message:?}");
        assert_eq!(reason(&outcome), "TOO_MANY_TOOL_CALLS");
        let (outcome, message) = answer(&chain, dialect, streamed, &[TEXT, LS]);
        assert_eq!((message.only().calls.len(), reason(&outcome)), (1, "ALLOW".to_owned()));
    });
}

#[test]
fn stop_after_tools_counts_the_same_call_over_the_turns() {
    each(|dialect, streamed| {
        let chain = json!([{"use": "stop_after_tools", "with": {"max_repeats": 2}}]);
        for (before, name, expected) in [(1, "shell", "ALLOW"), (2, "shell", "TOOL_CALL_REPEATED"), (2, "other", "ALLOW")] {
            let recording = recording(dialect, streamed, with_history(dialect, before, name), &[LS]);
            assert_eq!(reason(&play(&player(&chain), &recording)), expected, "{dialect} {before} {name}");
        }
    });
}

#[test]
fn stop_after_tools_counts_the_same_free_text_over_the_turns() {
    let chain = json!([{"use": "stop_after_tools", "with": {"max_repeats": 1}}]);
    let chat = |input: &str| {
        json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "c", "type": "custom", "custom": {"name": "run_shell", "input": input}}]})
    };
    let responses = |input: &str| json!({"type": "custom_tool_call", "call_id": "c", "name": "run_sql", "input": input});
    for (dialect, member, same, other) in [
        (Dialect::ChatCompletions, "messages", chat("rm -rf /srv/data"), chat("rm -rf /srv")),
        (Dialect::Responses, "input", responses("SELECT name FROM cities"), responses("SELECT 1")),
    ] {
        for (before, expected) in [(same, "TOOL_CALL_REPEATED"), (other, "ALLOW")] {
            let mut body = script::request_body(dialect, true);
            body[member] = json!([before]);
            let asked = Recording::post(script::path(dialect), body.to_string());
            let answered = asked.streamed(fixtures::stream(dialect, "custom_tool"));
            assert_eq!(reason(&play(&player(&chain), &answered)), expected, "{dialect} {before}");
        }
    }
}

#[test]
fn tool_rules_decide_by_name_argument_command_and_what_was_called_before() {
    let deny = |rule: Value| {
        let mut rule = rule;
        rule["verdict"] = json!("deny");
        json!([{"use": "tool_rules", "with": {"rules": [rule]}}])
    };
    let chains = [
        (deny(json!({"tools": ["shell"]})), "refuse"),
        (deny(json!({"tools": ["other*"]})), "allow"),
        (deny(json!({"tools": ["*"], "when": [{"at": "/command", "contains": "rm "}]})), "refuse"),
        (deny(json!({"tools": ["*"], "when": [{"at": "/command", "prefix": "ls"}]})), "allow"),
        (deny(json!({"tools": ["*"], "when": [{"at": "/missing", "equals": 1}]})), "refuse"),
        (deny(json!({"tools": ["*"], "command": {"programs": ["rm"]}})), "refuse"),
        (deny(json!({"tools": ["*"], "command": {"programs": ["dd"]}})), "allow"),
        (deny(json!({"tools": ["*"], "after": [{"tools": ["read_secret"]}]})), "allow"),
        (json!([{"use": "tool_rules", "with": {"rules": [], "default": "deny"}}]), "refuse"),
        (
            json!([{"use": "tool_rules", "with": {"default": "deny", "rules": [{"tools": ["*"], "verdict": "allow",
            "when": [{"at": "/missing", "exists": true}]}]}}]),
            "refuse",
        ),
        (
            json!([{"use": "tool_rules", "with": {"default": "deny", "rules": [{"tools": ["shell"], "verdict": "allow",
            "when": [{"at": "/n", "less": 5}]}]}}]),
            "allow",
        ),
        (json!([{"use": "tool_rules", "with": {"rules": [{"tools": ["shell"], "verdict": "escalate"}]}}]), "escalate"),
    ];
    each(|dialect, streamed| {
        for (chain, expected) in &chains {
            let (outcome, message) = answer(chain, dialect, streamed, &[TEXT, RM]);
            assert_eq!(outcome.enforcement()["decision"], *expected, "{dialect} {streamed} {chain}");
            assert_eq!(message.only().calls.len(), usize::from(*expected == "allow"), "{dialect} {chain}");
        }
    });
}

#[test]
fn tool_rules_see_what_was_called_before_in_the_request_and_in_the_answer() {
    let chain = json!([{"use": "tool_rules", "with": {"rules": [
        {"tools": ["shell"], "when": [{"at": "/command", "contains": "rm"}], "after": [{"tools": ["shell"],
            "when": [{"at": "/command", "equals": "ls"}]}], "verdict": "deny", "reason_code": "SEQUENCE"}]}}]);
    each(|dialect, streamed| {
        let played = |change: &dyn Fn(&mut Value), said: &[Said<'static>]| {
            reason(&play(&player(&chain), &recording(dialect, streamed, change, said)))
        };
        assert_eq!(played(&with_history(dialect, 1, "shell"), &[RM]), "SEQUENCE", "{dialect}");
        assert_eq!(played(&with_history(dialect, 1, "other"), &[RM]), "ALLOW", "{dialect}");
        assert_eq!(played(&unchanged, &[LS, RM]), "SEQUENCE", "{dialect}");
        assert_eq!(played(&unchanged, &[RM, LS]), "ALLOW", "{dialect}");
    });
}

#[test]
fn tool_rules_allow_behind_a_call_only_where_that_call_was_made_for_certain() {
    let allow = |earlier: Value| {
        json!([{"use": "tool_rules", "with": {"default": "deny", "rules": [
            {"tools": ["shell"], "when": [{"at": "/command", "equals": "ls"}], "after": [earlier], "verdict": "allow"},
            {"tools": ["shell"], "when": [{"at": "/command", "prefix": "rm"}], "verdict": "deny"},
            {"tools": ["shell"], "when": [{"at": "/command", "equals": "echo"}], "verdict": "allow"}]}}])
    };
    let after = |test: Value| allow(json!({"tools": ["shell"], "when": [test]}));
    each(|dialect, streamed| {
        let calls = |chain: &Value, said: &[Said<'static>]| answer(chain, dialect, streamed, said).1.only().calls.len();
        let approved = after(json!({"at": "/command", "equals": "echo"}));
        assert_eq!(calls(&approved, &[shell("echo"), LS]), 2, "{dialect} {streamed}");
        // A place that is not there may have held anything.
        let unclear = after(json!({"at": "/missing", "equals": 1}));
        assert_eq!(calls(&unclear, &[shell("echo"), LS]), 1, "{dialect} {streamed}");
        // A call that was withheld was not made.
        let withheld = after(json!({"at": "/command", "prefix": "rm"}));
        assert_eq!(calls(&withheld, &[RM, LS]), 0, "{dialect} {streamed}");
    });
}

#[test]
fn tool_rules_deny_what_cannot_be_told_with_a_reason_of_its_own() {
    let rule = |rest: Value| {
        let mut rule = json!({"tools": ["shell"], "verdict": "deny", "reason_code": "DESTRUCTIVE"});
        rule.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!([{"use": "tool_rules", "with": {"rules": [rule]}}])
    };
    let rm = rule(json!({"command": {"programs": ["rm"]}}));
    each(|dialect, streamed| {
        for (chain, command, reason_code, untestable) in [
            (&rm, ">/dev/null rm x", "DESTRUCTIVE", Value::Null),
            (&rm, "timeout 5 bash -c -- 'r\\\nm x'", "DESTRUCTIVE", Value::Null),
            (&rm, "?m x", "TOOL_CALL_UNTESTABLE", json!("glob")),
            (&rm, "echo rm x | sh", "TOOL_CALL_UNTESTABLE", json!("input")),
            (&rule(json!({"when": [{"at": "/missing", "equals": 1}]})), "ls", "TOOL_CALL_UNTESTABLE", json!("arguments")),
        ] {
            let (outcome, message) = answer(chain, dialect, streamed, &[TEXT, shell(command)]);
            assert_eq!((message.only().calls.len(), reason(&outcome).as_str()), (0, reason_code), "{dialect} {command}");
            let told = outcome.events_of("tool_rules.denied")[0].metadata.get("untestable").cloned().unwrap_or_default();
            assert_eq!(told, untestable, "{dialect} {command}");
        }
        assert_eq!(answer(&rm, dialect, streamed, &[TEXT, shell("find . -name rm -exec ls {} +")]).1.only().calls.len(), 1);
    });
}

#[test]
fn tool_rules_rewrite_in_place_and_withhold_what_they_cannot() {
    let set = |at: &str| {
        json!([{"use": "tool_rules", "with": {"rules": [
            {"tools": ["shell"], "verdict": "rewrite", "set": [{"at": at, "to": "true"}]}]}}])
    };
    each(|dialect, streamed| {
        let (outcome, message) = answer(&set("/command"), dialect, streamed, &[TEXT, RM]);
        let arguments: Value = serde_json::from_str(&message.only().calls[0].arguments).unwrap();
        assert_eq!(arguments, json!({"command": "true", "n": 1}), "{dialect} {streamed}");
        assert_eq!(reason(&outcome), "TOOL_CALL_REWRITTEN");
        let (outcome, message) = answer(&set("/missing"), dialect, streamed, &[TEXT, RM]);
        assert_eq!((message.only().calls.len(), reason(&outcome)), (0, "TOOL_CALL_DENIED".to_owned()), "{dialect}");
    });
}
