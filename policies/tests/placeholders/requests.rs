//! Placeholders in requests.

use serde_json::{Value, json};
use weir::dialect::Dialect::{ChatCompletions, McpTool};
use weir_test_support::answer::Said;
use weir_test_support::script;

use crate::exchange::{DIALECTS, asked, mark, marks, play, read, request, rules, sent, sent_of, text};

#[test]
fn a_placeholder_is_the_same_over_turns_requests_and_dialects() {
    let mut all = Vec::new();
    for dialect in DIALECTS {
        let first = asked(dialect, "to ann@corp.example");
        let mark = mark(dialect, &first);
        let answer = text(&rules(), dialect, &first, &["To ", &mark]);
        assert_eq!(answer, "To ann@corp.example");
        let turns = [("user", "to ann@corp.example"), ("assistant", answer.as_str()), ("user", "and bob@corp.example")];
        let second = request(dialect, "", &turns);
        let outcome = play(&rules(), dialect, &second, &[Said::Text(&["Both: ", &mark, "."])]);
        let sent = sent(&outcome);
        let marks = marks(&sent, "EMAIL");
        assert_eq!((marks.len(), &marks[0], &marks[1]), (3, &mark, &mark), "{dialect}");
        assert_ne!(marks[2], mark);
        assert!(!sent.contains('@'), "{dialect}: {sent}");
        assert_eq!(read(dialect, &second, &outcome).text, "Both: ann@corp.example.");
        all.push(mark);
    }
    assert!(all.iter().all(|mark| *mark == all[0]), "{all:?}");
}

#[test]
fn two_ways_to_write_a_value_are_two_values_and_each_comes_back_as_it_was() {
    let spellings = ["ann@corp.example", "Ann@corp.example", "ann@corp.exam\u{200b}ple", "ａｎｎ@corp.example"];
    for dialect in DIALECTS {
        let body = asked(dialect, &spellings.join(" and "));
        let sent = sent_of(&rules(), dialect, &body);
        let mut marks = marks(&sent, "EMAIL");
        assert!(sent.contains(&marks.join(" and ")), "{sent}");
        let answer = text(&rules(), dialect, &body, &[&marks.join(" and ")]);
        assert_eq!(answer, spellings.join(" and "), "{dialect}");
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), 4, "{dialect}");
    }
}

#[test]
fn a_value_in_the_arguments_of_an_earlier_call_is_hidden_and_restored() {
    let arguments = json!({"to": "ann@corp.example", "n": 1});
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments.to_string()}});
    let mut body = asked(ChatCompletions, "Go on.");
    body["messages"] = json!([{"role": "user", "content": "Go."}, {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "bounced"}]);
    let mark = mark(ChatCompletions, &body);
    let sent: Value = serde_json::from_str(&sent_of(&rules(), ChatCompletions, &body)).unwrap();
    let sent = sent["messages"][1]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(sent).unwrap(), json!({"to": mark, "n": 1}));
    assert_eq!(text(&rules(), ChatCompletions, &body, &["Is ", &mark, " right?"]), "Is ann@corp.example right?");
}

#[test]
fn in_calls_of_mcp_a_value_is_redacted_for_good() {
    let body = script::mcp_call(1, "send", &json!({"to": "ann@corp.example"}));
    let answer =
        json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "sent to ann@corp.example"}]}});
    let document = crate::exchange::document(&rules());
    let outcome = crate::exchange::play_bytes(&document, McpTool, &body, answer.to_string().into_bytes());
    assert!(sent(&outcome).contains(r#"{"to":"[redacted]"}"#), "{}", sent(&outcome));
    assert!(String::from_utf8_lossy(&outcome.client).contains("sent to [redacted]"));
}

#[test]
fn a_part_that_another_rule_is_against_is_not_kept() {
    let rules = json!([
        {"id": "a", "match": {"terms": ["abcd"]}, "reversible": true},
        {"id": "b", "match": {"terms": ["cdef"]}},
    ]);
    let sent = sent_of(&rules, ChatCompletions, &asked(ChatCompletions, "abcdef abcd"));
    assert_eq!(marks(&sent, "A").len(), 1, "{sent}");
    assert!(sent.contains("\"[redacted] [A_"), "{sent}");
}
