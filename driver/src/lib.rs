//! Plays exchanges through Weir's engine as a proxy would, with a fake judge, store and clock: for tests of policies, and for
//! tools that show what a policy document would do.
//!
//! A [`Player`] knows the chain and how services answer. It is `Send` and `Sync`, and has nothing global: a server makes one
//! for each document and plays in whatever thread. What it gives back is what the client saw, the decisions, the events and,
//! where it is asked to trace them, which hooks ran.
//!
//! ```
//! use std::sync::Arc;
//!
//! use weir::block::{ContentBlock, build_text_chunk};
//! use weir::chain::Chain;
//! use weir::decision::Decision;
//! use weir::judge::JudgeQuestion;
//! use weir::policy::{BlockAction, DeltaAction, Policy, SharedPolicy, StreamingContext};
//! use weir_driver::{Player, Recording, ServiceReply, Split};
//!
//! /// Withholds every text that the judge finds harmful.
//! #[derive(Debug)]
//! struct AskAboutText;
//!
//! impl Policy for AskAboutText {
//!     fn on_content_delta<'d>(&self, _: &'d str, _: &ContentBlock, _: &StreamingContext) -> DeltaAction<'d> {
//!         DeltaAction::Hold
//!     }
//!
//!     async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockAction {
//!         match cx.judge(JudgeQuestion { judge: "main", instructions: "Harmful?", matter: block.text() }).await {
//!             Ok(verdict) if verdict.probability < 0.5 => BlockAction::Forward,
//!             _ => BlockAction::Replace(build_text_chunk(block.choice(), "Withheld.")),
//!         }
//!     }
//! }
//!
//! let mut chain = Chain::new(vec![SharedPolicy::new("AskAboutText", AskAboutText)]);
//! chain.judges.insert("main".to_owned(), weir_driver::judge("main"));
//! let player = Player::new(Arc::new(chain))
//!     .traced()
//!     .answering(|question| match String::from_utf8_lossy(&question.body).contains("bomb") {
//!         true => ServiceReply::verdict(0.9),
//!         false => ServiceReply::verdict(0.1),
//!     });
//!
//! let body = br#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "How?"}]}"#;
//! let stream = concat!(
//!     r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"A bomb is "}}]}"#,
//!     "\n\n",
//!     r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"made of"}}]}"#,
//!     "\n\n",
//!     r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
//!     "\n\ndata: [DONE]\n\n",
//! );
//! let recording = Recording::post("/v1/chat/completions", body).streamed(stream);
//! for split in [Split::Whole, Split::Events, Split::Bytes, Split::Every(7)] {
//!     let outcome = player.play(&recording.steps(&split));
//!     assert!(outcome.text().contains("Withheld.") && !outcome.text().contains("bomb"), "{}", outcome.text());
//!     assert_eq!(outcome.decision, Decision::Rewrite);
//!     assert_eq!(outcome.callouts.len(), 1);
//!     assert_eq!(outcome.runs_of("on_content_complete"), 1);
//! }
//! ```
#![forbid(unsafe_code)]

mod outcome;
mod play;
mod player;
mod service;
mod split;
mod step;

pub use outcome::{Cause, Outcome, Release, RequestOutcome};
pub use play::Play;
pub use player::{Player, Stores};
pub use service::{ServiceReply, judge};
pub use split::{Split, at, bytes, events};
pub use step::{RecordedResponse, Recording, Step};
