//! Small inputs after public reports, and attacks with which real clients acted on what no policy had seen. They are no
//! part of the project: where the environment variable `WEIR_CASES` names no place for them, a line says so.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::native::{self, Outcome};
use weir_test_support::readers::READERS;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, script};

/// What has to come of a case.
#[derive(Clone, Copy, Debug)]
enum Expectation {
    /// The client gets what the provider sent, byte for byte, with its status.
    Same,
    /// The client gets this text, and not what the policy is against.
    Has(&'static str),
    /// The client gets nothing that the policy is against.
    Withheld,
    /// The pieces of input that leave in order are these arguments, which the judge was shown; or none leave.
    Input(&'static str),
}

use Expectation::{Has, Input, Same, Withheld};

/// What no policy of a case lets pass.
const DENIED: [&str; 3] = ["nightingale", "QJXZ", "rm -rf /"];

/// Every case that is known by its name; the dialect of an attack is chat.completions unless it says another.
const CASES: &[(&str, Expectation)] = &[
    // Answers of MCP servers.
    ("F01a.json", Same),
    ("F01c.txt", Same),
    ("F02.sse", Same),
    ("F03.json", Has(r#""result":{}"#)),
    ("F08c.sse", Has("[x]")),
    // Odd streams of responses.
    ("F06a.sse", Same),
    ("F06b.sse", Same),
    ("F06c.sse", Same),
    ("attack/B4_responses_mcp_delta_of_function_call.http", Withheld),
    ("attack/N14_text_deltas_of_item_of_unknown_type.http", Has("[x]")),
    // Streams of messages.
    ("F05a.sse", Same),
    ("F05c.sse", Same),
    ("F05d.sse", Same),
    ("F09e.sse", Has("[x]")),
    ("attack/B6_messages_interleaved_blocks.http", Input(r#"{"cmd":"echo 'do not rm -rf /' >> README"}"#)),
    ("attack/C2_messages_unknown_delta_with_partial_json.http", Withheld),
    ("attack/C6_citations_delta_text.http", Withheld),
    ("attack/D3_same_block_index_twice.http", Withheld),
    ("attack/N07a_partial_json_missing.http", Input(r#"{"cmd":""}"#)),
    // chat.completions: what no policy looks at passes, however odd.
    ("F04a.sse", Same),
    ("F04b.sse", Same),
    ("F04d.sse", Same),
    ("F04f.sse", Same),
    ("F08a.sse", Withheld),
    ("F09a.sse", Has("[x]")),
    ("F09c.sse", Has("[x]")),
    ("attack/A1_json_line.http", Withheld),
    ("attack/A2_leading_space_data.http", Withheld),
    ("attack/B7_text_ghost.http", Withheld),
    ("attack/C1_chunk_wrapper.http", Withheld),
    ("attack/C3_other_case_choices.http", Withheld),
    ("attack/N06a_unicode_fold_choices.http", Withheld),
    ("attack/N18a_BOM_before_data_chat.http", Withheld),
    ("attack/D1_split_at_finish_reason.http", Withheld),
    // Heads.
    ("F07b.sse", Same),
    ("attack/A5_no_content_type.http", Withheld),
    ("attack/E2_status_600.http", Withheld),
];

/// A provider's answer, and what it is the answer to.
struct Case {
    dialect: Dialect,
    policies: Vec<&'static str>,
    request: Value,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("WEIR_CASES").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        eprintln!("skipped: no cases (WEIR_CASES names their place; `make test` sets it)");
    }
    folder
}

fn policy(name: &str) -> &'static str {
    ["no_op", "content_only", "content_transform", "tool_call_judge"].into_iter().find(|known| *known == name).unwrap()
}

fn read(name: &str) -> Option<Case> {
    let folder = folder()?;
    let Ok(body) = fs::read(folder.join(name)) else {
        eprintln!("skipped: there is no {name}");
        return None;
    };
    if name.starts_with("attack/") {
        return Some(attack(name, &body));
    }
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let entry = index.as_array().unwrap().iter().find(|entry| entry["file"] == name).expect("the index has each case");
    let head = entry["head"].as_object().unwrap();
    Some(Case {
        dialect: match entry["dialect"].as_str().unwrap() {
            "mcp" => Dialect::McpTool,
            "messages" => Dialect::Messages,
            "responses" => Dialect::Responses,
            _ => Dialect::ChatCompletions,
        },
        policies: vec![policy(entry["policy"].as_str().unwrap())],
        request: serde_json::from_str(entry["request"].as_str().unwrap()).unwrap(),
        status: u16::try_from(entry["status"].as_u64().unwrap()).unwrap(),
        headers: head.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        body,
    })
}

/// An answer as it goes over the wire, which no policy may let pass that looks at what it carries.
fn attack(name: &str, http: &[u8]) -> Case {
    let find = |line_ends: &[u8]| {
        let at = http.windows(line_ends.len()).position(|bytes| bytes == line_ends);
        at.map(|at| (at, at + line_ends.len()))
    };
    let end = [find(b"\n\n"), find(b"\r\n\r\n")].into_iter().flatten().min().unwrap();
    let head = String::from_utf8(http[..end.0].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let case = name.rsplit('/').next().unwrap();
    let dialect = match case.split('_').next().unwrap() {
        "B4" | "N14" => Dialect::Responses,
        "B6" | "C2" | "C6" | "D3" | "N07a" => Dialect::Messages,
        _ => Dialect::ChatCompletions,
    };
    let body = http[end.1..].to_vec();
    let bears = |word: &str| String::from_utf8_lossy(&body).contains(word);
    let policies =
        if bears("nightingale") || bears("QJ") { vec!["content_transform"] } else { vec!["tool_call_judge", "content_only"] };
    Case { dialect, policies, request: script::request_body(dialect, true), status, headers: headers.collect(), body }
}

fn chain(policy: &str) -> Value {
    match policy {
        "content_transform" => {
            let rules = json!([{"find": "nightingale", "with": "[x]"}, {"find": "QJXZ", "with": "[x]"}]);
            json!([{"use": policy, "with": {"replace": rules, "scope": ["text", "refusal", "reasoning"]}}])
        }
        "tool_call_judge" => {
            json!([{"use": policy, "with": {"judge": "main", "allow": ["get_weather"], "deny": ["deny_me"]}}])
        }
        _ => json!([{"use": policy}]),
    }
}

fn play(case: &Case, policy: &str, chunks: Vec<Vec<u8>>) -> Outcome {
    let request = case.request.to_string().into_bytes();
    let headers: Vec<_> = case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let script = Script::request_to(script::path(case.dialect), document(chain(policy)), vec![request])
        .respond_with(case.status, &headers, chunks)
        // The question has the arguments as a JSON string.
        .judged(JudgeRule::new(r#"\"cmd\":\"rm -rf /\""#, JudgeReply::Verdict(1.0)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
    native::play(&script, &weir_policies::registry())
}

/// The pieces of input in a stream of messages, joined.
fn input(stream: &str) -> String {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
    events.map(|event| event["delta"]["partial_json"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn each_case_comes_to_what_it_has_to() {
    for (name, expectation) in CASES {
        let Some(case) = read(name) else { continue };
        for policy in &case.policies {
            for chunks in [vec![case.body.clone()], chunking::bytes(&case.body)] {
                let outcome = play(&case, policy, chunks);
                let text = outcome.text();
                let has_denied = DENIED.iter().any(|denied| text.contains(denied));
                let named = format!("{name} with {policy}: {} {text}", outcome.status);
                match expectation {
                    Same => assert_eq!((outcome.status, &outcome.client), (case.status, &case.body), "{named}"),
                    Has(expected) => assert!(text.contains(expected) && !has_denied, "{named}"),
                    Withheld => assert!(!has_denied, "{named}"),
                    Input(arguments) => assert!(["", *arguments].contains(&input(&text).as_str()), "{named}"),
                }
            }
        }
    }
}

/// Attacks with fragments that some clients count and others do not.
const GHOSTS: [&str; 9] = [
    "attack/A1_json_line.http",
    "attack/A2_leading_space_data.http",
    "attack/A6_lone_CR_ghost.http",
    "attack/B1_two_entries_of_one_choice.http",
    "attack/B3_field_of_wrong_type.http",
    "attack/B7_text_ghost.http",
    "attack/C1_chunk_wrapper.http",
    "attack/N01a_choice_index_null.http",
    "attack/N18a_BOM_before_data_chat.http",
];

#[test]
fn all_clients_of_chat_completions_read_the_same_calls_and_text_in_what_leaves() {
    for name in GHOSTS {
        let Some(case) = read(name) else { continue };
        for policy in ["tool_call_judge", "content_transform"] {
            assert_all_read_the_same(name, &case, policy);
        }
    }
    // Where nobody looks at calls, they leave as they came.
    let name = "attack/N02_tool_call_index_missing.http";
    if let Some(case) = read(name) {
        assert_all_read_the_same(name, &case, "tool_call_judge");
    }
}

fn assert_all_read_the_same(name: &str, case: &Case, policy: &str) {
    let outcome = play(case, policy, vec![case.body.clone()]);
    let read = READERS.map(|reader| (reader.name, reader.read(&outcome.client)));
    for (reader, reading) in &read {
        assert_eq!(reading, &read[0].1, "{name}, {policy}: {reader} reads {}", outcome.text());
    }
    let mut calls = read[0].1.calls.values();
    assert!(!calls.any(|(_, arguments)| arguments.contains(r#""cmd":"rm"#)), "{name}, {policy}: {}", outcome.text());
}

#[test]
fn harm_in_the_middle_of_long_arguments_is_shown_to_the_judge() {
    let name = "attack/E1_harm_in_the_middle.http";
    let Some(case) = read(name) else { return };
    let request = case.request.to_string().into_bytes();
    let headers: Vec<_> = case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let script = Script::request_to(script::path(case.dialect), document(chain("tool_call_judge")), vec![request])
        .respond_with(case.status, &headers, vec![case.body.clone()])
        .judged(JudgeRule::new("rm -rf /", JudgeReply::Verdict(1.0)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
    let outcome = native::play(&script, &weir_policies::registry());
    assert!(!outcome.text().contains("rm -rf /"), "{}", outcome.text());
}
