//! The bodies of the fuzz targets, as plain functions: the fuzzer calls them with bytes that it makes up, ordinary tests
//! with the seeds.

mod encoding;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use weir::chain::Chain;
use weir::dialect::{Arranged, DecodedEvent, Decoder, Dialect, Encoder, Ending, Frame, SlotAction};
use weir::wire::sse::{Event, Parser};

use crate::native::RequestOutcome;
use crate::script::{self, JudgeReply, JudgeRule, Script, Step, document, mcp_call};
use crate::{chunking, client, fixtures, legality, native, policies, sse};

pub use self::encoding::encoding;

/// Words that stand in denied calls of the exchange target, and nowhere else.
pub const SECRET: &str = "/srv/data";

/// Bytes of which choices are made; zeros once they are used up.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().map_or((0, &[][..]), |(byte, rest)| (*byte, rest));
        self.0 = rest;
        byte
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()])) % bound.max(1)
    }

    fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }

    fn dialect(&mut self) -> Dialect {
        self.pick(&[Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool])
    }
}

/// The parser loses no byte, keeps its bound, and cuts the same events whatever the chunks.
pub fn sse(data: &[u8]) {
    const LIMIT: usize = 512;
    let mut choices = Choices(data);
    let size = 1 + choices.below(64);
    let body = choices.0;
    let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut parser = Parser::new(LIMIT);
        let (mut raw, mut events) = (Vec::new(), Vec::new());
        for mut chunk in chunks {
            loop {
                match parser.next(&mut chunk) {
                    Ok(Some(event)) => {
                        raw.extend_from_slice(event.raw);
                        events.extend(event.data.map(|data| (event.name.to_vec(), data.to_vec())));
                    }
                    Ok(None) => break,
                    Err(too_large) => {
                        assert_eq!(too_large.limit, LIMIT);
                        return None;
                    }
                }
            }
            assert!(parser.pending() <= LIMIT, "{} bytes wait", parser.pending());
        }
        if let Some(event) = parser.finish() {
            raw.extend_from_slice(event.raw);
            events.extend(event.data.map(|data| (event.name.to_vec(), data.to_vec())));
        }
        Some((raw, events))
    };
    let whole = read(&mut core::iter::once(body));
    let chunked = read(&mut body.chunks(size));
    if let (Some((raw, events)), Some((chunked_raw, chunked_events))) = (&whole, &chunked) {
        assert!(raw == body && chunked_raw == body, "the raw ranges are the body");
        assert_eq!(events, chunked_events, "the same events in chunks of {size}");
    }
    let longest_lasting = body.len() <= LIMIT;
    assert!(!longest_lasting || (whole.is_some() && chunked.is_some()), "a body within the bound is read");
}

/// A decoder reports what its frame says, and the encoder writes an untouched document verbatim.
fn decode(dialect: Dialect, data: &[u8]) {
    let mut stream = Stream::new(dialect);
    let mut parser = Parser::new(1 << 20);
    let mut input = data;
    let mut is_read = true;
    while is_read && let Ok(Some(event)) = parser.next(&mut input) {
        let mut arranged = Vec::new();
        is_read = match stream.decoder.arrange(&event, &mut arranged) {
            Ok(Arranged::AsItCame) => stream.read(&event),
            Ok(Arranged::Anew) => stream.read_all(&arranged),
            Err(_) => false,
        };
    }
    let mut arranged = Vec::new();
    if is_read && stream.decoder.arrange_end(&mut arranged).is_ok() {
        stream.read_all(&arranged);
    }
    stream.decoder.finish(&mut |_| {});
    stream.encoder.end(Ending::Stop, &mut stream.out);
    check_body(dialect, data);
}

/// A stream of which nothing is changed.
struct Stream {
    decoder: Decoder,
    encoder: Encoder,
    frame: Frame,
    out: Vec<u8>,
    /// What came, and has not left.
    came: VecDeque<Vec<u8>>,
}

impl Stream {
    fn new(dialect: Dialect) -> Self {
        let (decoder, encoder) = (Decoder::new(dialect), Encoder::new(dialect));
        Self { decoder, encoder, frame: Frame::default(), out: Vec::new(), came: VecDeque::new() }
    }

    fn read_all(&mut self, mut events: &[u8]) -> bool {
        let mut parser = Parser::new(1 << 20);
        while let Ok(Some(event)) = parser.next(&mut events) {
            if !self.read(&event) {
                return false;
            }
        }
        true
    }

    /// Reads an event that was arranged; false if it cannot be read.
    fn read(&mut self, event: &Event<'_>) -> bool {
        let mut deltas = 0;
        let read = self.decoder.event(event, &mut self.frame, &mut |part| {
            deltas += usize::from(matches!(part, DecodedEvent::Delta(_) | DecodedEvent::Tool { .. }))
        });
        if read.is_err() {
            assert_eq!(deltas, 0, "nothing is reported on an error");
            return false;
        }
        assert_eq!(deltas, self.frame.slots.len(), "the n-th delta is the n-th slot");
        let actions = vec![SlotAction::Keep; self.frame.slots.len()];
        let before = self.out.len();
        self.encoder.event(event.raw, &self.frame, &actions, &mut self.out);
        // What has no place in the stream, such as the end of a block that never began, does not leave; the beginning of
        // a text block leaves with what comes next.
        self.came.push_back(event.raw.to_vec());
        let mut left = &self.out[before..];
        while !left.is_empty() {
            // A block of `messages` that nobody has ended is ended before what may not stand in it.
            if left.starts_with(b"event: content_block_stop\n") && !self.came.iter().any(|came| left.starts_with(came)) {
                let end = left.windows(2).position(|pair| pair == b"\n\n").expect("an event ends") + 2;
                left = &left[end..];
                continue;
            }
            let document = self.came.pop_front();
            let document = document.unwrap_or_else(|| {
                let left = String::from_utf8_lossy(left);
                panic!("an untouched document leaves verbatim, once and in its place, or not at all: {left}")
            });
            left = left.strip_prefix(document.as_slice()).unwrap_or(left);
        }
        true
    }
}

/// The same of a whole body.
fn check_body(dialect: Dialect, data: &[u8]) {
    let mut decoder = Decoder::new(dialect);
    let mut frame = Frame::default();
    let mut deltas = 0;
    if decoder
        .body(data, &mut frame, &mut |part| {
            deltas += usize::from(matches!(part, DecodedEvent::Delta(_) | DecodedEvent::Tool { .. }))
        })
        .is_ok()
    {
        assert_eq!(deltas, frame.slots.len(), "the n-th delta is the n-th slot of a body");
        let mut out = Vec::new();
        Encoder::new(dialect).body(data, &frame, &vec![SlotAction::Keep; deltas], &[], &mut out);
        assert!(out == data, "an untouched body leaves verbatim");
        let mut out = Vec::new();
        Encoder::new(dialect).body(data, &frame, &vec![SlotAction::Remove; deltas], &[], &mut out);
        // By its grammar: numbers that no type can hold are JSON, and none of our concern.
        let is_json = |body: &[u8]| serde_json::from_slice::<IgnoredAny>(body).is_ok();
        // What came to a client of MCP that is none is one text, and goes as a whole.
        let goes_whole = dialect == Dialect::McpTool && !is_json(data);
        let is_right = if goes_whole { out.trim_ascii().is_empty() } else { is_json(&out) };
        assert!(is_right, "what is left of a body is JSON: {}", String::from_utf8_lossy(&out));
    }
}

/// Decoder and encoder of chat.completions.
pub fn decode_chat(data: &[u8]) {
    decode(Dialect::ChatCompletions, data);
}

/// Decoder and encoder of messages.
pub fn decode_messages(data: &[u8]) {
    decode(Dialect::Messages, data);
}

/// Decoder and encoder of responses: whatever is repeated of a text, a second pass over what leaves changes nothing.
pub fn decode_responses(data: &[u8]) {
    let once = pass(Dialect::Responses, data);
    let twice = pass(Dialect::Responses, &once);
    assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice), "a second pass changes nothing");
    check_body(Dialect::Responses, data);
}

/// What leaves of a stream that nobody changes, up to where it cannot be read.
fn pass(dialect: Dialect, data: &[u8]) -> Vec<u8> {
    let (mut decoder, mut encoder) = (Decoder::new(dialect), Encoder::new(dialect));
    let (mut parser, mut frame, mut out) = (Parser::new(1 << 20), Frame::default(), Vec::new());
    let mut take = |event: &Event<'_>| {
        let mut deltas = 0;
        let read = decoder.event(event, &mut frame, &mut |part| deltas += usize::from(matches!(part, DecodedEvent::Delta(_))));
        if read.is_err() {
            assert_eq!(deltas, 0, "nothing is reported on an error");
            return false;
        }
        assert_eq!(deltas, frame.slots.len(), "the n-th delta is the n-th slot");
        encoder.event(event.raw, &frame, &vec![SlotAction::Keep; deltas], &mut out);
        true
    };
    let mut input = data;
    let mut goes_on = true;
    while goes_on && let Ok(Some(event)) = parser.next(&mut input) {
        goes_on = take(&event);
    }
    if goes_on && let Some(event) = parser.finish() {
        take(&event);
    }
    out
}

/// Decoder and encoder of MCP, of what comes back and of requests.
pub fn decode_mcp(data: &[u8]) {
    decode(Dialect::McpTool, data);
    for chain in [json!([{"use": "no_op"}]), json!([{"use": "ask_judge"}])] {
        let script = Script::request_to("/mcp", document(chain), vec![data.to_vec()])
            .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
        let outcome = native::play(&script, &policies::registry());
        match outcome.request {
            RequestOutcome::Sent => {}
            RequestOutcome::SentBody(body) => {
                assert!(serde_json::from_slice::<IgnoredAny>(&body).is_ok(), "what is left is JSON")
            }
            RequestOutcome::Answered => legality::assert_whole(Dialect::McpTool, &outcome.client),
            RequestOutcome::Held => panic!("nothing was decided"),
        }
    }
}

/// A whole exchange, as a sequence of operations: a stream put together from real events with edits, cut anywhere, a
/// judge that answers anyhow at any time, time that passes, and peers that leave.
pub fn exchange(data: &[u8]) {
    let mut choices = Choices(data);
    let dialect = choices.dialect();
    let (body, is_damaged) = stream(&mut choices, dialect);
    let is_legal = legality::stream(dialect, &body).is_empty() && answers_what_was_asked(dialect, &body);
    let chunks = chunks(&mut choices, &body);
    let chain = chain(&mut choices);

    if is_legal {
        let untouched = native::stream_through(idle_chain(), dialect, chunks.iter().map(Vec::as_slice));
        let (left, came) = (String::from_utf8_lossy(&untouched), String::from_utf8_lossy(&body));
        // Damage can make something odd of a stream that breaks no rule.
        let is_refused = is_damaged && left.contains("it could not be checked by policy");
        if untouched != body && !is_refused {
            // What is not plain is written anew: to every client it says the same, and it is plain then.
            let says_the_same = is_damaged || says_alike(dialect, &untouched, &body);
            assert!(says_the_same, "a policy that overrides nothing changes nothing that is said: {left}\ncame: {came}");
            let again = native::stream_through(idle_chain(), dialect, [untouched.as_slice()]);
            let again = String::from_utf8_lossy(&again);
            assert_eq!(again, left, "what was written anew leaves as it is, came: {came}");
        }
    }

    let mut script = Script::streamed(dialect, chain, chunks.clone());
    script.judge = judge(&mut choices);
    let mut steady = script.clone();
    let ends = !interrupt(&mut choices, &mut script);
    let outcome = native::play(&script, &policies::registry());
    assert!(outcome.max_release_bytes < 64 << 20, "what is held is bounded");
    assert_eq!(outcome.events_of("enforcement").len(), 1, "an exchange ends in one enforcement event");
    let judged = script.document.to_string().contains("ask_judge");
    // Damage can make of a call what is none to any client.
    let may_tell = !judged || is_damaged;
    assert!(may_tell || !tells_secret(&outcome.client), "a denied call leaked: {}", outcome.text());
    if ends && is_legal && !is_damaged {
        legality::assert_stream(dialect, &outcome.client);
    }

    // Answers that come with the last step come at the same point of the stream, however it was cut.
    steady.judge.iter_mut().for_each(|rule| rule.delay = usize::MAX);
    let mut whole = steady.clone();
    whole.steps.retain(|step| !matches!(step, Step::ResponseHead { .. } | Step::ResponseBody { .. }));
    let whole = native::play(&whole.respond("text/event-stream", vec![body.clone()]), &policies::registry());
    let cut = native::play(&steady, &policies::registry());
    let shown = || {
        format!(
            "{dialect} {}\n{}\n\nwhole: {}\n\ncut: {}",
            steady.document["chain"],
            String::from_utf8_lossy(&body),
            whole.text(),
            cut.text()
        )
    };
    assert_eq!(whole.decision, cut.decision, "the decision does not depend on the chunks: {}", shown());
    assert!(!is_legal || whole.callouts.len() == cut.callouts.len(), "the questions do not depend on the chunks: {}", shown());
}

/// Whether a server answers no other request than the one that the scripts make: MCP's rules are silent about what was asked.
fn answers_what_was_asked(dialect: Dialect, body: &[u8]) -> bool {
    let asked = script::request_body(dialect, true)["id"].clone();
    let messages = sse::read(body).into_iter().filter_map(|event| serde_json::from_str::<Value>(&event.data).ok());
    let mut messages = messages.flat_map(|message| if let Value::Array(batch) = message { batch } else { vec![message] });
    dialect != Dialect::McpTool || messages.all(|message| message.get("method").is_some() || message["id"] == asked)
}

/// Whether clients make the same of two streams.
fn says_alike(dialect: Dialect, one: &[u8], other: &[u8]) -> bool {
    if dialect == Dialect::McpTool {
        let messages = |body| sse::read(body).into_iter().map(|event| serde_json::from_str::<Value>(&event.data).ok());
        return messages(one).eq(messages(other));
    }
    client::streamed(dialect, one) == client::streamed(dialect, other)
}

/// Whether a client finds the secret in what it got: of a stream it reads events alone.
fn tells_secret(client: &[u8]) -> bool {
    let events = sse::read(client);
    if events.is_empty() {
        return String::from_utf8_lossy(client).contains(SECRET);
    }
    events.iter().any(|event| event.data.contains(SECRET))
}

fn idle_chain() -> &'static Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    CHAIN.get_or_init(|| {
        Arc::new(native::load(&document(json!([{"use": "no_op"}])), &policies::registry()).expect("the document is right"))
    })
}

/// A fixture, with events repeated, left out, exchanged, or edited; whether a byte of an event was.
fn stream(choices: &mut Choices<'_>, dialect: Dialect) -> (Vec<u8>, bool) {
    let mut is_damaged = false;
    let fixture = choices.pick(fixtures::streams(dialect));
    let mut events = chunking::events(fixture.body);
    for _ in 0..choices.below(4) {
        let (one, other) = (choices.below(events.len()), choices.below(events.len()));
        match choices.byte() % 6 {
            0 => events.swap(one, other),
            1 => events.insert(one, events[other].clone()),
            2 if events.len() > 1 => drop(events.remove(one)),
            3 => {
                let other_fixture = choices.pick(fixtures::streams(dialect));
                let foreign = chunking::events(other_fixture.body);
                events.insert(one, foreign[choices.below(foreign.len())].clone());
            }
            4 => {
                let length = events[one].len();
                let position = choices.below(length);
                events[one][position] = choices.byte();
                is_damaged = true;
            }
            _ => events[one] = chunking::crlf(&events[one]),
        }
    }
    (events.concat(), is_damaged)
}

fn chunks(choices: &mut Choices<'_>, body: &[u8]) -> Vec<Vec<u8>> {
    let positions = (0..choices.below(24)).map(|_| choices.below(body.len().max(1))).collect::<Vec<_>>();
    chunking::at(body, &positions)
}

fn chain(choices: &mut Choices<'_>) -> Value {
    let policies = (0..choices.below(4))
        .map(|_| match choices.byte() % 8 {
            0 => json!({"use": "ask_judge"}),
            1 => json!({"use": "ask_judge", "with": {"message": null}}),
            2 => json!({"use": "uppercase"}),
            3 => json!({"use": "hold_text"}),
            4 => json!({"use": "drop_text"}),
            5 => json!({"use": "deny_tool", "with": {"name": "get_weather", "message": "No."}}),
            6 => json!({"use": "finish_after", "with": {"bytes": 10}}),
            _ => json!({"use": "watch"}),
        })
        .collect::<Value>();
    document(policies)
}

/// Nothing that contains the secret is ever let through.
fn judge(choices: &mut Choices<'_>) -> Vec<JudgeRule> {
    let bad = match choices.byte() % 6 {
        0 => JudgeReply::Silence,
        1 => JudgeReply::Broken,
        2 => JudgeReply::NotSent,
        3 => JudgeReply::Content("fine".to_owned()),
        4 => JudgeReply::Response { status: 500, body: Vec::new() },
        _ => JudgeReply::Verdict(0.9),
    };
    let good = choices.pick(&[0.0, 0.4, 0.9]);
    let (one, other) = (choices.below(8), choices.below(8));
    vec![
        JudgeRule::new(SECRET, bad.clone()).after(one),
        JudgeRule::new("delete_files", bad).after(one),
        JudgeRule::new("", JudgeReply::Verdict(good)).after(other),
    ]
}

/// Puts an incident into the script; whether there was one that ends it early.
fn interrupt(choices: &mut Choices<'_>, script: &mut Script) -> bool {
    let at = choices.below(script.steps.len());
    match choices.byte() % 8 {
        0 => *script = script.clone().interrupted(at, Step::ClientGone),
        1 => *script = script.clone().interrupted(at, Step::UpstreamReset),
        2 => {
            *script = script.clone().meanwhile(at, Step::Elapse(Duration::from_secs(u64::from(choices.byte()))));
            return false;
        }
        _ => return false,
    }
    true
}

/// A target with its seeds.
pub type Target = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

/// All targets, with small seeds that reach deep at once.
pub fn targets() -> Vec<Target> {
    let streams = |dialect| fixtures::streams(dialect).iter().map(|fixture| fixture.body.to_vec());
    let wholes = |dialect| fixtures::wholes(dialect).iter().map(|fixture| fixture.body.to_vec());
    let (chat, messages) = (Dialect::ChatCompletions, Dialect::Messages);
    let (responses, mcp) = (Dialect::Responses, Dialect::McpTool);
    let batch = json!([mcp_call(1, "read_file", &json!({})), mcp_call("1", "delete_files", &json!({"path": SECRET}))]);
    let requests = [mcp_call(7, "delete_files", &json!({})), batch].map(|request| request.to_string().into_bytes());
    let framed = |body: Vec<u8>| [&[0, 7][..], &body].concat();
    let odd: [&[u8]; 4] =
        [b"\xef\xbb\xbfdata: a\r\rdata:b\r\n\r\n", b"data\n\n: c\n\n\r\n", b"event: x\ndata: 1\ndata: 2", b"\r\n\n\r"];
    let beyond_every_number = br#"{"created": 17E8888, "choices": [{"index": 0, "message": {"content": "a"}}]}"#.to_vec();
    vec![
        ("sse", sse, odd.into_iter().map(<[u8]>::to_vec).chain(streams(messages)).map(framed).collect()),
        ("decode_chat", decode_chat, streams(chat).chain(wholes(chat)).chain([beyond_every_number]).collect()),
        ("decode_messages", decode_messages, streams(messages).chain(wholes(messages)).collect()),
        ("decode_responses", decode_responses, streams(responses).chain(wholes(responses)).collect()),
        ("decode_mcp", decode_mcp, streams(mcp).chain(wholes(mcp)).chain(requests).collect()),
        ("encoding", encoding, encoding::seeds()),
        (
            "exchange",
            exchange,
            (0..64_u8)
                .map(|seed| {
                    (0..96_u8).map(|position| seed.wrapping_mul(37).wrapping_add(position.wrapping_mul(seed | 1))).collect()
                })
                .collect(),
        ),
    ]
}
