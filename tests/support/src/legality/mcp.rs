//! The rules of MCP over streamable HTTP: JSON-RPC messages, and what clients need of results.

use std::collections::HashSet;

use serde_json::Value;

use super::{Report, Violation};
use crate::json::{self, array};
use crate::sse;

pub(super) fn stream(body: &[u8]) -> Vec<Violation> {
    let mut messages = Messages::default();
    let mut report = Report::default();
    let events = sse::read(body);
    for (number, event) in events.iter().enumerate() {
        report.event = number;
        report.require(event.ended, "a blank line ends every event", || event.data.clone());
        // An empty one only bears an id; of another name, clients read none, and an intermediary cannot tell what it is.
        if event.data.is_empty() {
            continue;
        }
        if !matches!(event.name.as_str(), "" | "message") {
            report.require(json::read(&event.data).is_err(), "a message is an event of that name", || event.name.clone());
            continue;
        }
        match json::read(&event.data) {
            Ok(value) => messages.read(&value, &mut report),
            Err(error) => report.broken("data is JSON", format!("{error}: {}", event.data)),
        }
    }
    report.violations
}

pub(super) fn whole(body: &[u8]) -> Vec<Violation> {
    let mut report = Report::default();
    match json::read(&String::from_utf8_lossy(body)) {
        Ok(value) => Messages::default().read(&value, &mut report),
        Err(error) => report.broken("the body is JSON", error),
    }
    report.violations
}

/// The members of a message: there are readers that take them in another case.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

#[derive(Default)]
struct Messages {
    answered: HashSet<String>,
}

impl Messages {
    fn read(&mut self, value: &Value, report: &mut Report) {
        match value.as_array() {
            Some(batch) => {
                report.require(!batch.is_empty(), "a batch has messages", || value.to_string());
                batch.iter().for_each(|message| self.message(message, report));
            }
            None => self.message(value, report),
        }
    }

    fn message(&mut self, message: &Value, report: &mut Report) {
        report.require(message["jsonrpc"] == "2.0", "a message is JSON-RPC 2.0", || message.to_string());
        let is_variant = |key: &&String| MEMBERS.iter().any(|member| member != key && member.eq_ignore_ascii_case(key));
        let variant = message.as_object().and_then(|members| members.keys().find(is_variant));
        report.require(variant.is_none(), "members are written in lower case", || message.to_string());
        let has = |key: &str| message.get(key).is_some();
        let kinds = [has("method"), has("result"), has("error")].iter().filter(|has| **has).count();
        report.require(kinds == 1, "a message is a request, a notification, a result or an error", || message.to_string());
        if has("method") {
            report.require(message["method"].is_string(), "a method is a string", || message.to_string());
            return;
        }
        let id = message.get("id").unwrap_or(&Value::Null);
        let is_unknown = id.is_null() && has("error");
        report
            .require(id.is_string() || id.is_i64() || is_unknown, "an id is a string or a whole number", || message.to_string());
        let is_first = is_unknown || self.answered.insert(id.to_string());
        report.require(is_first, "a request is answered once", || message.to_string());
        if let Some(error) = message.get("error") {
            let is_whole = error["code"].is_i64() && error["message"].is_string();
            report.require(is_whole, "an error has a code and a message", || message.to_string());
        }
        if let Some(result) = message.get("result") {
            check_result(result, report);
        }
    }
}

fn check_result(result: &Value, report: &mut Report) {
    report.require(result.is_object(), "a result is an object", || result.to_string());
    for item in array(result, "/content") {
        report.require(item["type"].is_string(), "a content item has a type", || item.to_string());
        let has_text = item["type"] != "text" || item["text"].is_string();
        report.require(has_text, "a text has a text", || item.to_string());
    }
    for tool in array(result, "/tools") {
        report.require(tool["name"].is_string(), "a tool has a name", || tool.to_string());
    }
    let structured = result.get("structuredContent");
    report.require(structured.is_none_or(Value::is_object), "structured content is an object", || result.to_string());
    let is_error = result.get("isError");
    report.require(is_error.is_none_or(Value::is_boolean), "isError is true or false", || result.to_string());
}
