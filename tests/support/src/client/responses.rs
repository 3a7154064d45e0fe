//! What the official clients of `responses` make of an answer: the event that ends it counts, and where that says
//! nothing the ends of the items.

use serde_json::Value;

use super::{Call, Choice, Message};
use crate::json::{array, text};

/// Takes an event.
pub(super) fn event(message: &mut Message, event: &Value) {
    if message.choices.is_empty() {
        message.choices.push(Choice::default());
    }
    let choice = &mut message.choices[0];
    match text(event, "/type") {
        "response.output_item.done" => choice.content.push(event["item"].clone()),
        "response.completed" | "response.incomplete" | "response.failed" => response(choice, &event["response"]),
        _ => {}
    }
}

/// Takes a whole response.
pub(super) fn response(choice: &mut Choice, response: &Value) {
    let output = array(response, "/output");
    if !output.is_empty() {
        choice.content = output.to_vec();
    }
    let reason = text(response, "/incomplete_details/reason");
    choice.finish = if reason.is_empty() { text(response, "/status") } else { reason }.to_owned();
    for item in choice.content.clone() {
        read_item(choice, &item);
    }
}

fn read_item(choice: &mut Choice, item: &Value) {
    let kind = text(item, "/type");
    let parts = array(item, "/content").iter().chain(array(item, "/summary"));
    for part in parts {
        match text(part, "/type") {
            "output_text" => choice.text.push_str(text(part, "/text")),
            "refusal" => choice.refusal.push_str(text(part, "/refusal")),
            _ => choice.reasoning.push_str(text(part, "/text")),
        }
    }
    let is_hosted = text(item, "/environment/type").starts_with("container");
    let arguments = match kind {
        "function_call" | "mcp_approval_request" => text(item, "/arguments").to_owned(),
        "custom_tool_call" => text(item, "/input").to_owned(),
        "shell_call" if !is_hosted => item["action"]["commands"].to_string(),
        "apply_patch_call" => item["operation"].to_string(),
        "local_shell_call" | "computer_call" => item["action"].to_string(),
        _ => return,
    };
    let id = if text(item, "/call_id").is_empty() { "/id" } else { "/call_id" };
    let name = if text(item, "/name").is_empty() { kind } else { text(item, "/name") };
    choice.calls.push(Call { id: text(item, id).to_owned(), name: name.to_owned(), arguments });
}
