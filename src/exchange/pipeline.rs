//! The pipeline: takes the parts of a response through the stages of the chain, one after the other.
//!
//! What a stage lets go on, the next stage sees; what passes all stages is decided in the release queue. A hook that waits is
//! kept here with what it was asked about, and goes on where it stopped once what it waits for came. Whatever order the
//! answers come in, the hooks of a stage are settled in the order of the stream: decisions do not depend on timing.

mod canonical;
mod order;
mod server_calls;
#[cfg(test)]
mod tests;

use core::task::Poll;

use std::rc::Rc;

use serde_json::{Map, Value, json};

use self::canonical::Canonical;
use self::order::Running;
use self::server_calls::ServerCalls;
use super::release_queue::{ReleaseQueue, SlotRef};
use super::stage::{Finish, Flow, LaneKey, Next, Settlement, Stage, StageDelta, Taken, Withheld};
use crate::block::{BlockId, BlockKind, Chunk, Clarity};
use crate::decision::Decision;
use crate::dialect::{Delta, Dialect, SlotAction};
use crate::end::End;
use crate::event::Severity;
use crate::evidence::Accounts;
use crate::policy::{
    At, BlockAction, FinishReason, Hook, HookOutput, OfferAction, Outgoing, OutputEnd, Place, Shared, build_refusal_chunk,
};

/// The release queue with the buffer that it writes to.
pub(super) struct Sink<'a> {
    pub(super) release_queue: &'a mut ReleaseQueue,
    pub(super) out: &'a mut Vec<u8>,
}

/// The end of a block on its way through the stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockEnd {
    pub(super) block: BlockId,
    pub(super) complete: bool,
    /// The slot that says so, where there is one.
    pub(super) slot: Option<SlotRef>,
    /// Where it stands; what is made at the end goes before it.
    pub(super) before: Place,
    /// The block began in the same delta.
    pub(super) is_whole: bool,
}

/// What a waiting hook was asked about.
#[derive(Debug)]
enum Matter {
    Block(BlockEnd),
    Finish(Finish),
}

impl Matter {
    const fn place(&self) -> Place {
        match self {
            Self::Block(end) => end.before,
            Self::Finish(finish) => Place { frame: finish.frame, at: At::End },
        }
    }
}

/// How texts that are held are ended.
#[derive(Clone, Copy, Debug)]
struct TextsEnd {
    /// The next stage whose texts end.
    stage: usize,
    /// What stands behind this place does not matter any more.
    limit: Option<Place>,
    /// What is held is dropped, and no policy asked.
    drops: bool,
}

pub(super) struct Pipeline {
    shared: Rc<Shared>,
    /// Those that have nothing to say about the answer any more: a policy before its end gave it.
    front: Vec<Stage>,
    stages: Vec<Stage>,
    running: Vec<Running>,
    server_calls: ServerCalls,
    canonical: Canonical,
    texts_end: Option<TextsEnd>,
    accounts: Accounts,
}

impl Pipeline {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        let limits = shared.chain.limits;
        let stages = shared
            .policies()
            .iter()
            .map(|policy| Stage::new(policy.start(Rc::clone(shared)), policy.interests(), limits.max_response_bytes))
            .collect();
        Self {
            shared: Rc::clone(shared),
            front: Vec::new(),
            stages,
            running: Vec::new(),
            server_calls: ServerCalls::default(),
            canonical: Canonical::default(),
            texts_end: None,
            accounts: Accounts::default(),
        }
    }

    pub(super) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Leaves the stages before the `first` out of all that follows but the exchange's end.
    pub(super) fn skip_to(&mut self, first: usize) {
        let behind = self.stages.split_off(first.min(self.stages.len()));
        self.front.append(&mut core::mem::replace(&mut self.stages, behind));
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether a policy has still to decide about something.
    pub(super) fn is_undecided(&self) -> bool {
        self.is_waiting() || self.stages.iter().any(Stage::has_waiting)
    }

    /// The dialect is known: of MCP, every text stands for itself.
    pub(super) fn begin(&mut self, dialect: Dialect) {
        if dialect == Dialect::McpTool {
            self.stages.iter_mut().for_each(Stage::read_blocks_apart);
        }
    }

    /// Takes a delta of a frame through the stages.
    pub(super) fn delta(&mut self, delta: &Delta<'_>, slot: SlotRef, sink: &mut Sink<'_>) {
        match delta.kind {
            BlockKind::ToolResult => return self.server_calls.result(delta, slot, sink),
            BlockKind::Other => return sink.release_queue.decide(slot, SlotAction::Keep),
            BlockKind::ToolCall if delta.starts => sink.release_queue.begin_call(delta.block),
            BlockKind::ServerToolCall if delta.starts => self.server_calls.begin(delta),
            _ => {}
        }
        let says_nothing = delta.text.is_empty() && delta.name.is_empty() && delta.call_id.is_empty();
        let only_stops = delta.stops && !delta.starts && says_nothing && delta.clarity == Clarity::Plain;
        if !only_stops {
            self.shared.note_came(delta.text.len());
            if self.stages.iter().any(|stage| stage.wants(delta.kind)) {
                self.accounts.came(&self.shared.chain.evidence.salt, delta);
            }
            self.pass(0, StageDelta::of(delta, slot), sink);
        }
        if delta.stops {
            sink.release_queue.end_call(delta.block);
            let slot_of_end = only_stops.then_some(slot);
            let end =
                BlockEnd { block: delta.block, complete: true, slot: slot_of_end, before: slot.place(), is_whole: delta.starts };
            self.end_block(0, end, sink);
        }
    }

    /// A tool is offered to the client.
    pub(super) fn tool_offered(&mut self, name: &str, slot: SlotRef, sink: &mut Sink<'_>) {
        let mut is_removed = false;
        for stage in &self.stages {
            self.shared.enter_hook(slot.place(), false);
            is_removed = stage.instance.on_tool_offered(name) == OfferAction::Remove;
            if is_removed {
                self.shared.outcome.infer(Decision::Rewrite);
                break;
            }
        }
        let end = self.drain_outgoing(slot.place(), sink);
        sink.release_queue.decide(slot, if is_removed { SlotAction::Remove } else { SlotAction::Keep });
        self.end_output(slot.place(), end, sink);
    }

    /// A block ended without a slot of its own.
    pub(super) fn stop(&mut self, block: BlockId, complete: bool, sink: &mut Sink<'_>) {
        sink.release_queue.end_call(block);
        let before = sink.release_queue.end_of_current();
        self.end_block(0, BlockEnd { block, complete, slot: None, before, is_whole: false }, sink);
    }

    /// The finish reason of a choice came.
    pub(super) fn finish(&mut self, choice: u32, reason: &str, sink: &mut Sink<'_>) {
        let finish = Finish { choice, reason: reason.to_owned(), frame: sink.release_queue.current() };
        self.pass_finish(0, finish, sink);
    }

    /// The message ended: no more text can come.
    pub(super) fn end_texts(&mut self, sink: &mut Sink<'_>) {
        self.texts_end = Some(TextsEnd { stage: 0, limit: None, drops: false });
        self.go_on_ending_texts(sink);
    }

    /// Ends the texts of each stage, once all that the stages before it hold has come through.
    fn go_on_ending_texts(&mut self, sink: &mut Sink<'_>) {
        while let Some(end) = self.texts_end {
            let Some(stage) = self.stages.get_mut(end.stage) else {
                self.texts_end = None;
                return;
            };
            stage.texts_ended |= end.limit.is_none();
            for lane in stage.end_texts(end.limit) {
                self.end_text(end.stage, lane, end, sink);
            }
            let waits = self.running.iter().any(|running| running.stage <= end.stage)
                || self.stages.get(end.stage).is_some_and(Stage::has_waiting);
            if waits && end.limit.is_none() {
                return;
            }
            // Ending its texts may have ended those of all stages.
            if let Some(known) = &mut self.texts_end {
                known.stage = end.stage.saturating_add(1);
            }
        }
    }

    fn end_text(&mut self, index: usize, lane: LaneKey, end: TextsEnd, sink: &mut Sink<'_>) {
        let place = end.limit.unwrap_or_else(|| sink.release_queue.end_of_current());
        let Some(stage) = self.stages.get_mut(index) else { return };
        self.shared.enter_hook(place, false);
        let Taken { removed, is_change, .. } = stage.end_text(lane, end.drops);
        if is_change {
            self.infer(place, Decision::Rewrite);
        }
        let ends = self.drain_outgoing(place, sink);
        self.remove_all(removed, sink);
        self.advance_lane(index, lane, sink);
        self.end_output(place, ends, sink);
    }

    /// The exchange is over: what waits will not be answered any more.
    pub(super) fn abandon(&mut self) {
        self.running.clear();
    }

    /// Polls a hook. One that waits for nothing that could come counts as having failed.
    pub(super) fn advance(&self, hook: &mut Hook, place: Place) -> Option<HookOutput> {
        match hook.poll(&self.shared, place) {
            Poll::Ready(output) => Some(output),
            Poll::Pending if !self.shared.output.is_in_turn() || self.shared.waits.with(|waits| waits.are_open()) => None,
            Poll::Pending => {
                self.report(
                    "hook_stuck",
                    "a hook waits for something that no context hands out; what it decides about is dropped",
                );
                Some(HookOutput::Block(BlockAction::Drop))
            }
        }
    }

    /// Concludes from what a hook did, unless it is about what cannot leave any more.
    fn infer(&self, place: Place, decision: Decision) {
        if !self.shared.output.is_behind_end(place) {
            self.shared.outcome.infer(decision);
        }
    }

    fn report(&self, word: &'static str, summary: &str) {
        self.shared.fail(word, Severity::Error, summary.to_owned(), Map::new());
    }

    /// Takes a delta through the stages from `first` on.
    fn pass(&mut self, first: usize, item: StageDelta<'_>, sink: &mut Sink<'_>) {
        let mut item = item;
        for index in first..self.stages.len() {
            let Some(stage) = self.stages.get_mut(index).filter(|stage| stage.wants(item.kind)) else { continue };
            let place = item.before;
            let is_call = item.kind.is_tool_call();
            self.shared.enter_hook(place, false);
            let Taken { flow, lane, removed, is_change } = stage.take(item, sink.release_queue);
            if is_call && !matches!(flow, Flow::On(_)) {
                sink.release_queue.number_by_place();
            }
            let ends = self.drain_outgoing(place, sink);
            if is_change {
                self.infer(place, Decision::Rewrite);
            }
            self.remove_all(removed, sink);
            match flow {
                Flow::On(on) if ends.is_empty() => {
                    item = on;
                    continue;
                }
                Flow::On(on) => self.pass(index.saturating_add(1), on, sink),
                Flow::Lane => self.advance_lane(index, lane, sink),
                Flow::Removed(item) => {
                    self.remove(&item, sink);
                    self.advance_lane(index, lane, sink);
                }
                Flow::Trailing(item) => {
                    self.report("tool_call_trailing", "bytes of a tool call came after its end; they were dropped");
                    self.remove(&item, sink);
                }
            }
            return self.end_output(place, ends, sink);
        }
        self.arrive(item, sink);
    }

    /// Lets go on from a lane what nothing keeps back any more.
    fn advance_lane(&mut self, index: usize, lane: LaneKey, sink: &mut Sink<'_>) {
        let next = index.saturating_add(1);
        loop {
            match self.stages.get_mut(index).and_then(|stage| stage.next(lane)) {
                Some(Next::Delta(item)) => self.pass(next, item, sink),
                Some(Next::End(end)) => self.end_block(next, end, sink),
                None => return,
            }
        }
    }

    /// A delta passed all stages.
    fn arrive(&mut self, item: StageDelta<'_>, sink: &mut Sink<'_>) {
        if !self.shared.output.is_behind_end(item.before) {
            self.accounts.left(&self.shared.chain.evidence.salt, item.block, &item.name, &item.text, !item.changed);
            if item.slot.is_some() {
                self.shared.note_left(item.text.len());
            }
        }
        self.server_calls.decide(item.block, item.kind, false, sink);
        let wants_calls = |stage: &Stage| stage.wants(BlockKind::ToolCall);
        // A call of the provider's own nobody else can write: what clients show of it is what it says, unless they differ.
        let needs_writing = match item.kind {
            BlockKind::ToolCall => item.clarity != Clarity::Plain,
            BlockKind::ServerToolCall => matches!(item.clarity, Clarity::Ambiguous(_)),
            _ => false,
        };
        if (needs_writing || self.canonical.is_known(item.block))
            && self.stages.iter().any(wants_calls)
            && self.canonical.take(&item)
        {
            return;
        }
        let Some(slot) = item.slot else { return arrive_without_slot(item, sink) };
        if item.kind == BlockKind::ToolCall && item.starts {
            self.canonical.note_left(item.block);
        }
        // The rest of a call that has left in part says nothing again of what some clients would join.
        let says_again = item.kind == BlockKind::ToolCall
            && !item.starts
            && item.clarity != Clarity::Plain
            && self.stages.iter().any(wants_calls);
        if says_again && !item.changed {
            let action = if item.text.is_empty() { SlotAction::Remove } else { SlotAction::Replace(item.text.into_owned()) };
            return sink.release_queue.decide(slot, action);
        }
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

    fn remove_all(&mut self, items: Vec<StageDelta<'static>>, sink: &mut Sink<'_>) {
        for item in items {
            self.remove(&item, sink);
        }
    }

    fn remove(&mut self, item: &StageDelta<'_>, sink: &mut Sink<'_>) {
        self.server_calls.decide(item.block, item.kind, true, sink);
        if let Some(slot) = item.slot {
            sink.release_queue.decide(slot, SlotAction::Remove);
        }
    }

    /// Takes the end of a block through the stages from `first` on.
    fn end_block(&mut self, first: usize, end: BlockEnd, sink: &mut Sink<'_>) {
        for index in first..self.stages.len() {
            let Some(hook) = self.stages.get_mut(index).and_then(|stage| stage.complete(end)) else { continue };
            return self.run(index, Matter::Block(end), hook, sink);
        }
        self.accounts.ended(end.block);
        if let Some(call) = self.canonical.end(end.block) {
            call.leave(sink);
            if let Some(slot) = end.slot {
                sink.release_queue.decide(slot, SlotAction::Remove);
            }
        } else if let Some(slot) = end.slot {
            sink.release_queue.decide(slot, SlotAction::Keep);
        }
    }

    /// Takes what a hook decided to where it takes effect.
    fn settle(&mut self, index: usize, matter: Matter, output: HookOutput, mut ends: Vec<OutputEnd>, sink: &mut Sink<'_>) {
        let place = matter.place();
        match matter {
            Matter::Block(end) => {
                let action = if let HookOutput::Block(action) = output { action } else { BlockAction::Drop };
                self.settle_block(index, end, action, ends, sink);
            }
            Matter::Finish(finish) => {
                ends.extend(self.drain_outgoing(place, sink));
                self.pass_finish(index.saturating_add(1), finish, sink);
                self.end_output(place, ends, sink);
            }
        }
        self.resume_finishes(sink);
        self.go_on_ending_texts(sink);
    }

    /// Carries out what a policy decided about a block.
    fn settle_block(&mut self, index: usize, end: BlockEnd, action: BlockAction, mut ends: Vec<OutputEnd>, sink: &mut Sink<'_>) {
        let Some(settlement) = self.stages.get_mut(index).and_then(|stage| stage.settle(end, action)) else {
            return self.report("unreachable", "a hook decided about a block that its stage does not know");
        };
        self.infer_settled(&settlement, end.before);
        let Settlement { lane, removed, beside, before, end_removed, ends_text, .. } = settlement;
        // What a hook sends goes before what it decides about.
        ends.extend(self.drain_outgoing(before, sink));
        self.remove_all(removed, sink);
        if let Some(chunk) = beside {
            self.accounts.exchanged(&self.shared.chain.evidence.salt, end.block, &chunk);
            sink.release_queue.insert(before, chunk, String::new(), sink.out);
        }
        if let Some(slot) = end.slot.filter(|_| end_removed) {
            sink.release_queue.decide(slot, SlotAction::Remove);
        }
        if end_removed {
            self.accounts.ended(end.block);
        }
        if ends_text {
            self.end_text(index, lane, TextsEnd { stage: index, limit: Some(end.before), drops: false }, sink);
        }
        self.advance_lane(index, lane, sink);
        self.end_output(end.before, ends, sink);
    }

    /// Concludes from what became of a block, where its hook has not said itself what it concludes.
    fn infer_settled(&self, settlement: &Settlement, place: Place) {
        if settlement.is_change {
            self.infer(place, Decision::Rewrite);
        }
        if settlement.not_allowed {
            self.report(
                "replacement_not_allowed",
                "a call that the provider carries out itself cannot be replaced by one for the client",
            );
        }
        match settlement.withheld {
            Withheld::No | Withheld::Exchanged => {}
            Withheld::Yes => self.infer(place, Decision::Refuse),
            Withheld::TooLate => self.report(
                "action_too_late",
                "a policy withheld a tool call that it had forwarded before; hold its deltas to decide at its end",
            ),
        }
    }

    /// Takes a finish reason through the stages from `first` on.
    fn pass_finish(&mut self, first: usize, finish: Finish, sink: &mut Sink<'_>) {
        let Some(stage) = self.stages.get_mut(first) else { return sink.release_queue.decide_finish(finish.frame) };
        if stage.is_busy(finish.choice) {
            stage.waiting_finishes.push(finish);
            return;
        }
        if !stage.interests().response {
            return self.pass_finish(first.saturating_add(1), finish, sink);
        }
        let hook = stage.instance.on_finish_reason(finish.reason.clone(), finish.choice);
        self.run(first, Matter::Finish(finish), hook, sink);
    }

    /// Lets finish reasons go on for which a stage has nothing more to wait for.
    fn resume_finishes(&mut self, sink: &mut Sink<'_>) {
        for index in 0..self.stages.len() {
            let Some(stage) = self.stages.get_mut(index) else { return };
            let waiting = core::mem::take(&mut stage.waiting_finishes);
            for finish in waiting {
                self.pass_finish(index, finish, sink);
            }
        }
    }

    /// Puts out what a hook has sent; gives back where it ends the output.
    fn drain_outgoing(&self, before: Place, sink: &mut Sink<'_>) -> Vec<OutputEnd> {
        let mut ends = Vec::new();
        for outgoing in self.shared.output.take_outgoing() {
            self.shared.outcome.infer(Decision::Rewrite);
            match outgoing {
                Outgoing::Chunk(chunk) => sink.release_queue.insert(before, chunk, String::new(), sink.out),
                Outgoing::End(end) => ends.push(end),
                Outgoing::Refuse(refusal) => {
                    if let Some(refusal) = sink.release_queue.refuse(refusal) {
                        sink.release_queue.insert(before, build_refusal_chunk(&refusal), String::new(), sink.out);
                    }
                    ends.push(OutputEnd::because(FinishReason::Refusal).dropping_held());
                }
            }
        }
        ends
    }

    /// Ends the output behind `place`, if a hook has said so.
    fn end_output(&mut self, place: Place, ends: Vec<OutputEnd>, sink: &mut Sink<'_>) {
        let Some(end) = ends.into_iter().next() else { return };
        self.shared.output.end_at(place);
        // What earlier stages hold before it is decided now.
        let known = self.texts_end;
        self.texts_end = Some(TextsEnd { stage: 0, limit: Some(place), drops: end.drops_held });
        self.go_on_ending_texts(sink);
        self.texts_end = known;
        sink.release_queue.end_behind(place, end);
        sink.release_queue.release(sink.out);
    }

    /// Tells every policy that the exchange is over.
    pub(super) fn complete(&self, end: &End) {
        for stage in self.front.iter().chain(&self.stages) {
            self.shared.enter_hook(Place::START, false);
            stage.instance.on_stream_complete(end);
        }
    }

    /// Lists the blocks that the chain changed.
    pub(super) fn changes(&mut self) -> Option<Value> {
        self.accounts.describe(&self.shared.chain)
    }

    /// Reports chunks that came too late to be placed.
    pub(super) fn report_late(&self, late: u32) {
        if late > 0 {
            let metadata = Map::from_iter([("chunks".to_owned(), json!(late))]);
            let summary = "something that a policy sent could not be placed any more".to_owned();
            self.shared.fail("send_too_late", Severity::Warning, summary, metadata);
        }
    }

    /// Reports decisions about something that is not there: it does not leave.
    pub(super) fn report_lost(&self, lost: u32) {
        if lost > 0 {
            self.report("unreachable", "something was decided that is not in the queue");
        }
    }
}

/// What a policy made passed all stages.
fn arrive_without_slot(item: StageDelta<'_>, sink: &mut Sink<'_>) {
    if item.kind.is_content() {
        if sink.release_queue.edits_in_place() {
            return sink.release_queue.append_to_slot(item.before, &item.text);
        }
        if !item.text.is_empty() {
            let chunk = Chunk::Text { choice: item.choice, kind: item.kind, text: item.text.into_owned() };
            sink.release_queue.insert(item.before, chunk, String::new(), sink.out);
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
    sink.release_queue.insert(item.before, chunk, item.extras.into_owned(), sink.out);
}
