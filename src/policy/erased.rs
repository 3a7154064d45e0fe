//! Policies behind trait objects: authors write native `async fn`, which is not dyn-safe; its private twin here is.

use core::fmt::Debug;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;
use std::sync::Arc;

use super::output::Place;
use super::{
    BlockAction, DeltaAction, Hold, Interests, OfferAction, Policy, PolicyContext, RawAction, RawChunkAction, RequestAction,
    ResponseAction, Shared, StreamAction, StreamingContext,
};
use crate::block::{BlockKind, ContentBlock, ToolCallBlock};
use crate::end::End;
use crate::head::{Request, Response};
use crate::rollout::Rollout;

/// A hook that runs, boxed: one box a whole-thing hook, none a delta.
pub(crate) struct Hook {
    future: Pin<Box<dyn Future<Output = HookOutput>>>,
    /// It has concluded something itself.
    has_spoken: bool,
    /// The policy that it is of.
    policy: &'static str,
}

impl Hook {
    /// Runs as far as it goes. No executor: the exchange polls what waits whenever an answer came.
    pub(crate) fn poll(&mut self, shared: &Shared, place: Place) -> Poll<HookOutput> {
        shared.enter_hook(place, self.has_spoken);
        shared.outcome.set_policy(self.policy);
        let output = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.has_spoken = shared.outcome.has_spoken();
        output
    }

    /// Says whether it has concluded something itself.
    pub(crate) const fn has_spoken(&self) -> bool {
        self.has_spoken
    }
}

/// What a hook has come to.
#[derive(Debug)]
pub(crate) enum HookOutput {
    Request(RequestAction),
    Response(ResponseAction),
    Stream(StreamAction),
    Block(BlockAction),
    Finish,
}

/// A configured policy, ready to be put into chains.
#[derive(Clone)]
pub struct SharedPolicy {
    name: &'static str,
    policy: Arc<dyn ErasedPolicy>,
    is_traced: bool,
    rollout: Option<Arc<Rollout>>,
}

impl Debug for SharedPolicy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Not the policy itself: the module would have in it how to write down all that each policy is made of.
        f.debug_struct("SharedPolicy").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SharedPolicy {
    /// Wraps `policy`; `name` is its class as events show it.
    pub fn new<S: Default + 'static, P: Policy<S>>(name: &'static str, policy: P) -> Self {
        Self { name, policy: Arc::new(Typed(policy, PhantomData)), is_traced: false, rollout: None }
    }

    /// The same policy, with a rollout of its own.
    pub(crate) fn in_rollout(self, rollout: Rollout) -> Self {
        Self { rollout: Some(Arc::new(rollout)), ..self }
    }

    /// Its own rollout, where the document gives it one.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_deref()
    }

    /// The same policy, of which every run of a hook is told.
    pub(crate) fn traced(&self) -> Self {
        Self { is_traced: true, ..self.clone() }
    }

    /// Whether every run of a hook is told.
    pub(crate) const fn is_traced(&self) -> bool {
        self.is_traced
    }

    /// The class of the policy, as events show it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What the policy wants to see.
    pub fn interests(&self) -> Interests {
        self.policy.interests()
    }

    /// The policy's configuration, for events.
    pub fn describe(&self) -> serde_json::Value {
        self.policy.describe()
    }

    /// The most that the policy holds of an answer.
    pub fn greatest_hold(&self) -> Hold {
        self.policy.greatest_hold()
    }

    /// Takes out of a text for events what the policy keeps from readers.
    pub(crate) fn redact(&self, text: &str) -> Option<String> {
        self.policy.redact(text)
    }

    pub(crate) fn start(&self, shared: Rc<Shared>) -> Box<dyn Instance> {
        Arc::clone(&self.policy).start(shared, self.clone())
    }
}

trait ErasedPolicy: Send + Sync {
    fn interests(&self) -> Interests;
    fn describe(&self) -> serde_json::Value;
    fn greatest_hold(&self) -> Hold;
    fn redact(&self, text: &str) -> Option<String>;
    fn start(self: Arc<Self>, shared: Rc<Shared>, policy: SharedPolicy) -> Box<dyn Instance>;
}

/// A policy with its scratchpad's type; `fn() -> S` keeps it `Send + Sync` whatever `S` is.
struct Typed<P, S>(P, PhantomData<fn() -> S>);

impl<S: Default + 'static, P: Policy<S>> ErasedPolicy for Typed<P, S> {
    fn interests(&self) -> Interests {
        self.0.interests()
    }

    fn describe(&self) -> serde_json::Value {
        self.0.describe()
    }

    fn greatest_hold(&self) -> Hold {
        self.0.greatest_hold()
    }

    fn redact(&self, text: &str) -> Option<String> {
        self.0.redact(text)
    }

    fn start(self: Arc<Self>, shared: Rc<Shared>, policy: SharedPolicy) -> Box<dyn Instance> {
        Box::new(Running { policy: self, context: StreamingContext::new(PolicyContext::new(shared, policy)) })
    }
}

/// A policy at work on one exchange.
pub(crate) trait Instance {
    fn on_request(&self, request: Rc<Request>) -> Hook;
    fn on_response(&self, response: Rc<Response>) -> Hook;
    fn on_stream_start(&self) -> Hook;
    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock) -> DeltaAction<'d>;
    fn on_content_complete(&self, block: Rc<ContentBlock>) -> Hook;
    fn on_tool_call_delta<'d>(&self, delta: &'d str, block: &ToolCallBlock) -> DeltaAction<'d>;
    fn on_tool_call_complete(&self, block: Rc<ToolCallBlock>) -> Hook;
    fn on_tool_offered(&self, name: &str) -> OfferAction;
    fn on_text_end<'d>(&self, held: &'d str, choice: u32, kind: BlockKind) -> DeltaAction<'d>;
    fn on_finish_reason(&self, reason: String, choice: u32) -> Hook;
    fn on_raw_request(&self, body: &[u8]) -> RawAction;
    fn on_raw_response(&self, body: &[u8]) -> RawAction;
    fn on_raw_chunk(&self, chunk: &[u8], is_last: bool) -> RawChunkAction;
    fn on_stream_complete(&self, end: &End);
}

struct Running<P, S> {
    policy: Arc<Typed<P, S>>,
    context: StreamingContext<S>,
}

impl<S: Default + 'static, P: Policy<S>> Running<P, S> {
    /// The future owns all that the hook borrows, so that it can wait while the exchange goes on.
    fn hook<F, Fut>(&self, start: F) -> Hook
    where
        F: FnOnce(Arc<Typed<P, S>>, StreamingContext<S>) -> Fut,
        Fut: Future<Output = HookOutput> + 'static,
    {
        Hook {
            future: Box::pin(start(Arc::clone(&self.policy), self.context.clone())),
            has_spoken: false,
            policy: self.context.policy_name(),
        }
    }
}

impl<S: Default + 'static, P: Policy<S>> Instance for Running<P, S> {
    fn on_request(&self, request: Rc<Request>) -> Hook {
        self.context.tell_run("on_request");
        self.hook(|policy, cx| async move { HookOutput::Request(policy.0.on_request(&request, &cx).await) })
    }

    fn on_response(&self, response: Rc<Response>) -> Hook {
        self.context.tell_run("on_response");
        self.hook(|policy, cx| async move { HookOutput::Response(policy.0.on_response(&response, &cx).await) })
    }

    fn on_stream_start(&self) -> Hook {
        self.context.tell_run("on_stream_start");
        self.hook(|policy, cx| async move { HookOutput::Stream(policy.0.on_stream_start(&cx).await) })
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock) -> DeltaAction<'d> {
        self.context.tell_run("on_content_delta");
        self.policy.0.on_content_delta(delta, block, &self.context)
    }

    fn on_content_complete(&self, block: Rc<ContentBlock>) -> Hook {
        self.context.tell_run("on_content_complete");
        self.context.note_answered(&mut |recorder, max_bytes| recorder.content(&block, max_bytes));
        self.hook(|policy, cx| async move { HookOutput::Block(policy.0.on_content_complete(&block, &cx).await) })
    }

    fn on_tool_call_delta<'d>(&self, delta: &'d str, block: &ToolCallBlock) -> DeltaAction<'d> {
        self.context.tell_run("on_tool_call_delta");
        self.policy.0.on_tool_call_delta(delta, block, &self.context)
    }

    fn on_tool_call_complete(&self, block: Rc<ToolCallBlock>) -> Hook {
        self.context.tell_run("on_tool_call_complete");
        self.context.note_answered(&mut |recorder, max_bytes| recorder.tool_call(&block, max_bytes));
        self.hook(|policy, cx| async move { HookOutput::Block(policy.0.on_tool_call_complete(&block, &cx).await) })
    }

    fn on_text_end<'d>(&self, held: &'d str, choice: u32, kind: BlockKind) -> DeltaAction<'d> {
        self.policy.0.on_text_end(held, choice, kind, &self.context)
    }

    fn on_tool_offered(&self, name: &str) -> OfferAction {
        self.context.tell_run("on_tool_offered");
        self.policy.0.on_tool_offered(name, &self.context)
    }

    fn on_finish_reason(&self, reason: String, choice: u32) -> Hook {
        self.context.tell_run("on_finish_reason");
        self.context.note_answered(&mut |recorder, _| recorder.finish(choice, &reason));
        self.hook(|policy, cx| async move {
            policy.0.on_finish_reason(&reason, choice, &cx).await;
            HookOutput::Finish
        })
    }

    fn on_raw_request(&self, body: &[u8]) -> RawAction {
        self.context.tell_run("on_raw_request");
        self.policy.0.on_raw_request(body, &self.context)
    }

    fn on_raw_response(&self, body: &[u8]) -> RawAction {
        self.context.tell_run("on_raw_response");
        self.policy.0.on_raw_response(body, &self.context)
    }

    fn on_raw_chunk(&self, chunk: &[u8], is_last: bool) -> RawChunkAction {
        self.context.tell_run("on_raw_chunk");
        self.policy.0.on_raw_chunk(chunk, is_last, &self.context)
    }

    fn on_stream_complete(&self, end: &End) {
        self.context.tell_run("on_stream_complete");
        self.policy.0.on_stream_complete(end, &self.context);
    }
}
