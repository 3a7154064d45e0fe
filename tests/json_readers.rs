//! What Weir reads of a document is what clients read of it, or the document is refused: held against the JSON readers
//! of Python and of JavaScript, on documents that are written to be misread.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use weir::block::{ContentBlock, ToolCallBlock};
use weir::dialect::Dialect;
use weir::event::Severity;
use weir::policy::{BlockFate, Policy, SharedPolicy, StreamingContext};
use weir_test_support::native::{self, Outcome};
use weir_test_support::policies;
use weir_test_support::script::{Script, document};

const DIALECTS: [Dialect; 2] = [Dialect::ChatCompletions, Dialect::Messages];

/// How many documents are generated for each test.
const GENERATED: usize = 4000;

/// Records what hooks read of blocks.
#[derive(Debug)]
struct Read;

impl Policy for Read {
    async fn on_content_complete(&self, block: &ContentBlock, cx: &StreamingContext) -> BlockFate {
        cx.emit("read.text", "", Severity::Debug, json!({"kind": format!("{:?}", block.kind()), "text": block.text()}));
        BlockFate::Forward
    }

    async fn on_tool_call_complete(&self, call: &ToolCallBlock, cx: &StreamingContext) -> BlockFate {
        let canonical = call.has_valid_arguments().then(|| call.canonical_arguments());
        cx.emit("read.arguments", "", Severity::Debug, json!({"canonical": canonical}));
        BlockFate::Forward
    }
}

fn play(dialect: Dialect, streamed: bool, body: Vec<u8>) -> Outcome {
    let document = document(json!([{"use": "read"}]));
    let registry = policies::registry().with("read", |_| Ok(SharedPolicy::new("Read", Read)));
    let script = if streamed { Script::streamed } else { Script::whole };
    native::play(&script(dialect, document, vec![body]), &registry)
}

/// What Weir read as the text of an answer, or of something unknown by its strings; `None` if it refused to read it.
fn text_read(outcome: &Outcome) -> Option<(bool, String)> {
    if outcome.events.iter().any(|event| event.event_type == "response_malformed") {
        return None;
    }
    let blocks = outcome.events_of("read.text");
    let is_unknown = blocks.iter().any(|event| event.metadata["kind"] == "Unknown");
    let kind = if is_unknown { "Unknown" } else { "Text" };
    let blocks = blocks.into_iter().filter(|event| event.metadata["kind"] == kind);
    Some((is_unknown, blocks.map(|event| event.metadata["text"].as_str().unwrap().to_owned()).collect()))
}

/// The reader of a language, and what it makes of each document, in one form; `None` where the document is no JSON to it.
struct Reader {
    language: &'static str,
    read: Vec<Option<String>>,
}

/// Has the readers that are there read what stands at `path` in `documents`; says which are not there.
fn readers(documents: &[Vec<u8>], path: &[&str]) -> Vec<Reader> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/json_readers");
    [("Python", "python3", "reader.py"), ("JavaScript", "node", "reader.mjs")]
        .into_iter()
        .filter_map(|(language, program, script)| {
            let command = Command::new(program)
                .arg(format!("{folder}/{script}"))
                .args(path)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut child) = command else {
                eprintln!("skipped: {program} is not there to read as clients in {language} do");
                return None;
            };
            let mut input = String::new();
            for document in documents {
                document.iter().for_each(|byte| write!(input, "{byte:02x}").unwrap());
                input.push('\n');
            }
            let mut stdin = child.stdin.take().unwrap();
            let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap().unwrap();
            assert!(output.status.success(), "{script}");
            let read = String::from_utf8(output.stdout).unwrap();
            let read: Vec<_> = read.lines().map(|line| (line != "unreadable").then(|| line.to_owned())).collect();
            assert_eq!(read.len(), documents.len(), "{script} answers each document once");
            Some(Reader { language, read })
        })
        .collect()
}

/// Ways to write the value of a member.
const VALUES: [&str; 40] = [
    r#""a""#,
    r#""""#,
    "null",
    r#""\u0061\u002F\/""#,
    r#""\u0000""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d""#,
    r#""\ude00\ud83d""#,
    r#""\ud83d\u0061""#,
    r#""\uD83D\uDE00\\u0061""#,
    "\"\u{7f}\u{80}\u{2028}\u{feff}\"",
    "\"\t\"",
    "\"\u{0}\"",
    r#""\x61""#,
    r#""\u00e""#,
    r#""\U0061""#,
    r#""\'""#,
    "'a'",
    "0",
    "-0",
    "00",
    "1",
    "1.0",
    "1.",
    ".5",
    "+1",
    "1e2",
    "1e400",
    "-1E-400",
    "123456789012345678901234567890",
    "4294967296",
    "\"1\"",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "undefined",
    "[]",
    "{}",
    r#"{"text":"a","content":"a"}"#,
];

/// Ways to write the names of members: those that clients read, and the same in disguise.
const NAMES: [&str; 14] = [
    r#""content""#,
    r#""c\u006fntent""#,
    r#""Content""#,
    r#""text""#,
    r#""te\u0078t""#,
    r#""type""#,
    r#""index""#,
    r#""\u0069ndex""#,
    r#""refusal""#,
    r#""__proto__""#,
    r#""x""#,
    r#""\ud800""#,
    r#""content\u0000""#,
    "content",
];

/// What bytes are put into a document, or in place of others.
const BYTES: [&[u8]; 18] = [
    b" ",
    b"\t",
    b"\x0b",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\0",
    b",",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"//",
    b"1",
];

/// What is done to a document: where members are put into it, and where how many of its bytes give way to others.
type Torture = (Vec<(usize, String)>, Vec<(usize, usize, &'static [u8])>);

fn tortures() -> impl Strategy<Value = Torture> {
    let member =
        (prop::sample::select(&NAMES[..]), prop::sample::select(&VALUES[..])).prop_map(|(name, value)| format!("{name}:{value}"));
    let members = prop::collection::vec((any::<usize>(), member), 0..3);
    let change = (any::<usize>(), 0..3_usize, prop::sample::select(&BYTES[..]));
    (members, prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(change, 1..3)])
}

/// Puts members at the beginning of objects of `document`, or at their end, and changes its bytes.
fn torture(document: &str, (members, changes): &Torture) -> Vec<u8> {
    let mut document = document.to_owned();
    for (place, member) in members {
        let places: Vec<usize> = document.match_indices(['{', '}']).map(|(position, _)| position).collect();
        let position = places[place % places.len()];
        if document.as_bytes()[position] == b'{' {
            document.insert_str(position + 1, &format!("{member},"));
        } else {
            document.insert_str(position, &format!(",{member}"));
        }
    }
    let mut bytes = document.into_bytes();
    for (place, removed, added) in changes {
        let position = place % (bytes.len() + 1);
        let end = (position + removed).min(bytes.len());
        bytes.splice(position..end, added.iter().copied());
    }
    bytes
}

fn generate<S: Strategy>(strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..GENERATED).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// A document that says a text, written like `value`: a whole body, or an event of a stream.
fn saying(dialect: Dialect, streamed: bool, value: &str) -> String {
    match (dialect, streamed) {
        (Dialect::ChatCompletions, true) => {
            format!(r#"{{"choices":[{{"index":0,"delta":{{"content":{value}}},"finish_reason":null}}]}}"#)
        }
        (Dialect::ChatCompletions, false) => {
            format!(r#"{{"choices":[{{"index":0,"message":{{"content":{value}}},"finish_reason":"stop"}}]}}"#)
        }
        (_, true) => format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{value}}}}}"#),
        (_, false) => format!(r#"{{"type":"message","content":[{{"type":"text","text":{value}}}],"stop_reason":"end_turn"}}"#),
    }
}

/// Where the text of such a document stands.
fn place_of_text(dialect: Dialect, streamed: bool) -> &'static [&'static str] {
    match (dialect, streamed) {
        (Dialect::ChatCompletions, true) => &["choices", "0", "delta", "content"],
        (Dialect::ChatCompletions, false) => &["choices", "0", "message", "content"],
        (_, true) => &["delta", "text"],
        (_, false) => &["content", "0", "text"],
    }
}

/// Whether the value that a client finds is the text that was read; of something unknown, whether it was seen.
fn is_alike(found: &str, is_unknown: bool, text: &str) -> bool {
    match serde_json::from_str(found) {
        Ok(Value::String(found)) if is_unknown => text.contains(&found),
        Ok(Value::String(found)) => found == *text,
        Ok(Value::Null) => is_unknown || text.is_empty(),
        Ok(Value::Array(parts)) if parts.is_empty() => is_unknown || text.is_empty(),
        Ok(_) => is_unknown,
        Err(_) => false,
    }
}

/// What the document is in a stream: behind one like it, so that it may be read by that one's template.
fn stream_of(dialect: Dialect, document: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    if dialect == Dialect::Messages {
        stream.extend_from_slice(
            b"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        );
    }
    for data in [saying(dialect, true, "\"|\"").as_bytes(), document] {
        stream.extend_from_slice(&[b"data: ", data, b"\n\n"].concat());
    }
    stream
}

fn assert_texts_are_read_alike(streamed: bool) {
    let strategy = (prop::sample::select(&VALUES[..]), tortures());
    for dialect in DIALECTS {
        let documents: Vec<Vec<u8>> =
            generate(&strategy).into_iter().map(|(value, how)| torture(&saying(dialect, streamed, value), &how)).collect();
        let mut compared = 0;
        let readers = readers(&documents, place_of_text(dialect, streamed));
        for (number, document) in documents.iter().enumerate() {
            let body = if streamed { stream_of(dialect, document) } else { document.clone() };
            let Some((is_unknown, text)) = text_read(&play(dialect, streamed, body)) else { continue };
            let text = text.strip_prefix('|').unwrap_or(&text);
            for reader in &readers {
                let Some(found) = &reader.read[number] else { continue };
                compared += 1;
                let shown = String::from_utf8_lossy(document);
                assert!(
                    is_alike(found, is_unknown, text),
                    "{dialect}: {} reads {found}, Weir {text:?}: {shown}",
                    reader.language
                );
            }
        }
        assert!(readers.is_empty() || compared > GENERATED / 8, "{compared} documents were read by both, which shows little");
    }
}

#[test]
fn texts_of_whole_bodies_are_what_clients_read() {
    assert_texts_are_read_alike(false);
}

#[test]
fn texts_of_deltas_are_what_clients_read() {
    assert_texts_are_read_alike(true);
}

#[test]
fn arguments_of_tool_calls_are_what_clients_read() {
    let base = prop::sample::select(vec![
        "{}",
        r#"{"path":"/srv","n":1.50,"list":[1,{"deep":[null,true]}]}"#,
        r#" { "big" : 123456789012345678901234567890 , "small" : -0 , "e" : 1E+2 } "#,
        r#"{"text":"\u00e9\ud83d\ude00\u0000\/"}"#,
    ]);
    let arguments: Vec<String> =
        generate(&(base, tortures())).into_iter().filter_map(|(base, how)| String::from_utf8(torture(base, &how)).ok()).collect();
    let bodies = arguments.iter().map(|arguments| {
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
        json!({"choices": [{"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
            .to_string()
            .into_bytes()
    });
    let canonical: Vec<Option<String>> = bodies
        .map(|body| {
            let outcome = play(Dialect::ChatCompletions, false, body);
            outcome.events_of("read.arguments")[0].metadata["canonical"].as_str().map(str::to_owned)
        })
        .collect();
    let valid = canonical.iter().flatten().count();
    assert!(valid > GENERATED / 8 && valid < GENERATED / 8 * 7, "{valid} were valid: both must be tried");
    let came: Vec<Vec<u8>> = arguments.iter().map(|arguments| arguments.clone().into_bytes()).collect();
    let made: Vec<Vec<u8>> = canonical.iter().map(|canonical| canonical.clone().unwrap_or_default().into_bytes()).collect();
    for (came, made) in readers(&came, &[]).into_iter().zip(readers(&made, &[])) {
        for (number, arguments) in arguments.iter().enumerate().filter(|(number, _)| canonical[*number].is_some()) {
            assert!(came.read[number].is_some(), "no client in {} reads {arguments:?}", came.language);
            assert_eq!(made.read[number], came.read[number], "as read in {}: {arguments:?}", came.language);
        }
    }
}
