use serde_json::{Value, json};
use weir::document::Environment;

use super::*;

fn read(with: &str) -> Result<Rules, DocumentError> {
    let judges = Default::default();
    Rules::new(PolicyConfig { with, judges: &judges, environment: Environment::NONE })
}

fn error(with: &Value) -> DocumentError {
    read(&with.to_string()).unwrap_err()
}

fn one(rule: Value) -> Value {
    let mut rule = rule;
    if rule.get("id").is_none() {
        rule["id"] = json!("r");
    }
    json!({ "rules": [rule] })
}

#[test]
fn every_error_names_the_path_of_the_wrong_field() {
    for (with, path) in [
        (json!({}), ""),
        (json!({"rules": []}), "rules"),
        (one(json!({"id": "", "match": {"terms": ["a"]}})), "rules[0].id"),
        (one(json!({"match": {}})), "rules[0].match"),
        (one(json!({"match": {"terms": ["a"], "pattern": "a"}})), "rules[0].match"),
        (one(json!({"match": {"terms": []}})), "rules[0].match.terms"),
        (one(json!({"match": {"terms": ["a", "\u{200b}"]}})), "rules[0].match.terms[1]"),
        (one(json!({"match": {"terms": ["ab", "AB"]}})), "rules[0].match.terms[1]"),
        (one(json!({"match": {"pattern": "a.*b"}})), "rules[0].match.pattern"),
        (one(json!({"match": {"detect": ["email", "nothing"]}})), "rules[0].match.detect[1]"),
        (one(json!({"match": {"term": ["a"]}})), "rules[0].match.term"),
        (one(json!({"match": {"terms": ["a"]}, "action": "drop"})), "rules[0].action"),
        (one(json!({"match": {"terms": ["a"]}, "action": "replace"})), "rules[0].with"),
        (one(json!({"match": {"terms": ["a"]}, "action": "refuse", "with": "x"})), "rules[0].with"),
        (one(json!({"match": {"terms": ["a"]}, "message": "x"})), "rules[0].message"),
        (one(json!({"match": {"pattern": "a"}, "action": "rewrite"})), "rules[0].template"),
        (one(json!({"match": {"pattern": "a"}, "template": "$0"})), "rules[0].template"),
        (one(json!({"match": {"pattern": "(a)"}, "action": "rewrite", "template": "$2"})), "rules[0].template"),
        (one(json!({"match": {"pattern": "(a)"}, "action": "rewrite", "template": "x"})), "rules[0].template"),
        (one(json!({"match": {"pattern": "(a)"}, "action": "rewrite", "template": "$1".repeat(2049)})), "rules[0].template"),
        (one(json!({"match": {"pattern": "(a)"}, "action": "rewrite", "template": "$1", "with": "x"})), "rules[0].with"),
        (one(json!({"match": {"pattern": "(a)"}, "action": "rewrite", "template": "$1", "capture": 1})), "rules[0].capture"),
        (one(json!({"match": {"pattern": r"(\w+)@b"}, "action": "rewrite", "template": "$1"})), "rules[0].match.pattern"),
        (one(json!({"match": {"pattern": r"b(\w+)"}, "action": "rewrite", "template": "$1"})), "rules[0].match.pattern"),
        (one(json!({"match": {"terms": ["a"]}, "action": "rewrite", "template": "$0"})), "rules[0].match"),
        (one(json!({"match": {"detect": ["email"]}, "action": "rewrite", "template": "$0"})), "rules[0].match"),
        (one(json!({"match": {"terms": ["a"]}, "allowed": ["x"]})), "rules[0].allowed"),
        (one(json!({"match": {"terms": ["a"]}, "capture": 1})), "rules[0].capture"),
        (one(json!({"match": {"pattern": "a"}, "capture": 1})), "rules[0].match.pattern"),
        (one(json!({"match": {"terms": ["a"]}, "request": [], "answer": []})), "rules[0].request"),
        (one(json!({"match": {"terms": ["a"]}, "request": ["users"]})), "rules[0].request[0]"),
        (one(json!({"match": {"terms": ["a"]}, "action": "allow", "answer": ["text"]})), "rules[0].answer"),
        (json!({"rules": [{"id": "a", "match": {"terms": ["a"]}}, {"id": "a", "match": {"terms": ["b"]}}]}), "rules[1].id"),
        (
            json!({"rules": [{"id": "a", "match": {"terms": ["a"]}}, {"id": "b", "match": {"terms": ["a"]}}]}),
            "rules[1].match.terms[0]",
        ),
    ] {
        assert_eq!(error(&with).path.trim_start_matches('.'), path, "{with}");
    }
    let message = error(&one(json!({"match": {"pattern": "begin.*end"}}))).message;
    assert!(message.starts_with("\"begin.*end\" has no finite point of commitment"), "{message}");
}

#[test]
fn what_can_wait_for_each_rule_is_known() {
    let with = json!({"rules": [
        {"id": "terms", "match": {"terms": ["nightingale", "owl"]}},
        {"id": "keys", "match": {"pattern": "sk-[A-Za-z0-9]{20,}"}},
        {"id": "mail", "match": {"pattern": r"\b[a-z]{1,8}@b\.[a-z]{2,}"}, "allowed": ["somebody@b.example"]},
        {"id": "seen", "match": {"terms": ["heron"]}, "action": "observe"},
    ]});
    let holds = read(&with.to_string()).unwrap().holds();
    let holds: Vec<_> = holds.iter().map(|hold| (hold.id.as_str(), hold.characters, hold.bytes)).collect();
    assert_eq!(holds, [("terms", 10, 40), ("keys", 22, 88), ("mail", 18, 72), ("seen", 0, 0)]);
}

#[test]
fn what_is_rewritten_waits_for_what_could_begin_in_it() {
    let rewriting = json!({"id": "rewriting", "match": {"pattern": "a(b{1,3})c"}, "action": "rewrite", "template": "$1"});
    let hold = |more: Value| {
        let with = json!({"rules": [rewriting, more]});
        read(&with.to_string()).unwrap().holds()[0].characters
    };
    // All of "abbbc" but its last character, and what the other rule can have wait.
    assert_eq!(hold(json!({"id": "other", "match": {"terms": ["nightingale"]}})), 4 + 10);
    assert_eq!(hold(json!({"id": "other", "match": {"terms": ["nightingale"]}, "action": "observe"})), 4);
    assert_eq!(hold(json!({"id": "other", "match": {"terms": ["nightingale"]}, "request": [], "answer": ["reasoning"]})), 4);
}

#[test]
fn what_cannot_be_rewritten_is_refused_by_name() {
    let message = |r#match: Value, template: &str| {
        error(&one(json!({"id": "mine", "match": r#match, "action": "rewrite", "template": template}))).message
    };
    for (r#match, template, parts) in [
        (json!({"terms": ["a"]}), "$0", ["\"mine\"", "no groups"]),
        (json!({"pattern": r"(\w+)@b"}), "$1", [r#""(\\w+)@b""#, "no finite point of commitment"]),
        (json!({"pattern": r"b(\w{1,600})"}), "$1", [r#""b(\\w{1,600})""#, "601 characters"]),
        (json!({"pattern": "a(b)"}), "${2}", ["\"${2}\"", "group 2, and the pattern has 1"]),
        (json!({"pattern": "a(b)"}), "x$", ["\"x$\"", "neither"]),
    ] {
        let message = message(r#match, template);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn the_bounds_are_kept() {
    let many: Vec<String> = (0..20_001).map(|number| format!("t{number}")).collect();
    assert_eq!(error(&one(json!({"match": {"terms": many}}))).path, "rules[0].match.terms[20000]");
    let long = vec!["x".repeat(512 * 1024), "y".to_owned()];
    assert_eq!(error(&one(json!({"match": {"terms": long}}))).path, "rules[0].match.terms[1]");
    let rules: Vec<Value> = (0..1001).map(|id| json!({"id": id.to_string(), "match": {"terms": [format!("t{id}")]}})).collect();
    assert_eq!(error(&json!({ "rules": rules })).path, "rules");
}

#[test]
fn every_detector_waits_for_a_bounded_text() {
    let names: Vec<Value> = detect::names().into_iter().map(|name| json!({"id": name, "match": {"detect": [name]}})).collect();
    for hold in read(&json!({ "rules": names }).to_string()).unwrap().holds() {
        assert!(hold.characters <= 600, "{hold:?}");
    }
}

/// Measures by hand: `cargo test -p weir-policies --release --lib loading_takes -- --ignored --nocapture`.
#[test]
#[ignore = "takes time to be measured"]
#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn loading_takes() {
    for terms in [0, 10, 1_000, 10_000] {
        let with = many_terms(terms);
        let begun = std::time::Instant::now();
        let rules = read(&with).unwrap();
        let loaded = begun.elapsed();
        println!(
            "{terms} terms and all detectors: {loaded:?}, greatest hold {:?}",
            rules.holds().iter().map(|hold| hold.characters).max()
        );
    }
}

fn many_terms(count: usize) -> String {
    let mut number = 1_u64;
    let mut word = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:x} {:x}", number >> 44, number >> 20 & 0xfffff)
    };
    let terms: Vec<String> = (0..count).map(|_| word()).collect();
    let mut rules = vec![json!({"id": "detect", "match": {"detect": ["personal", "secrets", "hidden_text"]}})];
    if !terms.is_empty() {
        rules.push(json!({"id": "terms", "match": {"terms": terms}}));
    }
    json!({ "rules": rules }).to_string()
}
