//! The rules of `responses`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Report, Violation};
use crate::json::{self, array, text};
use crate::sse;

/// The types of events that end a response.
const ENDS: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];

/// What the types of events begin with that build an item.
const OF_ITEMS: [&str; 11] = [
    "response.output_item.",
    "response.content_part.",
    "response.output_text.",
    "response.refusal.",
    "response.reasoning_",
    "response.function_call_arguments.",
    "response.custom_tool_call_input.",
    "response.mcp_call_arguments.",
    "response.code_interpreter_call_code.",
    "response.shell_call_command.",
    "response.apply_patch_call_operation_diff.",
];

pub(super) fn stream(body: &[u8]) -> Vec<Violation> {
    let mut response = Response::default();
    let mut report = Report::default();
    let events = sse::read(body);
    for (number, event) in events.iter().enumerate() {
        report.event = number;
        report.require(event.ended, "a blank line ends every event", || event.data.clone());
        let value = match json::read(&event.data) {
            Ok(value) => value,
            Err(error) => {
                report.broken("data is JSON", format!("{error}: {}", event.data));
                continue;
            }
        };
        let kind = text(&value, "/type").to_owned();
        report.require(event.name == kind, "the event line equals the type", || format!("{:?} and {kind:?}", event.name));
        let counted = value["sequence_number"].as_u64() == Some(number as u64);
        report.require(counted, "sequence numbers count the events from 0", || value["sequence_number"].to_string());
        response.event(&kind, &value, &mut report);
    }
    report.event = events.len();
    match response.stage {
        Stage::Ended | Stage::Failed => {}
        Stage::Start => report.broken("response.created comes first", "an empty stream"),
        Stage::Output => report.broken("the response is ended", "the stream ends without it"),
    }
    report.violations
}

pub(super) fn whole(body: &[u8]) -> Vec<Violation> {
    let mut report = Report::default();
    match json::read(&String::from_utf8_lossy(body)) {
        Ok(value) if value["error"].is_object() => check_error(&value["error"], &mut report),
        Ok(value) => check_response(&value, &mut report),
        Err(error) => report.broken("the body is JSON", error),
    }
    report.violations
}

fn check_error(error: &Value, report: &mut Report) {
    report.require(!text(error, "/message").is_empty(), "an error has a message", || error.to_string());
}

/// What only the whole response shows.
fn check_response(response: &Value, report: &mut Report) {
    check_head(response, report);
    report.require(response["output"].is_array(), "the output is an array", || response["output"].to_string());
    let cut = text(response, "/status") != "completed";
    let output = array(response, "/output");
    report.require(cut || !output.is_empty(), "the output is not empty", || response.to_string());
    let (mut ids, mut calls) = (HashSet::new(), HashSet::new());
    for item in output {
        check_item(item, cut, report);
        report.require(ids.insert(text(item, "/id")), "ids of items differ", || item.to_string());
        let is_call = text(item, "/type") == "function_call" || text(item, "/type") == "custom_tool_call";
        report.require(!is_call || calls.insert(text(item, "/call_id")), "ids of tool calls differ", || item.to_string());
    }
    let last = output.last().map_or("", |item| text(item, "/type"));
    report.require(cut || last != "reasoning", "reasoning comes before what it led to", || response["output"].to_string());
}

fn check_head(response: &Value, report: &mut Report) {
    report.require(text(response, "/object") == "response", "the object is a response", || response.to_string());
    for field in ["/id", "/model", "/status"] {
        report.require(!text(response, field).is_empty(), "a response has an id, a model and a status", || response.to_string());
    }
    report.require(response["created_at"].is_number(), "a response has a time", || response.to_string());
    let status = text(response, "/status");
    let explained = (status == "incomplete") == response["incomplete_details"].is_object();
    report.require(explained, "an incomplete response says why", || response.to_string());
}

fn check_item(item: &Value, cut: bool, report: &mut Report) {
    let kind = text(item, "/type");
    report.require(!kind.is_empty() && !text(item, "/id").is_empty(), "an item has a type and an id", || item.to_string());
    if kind == "message" {
        report.require(text(item, "/role") == "assistant", "a message is the assistant's", || item.to_string());
        let parts = array(item, "/content");
        let empty = parts.is_empty() || parts.iter().any(|part| said(part).is_empty());
        report.require(cut || !empty, "no message is empty", || item.to_string());
    }
    if matches!(kind, "function_call" | "custom_tool_call") {
        let named = !text(item, "/call_id").is_empty() && !text(item, "/name").is_empty();
        report.require(named, "a tool call has an id and a name", || item.to_string());
    }
    if kind == "function_call" && text(item, "/status") != "incomplete" {
        let valid = json::read(text(item, "/arguments")).is_ok_and(|arguments| arguments.is_object());
        report.require(valid, "the arguments of a tool call are a JSON object", || item.to_string());
    }
}

/// The text of a part.
fn said(part: &Value) -> &str {
    if text(part, "/type") == "refusal" { text(part, "/refusal") } else { text(part, "/text") }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    Output,
    Ended,
    Failed,
}

#[derive(Debug, Default)]
struct Response {
    stage: Stage,
    id: String,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    begun: Value,
    parts: Vec<Part>,
    /// What the deltas of a tool call say.
    payload: String,
    /// The commands of a shell's call.
    commands: Vec<String>,
    done: Option<Value>,
}

#[derive(Debug, Default)]
struct Part {
    list: &'static str,
    kind: String,
    text: String,
    text_done: bool,
    done: bool,
}

/// The string that grows in the deltas of an item of this type.
fn payload_field(kind: &str) -> &'static str {
    match kind {
        "function_call" | "mcp_call" => "/arguments",
        "custom_tool_call" => "/input",
        "code_interpreter_call" => "/code",
        "apply_patch_call" => "/operation/diff",
        _ => "",
    }
}

impl Response {
    fn event(&mut self, kind: &str, value: &Value, report: &mut Report) {
        let ends_after_error = self.stage == Stage::Failed && kind == "response.failed";
        if matches!(self.stage, Stage::Ended | Stage::Failed) && !ends_after_error {
            return report.broken("nothing follows the end", kind);
        }
        if self.stage == Stage::Start && !matches!(kind, "response.created" | "error") {
            report.broken("response.created comes first", kind);
        }
        match kind {
            "response.created" => {
                report.require(self.stage == Stage::Start, "response.created comes once", || value.to_string());
                self.stage = Stage::Output;
                text(value, "/response/id").clone_into(&mut self.id);
                self.check_begun(&value["response"], report);
            }
            "response.in_progress" | "response.queued" => self.check_begun(&value["response"], report),
            "response.output_item.added" => self.added(value, report),
            kind if ENDS.contains(&kind) => self.end(kind, &value["response"], report),
            "error" => {
                self.stage = Stage::Failed;
                check_error(if value["error"].is_object() { &value["error"] } else { value }, report);
            }
            _ if value["output_index"].is_number() => self.of_item(kind, value, report),
            kind => {
                let is_of_item = OF_ITEMS.iter().any(|of_item| kind.starts_with(of_item));
                report.require(!is_of_item, "an event says which item it is about", || value.to_string());
            }
        }
    }

    fn check_begun(&self, response: &Value, report: &mut Report) {
        check_head(response, report);
        report.require(text(response, "/id") == self.id, "the id of the response stays", || response.to_string());
        let empty = array(response, "/output").is_empty() && text(response, "/status") != "completed";
        report.require(empty, "a response begins without output", || response.to_string());
    }

    fn added(&mut self, value: &Value, report: &mut Report) {
        let item = &value["item"];
        let dense = value["output_index"].as_u64() == Some(self.items.len() as u64);
        report.require(dense, "output indices are dense from 0", || value.to_string());
        let has_head = !text(item, "/type").is_empty() && !text(item, "/id").is_empty();
        report.require(has_head, "an item has a type and an id", || value.to_string());
        let begins_empty = text(item, "/type") != "message" || array(item, "/content").is_empty();
        report.require(begins_empty, "a message begins without content", || value.to_string());
        let payload = item.pointer(payload_field(text(item, "/type"))).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.items.push(Item { begun: item.clone(), parts: Vec::new(), payload, commands: Vec::new(), done: None });
    }

    fn of_item(&mut self, kind: &str, value: &Value, report: &mut Report) {
        let index = value["output_index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let Some(item) = index.and_then(|index| self.items.get_mut(index)) else {
            return report.broken("an event belongs to an item that has begun", value.to_string());
        };
        report.require(item.done.is_none(), "nothing of an item follows its end", || value.to_string());
        let same = value.get("item_id").is_none() || value["item_id"] == item.begun["id"];
        report.require(same, "item_id is the id that the item began with", || value.to_string());
        item.event(kind, value, report);
    }

    fn end(&mut self, kind: &str, response: &Value, report: &mut Report) {
        self.stage = Stage::Ended;
        check_response(response, report);
        report.require(text(response, "/id") == self.id, "the id of the response stays", || response.to_string());
        let status = kind.strip_prefix("response.").unwrap_or_default();
        report.require(text(response, "/status") == status, "the status is that of the event", || response.to_string());
        let all_done = self.items.iter().all(|item| item.done.is_some());
        report.require(all_done, "every item ends before the response", || kind.to_owned());
        let output = array(response, "/output");
        let sent = self.items.iter().filter_map(|item| item.done.as_ref()).map(without_seal).collect::<Vec<_>>();
        let repeated = output.iter().map(without_seal).collect::<Vec<_>>();
        report
            .require(sent == repeated, "the end repeats what was sent", || format!("{}\nafter {}", json!(repeated), json!(sent)));
    }
}

/// An item without what the provider makes anew each time that it repeats it.
fn without_seal(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(item) = item.as_object_mut() {
        for key in ["encrypted_content", "fingerprint"] {
            item.remove(key);
        }
    }
    item
}

impl Item {
    fn kind(&self) -> &str {
        text(&self.begun, "/type")
    }

    fn event(&mut self, kind: &str, value: &Value, report: &mut Report) {
        match kind {
            "response.content_part.added" => self.part_added("content", &value["content_index"], &value["part"], report),
            "response.reasoning_summary_part.added" => {
                self.part_added("summary", &value["summary_index"], &value["part"], report);
            }
            "response.output_text.delta" => self.part_delta("output_text", value, report),
            "response.refusal.delta" => self.part_delta("refusal", value, report),
            "response.reasoning_text.delta" => self.part_delta("reasoning_text", value, report),
            "response.reasoning_summary_text.delta" => self.part_delta("summary_text", value, report),
            "response.output_text.done" | "response.reasoning_text.done" | "response.reasoning_summary_text.done" => {
                self.part_text_done(text(value, "/text"), value, report);
            }
            "response.refusal.done" => self.part_text_done(text(value, "/refusal"), value, report),
            "response.content_part.done" | "response.reasoning_summary_part.done" => self.part_done(value, report),
            "response.shell_call_command.added" => {
                let dense = value["command_index"].as_u64() == Some(self.commands.len() as u64);
                report.require(dense, "command indices are dense from 0", || value.to_string());
                self.commands.push(text(value, "/command").to_owned());
            }
            "response.shell_call_command.delta" => {
                if let Some(command) = self.commands.last_mut() {
                    command.push_str(text(value, "/delta"));
                }
            }
            "response.shell_call_command.done" => {
                let same = self.commands.last().map(String::as_str) == Some(text(value, "/command"));
                report.require(same, "done repeats the deltas", || value.to_string());
            }
            "response.output_item.done" => self.item_done(&value["item"], report),
            kind if kind.ends_with(".delta") && value["delta"].is_string() => {
                report.require(!payload_field(self.kind()).is_empty(), "a delta fits its item", || value.to_string());
                self.payload.push_str(text(value, "/delta"));
            }
            kind if kind.ends_with(".done") => {
                let field = ["/arguments", "/input", "/code", "/diff"].iter().find(|field| value.pointer(field).is_some());
                if let Some(field) = field {
                    let whole = text(value, field);
                    if self.payload.is_empty() {
                        whole.clone_into(&mut self.payload);
                    }
                    report.require(self.payload == whole, "done repeats the deltas", || value.to_string());
                }
            }
            _ => {}
        }
    }

    fn part_added(&mut self, list: &'static str, index: &Value, part: &Value, report: &mut Report) {
        let known = self.parts.iter().filter(|known| known.list == list).count();
        report.require(index.as_u64() == Some(known as u64), "part indices are dense from 0", || part.to_string());
        let kind = text(part, "/type").to_owned();
        let fits =
            if self.kind() == "message" { matches!(&*kind, "output_text" | "refusal") } else { self.kind() == "reasoning" };
        report.require(fits, "a part fits its item", || part.to_string());
        self.parts.push(Part { list, kind, text: said(part).to_owned(), ..Part::default() });
    }

    fn part(&mut self, value: &Value, report: &mut Report) -> Option<&mut Part> {
        let (list, index) =
            if value["summary_index"].is_number() { ("summary", "summary_index") } else { ("content", "content_index") };
        let index = value[index].as_u64().and_then(|index| usize::try_from(index).ok())?;
        let part = self.parts.iter_mut().filter(|part| part.list == list).nth(index);
        let is_open = part.as_ref().is_some_and(|part| !part.done);
        report.require(is_open, "an event belongs to an open part", || value.to_string());
        part
    }

    fn part_delta(&mut self, kind: &str, value: &Value, report: &mut Report) {
        let Some(part) = self.part(value, report) else { return };
        let fits = part.kind == kind && !part.text_done;
        part.text.push_str(text(value, "/delta"));
        report.require(fits, "a delta fits its part", || value.to_string());
    }

    fn part_text_done(&mut self, whole: &str, value: &Value, report: &mut Report) {
        let Some(part) = self.part(value, report) else { return };
        part.text_done = true;
        let same = part.text == whole;
        report.require(same, "done repeats the deltas", || value.to_string());
    }

    fn part_done(&mut self, value: &Value, report: &mut Report) {
        let Some(part) = self.part(value, report) else { return };
        let same = part.text == said(&value["part"]) && part.text_done;
        let same_type = part.kind == text(&value["part"], "/type");
        part.done = true;
        report.require(same, "done repeats the deltas", || value.to_string());
        report.require(same_type, "a part keeps its type", || value.to_string());
    }

    fn item_done(&mut self, item: &Value, report: &mut Report) {
        self.done = Some(item.clone());
        for field in ["id", "type", "name"] {
            let same = self.begun[field] == item[field];
            report.require(same, "an item keeps its id, type and name", || item.to_string());
        }
        for list in ["content", "summary"] {
            let parts = self.parts.iter().filter(|part| part.list == list).collect::<Vec<_>>();
            let repeated = array(item, &format!("/{list}")).iter().map(said);
            let same = parts.iter().map(|part| part.text.as_str()).eq(repeated) && parts.iter().all(|part| part.done);
            report.require(same, "done repeats the deltas", || item.to_string());
            let types = array(item, &format!("/{list}")).iter().map(|part| text(part, "/type"));
            let same_types = parts.iter().map(|part| part.kind.as_str()).eq(types);
            report.require(same_types, "a part keeps its type", || item.to_string());
        }
        let field = payload_field(self.kind());
        if !field.is_empty() {
            let whole = item.pointer(field).and_then(Value::as_str).unwrap_or_default();
            let same = self.payload.is_empty() || self.payload == whole;
            report.require(same, "done repeats the deltas", || item.to_string());
        }
        if !self.commands.is_empty() {
            let commands = array(item, "/action/commands").iter().filter_map(Value::as_str);
            report.require(commands.eq(self.commands.iter().map(String::as_str)), "done repeats the deltas", || item.to_string());
        }
    }
}
