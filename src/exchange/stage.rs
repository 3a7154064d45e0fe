//! A stage: one policy of the chain at work on one response, with the blocks that it has seen.

use std::borrow::Cow;
use std::rc::Rc;

use super::release_queue::{FrameNumber, SlotRef};
use crate::block::{BlockId, BlockKind, Chunk, Clarity, ContentBlock, ToolCallBlock};
use crate::dialect::Delta;
use crate::fingerprint::Fingerprint;
use crate::policy::{BlockAction, DeltaAction, Hook, Instance, Interests};

/// A delta of a block on its way through the stages.
#[derive(Debug)]
pub(super) struct StageDelta<'a> {
    /// The slot that it came in; `None` for what a policy made.
    pub(super) slot: Option<SlotRef>,
    /// Where it goes if it has no slot.
    pub(super) before: SlotRef,
    pub(super) block: BlockId,
    pub(super) choice: u32,
    pub(super) kind: BlockKind,
    pub(super) starts: bool,
    pub(super) call_id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) text: Cow<'a, str>,
    pub(super) free_form: bool,
    pub(super) clarity: Clarity,
    /// Whether a policy changed the text.
    pub(super) changed: bool,
}

impl<'a> StageDelta<'a> {
    pub(super) const fn of(delta: &Delta<'a>, slot: SlotRef) -> Self {
        Self {
            slot: Some(slot),
            before: slot,
            block: delta.block,
            choice: delta.choice,
            kind: delta.kind,
            starts: delta.starts,
            call_id: Cow::Borrowed(delta.call_id),
            name: Cow::Borrowed(delta.name),
            text: Cow::Borrowed(delta.text),
            free_form: delta.free_form,
            clarity: delta.clarity,
            changed: false,
        }
    }

    /// Whether it says nothing that a hook would want to know.
    fn is_silent(&self) -> bool {
        self.text.is_empty() && (self.kind.is_content() || !(self.starts || !self.name.is_empty() || !self.call_id.is_empty()))
    }

    /// The same delta, owning its text, to be held.
    fn into_held(self) -> StageDelta<'static> {
        StageDelta {
            slot: self.slot,
            before: self.before,
            block: self.block,
            choice: self.choice,
            kind: self.kind,
            starts: self.starts,
            call_id: Cow::Owned(self.call_id.into_owned()),
            name: Cow::Owned(self.name.into_owned()),
            text: Cow::Owned(self.text.into_owned()),
            free_form: self.free_form,
            clarity: self.clarity,
            changed: self.changed,
        }
    }
}

/// How far a block has come at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    /// Its completion hook waits.
    Completing,
    /// It was let go.
    Passed,
    /// It was dropped or replaced.
    Withheld,
}

#[derive(Debug)]
enum Aggregate {
    Content(Rc<ContentBlock>),
    ToolCall(Rc<ToolCallBlock>),
    /// The policy has decided about it.
    Concluded,
}

/// A block as this stage sees it.
#[derive(Debug)]
pub(super) struct StageBlock {
    pub(super) id: BlockId,
    pub(super) choice: u32,
    pub(super) kind: BlockKind,
    pub(super) progress: Progress,
    /// Deltas that the policy holds.
    pub(super) held: Vec<StageDelta<'static>>,
    /// The delta that began the block did not go on.
    pub(super) start_removed: bool,
    /// The policy has held or dropped some of it: what comes after its end is not to slip through.
    pub(super) guarded: bool,
    /// Something came after its end.
    pub(super) violated: bool,
    /// The policy has dropped or replaced some of it.
    touched: bool,
    comparison: Option<Comparison>,
    aggregate: Aggregate,
}

/// Whether a policy that replaces text leaves it as it was: one that holds text back by itself does so.
#[derive(Debug)]
struct Comparison {
    came: Fingerprint,
    left: Fingerprint,
}

/// What a stage says of a delta.
pub(super) enum Passage {
    /// It goes on, after these, which were held before it.
    On(Vec<StageDelta<'static>>),
    /// The stage is to hold it.
    Held,
    /// It and these are removed.
    Removed(Vec<StageDelta<'static>>),
    /// It goes on with another text, which stands for these too.
    Changed(Vec<StageDelta<'static>>),
    /// It came after the end of a guarded block.
    Trailing,
}

/// A finish reason on its way through the stages.
#[derive(Clone, Debug)]
pub(super) struct Finish {
    pub(super) choice: u32,
    pub(super) reason: String,
    pub(super) frame: FrameNumber,
}

pub(super) struct Stage {
    pub(super) instance: Box<dyn Instance>,
    interests: Interests,
    blocks: Vec<StageBlock>,
    pub(super) waiting_finishes: Vec<Finish>,
    max_text_bytes: usize,
}

impl Stage {
    pub(super) const fn new(instance: Box<dyn Instance>, interests: Interests, max_text_bytes: usize) -> Self {
        Self { instance, interests, blocks: Vec::new(), waiting_finishes: Vec::new(), max_text_bytes }
    }

    pub(super) const fn wants(&self, kind: BlockKind) -> bool {
        (kind.is_content() && self.interests.content) || (kind.is_tool_call() && self.interests.tool_calls)
    }

    pub(super) fn block(&mut self, id: BlockId) -> Option<&mut StageBlock> {
        // The block in question is nearly always the newest.
        self.blocks.iter_mut().rev().find(|block| block.id == id)
    }

    /// Whether a completion hook of the choice still waits.
    pub(super) fn is_completing(&self, choice: u32) -> bool {
        self.blocks.iter().any(|block| block.choice == choice && block.progress == Progress::Completing)
    }

    /// Takes a delta that it wants in: aggregates it and asks the policy about it.
    pub(super) fn take(&mut self, item: &mut StageDelta<'_>) -> Passage {
        let position = self.blocks.iter().rposition(|block| block.id == item.block).unwrap_or_else(|| {
            self.blocks.push(StageBlock::new(item));
            self.blocks.len().saturating_sub(1)
        });
        let Some(block) = self.blocks.get_mut(position) else { return Passage::On(Vec::new()) };
        if block.progress != Progress::Open {
            return block.take_after_end(item);
        }
        block.aggregate.add(item, self.interests, self.max_text_bytes);
        if item.is_silent() {
            return block.take_silent();
        }
        let action = match &block.aggregate {
            Aggregate::Content(content) => self.instance.on_content_delta(&item.text, content),
            Aggregate::ToolCall(call) => self.instance.on_tool_call_delta(&item.text, call),
            Aggregate::Concluded => DeltaAction::Drop,
        };
        let action = match action {
            DeltaAction::Replace(_) if item.kind == BlockKind::Unknown => DeltaAction::Drop,
            action => action,
        };
        block.compare(&item.text, &action);
        match action {
            DeltaAction::Forward => Passage::On(core::mem::take(&mut block.held)),
            DeltaAction::Hold => {
                block.guarded = true;
                Passage::Held
            }
            DeltaAction::Drop => {
                block.guarded = true;
                block.touched = true;
                block.start_removed |= item.starts || block.held.iter().any(|held| held.starts);
                Passage::Removed(core::mem::take(&mut block.held))
            }
            DeltaAction::Replace(text) => {
                let text = Cow::Owned(text.into_owned());
                block.touched = true;
                let held = core::mem::take(&mut block.held);
                block.start_removed |= item.kind.is_content() && held.iter().any(|held| held.starts);
                item.text = text;
                item.changed = true;
                Passage::Changed(held)
            }
        }
    }

    /// Holds a delta of a block.
    pub(super) fn hold(&mut self, item: StageDelta<'_>) {
        if let Some(block) = self.block(item.block) {
            block.held.push(item.into_held());
        }
    }

    /// Forgets a block that is settled, if nothing more can come of it (`is_whole`) or it is of unknown type: there is no
    /// bound to how many of those may come.
    pub(super) fn forget(&mut self, id: BlockId, is_whole: bool) {
        let Some(position) = self.blocks.iter().rposition(|block| block.id == id) else { return };
        if is_whole || self.blocks.get(position).is_some_and(|block| block.kind == BlockKind::Unknown) {
            self.blocks.remove(position);
        }
    }

    /// The block ended: starts its completion hook. `None` when this stage has nothing to say about it.
    pub(super) fn complete(&mut self, id: BlockId, complete: bool) -> Option<Hook> {
        let block = self.blocks.iter_mut().rev().find(|block| block.id == id)?;
        if block.progress != Progress::Open {
            return None;
        }
        block.progress = Progress::Completing;
        block.aggregate.finish(complete);
        match &block.aggregate {
            Aggregate::Content(content) => Some(self.instance.on_content_complete(Rc::clone(content))),
            Aggregate::ToolCall(call) => Some(self.instance.on_tool_call_complete(Rc::clone(call))),
            Aggregate::Concluded => None,
        }
    }
}

impl StageBlock {
    fn new(item: &StageDelta<'_>) -> Self {
        Self {
            id: item.block,
            choice: item.choice,
            kind: item.kind,
            progress: Progress::Open,
            held: Vec::new(),
            start_removed: false,
            guarded: false,
            violated: false,
            touched: false,
            comparison: None,
            aggregate: Aggregate::new(item),
        }
    }

    /// Once the policy replaces text of the block: notes what came and what leaves.
    fn compare(&mut self, text: &str, action: &DeltaAction<'_>) {
        if self.comparison.is_none() && matches!(action, DeltaAction::Replace(_)) {
            let mut came = Fingerprint::new();
            self.held.iter().for_each(|held| came.add(&held.text));
            self.comparison = Some(Comparison { came, left: Fingerprint::new() });
        }
        let Some(Comparison { came, left }) = &mut self.comparison else { return };
        came.add(text);
        match action {
            DeltaAction::Forward => {
                self.held.iter().for_each(|held| left.add(&held.text));
                left.add(text);
            }
            DeltaAction::Replace(replacement) => left.add(replacement),
            DeltaAction::Hold | DeltaAction::Drop => {}
        }
    }

    /// Whether the block, ending with this action of what is held, left with another text than it came with.
    pub(super) fn ends_changed(&mut self, action: &BlockAction) -> bool {
        match (&mut self.comparison, action) {
            (Some(Comparison { came, left }), BlockAction::Forward) => {
                self.held.iter().for_each(|held| left.add(&held.text));
                came != left
            }
            (Some(Comparison { came, left }), BlockAction::Replace(Chunk::Text { text, .. })) => {
                left.add(text);
                came != left
            }
            (None, BlockAction::Forward) => false,
            (None, BlockAction::Drop) => !self.held.is_empty(),
            _ => true,
        }
    }

    /// The policy has decided: nobody asks for the block's text any more, and a long answer has many blocks.
    pub(super) fn conclude(&mut self, progress: Progress) {
        self.progress = progress;
        self.aggregate = Aggregate::Concluded;
    }

    /// A delta without a message for the policy shares the lot of its block.
    fn take_silent(&self) -> Passage {
        // What is said about text that was changed (citations) would tell it.
        if self.start_removed || (self.touched && self.kind.is_content()) {
            return Passage::Removed(Vec::new());
        }
        if self.held.is_empty() { Passage::On(Vec::new()) } else { Passage::Held }
    }

    fn take_after_end(&mut self, item: &StageDelta<'_>) -> Passage {
        let says_nothing = item.text.trim().is_empty() && item.name.is_empty();
        match self.progress {
            _ if !self.guarded => Passage::On(Vec::new()),
            Progress::Completing if says_nothing => Passage::Held,
            Progress::Passed if says_nothing => Passage::On(Vec::new()),
            Progress::Withheld if says_nothing => Passage::Removed(Vec::new()),
            _ => {
                self.violated = true;
                Passage::Trailing
            }
        }
    }
}

impl Aggregate {
    fn new(item: &StageDelta<'_>) -> Self {
        if item.kind.is_content() {
            return Self::Content(Rc::new(ContentBlock {
                id: item.block,
                choice: item.choice,
                kind: item.kind,
                text: String::new(),
                complete: false,
                truncated: false,
                clarity: item.clarity,
            }));
        }
        Self::ToolCall(Rc::new(ToolCallBlock {
            id: item.block,
            choice: item.choice,
            kind: item.kind,
            call_id: String::new(),
            name: String::new(),
            arguments: String::new(),
            free_form: item.free_form,
            complete: false,
            truncated: false,
            clarity: item.clarity,
        }))
    }

    /// No hook has the block as long as it is open, so that it is never shared here.
    fn add(&mut self, item: &StageDelta<'_>, interests: Interests, max_text_bytes: usize) {
        match self {
            Self::Content(content) if interests.content_text || item.clarity != Clarity::Plain => {
                let Some(content) = Rc::get_mut(content) else { return };
                content.clarity = content.clarity.and(item.clarity);
                if !interests.content_text {
                    return;
                }
                content.truncated |= !append(&mut content.text, &item.text, max_text_bytes);
            }
            Self::Content(_) => {}
            Self::ToolCall(call) => {
                let Some(call) = Rc::get_mut(call) else { return };
                call.call_id.push_str(&item.call_id);
                call.name.push_str(&item.name);
                call.free_form |= item.free_form;
                call.clarity = call.clarity.and(item.clarity);
                call.truncated |= !append(&mut call.arguments, &item.text, max_text_bytes);
            }
            Self::Concluded => {}
        }
    }

    fn finish(&mut self, complete: bool) {
        match self {
            Self::Content(content) => {
                if let Some(content) = Rc::get_mut(content) {
                    content.complete = complete;
                }
            }
            Self::ToolCall(call) => {
                if let Some(call) = Rc::get_mut(call) {
                    call.complete = complete;
                }
            }
            Self::Concluded => {}
        }
    }
}

/// Appends what fits; whether all of it did.
fn append(text: &mut String, addition: &str, limit: usize) -> bool {
    let fits = text.len().saturating_add(addition.len()) <= limit;
    if fits {
        text.push_str(addition);
    }
    fits
}
