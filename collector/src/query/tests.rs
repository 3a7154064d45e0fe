use std::sync::Arc;

use super::Query;
use crate::store::{Entry, EntryId};

const EVENT: &str = r#"{"id":"e-1","kind":"policy_action","event_type":"judge.blocked","severity":"warning","summary":"Tool call rm blocked","call_id":"c-7","policy_class":"ToolCallJudge","metadata":{"tool":"rm","judge_latency_ms":250,"allowlist_hits":["git","npm"],"a.b":{"c":true},"path":"a\/b"}}"#;

fn matches(query: &str) -> bool {
    let entry = Entry {
        shard: 0,
        id: EntryId::START,
        received_ms: 1,
        sender: Arc::from("vm-1"),
        sequence: 4,
        conflict: false,
        body: EVENT.to_owned(),
    };
    let query: Query = query.parse().unwrap_or_else(|error| panic!("{query}: {error}"));
    entry.events().all(|stored| query.matches(&stored))
}

#[test]
fn what_matches() {
    for query in [
        "",
        "BLOCKED rm",
        "\"call rm\"",
        "kind:policy_action",
        "type:judge.*",
        "type:*.blocked -severity:error",
        "tool:rm OR tool:ls",
        "(tool:ls OR tool:rm) kind:policy_action",
        "-(tool:ls OR tool:cp)",
        "NOT tool:ls",
        "judge_ms:>200 judge_ms:<=250",
        "metadata.allowlist_hits:npm",
        "metadata.a.b.c:true",
        "metadata.path:a/b",
        "sender:vm-* sequence:4 conflict:false",
        "tool:*",
        "summary:\"Tool call rm blocked\"",
        "policy:ToolCallJudge call:c-7",
    ] {
        assert!(matches(query), "{query}");
    }
}

#[test]
fn what_does_not_match() {
    for query in [
        "policy_class",
        "tool:RM",
        "tool:ls",
        "user:*",
        "-kind:policy_action",
        "judge_ms:>250",
        "kind:policy_action tool:ls",
        "type:judge",
        "conflict:true",
        "tool:ls OR tool:cp",
        "-rm",
    ] {
        assert!(!matches(query), "{query}");
    }
}

#[test]
fn what_is_no_query_says_why() {
    for (query, message) in [
        ("toll:rm", "no field `toll`"),
        ("(a", "`(` is not closed"),
        ("a)", "`)` closes nothing"),
        ("\"a", "is not closed"),
        ("a OR", "OR stands between"),
        ("OR a", "OR stands between"),
        ("()", "parentheses hold nothing"),
        ("-", "a condition is missing"),
        ("judge_ms:>fast", "`fast` is not a number"),
        ("judge_ms:>NaN", "`NaN` is not a number"),
        ("tool:", "a value is missing"),
    ] {
        let error = query.parse::<Query>().expect_err(query).to_string();
        assert!(error.contains(message), "{query}: {error}");
    }
    let deep = format!("{}a{}", "(".repeat(40), ")".repeat(40));
    assert!(
        deep.parse::<Query>().is_err() && "x ".repeat(65).parse::<Query>().is_err() && "x".repeat(5000).parse::<Query>().is_err()
    );
}
