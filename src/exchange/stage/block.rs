//! A block as a stage sees it.

use std::rc::Rc;

use super::StageDelta;
use crate::block::{BlockId, BlockKind, Clarity, ContentBlock, ToolCallBlock};
use crate::policy::Interests;

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
pub(super) enum Aggregate {
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
    /// The delta that began the block did not go on.
    pub(super) start_removed: bool,
    /// The policy has held or dropped some of it: what comes after its end is not to slip through.
    pub(super) guarded: bool,
    /// The policy has dropped or changed some of it.
    pub(super) touched: bool,
    pub(super) clarity: Clarity,
    pub(super) aggregate: Aggregate,
}

/// What becomes of a delta that comes after the end of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterEnd {
    /// It goes on, behind what waits.
    Pass,
    /// It waits with the block.
    Wait,
    /// It shares the lot of the block that was withheld.
    Remove,
    /// It says something that no policy was asked about.
    Trailing,
}

impl StageBlock {
    pub(super) fn new(item: &StageDelta<'_>) -> Self {
        Self {
            id: item.block,
            choice: item.choice,
            kind: item.kind,
            progress: Progress::Open,
            start_removed: false,
            guarded: false,
            touched: false,
            clarity: item.clarity,
            aggregate: Aggregate::new(item),
        }
    }

    /// The policy has decided: nobody asks for the block's text any more, and a long answer has many blocks.
    pub(super) fn conclude(&mut self, progress: Progress) {
        self.progress = progress;
        self.aggregate = Aggregate::Concluded;
    }

    pub(super) fn after_end(&self, item: &StageDelta<'_>) -> AfterEnd {
        let says_nothing = item.text.trim().is_empty() && item.name.is_empty();
        match self.progress {
            _ if !self.guarded => AfterEnd::Pass,
            Progress::Completing if says_nothing => AfterEnd::Wait,
            Progress::Passed if says_nothing => AfterEnd::Pass,
            Progress::Withheld if says_nothing => AfterEnd::Remove,
            _ => AfterEnd::Trailing,
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
    pub(super) fn add(&mut self, item: &StageDelta<'_>, interests: Interests, max_text_bytes: usize) {
        match self {
            Self::Content(content) if interests.content_text || item.clarity != Clarity::Plain => {
                let Some(content) = Rc::get_mut(content) else { return };
                content.clarity = content.clarity.and(item.clarity);
                if interests.content_text {
                    content.truncated |= !append(&mut content.text, &item.text, max_text_bytes);
                }
            }
            Self::Content(_) => {}
            Self::ToolCall(call) => {
                let Some(call) = Rc::get_mut(call) else { return };
                call.clarity = call.clarity.and(item.clarity);
                call.call_id.push_str(&item.call_id);
                call.name.push_str(&item.name);
                call.free_form |= item.free_form;
                call.truncated |= !append(&mut call.arguments, &item.text, max_text_bytes);
            }
            Self::Concluded => {}
        }
    }

    pub(super) fn finish(&mut self, complete: bool) {
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
