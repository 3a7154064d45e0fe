//! The pipeline: takes the parts of a response through the stages of the chain, one after the other.
//!
//! What a stage lets go on, the next stage sees; what passes all stages is decided in the release_queue. A hook that waits is
//! kept here with what it was asked about, and goes on where it stopped once a callout was answered.

use core::task::{Context, Poll, Waker};
use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, json};

use super::release_queue::{ReleaseQueue, SlotRef};
use super::stage::{Finish, Passage, Progress, Stage, StageDelta};
use crate::block::{BlockId, BlockKind, Chunk, Clarity, build_text_chunk};
use crate::decision::Decision;
use crate::dialect::framing::TOOL_CALL_WITHHELD;
use crate::dialect::{Delta, Ending, SlotAction};
use crate::event::Severity;
use crate::policy::{BlockAction, Hook, HookOutput, OfferAction, Outgoing, Shared};

/// The release_queue with the buffer that it writes to.
pub(super) struct Sink<'a> {
    pub(super) release_queue: &'a mut ReleaseQueue,
    pub(super) out: &'a mut Vec<u8>,
}

/// The end of a block on its way through the stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockEnd {
    block: BlockId,
    complete: bool,
    /// The slot that says so, where there is one.
    slot: Option<SlotRef>,
    /// Where something that is made at the end goes.
    before: SlotRef,
    /// The block began in the same delta: nothing else of it can come.
    is_whole: bool,
}

/// What a waiting hook was asked about.
#[derive(Debug)]
enum Matter {
    Block(BlockEnd),
    Finish(Finish),
}

struct Running {
    stage: usize,
    matter: Matter,
    hook: Hook,
}

/// A call that the provider carries out itself, and what comes of it for its result.
#[derive(Debug)]
struct ServerCall {
    block: BlockId,
    call_id: String,
    removed: Option<bool>,
    result: Option<BlockId>,
    waiting: Vec<SlotRef>,
}

pub(super) struct Pipeline {
    shared: Rc<Shared>,
    stages: Vec<Stage>,
    running: Vec<Running>,
    server_calls: Vec<ServerCall>,
}

/// Runs a hook as far as it goes. No executor: the exchange polls what waits whenever an answer came.
pub(super) fn poll(hook: &mut Hook) -> Poll<HookOutput> {
    hook.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

impl Pipeline {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        let limits = shared.chain.limits;
        let stages = shared
            .chain
            .policies
            .iter()
            .map(|policy| Stage::new(policy.start(Rc::clone(shared)), policy.interests(), limits.max_response_bytes))
            .collect();
        Self { shared: Rc::clone(shared), stages, running: Vec::new(), server_calls: Vec::new() }
    }

    pub(super) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.running.is_empty()
    }

    /// Takes a delta of a frame through the stages.
    pub(super) fn delta(&mut self, delta: &Delta<'_>, slot: SlotRef, sink: &mut Sink<'_>) {
        match delta.kind {
            BlockKind::ToolResult => return self.tool_result(delta, slot, sink),
            BlockKind::Other => return sink.release_queue.decide(slot, SlotAction::Keep),
            BlockKind::ToolCall if delta.starts => sink.release_queue.begin_call(delta.block),
            BlockKind::ServerToolCall if delta.starts => self.server_calls.push(ServerCall {
                block: delta.block,
                call_id: delta.call_id.to_owned(),
                removed: None,
                result: None,
                waiting: Vec::new(),
            }),
            _ => {}
        }
        let only_stops = delta.stops && !delta.starts && delta.text.is_empty();
        if !only_stops {
            self.pass(0, StageDelta::of(delta, slot), sink);
        }
        if delta.stops {
            sink.release_queue.end_call(delta.block);
            let slot_of_end = only_stops.then_some(slot);
            let end = BlockEnd { block: delta.block, complete: true, slot: slot_of_end, before: slot, is_whole: delta.starts };
            self.end_block(0, end, sink);
        }
    }

    /// A tool is offered to the client.
    pub(super) fn tool_offered(&self, name: &str, slot: SlotRef, sink: &mut Sink<'_>) {
        let is_removed = self.stages.iter().any(|stage| stage.instance.on_tool_offered(name) == OfferAction::Remove);
        self.drain_outgoing(slot, sink);
        if is_removed {
            self.shared.conclude(Decision::Rewrite, None);
        }
        sink.release_queue.decide(slot, if is_removed { SlotAction::Remove } else { SlotAction::Keep });
    }

    /// A block ended without a slot of its own.
    pub(super) fn stop(&mut self, block: BlockId, complete: bool, sink: &mut Sink<'_>) {
        sink.release_queue.end_call(block);
        let before = SlotRef { frame: sink.release_queue.current(), slot: usize::MAX };
        self.end_block(0, BlockEnd { block, complete, slot: None, before, is_whole: false }, sink);
    }

    /// The finish reason of a choice came.
    pub(super) fn finish(&mut self, choice: u32, reason: &str, sink: &mut Sink<'_>) {
        let finish = Finish { choice, reason: reason.to_owned(), frame: sink.release_queue.current() };
        self.pass_finish(0, finish, sink);
    }

    /// Polls the hooks that wait; a callout was answered or ran out of time.
    pub(super) fn wake(&mut self, sink: &mut Sink<'_>) {
        for mut running in core::mem::take(&mut self.running) {
            match self.advance(&mut running.hook) {
                Some(output) => self.resume(running.stage, running.matter, output, sink),
                None => self.running.push(running),
            }
        }
    }

    /// The exchange is over: what waits will not be answered any more.
    pub(super) fn abandon(&mut self) {
        self.running.clear();
    }

    /// Polls a hook. One that waits for nothing that could come counts as having failed.
    pub(super) fn advance(&self, hook: &mut Hook) -> Option<HookOutput> {
        match poll(hook) {
            Poll::Ready(output) => Some(output),
            Poll::Pending if self.shared.judgings.with(|judgings| judgings.are_open()) => None,
            Poll::Pending => {
                self.report(
                    "hook_stuck",
                    "a hook waits for something that no context hands out; what it decides about is dropped",
                );
                Some(HookOutput::Block(BlockAction::Drop))
            }
        }
    }

    fn report(&self, word: &'static str, summary: &str) {
        self.shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
    }

    fn resume(&mut self, stage: usize, matter: Matter, output: HookOutput, sink: &mut Sink<'_>) {
        let next = stage.saturating_add(1);
        match matter {
            Matter::Block(end) => {
                if self.settle(stage, end, output, sink) {
                    self.end_block(next, end, sink);
                }
                self.resume_finishes(stage, sink);
            }
            Matter::Finish(finish) => {
                self.drain_outgoing(SlotRef { frame: finish.frame, slot: usize::MAX }, sink);
                self.pass_finish(next, finish, sink);
            }
        }
    }

    fn resume_finishes(&mut self, index: usize, sink: &mut Sink<'_>) {
        let Some(stage) = self.stages.get_mut(index) else { return };
        let waiting = core::mem::take(&mut stage.waiting_finishes);
        for finish in waiting {
            self.pass_finish(index, finish, sink);
        }
    }

    /// Takes a delta through the stages from `first` on.
    fn pass(&mut self, first: usize, mut item: StageDelta<'_>, sink: &mut Sink<'_>) {
        for index in first..self.stages.len() {
            let Some(stage) = self.stages.get_mut(index) else { break };
            if !stage.wants(item.kind) {
                continue;
            }
            let passage = stage.take(&mut item);
            if item.kind.is_tool_call() && !matches!(passage, Passage::On(_)) {
                sink.release_queue.number_by_place();
            }
            self.drain_outgoing(item.before, sink);
            match passage {
                Passage::On(held) => self.pass_all(index.saturating_add(1), held, sink),
                Passage::Changed(held) => self.replace_held(index, held, sink),
                Passage::Held => {
                    if let Some(stage) = self.stages.get_mut(index) {
                        stage.hold(item);
                    }
                    return;
                }
                Passage::Removed(removed) => {
                    self.shared.conclude(Decision::Rewrite, None);
                    self.remove_all(removed, sink);
                    self.remove(&item, sink);
                    return;
                }
                Passage::Trailing => {
                    self.report("tool_call_trailing", "bytes of a tool call came after its end; they were dropped");
                    self.remove(&item, sink);
                    return;
                }
            }
        }
        self.arrive(item, sink);
    }

    fn pass_all(&mut self, first: usize, items: Vec<StageDelta<'static>>, sink: &mut Sink<'_>) {
        for item in items {
            self.pass(first, item, sink);
        }
    }

    /// A delta passed all stages.
    fn arrive(&mut self, item: StageDelta<'_>, sink: &mut Sink<'_>) {
        self.decide_server_call(item.block, item.kind, false, sink);
        let Some(slot) = item.slot else { return self.arrive_without_slot(item, sink) };
        if !item.changed {
            if item.kind.is_content() {
                sink.release_queue.note_kept_text(slot, &item.text);
            }
            return sink.release_queue.decide(slot, SlotAction::Keep);
        }
        let action = if item.text.is_empty() && (item.kind.is_content() || !item.starts) {
            SlotAction::Remove
        } else {
            SlotAction::Replace(item.text.into_owned())
        };
        sink.release_queue.decide(slot, action);
    }

    fn arrive_without_slot(&mut self, item: StageDelta<'_>, sink: &mut Sink<'_>) {
        if item.kind.is_content() {
            if sink.release_queue.edits_in_place() {
                return sink.release_queue.append_to_slot(item.before, &item.text);
            }
            if !item.text.is_empty() {
                let chunk = Chunk::Text { choice: item.choice, kind: item.kind, text: item.text.into_owned() };
                sink.release_queue.insert(item.before, chunk, sink.out);
            }
            return;
        }
        let chunk = Chunk::ToolCall {
            choice: item.choice,
            call_id: item.call_id.into_owned(),
            name: item.name.into_owned(),
            arguments: item.text.into_owned(),
            free_form: item.free_form,
        };
        sink.release_queue.insert(item.before, chunk, sink.out);
    }

    /// What a stage held of a block was replaced; a tool call keeps the delta that began it, without its text.
    fn replace_held(&mut self, index: usize, held: Vec<StageDelta<'static>>, sink: &mut Sink<'_>) {
        for mut item in held {
            if item.starts && item.kind.is_tool_call() {
                item.changed |= !item.text.is_empty();
                item.text = Cow::Borrowed("");
                self.pass(index.saturating_add(1), item, sink);
            } else {
                self.remove(&item, sink);
            }
        }
    }

    fn remove_all(&mut self, items: Vec<StageDelta<'static>>, sink: &mut Sink<'_>) {
        for item in items {
            self.remove(&item, sink);
        }
    }

    fn remove(&mut self, item: &StageDelta<'_>, sink: &mut Sink<'_>) {
        self.decide_server_call(item.block, item.kind, true, sink);
        if let Some(slot) = item.slot {
            sink.release_queue.decide(slot, SlotAction::Remove);
        }
    }

    /// Takes the end of a block through the stages from `first` on.
    fn end_block(&mut self, first: usize, end: BlockEnd, sink: &mut Sink<'_>) {
        for index in first..self.stages.len() {
            let Some(hook) = self.stages.get_mut(index).and_then(|stage| stage.complete(end.block, end.complete)) else {
                continue;
            };
            let mut running = Running { stage: index, matter: Matter::Block(end), hook };
            let Some(output) = self.advance(&mut running.hook) else {
                self.running.push(running);
                return;
            };
            if !self.settle(index, end, output, sink) {
                return;
            }
        }
        if let Some(slot) = end.slot {
            sink.release_queue.decide(slot, SlotAction::Keep);
        }
    }

    /// Carries out what a policy decided about a block; whether the block's end goes on.
    fn settle(&mut self, index: usize, end: BlockEnd, output: HookOutput, sink: &mut Sink<'_>) -> bool {
        let action = if let HookOutput::Block(action) = output { action } else { BlockAction::Drop };
        let goes_on = self.carry_out(index, end, action, sink);
        if let Some(stage) = self.stages.get_mut(index) {
            stage.forget(end.block, end.is_whole);
        }
        goes_on
    }

    fn carry_out(&mut self, index: usize, end: BlockEnd, mut action: BlockAction, sink: &mut Sink<'_>) -> bool {
        let Some(block) = self.stages.get_mut(index).and_then(|stage| stage.block(end.block)) else { return true };
        let (kind, choice) = (block.kind, block.choice);
        if block.violated && action == BlockAction::Forward {
            action = BlockAction::Replace(build_text_chunk(choice, TOOL_CALL_WITHHELD));
        }
        let changed = block.ends_changed(&action);
        let withheld = action != BlockAction::Forward && (kind.is_tool_call() || !block.held.is_empty());
        block.conclude(if withheld { Progress::Withheld } else { Progress::Passed });
        if action == BlockAction::Forward {
            if changed {
                self.shared.conclude(Decision::Rewrite, None);
            }
            let held = core::mem::take(&mut block.held);
            self.pass_all(index.saturating_add(1), held, sink);
            self.drain_outgoing(end.before, sink);
            return true;
        }
        let held = core::mem::take(&mut block.held);
        block.start_removed |= held.iter().any(|item| item.starts);
        let start_removed = block.start_removed;
        let before = held.first().map_or(end.before, |item| item.before);
        self.drain_outgoing(before, sink);
        if changed {
            self.shared.conclude(Decision::Rewrite, None);
        }
        if kind.is_tool_call() {
            if start_removed {
                self.shared.conclude(Decision::Refuse, None);
            } else {
                self.report(
                    "action_too_late",
                    "a policy withheld a tool call that it had forwarded before; hold its deltas to decide at its end",
                );
            }
        }
        self.remove_all(held, sink);
        let reopened =
            if let BlockAction::Replace(chunk) = action { self.replace(index, end, kind, chunk, before, sink) } else { false };
        if start_removed && !reopened {
            if let Some(slot) = end.slot {
                sink.release_queue.decide(slot, SlotAction::Remove);
            }
            return false;
        }
        true
    }

    /// Puts a chunk in the place of a block; whether later stages see it as the block's own.
    fn replace(
        &mut self,
        index: usize,
        end: BlockEnd,
        kind: BlockKind,
        chunk: Chunk,
        before: SlotRef,
        sink: &mut Sink<'_>,
    ) -> bool {
        let next = index.saturating_add(1);
        let item = |choice, text, call_id, name, free_form| StageDelta {
            slot: None,
            before,
            block: end.block,
            choice,
            kind,
            starts: true,
            call_id: Cow::Owned(call_id),
            name: Cow::Owned(name),
            text: Cow::Owned(text),
            free_form,
            clarity: Clarity::Plain,
            changed: true,
        };
        match chunk {
            Chunk::Text { choice, text, .. } if kind.is_content() && kind != BlockKind::Unknown => {
                self.pass(next, item(choice, text, String::new(), String::new(), false), sink);
                true
            }
            Chunk::ToolCall { .. } if kind == BlockKind::ServerToolCall => {
                self.report(
                    "replacement_not_allowed",
                    "a call that the provider carries out itself cannot be replaced by one for the client",
                );
                false
            }
            Chunk::ToolCall { choice, call_id, name, arguments, free_form } if kind.is_tool_call() => {
                self.pass(next, item(choice, arguments, call_id, name, free_form), sink);
                self.end_block(next, BlockEnd { slot: None, before, ..end }, sink);
                false
            }
            chunk => {
                sink.release_queue.insert(before, chunk, sink.out);
                false
            }
        }
    }

    /// Takes a finish reason through the stages from `first` on.
    fn pass_finish(&mut self, first: usize, finish: Finish, sink: &mut Sink<'_>) {
        for index in first..self.stages.len() {
            let Some(stage) = self.stages.get_mut(index) else { break };
            if stage.is_completing(finish.choice) {
                stage.waiting_finishes.push(finish);
                return;
            }
            let hook = stage.instance.on_finish_reason(finish.reason.clone(), finish.choice);
            let mut running = Running { stage: index, matter: Matter::Finish(finish.clone()), hook };
            if self.advance(&mut running.hook).is_none() {
                self.running.push(running);
                return;
            }
            self.drain_outgoing(SlotRef { frame: finish.frame, slot: usize::MAX }, sink);
        }
        sink.release_queue.decide_finish(finish.frame);
    }

    /// Puts out what a hook has sent.
    fn drain_outgoing(&self, before: SlotRef, sink: &mut Sink<'_>) {
        for outgoing in self.shared.outgoing.take() {
            match outgoing {
                Outgoing::Chunk(chunk) => sink.release_queue.insert(before, chunk, sink.out),
                Outgoing::Finish => sink.release_queue.end(Ending::Stop, sink.out),
            }
        }
    }

    fn decide_server_call(&mut self, block: BlockId, kind: BlockKind, removed: bool, sink: &mut Sink<'_>) {
        if kind != BlockKind::ServerToolCall {
            return;
        }
        let Some(call) = self.server_calls.iter_mut().find(|call| call.block == block && call.removed.is_none()) else { return };
        call.removed = Some(removed);
        for slot in call.waiting.drain(..) {
            sink.release_queue.decide(slot, if removed { SlotAction::Remove } else { SlotAction::Keep });
        }
    }

    /// The result of a call shares the call's lot: without it the next request would be refused.
    fn tool_result(&mut self, delta: &Delta<'_>, slot: SlotRef, sink: &mut Sink<'_>) {
        let call = self.server_calls.iter_mut().find(|call| {
            if delta.starts {
                !delta.call_id.is_empty() && call.call_id == delta.call_id
            } else {
                call.result == Some(delta.block)
            }
        });
        let Some(call) = call else { return sink.release_queue.decide(slot, SlotAction::Keep) };
        call.result = Some(delta.block);
        match call.removed {
            None => call.waiting.push(slot),
            Some(true) => sink.release_queue.decide(slot, SlotAction::Remove),
            Some(false) => sink.release_queue.decide(slot, SlotAction::Keep),
        }
    }

    /// Tells every policy that the exchange is over.
    pub(super) fn complete(&self) {
        for stage in &self.stages {
            stage.instance.on_stream_complete();
        }
    }

    /// Reports chunks that came too late to be placed.
    pub(super) fn report_late(&self, late: u32) {
        if late > 0 {
            let metadata = Map::from_iter([("chunks".to_owned(), json!(late))]);
            let summary = "something that a policy sent could not be placed any more".to_owned();
            self.shared.fail("send_too_late", Severity::Warning, summary, metadata);
        }
    }
}
