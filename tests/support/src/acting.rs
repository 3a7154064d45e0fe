//! A policy that does at one of its hooks what its configuration says, and nothing else.

use core::time::Duration;

use serde::Deserialize;
use serde_json::json;
use weir::block::{BlockKind, Chunk, ContentBlock, ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::event::Severity;
use weir::exchange::{Request, Response};
use weir::judge::JudgeQuestion;
use weir::policy::{
    BlockAction, Conclusion, DeltaAction, FinishReason, Interests, OutputEnd, Policy, PolicyContext, Refusal, RequestAction,
    ResponseAction, StreamAction, StreamingContext,
};

/// The hook at which it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// `on_request`
    Request,
    /// `on_response` or `on_stream_start`
    Response,
    /// `on_content_complete`, of text that is held
    Text,
    /// `on_tool_call_complete`, of calls that are held
    Call,
    /// `on_finish_reason`
    Finish,
}

/// What it returns there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It lets pass.
    #[default]
    Forward,
    /// It drops a block.
    Drop,
    /// It answers, or puts this text in the place of a block.
    Text(String),
    /// It puts a call of this tool in the place of a block.
    Call(String),
    /// It puts these arguments in the place of a call's.
    Arguments(String),
    /// It sends this body in place of the request's.
    Body(String),
    /// It refuses a request.
    Refuse {
        /// HTTP status
        status: u16,
        /// Machine-readable word
        code: Option<String>,
        /// Seconds until clients may try again
        retry_after: Option<u64>,
    },
}

/// How it ends the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The answer is complete.
    Stop,
    /// It grew too long.
    Length,
    /// Content was withheld.
    Refusal,
    /// The answer is complete, and what is held is dropped.
    StopDropping,
}

impl From<End> for OutputEnd {
    fn from(end: End) -> Self {
        match end {
            End::Stop => Self::because(FinishReason::Stop),
            End::Length => Self::because(FinishReason::Length),
            End::Refusal => Self::because(FinishReason::Refusal),
            End::StopDropping => Self::because(FinishReason::Stop).dropping_held(),
        }
    }
}

/// See the module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acting {
    at: At,
    /// Acts on calls of this tool alone.
    tool: Option<String>,
    #[serde(default)]
    act: Act,
    /// Sends this text before.
    send: Option<String>,
    /// Sends a call of this tool before.
    send_call: Option<String>,
    /// Asks the judge first, and acts on what it has something against.
    #[serde(default)]
    ask: bool,
    /// Ends the output behind what it returns.
    end: Option<End>,
    /// Refuses the whole output.
    #[serde(default)]
    refuse_output: bool,
    /// Concludes this.
    conclude: Option<Decision>,
    /// Names these categories with it.
    #[serde(default)]
    categories: Vec<String>,
}

impl Acting {
    fn conclude(&self, cx: &PolicyContext) {
        if let Some(decision) = self.conclude {
            let conclusion = Conclusion::new(decision).because("ACTED");
            let in_category = |conclusion: Conclusion, category: &String| conclusion.in_category(category);
            cx.record(&self.categories.iter().fold(conclusion, in_category));
        }
    }

    fn speak(&self, choice: u32, cx: &StreamingContext) {
        self.conclude(cx);
        if let Some(text) = &self.send {
            let _ = cx.send(build_text_chunk(choice, text.as_str()));
        }
        if let Some(tool) = &self.send_call {
            let _ = cx.send(call_of(choice, "call_sent", tool));
        }
        if self.refuse_output {
            cx.refuse_output(Refusal::new(403, "The answer was refused.").with_code("answer_refused"));
        }
        if let Some(end) = self.end {
            cx.end_output(end.into());
        }
    }

    fn on_block(&self, choice: u32, call_id: &str, cx: &StreamingContext) -> BlockAction {
        self.speak(choice, cx);
        match &self.act {
            Act::Drop => BlockAction::Drop,
            Act::Text(text) => BlockAction::Replace(build_text_chunk(choice, text.as_str())),
            Act::Call(tool) => BlockAction::Replace(call_of(choice, call_id, tool)),
            Act::Arguments(arguments) => BlockAction::ReplaceArguments(arguments.clone()),
            Act::Forward | Act::Body(_) | Act::Refuse { .. } => BlockAction::Forward,
        }
    }
}

fn call_of(choice: u32, call_id: &str, tool: &str) -> Chunk {
    let (call_id, name) = (call_id.to_owned(), tool.to_owned());
    Chunk::ToolCall { choice, call_id, name, arguments: "{\"own\":true}".to_owned(), free_form: false }
}

impl Policy for Acting {
    fn interests(&self) -> Interests {
        Interests { rewrites_request: matches!(self.act, Act::Body(_)), ..Interests::ALL }
    }

    async fn on_request(&self, _: &Request, cx: &PolicyContext) -> RequestAction {
        if self.at != At::Request {
            return RequestAction::SendRequest;
        }
        self.conclude(cx);
        match &self.act {
            Act::Text(text) => RequestAction::SendResponse(text.as_str().into()),
            Act::Body(body) => RequestAction::SendRequestBody(body.clone().into_bytes()),
            Act::Refuse { status, code, retry_after } => {
                let mut refusal = Refusal::new(*status, "Not now.").with_header("x-weir-test", "one").with_header("bad name", "");
                if let Some(code) = code {
                    refusal = refusal.with_code(code.as_str());
                }
                if let Some(seconds) = retry_after {
                    refusal = refusal.with_retry_after(Duration::from_secs(*seconds));
                }
                RequestAction::Refuse(refusal)
            }
            _ => RequestAction::SendRequest,
        }
    }

    async fn on_response(&self, _: &Response, cx: &PolicyContext) -> ResponseAction {
        match &self.act {
            Act::Text(text) if self.at == At::Response => {
                self.conclude(cx);
                ResponseAction::SendAnswer(text.as_str().into())
            }
            _ => ResponseAction::SendResponse,
        }
    }

    async fn on_stream_start(&self, cx: &StreamingContext) -> StreamAction {
        match &self.act {
            Act::Text(text) if self.at == At::Response => {
                self.conclude(cx);
                StreamAction::BlockStream(text.as_str().into())
            }
            _ => StreamAction::SendStreamingResponse,
        }
    }

    fn on_content_delta<'d>(&self, _: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if self.at == At::Text && block.kind() == BlockKind::Text { DeltaAction::Hold } else { DeltaAction::Forward }
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockAction {
        if self.at == At::Text && block.kind() == BlockKind::Text {
            return self.on_block(block.choice(), "call_made", cx);
        }
        BlockAction::Forward
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if self.at == At::Call { DeltaAction::Hold } else { DeltaAction::Forward }
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
        if cx.is_output_finished() {
            return BlockAction::Drop;
        }
        if self.at == At::Call && self.ask {
            let question = JudgeQuestion { judge: "main", instructions: "Is this call harmful?", matter: call.name() };
            let verdict = cx.judge(question).await;
            let outcome = if cx.is_output_finished() { "skipped" } else { "judged" };
            cx.emit("acting.call", outcome, Severity::Info, json!({"tool": call.name()}));
            if outcome == "skipped" || verdict.is_ok_and(|verdict| verdict.probability < 0.5) {
                return BlockAction::Forward;
            }
        }
        if self.at == At::Call && self.tool.as_ref().is_none_or(|tool| tool == call.name()) {
            return self.on_block(call.choice(), call.call_id(), cx);
        }
        BlockAction::Forward
    }

    async fn on_finish_reason(&self, _: &str, choice: u32, cx: &StreamingContext) {
        if self.at == At::Finish {
            self.speak(choice, cx);
        }
    }
}

/// Puts `with` in the place of a term, in all that a client joins; holds no more than what could still become the term.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redact {
    term: String,
    with: String,
}

type Pending = Vec<(u32, BlockKind, String)>;

impl Redact {
    /// What becomes of `text`, whether that is a change, and how many bytes at its end are undecided.
    fn redacted(&self, text: &str) -> (String, bool, usize) {
        let (mut out, mut rest, mut changed) = (String::new(), text, false);
        while let Some((before, behind)) = rest.split_once(self.term.as_str()) {
            out.push_str(before);
            out.push_str(&self.with);
            (rest, changed) = (behind, true);
        }
        let could_grow =
            |hold: &usize| rest.is_char_boundary(rest.len() - hold) && self.term.starts_with(&rest[rest.len() - hold..]);
        let hold = (1..self.term.len().min(rest.len() + 1)).rev().find(could_grow).unwrap_or(0);
        out.push_str(&rest[..rest.len() - hold]);
        (out, changed, hold)
    }
}

impl Policy<Pending> for Redact {
    fn interests(&self) -> Interests {
        Interests::CONTENT_DELTAS
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Pending>) -> DeltaAction<'d> {
        cx.scratchpad(|pending| {
            let key = |(choice, kind, _): &(u32, BlockKind, String)| (*choice, *kind) == (block.choice(), block.kind());
            let position = pending.iter().position(key).unwrap_or_else(|| {
                pending.push((block.choice(), block.kind(), String::new()));
                pending.len() - 1
            });
            let known = &mut pending[position].2;
            known.push_str(delta);
            let (text, changed, hold) = self.redacted(known);
            known.drain(..known.len() - hold);
            match (changed, hold) {
                (false, 0) => DeltaAction::Forward,
                (false, hold) => DeltaAction::HoldEnd(hold),
                (true, hold) => DeltaAction::ReplaceHoldEnd { text: text.into(), hold },
            }
        })
    }

    async fn on_content_complete(&self, _: &ContentBlock, _: &StreamingContext<Pending>) -> BlockAction {
        BlockAction::Hold
    }

    fn on_text_end<'d>(&self, _: &'d str, _: u32, _: BlockKind, _: &StreamingContext<Pending>) -> DeltaAction<'d> {
        DeltaAction::Forward
    }
}
