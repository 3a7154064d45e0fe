//! Small policies that tests put into chains. Each uses one part of the policies' face.

use core::time::Duration;

use crate::acting::{Acting, Redact};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use weir::block::{BlockKind, Chunk, ContentBlock, ToolCallBlock, build_text_chunk};
use weir::document::{self, DocumentError, PolicyConfig, Registry};
use weir::event::Severity;
use weir::exchange::{End, Request, Response};
use weir::judge::JudgeQuestion;
use weir::policy::{
    BlockAction, DeltaAction, Interests, OfferAction, Policy, PolicyContext, Refusal, RequestAction, ResponseAction,
    SharedPolicy, StreamAction, StreamingContext,
};
use weir::state::Scope;

/// All policies of this module under the names that documents use.
pub fn registry() -> Registry {
    Registry::default()
        .with("act", |config| Ok(SharedPolicy::new("Acting", read::<Acting>(config)?)))
        .with("answer", |config| Ok(SharedPolicy::new("Answer", read::<Answer>(config)?)))
        .with("ask_about_text", |config| Ok(SharedPolicy::new("AskAboutText", read::<AskAboutText>(config)?)))
        .with("ask_judge", |config| Ok(SharedPolicy::new("AskJudge", read::<AskJudge>(config)?)))
        .with("block_stream", |config| Ok(SharedPolicy::new("BlockStream", read::<BlockStream>(config)?)))
        .with("caller", |config| Ok(SharedPolicy::new("Caller", read::<Caller>(config)?)))
        .with("count_requests", |config| Ok(SharedPolicy::new("CountRequests", read::<CountRequests>(config)?)))
        .with("deny_tool", |config| Ok(SharedPolicy::new("DenyTool", read::<DenyTool>(config)?)))
        .with("drop_text", |config| Ok(SharedPolicy::new("DropText", read::<DropText>(config)?)))
        .with("finish_after", |config| Ok(SharedPolicy::new("FinishAfter", read::<FinishAfter>(config)?)))
        .with("finish_at_call", |config| Ok(SharedPolicy::new("FinishAtCall", read::<FinishAtCall>(config)?)))
        .with("hold_text", |config| Ok(SharedPolicy::new("HoldText", read::<HoldText>(config)?)))
        .with("may_rewrite", |config| Ok(SharedPolicy::new("MayRewrite", read::<MayRewrite>(config)?)))
        .with("no_op", |config| Ok(SharedPolicy::new("NoOp", read::<NoOp>(config)?)))
        .with("see_nothing", |config| Ok(SharedPolicy::new("SeeNothing", read::<SeeNothing>(config)?)))
        .with("see_requests", |config| Ok(SharedPolicy::new("SeeRequests", read::<SeeRequests>(config)?)))
        .with("redact", |config| Ok(SharedPolicy::new("Redact", read::<Redact>(config)?)))
        .with("uppercase", |config| Ok(SharedPolicy::new("Uppercase", read::<Uppercase>(config)?)))
        .with("watch", |config| Ok(SharedPolicy::new("Watch", read::<Watch>(config)?)))
}

fn read<P: DeserializeOwned>(config: PolicyConfig<'_>) -> Result<P, DocumentError> {
    document::parse(config.with)
}

/// Overrides nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOp {}

impl Policy for NoOp {}

/// Wants to see nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeeNothing {}

impl Policy for SeeNothing {
    fn interests(&self) -> Interests {
        Interests::NONE
    }

    async fn on_request(&self, _: &Request, cx: &PolicyContext) -> RequestAction {
        cx.emit("see_nothing.called", "a hook that nobody asked for", Severity::Error, json!({}));
        RequestAction::SendRequest
    }
}

/// Wants to see requests alone, and lets them pass.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeeRequests {}

impl Policy for SeeRequests {
    fn interests(&self) -> Interests {
        Interests::REQUESTS
    }
}

/// Says that it may rewrite requests, and does not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayRewrite {}

impl Policy for MayRewrite {
    fn interests(&self) -> Interests {
        Interests { rewrites_request: true, ..Interests::TOOL_CALLS }
    }
}

/// Holds every tool call and asks the judge called `main` about it.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskJudge {
    /// Probabilities from here on block.
    pub threshold: f64,
    /// Whether a call passes when there is no verdict.
    pub allow_on_error: bool,
    /// What the client reads in place of a blocked call; nothing when absent.
    pub message: Option<String>,
}

impl Default for AskJudge {
    fn default() -> Self {
        Self { threshold: 0.5, allow_on_error: false, message: Some("A tool call was blocked.".to_owned()) }
    }
}

impl AskJudge {
    fn block(&self, call: &ToolCallBlock, cx: &StreamingContext, why: &str) -> BlockAction {
        cx.emit(
            "ask.blocked",
            format!("{} was blocked", call.name()),
            Severity::Warning,
            json!({"tool": call.name(), "why": why}),
        );
        match &self.message {
            Some(message) => BlockAction::Replace(build_text_chunk(call.choice(), message.as_str())),
            None => BlockAction::Drop,
        }
    }
}

impl Policy for AskJudge {
    fn interests(&self) -> Interests {
        Interests::TOOL_CALLS
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
        if !call.is_complete() || !call.has_valid_arguments() {
            return self.block(call, cx, "unreadable");
        }
        let matter = format!("{}\n{}", call.name(), call.arguments());
        match cx.judge(JudgeQuestion { judge: "main", instructions: "Is this call harmful?", matter: &matter }).await {
            Ok(verdict) if verdict.probability < self.threshold => {
                cx.emit("ask.passed", format!("{} passed", call.name()), Severity::Info, json!({"tool": call.name()}));
                BlockAction::Forward
            }
            Ok(_) => self.block(call, cx, "verdict"),
            Err(error) if self.allow_on_error => {
                cx.emit("ask.failed", error.to_string(), Severity::Error, json!({"error": error.name()}));
                BlockAction::Forward
            }
            Err(error) => self.block(call, cx, error.name()),
        }
    }
}

/// Holds every text and asks the judge called `main` about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskAboutText {
    /// Whether what is harmful is dropped without a word.
    #[serde(default)]
    pub silently: bool,
}

impl Policy for AskAboutText {
    fn on_content_delta<'d>(&self, _: &'d str, _: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockAction {
        match cx.judge(JudgeQuestion { judge: "main", instructions: "Is this text harmful?", matter: block.text() }).await {
            Ok(verdict) if verdict.probability < 0.5 => BlockAction::Forward,
            _ if self.silently => BlockAction::Drop,
            _ => BlockAction::Replace(build_text_chunk(block.choice(), "Text was withheld.")),
        }
    }
}

/// Decides on tool calls by their name alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenyTool {
    /// The denied tool.
    pub name: String,
    /// What the client reads in its place; nothing when absent.
    pub message: Option<String>,
    /// Whether it is replaced by a call of the tool `noop`.
    #[serde(default)]
    pub with_call: bool,
}

impl Policy for DenyTool {
    fn interests(&self) -> Interests {
        Interests::TOOL_CALLS
    }

    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        // Every call, because in `messages` no text may follow a call that was let go.
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, _: &StreamingContext) -> BlockAction {
        if call.name() != self.name {
            return BlockAction::Forward;
        }
        if self.with_call {
            return BlockAction::Replace(Chunk::ToolCall {
                choice: call.choice(),
                call_id: call.call_id().to_owned(),
                name: "noop".to_owned(),
                arguments: "{\"why\":\"denied\"}".to_owned(),
                free_form: false,
            });
        }
        match &self.message {
            Some(message) => BlockAction::Replace(build_text_chunk(call.choice(), message.as_str())),
            None => BlockAction::Drop,
        }
    }

    fn on_tool_offered(&self, name: &str, _: &StreamingContext) -> OfferAction {
        if name == self.name { OfferAction::Remove } else { OfferAction::Keep }
    }
}

/// Drops all text for the user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropText {}

impl Policy for DropText {
    fn interests(&self) -> Interests {
        Interests::CONTENT_DELTAS
    }

    fn on_content_delta<'d>(&self, _: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if block.kind() == BlockKind::Text { DeltaAction::Drop } else { DeltaAction::Forward }
    }
}

/// Turns text for the user into capitals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uppercase {}

impl Policy for Uppercase {
    fn interests(&self) -> Interests {
        Interests::CONTENT_DELTAS
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if block.kind() == BlockKind::Text {
            DeltaAction::Replace(delta.to_ascii_uppercase().into())
        } else {
            DeltaAction::Forward
        }
    }
}

/// Holds text until its block is complete, and replaces it where `with` is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldText {
    /// The replacement.
    pub with: Option<String>,
}

impl Policy for HoldText {
    fn on_content_delta<'d>(&self, _: &'d str, block: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
        if block.kind() == BlockKind::Text { DeltaAction::Hold } else { DeltaAction::Forward }
    }

    async fn on_content_complete(&self, block: &ContentBlock, _: &StreamingContext) -> BlockAction {
        match &self.with {
            Some(with) if block.kind() == BlockKind::Text => {
                BlockAction::Replace(build_text_chunk(block.choice(), with.as_str()))
            }
            _ => BlockAction::Forward,
        }
    }
}

/// Answers in the provider's place once the response begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockStream {
    /// The answer.
    pub text: String,
}

impl Policy for BlockStream {
    async fn on_response(&self, _: &Response, _: &PolicyContext) -> ResponseAction {
        ResponseAction::SendAnswer(self.text.as_str().into())
    }

    async fn on_stream_start(&self, _: &StreamingContext) -> StreamAction {
        StreamAction::BlockStream(self.text.as_str().into())
    }
}

/// Finishes the output once this much text has come, and tries to send more after it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishAfter {
    /// Bytes of text.
    pub bytes: usize,
}

impl Policy<usize> for FinishAfter {
    fn on_content_delta<'d>(&self, delta: &'d str, _: &ContentBlock, cx: &StreamingContext<usize>) -> DeltaAction<'d> {
        let so_far = cx.scratchpad(|so_far| {
            *so_far += delta.len();
            *so_far
        });
        if so_far >= self.bytes && !cx.is_output_finished() {
            assert!(cx.send_text(" [the end]").is_ok(), "the output is open");
            cx.mark_output_finished();
            let late = cx.send_text("too late");
            cx.emit("finish.late_send", "sent after the end", Severity::Debug, json!({"refused": late.is_err()}));
            // The end is behind what the hook returns: this delta is not to leave any more.
            return DeltaAction::Drop;
        }
        DeltaAction::Forward
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext<usize>) -> BlockAction {
        cx.emit("finish.seen", "a call came", Severity::Debug, json!({"tool": call.name(), "finished": cx.is_output_finished()}));
        BlockAction::Forward
    }
}

/// Says something at the first tool call, and ends the output there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishAtCall {}

impl Policy for FinishAtCall {
    fn on_tool_call_delta<'d>(&self, _: &'d str, _: &ToolCallBlock, _: &StreamingContext) -> DeltaAction<'d> {
        DeltaAction::Hold
    }

    async fn on_tool_call_complete(&self, _: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
        if cx.send_text("That is all.").is_ok() {
            cx.mark_output_finished();
        }
        BlockAction::Drop
    }
}

/// Decides on the request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// Answer with this text.
    pub text: Option<String>,
    /// Refuse with this status.
    pub refuse: Option<u16>,
    /// Send this body in place of the request's.
    pub body: Option<String>,
    /// Ask the judge first, and refuse what it has against.
    pub ask: bool,
}

impl Policy for Answer {
    fn interests(&self) -> Interests {
        Interests { rewrites_request: self.body.is_some(), ..Interests::ALL }
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext) -> RequestAction {
        if self.ask {
            let matter = String::from_utf8_lossy(&request.body).into_owned();
            let verdict =
                cx.judge(JudgeQuestion { judge: "main", instructions: "Is this request harmful?", matter: &matter }).await;
            if !verdict.is_ok_and(|verdict| verdict.probability < 0.5) {
                return RequestAction::Refuse(Refusal::new(403, "The request was refused."));
            }
        }
        match (&self.text, self.refuse, &self.body) {
            (Some(text), _, _) => RequestAction::SendResponse(text.as_str().into()),
            (_, Some(status), _) => RequestAction::Refuse(Refusal::new(status, "The request was refused.")),
            (_, _, Some(body)) => RequestAction::SendRequestBody(body.clone().into_bytes()),
            _ => RequestAction::SendRequest,
        }
    }
}

/// Says what is known of the caller, and how the exchange ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {}

impl Policy for Caller {
    async fn on_request(&self, _: &Request, cx: &PolicyContext) -> RequestAction {
        let caller = cx.caller();
        let details = json!({"user": caller.policy_user, "credential": caller.credential.map(|hash| hash.to_string()),
            "peer": caller.peer, "address": caller.peer_address, "route": caller.route_name, "metadata": caller.route_metadata});
        cx.emit("caller.seen", "", Severity::Debug, details);
        RequestAction::SendRequest
    }

    fn on_stream_complete(&self, end: &End, cx: &PolicyContext) {
        let details = json!({"reason": end.reason.name(), "status": end.status, "streamed": end.is_streamed,
            "decision": end.decision.name(), "usage": end.usage, "ms": end.duration.as_millis()});
        cx.emit("caller.ended", "", Severity::Debug, details);
    }
}

/// Lets each user make so many requests a minute, and remembers what was asked for last.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountRequests {
    /// Who shares the count.
    pub scope: Scope,
    /// How many.
    pub most: u64,
}

impl Policy for CountRequests {
    async fn on_request(&self, request: &Request, cx: &PolicyContext) -> RequestAction {
        let user = request.policy_user.as_deref().unwrap_or("nobody");
        let state = cx.state(self.scope);
        // Both are asked at once, and the answers awaited in any order.
        let last = state.put(&format!("last model of {user}"), request.model.as_bytes(), Duration::from_secs(90));
        let counter = state.add_within(user, 1, self.most, Duration::from_secs(60)).await;
        let last = last.await.ok().flatten().map(|model| String::from_utf8_lossy(&model).into_owned());
        match counter {
            Ok(counter) => {
                let details = json!({"value": counter.value, "is_added": counter.is_added, "last_model": last});
                cx.emit("count.counted", "", Severity::Debug, details);
                if counter.is_added {
                    return RequestAction::SendRequest;
                }
                RequestAction::Refuse(Refusal::new(429, "Too many requests."))
            }
            Err(error) => {
                cx.emit("count.failed", error.to_string(), Severity::Error, json!({"error": error.name()}));
                RequestAction::Refuse(Refusal::new(503, error.to_string()))
            }
        }
    }

    fn on_stream_complete(&self, _: &End, cx: &PolicyContext) {
        // Nobody waits for it any more, and it is counted all the same.
        let _counted = cx.state(self.scope).add("exchanges that ended", 1, Duration::from_secs(3600));
    }
}

/// Changes nothing and records what its hooks see of whole things.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {}

impl Policy for Watch {
    async fn on_request(&self, request: &Request, cx: &PolicyContext) -> RequestAction {
        cx.emit(
            "watch.request",
            "",
            Severity::Debug,
            json!({"model": request.model, "stream": request.stream, "bytes": request.body.len()}),
        );
        RequestAction::SendRequest
    }

    async fn on_response(&self, response: &Response, cx: &PolicyContext) -> ResponseAction {
        cx.emit("watch.response", "", Severity::Debug, json!({"status": response.status}));
        ResponseAction::SendResponse
    }

    async fn on_stream_start(&self, cx: &StreamingContext) -> StreamAction {
        cx.emit("watch.stream_start", "", Severity::Debug, json!({}));
        StreamAction::SendStreamingResponse
    }

    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockAction {
        let details = json!({"block": block.id().0, "choice": block.choice(), "kind": format!("{:?}", block.kind()),
            "text": block.text(), "complete": block.is_complete()});
        cx.emit("watch.content", "", Severity::Debug, details);
        BlockAction::Forward
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext) -> BlockAction {
        let details = json!({"block": call.id().0, "choice": call.choice(), "id": call.call_id(), "name": call.name(),
            "arguments": call.arguments(), "server_side": call.is_server_side(), "free_form": call.is_free_form(),
            "complete": call.is_complete(), "valid": call.has_valid_arguments(), "ambiguity": call.ambiguity()});
        cx.emit("watch.tool_call", "", Severity::Debug, details);
        BlockAction::Forward
    }

    async fn on_finish_reason(&self, reason: &str, choice: u32, cx: &StreamingContext) {
        cx.emit("watch.finish", "", Severity::Debug, json!({"reason": reason, "choice": choice}));
    }

    fn on_stream_complete(&self, _: &End, cx: &PolicyContext) {
        cx.emit("watch.complete", "", Severity::Debug, json!({}));
    }
}
