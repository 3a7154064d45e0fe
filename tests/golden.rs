//! The blocks that each stream and each whole body yields, held against files that were looked at once: a change of a
//! decoder shows here as a change of text. `make golden` writes the files anew.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use weir::block::BlockKind;
use weir::dialect::{DecodeError, DecodedEvent, Decoder, Delta, Dialect, Frame};
use weir::fingerprint::Fingerprint;
use weir::wire::sse;
use weir_test_support::{corpus, fixtures};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

/// How much of a text the files show.
const SHOWN_CHARS: usize = 60;

/// A block with all that came of it.
#[derive(Default)]
struct Block {
    kind: Option<BlockKind>,
    choice: u32,
    call_id: String,
    name: String,
    text: String,
    free_form: bool,
    /// Whether it ended, and whether properly.
    complete: Option<bool>,
}

impl Block {
    fn add(&mut self, delta: &Delta<'_>) {
        assert_eq!(self.kind.get_or_insert(delta.kind), &delta.kind, "a block keeps its kind");
        self.choice = delta.choice;
        self.call_id.push_str(delta.call_id);
        self.name.push_str(delta.name);
        self.text.push_str(delta.text);
        self.free_form |= delta.free_form;
        if delta.stops {
            self.complete = Some(true);
        }
    }

    fn line(&self, number: u32) -> String {
        let mut line = format!("block {number}: {:?} in choice {}", self.kind.unwrap(), self.choice);
        for (what, value) in [("id", &self.call_id), ("name", &self.name)] {
            if !value.is_empty() {
                write!(line, ", {what} {value}").unwrap();
            }
        }
        if self.free_form {
            line.push_str(", free form");
        }
        match self.complete {
            Some(true) => {}
            Some(false) => line.push_str(", cut off"),
            None => line.push_str(", never ends"),
        }
        if !self.text.is_empty() {
            let shown: String = self.text.chars().take(SHOWN_CHARS).collect();
            let rest = if shown.len() < self.text.len() { " …" } else { "" };
            write!(line, "\n  {} bytes, {}: {shown:?}{rest}", self.text.len(), Fingerprint::of(&self.text)).unwrap();
        }
        line
    }
}

/// What a decoder reports of a response.
#[derive(Default)]
struct Report {
    blocks: BTreeMap<u32, Block>,
    /// What is no block, in order.
    rest: Vec<String>,
}

impl Report {
    fn take(&mut self, part: &DecodedEvent<'_>) {
        match part {
            DecodedEvent::Delta(delta) => self.blocks.entry(delta.block.0).or_default().add(delta),
            DecodedEvent::Stop { block, complete } => self.blocks.entry(block.0).or_default().complete = Some(*complete),
            DecodedEvent::Finish { choice, reason } => self.rest.push(format!("choice {choice} finishes: {reason}")),
            DecodedEvent::End => self.rest.push("end".to_owned()),
            other => self.rest.push(format!("{other:?}")),
        }
    }

    fn of_stream(dialect: Dialect, body: &[u8]) -> Self {
        let (mut parser, mut decoder, mut frame) = (sse::Parser::new(1 << 24), Decoder::new(dialect), Frame::default());
        let (mut report, mut input) = (Self::default(), body);
        while let Some(event) = parser.next(&mut input).unwrap() {
            if let Err(error) = decoder.event(&event, &mut frame, &mut |part| report.take(&part)) {
                return report.refused(error);
            }
        }
        let last = parser.finish().map(|event| decoder.event(&event, &mut frame, &mut |part| report.take(&part)));
        if let Some(Err(error)) = last {
            return report.refused(error);
        }
        decoder.finish(&mut |part| report.take(&part));
        report
    }

    fn of_whole(dialect: Dialect, body: &[u8]) -> Self {
        let mut report = Self::default();
        match Decoder::new(dialect).body(body, &mut Frame::default(), &mut |part| report.take(&part)) {
            Ok(()) => report,
            Err(error) => report.refused(error),
        }
    }

    fn refused(mut self, error: DecodeError) -> Self {
        self.rest.push(format!("refused: {error}"));
        self
    }

    fn text(&self) -> String {
        let blocks = self.blocks.iter().map(|(number, block)| block.line(*number));
        blocks.chain(self.rest.iter().cloned()).fold(String::new(), |text, line| text + &line + "\n")
    }
}

/// The reports of all streams and bodies of a dialect, by the names of their files.
fn reports(dialect: Dialect) -> BTreeMap<String, String> {
    let streams = fixtures::streams(dialect).iter().map(|stream| (format!("{}.sse", stream.name), stream.body.to_vec()));
    let recorded = corpus::streams(dialect).into_iter().map(|stream| (stream.name, stream.body));
    let streams = streams.chain(recorded).map(|(name, body)| (name, Report::of_stream(dialect, &body)));
    let wholes = fixtures::wholes(dialect).iter();
    let wholes = wholes.map(|whole| (format!("{}.json", whole.name), Report::of_whole(dialect, whole.body)));
    streams.chain(wholes).map(|(name, report)| (format!("{name}.txt"), report.text())).collect()
}

fn folder(dialect: Dialect) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(dialect.name())
}

#[test]
fn every_stream_yields_the_blocks_that_its_golden_file_lists() {
    for dialect in DIALECTS {
        let folder = folder(dialect);
        for (name, report) in reports(dialect) {
            let path = folder.join(&name);
            if std::env::var_os("WEIR_RENEW_GOLDEN").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, &report).unwrap();
            }
            let golden =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; see `make golden`", path.display()));
            assert_eq!(report, golden, "{}", path.display());
        }
    }
}

#[test]
fn every_golden_file_has_its_stream() {
    for dialect in DIALECTS.into_iter().filter(|dialect| !corpus::streams(*dialect).is_empty()) {
        let reports = reports(dialect);
        for entry in fs::read_dir(folder(dialect)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(reports.contains_key(&name), "{name} of {dialect} has no stream any more: remove it");
        }
    }
}
