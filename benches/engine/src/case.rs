//! The cases: a stream and a way to handle it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir::dialect::Dialect;

use crate::handler::Handler;
use crate::streams::Stream;

/// The dialects that streams are made of.
const DIALECTS: [Dialect; 4] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool];

/// Deltas of text in a long answer.
const LONG: usize = 2000;
/// Deltas of text before a tool call.
const BEFORE_TOOL_CALL: usize = 30;

/// Terms of which none is found, and the detectors of the preset for chats.
fn searching() -> Result<Value> {
    let preset: Value = serde_json::from_str(include_str!("../../../policies/presets/chat.json"))?;
    let mut rules = vec![
        json!({"id": "terms", "match": {"terms": (0..1000).map(|number| format!("project nightingale {number}")).collect::<Vec<_>>()}}),
    ];
    let of_preset = preset["chain"].as_array().into_iter().flatten().find(|policy| policy["use"] == "rules");
    let detectors = of_preset.and_then(|policy| policy["with"]["rules"].as_array());
    rules.extend(detectors.context("the preset for chats has no rules")?.iter().cloned());
    Ok(json!([{"use": "rules", "with": {"rules": rules}}]))
}

/// One line of the report.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The dialect and the work.
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    /// What is done with the stream.
    pub(crate) work: &'static str,
    pub(crate) handler: Handler,
    deltas: usize,
    ends_in_tool_call: bool,
    /// Whether every tool call has to be judged.
    judges: bool,
    /// The end of a text waits for the next event: the text is the same, and where it is cut is not.
    holds: bool,
}

impl Case {
    /// All cases, in the order of the report.
    pub(crate) fn all() -> Result<Vec<Self>> {
        // It looks at all text, and finds nothing.
        let rules: Vec<_> = (0..100).map(|number| json!({"find": format!("project nightingale {number}"), "with": ""})).collect();
        let transform = Handler::engine(&json!([{"use": "content_transform", "with": {"replace": rules}}]))?;
        let judge = Handler::engine(&json!([{"use": "tool_call_judge", "with": {"judge": "main", "threshold": 0.6}}]))?;
        let rules = Handler::engine(&searching()?)?;
        let of_dialect = |dialect| {
            [
                Self::text(dialect, "copy", Handler::Copy),
                Self::text(dialect, "JSON tree", Handler::JsonTree),
                Self::text(dialect, "content_transform", transform.clone()),
                Self { holds: true, ..Self::text(dialect, "rules", rules.clone()) },
                Self { judges: true, ..Self::text(dialect, "tool_call_judge, text", judge.clone()) },
                Self { judges: true, ..Self::tool_call(dialect, "tool_call_judge, tool call", judge.clone()) },
            ]
        };
        Ok(DIALECTS.into_iter().flat_map(of_dialect).collect())
    }

    fn text(dialect: Dialect, work: &'static str, handler: Handler) -> Self {
        let name = format!("{dialect}, {work}");
        Self { name, dialect, work, handler, deltas: LONG, ends_in_tool_call: false, judges: false, holds: false }
    }

    fn tool_call(dialect: Dialect, work: &'static str, handler: Handler) -> Self {
        Self { deltas: BEFORE_TOOL_CALL, ends_in_tool_call: true, ..Self::text(dialect, work, handler) }
    }

    /// The stream of the case, with `more` further deltas of text.
    pub(crate) fn stream(&self, more: usize) -> Stream {
        let deltas = self.deltas + more;
        if self.ends_in_tool_call { Stream::tool_call(self.dialect, deltas) } else { Stream::text(self.dialect, deltas) }
    }

    /// Refuses a case that does not do what its name says.
    pub(crate) fn verify(&self) -> Result<()> {
        let stream = self.stream(0);
        let judged = if self.judges { stream.tool_calls } else { 0 };
        self.handler.verify(&stream, judged, self.holds).with_context(|| self.name.clone())
    }
}
