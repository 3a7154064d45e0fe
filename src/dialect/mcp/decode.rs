//! Reads what the server sends.

use std::rc::Rc;

use super::arrange::{Arrangement, arrange};
use super::message::{Id, Kind, Message};
use super::texts::{self, Found, MessageTexts, Texts, What};
use super::{Asked, request};
use crate::block::{BlockId, BlockKind};
use crate::dialect::decoding::{self, NameBytes, Strings, Text};
use crate::dialect::template::{Alike, Hole, Template};
use crate::dialect::{Arranged, DecodeError, DecodedEvent, Delta, Frame, FrameRole, Slot};
use crate::wire::sse::{self, take_line};

/// Messages that are told apart by their lanes; a stream may have any number of them.
const LANES: u32 = 1024;

/// Reads the frames of one exchange: the request first, then what comes back.
#[derive(Debug, Default)]
pub struct Decoder {
    asked: Rc<Asked>,
    /// Which of the requests are answered, or were refused.
    answered: Vec<bool>,
    blocks: u32,
    messages: u32,
    /// Messages that did not leave, since they were asked for.
    withheld: u32,
    expects_nothing: bool,
    strings: Strings,
    /// A server says again and again how far it is.
    notification: Template<()>,
}

/// What was read of a frame, before it is reported: an error reports nothing.
struct Reading {
    texts: Texts,
    /// The requests that are answered.
    answers: Vec<usize>,
}

impl Decoder {
    /// A decoder of an exchange in which this is asked.
    pub(crate) fn new(asked: Rc<Asked>) -> Self {
        Self { answered: vec![false; asked.requests.len()], asked, ..Self::default() }
    }

    /// Reads the calls of the request.
    pub(crate) fn request(
        &mut self,
        body: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        self.strings.clear();
        let source = decoding::utf8(body)?;
        let calls = request::calls(source, &mut self.strings, self.blocks)?;
        for call in calls {
            self.blocks = self.blocks.saturating_add(1);
            let choice = u32::try_from(call.position).unwrap_or(u32::MAX);
            let slot = Slot { block: call.block, choice, kind: BlockKind::ToolCall, starts: true, stops: true };
            frame.slots.push(slot);
            let asked = self.asked.requests.get(call.position).map(|asked| asked.id.shown());
            let call_id = asked.unwrap_or_else(|| self.strings.get(source, call.id));
            let (name, text) = (self.strings.get(source, call.name), self.strings.get(source, call.arguments));
            each(DecodedEvent::Delta(delta(slot, call_id, name, text)));
        }
        Ok(())
    }

    /// These requests did not leave: nobody is to answer them.
    pub(crate) fn refuse(&mut self, positions: impl Iterator<Item = usize>) {
        for position in positions {
            if let Some(answered) = self.answered.get_mut(position) {
                *answered = true;
            }
        }
    }

    /// What comes back may say nothing: it answers no request.
    pub(crate) const fn expect_nothing(&mut self) {
        self.expects_nothing = true;
    }

    /// Whether nothing is to be answered, or is known to be.
    pub(crate) fn expects_nothing(&self) -> bool {
        self.expects_nothing || !self.asked.is_known() || self.answered.iter().all(|answered| *answered)
    }

    /// How many messages did not leave since the last call.
    pub(crate) fn take_withheld(&mut self) -> u32 {
        core::mem::take(&mut self.withheld)
    }

    /// Arranges an event before it is read: what leaves in its place is in `out`.
    pub(crate) fn arrange(&mut self, event: &sse::Event<'_>, out: &mut Vec<u8>) -> Result<Arranged, DecodeError> {
        let Some(data) = event.data.filter(|data| !data.is_empty()) else { return Ok(Arranged::AsItCame) };
        let is_read_by_all = is_message_name(event.name);
        if is_read_by_all && self.notification.find(data).is_some() {
            return Ok(Arranged::AsItCame);
        }
        let arrangement = match arrange(decoding::utf8(data)?, &self.asked, &self.answered) {
            Err(DecodeError::Malformed { .. }) if !is_json(data) => return Ok(Arranged::AsItCame),
            arrangement => arrangement?,
        };
        match arrangement {
            Arrangement::NoMessage => return Ok(Arranged::AsItCame),
            Arrangement::Plain if is_read_by_all => return Ok(Arranged::AsItCame),
            Arrangement::Plain => write_event(event.raw, data, out),
            Arrangement::Anew { frame, withheld } => {
                self.withheld = self.withheld.saturating_add(withheld);
                write_event(event.raw, frame.as_bytes(), out);
            }
        }
        Ok(Arranged::Anew)
    }

    /// Arranges a whole body before it is read; `None` if it leaves as it came.
    pub(crate) fn arrange_body(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        if body.trim_ascii().is_empty() {
            return Ok(None);
        }
        match arrange(decoding::utf8(body)?, &self.asked, &self.answered) {
            Err(DecodeError::Malformed { .. }) if !is_json(body) => Ok(None),
            Err(error) => Err(error),
            Ok(Arrangement::NoMessage | Arrangement::Plain) => Ok(None),
            Ok(Arrangement::Anew { frame, withheld }) => {
                self.withheld = self.withheld.saturating_add(withheld);
                Ok(Some(frame.into_bytes()))
            }
        }
    }

    pub(crate) fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.role = FrameRole::Free;
        match self.frame(data, frame, each) {
            // Clients read no other events than messages.
            Err(error) if !is_message_name(name) && !matches!(error, DecodeError::Utf8 { .. }) && !is_json(data) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    pub(crate) fn body(
        &mut self,
        body: &[u8],
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) -> Result<(), DecodeError> {
        frame.clear();
        if !self.expects_nothing() {
            let has_messages = self.frame(body, frame, each)?;
            return if has_messages { Ok(()) } else { Err(DecodeError::OutOfOrder { what: "a body that answers nothing" }) };
        }
        if body.trim_ascii().is_empty() {
            return Ok(());
        }
        if is_json(body) {
            return self.frame(body, frame, each).map(|_| ());
        }
        // No client reads it, and some may show it.
        let source = decoding::utf8(body)?;
        let choice = self.next_message();
        let text = Text::Verbatim { start: 0, end: source.len() };
        self.report(source, What::Text { is_content: false }, text, choice, frame, each);
        Ok(())
    }

    /// Reads a frame; whether it has messages.
    fn frame(&mut self, data: &[u8], frame: &mut Frame, each: &mut dyn FnMut(DecodedEvent<'_>)) -> Result<bool, DecodeError> {
        if let Some(Alike { string, value, .. }) = self.notification.find(data) {
            self.strings.clear();
            let text = self.strings.read(string, Some(value))?;
            let choice = self.next_message();
            self.report(string, What::Text { is_content: false }, text, choice, frame, each);
            return Ok(true);
        }
        let source = decoding::utf8(data)?;
        let reading = self.read(source)?;
        self.learn(source, &reading.texts);
        for position in &reading.answers {
            frame.finishes.push(u32::try_from(*position).unwrap_or(u32::MAX));
        }
        self.refuse(reading.answers.into_iter());
        for texts in &reading.texts {
            let choice = self.next_message();
            for found in &texts.found {
                self.report(source, found.what, found.text, choice, frame, each);
            }
        }
        Ok(reading.texts.iter().any(|texts| texts.message.is_some()))
    }

    /// Keeps a notification: those that follow may differ in its only text and in how far they say it is.
    fn learn(&mut self, source: &str, texts: &[MessageTexts]) {
        let [MessageTexts { message: Some(message), found, progress }] = texts else { return };
        let [Found { value, what: What::Text { .. }, .. }] = found.as_slice() else { return };
        if message.kind == Kind::Notification {
            self.notification.learn(source, &[(Hole::Text, Some(*value)), (Hole::Number, *progress)], ());
        }
    }

    /// The number of the next message, which is its lane.
    fn next_message(&mut self) -> u32 {
        let number = self.messages;
        self.messages = number.saturating_add(1).checked_rem(LANES).unwrap_or_default();
        number
    }

    /// Reports what was found in a message: in `frame`, where it stands verbatim.
    fn report(
        &mut self,
        source: &str,
        what: What,
        text: Text,
        choice: u32,
        frame: &mut Frame,
        each: &mut dyn FnMut(DecodedEvent<'_>),
    ) {
        let block = BlockId(self.blocks);
        self.blocks = self.blocks.wrapping_add(1);
        let kind = if matches!(what, What::Text { .. }) { BlockKind::Text } else { BlockKind::Other };
        let slot = Slot { block, choice, kind, starts: true, stops: true };
        frame.slots.push(slot);
        frame.role = FrameRole::Content;
        let text = self.strings.get(source, text);
        each(match what {
            What::Text { .. } => DecodedEvent::Delta(delta(slot, "", "", text)),
            What::Tool { .. } => DecodedEvent::Tool { name: text },
        });
    }

    fn read(&mut self, source: &str) -> Result<Reading, DecodeError> {
        self.strings.clear();
        let mut reading = Reading { texts: texts::read(source, &mut self.strings)?, answers: Vec::new() };
        let mut names = NameBytes::default();
        for message in reading.texts.iter().filter_map(|texts| texts.message.as_ref()) {
            if let Some(position) = self.answer(source, message, &mut names)? {
                if reading.answers.contains(&position) {
                    return Err(DecodeError::Unreachable("a second answer in a frame that was arranged"));
                }
                reading.answers.push(position);
            }
        }
        Ok(reading)
    }

    /// Which request a message answers, where that is known. Clients take an answer for that to their request, some of
    /// them whatever its id is.
    fn answer(&self, source: &str, message: &Message, names: &mut NameBytes) -> Result<Option<usize>, DecodeError> {
        if message.kind != Kind::Answer || !self.asked.is_known() {
            return Ok(None);
        }
        let Some(id) = message.id else {
            // Servers that could not read a request do not know its id.
            return if message.error.is_some() {
                Ok(None)
            } else {
                Err(DecodeError::Unreachable("a result without an id in a frame that was arranged"))
            };
        };
        let position = self.asked.find(&Id::read(source, id, names)?);
        let is_open = position.and_then(|position| self.answered.get(position)).is_some_and(|answered| !answered);
        if is_open { Ok(position) } else { Err(DecodeError::Unreachable("an answer to nothing in a frame that was arranged")) }
    }
}

/// Whether all clients look for messages in events of this name.
fn is_message_name(name: &[u8]) -> bool {
    matches!(name, b"" | b"message")
}

/// Writes the event `raw` with `data` in place of its own, or without any, and without its name.
fn write_event(raw: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let mut unread = raw;
    let mut is_written = data.is_empty();
    while !unread.is_empty() {
        let (line, _) = take_line(&mut unread);
        let is_field = |field: &[u8]| line.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"));
        if is_field(b"data") {
            if !core::mem::replace(&mut is_written, true) {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(data);
                out.push(b'\n');
            }
        } else if !line.is_empty() && !is_field(b"event") {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    out.push(b'\n');
}

fn delta<'a>(slot: Slot, call_id: &'a str, name: &'a str, text: &'a str) -> Delta<'a> {
    Delta { call_id, name, text, ..Delta::of(slot) }
}

fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(Vec<String>, FrameRole), DecodeError>;

    fn read(decoder: &mut Decoder, name: &[u8], data: &[u8]) -> Read {
        let (mut frame, mut texts) = (Frame::default(), Vec::new());
        decoder.event(name, data, &mut frame, &mut |part| match part {
            DecodedEvent::Delta(delta) => texts.push(delta.text.to_owned()),
            other => panic!("{other:?}"),
        })?;
        assert_eq!(frame.slots.len(), texts.len());
        Ok((texts, frame.role))
    }

    #[test]
    fn a_notification_is_read_the_same_whatever_came_before() {
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1.0,"message":"one"}}"#;
        let log = r#"{"method":"notifications/message","params":{"level":"info","data":"one"},"jsonrpc":"2.0"}"#;
        let mut texts = 0;
        for first in [progress, log] {
            for (old, new) in [
                ("one", "two"),
                ("one", ""),
                ("one", r#"a \"quote\" \u00e9"#),
                ("one", r"\ud800"),
                ("one", "\n"),
                (r#""one""#, "1"),
                (r#""one""#, r#"["one","two"]"#),
                (r#""one""#, r#""one","data":"two","message":"three""#),
                ("1.0", "2.0"),
                ("1.0", "20.0"),
                ("1.0", "1"),
                ("1.0", "01.0"),
                ("1.0", "-1.0"),
                ("1.0", "1."),
                ("1.0", r#""1.0""#),
                ("1.0", "null"),
                ("params", "Params"),
                ("notifications", "other"),
                (r#"{"jsonrpc""#, r#"{"id":1,"jsonrpc""#),
                (r#""jsonrpc""#, r#""result":{},"jsonrpc""#),
                ("}}", "}} "),
                ("}}", "}}}"),
                ("}}", "}"),
            ] {
                let next = first.replace(old, new);
                for name in ["", "message", "ping"] {
                    let mut used = Decoder::default();
                    assert_eq!(read(&mut used, b"", first.as_bytes()), Ok((vec!["one".to_owned()], FrameRole::Content)));
                    let expected = read(&mut Decoder::default(), name.as_bytes(), next.as_bytes());
                    assert_eq!(read(&mut used, name.as_bytes(), next.as_bytes()), expected, "{next}, event {name:?}");
                    texts += expected.map_or(0, |(texts, _)| texts.len());
                }
            }
        }
        assert!(texts > 50, "most are read: {texts}");
    }
}
