//! Calls that the provider carries out itself, and what comes of them for their results.

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
    block: BlockId,
    call_id: String,
    lot: Lot,
    result: Option<BlockId>,
    waiting: Vec<SlotRef>,
}

#[derive(Debug, Default)]
pub(super) struct ServerCalls(Vec<ServerCall>);

impl ServerCalls {
    pub(super) fn begin(&mut self, delta: &Delta<'_>) {
        let (block, call_id) = (delta.block, delta.call_id.to_owned());
        self.0.push(ServerCall { block, call_id, lot: Lot::Undecided, result: None, waiting: Vec::new() });
    }

    pub(super) fn decide(&mut self, block: BlockId, kind: BlockKind, removed: bool, sink: &mut Sink<'_>) {
        if kind != BlockKind::ServerToolCall {
            return;
        }
        let Some(call) = self.0.iter_mut().find(|call| call.block == block && call.lot == Lot::Undecided) else { return };
        call.lot = if removed { Lot::Removed } else { Lot::Left };
        for slot in call.waiting.drain(..) {
            sink.release_queue.decide(slot, if removed { SlotAction::Remove } else { SlotAction::Keep });
        }
    }

    /// The result of a call shares the call's lot: without it the next request would be refused.
    pub(super) fn result(&mut self, delta: &Delta<'_>, slot: SlotRef, sink: &mut Sink<'_>) {
        let call = self.0.iter_mut().find(|call| {
            if delta.starts {
                !delta.call_id.is_empty() && call.call_id == delta.call_id
            } else {
                call.result == Some(delta.block)
            }
        });
        let Some(call) = call else { return sink.release_queue.decide(slot, SlotAction::Keep) };
        call.result = Some(delta.block);
        match call.lot {
            Lot::Undecided => call.waiting.push(slot),
            Lot::Removed => sink.release_queue.decide(slot, SlotAction::Remove),
            Lot::Left => sink.release_queue.decide(slot, SlotAction::Keep),
        }
    }
}
