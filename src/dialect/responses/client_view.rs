//! What the client has of the items, and how it came to that.

use smallvec::SmallVec;

use super::item::ItemKind;
use super::rewrite::{Element, apply, is_reasoning, kind_of, replace_text};
use super::{EventKind, PartKey, Place, Reading};
use crate::dialect::SlotAction;
use crate::wire::json::{self, Edits};

/// Most bytes of items without texts of their own that are kept for the end of the response.
const MAX_KEPT_ITEM_BYTES: usize = 1024 * 1024;

/// A text as the client has it.
#[derive(Debug)]
pub(super) struct ClientText {
    pub(super) key: PartKey,
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
    pub(super) texts: SmallVec<[ClientText; 1]>,
    /// Where the latest command begins in the text of a shell's call.
    pub(super) command_start: usize,
    pub(super) is_done: bool,
    /// The client was told that it begins.
    pub(super) is_announced: bool,
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
            is_announced: true,
            status: String::new(),
        }
    }

    pub(super) fn is_reasoning(&self) -> bool {
        is_reasoning(&self.json)
    }

    /// The text at `key`.
    pub(super) fn text(&mut self, key: PartKey) -> Option<&mut ClientText> {
        let known = self.texts.iter().rposition(|text| text.key == key);
        if known.is_none() {
            self.texts.push(ClientText { key, text: String::new(), changed: false, is_done: false });
        }
        match known {
            Some(position) => self.texts.get_mut(position),
            None => self.texts.last_mut(),
        }
    }
}

impl ClientText {
    /// What came leaves with this action.
    pub(super) fn take(&mut self, action: &SlotAction, came: &str) {
        match action {
            SlotAction::Keep => self.text.push_str(came),
            SlotAction::Replace(text) => {
                self.text.push_str(text);
                self.changed |= text != came;
            }
            SlotAction::Remove => self.changed |= !came.is_empty(),
        }
    }

    /// Whether a repetition that says `said` may stay, where `text` was sent: one that says no text claims nothing.
    pub(super) fn is_repeated_by(&self, said: &str, text: &str) -> bool {
        said == text || (said.is_empty() && !self.changed && self.key != PartKey::Payload)
    }

    /// Whether nothing is left of a text that may not be empty.
    pub(super) fn is_withheld(&self) -> bool {
        self.changed && self.text.is_empty() && matches!(self.key, PartKey::Text(_) | PartKey::Refusal(_))
    }
}

impl Item {
    /// The id by which the client knows it.
    pub(super) fn id(&self) -> String {
        json::member(&json::members(&self.json), "id").map(json::string).unwrap_or_default().into_owned()
    }

    pub(super) fn has_changed(&self, key: PartKey) -> bool {
        self.texts.iter().any(|sent| sent.key == key && sent.changed)
    }

    /// Whether the client has all of it as it came.
    pub(super) fn is_as_it_came(&self) -> bool {
        self.index.is_some() && self.texts.iter().all(|sent| !sent.changed)
    }

    /// A slot of a repetition comes: `received` is what stands there.
    pub(super) fn receive(&mut self, place: Place, action: &SlotAction, received: &str) {
        let key = match place.part {
            Some(key) => key,
            None if self.kind.payload().is_some() => PartKey::Payload,
            None => return,
        };
        let Some(sent) = self.text(key) else { return };
        if place.differs {
            let may_leave = match action {
                SlotAction::Keep => true,
                SlotAction::Replace(text) => text == received,
                SlotAction::Remove => false,
            };
            // What was changed is repeated as it was sent, and so is what may not be said otherwise.
            if may_leave && !sent.changed {
                received.clone_into(&mut sent.text);
            }
            sent.changed |= !may_leave;
            return;
        }
        match action {
            // What has come before is only repeated.
            SlotAction::Keep if sent.changed || !sent.text.is_empty() => {}
            _ => sent.take(action, received),
        }
    }

    /// Lets an event that repeats one text say what was sent.
    pub(super) fn repeat_text(&self, source: &str, reading: &Reading, edits: &mut Edits) {
        let Some(sent) = self.texts.iter().find(|sent| sent.key == reading.part) else { return };
        let members = json::members(source);
        let key = match self.kind.payload() {
            Some(payload) => payload.event_key().unwrap_or_default(),
            None => sent.key.member(),
        };
        let Some(literal) = json::member(&members, key) else { return };
        let said = json::string(literal);
        let text = match self.kind.payload() {
            Some(_) if reading.event == EventKind::CommandDone => sent.text.get(self.command_start..).unwrap_or_default(),
            Some(payload) => payload.repeated(&sent.text),
            None => &sent.text,
        };
        if !sent.is_repeated_by(&said, text) {
            replace_text(source, source, &members, key, text, edits);
        }
    }

    /// Whether its end says nothing but its texts.
    pub(super) fn is_list_of_texts(&self) -> bool {
        !self.texts.is_empty() && self.kind.payload().is_none() && self.kind != ItemKind::Unknown
    }

    /// Keeps `element`, the end of an item that is no list of texts, as it was sent and as long as there is room; what is
    /// kept by now.
    pub(super) fn keep_ended(&mut self, element: &Element<'_>, kept: usize) -> usize {
        let all = kept.saturating_add(element.json.len());
        if self.is_list_of_texts() || all > MAX_KEPT_ITEM_BYTES {
            return kept;
        }
        if self.kind == ItemKind::Unknown {
            // It leaves as it came.
            element.json.clone_into(&mut self.json);
            return all;
        }
        let mut edits = Edits::default();
        self.repeat(element.json, element, &mut edits);
        self.json = apply(element.json, edits);
        all
    }
}

/// The text of `element` at `place`.
pub(super) fn text_at(item: &Item, element: &Element<'_>, place: Place) -> String {
    let literal = match place.part {
        None => {
            let payload = kind_of(element.json).payload().or_else(|| item.kind.payload());
            return payload.map(|payload| payload.text_in(element.json)).unwrap_or_default();
        }
        Some(key) => element.part(key).and_then(|part| json::member(&json::members(part), key.member())),
    };
    literal.map(json::string).unwrap_or_default().into_owned()
}
