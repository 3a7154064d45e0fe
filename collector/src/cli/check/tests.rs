use std::fs;

use super::*;

fn look_at(name: &str, text: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    look(&file)
}

fn paths(document: &Value) -> Vec<String> {
    look_at("p.json", &document.to_string()).findings.into_iter().map(|finding| finding.fault.path).collect()
}

#[test]
fn a_document_without_a_fault_has_no_findings_and_says_what_it_holds() {
    let document = json!({"policy": {"id": "p"}, "judges": {"main": {"cluster": "judge", "model": "m"}},
        "chain": [{"use": "content_transform", "with": {"replace": [{"find": "secret", "with": ""}]}},
            {"use": "tool_call_judge", "with": {"judge": "main"}}]});
    let report = look_at("p.json", &document.to_string()).json();
    assert_eq!(report["findings"], json!([]));
    assert_eq!(report["holds"][0]["bytes"], 5);
    assert_eq!(report["holds"][0]["hold"], "at most 5 bytes of text");
    assert_eq!(report["holds"][1]["policy"], "ToolCallJudge");
    assert_eq!(report["holds"][1]["bytes"], Value::Null);
}

#[test]
fn of_rules_the_greatest_hold_is_told_and_that_of_each() {
    let yaml = "policy: {id: p}\nchain:\n- use: rules\n  with:\n    rules:\n    - {id: short, match: {terms: [owl]}}\n    - {id: seen, match: {terms: [nightingale]}, action: observe}\n    - {id: long, match: {terms: [nightingales]}}\n";
    let report = look_at("p.yaml", yaml);
    let told: Vec<_> = report.holds.iter().map(Held::text).collect();
    assert_eq!(
        told,
        [
            "Rules holds at most 44 bytes of text",
            "Rules, rule \"short\", holds at most 8 bytes of text",
            "Rules, rule \"seen\", holds at most 0 bytes of text",
            "Rules, rule \"long\", holds at most 44 bytes of text",
        ]
    );
    let bytes: Vec<_> = report.json()["holds"].as_array().unwrap().iter().map(|held| held["bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [44, 8, 0, 44]);
}

#[test]
fn of_a_policy_with_a_rollout_of_its_own_its_mode_is_told_and_a_wrong_order_is_a_finding() {
    let shadow = "{use: content_only, rollout: {mode: shadow}}";
    let canary = "{use: content_only, rollout: {mode: canary, percentage: 5, seed: s}}";
    let report = look_at("p.yaml", &format!("policy: {{id: p}}\nchain: [{shadow}, {canary}, {{use: content_only}}]\n"));
    let told: Vec<_> = report.holds.iter().map(Held::text).collect();
    assert_eq!(told, ["ContentOnly (shadow) holds nothing", "ContentOnly (canary) holds nothing", "ContentOnly holds nothing"]);
    let modes = report.json()["holds"].as_array().unwrap().iter().map(|held| held["rollout_mode"].clone()).collect::<Vec<_>>();
    assert_eq!(modes, [json!("shadow"), json!("canary"), Value::Null]);
    let wrong = look_at("p.yaml", &format!("policy: {{id: p}}\nchain: [{{use: content_only}}, {shadow}]\n"));
    let paths: Vec<_> = wrong.findings.iter().map(|finding| finding.fault.path.as_str()).collect();
    assert_eq!(paths, ["chain[1].rollout"]);
}

#[test]
fn of_a_rule_that_summarises_it_is_told_that_texts_wait() {
    let yaml = "policy: {id: p}\njudges: {one: {cluster: c, model: m}}\nchain:\n- use: rules\n  with:\n    summary: {judge: one}\n    rules:\n    - {id: bird, match: {terms: [nightingale]}, action: summary}\n    - {id: result, match: {terms: [owl]}, action: summary, answer: []}\n";
    let report = look_at("p.yaml", yaml);
    let told: Vec<_> = report.holds.iter().map(Held::text).collect();
    assert_eq!(
        told,
        [
            "Rules holds each text until it is decided",
            "Rules, rule \"bird\", holds each text until it is decided",
            "Rules, rule \"result\", holds at most 0 bytes of text",
        ]
    );
}

#[test]
fn of_a_rule_for_categories_it_is_told_whether_texts_wait() {
    let yaml = "policy: {id: p}\njudges: {labels: {cluster: c, path: /v1/moderations, model: m}}\nchain:\n- use: rules\n  with:\n    moderation: {judge: labels, on_error: allow}\n    rules:\n    - {id: harm, match: {categories: [violence]}, action: refuse}\n    - {id: seen, match: {categories: [hate]}, action: observe}\n";
    let report = look_at("p.yaml", yaml);
    let told: Vec<_> = report.holds.iter().map(Held::text).collect();
    assert_eq!(
        told,
        [
            "Rules holds each text until it is decided",
            "Rules, rule \"harm\", holds each text until it is decided",
            "Rules, rule \"seen\", holds at most 0 bytes of text",
        ]
    );
    assert_eq!(report.json()["findings"][0]["path"], "chain[0].with.moderation.on_error");
}

#[test]
fn an_error_has_the_line_and_column_of_its_field_and_a_hint() {
    let yaml = "policy: {id: p}\n\njudges:\n  main: {cluster: judge, model: m}\nchain:\n  - use: tool_call_judge\n    with:\n      judge: main\n      block_mesage: no\n";
    let report = look_at("p.yaml", yaml);
    assert_eq!(report.code(), 1);
    let finding = &report.json()["findings"][0];
    assert_eq!((finding["line"].as_u64(), finding["column"].as_u64()), (Some(9), Some(7)), "{finding}");
    assert_eq!(finding["path"], "chain[0].with.block_mesage");
    assert_eq!(finding["hint"], "did you mean block_message?");
    assert!(report.findings[0].fault.to_string().contains("p.yaml:9:7: chain[0].with.block_mesage: unknown field"));
}

#[test]
fn what_is_missing_or_wrong_in_meaning_is_told_where_it_stands() {
    let place = |name: &str, text: &str| look_at(name, text).findings[0].fault.place.map(|place| (place.line, place.column));
    assert_eq!(place("p.yaml", "# nothing\nchain: []\n"), Some((2, 1)), "policy is missing");
    let yaml = "projects:\n  a:\n    policy: {id: p}\n    limits:\n      max_held_bytes: 1\n";
    assert_eq!(place("p.yaml", yaml), Some((5, 7)));
    let json = "{\n\t\"policy\": {\"id\": \"p\"},\n\t\"chain\": [{\"use\": \"no_op\"},\n\t\t{\"use\": \"nop\"}]\n}";
    assert_eq!(place("p.json", json), Some((4, 4)));
    assert_eq!(place("p.json", "{\"policy\": {\"id\": \"p\"},\n \"policy\": {\"id\": \"q\"}}"), Some((2, 2)));
    assert_eq!(place("p.yaml", "policy: {id: p}\npolicy: {id: q}\n").map(|(line, _)| line), Some(2));
}

#[test]
fn a_file_that_is_neither_yaml_nor_json_is_unreadable_at_a_line() {
    for (name, text, line) in [("p.yaml", "policy: {id: p\nchain: [", 2), ("p.json", "{\"policy\":\n}", 2)] {
        let report = look_at(name, text);
        assert_eq!((report.code(), report.findings[0].kind), (2, Kind::Unreadable), "{name}");
        assert_eq!(report.findings[0].fault.place.map(|place| place.line), Some(line), "{}", report.findings[0].fault);
    }
    let report = look(Path::new("no/such.yaml"));
    assert_eq!((report.code(), report.findings[0].fault.place), (2, None));
}

#[test]
fn mistakes_are_errors_and_what_may_not_be_meant_warnings() {
    assert_eq!(paths(&json!({"policy": {"id": "p"}, "chain": [{"use": "no_such"}]})), ["chain[0].use"]);
    let reversible = json!({"id": "a", "match": {"terms": ["x"]}, "reversible": true});
    let document = json!({"policy": {"id": "p"}, "limits": {"on_unreadable": "allow"}, "routes": {"unknown": "allow"},
        "judges": {"main": {"cluster": "judge", "model": "m", "api_key": "k"}, "spare": {"cluster": "judge", "model": "m"}},
        "chain": [{"use": "tool_call_judge", "with": {"judge": "main", "on_error": "allow", "allow": ["rm_all", "ls"], "deny": ["rm*"]}},
            {"use": "content_only"},
            {"use": "tool_rules", "with": {"rules": [{"tools": ["a*"], "verdict": "deny"}, {"tools": ["ab"], "verdict": "allow"},
                {"tools": ["b", "ab"], "verdict": "deny"}]}},
            {"use": "block_requests", "with": {"rules": [{"models": ["gpt-*"]}, {"models": ["gpt-5"], "above_bytes": 9}]}},
            {"use": "block_requests", "with": {"rules": [{"models": ["gpt-*"], "above_bytes": 9}, {"models": ["gpt-5"]}]}},
            {"use": "rules", "with": {"key": "k".repeat(32), "rules": [reversible]}},
            {"use": "rules", "with": {"key_env": "KEY", "rules": [reversible]}}]});
    assert_eq!(
        paths(&document),
        [
            "chain[0].with.on_error",
            "limits.on_unreadable",
            "routes.unknown",
            "judges.main.api_key",
            "judges.spare",
            "chain[0].with.allow[0]",
            "chain[2]",
            "chain[2].with.rules[1]",
            "chain[3].with.rules[1]",
            "chain[5].with.key",
        ]
    );
}

#[test]
fn scopes_that_no_governed_dialect_has_are_warned_of() {
    let document = |targets: &[&str]| {
        json!({"policy": {"id": "p"}, "targets": targets, "chain": [
            {"use": "rules", "with": {"rules": [{"id": "a", "match": {"terms": ["x"]}, "request": ["user"],
                "answer": ["text", "refusal", "tool_argument", "tool_result"]}]}},
            {"use": "tool_rules", "with": {"rules": [{"tools": ["x"], "after": [{"tools": ["y"]}], "verdict": "deny"}]}}]})
    };
    let all = ["chat.completions", "messages", "responses", "mcp_tool"];
    assert!(paths(&document(&all)).is_empty());
    let answers = |paths: Vec<String>| paths.into_iter().filter(|path| path.contains("answer")).collect::<Vec<_>>();
    assert_eq!(paths(&document(&["responses"])), ["chain[0].with.rules[0].answer[3]"]);
    assert_eq!(
        answers(paths(&document(&["messages"]))),
        ["chain[0].with.rules[0].answer[1]", "chain[0].with.rules[0].answer[3]"]
    );
    assert_eq!(
        paths(&document(&["mcp_tool"])),
        [
            "chain[0].with.rules[0].answer[0]",
            "chain[0].with.rules[0].answer[1]",
            "chain[0].with.rules[0].request",
            "chain[1].with.rules[0].after",
        ]
    );
}

#[test]
fn sarif_names_rule_level_file_line_and_column() {
    let report = look_at("p.yaml", "policy: {id: p}\nchain:\n  - use: no_such\n");
    let log = sarif::log(&[report]);
    assert_eq!(log["version"], "2.1.0");
    let result = &log["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("invalid"), &json!("error")));
    let number = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][number]["id"], "invalid");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"], json!({"startLine": 3, "startColumn": 5}));
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("/p.yaml"));
    assert!(result["message"]["text"].as_str().unwrap().starts_with("chain[0].use: there is no policy \"no_such\""));
}

#[test]
fn sarif_is_what_its_schema_says() {
    let faults = look_at("rules #1.yaml", "policy: {id: p}\nchain:\n  - use: no_such\n  - use: rules\n    with: {rules: []}\n");
    let unreadable = look_at("p.yaml", "a: [\n");
    let right = look_at("p.json", r#"{"policy": {"id": "p"}, "chain": [{"use": "no_op"}]}"#);
    assert!(!faults.findings.is_empty() && !unreadable.findings.is_empty());
    for reports in [vec![faults, unreadable, right], vec![]] {
        let log = sarif::log(&reports);
        let read: serde_sarif::sarif::Sarif = serde_json::from_value(log.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), log, "what the schema does not name is lost in reading");
    }
}

#[test]
fn yaml_and_json_are_the_same_document() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("p.yaml");
    fs::write(&yaml, "policy: {id: p}\nchain:\n  - use: content_only\n    with:\n      notice: \"no tools\"\n").unwrap();
    let read = Source::read(&yaml).unwrap().value;
    assert_eq!(read, json!({"policy": {"id": "p"}, "chain": [{"use": "content_only", "with": {"notice": "no tools"}}]}));
    assert!(paths(&read).is_empty());
}
