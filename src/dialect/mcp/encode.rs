//! Writes requests that leave changed, and what the client gets.

use std::rc::Rc;

use super::texts::{self, What};
use super::{Asked, output, request};
use crate::block::Chunk;
use crate::dialect::decoding::Strings;
use crate::dialect::framing::{EventBoundary, WITHHELD, with_data};
use crate::dialect::{Ending, Frame, Insertion, SlotAction, TooLate};
use crate::wire::json::{self, Edits};

/// Writes the frames of one exchange: the request first, then what comes back.
#[derive(Debug, Default)]
pub struct Encoder {
    asked: Rc<Asked>,
    /// The next body is the request.
    awaits_request: bool,
    /// Which of the requests are answered.
    answered: Vec<bool>,
    /// Calls that did not leave and whose clients have not been told so yet.
    refused: Vec<(usize, String)>,
    /// What policies sent and there was no place for.
    late: u32,
    /// What a policy says in place of what is not answered.
    said: String,
    ended: bool,
    boundary: EventBoundary,
}

impl Encoder {
    /// An encoder of an exchange in which this is asked.
    pub(crate) fn new(asked: Rc<Asked>) -> Self {
        Self { awaits_request: true, answered: vec![false; asked.requests.len()], asked, ..Self::default() }
    }

    /// The calls that did not leave.
    pub(crate) fn refused(&self) -> impl Iterator<Item = usize> {
        self.refused.iter().map(|(position, _)| *position)
    }

    /// What there was no place for.
    pub(crate) const fn late(&self) -> u32 {
        self.late
    }

    /// Nothing of the request leaves: what is asked besides the calls is refused, too.
    pub(crate) fn refuse_all(&mut self) {
        for position in 0..self.asked.requests.len() {
            if self.refused.iter().all(|(refused, _)| *refused != position) {
                self.refused.push((position, WITHHELD.to_owned()));
            }
        }
    }

    /// The answers to what did not leave, as a body of their own. `None` if all has left.
    pub(crate) fn refusals(&mut self) -> Option<Vec<u8>> {
        if self.refused.is_empty() {
            return None;
        }
        let mut body = Vec::new();
        let answers = self.take_refusals();
        output::body(&self.asked, &answers, self.asked.streams_only, &mut body);
        Some(body)
    }

    pub(crate) fn event(&mut self, raw: &[u8], frame: &Frame, actions: &[SlotAction], out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        self.note_answers(frame);
        if is_untouched(frame, actions) {
            self.boundary.verbatim(raw, out);
        } else {
            let mut edited = Vec::with_capacity(raw.len());
            with_data(raw, |data| edit(data, actions, &[], &mut edited));
            self.boundary.with_data(raw, &edited, out);
        }
        // Behind the first event: a byte order mark may stand before it.
        self.write_refusals(out);
    }

    pub(crate) fn body(
        &mut self,
        raw: &[u8],
        frame: &Frame,
        actions: &[SlotAction],
        insertions: &[Insertion],
        out: &mut Vec<u8>,
    ) {
        let source = core::str::from_utf8(raw).unwrap_or_default();
        if core::mem::take(&mut self.awaits_request) {
            if insertions.is_empty() && is_untouched(frame, actions) {
                return out.extend_from_slice(raw);
            }
            let decided = request::write(source, actions, insertions, out);
            self.refused = decided.refused;
            self.late = decided.late;
            return;
        }
        self.note_answers(frame);
        let refusals = self.take_refusals();
        if is_untouched(frame, actions) && refusals.is_empty() {
            return out.extend_from_slice(raw);
        }
        edit(raw, actions, &refusals, out);
    }

    pub(crate) fn chunk(&mut self, chunk: &Chunk) -> Result<(), TooLate> {
        match chunk {
            // It becomes the answer to what is still to be answered.
            Chunk::Text { text, .. } if !self.ended => {
                self.said.push_str(text);
                Ok(())
            }
            Chunk::Text { .. } | Chunk::ToolCall { .. } => Err(TooLate),
        }
    }

    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.ended {
            self.write_refusals(out);
        }
    }

    /// Answers what is still to be answered.
    pub(crate) fn end(&mut self, _: Ending, out: &mut Vec<u8>) {
        if core::mem::replace(&mut self.ended, true) {
            return;
        }
        self.write_refusals(out);
        let said = core::mem::take(&mut self.said);
        let answers: Vec<_> = self.open().map(|position| self.refusal(position, &said)).collect();
        self.write_all(&answers, out);
    }

    pub(crate) fn failure(&mut self, message: &str, out: &mut Vec<u8>) {
        if core::mem::replace(&mut self.ended, true) {
            return;
        }
        self.write_refusals(out);
        let requests = self.open().filter_map(|position| self.asked.requests.get(position));
        let mut answers: Vec<_> = requests.map(|request| output::internal_error(request, message)).collect();
        if self.asked.requests.is_empty() {
            answers.push(output::log_message(message));
        }
        self.write_all(&answers, out);
    }

    /// The requests that are not answered.
    fn open(&self) -> impl Iterator<Item = usize> {
        self.answered.iter().enumerate().filter(|(_, answered)| !**answered).map(|(position, _)| position)
    }

    fn note_answers(&mut self, frame: &Frame) {
        for position in &frame.finishes {
            self.note_answer(usize::try_from(*position).unwrap_or(usize::MAX));
        }
    }

    fn note_answer(&mut self, position: usize) {
        if let Some(answered) = self.answered.get_mut(position) {
            *answered = true;
        }
    }

    fn refusal(&self, position: usize, text: &str) -> String {
        self.asked.requests.get(position).map(|request| output::refusal(&self.asked, request, text)).unwrap_or_default()
    }

    fn take_refusals(&mut self) -> Vec<String> {
        let refused = core::mem::take(&mut self.refused);
        for (position, _) in &refused {
            self.note_answer(*position);
        }
        refused.iter().map(|(position, text)| self.refusal(*position, text)).collect()
    }

    fn write_refusals(&mut self, out: &mut Vec<u8>) {
        if !self.refused.is_empty() {
            let answers = self.take_refusals();
            self.write_all(&answers, out);
        }
    }

    fn write_all(&mut self, answers: &[String], out: &mut Vec<u8>) {
        for answer in answers {
            self.boundary.close(out);
            output::event(answer, out);
        }
    }
}

fn is_untouched(frame: &Frame, actions: &[SlotAction]) -> bool {
    actions.len() >= frame.slots.len() && actions.iter().all(|action| *action == SlotAction::Keep)
}

/// Writes `data` with what was decided about its slots, and with these answers beside its own.
fn edit(data: &[u8], actions: &[SlotAction], answers: &[String], out: &mut Vec<u8>) {
    let source = core::str::from_utf8(data).unwrap_or_default();
    let Ok(texts) = texts::read(source, &mut Strings::default()) else {
        // It is no JSON: one text.
        let text = match actions {
            [SlotAction::Keep] => source,
            [SlotAction::Replace(text)] => text,
            _ => "",
        };
        return if answers.is_empty() {
            out.extend_from_slice(text.as_bytes());
        } else {
            add_answers("", Edits::default(), answers, out);
        };
    };
    let mut edits = Edits::default();
    let found = texts.iter().flat_map(|message| &message.found);
    let mut lists: Vec<Vec<(core::ops::Range<usize>, bool)>> = Vec::new();
    // What was not decided does not leave.
    for (found, action) in found.zip(actions.iter().chain(core::iter::repeat(&SlotAction::Remove))) {
        let span = found.value.start..found.value.end;
        match (found.what, action) {
            (What::Tool { list, .. }, action) => {
                let list = usize::try_from(list).unwrap_or_default();
                lists.resize_with(lists.len().max(list.saturating_add(1)), Vec::new);
                if let Some(list) = lists.get_mut(list) {
                    list.push((span, *action == SlotAction::Remove));
                }
            }
            (What::Text { .. }, SlotAction::Keep) => {}
            (What::Text { .. }, SlotAction::Replace(text)) if !text.is_empty() => edits.replace(span, json::to_text(text)),
            (What::Text { is_content }, _) => edits.replace(span, json::to_text(if is_content { WITHHELD } else { "" })),
        }
    }
    for list in lists {
        let spans: Vec<_> = list.iter().map(|(span, _)| span.clone()).collect();
        edits.remove_items(&spans, |at| list.get(at).is_some_and(|(_, removed)| *removed));
    }
    let has_messages = texts.iter().any(|message| message.message.is_some());
    match (answers, has_messages) {
        ([], _) => edits.apply(data, out),
        (answers, true) => add_answers(source, edits, answers, out),
        // What answers nothing makes way for what does.
        (answers, false) => add_answers("", Edits::default(), answers, out),
    }
}

/// Makes an array of answers of `frame`, or adds to the one that it is.
fn add_answers(source: &str, edits: Edits, answers: &[String], out: &mut Vec<u8>) {
    let mut edited = Vec::with_capacity(source.len());
    edits.apply(source.as_bytes(), &mut edited);
    let body = edited.trim_ascii();
    let inner = body.strip_prefix(b"[").and_then(|body| body.strip_suffix(b"]")).unwrap_or(body).trim_ascii();
    out.push(b'[');
    out.extend_from_slice(inner);
    if !inner.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(answers.join(",").as_bytes());
    out.push(b']');
}
