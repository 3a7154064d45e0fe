//! The documents in the README are read as they stand there.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use weir::document::Document;

const README: &str = include_str!("../README.md");

#[test]
fn the_documents_in_the_readme_are_read() {
    let documents: Vec<&str> =
        README.split("```json\n").skip(1).map(|rest| rest.split("```").next().expect("split gives at least one piece")).collect();
    assert_eq!(documents.len(), 9);
    for document in documents {
        let environment = |name: &str| match name {
            "JUDGE_KEY" => Some("secret".to_owned()),
            "PLACEHOLDER_KEY" => Some("a secret of thirty-two bytes, or more".to_owned()),
            _ => None,
        };
        let read = Document::parse(document, &weir_policies::registry(), &environment);
        assert!(read.is_ok(), "{document}: {}", read.unwrap_err());
    }
}

#[test]
fn the_documents_of_the_other_page_are_read_too() {
    let documents: Vec<&str> =
        include_str!("../controls.md").split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(documents.len(), 2);
    for document in documents {
        let read = Document::parse(document, &weir_policies::registry(), &|_| None);
        assert!(read.is_ok(), "{document}: {}", read.unwrap_err());
    }
}

#[test]
fn the_error_in_the_readme_is_the_one_that_is_given() {
    let document = r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"judge","model":"m"}},
        "chain":[{"use":"tool_call_judge","with":{"judge":"main","block_message":"Blocked: {reason}"}}]}"#;
    let error = Document::parse(document, &weir_policies::registry(), &|_| None).unwrap_err().to_string();
    assert!(README.contains(&format!("```text\n{error}\n```")), "{error}");
}

#[test]
fn the_presets_are_read() {
    for preset in [include_str!("../presets/chat.json"), include_str!("../presets/coding-agent.json")] {
        let read = Document::parse(preset, &weir_policies::registry(), &|_| None);
        assert!(read.is_ok(), "{preset}: {}", read.unwrap_err());
    }
}
