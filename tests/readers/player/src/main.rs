//! Plays exchanges through the built weir.wasm in the emulated proxy: one JSON line in, one JSON line out.
//!
//! Bodies are strings in which each character stands for one byte (ISO 8859-1). A host is kept for each policy document,
//! and started anew after some hundred exchanges, or when the module trapped.

use std::any::Any;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_host_tests::{Callout, Host};

/// Where events go.
const COLLECTOR: &str = "collector";

/// More than any exchange here has the module buffer.
const BUFFER_LIMIT: usize = 64 * 1024 * 1024;

/// After so many exchanges a host has gathered enough.
const EXCHANGES_OF_A_HOST: usize = 200;

/// Longer than events wait for their batch, and a judge for its time-out.
const LONG: u64 = 6_000;

#[derive(Deserialize)]
struct Exchange {
    document: String,
    request: Message,
    response: Message,
    /// Where the response's body is cut.
    #[serde(default)]
    splits: Vec<usize>,
    /// After how many further chunks of the response a question is answered; more than there are: behind the end.
    #[serde(default)]
    delay: usize,
    /// What a question about harm contains, without blanks.
    #[serde(default)]
    harm: Vec<String>,
}

#[derive(Deserialize)]
struct Message {
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Default, Serialize)]
struct Outcome {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    /// The response came to its end.
    ended: bool,
    /// The response was broken off.
    reset: bool,
    /// What left for the provider.
    upstream: String,
    /// The request left for the provider.
    sent: bool,
    questions: Vec<Question>,
    events: Vec<Value>,
    decision: Option<String>,
    /// The proxy or the module came down.
    trap: Option<String>,
}

#[derive(Serialize)]
struct Question {
    matter: Value,
    harmful: bool,
}

fn main() {
    let mut hosts: HashMap<String, (Host, usize)> = HashMap::new();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let exchange: Exchange = serde_json::from_str(&line).expect("a line is an exchange");
        let (mut host, played) = hosts.remove(&exchange.document).unwrap_or_else(|| (start(&exchange.document), 0));
        // What a trap says goes into the outcome.
        let said = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let outcome = catch_unwind(AssertUnwindSafe(|| Player::new(&exchange, &mut host).play()));
        std::panic::set_hook(said);
        let outcome =
            outcome.unwrap_or_else(|panic| Outcome { trap: Some(words(panic.as_ref()).to_owned()), ..Outcome::default() });
        if outcome.trap.is_none() && played < EXCHANGES_OF_A_HOST {
            hosts.insert(exchange.document, (host, played + 1));
        }
        serde_json::to_writer(&mut output, &outcome).expect("an outcome is JSON");
        output.write_all(b"\n").and_then(|()| output.flush()).expect("standard output is open");
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("trap")
}

fn start(document: &str) -> Host {
    Host::new(document).knob(true).buffer_limit(BUFFER_LIMIT).start()
}

struct Player<'e> {
    exchange: &'e Exchange,
    host: &'e mut Host,
    /// Questions, with the number of the chunk behind which they are answered.
    due: Vec<(usize, Callout, bool)>,
    outcome: Outcome,
}

impl<'e> Player<'e> {
    fn new(exchange: &'e Exchange, host: &'e mut Host) -> Self {
        Self { exchange, host, due: Vec::new(), outcome: Outcome::default() }
    }

    fn play(mut self) -> Outcome {
        let request = &self.exchange.request;
        let body = bytes(&request.body);
        let stream = self.host.request_head(&borrowed(&headers(request)), body.is_empty());
        if !body.is_empty() {
            self.host.request_body(stream, &body, false);
            self.host.request_body(stream, b"", true);
        }
        self.take_callouts(0);
        self.answer(usize::MAX);
        if self.host.upstream(stream).ended {
            self.outcome.sent = true;
            self.outcome.upstream = characters(&self.host.upstream(stream).body);
            self.respond(stream);
        }
        if !self.host.is_over(stream) {
            self.host.pass(LONG);
            self.take_callouts(0);
            self.answer(usize::MAX);
        }
        let client = self.host.client(stream);
        self.outcome.status = client.status;
        self.outcome.headers = client.headers.iter().map(|(name, value)| (name.clone(), characters(value))).collect();
        self.outcome.body = characters(&client.body);
        self.outcome.ended = client.ended;
        self.outcome.reset = client.reset;
        self.outcome.decision = self.host.filter_state(stream, "weir.decision").map(str::to_owned);
        if !self.host.is_over(stream) {
            self.host.client_leaves(stream);
        }
        self.host.pass(LONG);
        self.take_callouts(0);
        self.outcome
    }

    fn respond(&mut self, stream: u32) {
        let response = &self.exchange.response;
        let body = bytes(&response.body);
        self.host.provider_head(stream, &borrowed(&headers(response)), body.is_empty());
        let mut from = 0;
        let ends = self.exchange.splits.iter().copied().chain([body.len()]);
        for (number, end) in ends.enumerate() {
            let end = end.clamp(from, body.len());
            if end == from || self.host.is_over(stream) {
                continue;
            }
            self.host.provider_body(stream, &body[from..end], false);
            from = end;
            self.take_callouts(number);
            self.answer(number);
        }
        if !body.is_empty() && !self.host.is_over(stream) {
            self.host.provider_ends(stream);
        }
        self.take_callouts(0);
        self.answer(usize::MAX);
    }

    fn take_callouts(&mut self, number: usize) {
        while let Some(callout) = self.host.next_callout() {
            if callout.cluster == COLLECTOR {
                let batch: Value = serde_json::from_slice(&callout.body).expect("a batch is JSON");
                self.outcome.events.extend(batch["events"].as_array().into_iter().flatten().cloned());
                self.host.answer(&callout, 202, "{}");
                continue;
            }
            let matter = matter(&callout.body);
            let plain = matter.to_string().replace([' ', '\\'], "");
            let harmful = self.exchange.harm.iter().any(|word| plain.contains(word.as_str()));
            self.outcome.questions.push(Question { matter, harmful });
            self.due.push((number.saturating_add(self.exchange.delay), callout, harmful));
        }
    }

    /// Answers the questions that are due behind that chunk, and those to which the answers give rise.
    fn answer(&mut self, number: usize) {
        while let Some(position) = self.due.iter().position(|(due, _, _)| *due <= number) {
            let (_, callout, harmful) = self.due.remove(position);
            let verdict = json!({"probability": if harmful { 1.0 } else { 0.0 }, "explanation": "a rule says so"}).to_string();
            let answer = json!({"choices": [{"message": {"role": "assistant", "content": verdict}}]}).to_string();
            self.host.answer(&callout, 200, answer);
            self.take_callouts(number);
        }
    }
}

/// What a judge is shown of a call.
fn matter(question: &[u8]) -> Value {
    let question: Value = serde_json::from_slice(question).expect("a question is JSON");
    let shown =
        question["messages"].as_array().and_then(|messages| messages.last()).map_or(&Value::Null, |last| &last["content"]);
    shown.as_str().and_then(|shown| shown.lines().nth(1)).and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

fn headers(message: &Message) -> Vec<(String, Vec<u8>)> {
    message.headers.iter().map(|(name, value)| (name.clone(), bytes(value))).collect()
}

fn borrowed(headers: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

fn bytes(characters: &str) -> Vec<u8> {
    characters.chars().map(|character| u8::try_from(u32::from(character)).expect("a character stands for a byte")).collect()
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
