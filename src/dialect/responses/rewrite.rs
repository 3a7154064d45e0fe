//! Repetitions: what says again what has come before, and has to say what was really sent.

use super::client_view::{ClientText, Item};
use super::item::ItemKind;
use super::output::{DecodedEvent, IncompleteDetails};
use super::{List, PartKey};
use crate::wire::json::{self, Edits, Member};

/// An item as it stands in a frame, taken apart once for all its parts.
pub(super) struct Element<'d> {
    pub(super) json: &'d str,
    members: Vec<Member<'d>>,
    content: Vec<&'d str>,
    summary: Vec<&'d str>,
}

impl<'d> Element<'d> {
    pub(super) fn new(json: &'d str) -> Self {
        let members = json::members(json);
        let [content, summary] =
            ["content", "summary"].map(|list| json::member(&members, list).map(json::elements).unwrap_or_default());
        Self { json, members, content, summary }
    }

    /// The part at `key`.
    pub(super) fn part(&self, key: PartKey) -> Option<&'d str> {
        let (list, index) = key.place()?;
        let list = match list {
            List::Content => &self.content,
            List::Summary => &self.summary,
        };
        list.get(usize::try_from(index).ok()?).copied()
    }
}

impl Item {
    /// What the item asks for, as it was sent.
    fn payload_text(&self) -> &str {
        self.texts.iter().find(|text| text.key == PartKey::Payload).map_or("", |text| text.text.as_str())
    }

    /// Lets `element`, a repetition of the item within `frame`, say what was sent.
    pub(super) fn repeat(&self, source: &str, element: &Element<'_>, edits: &mut Edits) {
        let members = &element.members;
        if self.kind == ItemKind::Unknown {
            if !is_same(members, &json::members(&self.json)) {
                edits.replace(json::span(source, element.json), self.json.as_str());
            }
            return;
        }
        if let Some(payload) = self.kind.payload() {
            if payload.text_in(element.json) != self.payload_text() {
                payload.write(source, element.json, self.payload_text(), edits);
            }
            let (own, began) = (json::member(members, "name"), json::members(&self.json));
            if let (Some(own), Some(sent)) = (own, json::member(&began, "name"))
                && json::string(own) != json::string(sent)
                && sent != "\"\""
            {
                edits.replace(json::span(source, own), sent);
            }
            return;
        }
        for sent in &self.texts {
            if let Some(part) = element.part(sent.key) {
                sent.repeat(source, part, edits);
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
            // Of a call that comes whole at its end nothing else is known than how it began.
            let sent = self.payload_text();
            let has_come = !sent.is_empty() || self.has_changed(PartKey::Payload);
            if has_come && payload.text_in(&self.json) != sent {
                payload.write(&self.json, &self.json, sent, &mut edits);
            }
        } else {
            for (key, list) in [("content", List::Content), ("summary", List::Summary)] {
                let texts = self.texts.iter().filter(|sent| sent.key.place().is_some_and(|(of, _)| of == list));
                let parts = texts.map(|sent| DecodedEvent::new(sent.key, &sent.text)).collect::<Vec<_>>();
                if !parts.is_empty() {
                    set.push((key, json::to_text(&parts)));
                }
            }
        }
        edits.edit_object(&self.json, &self.json, &members, &[], &set);
        apply(&self.json, edits)
    }
}

impl ClientText {
    /// Lets `part`, a repetition of the text within `frame`, say what was sent.
    pub(super) fn repeat(&self, source: &str, part: &str, edits: &mut Edits) {
        let members = json::members(part);
        let key = self.key.member();
        let Some(literal) = json::member(&members, key) else { return };
        if !self.is_repeated_by(&json::string(literal), &self.text) {
            replace_text(source, part, &members, key, &self.text, edits);
        }
    }
}

/// Puts `text` into `object`; what describes the text that stood there goes with that.
pub(super) fn replace_text(source: &str, object: &str, members: &[Member<'_>], key: &str, text: &str, edits: &mut Edits) {
    let mut set = vec![(key, json::to_text(text))];
    for list in ["logprobs", "annotations"] {
        if json::member(members, list).is_some() {
            set.push((list, "[]".to_owned()));
        }
    }
    edits.edit_object(source, object, members, &[], &set);
}

/// Whether two items say the same, but for what providers make anew each time.
fn is_same(one: &[Member<'_>], other: &[Member<'_>]) -> bool {
    let says = |members: &[Member<'_>]| {
        let lasting = |member: &&Member<'_>| !matches!(&*member.key, "id" | "encrypted_content" | "fingerprint");
        members.iter().filter(lasting).map(|member| [member.key_text.to_owned(), member.value.to_owned()]).collect::<Vec<_>>()
    };
    says(one) == says(other)
}

/// Whether the item `json` is reasoning, sealed or not.
pub(super) fn is_reasoning(json: &str) -> bool {
    json::member(&json::members(json), "type").is_some_and(|kind| json::string(kind) == "reasoning")
}

/// What the item `json` is. Who writes it need not know where a call is carried out, nor whether reasoning is sealed.
pub(super) fn kind_of(json: &str) -> ItemKind {
    let members = json::members(json);
    let kind = json::member(&members, "type").map(json::string).unwrap_or_default();
    ItemKind::of(&kind, false, false)
}

/// `frame` with the edits.
pub(super) fn apply(source: &str, edits: Edits) -> String {
    let mut edited = Vec::with_capacity(source.len());
    edits.apply(source.as_bytes(), &mut edited);
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
