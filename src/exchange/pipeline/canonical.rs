//! Calls that do not leave by the bytes in which they came: each leaves as one call, of exactly what the policies saw.

use std::collections::{BTreeMap, BTreeSet};

use super::Sink;
use crate::block::{BlockId, BlockKind, Chunk};
use crate::dialect::SlotAction;
use crate::exchange::release_queue::SlotRef;
use crate::exchange::stage::StageDelta;
use crate::policy::Place;

/// A call that has passed all stages, and waits for its end.
#[derive(Debug)]
pub(super) struct CanonicalCall {
    kind: BlockKind,
    choice: u32,
    before: Place,
    call_id: String,
    name: String,
    arguments: String,
    extras: String,
    free_form: bool,
    slots: Vec<SlotRef>,
}

#[derive(Debug, Default)]
pub(super) struct Canonical {
    waiting: BTreeMap<BlockId, CanonicalCall>,
    /// The call that left as it came, as far as it has: it cannot leave otherwise any more.
    left: BTreeSet<BlockId>,
}

impl Canonical {
    /// The beginning of a call leaves as it came.
    pub(super) fn note_left(&mut self, block: BlockId) {
        self.left.insert(block);
    }

    /// Whether the call is to be written anew.
    pub(super) fn is_known(&self, block: BlockId) -> bool {
        self.waiting.contains_key(&block)
    }

    /// Takes a delta of a call that is to be written anew; unless it has left in part.
    pub(super) fn take(&mut self, item: &StageDelta<'_>) -> bool {
        if self.left.contains(&item.block) {
            return false;
        }
        let call = self.waiting.entry(item.block).or_insert_with(|| CanonicalCall {
            kind: item.kind,
            choice: item.choice,
            before: item.before,
            call_id: String::new(),
            name: String::new(),
            arguments: String::new(),
            extras: String::new(),
            free_form: false,
            slots: Vec::new(),
        });
        call.call_id.push_str(&item.call_id);
        call.name.push_str(&item.name);
        call.arguments.push_str(&item.text);
        call.free_form |= item.free_form;
        if call.extras.is_empty() {
            call.extras.push_str(&item.extras);
        }
        call.slots.extend(item.slot);
        true
    }

    /// The call has ended.
    pub(super) fn end(&mut self, block: BlockId) -> Option<CanonicalCall> {
        self.waiting.remove(&block)
    }
}

impl CanonicalCall {
    /// Writes it in the place of its pieces. One that the provider carries out itself cannot be written by anybody else: it
    /// does not leave.
    pub(super) fn leave(self, sink: &mut Sink<'_>) {
        for slot in self.slots {
            sink.release_queue.decide(slot, SlotAction::Remove);
        }
        if self.kind == BlockKind::ToolCall {
            let chunk = Chunk::ToolCall {
                choice: self.choice,
                call_id: self.call_id,
                name: self.name,
                arguments: self.arguments,
                free_form: self.free_form,
            };
            sink.release_queue.insert(self.before, chunk, self.extras, sink.out);
        }
    }
}
