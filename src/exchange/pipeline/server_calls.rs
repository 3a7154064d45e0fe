//! Calls that the provider carries out itself, and what comes of them for their results.

use std::collections::BTreeMap;

use super::Sink;
use crate::block::{BlockId, BlockKind};
use crate::dialect::{Delta, SlotAction};
use crate::exchange::release_queue::SlotRef;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    Undecided,
    Left,
    Removed,
}

#[derive(Debug)]
struct ServerCall {
    lot: Lot,
    waiting: Vec<SlotRef>,
}

#[derive(Debug, Default)]
pub(super) struct ServerCalls {
    calls: BTreeMap<BlockId, ServerCall>,
    /// The first call of each id.
    by_id: BTreeMap<Box<str>, BlockId>,
    /// The call of each result.
    by_result: BTreeMap<BlockId, BlockId>,
}

impl ServerCalls {
    pub(super) fn begin(&mut self, delta: &Delta<'_>) {
        self.calls.insert(delta.block, ServerCall { lot: Lot::Undecided, waiting: Vec::new() });
        if !delta.call_id.is_empty() {
            self.by_id.entry(delta.call_id.into()).or_insert(delta.block);
        }
    }

    pub(super) fn decide(&mut self, block: BlockId, kind: BlockKind, removed: bool, sink: &mut Sink<'_>) {
        if kind != BlockKind::ServerToolCall {
            return;
        }
        let Some(call) = self.calls.get_mut(&block).filter(|call| call.lot == Lot::Undecided) else { return };
        call.lot = if removed { Lot::Removed } else { Lot::Left };
        for slot in call.waiting.drain(..) {
            sink.release_queue.decide(slot, if removed { SlotAction::Remove } else { SlotAction::Keep });
        }
    }

    /// The result of a call shares the call's lot: without it the next request would be refused.
    pub(super) fn result(&mut self, delta: &Delta<'_>, slot: SlotRef, sink: &mut Sink<'_>) {
        let of_call = if delta.starts { self.by_id.get(delta.call_id) } else { self.by_result.get(&delta.block) }.copied();
        let Some((of_call, call)) = of_call.and_then(|block| self.calls.get_mut(&block).map(|call| (block, call))) else {
            return sink.release_queue.decide(slot, SlotAction::Keep);
        };
        self.by_result.insert(delta.block, of_call);
        match call.lot {
            Lot::Undecided => call.waiting.push(slot),
            Lot::Removed => sink.release_queue.decide(slot, SlotAction::Remove),
            Lot::Left => sink.release_queue.decide(slot, SlotAction::Keep),
        }
    }
}
