//! The checkers are checked: real streams are legal, and each rule finds what breaks it.

use weir::dialect::Dialect;
use weir_test_support::{corpus, fixtures, legality};

const DIALECTS: [Dialect; 2] = [Dialect::ChatCompletions, Dialect::Messages];

/// Fixtures that are meant to break rules, as providers do, with the rules.
const ILLEGAL_FIXTURES: [(&str, &[&str]); 2] = [
    ("calls_without_index", &["a tool call delta has an index", "finish_reason tool_calls says that there is a call", "the message is not empty"]),
    ("late_id_and_name", &["the first delta of a tool call has its id and name"]),
];

#[test]
fn fixtures_are_legal() {
    for dialect in DIALECTS {
        for fixture in fixtures::streams(dialect) {
            let mut rules = legality::stream(dialect, fixture.body).into_iter().map(|violation| violation.rule).collect::<Vec<_>>();
            rules.dedup();
            let expected = ILLEGAL_FIXTURES.iter().find(|(name, _)| *name == fixture.name).map_or(&[][..], |(_, rules)| rules);
            assert_eq!(rules, expected, "{}", fixture.name);
        }
        for fixture in fixtures::wholes(dialect) {
            legality::assert_whole(dialect, fixture.body);
        }
    }
}

/// Recordings that put several answers into one file.
const SPLICED: [&str; 5] = [
    "anthropic--anthropic-programmatic-tool-calling.1.sse",
    "anthropic--anthropic-tool-search-deferred-bm25.sse",
    "anthropic--anthropic-tool-search-regex.1.sse",
    "anthropic--duplicate-message-start.sse",
    "anthropic--spliced-message-start.sse",
];

#[test]
fn recorded_streams_are_legal() {
    for dialect in DIALECTS {
        for recorded in corpus::streams(dialect) {
            let violations = legality::stream(dialect, &recorded.body);
            let spliced = SPLICED.contains(&recorded.name.as_str());
            assert_eq!(violations.is_empty(), !spliced, "{}: {violations:#?}", recorded.name);
        }
    }
}
