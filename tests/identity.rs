//! A stream that no policy touches leaves byte for byte as it came, however it was cut on its way; and the cuts change
//! nothing about what policies see and decide.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use weir::chain::Chain;
use weir::dialect::Dialect;
use weir_test_support::corpus;
use weir_test_support::native::{self, Outcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, client, fixtures, legality, order, policies, sse};

const DIALECTS: [Dialect; 4] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool];

/// Longer streams are cut at random positions, not at every one.
const EVERY_SPLIT_UP_TO: usize = 6_000;

#[derive(Clone)]
struct Stream {
    name: String,
    dialect: Dialect,
    body: Vec<u8>,
}

/// Fixtures and corpus that are plain, each with LF and with CRLF.
fn streams() -> Vec<Stream> {
    every_stream().into_iter().filter(|stream| !has_calls_of_several_answers(stream)).collect()
}

fn every_stream() -> Vec<Stream> {
    let mut streams = Vec::new();
    for dialect in DIALECTS {
        let own =
            fixtures::streams(dialect).iter().filter(|own| own.is_plain()).map(|own| (own.name.to_owned(), own.body.to_vec()));
        let recorded = corpus::streams(dialect).into_iter().map(|recorded| (recorded.name, recorded.body));
        for (name, body) in own.chain(recorded) {
            let crlf = chunking::crlf(&body);
            streams.push(Stream { name: format!("{name} with CRLF"), dialect, body: crlf });
            streams.push(Stream { name, dialect, body });
        }
    }
    streams
}

/// The ids of the answers in a stream of `chat.completions`, whose chunks name the one that they belong to.
fn answers(body: &[u8]) -> BTreeSet<String> {
    let chunks = sse::read(body).into_iter().filter_map(|event| serde_json::from_str::<Value>(&event.data).ok());
    chunks.filter_map(|chunk| Some(chunk.get("id")?.as_str()?.to_owned())).filter(|id| !id.is_empty()).collect()
}

/// Recordings of several answers in one stream, of whose calls clients would make one: where a policy wants calls, they leave
/// apart.
fn has_calls_of_several_answers(stream: &Stream) -> bool {
    let is_chat = stream.dialect == Dialect::ChatCompletions;
    is_chat && answers(&stream.body).len() > 1
}

fn chain(policies: Value) -> Arc<Chain> {
    Arc::new(native::load(&document(policies), &policies::registry()).unwrap())
}

fn assert_untouched(stream: &Stream, cut: &str, out: &[u8]) {
    let holds = |word: &str| stream.body.windows(word.len()).any(|window| window == word.as_bytes());
    if out == stream.body {
        return;
    }
    if stream.dialect == Dialect::Messages && holds("\"thinking_delta\"") && holds("\"ping\"") {
        // Thinking waits until it is known whether it is signed; a ping does not.
        return order::assert_kept(&format!("{} {cut}", stream.name), stream.dialect, &stream.body, out);
    }
    let same = out.iter().zip(&stream.body).take_while(|(one, other)| one == other).count();
    let end = |bytes: &[u8]| String::from_utf8_lossy(&bytes[same..bytes.len().min(same + 200)]).into_owned();
    panic!("{} {cut}: differs from byte {same} on: {:?} in place of {:?}", stream.name, end(out), end(&stream.body));
}

fn every_split(policies: Value) {
    let chain = chain(policies);
    let mut runner = TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
    for stream in streams() {
        let body = &stream.body;
        let whole = native::stream_through(&chain, stream.dialect, [body.as_slice()]);
        assert_untouched(&stream, "whole", &whole);
        let bytes = native::stream_through(&chain, stream.dialect, body.chunks(1));
        assert_untouched(&stream, "byte by byte", &bytes);
        if body.len() <= EVERY_SPLIT_UP_TO {
            for position in 1..body.len() {
                let (before, after) = body.split_at(position);
                let out = native::stream_through(&chain, stream.dialect, [before, after]);
                assert_untouched(&stream, &format!("split at {position}"), &out);
            }
        }
        let cuts = prop::collection::vec(any::<Index>(), 1..12);
        let result = runner.run(&cuts, |cuts| {
            let positions = cuts.iter().map(|cut| cut.index(body.len())).collect::<Vec<_>>();
            let chunks = chunking::at(body, &positions);
            let out = native::stream_through(&chain, stream.dialect, chunks.iter().map(Vec::as_slice));
            assert_untouched(&stream, &format!("cut at {positions:?}"), &out);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_policy_that_overrides_nothing_leaves_every_byte_alone_at_every_split() {
    every_split(json!([{"use": "no_op"}]));
}

#[test]
fn a_policy_that_finds_nothing_leaves_every_byte_alone() {
    // A term of which no beginning occurs: what could become one waits, and leaves in a delta of its own.
    let chain = chain(json!([{"use": "redact", "with": {"term": "\u{2603} that nobody says", "with": ""}}]));
    for stream in every_stream() {
        for chunks in [chunking::bytes(&stream.body), chunking::events(&stream.body), vec![stream.body.clone()]] {
            let out = native::stream_through(&chain, stream.dialect, chunks.iter().map(Vec::as_slice));
            order::assert_kept(&stream.name, stream.dialect, &stream.body, &out);
        }
    }
}

#[test]
fn calls_of_several_answers_leave_apart_where_a_policy_wants_calls() {
    for stream in every_stream().iter().filter(|stream| has_calls_of_several_answers(stream)) {
        let apart = native::stream_through(&chain(json!([{"use": "no_op"}])), stream.dialect, [stream.body.as_slice()]);
        let (left, came) = (client::streamed(stream.dialect, &apart), client::streamed(stream.dialect, &stream.body));
        assert_eq!(left.only().text, came.only().text, "{}", stream.name);
        let (came, left) = (begun_calls(&stream.body), begun_calls(&apart));
        let ids = |calls: &[(String, Value)]| calls.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&left), ids(&came), "{}", stream.name);
        let places = left.iter().map(|(_, index)| index.to_string()).collect::<BTreeSet<_>>();
        assert_eq!(places.len(), left.len(), "{}: each call has an index of its own", stream.name);
    }
}

/// The id and the index of each call that begins in a stream of `chat.completions` with one choice.
fn begun_calls(body: &[u8]) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    for chunk in sse::read(body).into_iter().filter_map(|event| serde_json::from_str::<Value>(&event.data).ok()) {
        for call in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            if let Some(id) = call["id"].as_str() {
                calls.push((id.to_owned(), call["index"].clone()));
            }
        }
    }
    calls
}

#[test]
fn what_is_not_plain_leaves_saying_the_same() {
    for (chain, holds) in [(json!([{"use": "no_op"}]), false), (json!([{"use": "ask_judge"}]), true)] {
        for dialect in DIALECTS {
            for fixture in fixtures::streams(dialect).iter().filter(|fixture| !fixture.is_plain()) {
                let script = Script::events(dialect, document(chain.clone()), fixture.body)
                    .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
                let outcome = native::play(&script, &policies::registry());
                let (left, came) = (client::streamed(dialect, &outcome.client), client::streamed(dialect, fixture.body));
                assert_eq!(left.only().tools(), came.only().tools(), "{}", outcome.text());
                assert_eq!(left.only().text, came.only().text, "{}", outcome.text());
                assert!(!holds || outcome.client != fixture.body, "{} is plain after all", fixture.name);
            }
        }
    }
}

#[test]
fn a_policy_that_holds_and_releases_leaves_every_byte_alone() {
    let chain = chain(json!([{"use": "hold_text", "with": {}}]));
    for stream in streams() {
        for chunks in [chunking::bytes(&stream.body), chunking::events(&stream.body), vec![stream.body.clone()]] {
            let out = native::stream_through(&chain, stream.dialect, chunks.iter().map(Vec::as_slice));
            order::assert_kept(&stream.name, stream.dialect, &stream.body, &out);
        }
    }
}

#[test]
fn a_released_tool_call_leaves_as_it_came() {
    for stream in streams() {
        let script = Script::events(stream.dialect, document(json!([{"use": "ask_judge"}])), &stream.body)
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
        let outcome = native::play(&script, &policies::registry());
        // Calls that cannot be read are blocked, whatever the judge says.
        // Of an illegal stream (two answers in one) the client gets what was judged, with indices that say so.
        if outcome.events_of("ask.blocked").is_empty() && legality::stream(stream.dialect, &stream.body).is_empty() {
            order::assert_kept(&stream.name, stream.dialect, &stream.body, &outcome.client);
        }
    }
}

/// All that may not depend on the cuts: what was seen, asked and decided, and what the client got.
fn conclusion(outcome: &Outcome) -> Value {
    let events = outcome.events.iter().filter(|event| event.event_type != "enforcement");
    let events = events.map(|event| json!([event.kind, event.event_type, event.policy_class, event.summary, event.metadata]));
    let asked = outcome.callouts.iter().map(|callout| String::from_utf8_lossy(&callout.body).into_owned());
    json!({
        "events": events.collect::<Value>(),
        "asked": asked.collect::<Value>(),
        "decision": outcome.decision,
        "client": sse::read(&outcome.client).into_iter().map(|event| json!([event.name, event.data])).collect::<Value>(),
    })
}

#[test]
fn blocks_and_decisions_are_the_same_for_any_split() {
    let document = document(json!([{"use": "watch"}, {"use": "uppercase"}, {"use": "ask_judge"}, {"use": "watch"}]));
    let script = |stream: &Stream, chunks| {
        Script::streamed(stream.dialect, document.clone(), chunks)
            // Answers come at the end: in mid-stream the cuts would decide what has left by then.
            .judged(JudgeRule::new("delete_files", JudgeReply::Verdict(0.9)).after(usize::MAX))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)).after(usize::MAX))
    };
    let registry = policies::registry();
    let mut runner = TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
    for stream in streams() {
        let expected = conclusion(&native::play(&script(&stream, vec![stream.body.clone()]), &registry));
        let bytes = conclusion(&native::play(&script(&stream, chunking::bytes(&stream.body)), &registry));
        assert_eq!(bytes, expected, "{} byte by byte", stream.name);
        let cuts = prop::collection::vec(any::<Index>(), 1..12);
        let result = runner.run(&cuts, |cuts| {
            let positions = cuts.iter().map(|cut| cut.index(stream.body.len())).collect::<Vec<_>>();
            let outcome = native::play(&script(&stream, chunking::at(&stream.body, &positions)), &registry);
            prop_assert_eq!(conclusion(&outcome), expected.clone(), "{} cut at {:?}", &stream.name, positions);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
    }
}
