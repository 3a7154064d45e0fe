//! Placeholders in arguments of tool calls.

use serde_json::{Value, json};
use weir::dialect::Dialect::ChatCompletions;
use weir_test_support::answer::Said;

use crate::exchange::{DIALECTS, asked, call, for_whole, mark, marks, play, read, rules, sent_of};

#[test]
fn arguments_are_restored_at_any_cut() {
    for dialect in DIALECTS {
        let body = asked(dialect, "to ann@corp.example");
        let mark = mark(dialect, &body);
        let arguments = format!(r#"{{"to":"{mark}"}}"#);
        for cut in 1..arguments.len() {
            let outcome =
                play(&rules(), dialect, &body, &[Said::Text(&["I write."]), call(&[&arguments[..cut], &arguments[cut..]])]);
            let read = read(dialect, &body, &outcome);
            assert_eq!(read.calls[0].arguments, r#"{"to":"ann@corp.example"}"#, "{dialect} {cut}");
            assert_eq!(read.text, "I write.");
        }
    }
}

#[test]
fn arguments_stay_json_whatever_the_value_has_in_it() {
    let rules = json!([{"id": "name", "match": {"pattern": "Ann \"[^\"]{1,9}\" O'B\\\\s"}, "reversible": true}]);
    let value = r#"Ann "the\nan" O'B\s"#;
    for dialect in DIALECTS {
        for body in [asked(dialect, &format!("ask {value} today")), for_whole(asked(dialect, &format!("ask {value} today")))] {
            let mark = marks(&sent_of(&rules, dialect, &body), "NAME").pop().unwrap();
            let arguments = format!(r#"{{"to": "x {mark} y", "{mark}": 1.50}}"#);
            let outcome = play(&rules, dialect, &body, &[Said::Text(&["ok"]), call(&[&arguments])]);
            let calls = read(dialect, &body, &outcome).calls;
            let read: Value = serde_json::from_str(&calls[0].arguments).unwrap();
            assert_eq!(read, json!({"to": format!("x {value} y"), mark.as_str(): 1.50}), "{dialect}");
        }
    }
}

#[test]
fn a_call_waits_only_where_something_can_be_restored_in_it() {
    let rules = json!([{"id": "email", "match": {"detect": ["email"]}, "reversible": true, "answer": ["text"]}]);
    // The pieces of a call, each in an event of its own: before its last there is one at the client where none waits.
    let pieces = [r#"{"path":"#, r#""a/b","#, r#""n":1}"#];
    let released = |text: &str| {
        let outcome = play(&rules, ChatCompletions, &asked(ChatCompletions, text), &[call(&pieces)]);
        let first = outcome.releases.iter().position(|release| String::from_utf8_lossy(&release.bytes).contains("path")).unwrap();
        let last =
            outcome.releases.iter().position(|release| String::from_utf8_lossy(&release.bytes).contains(r#"\"n\""#)).unwrap();
        (first, last)
    };
    let (first, last) = released("read a/b");
    assert!(first < last, "{first} {last}");
    let (first, last) = released("read a/b, and tell ann@corp.example");
    assert_eq!(first, last);
}
