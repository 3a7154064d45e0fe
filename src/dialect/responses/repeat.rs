//! Repetitions: what says again what has come before, and has to say what was really sent.

use smallvec::SmallVec;

use super::PartKey;
use super::item::ItemKind;
use super::output::{IncompleteDetails, Part};
use crate::block::BlockKind;
use crate::json::{self, Edits, Member};

/// A text as the client has it.
#[derive(Debug)]
pub(super) struct SentText {
    pub(super) key: PartKey,
    pub(super) kind: BlockKind,
    pub(super) text: String,
    /// Some of it did not leave as it came.
    pub(super) changed: bool,
    pub(super) is_done: bool,
}

/// An item as the client has it.
#[derive(Debug)]
pub(super) struct Item {
    /// `output_index` as the client knows it; `None` if the client does not have the item.
    pub(super) index: Option<u32>,
    pub(super) kind: ItemKind,
    /// As it began; of an item without texts, as it ended.
    pub(super) json: String,
    pub(super) texts: SmallVec<[SentText; 1]>,
    /// Where the latest command begins in the text of a shell's call.
    pub(super) command_start: usize,
    pub(super) is_done: bool,
    /// How it ended.
    pub(super) status: String,
}

impl Item {
    /// The item that `json` begins.
    pub(super) fn new(index: Option<u32>, json: &str) -> Self {
        Self {
            index,
            kind: kind_of(json),
            json: json.to_owned(),
            texts: SmallVec::new(),
            command_start: 0,
            is_done: false,
            status: String::new(),
        }
    }

    pub(super) fn is_reasoning(&self) -> bool {
        is_reasoning(&self.json)
    }

    /// The text at `key`.
    pub(super) fn text(&mut self, key: PartKey, kind: BlockKind) -> Option<&mut SentText> {
        let known = self.texts.iter().rposition(|text| text.key == key);
        if known.is_none() {
            self.texts.push(SentText { key, kind, text: String::new(), changed: false, is_done: false });
        }
        match known {
            Some(position) => self.texts.get_mut(position),
            None => self.texts.last_mut(),
        }
    }

    /// What the item asks for, as it was sent.
    fn payload_text(&self) -> &str {
        self.texts.iter().find(|text| text.key == PartKey::Payload).map_or("", |text| text.text.as_str())
    }

    /// Lets `element`, a repetition of the item within `document`, say what was sent.
    pub(super) fn repeat(&self, document: &str, element: &str, edits: &mut Edits) {
        let members = json::members(element);
        if let Some(payload) = self.kind.payload() {
            if payload.text_in(element) != self.payload_text() {
                payload.write(document, element, self.payload_text(), edits);
            }
            let (own, began) = (json::member(&members, "name"), json::members(&self.json));
            if let (Some(own), Some(sent)) = (own, json::member(&began, "name"))
                && json::string(own) != json::string(sent)
                && sent != "\"\""
            {
                edits.replace(json::span(document, own), sent);
            }
            return;
        }
        for sent in &self.texts {
            if let Some(part) = part_of(&members, sent.key) {
                sent.repeat(document, part, edits);
            }
        }
    }

    /// The item as it was sent, where the upstream does not repeat it.
    pub(super) fn to_json(&self) -> String {
        let mut edits = Edits::default();
        let members = json::members(&self.json);
        let mut set = Vec::new();
        if json::member(&members, "status").is_some() {
            set.push(("status", json::to_text(&self.status)));
        }
        if let Some(payload) = self.kind.payload() {
            if payload.text_in(&self.json) != self.payload_text() {
                payload.write(&self.json, &self.json, self.payload_text(), &mut edits);
            }
        } else {
            let parts = |is_content: bool| {
                let texts = self.texts.iter().filter(|text| matches!(text.key, PartKey::Content(_)) == is_content);
                texts.map(|sent| Part::new(sent.key, sent.kind, &sent.text)).collect::<Vec<_>>()
            };
            for (key, parts) in [("content", parts(true)), ("summary", parts(false))] {
                if !parts.is_empty() {
                    set.push((key, json::to_text(&parts)));
                }
            }
        }
        edits.edit_object(&self.json, &self.json, &members, &[], &set);
        apply(&self.json, edits)
    }
}

impl SentText {
    /// Lets `part`, a repetition of the text within `document`, say what was sent.
    pub(super) fn repeat(&self, document: &str, part: &str, edits: &mut Edits) {
        let members = json::members(part);
        let key = if json::member(&members, "refusal").is_some() { "refusal" } else { "text" };
        let Some(literal) = json::member(&members, key) else { return };
        if json::string(literal) != self.text.as_str() {
            replace_text(document, part, &members, key, &self.text, edits);
        }
    }
}

/// Puts `text` into `object`; what describes the text that stood there goes with that.
pub(super) fn replace_text(document: &str, object: &str, members: &[Member<'_>], key: &str, text: &str, edits: &mut Edits) {
    let mut set = vec![(key, json::to_text(text))];
    for list in ["logprobs", "annotations"] {
        if json::member(members, list).is_some() {
            set.push((list, "[]".to_owned()));
        }
    }
    edits.edit_object(document, object, members, &[], &set);
}

/// The part of an item with these members.
pub(super) fn part_of<'d>(members: &[Member<'d>], key: PartKey) -> Option<&'d str> {
    let (list, index) = match key {
        PartKey::Content(index) => ("content", index),
        PartKey::Summary(index) => ("summary", index),
        PartKey::Payload => return None,
    };
    let parts = json::member(members, list).map(json::elements)?;
    parts.get(usize::try_from(index).ok()?).copied()
}

/// Whether the item `json` is reasoning, sealed or not.
pub(super) fn is_reasoning(json: &str) -> bool {
    json::member(&json::members(json), "type").is_some_and(|kind| json::string(kind) == "reasoning")
}

/// What the item `json` is.
pub(super) fn kind_of(json: &str) -> ItemKind {
    let members = json::members(json);
    let kind = json::member(&members, "type").map(json::string).unwrap_or_default();
    ItemKind::of(&kind, false, json::member(&members, "encrypted_content").is_some())
}

/// `document` with the edits.
pub(super) fn apply(document: &str, edits: Edits) -> String {
    let mut edited = Vec::with_capacity(document.len());
    edits.apply(document.as_bytes(), &mut edited);
    String::from_utf8(edited).unwrap_or_default()
}

/// The response that began as `began`, at its end.
pub(super) fn ended_response(began: &str, status: &str, details: Option<IncompleteDetails>, output: &str) -> String {
    let members = json::members(began);
    let set = [("status", json::to_text(status)), ("incomplete_details", json::to_text(&details)), ("output", output.to_owned())];
    let mut edits = Edits::default();
    edits.edit_object(began, began, &members, &["output_text"], &set);
    apply(began, edits)
}
