//! A policy that does at one of its hooks what its configuration says, and nothing else.

use core::time::Duration;

use serde::Deserialize;
use weir::block::{BlockKind, Chunk, ContentBlock, ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::exchange::{Request, Response};
use weir::policy::{
    BlockAction, Conclusion, DeltaAction, Interests, Policy, PolicyContext, Refusal, RequestAction, ResponseAction, StreamAction,
    StreamingContext,
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
    }

    fn on_block(&self, choice: u32, call_id: &str, cx: &StreamingContext) -> BlockAction {
        self.speak(choice, cx);
        match &self.act {
            Act::Drop => BlockAction::Drop,
            Act::Text(text) => BlockAction::Replace(build_text_chunk(choice, text.as_str())),
            Act::Call(tool) => BlockAction::Replace(call_of(choice, call_id, tool)),
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
