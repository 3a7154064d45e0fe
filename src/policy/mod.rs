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
mod outcome;
mod output;
mod part;

use core::fmt::Debug;

pub use action::{
    BlockAction, DeltaAction, OfferAction, RawAction, RawChunkAction, Refusal, RequestAction, ResponseAction, StreamAction,
};
pub(crate) use context::Shared;
pub use context::{OutputFinished, PolicyContext, StreamingContext};
pub use erased::SharedPolicy;
pub(crate) use erased::{Hook, HookOutput, Instance};
pub use outcome::Conclusion;
pub(crate) use output::{At, Outgoing, Output, Place, build_refusal_chunk};
pub use output::{FinishReason, OutputEnd, Turn};
pub(crate) use part::Part;

use crate::block::{BlockKind, ContentBlock, ToolCallBlock};
use crate::end::End;
use crate::head::{Request, Response};

/// What a policy wants to see. What it leaves out costs neither time nor memory; what no policy of a chain wants is not read, and so
/// can be neither refused nor changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interests {
    /// Call [`Policy::on_request`].
    pub request: bool,
    /// Call [`Policy::on_response`], [`Policy::on_stream_start`] and [`Policy::on_finish_reason`].
    pub response: bool,
    /// Call the content hooks.
    pub content: bool,
    /// Call the content hooks for reasoning, too. Where reasoning may be signed, it then waits until that is known.
    pub reasoning: bool,
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
    /// Call [`Policy::on_raw_request`], [`Policy::on_raw_response`] and [`Policy::on_raw_chunk`]. Request and response are read for
    /// it, as for the policies before it.
    pub raw: bool,
}

impl Interests {
    /// Nothing: only [`Policy::on_stream_complete`] is called.
    pub const NONE: Self = Self {
        request: false,
        response: false,
        content: false,
        reasoning: false,
        content_text: false,
        tool_calls: false,
        request_body: false,
        request_parts: false,
        rewrites_request: false,
        raw: false,
    };
    /// Bodies as bytes.
    pub const RAW: Self = Self { raw: true, ..Self::NONE };
    /// The request alone.
    pub const REQUESTS: Self = Self { request: true, ..Self::NONE };
    /// Everything about the response, and the request.
    pub const ALL: Self = Self {
        request: true,
        response: true,
        content: true,
        reasoning: true,
        content_text: true,
        tool_calls: true,
        ..Self::NONE
    };
    /// Tool calls, with the hooks of whole requests and responses.
    pub const TOOL_CALLS: Self = Self { request: true, response: true, tool_calls: true, ..Self::NONE };
    /// Content deltas without aggregation, with the hooks of whole requests and responses.
    pub const CONTENT_DELTAS: Self = Self { request: true, response: true, content: true, reasoning: true, ..Self::NONE };

    /// Joins the interests of these policies.
    pub(crate) fn of(policies: &[SharedPolicy]) -> Self {
        policies.iter().fold(Self::NONE, |joined, policy| joined.and(policy.interests()))
    }

    /// Joins the interests of two policies.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            request: self.request || other.request,
            response: self.response || other.response,
            content: self.content || other.content,
            reasoning: self.reasoning || other.reasoning,
            content_text: self.content_text || other.content_text,
            tool_calls: self.tool_calls || other.tool_calls,
            request_body: self.request_body || other.request_body,
            request_parts: self.request_parts || other.request_parts,
            rewrites_request: self.rewrites_request || other.rewrites_request,
            raw: self.raw || other.raw,
        }
    }

    /// Whether responses have to be read for it.
    pub const fn reads_response(self) -> bool {
        self.response || self.content || self.tool_calls || self.raw
    }

    /// Whether requests have to be read for it: a response cannot be told without what was asked for.
    pub const fn reads_request(self) -> bool {
        self.request || self.request_body || self.request_parts || self.rewrites_request || self.reads_response()
    }
}

/// The most that a policy holds of an answer, for those who choose policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing waits.
    Nothing,
    /// So many bytes of a text at the most.
    Bytes(usize),
    /// Tool calls wait until they are decided; texts do not.
    Calls,
    /// Texts wait until they are decided.
    Texts,
    /// The policy does not say it.
    Unknown,
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

    /// The most that it holds of an answer.
    fn greatest_hold(&self) -> Hold {
        Hold::Unknown
    }

    /// Takes out of a text that events are to show what the policy keeps from readers; `None` where there is nothing. The
    /// text may be cut off at its end.
    fn redact(&self, text: &str) -> Option<String> {
        let _ = text;
        None
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

    /// No more text of this kind comes in the choice, and some of it is held beyond the ends of its blocks
    /// ([`BlockAction::Hold`]), or of a block that is cut off by an end that a policy puts. What is not let go here is dropped.
    fn on_text_end<'d>(&self, held: &'d str, choice: u32, kind: BlockKind, cx: &StreamingContext<Scratchpad>) -> DeltaAction<'d> {
        let _ = (held, choice, kind, cx);
        DeltaAction::Drop
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

    /// The body of a request came, as bytes and not encoded, before any other hook of the chain: the engine and all other policies
    /// read what is made of it. [`PolicyContext::request`] has the head alone.
    fn on_raw_request(&self, body: &[u8], cx: &PolicyContext<Scratchpad>) -> RawAction {
        let _ = (body, cx);
        RawAction::Keep
    }

    /// A whole answer of the provider is to leave, as all other policies let it go. What is made of it leaves as it is: the engine
    /// reads none of it any more, and promises nothing of it. Errors of the provider, refusals, and answers that policies give in its
    /// place do not come here.
    fn on_raw_response(&self, body: &[u8], cx: &PolicyContext<Scratchpad>) -> RawAction {
        let _ = (body, cx);
        RawAction::Keep
    }

    /// As [`Self::on_raw_response`], of bytes of a stream, which begin and end anywhere; once with `is_last`, perhaps without bytes.
    /// An answer whose stream breaks off has no last bytes.
    fn on_raw_chunk(&self, chunk: &[u8], is_last: bool, cx: &PolicyContext<Scratchpad>) -> RawChunkAction {
        let _ = (chunk, is_last, cx);
        RawChunkAction::Keep
    }

    /// The exchange is over. Runs exactly once for every governed exchange, also when a peer broke off or the request
    /// never left. Nothing can be sent any more.
    fn on_stream_complete(&self, end: &End, cx: &PolicyContext<Scratchpad>) {
        let _ = (end, cx);
    }
}
