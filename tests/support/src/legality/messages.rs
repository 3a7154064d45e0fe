//! The rules of `messages`.

use std::collections::HashSet;

use serde_json::Value;

use super::{Report, Violation};
use crate::json::{self, array, text};
use crate::sse;

pub(super) fn stream(body: &[u8]) -> Vec<Violation> {
    let mut message = Message::default();
    let mut stage = Stage::Start;
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
        if kind == "ping" {
            report.require(stage != Stage::Stopped && stage != Stage::Failed, "nothing follows the end", || kind.clone());
            continue;
        }
        stage = message.event(stage, &kind, &value, &mut report);
    }
    report.event = events.len();
    match stage {
        Stage::Stopped => message.check_content(&mut report),
        Stage::Failed => {}
        Stage::Start => report.broken("message_start comes first", "an empty stream"),
        Stage::Content | Stage::Closing => report.broken("message_stop comes last", "the stream ends without it"),
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
    if text(&value, "/type") == "error" {
        check_error(&value, &mut report);
        return report.violations;
    }
    check_head(&value, &mut report);
    let mut message = Message { stop_reason: value["stop_reason"].as_str().map(str::to_owned), ..Message::default() };
    for content in array(&value, "/content") {
        message.start(content, &mut report);
        message.stop(&mut report);
    }
    report.require(value["content"].is_array(), "content is an array", || value["content"].to_string());
    report.require(message.stop_reason.is_some(), "a stop reason is given", || value["stop_reason"].to_string());
    message.check_content(&mut report);
    report.violations
}

fn check_head(message: &Value, report: &mut Report) {
    report.require(text(message, "/type") == "message", "the message says that it is one", || message.to_string());
    report.require(text(message, "/role") == "assistant", "the message is the assistant's", || message.to_string());
    for field in ["/id", "/model"] {
        report.require(!text(message, field).is_empty(), "the message has an id and a model", || message.to_string());
    }
    let usage = &message["usage"];
    let counts = usage["input_tokens"].is_u64() && usage["output_tokens"].is_u64();
    report.require(counts, "usage counts input and output tokens", || usage.to_string());
}

fn check_error(value: &Value, report: &mut Report) {
    let complete = !text(value, "/error/type").is_empty() && !text(value, "/error/message").is_empty();
    report.require(complete, "an error has a type and a message", || value.to_string());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Content,
    Closing,
    Stopped,
    Failed,
}

#[derive(Debug, Default)]
struct Message {
    blocks: Vec<Block>,
    open: bool,
    stop_reason: Option<String>,
    ids: HashSet<String>,
}

#[derive(Debug, Default)]
struct Block {
    kind: String,
    text: String,
    /// Where the block itself carries its input.
    input: Value,
    /// Fragments of input.
    partial_json: String,
    signature: String,
}

impl Block {
    fn is_server_side(&self) -> bool {
        matches!(self.kind.as_str(), "server_tool_use" | "mcp_tool_use")
    }

    fn is_thinking(&self) -> bool {
        matches!(self.kind.as_str(), "thinking" | "redacted_thinking")
    }

    fn has_valid_input(&self) -> bool {
        if self.partial_json.is_empty() {
            self.input.is_object()
        } else {
            json::read(&self.partial_json).is_ok_and(|input| input.is_object())
        }
    }
}

impl Message {
    fn event(&mut self, stage: Stage, kind: &str, value: &Value, report: &mut Report) -> Stage {
        if matches!(stage, Stage::Stopped | Stage::Failed) {
            report.broken("nothing follows the end", kind);
            return stage;
        }
        if stage == Stage::Start && !matches!(kind, "message_start" | "error") {
            report.broken("message_start comes first", kind);
        }
        match kind {
            "message_start" => {
                report.require(stage == Stage::Start, "message_start comes once", || value.to_string());
                let message = &value["message"];
                check_head(message, report);
                let empty = array(message, "/content").is_empty() && message["stop_reason"].is_null();
                report.require(empty, "message_start has no content and no stop reason", || message.to_string());
                Stage::Content
            }
            "content_block_start" => {
                report.require(stage == Stage::Content, "no block begins after message_delta", || value.to_string());
                report.require(!self.open, "blocks do not interleave", || value.to_string());
                let contiguous = value["index"].as_u64() == Some(self.blocks.len() as u64);
                report.require(contiguous, "block indices are contiguous from 0", || value.to_string());
                self.start(&value["content_block"], report);
                Stage::Content
            }
            "content_block_delta" => {
                self.check_open(value, "a delta belongs to the open block", report);
                self.delta(&value["delta"], report);
                Stage::Content
            }
            "content_block_stop" => {
                self.check_open(value, "a stop belongs to the open block", report);
                self.stop(report);
                Stage::Content
            }
            "message_delta" => {
                report.require(!self.open, "every block is closed before message_delta", || value.to_string());
                if let Some(reason) = value.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    self.stop_reason = Some(reason.to_owned());
                }
                Stage::Closing
            }
            "message_stop" => {
                report.require(stage == Stage::Closing, "message_delta comes before message_stop", || value.to_string());
                report.require(self.stop_reason.is_some(), "a stop reason is given", || value.to_string());
                Stage::Stopped
            }
            "error" => {
                check_error(value, report);
                Stage::Failed
            }
            other => {
                report.broken("the event is a known one", other);
                stage
            }
        }
    }

    fn check_open(&self, value: &Value, rule: &'static str, report: &mut Report) {
        let last = self.blocks.len().checked_sub(1).map(|last| last as u64);
        report.require(self.open && value["index"].as_u64() == last, rule, || value.to_string());
    }

    fn start(&mut self, content: &Value, report: &mut Report) {
        let kind = text(content, "/type").to_owned();
        report.require(!kind.is_empty(), "a block has a type", || content.to_string());
        let after_call = self.blocks.iter().any(|block| block.kind == "tool_use");
        report.require(!after_call || kind == "tool_use", "after the first tool_use comes nothing else", || content.to_string());
        let block = Block {
            text: text(content, "/text").to_owned(),
            input: content["input"].clone(),
            signature: text(content, "/signature").to_owned(),
            kind,
            ..Block::default()
        };
        if block.is_thinking() {
            let first = self.blocks.iter().all(Block::is_thinking)
                || self.blocks.last().is_some_and(|last| last.kind.ends_with("_result"));
            report.require(first, "thinking comes first", || content.to_string());
        }
        if block.is_server_side() || block.kind == "tool_use" {
            let named = !text(content, "/id").is_empty() && !text(content, "/name").is_empty();
            report.require(named, "a tool call has an id and a name", || content.to_string());
            report.require(content["input"].is_object(), "a tool call has an input", || content.to_string());
            let fresh = self.ids.insert(text(content, "/id").to_owned());
            report.require(fresh, "ids of tool calls differ", || content.to_string());
        }
        if block.kind.ends_with("_tool_result") {
            let known = self.ids.contains(text(content, "/tool_use_id"));
            report.require(known, "a tool result belongs to a call before it", || content.to_string());
        }
        self.blocks.push(block);
        self.open = true;
    }

    fn delta(&mut self, delta: &Value, report: &mut Report) {
        let Some(block) = self.blocks.last_mut() else { return };
        let kind = text(delta, "/type");
        let fits = match kind {
            "text_delta" | "citations_delta" => block.kind == "text",
            "input_json_delta" => block.kind == "tool_use" || block.is_server_side(),
            "thinking_delta" | "signature_delta" => block.kind == "thinking",
            _ => !kind.is_empty(),
        };
        report.require(fits, "a delta fits its block", || format!("{kind} in {}", block.kind));
        block.text.push_str(text(delta, "/text"));
        block.partial_json.push_str(text(delta, "/partial_json"));
        block.signature.push_str(text(delta, "/signature"));
    }

    fn stop(&mut self, report: &mut Report) {
        self.open = false;
        let Some(block) = self.blocks.last() else { return };
        report.require(block.kind != "text" || !block.text.is_empty(), "no text block is empty", || {
            format!("block {}", self.blocks.len() - 1)
        });
        report.require(block.kind != "thinking" || !block.signature.is_empty(), "thinking is signed", || {
            format!("block {}", self.blocks.len() - 1)
        });
    }

    /// What only the whole message shows.
    fn check_content(&self, report: &mut Report) {
        let reason = self.stop_reason.as_deref().unwrap_or_default();
        let calls = self.blocks.iter().any(|block| block.kind == "tool_use");
        let cut = matches!(reason, "max_tokens" | "model_context_window_exceeded" | "pause_turn" | "refusal");
        report.require(calls || reason != "tool_use", "stop_reason tool_use says that there is a call", || reason.to_owned());
        report.require(!calls || cut || reason == "tool_use", "a call makes the stop_reason tool_use", || reason.to_owned());
        report.require(!self.blocks.is_empty() || cut, "the message is not empty", || reason.to_owned());
        for (index, block) in self.blocks.iter().enumerate() {
            let cut_here = cut && index + 1 == self.blocks.len();
            if (block.is_server_side() || block.kind == "tool_use") && !cut_here {
                let found = || format!("block {index}: {}{}", block.partial_json, block.input);
                report.require(block.has_valid_input(), "the input of a tool call is a JSON object", found);
            }
        }
    }
}
