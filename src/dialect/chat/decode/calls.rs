//! The tool calls of a choice, and which of them a delta is about. A choice may have thousands, and as many deltas: nothing is
//! found by going through them.

use std::collections::BTreeMap;

use super::{Call, CallKey};
use crate::block::BlockId;
use crate::wire::json::ObjectScanner;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Calls {
    list: Vec<Call>,
    /// The latest call of each key.
    by_key: BTreeMap<CallKey, usize>,
    /// The latest call of each id.
    by_id: BTreeMap<Box<str>, usize>,
    /// The latest call that is no `function_call`.
    latest_listed: Option<usize>,
    /// How many are no `function_call`.
    listed: u32,
    /// Those with an odd index that may be open, in their order.
    odd: Vec<usize>,
    /// The index behind the highest.
    next_index: u32,
}

impl Calls {
    pub(super) fn get(&self, position: usize) -> Option<&Call> {
        self.list.get(position)
    }

    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut Call> {
        self.list.get_mut(position)
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Call> {
        self.list.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives the latest call of that key.
    pub(super) fn of_key(&self, key: CallKey) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    /// Gives the latest call of that id.
    pub(super) fn of_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) const fn latest_listed(&self) -> Option<usize> {
        self.latest_listed
    }

    /// Gives how many calls are in the list of calls: the place of the next.
    pub(super) const fn listed(&self) -> u32 {
        self.listed
    }

    /// Gives the latest call with an odd index that is open.
    pub(super) fn latest_open_odd(&mut self) -> Option<usize> {
        // One that has closed never opens again.
        while let Some(latest) = self.odd.last() {
            if self.list.get(*latest).is_some_and(|call| call.open) {
                return Some(*latest);
            }
            self.odd.pop();
        }
        None
    }

    /// Takes in a call that begins; without a key it has the next index. Its position.
    pub(super) fn push(&mut self, key: Option<CallKey>, block: BlockId) -> usize {
        let position = self.list.len();
        let key = key.unwrap_or(CallKey::Index(self.next_index));
        match key {
            CallKey::Index(index) => self.next_index = self.next_index.max(index.saturating_add(1)),
            CallKey::Odd(_) => self.odd.push(position),
            CallKey::Function => {}
        }
        if key != CallKey::Function {
            self.latest_listed = Some(position);
            self.listed = self.listed.saturating_add(1);
        }
        self.by_key.insert(key, position);
        self.list.push(Call {
            key,
            block,
            id: String::new(),
            name: String::new(),
            free_form: None,
            arguments: ObjectScanner::default(),
            open: true,
            latest_frame: 0,
        });
        position
    }

    /// The call at `position` has said its id.
    pub(super) fn identify(&mut self, position: usize, id: &str) {
        if let Some(call) = self.list.get_mut(position) {
            id.clone_into(&mut call.id);
        }
        let latest = self.by_id.entry(id.into()).or_insert(position);
        *latest = position.max(*latest);
    }
}
