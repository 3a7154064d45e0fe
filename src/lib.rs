//! Weir's engine: reads the streams of language-model APIs and lets policies act on them while they flow.
//!
//! The engine is sans-IO: bytes in, bytes and effects out. It knows no proxy, clock, thread, socket or log sink; time is
//! an argument. The same input gives the same decisions wherever it runs.
//!
//! # A policy
//!
//! A [policy] is behaviour with configuration. It overrides the hooks that it needs; what belongs to one exchange lives in
//! its scratchpad. This one lets so many bytes of text through, and drops the rest:
//!
//! ```
//! use weir::block::ContentBlock;
//! use weir::decision::Decision;
//! use weir::policy::{DeltaAction, Interests, Policy, StreamingContext};
//!
//! #[derive(Debug)]
//! struct ShortAnswers {
//!     max_bytes: usize,
//! }
//!
//! impl Policy<usize> for ShortAnswers {
//!     fn interests(&self) -> Interests {
//!         Interests::CONTENT_DELTAS
//!     }
//!
//!     fn on_content_delta<'d>(&self, delta: &'d str, _: &ContentBlock, cx: &StreamingContext<usize>) -> DeltaAction<'d> {
//!         let bytes = cx.scratchpad(|bytes| {
//!             *bytes += delta.len();
//!             *bytes
//!         });
//!         if bytes <= self.max_bytes {
//!             return DeltaAction::Forward;
//!         }
//!         cx.conclude(Decision::Rewrite, "ANSWER_TOO_LONG");
//!         DeltaAction::Drop
//!     }
//! }
//! ```
//!
//! Hooks of whole things are `async`: they may wait for a [judge], for a [service](callout) of the policy's own and for
//! [state] that outlives the exchange. A policy answers in the model's place with a [value](answer), whatever the dialect.
//!
//! # A host
//!
//! A host feeds an [exchange](exchange::Exchange) with what comes, sends on what leaves, and carries out the effects. The set of
//! effects is closed: a host that forgets a kind does not compile.
//!
//! ```
//! use std::sync::Arc;
//!
//! use weir::chain::Chain;
//! use weir::exchange::{CalloutReply, Effect, EndReason, Exchange, RequestHead, RequestProgress, ResponseHead, ResponseMode};
//! use weir::id::CallId;
//! use weir::policy::{Policy, SharedPolicy};
//! use weir::state::StateError;
//! use weir::time::Timestamp;
//!
//! #[derive(Debug)]
//! struct LookAtAll;
//! impl Policy for LookAtAll {}
//!
//! let chain = Arc::new(Chain::new(vec![SharedPolicy::new("LookAtAll", LookAtAll)]));
//! let now = Timestamp::default();
//! let mut exchange = Exchange::new(chain, CallId::from_bytes([7; 16]), now);
//!
//! // The request is held until it was read, and the policies have let it pass.
//! let head = RequestHead { method: b"POST", path: b"/v1/chat/completions", ..RequestHead::default() };
//! assert_eq!(exchange.handle_request_head(&head, false, now), RequestProgress::Hold);
//! let body = br#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}"#;
//! assert_eq!(exchange.handle_request_body(body, true, now), RequestProgress::Send);
//!
//! // The response flows through, and what nobody changed leaves as it came.
//! let head = ResponseHead { status: 200, content_type: b"text/event-stream", ..ResponseHead::default() };
//! assert_eq!(exchange.handle_response_head(&head, false, now), ResponseMode::Stream);
//! let stream = concat!(
//!     r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","#,
//!     r#""choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}"#,
//!     "\n\n",
//! );
//! let mut out = Vec::new();
//! let _progress = exchange.handle_response_body(stream.as_bytes(), false, now, &mut out);
//! assert_eq!(out, stream.as_bytes());
//!
//! exchange.handle_end(EndReason::ClientGone, now);
//! while let Some(effect) = exchange.poll_effect() {
//!     match effect {
//!         Effect::Callout(callout) => {
//!             // A host without services says so at once; whatever that sets going is to be carried out, too.
//!             let _resumed = exchange.handle_callout_reply(callout.id, CalloutReply::NotSent, now, &mut out);
//!         }
//!         Effect::Store(request) => {
//!             let _resumed = exchange.handle_store_reply(request.id, Err(StateError::Unavailable), now, &mut out);
//!         }
//!         Effect::Event(event) => println!("{}: {}", event.event_type, event.summary),
//!         Effect::Observe(_) => {}
//!     }
//! }
//! ```
//!
//! The crate `weir-driver` is such a host for tests and tools: it plays recorded exchanges with a fake judge, store and clock.
//!
//! # Documents
//!
//! Chains are made of policy [documents](document): JSON that names policies and judges. Every error names the path of the wrong
//! field.
//!
//! ```
//! use weir::document::{Document, Registry};
//!
//! let document = r#"{"policy": {"id": "p"}, "chain": [{"use": "no_such"}]}"#;
//! let error = Document::parse(document, &Registry::default(), &|_| None).unwrap_err();
//! assert_eq!(error.path, "chain[0].use");
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "a panic fails the test, as it should"))]

pub mod after_block;
pub mod answer;
pub mod arguments;
pub mod block;
pub mod caller;
pub mod callout;
mod cell;
pub mod chain;
pub mod decision;
pub mod dialect;
pub mod document;
mod effect;
mod end;
pub mod event;
pub mod evidence;
pub mod exchange;
pub mod fingerprint;
mod head;
mod heap;
pub mod id;
pub mod judge;
pub mod limits;
pub mod policy;
pub mod rollout;
pub mod route;
pub mod state;
pub mod time;
pub mod usage;
pub mod wait;
pub mod wire;

/// Compiles what the project's README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
