//! Changes a frame of chat.completions in place, with the smallest edits. Finds the slots by the same rule as the
//! decoder and in the same order.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::output::{Function, ToolCall};
use crate::block::Chunk;
use crate::dialect::SlotAction;
use crate::wire::json::{self, Edits, Member};

/// What becomes of one slot.
#[derive(Debug)]
pub(super) struct SlotChange<'a> {
    pub(super) action: &'a SlotAction,
    /// The index that the client knows the tool call by, where it is another than the upstream's.
    pub(super) call_index: Option<u32>,
    /// The slot goes on with a tool call that the client has: id and name stay even if the arguments leave.
    pub(super) continues_call: bool,
    /// It says again whose call it goes on with, or says another name: that does not leave.
    pub(super) repeats: bool,
}

/// What becomes of a choice besides its slots.
#[derive(Debug, Default)]
pub(super) struct ChoiceChange<'a> {
    pub(super) choice: u32,
    /// What became of its tool calls, which the finish reason names.
    pub(super) calls_left: Calls,
    /// Text that goes before the content (whole bodies).
    pub(super) before: String,
    /// Text that goes after the content (whole bodies).
    pub(super) after: String,
    /// Tool calls that are added, with the number of the slot that they go before (whole bodies).
    pub(super) calls: Vec<(usize, &'a Chunk, &'a str)>,
}

/// What became of the tool calls of a choice.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    #[default]
    AsTheyCame,
    /// All of them were removed.
    NoneLeft,
    /// A policy added some.
    Added,
    /// The output ends here, for this reason.
    Ended(&'static str),
}

impl Calls {
    /// Gives the finish reason that is true where `reason` is not.
    fn corrected(self, reason: &str) -> Option<&'static str> {
        match (self, reason) {
            (Self::NoneLeft, "tool_calls" | "function_call") => Some("stop"),
            (Self::Added, "stop") => Some("tool_calls"),
            (Self::Ended(reason), _) => Some(reason),
            _ => None,
        }
    }
}

/// The edits of a frame.
#[derive(Debug, Default)]
pub(super) struct Spliced<'d> {
    pub(super) edits: Edits,
    /// What makes the frame longer and says nothing; empty where there is none.
    pub(super) padding: &'d str,
    /// Whether any of its texts is left.
    pub(super) keeps_text: bool,
    /// Whether anything else in the frame is still of use to a client.
    pub(super) is_useful: bool,
}

/// Works out the edits of `frame`: a chunk, or a whole body (where `message` takes the place of `delta`).
pub(super) fn splice<'d, 'c>(
    source: &'d str,
    message_key: &str,
    slots: impl Iterator<Item = SlotChange<'c>>,
    choices: &[ChoiceChange<'_>],
) -> Spliced<'d> {
    let mut splicer = Splicer { source, slots, taken: 0, choices, spliced: Spliced::default(), text_changed: false };
    let top = json::members(source);
    splicer.spliced.is_useful = json::member(&top, "usage").is_some() || json::member(&top, "error").is_some();
    splicer.spliced.padding = json::member(&top, "obfuscation").unwrap_or_default();
    for choice in json::member(&top, "choices").map(json::elements).unwrap_or_default() {
        splicer.choice(choice, message_key);
    }
    splicer.spliced
}

struct Splicer<'d, 'c, S> {
    source: &'d str,
    slots: S,
    /// How many slots were taken.
    taken: usize,
    choices: &'c [ChoiceChange<'c>],
    spliced: Spliced<'d>,
    text_changed: bool,
}

impl<'d, 'c, 'f, S: Iterator<Item = SlotChange<'f>>> Splicer<'d, 'c, S> {
    fn choice(&mut self, choice: &'d str, message_key: &str) {
        let fields = json::members(choice);
        let index = json::member(&fields, "index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let change = self.choices.iter().find(|change| change.choice == index);
        self.text_changed = false;
        if let Some(message) = json::member(&fields, message_key) {
            self.message(message, change);
        }
        if let Some(reason) = json::member(&fields, "finish_reason") {
            self.spliced.is_useful = true;
            if let Some(changed) = change.and_then(|change| change.calls_left.corrected(&json::string(reason))) {
                self.spliced.edits.replace(json::span(self.source, reason), json::to_text(changed));
            }
        }
        // Log probabilities spell the text out: they leave with it.
        if let Some(logprobs) = json::member(&fields, "logprobs").filter(|_| self.text_changed) {
            self.spliced.edits.replace(json::span(self.source, logprobs), "null");
        }
    }

    fn message(&mut self, message: &'d str, change: Option<&ChoiceChange<'_>>) {
        let fields = json::members(message);
        let mut removed: Vec<&str> = Vec::new();
        let mut set: Vec<(&str, String)> = Vec::new();
        self.spliced.is_useful |= json::member(&fields, "role").is_some();
        let changes_reasoning = self.text(&fields, "reasoning_content") | self.text(&fields, "reasoning");
        if changes_reasoning {
            // They say the same.
            removed.extend(["reasoning_details", "thinking_blocks"]);
        }
        self.content(&fields, change, &mut set);
        self.text(&fields, "refusal");
        if let Some(audio) = json::member(&fields, "audio") {
            self.audio(audio);
        }
        let added = change.map(|change| change.calls.as_slice()).unwrap_or_default();
        let (legacy, added): (Vec<_>, Vec<_>) = added.iter().partition(|(_, chunk, _)| legacy_function(chunk).is_some());
        match json::member(&fields, "tool_calls") {
            Some(calls) => {
                if !self.tool_calls(calls, &added) {
                    removed.push("tool_calls");
                }
            }
            None if added.is_empty() => {}
            None => {
                let calls: Vec<String> = added.iter().map(|(_, chunk, extras)| call_text(chunk, extras)).collect();
                set.push(("tool_calls", format!("[{}]", calls.join(","))));
            }
        }
        let function_call = json::member(&fields, "function_call");
        let is_removed = function_call.is_some_and(|function| !self.function_call(function));
        match legacy.first().and_then(|(_, chunk, _)| legacy_function(chunk)) {
            Some(added) => set.push(("function_call", json::to_text(&added))),
            None if is_removed => removed.push("function_call"),
            None => {}
        }
        self.spliced.edits.edit_object(self.source, message, &fields, &removed, &set);
    }

    /// The action of the slot `literal`, a string that is not empty: the text that takes its place, if any does.
    fn replaced_text(&mut self, literal: &'d str) -> Option<Option<String>> {
        if json::string(literal).is_empty() {
            return None;
        }
        let change = self.next_slot()?;
        self.text_changed |= *change.action != SlotAction::Keep;
        self.spliced.keeps_text |= *change.action != SlotAction::Remove;
        match change.action {
            SlotAction::Keep => None,
            SlotAction::Replace(text) => Some(Some(text.clone())),
            SlotAction::Remove => Some(None),
        }
    }

    /// Whether the text was changed.
    fn text(&mut self, fields: &[Member<'d>], key: &str) -> bool {
        let Some(literal) = json::member(fields, key) else { return false };
        let Some(text) = self.replaced_text(literal) else { return false };
        self.spliced.edits.replace(json::span(self.source, literal), json::to_text(&text));
        true
    }

    /// The transcript is text, and the sound leaves with it.
    fn audio(&mut self, audio: &'d str) {
        let fields = json::members(audio);
        let Some(replaced) = json::member(&fields, "transcript").and_then(|literal| self.replaced_text(literal)) else { return };
        let transcript = [("transcript", json::to_text(&replaced.unwrap_or_default()))];
        self.spliced.edits.edit_object(self.source, audio, &fields, &["data"], &transcript);
    }

    fn content(&mut self, fields: &[Member<'d>], change: Option<&ChoiceChange<'_>>, set: &mut Vec<(&'static str, String)>) {
        let content = json::member(fields, "content");
        let (before, after) = change.map_or(("", ""), |change| (change.before.as_str(), change.after.as_str()));
        if let Some(parts) = content.filter(|content| content.starts_with('[')) {
            return self.content_parts(parts, before, after);
        }
        let replaced = content.and_then(|literal| self.replaced_text(literal));
        if before.is_empty() && after.is_empty() {
            if let Some(text) = replaced {
                set.push(("content", json::to_text(&text)));
            }
            return;
        }
        let own = match replaced {
            Some(text) => text.map(Cow::Owned),
            None => content.map(json::string),
        };
        let text = [before, own.as_deref().unwrap_or_default(), after].concat();
        set.push(("content", json::to_text(&text)));
    }

    fn content_parts(&mut self, parts: &'d str, before: &str, after: &str) {
        let elements = json::elements(parts);
        let mut removed = vec![false; elements.len()];
        for (element, removed) in elements.iter().zip(&mut removed) {
            let fields = json::members(element);
            for key in ["text", "refusal"] {
                let Some(literal) = json::member(&fields, key) else {
                    continue;
                };
                match self.replaced_text(literal) {
                    None => {}
                    Some(Some(text)) => {
                        self.spliced.edits.replace(json::span(self.source, literal), json::to_text(&text));
                    }
                    Some(None) => *removed = true,
                }
            }
            if let Some(thinking) = json::member(&fields, "thinking") {
                self.thinking(thinking);
            }
        }
        let as_part = |text: &str| format!(r#"{{"type":"text","text":{}}}"#, json::to_text(text));
        let added = [(0, before), (elements.len(), after)].into_iter().filter(|(_, text)| !text.is_empty());
        self.edit_list(parts, &elements, &mut removed, added.map(|(position, text)| (position, as_part(text))));
    }

    fn thinking(&mut self, thinking: &'d str) {
        let is_list = thinking.starts_with('[');
        let parts = if is_list { json::elements(thinking) } else { Vec::new() };
        let texts = parts.into_iter().filter_map(|part| json::member(&json::members(part), "text"));
        for literal in texts.chain((!is_list).then_some(thinking)) {
            if let Some(text) = self.replaced_text(literal) {
                self.spliced.edits.replace(json::span(self.source, literal), json::to_text(&text.unwrap_or_default()));
            }
        }
    }

    /// Takes elements out of the list `list`, and puts others in before those of these positions.
    fn edit_list(&mut self, list: &str, elements: &[&str], removed: &mut [bool], added: impl Iterator<Item = (usize, String)>) {
        let ranges: Vec<_> = elements.iter().map(|element| json::span(self.source, element)).collect();
        let mut additions: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        added.for_each(|(position, item)| additions.entry(position).or_default().push(item));
        let edits = &mut self.spliced.edits;
        for (position, items) in additions {
            let items = items.join(",");
            match (ranges.get(position), removed.get_mut(position)) {
                (Some(range), Some(removed)) if *removed => {
                    *removed = false;
                    edits.replace(range.clone(), items);
                }
                (Some(range), _) => edits.insert(range.start, format!("{items},")),
                (None, _) => {
                    let comma = if removed.contains(&false) { "," } else { "" };
                    edits.insert(json::span(self.source, list).end.saturating_sub(1), format!("{comma}{items}"));
                }
            }
        }
        edits.remove_items(&ranges, |position| removed.get(position).copied().unwrap_or(false));
    }

    fn next_slot(&mut self) -> Option<SlotChange<'f>> {
        self.taken = self.taken.saturating_add(1);
        self.slots.next()
    }

    /// Whether any tool call is left.
    fn tool_calls(&mut self, calls: &'d str, added: &[&(usize, &Chunk, &str)]) -> bool {
        let elements = json::elements(calls);
        let first_slot = self.taken;
        let mut removed = vec![false; elements.len()];
        for (element, removed) in elements.iter().zip(&mut removed) {
            *removed = !self.tool_call(element);
            self.spliced.is_useful |= !*removed;
        }
        let is_left = elements.is_empty() || !added.is_empty() || removed.contains(&false);
        if is_left {
            let place = |before: usize| before.saturating_sub(first_slot).min(elements.len());
            let added = added.iter().map(|(before, chunk, extras)| (place(*before), call_text(chunk, extras)));
            self.edit_list(calls, &elements, &mut removed, added);
        }
        is_left
    }

    /// Whether the tool call is left.
    fn tool_call(&mut self, call: &'d str) -> bool {
        let Some(change) = self.next_slot() else {
            return true;
        };
        let fields = json::members(call);
        let (key, text_key) =
            if json::member(&fields, "custom").is_some() { ("custom", "input") } else { ("function", "arguments") };
        let inner = json::member(&fields, key);
        let inner_fields = inner.map(json::members).unwrap_or_default();
        let arguments = match change.action {
            SlotAction::Keep => None,
            SlotAction::Replace(arguments) => Some(arguments.as_str()),
            SlotAction::Remove => {
                let says_who = |fields: &[Member<'_>], key| json::member(fields, key).is_some_and(|literal| literal != "\"\"");
                if !change.continues_call || change.repeats || !(says_who(&fields, "id") || says_who(&inner_fields, "name")) {
                    return false;
                }
                Some("")
            }
        };
        if let (Some(index), Some(old)) = (change.call_index, json::member(&fields, "index")) {
            self.spliced.edits.replace(json::span(self.source, old), index.to_string());
        }
        if let Some(arguments) = arguments {
            let arguments = json::to_text(arguments);
            let [said_name, said_id]: [&[&str]; 2] = if change.repeats { [&["name"], &["id"]] } else { [&[], &[]] };
            match inner {
                Some(inner) => {
                    self.spliced.edits.edit_object(self.source, inner, &inner_fields, said_name, &[(text_key, arguments)]);
                    if json::member(&fields, "id").is_some() {
                        self.spliced.edits.edit_object(self.source, call, &fields, said_id, &[]);
                    }
                }
                None => {
                    let inner = format!(r#"{{"{text_key}":{arguments}}}"#);
                    self.spliced.edits.edit_object(self.source, call, &fields, &[], &[(key, inner)]);
                }
            }
        }
        true
    }

    /// Whether the function call is left.
    fn function_call(&mut self, function: &'d str) -> bool {
        let Some(change) = self.next_slot() else {
            return true;
        };
        let fields = json::members(function);
        let arguments = match change.action {
            SlotAction::Keep => None,
            SlotAction::Replace(arguments) => Some(arguments.as_str()),
            SlotAction::Remove if change.continues_call && !change.repeats && json::member(&fields, "name").is_some() => Some(""),
            SlotAction::Remove => return false,
        };
        self.spliced.is_useful = true;
        if let Some(arguments) = arguments {
            let arguments = json::to_text(arguments);
            let removed: &[&str] = if change.repeats { &["name"] } else { &[] };
            self.spliced.edits.edit_object(self.source, function, &fields, removed, &[("arguments", arguments)]);
        }
        true
    }
}

/// The legacy function call that a call is which has no id.
fn legacy_function(chunk: &Chunk) -> Option<Function<'_>> {
    match chunk {
        Chunk::ToolCall { call_id, name, arguments, free_form: false, .. } if call_id.is_empty() => {
            Some(Function { name, arguments })
        }
        _ => None,
    }
}

fn call_text(chunk: &Chunk, extras: &str) -> String {
    match chunk {
        Chunk::ToolCall { call_id, name, arguments, free_form, .. } => {
            json::to_text(&ToolCall::new(None, call_id, name, arguments, *free_form).with_extras(extras))
        }
        Chunk::Text { .. } => String::new(),
    }
}
