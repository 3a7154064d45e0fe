//! What is measured: the engine with a chain, and two ways to handle the same stream that it is compared with.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::document::Document;
use weir_driver::{Player, Recording, ServiceReply, Split, Step};

use crate::streams::Stream;

/// One way to handle a stream.
#[derive(Debug, Clone)]
pub(crate) enum Handler {
    /// Copies every event: the least that a filter can do whose memory is not the proxy's.
    Copy,
    /// Parses the JSON of every event into a tree and copies the event: what is easiest to write.
    JsonTree,
    /// An exchange of the engine, with a judge that answers at once and finds nothing wrong.
    Engine(Box<Player>),
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
        let verdict = ServiceReply::verdict(0.0);
        Ok(Self::Engine(Box::new(Player::new(Arc::new(document.chain)).answering(move |_| verdict.clone()))))
    }

    /// Handles one stream. `out` is used again for every event, as the glue to Envoy does.
    pub(crate) fn handle(&self, stream: &Stream, out: &mut Vec<u8>) {
        self.run(stream, out, |written| {
            black_box(written);
        });
    }

    /// Refuses a handler that does not do what it is measured for: what comes out is what went in, or where it `holds` text says the
    /// same, and every tool call was judged.
    pub(crate) fn verify(&self, stream: &Stream, judged: usize, holds: bool) -> Result<()> {
        let mut written = Vec::new();
        let asked = self.run(stream, &mut Vec::new(), |bytes| written.extend_from_slice(bytes));
        let came = stream.events.concat();
        let is_same = if holds { said(&written) == said(&came) } else { written == came };
        ensure!(is_same, "{} bytes came out of {}, or other ones", written.len(), stream.bytes());
        ensure!(asked == judged, "the judge was asked {asked} times, not {judged}");
        Ok(())
    }

    /// Gives what comes out to `written`, event by event; the result is how often the judge was asked.
    fn run(&self, stream: &Stream, out: &mut Vec<u8>, written: impl FnMut(&[u8])) -> usize {
        match self {
            Self::Copy => copy(stream, out, |_| {}, written),
            Self::JsonTree => copy(stream, out, |event| drop(black_box(json_tree(event))), written),
            Self::Engine(player) => return run_exchange(player, stream, out, written),
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

/// The text that the events of a stream add to each other.
fn said(events: &[u8]) -> String {
    let events = String::from_utf8_lossy(events);
    let deltas = events.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let pointers = ["/choices/0/delta/content", "/delta/text", "/delta", "/params/message"];
    deltas.filter_map(|delta| Some(pointers.iter().find_map(|pointer| delta.pointer(pointer)?.as_str())?.to_owned())).collect()
}

fn json_tree(event: &[u8]) -> Option<Value> {
    let data = event.windows(6).position(|window| window == b"data: ")?;
    serde_json::from_slice(event.get(data + 6..)?).ok()
}

fn run_exchange(player: &Player, stream: &Stream, out: &mut Vec<u8>, mut written: impl FnMut(&[u8])) -> usize {
    let mut play = player.begin();
    let (path, body) = request(stream.dialect);
    let mut steps = Recording::post(path, body).steps(&Split::Whole);
    let headers = vec![("content-type".to_owned(), b"text/event-stream".to_vec())];
    steps.push(Step::ResponseHead { status: 200, headers, end: false });
    steps.iter().for_each(|step| play.take(step));
    let last = stream.events.len().saturating_sub(1);
    for (index, event) in stream.events.iter().enumerate() {
        out.clear();
        play.stream(event, index == last, out);
        written(out);
    }
    play.finish().callouts.len()
}

/// The path and the body of a request for a stream.
fn request(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Messages => (
            "/v1/messages",
            r#"{"model":"claude-sonnet-4-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#,
        ),
        Dialect::Responses => ("/v1/responses", r#"{"model":"gpt-4.1-mini","stream":true,"input":"Hi"}"#),
        Dialect::McpTool => (
            "/mcp",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_command","arguments":{"command":"du /var/cache"},"_meta":{"progressToken":1}}}"#,
        ),
        _ => ("/v1/chat/completions", r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#),
    }
}
