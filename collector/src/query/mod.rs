//! The language in which people ask for events: on the page, in the API, in `weir tail` and `weir export`.
//!
//! ```text
//! judge.blocked                    a word: some value contains it, in any case
//! "two words"                      the same with blanks
//! kind:policy_action type:judge.*  a field has a value; * stands for anything; both must hold
//! -tool:get_weather                not
//! judge_ms:>200                    a number is larger (>, >=, <, <=)
//! user:ann OR user:bob             one of them; parentheses group
//! metadata.allowlist_hits:git      any member of the metadata
//! tool:*                           there is such a field
//! ```

mod parse;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use memchr::memmem;
use serde_json::Value;

use crate::store::Stored;

/// The names that a query may use for what lies in an event, and where it lies.
pub const FIELDS: [(&str, &[&str]); 22] = [
    ("call", &["call_id"]),
    ("class", &["policy_class"]),
    ("config", &["policy_config"]),
    ("decision", &["metadata.effective_decision", "metadata.decision"]),
    ("ended", &["metadata.ended"]),
    ("id", &["id"]),
    ("judge_ms", &["metadata.judge_latency_ms", "metadata.latency_ms"]),
    ("kind", &["kind"]),
    ("mode", &["metadata.rollout_mode"]),
    ("model", &["metadata.model"]),
    ("ms", &["metadata.duration_ms"]),
    ("policy", &["policy_class", "metadata.policy_name", "metadata.policy_id"]),
    ("revision", &["metadata.policy_revision"]),
    ("rule", &["metadata.reason_code", "metadata.rule"]),
    ("severity", &["severity"]),
    ("status", &["metadata.status"]),
    ("summary", &["summary"]),
    ("target", &["policy_target"]),
    ("tool", &["metadata.tool", "metadata.tool_name", "metadata.name"]),
    ("trace", &["trace_id"]),
    ("type", &["event_type"]),
    ("user", &["metadata.policy_user", "metadata.user"]),
];

/// A question that events answer with yes or no.
#[derive(Clone, Debug, Default)]
pub struct Query {
    root: Option<Node>,
    /// Texts that every event that matches contains as they are, unless it has escapes.
    needles: Vec<memmem::Finder<'static>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Word(String),
    Field(Field, Test),
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    /// Paths into the event.
    Event(Vec<String>),
    Sender,
    Sequence,
    Conflict,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// Parts between the stars.
    Like(Vec<String>),
    Number(Comparison, f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// A text that is no query, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidQuery(String);

impl fmt::Display for InvalidQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidQuery {}

impl FromStr for Query {
    type Err = InvalidQuery;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let root = parse::parse(text)?;
        let mut needles = Vec::new();
        if let Some(root) = &root {
            collect_needles(root, &mut needles);
        }
        Ok(Self { root, needles })
    }
}

/// Collects what a matching event must contain literally: equalities that no OR and no negation softens.
fn collect_needles(node: &Node, needles: &mut Vec<memmem::Finder<'static>>) {
    match node {
        Node::All(nodes) => nodes.iter().for_each(|node| collect_needles(node, needles)),
        Node::Field(Field::Event(_), Test::Like(parts)) => {
            let longest = parts.iter().max_by_key(|part| part.len());
            // What JSON writes with an escape cannot be looked for as it is.
            let plain = |part: &&String| {
                !part.is_empty() && part.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'/' && byte < 0x7f)
            };
            needles.extend(longest.filter(plain).map(|part| memmem::Finder::new(part).into_owned()));
        }
        _ => {}
    }
}

impl Query {
    /// Whether every event matches.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether an event matches.
    pub fn matches(&self, stored: &Stored<'_>) -> bool {
        let Some(root) = &self.root else { return true };
        let raw = stored.event.as_bytes();
        let has_escapes = || memchr::memchr(b'\\', raw).is_some();
        if self.needles.iter().any(|needle| needle.find(raw).is_none()) && !has_escapes() {
            return false;
        }
        let event: Value = serde_json::from_str(stored.event).unwrap_or_default();
        root.matches(stored, &event)
    }
}

impl Node {
    fn matches(&self, stored: &Stored<'_>, event: &Value) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(stored, event)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(stored, event)),
            Self::Not(node) => !node.matches(stored, event),
            Self::Word(word) => stored.entry().sender.contains(word.as_str()) || contains(event, word),
            Self::Field(Field::Sender, test) => test.text(&stored.entry().sender),
            Self::Field(Field::Sequence, test) => test.value(&Value::from(stored.sequence)),
            Self::Field(Field::Conflict, test) => test.value(&Value::from(stored.entry().conflict)),
            Self::Field(Field::Event(paths), test) => {
                paths.iter().filter_map(|path| lookup(event, path)).any(|value| test.value(value))
            }
        }
    }
}

impl Test {
    fn value(&self, value: &Value) -> bool {
        match value {
            Value::Array(values) => values.iter().any(|value| self.value(value)),
            Value::Null => false,
            Value::String(text) => self.text(text),
            other => self.text(&other.to_string()),
        }
    }

    fn text(&self, text: &str) -> bool {
        match self {
            Self::Like(parts) => like(parts, text),
            Self::Number(comparison, bound) => text.parse::<f64>().is_ok_and(|number| match comparison {
                Comparison::Above => number > *bound,
                Comparison::AtLeast => number >= *bound,
                Comparison::Below => number < *bound,
                Comparison::AtMost => number <= *bound,
            }),
        }
    }
}

/// Whether `text` consists of `parts` with anything between them.
fn like(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part.as_str()) else { return false };
        rest = behind;
    }
    rest.ends_with(last.as_str())
}

/// Looks up a member by its path; a member whose own name has dots is found too.
fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let (name, rest) = (path.get(..at)?, path.get(at.saturating_add(1)..)?);
        lookup(value.get(name)?, rest)
    })
}

/// Whether some value, not a name, contains a word in any case. Events nest at most 64 levels.
fn contains(value: &Value, word: &str) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| contains(value, word)),
        Value::Object(members) => members.values().any(|value| contains(value, word)),
        Value::String(text) => lowercase(text).contains(word),
        Value::Null => false,
        other => other.to_string().contains(word),
    }
}

fn lowercase(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests;
