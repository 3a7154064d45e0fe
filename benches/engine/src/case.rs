//! The cases: a stream and a way to handle it.

use anyhow::{Context, Result};
use serde_json::json;
use weir::dialect::Dialect;

use crate::handler::Handler;
use crate::streams::Stream;

/// Deltas of text in a long answer.
const LONG: usize = 2000;
/// Deltas of text before a tool call.
const BEFORE_TOOL_CALL: usize = 30;

/// One line of the report.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) handler: Handler,
    dialect: Dialect,
    deltas: usize,
    ends_in_tool_call: bool,
    judged: usize,
}

impl Case {
    /// All cases, in the order of the report.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let no_op = Handler::engine(&json!([{"use": "no_op"}]))?;
        let judge = Handler::engine(&json!([{"use": "tool_call_judge", "with": {"judge": "main", "threshold": 0.6}}]))?;
        let (chat, messages) = (Dialect::ChatCompletions, Dialect::Messages);
        Ok(vec![
            Self::text("chat.completions, copy", Handler::Copy, chat),
            Self::text("chat.completions, JSON tree", Handler::JsonTree, chat),
            Self::text("chat.completions, no_op", no_op.clone(), chat),
            Self::text("chat.completions, tool_call_judge, text", judge.clone(), chat),
            Self::tool_call("chat.completions, tool_call_judge, tool call", judge.clone(), chat),
            Self::text("messages, copy", Handler::Copy, messages),
            Self::text("messages, JSON tree", Handler::JsonTree, messages),
            Self::text("messages, no_op", no_op, messages),
            Self::text("messages, tool_call_judge, text", judge.clone(), messages),
            Self::tool_call("messages, tool_call_judge, tool call", judge, messages),
        ])
    }

    const fn text(name: &'static str, handler: Handler, dialect: Dialect) -> Self {
        Self { name, handler, dialect, deltas: LONG, ends_in_tool_call: false, judged: 0 }
    }

    const fn tool_call(name: &'static str, handler: Handler, dialect: Dialect) -> Self {
        Self { name, handler, dialect, deltas: BEFORE_TOOL_CALL, ends_in_tool_call: true, judged: 1 }
    }

    /// The stream of the case, with `more` further deltas of text.
    pub(crate) fn stream(&self, more: usize) -> Stream {
        let deltas = self.deltas + more;
        if self.ends_in_tool_call { Stream::tool_call(self.dialect, deltas) } else { Stream::text(self.dialect, deltas) }
    }

    /// Refuses a case that does not do what its name says.
    pub(crate) fn verify(&self) -> Result<()> {
        self.handler.verify(&self.stream(0), self.judged).with_context(|| self.name)
    }
}
