//! The items of a response, and which of them an event is about.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::state::State;
use crate::block::{BlockId, Clarity};
use crate::dialect::DecodeError;
use crate::dialect::responses::PartKey;
use crate::dialect::responses::item::ItemKind;

/// Clients find an item by its place, by its `output_index` or by its id.
const TWO_ITEMS: Clarity = Clarity::Ambiguous("an event names one item by its output_index and another by its item_id");
const OTHER_INDEX: Clarity = Clarity::Ambiguous("the output_index of an event is not that of its item");
const NO_INDEX: Clarity = Clarity::Ambiguous("an event of a tool call does not say which");

/// A text of an item.
#[derive(Debug)]
pub(super) struct OpenPart {
    pub(super) key: PartKey,
    pub(super) block: BlockId,
    pub(super) state: State,
    pub(super) repetitions: u8,
    /// What has come of it.
    pub(super) received: String,
}

/// An item.
#[derive(Debug)]
pub(super) struct Item {
    /// `output_index`
    pub(super) output_index: Option<u32>,
    pub(super) id: Box<str>,
    /// `type`
    pub(super) name: Box<str>,
    pub(super) kind: ItemKind,
    /// The block of its own slots.
    pub(super) block: BlockId,
    pub(super) state: State,
    /// Of a tool call: its id.
    pub(super) call_id: Box<str>,
    /// Of a tool call: the name of its tool, if it has said it.
    pub(super) tool: Box<str>,
    /// Of a tool call: what has come of what it asks for.
    pub(super) received: String,
    /// Of a tool call: whether its bytes say that to every client.
    pub(super) clarity: Clarity,
    /// Whether the latest event that named it by an id used its own.
    named_by_own_id: Option<bool>,
    pub(super) repetitions: u8,
    /// Of a shell's call: how many commands have begun.
    pub(super) commands: u32,
    /// Where the latest of them begins in what has come.
    pub(super) command_start: usize,
    pub(super) parts: SmallVec<[OpenPart; 1]>,
    /// The call that an event told of this item, which is none.
    pub(super) beside: Option<usize>,
}

impl Item {
    /// An item of this type of which nothing has come.
    pub(super) fn new(output_index: Option<u32>, name: &str, kind: ItemKind, block: BlockId) -> Self {
        Self {
            output_index,
            id: "".into(),
            name: name.into(),
            kind,
            block,
            state: State::Empty,
            call_id: "".into(),
            tool: "".into(),
            received: String::new(),
            clarity: Clarity::Plain,
            named_by_own_id: None,
            repetitions: 0,
            commands: 0,
            command_start: 0,
            parts: SmallVec::new(),
            beside: None,
        }
    }

    /// Notes something that is known of the item's clarity.
    pub(super) fn note(&mut self, clarity: Clarity) {
        self.clarity = self.clarity.and(clarity);
    }

    /// Notes by which id an event names the item. There are providers that never use an id twice, so that clients cannot
    /// go by it; where an id is right only now and then, some clients would miss a part.
    fn note_id(&mut self, id: &str) {
        if id.is_empty() || self.id.is_empty() {
            return;
        }
        let is_own = *self.id == *id;
        if self.named_by_own_id.replace(is_own).is_some_and(|before| before != is_own) {
            self.note(Clarity::Canonical);
        }
    }

    /// Whether the call can be written anew, as one of a policy's own.
    pub(super) fn is_rewritable(&self) -> bool {
        matches!(&*self.name, "function_call" | "custom_tool_call")
    }

    /// The clarity of the call. What is not said in the usual order of a call that can stand in one form alone, which
    /// comes whole, is clear all the same.
    pub(super) fn clarity_as_sent(&self) -> Clarity {
        match self.clarity {
            Clarity::Canonical if !self.is_rewritable() => Clarity::Plain,
            clarity => clarity,
        }
    }

    pub(super) fn open_blocks(&self, mut each: impl FnMut(BlockId)) {
        for part in self.parts.iter().filter(|part| part.state.takes_text()) {
            each(part.block);
        }
        if self.kind.payload().is_some() && self.state.takes_text() {
            each(self.block);
        }
    }
}

/// The items of a response, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Items {
    list: Vec<Item>,
    /// The latest item of each `output_index`.
    by_index: BTreeMap<u32, usize>,
    /// The latest item of each id.
    by_id: BTreeMap<Box<str>, usize>,
}

/// A number of an item that is none's.
const NO_ITEM: DecodeError = DecodeError::Unreachable("an item that had begun is gone");

impl Items {
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, number: usize) -> Result<&Item, DecodeError> {
        self.list.get(number).ok_or(NO_ITEM)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Result<&mut Item, DecodeError> {
        self.list.get_mut(number).ok_or(NO_ITEM)
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, Item> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Item> {
        self.list.iter_mut()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes an item in; its number.
    pub(super) fn push(&mut self, item: Item) -> usize {
        let number = self.list.len();
        if let Some(index) = item.output_index {
            self.by_index.insert(index, number);
        }
        if !item.id.is_empty() {
            self.by_id.insert(item.id.clone(), number);
        }
        self.list.push(item);
        number
    }

    /// The item that an event with this `output_index` and this `item_id` names.
    pub(super) fn named(&self, output_index: Option<u32>, id: &str) -> Option<usize> {
        let by_index = output_index.and_then(|index| self.by_index.get(&index));
        by_index.or_else(|| self.by_id.get(id)).copied()
    }

    /// The item that an event with this `output_index` and this `item_id` is about, and whether clients find the same one.
    pub(super) fn find(&mut self, output_index: Option<u32>, id: &str) -> Result<Option<(usize, Clarity)>, DecodeError> {
        let by_index = output_index.and_then(|index| self.by_index.get(&index)).copied();
        let by_id = self.by_id.get(id).copied();
        let found = match (by_index, by_id) {
            (Some(one), Some(other)) if one != other => Some((one, TWO_ITEMS)),
            (Some(number), _) => {
                self.get_mut(number)?.note_id(id);
                Some((number, Clarity::Plain))
            }
            (None, Some(number)) => Some((number, OTHER_INDEX)),
            (None, None) if output_index.is_none() => {
                let is_open = self.list.last().is_some_and(|item| item.state != State::Done);
                is_open.then(|| (self.list.len().saturating_sub(1), NO_INDEX))
            }
            (None, None) => None,
        };
        Ok(found)
    }

    /// Loses the items, and still knows their numbers: what cannot be.
    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        self.list.clear();
    }

    /// Takes all items out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item> {
        core::mem::take(self).list.into_iter()
    }
}
