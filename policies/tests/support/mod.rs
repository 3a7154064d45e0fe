//! Runs policies through whole exchanges, on the engine alone.
#![allow(dead_code, unreachable_pub, reason = "a module of several tests, none of which uses all of it")]

use core::time::Duration;
use std::sync::Arc;

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::document::Document;
use weir::event::Event;
use weir::exchange::{
    Callout, CalloutId, CalloutReply, Effect, EndReason, Exchange, RequestHead, RequestProgress, ResponseHead, ResponseMode,
    ResponseProgress, Resumed,
};
use weir::id::CallId;
use weir::time::Timestamp;
use weir_test_support::client::{self, Message};
use weir_test_support::{chunking, legality};

/// Whether a response is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Stream,
    Whole,
}

/// An exchange at its beginning, and the time.
pub fn exchange(chain: &Value) -> (Exchange, Timestamp) {
    let document = json!({
        "policy": {"id": "test"},
        "chain": chain,
        "judges": {"main": {"cluster": "judge", "model": "small-judge", "timeout": "5s"}},
    });
    let document = Document::parse(&document.to_string(), &weir_policies::registry(), &|_| None).unwrap();
    let now = Timestamp::from_unix(Duration::from_secs(1_760_000_000));
    (Exchange::new(Arc::new(document.chain), CallId::from_bytes([7; 16]), now), now)
}

/// An exchange under way, with what came of it so far.
pub struct Run {
    exchange: Exchange,
    dialect: Dialect,
    shape: Shape,
    now: Timestamp,
    /// What the client has got.
    pub out: Vec<u8>,
    pub events: Vec<Event>,
    /// The questions that no judge has answered yet.
    pub callouts: Vec<Callout>,
}

impl Run {
    /// An exchange whose response begins now.
    pub fn start(chain: &Value, dialect: Dialect, shape: Shape) -> Self {
        let (mut exchange, now) = exchange(chain);
        let path: &[u8] = match dialect {
            Dialect::ChatCompletions => b"/v1/chat/completions",
            _ => b"/v1/messages",
        };
        let head = RequestHead { method: b"POST", path, content_type: b"application/json", ..RequestHead::default() };
        assert_eq!(exchange.handle_request_head(&head, false, now), RequestProgress::Hold);
        let body = json!({"model": "m", "max_tokens": 9, "stream": shape == Shape::Stream, "messages": [{"role": "user", "content": "x"}]});
        assert_eq!(exchange.handle_request_body(body.to_string().as_bytes(), true, now), RequestProgress::Send);
        let (content_type, mode): (&[u8], _) = match shape {
            Shape::Stream => (b"text/event-stream", ResponseMode::Stream),
            Shape::Whole => (b"application/json", ResponseMode::Whole),
        };
        let head = ResponseHead { status: 200, content_type, ..ResponseHead::default() };
        assert_eq!(exchange.handle_response_head(&head, false, now), mode);
        let mut run = Self { exchange, dialect, shape, now, out: Vec::new(), events: Vec::new(), callouts: Vec::new() };
        run.drain();
        run
    }

    pub fn feed(&mut self, chunk: &[u8], end: bool) -> ResponseProgress {
        let progress = self.exchange.handle_response_body(chunk, end, self.now, &mut self.out);
        self.drain();
        progress
    }

    /// The judge answers a question with this content.
    pub fn answer(&mut self, id: CalloutId, content: &str) -> Resumed {
        let body = json!({"choices": [{"message": {"content": content}}]}).to_string();
        self.reply(id, CalloutReply::Response { status: 200, body: body.as_bytes() })
    }

    pub fn reply(&mut self, id: CalloutId, reply: CalloutReply<'_>) -> Resumed {
        self.callouts.retain(|callout| callout.id != id);
        let resumed = self.exchange.handle_callout_reply(id, reply, self.now, &mut self.out);
        self.drain();
        resumed
    }

    pub fn end(mut self, reason: EndReason) -> Outcome {
        self.exchange.handle_end(reason, self.now);
        self.drain();
        let message = match self.shape {
            Shape::Stream => client::streamed(self.dialect, &self.out),
            Shape::Whole => client::whole(self.dialect, &self.out),
        };
        Outcome { decision: self.exchange.decision(), message, out: self.out, events: self.events }
    }

    fn drain(&mut self) {
        while let Some(effect) = self.exchange.poll_effect() {
            match effect {
                Effect::Callout(callout) => self.callouts.push(callout),
                Effect::Event(event) => self.events.push(event),
                Effect::Store(_) => panic!("no built-in policy keeps state"),
                Effect::Observe(_) => {}
            }
        }
    }
}

/// What came of an exchange.
pub struct Outcome {
    pub decision: Decision,
    pub message: Message,
    pub out: Vec<u8>,
    pub events: Vec<Event>,
}

impl Outcome {
    /// The types of the policies' events, in order.
    pub fn policy_events(&self) -> Vec<&str> {
        self.events.iter().filter(|event| event.policy_class.is_some()).map(|event| event.event_type.as_str()).collect()
    }

    #[track_caller]
    pub fn event(&self, event_type: &str) -> &Event {
        self.events
            .iter()
            .find(|event| event.event_type == event_type)
            .unwrap_or_else(|| panic!("no {event_type}: {:?}", self.events))
    }

    pub fn reason_code(&self) -> &str {
        self.event("enforcement").metadata["reason_code"].as_str().unwrap()
    }
}

/// The tool call that a question is about.
pub fn call_in_question(callout: &Callout) -> Value {
    let body: Value = serde_json::from_slice(&callout.body).unwrap();
    let matter = body["messages"][1]["content"].as_str().unwrap();
    serde_json::from_str(matter.lines().nth(1).unwrap()).unwrap()
}

/// How a judge decides: the content of its answer, by the call in question.
pub type Judge<'a> = &'a dyn Fn(&Value) -> String;

/// Finds every call harmless, except those of tools whose name contains `delete`.
pub fn careful_judge(call: &Value) -> String {
    let probability = if call["tool"].as_str().unwrap().contains("delete") { 0.9 } else { 0.1 };
    json!({"probability": probability, "explanation": "so it seems"}).to_string()
}

/// Runs a whole exchange whose response comes in `chunks`; the judge answers after each. What comes out must be legal.
pub fn run(chain: &Value, dialect: Dialect, shape: Shape, chunks: &[Vec<u8>], judge: Judge<'_>) -> Outcome {
    let mut run = Run::start(chain, dialect, shape);
    for (index, chunk) in chunks.iter().enumerate() {
        let progress = run.feed(chunk, index + 1 == chunks.len());
        assert!(!matches!(progress, ResponseProgress::Answer(_)), "{progress:?}");
        for callout in core::mem::take(&mut run.callouts) {
            let _ = run.answer(callout.id, &judge(&call_in_question(&callout)));
        }
    }
    let outcome = run.end(EndReason::Completed);
    let check = |body: &[u8]| match shape {
        Shape::Stream => legality::stream(dialect, body),
        Shape::Whole => legality::whole(dialect, body),
    };
    legality::assert_none(&legality::added(&check(&chunks.concat()), check(&outcome.out)), &outcome.out);
    outcome
}

/// [`run`] of a stream that comes event by event, without a judge.
pub fn run_stream(chain: &Value, dialect: Dialect, stream: &[u8]) -> Outcome {
    run(chain, dialect, Shape::Stream, &chunking::events(stream), &|call| panic!("no judge was expected to be asked: {call}"))
}
