//! Policies: behaviour with configuration.
//!
//! A policy implements [`Policy`], overriding only the hooks that it needs; an empty implementation leaves every byte
//! alone. Policies hold configuration only and are shared by all exchanges; what belongs to one exchange lives in the
//! policy's scratchpad.
//!
//! Delta hooks are synchronous, borrow their delta and return its action. The other hooks are asynchronous, so that they
//! may wait for a judge; a hook may await nothing but what its context hands out.

mod action;
mod context;
mod erased;

use core::fmt::Debug;

pub use action::{BlockAction, DeltaAction, OfferAction, RequestAction, ResponseAction, StreamAction};
pub(crate) use context::{Outgoing, Shared};
pub use context::{OutputFinished, PolicyContext, StreamingContext};
pub use erased::SharedPolicy;
pub(crate) use erased::{Hook, HookOutput, Instance};

use crate::block::{ContentBlock, ToolCallBlock};
use crate::head::{Request, Response};

/// What a policy wants aggregated for it. What it leaves out costs neither time nor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interests {
    /// Call the content hooks.
    pub content: bool,
    /// Aggregate the text of content blocks ([`ContentBlock::text`]).
    pub content_text: bool,
    /// Call the tool call hooks.
    pub tool_calls: bool,
    /// Keep the request's body for all hooks, not for `on_request` alone.
    pub request_body: bool,
    /// The policy reads the texts of requests ([`Request::parts`]): those that cannot be read are refused beforehand.
    pub request_parts: bool,
    /// The policy may answer `on_request` with [`RequestAction::SendRequestBody`]: the proxy has to know before the body came.
    pub rewrites_request: bool,
}

impl Interests {
    /// Everything about the response.
    pub const ALL: Self = Self {
        content: true,
        content_text: true,
        tool_calls: true,
        request_body: false,
        request_parts: false,
        rewrites_request: false,
    };
    /// Tool calls alone.
    pub const TOOL_CALLS: Self = Self {
        content: false,
        content_text: false,
        tool_calls: true,
        request_body: false,
        request_parts: false,
        rewrites_request: false,
    };
    /// Content deltas, without aggregation.
    pub const CONTENT_DELTAS: Self = Self {
        content: true,
        content_text: false,
        tool_calls: false,
        request_body: false,
        request_parts: false,
        rewrites_request: false,
    };
}

/// Behaviour that acts on exchanges. `Scratchpad` is the policy's own state of one exchange.
///
/// Hooks of one exchange start in stream order, one at a time. A hook that waits for a judge does not keep the hooks of
/// the next block from starting. In a chain, a policy sees what the policies before it let through.
#[allow(async_fn_in_trait, reason = "a Wasm VM has one thread: the futures need not be Send")]
pub trait Policy<Scratchpad: Default + 'static = ()>: Debug + Send + Sync + 'static {
    /// What the policy wants to see.
    fn interests(&self) -> Interests {
        Interests::ALL
    }

    /// Its configuration, for events; secrets left out.
    fn describe(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// The request is complete and has not left for the provider.
    async fn on_request(&self, request: &Request, cx: &PolicyContext<Scratchpad>) -> RequestAction {
        let _ = (request, cx);
        RequestAction::SendRequest
    }

    /// A non-streamed response is complete and none of it has left. The hooks of its blocks follow.
    async fn on_response(&self, response: &Response, cx: &PolicyContext<Scratchpad>) -> ResponseAction {
        let _ = (response, cx);
        ResponseAction::SendResponse
    }

    /// A streamed response begins; nothing of it has left.
    async fn on_stream_start(&self, cx: &StreamingContext<Scratchpad>) -> StreamAction {
        let _ = cx;
        StreamAction::SendStreamingResponse
    }

    /// A fragment of a content block came. `block` includes it already.
    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Scratchpad>) -> DeltaAction<'d> {
        let _ = (delta, block, cx);
        DeltaAction::Forward
    }

    /// A content block ended. The action is that of what this policy still holds of the block; a replacement is
    /// appended where it holds nothing.
    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext<Scratchpad>) -> BlockAction {
        let _ = (block, cx);
        BlockAction::Forward
    }

    /// A fragment of a tool call came: of its arguments, or an empty one with its id or name. `block` includes it already.
    fn on_tool_call_delta<'d>(
        &self,
        delta: &'d str,
        block: &ToolCallBlock,
        cx: &StreamingContext<Scratchpad>,
    ) -> DeltaAction<'d> {
        let _ = (delta, block, cx);
        DeltaAction::Forward
    }

    /// A tool call ended. The action is that of what this policy holds of it: hold its deltas to decide here.
    async fn on_tool_call_complete(&self, block: &ToolCallBlock, cx: &StreamingContext<Scratchpad>) -> BlockAction {
        let _ = (block, cx);
        BlockAction::Forward
    }

    /// A server offers a tool to the client (an entry of MCP's `tools/list`). To remove it hides it; that nobody calls it
    /// is up to the hooks of tool calls.
    fn on_tool_offered(&self, name: &str, cx: &StreamingContext<Scratchpad>) -> OfferAction {
        let _ = (name, cx);
        OfferAction::Keep
    }

    /// The finish reason of a choice came, and all blocks of the choice are decided. `reason` is in the dialect's words,
    /// as the provider sent it; what the client gets is kept true by the encoder.
    async fn on_finish_reason(&self, reason: &str, choice: u32, cx: &StreamingContext<Scratchpad>) {
        let _ = (reason, choice, cx);
    }

    /// The exchange is over. Runs exactly once for every governed exchange, also when a peer broke off or the request
    /// never left. Nothing can be sent any more.
    fn on_stream_complete(&self, cx: &PolicyContext<Scratchpad>) {
        let _ = cx;
    }
}
