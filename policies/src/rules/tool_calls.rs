//! Rules at work on the arguments of tool calls.

use weir::arguments::Arguments;
use weir::block::{ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::policy::{BlockAction, StreamingContext};

use super::config::InAnswer;
use super::groups::Group;
use super::texts::{Side, Texts};
use super::{Rules, TOO_LONG};

/// What a client gets in place of a call whose arguments cannot be read.
const UNREADABLE: &str = "[A tool call was withheld: its arguments cannot be read.]";

/// What became of arguments.
enum Searched {
    Same,
    Changed(String),
    Unreadable,
}

impl Rules {
    pub(super) fn search_tool_call(&self, block: &ToolCallBlock, cx: &StreamingContext<Texts>) -> BlockAction {
        let Some(group) = self.groups.of_answer(InAnswer::ToolArgument) else { return BlockAction::Forward };
        let most_growth = cx.limits().max_rewritten_bytes;
        let (searched, done, is_exceeded) = cx.scratchpad(|texts| {
            texts.begin();
            texts.output.edited.most_growth = Some(most_growth);
            let searched = search(texts, group, block);
            (searched, texts.count(Side::Answer), texts.output.edited.exceeded)
        });
        if let Some(rule) = self.say(&done, cx) {
            return BlockAction::Replace(build_text_chunk(block.choice(), rule.message.as_str()));
        }
        if is_exceeded {
            cx.count_failure(TOO_LONG);
            return BlockAction::Drop;
        }
        match searched {
            Searched::Same => BlockAction::Forward,
            Searched::Changed(arguments) => BlockAction::ReplaceArguments(arguments),
            // What only tells of matches withholds nothing.
            Searched::Unreadable if group.acting.is_empty() => BlockAction::Forward,
            Searched::Unreadable => {
                cx.conclude(Decision::Refuse, "TOOL_CALL_INVALID");
                BlockAction::Replace(build_text_chunk(block.choice(), UNREADABLE))
            }
        }
    }
}

fn search(texts: &mut Texts, group: &Group, block: &ToolCallBlock) -> Searched {
    let arguments = block.arguments();
    if block.is_truncated() || block.ambiguity().is_some() {
        return Searched::Unreadable;
    }
    if block.is_free_form() || arguments.trim().is_empty() {
        return texts.edit(group, arguments).map_or(Searched::Same, Searched::Changed);
    }
    let Some(mut edited) = Arguments::read(arguments) else { return Searched::Unreadable };
    edited.edit_strings(|_, text| texts.edit(group, text));
    edited.into_text().map_or(Searched::Same, Searched::Changed)
}
