//! The rules of `chat.completions`.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{Report, Violation};
use crate::json::{self, array, text};
use crate::sse;

pub(super) fn stream(body: &[u8]) -> Vec<Violation> {
    let mut answer = Answer::default();
    let mut report = Report::default();
    let mut end = None;
    let events = sse::read(body);
    for (number, event) in events.iter().enumerate() {
        report.event = number;
        report.require(event.ended, "a blank line ends every event", || event.data.clone());
        report.require(end.is_none(), "nothing follows the end", || event.data.clone());
        if event.data == "[DONE]" {
            end = Some(End::Done);
            continue;
        }
        match json::read(&event.data) {
            Ok(value) if value.get("error").is_some_and(|error| !error.is_null()) => {
                check_error(&value, &mut report);
                end = Some(End::Error);
            }
            Ok(value) => answer.chunk(&value, &mut report),
            Err(error) => report.broken("data is JSON", format!("{error}: {}", event.data)),
        }
    }
    report.event = events.len();
    match end {
        Some(End::Done) => answer.check_content(&mut report),
        Some(End::Error) => {}
        None => report.broken("[DONE] comes last", "the stream ends without it"),
    }
    report.violations
}

pub(super) fn whole(body: &[u8]) -> Vec<Violation> {
    let mut report = Report::default();
    let value = match json::read(&String::from_utf8_lossy(body)) {
        Ok(value) => value,
        Err(error) => {
            report.broken("the body is JSON", error);
            return report.violations;
        }
    };
    if value.get("error").is_some_and(|error| !error.is_null()) {
        check_error(&value, &mut report);
        return report.violations;
    }
    report
        .require(text(&value, "/object") == "chat.completion", "the object is a chat.completion", || value["object"].to_string());
    let named = !text(&value, "/id").is_empty() && !text(&value, "/model").is_empty() && value["created"].is_u64();
    report.require(named, "the answer has id, created and model", || value.to_string());
    let mut answer = Answer::default();
    for choice in array(&value, "/choices") {
        let role = text(choice, "/message/role");
        report.require(role == "assistant", "the message is the assistant's", || role.to_owned());
        let mut with_indices = choice["message"].clone();
        if let Some(calls) = with_indices.get_mut("tool_calls").and_then(Value::as_array_mut) {
            report.require(!calls.is_empty(), "tool_calls is not an empty array", || choice.to_string());
            for (index, call) in calls.iter_mut().enumerate() {
                call["index"] = index.into();
            }
        }
        answer.choice(choice, &with_indices, &mut report);
    }
    answer.check_content(&mut report);
    report.violations
}

enum End {
    Done,
    Error,
}

fn check_error(value: &Value, report: &mut Report) {
    report.require(!text(value, "/error/message").is_empty(), "an error has a message", || value.to_string());
}

#[derive(Debug, Default)]
struct Answer {
    head: Option<[Value; 4]>,
    choices: BTreeMap<u64, Choice>,
    usage: bool,
}

#[derive(Debug, Default)]
struct Choice {
    finish: Option<String>,
    has_content: bool,
    legacy_call: bool,
    legacy_arguments: String,
    calls: Vec<Call>,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
    /// What the deltas that say it say.
    free_form: Option<bool>,
}

impl Answer {
    fn chunk(&mut self, chunk: &Value, report: &mut Report) {
        let object = text(chunk, "/object");
        let choices = array(chunk, "/choices");
        report.require(chunk["choices"].is_array(), "a chunk has choices", || chunk.to_string());
        // Azure sends the filter's results on the prompt ahead, in a chunk that names nothing.
        let is_prompt_filter = choices.is_empty() && chunk.get("prompt_filter_results").is_some();
        if !is_prompt_filter {
            report.require(object == "chat.completion.chunk", "the object is a chat.completion.chunk", || object.to_owned());
            let head = ["id", "object", "created", "model"].map(|field| chunk[field].clone());
            let known = self.head.get_or_insert_with(|| head.clone());
            report.require(*known == head, "id, object, created and model stay", || format!("{head:?} after {known:?}"));
        }
        if choices.is_empty() && chunk["usage"].is_object() {
            report.require(!self.usage, "the usage chunk comes once", || chunk.to_string());
            let finished = self.choices.values().all(|choice| choice.finish.is_some());
            report.require(finished, "the usage chunk comes after every finish_reason", || chunk.to_string());
            self.usage = true;
        }
        for choice in choices {
            self.choice(choice, &choice["delta"], report);
        }
    }

    fn choice(&mut self, outer: &Value, message: &Value, report: &mut Report) {
        let index = outer["index"].as_u64();
        report.require(index.is_some(), "a choice has an index", || outer.to_string());
        let index = index.unwrap_or_default();
        let choice = self.choices.entry(index).or_default();
        choice.message(message, report);
        if let Some(reason) = outer["finish_reason"].as_str() {
            report.require(choice.finish.is_none(), "finish_reason comes once in a choice", || outer.to_string());
            choice.finish = Some(reason.to_owned());
        }
    }

    /// What only the whole answer shows.
    fn check_content(&self, report: &mut Report) {
        report.require(!self.choices.is_empty(), "there is a choice", String::new);
        let dense = self.choices.keys().enumerate().all(|(position, index)| position as u64 == *index);
        report.require(dense, "indices of choices are dense from 0", || format!("{:?}", self.choices.keys()));
        for (index, choice) in &self.choices {
            choice.check(*index, report);
        }
    }
}

impl Choice {
    fn message(&mut self, message: &Value, report: &mut Report) {
        let said = ["content", "refusal", "reasoning_content", "reasoning"]
            .into_iter()
            .any(|field| message.get(field).is_some_and(has_text));
        let legacy = message.get("function_call").is_some_and(Value::is_object);
        let calls = array(message, "/tool_calls");
        let says = said || legacy || !calls.is_empty();
        report.require(!says || self.finish.is_none(), "finish_reason comes after the content", || message.to_string());
        self.has_content |= said || message.get("audio").is_some_and(Value::is_object);
        self.legacy_call |= legacy;
        self.legacy_arguments.push_str(text(message, "/function_call/arguments"));
        for call in calls {
            self.call(call, report);
        }
    }

    fn call(&mut self, call: &Value, report: &mut Report) {
        let Some(index) = call["index"].as_u64().and_then(|index| usize::try_from(index).ok()) else {
            report.broken("a tool call delta has an index", call.to_string());
            return;
        };
        let (function, custom) = (call["function"].is_object(), call["custom"].is_object());
        let kind = if custom { "custom" } else { "function" };
        let name = text(call, &format!("/{kind}/name"));
        if index > self.calls.len() {
            report.broken("indices of tool calls are dense from 0", call.to_string());
            return;
        }
        if index == self.calls.len() {
            let named = !text(call, "/id").is_empty() && !name.is_empty();
            report.require(named, "the first delta of a tool call has its id and name", || call.to_string());
            self.calls.push(Call::default());
        }
        let known = &mut self.calls[index];
        let free_form = (function || custom).then_some(custom);
        let stays = !(function && custom) && (known.free_form.is_none() || free_form.is_none() || known.free_form == free_form);
        report.require(stays, "a tool call is a function or a custom tool from its beginning to its end", || call.to_string());
        known.free_form = known.free_form.or(free_form);
        for (known, value) in [(&mut known.id, text(call, "/id")), (&mut known.name, name)] {
            let stays = known.is_empty() || value.is_empty() || known == value;
            report.require(stays, "id and name of a tool call stay", || format!("{value} after {known}"));
            if known.is_empty() {
                known.push_str(value);
            }
        }
        known.arguments.push_str(text(call, if kind == "custom" { "/custom/input" } else { "/function/arguments" }));
    }

    fn check(&self, index: u64, report: &mut Report) {
        let Some(reason) = self.finish.as_deref() else {
            report.broken("every choice has a finish_reason", format!("choice {index}"));
            return;
        };
        let cut = matches!(reason, "length" | "content_filter");
        let at = |what: &str| format!("choice {index}: {what}");
        let called = !self.calls.is_empty();
        report.require(called || reason != "tool_calls", "finish_reason tool_calls says that there is a call", || at(reason));
        report.require(!called || cut || reason == "tool_calls", "a call makes the finish_reason tool_calls", || at(reason));
        let legacy = self.legacy_call == (reason == "function_call");
        report.require(legacy || cut, "finish_reason function_call says that there is one", || at(reason));
        let empty = !self.has_content && !self.legacy_call && !called;
        report.require(!empty || cut, "the message is not empty", || at(reason));
        let ids = self.calls.iter().map(|call| &call.id).collect::<HashSet<_>>();
        report.require(ids.len() == self.calls.len(), "ids of tool calls differ", || at(&format!("{ids:?}")));
        for call in &self.calls {
            let valid = call.free_form == Some(true) || json::read(&call.arguments).is_ok_and(|arguments| arguments.is_object());
            report.require(valid || reason == "length", "the arguments of a tool call are a JSON object", || at(&call.arguments));
        }
        let valid = !self.legacy_call || json::read(&self.legacy_arguments).is_ok();
        report.require(valid || reason == "length", "the arguments of a function call are JSON", || at(&self.legacy_arguments));
    }
}

/// Whether the value says something; newer providers send content as a list of parts.
fn has_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        _ => false,
    }
}
