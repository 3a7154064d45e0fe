//! What is measured: the engine with a chain, and two ways to handle the same stream that it is compared with.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use weir::chain::Chain;
use weir::dialect::Dialect;
use weir::document::Document;
use weir::exchange::{CalloutId, Effect, EndReason, Exchange, RequestHead, ResponseHead};
use weir::id::CallId;
use weir::judge::CalloutReply;
use weir::time::Timestamp;

use crate::streams::Stream;

/// One way to handle a stream.
#[derive(Debug, Clone)]
pub(crate) enum Handler {
    /// Copies every event: the least that a filter can do whose memory is not the proxy's.
    Copy,
    /// Parses the JSON of every event into a tree and copies the event: what is easiest to write.
    JsonTree,
    /// An exchange of the engine.
    Engine(Arc<Chain>),
}

impl Handler {
    /// The engine with the `chain` of a policy document.
    pub(crate) fn engine(chain: &Value) -> Result<Self> {
        let document = json!({
            "policy": {"id": "bench", "name": "Bench", "revision": 1},
            "chain": chain,
            "judges": {"main": {"cluster": "judge", "model": "small-judge"}},
        });
        let document = Document::parse(&document.to_string(), &weir_policies::registry(), &|_| None)
            .map_err(|error| anyhow!("the policy document of the benchmark is wrong: {error}"))?;
        Ok(Self::Engine(Arc::new(document.chain)))
    }

    /// Handles one stream. `out` is used again for every event, as the glue to Envoy does.
    pub(crate) fn handle(&self, stream: &Stream, out: &mut Vec<u8>) {
        self.run(stream, out, |written| {
            black_box(written);
        });
    }

    /// Refuses a handler that does not do what it is measured for: what comes out is what went in, and every tool call was judged.
    pub(crate) fn verify(&self, stream: &Stream, judged: usize) -> Result<()> {
        let mut written = Vec::new();
        let asked = self.run(stream, &mut Vec::new(), |bytes| written.extend_from_slice(bytes));
        ensure!(written == stream.events.concat(), "{} bytes came out of {}, or other ones", written.len(), stream.bytes());
        ensure!(asked == judged, "the judge was asked {asked} times, not {judged}");
        Ok(())
    }

    /// Gives what comes out to `written`, event by event; the result is how often the judge was asked.
    fn run(&self, stream: &Stream, out: &mut Vec<u8>, written: impl FnMut(&[u8])) -> usize {
        match self {
            Self::Copy => copy(stream, out, |_| {}, written),
            Self::JsonTree => copy(stream, out, |event| drop(black_box(json_tree(event))), written),
            Self::Engine(chain) => return run_exchange(chain, stream, out, written),
        }
        0
    }
}

fn copy(stream: &Stream, out: &mut Vec<u8>, read: impl Fn(&[u8]), mut written: impl FnMut(&[u8])) {
    for event in &stream.events {
        out.clear();
        read(event);
        out.extend_from_slice(event);
        written(out);
    }
}

fn json_tree(event: &[u8]) -> Option<Value> {
    let data = event.windows(6).position(|window| window == b"data: ")?;
    serde_json::from_slice(event.get(data + 6..)?).ok()
}

fn run_exchange(chain: &Arc<Chain>, stream: &Stream, out: &mut Vec<u8>, mut written: impl FnMut(&[u8])) -> usize {
    let now = Timestamp::from_unix(Duration::from_secs(1_760_000_000));
    let mut driver = Driver { exchange: Exchange::new(Arc::clone(chain), CallId::from_bytes([7; 16]), now), now, judged: 0 };
    driver.start(stream, out);
    let last = stream.events.len().saturating_sub(1);
    for (index, event) in stream.events.iter().enumerate() {
        out.clear();
        // What a judged call holds comes out with the judge's answer, so the progress itself says nothing new.
        let _ = driver.exchange.handle_response_body(event, index == last, now, out);
        driver.carry_out_effects(out);
        written(out);
    }
    driver.exchange.handle_end(EndReason::Completed, now);
    driver.carry_out_effects(out);
    driver.judged
}

/// The surroundings of an exchange: a judge that answers at once and finds nothing wrong.
struct Driver {
    exchange: Exchange,
    now: Timestamp,
    judged: usize,
}

const VERDICT: &[u8] =
    br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"{\"probability\":0.0,\"explanation\":\"ok\"}"}}]}"#;

impl Driver {
    /// Brings the exchange to where the response body comes.
    fn start(&mut self, stream: &Stream, out: &mut Vec<u8>) {
        let (path, body): (&[u8], &[u8]) = match stream.dialect {
            Dialect::Messages => (
                b"/v1/messages",
                br#"{"model":"claude-sonnet-4-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#,
            ),
            Dialect::Responses => (b"/v1/responses", br#"{"model":"gpt-4.1-mini","stream":true,"input":"Hi"}"#),
            Dialect::McpTool => (
                b"/mcp",
                br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_command","arguments":{"command":"du /var/cache"},"_meta":{"progressToken":1}}}"#,
            ),
            _ => {
                (b"/v1/chat/completions", br#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#)
            }
        };
        let head = RequestHead { method: b"POST", path, content_type: b"application/json", ..RequestHead::default() };
        let _ = self.exchange.handle_request_head(&head, false, self.now);
        let _ = self.exchange.handle_request_body(body, true, self.now);
        // A call that stands in the request leaves once it is judged.
        self.carry_out_effects(out);
        let head = ResponseHead { status: 200, content_type: b"text/event-stream", ..ResponseHead::default() };
        let _ = self.exchange.handle_response_head(&head, false, self.now);
        self.carry_out_effects(out);
    }

    fn carry_out_effects(&mut self, out: &mut Vec<u8>) {
        while let Some(effect) = self.exchange.poll_effect() {
            if let Effect::Callout(callout) = black_box(effect) {
                self.answer(callout.id, out);
            }
        }
    }

    fn answer(&mut self, question: CalloutId, out: &mut Vec<u8>) {
        self.judged += 1;
        let reply = CalloutReply::Response { status: 200, body: VERDICT };
        let _ = self.exchange.handle_callout_reply(question, reply, self.now, out);
    }
}
