//! Checks what a client received against the rules of its dialect, strictly and apart from the engine's code.
//!
//! All violations are reported, so that a stream which was illegal as the provider sent it can still be checked: what
//! comes out may break no rule that what went in kept ([`added`]).

mod chat;
mod mcp;
mod messages;
mod responses;

use core::fmt;

use weir::dialect::Dialect;

/// A rule of a dialect that a body breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in a few words; the same for all violations of it.
    pub rule: &'static str,
    /// Number of the event, from 0; the number of events when the end is what is wrong.
    pub event: usize,
    /// What stands there.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}: {}: {}", self.event, self.rule, self.found)
    }
}

/// Collects violations.
#[derive(Debug, Default)]
struct Report {
    violations: Vec<Violation>,
    event: usize,
}

impl Report {
    fn broken(&mut self, rule: &'static str, found: impl Into<String>) {
        self.violations.push(Violation { rule, event: self.event, found: found.into() });
    }

    fn require(&mut self, holds: bool, rule: &'static str, found: impl FnOnce() -> String) {
        if !holds {
            self.broken(rule, found());
        }
    }
}

/// Everything that is illegal about a streamed body.
pub fn stream(dialect: Dialect, body: &[u8]) -> Vec<Violation> {
    if let Err(error) = core::str::from_utf8(body) {
        return vec![Violation { rule: "a stream is UTF-8", event: 0, found: error.to_string() }];
    }
    match dialect {
        Dialect::ChatCompletions => chat::stream(body),
        Dialect::Messages => messages::stream(body),
        Dialect::Responses => responses::stream(body),
        Dialect::McpTool => mcp::stream(body),
        other => panic!("there is no checker for {other}"),
    }
}

/// Everything that is illegal about a whole JSON body.
pub fn whole(dialect: Dialect, body: &[u8]) -> Vec<Violation> {
    match dialect {
        Dialect::ChatCompletions => chat::whole(body),
        Dialect::Messages => messages::whole(body),
        Dialect::Responses => responses::whole(body),
        Dialect::McpTool => mcp::whole(body),
        other => panic!("there is no checker for {other}"),
    }
}

/// What `output` breaks of the rules that `input` kept.
pub fn added(input: &[Violation], output: Vec<Violation>) -> Vec<Violation> {
    output.into_iter().filter(|violation| input.iter().all(|known| known.rule != violation.rule)).collect()
}

/// Fails with all violations and the body they stand in.
pub fn assert_none(violations: &[Violation], body: &[u8]) {
    let list = violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("\n  ");
    assert!(violations.is_empty(), "illegal:\n  {list}\nin:\n{}", String::from_utf8_lossy(body));
}

/// Fails unless the streamed body is legal.
pub fn assert_stream(dialect: Dialect, body: &[u8]) {
    assert_none(&stream(dialect, body), body);
}

/// Fails unless the whole JSON body is legal.
pub fn assert_whole(dialect: Dialect, body: &[u8]) {
    assert_none(&whole(dialect, body), body);
}
