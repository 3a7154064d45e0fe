//! The next request of a conversation, and a provider that is strict about it.

use std::collections::HashSet;

use serde_json::{Value, json};
use weir::dialect::Dialect;

use super::Message;
use crate::json::{array, text};

/// The request that follows `message`: the assistant's turn as it was received, and a result for every tool call.
pub fn next_request(dialect: Dialect, message: &Message) -> Value {
    let choice = message.only();
    let mut turns = vec![json!({"role": "user", "content": "What is the weather like?"})];
    match dialect {
        Dialect::ChatCompletions => {
            let mut turn =
                json!({"role": "assistant", "content": if choice.text.is_empty() { Value::Null } else { json!(choice.text) }});
            if !choice.refusal.is_empty() {
                turn["refusal"] = json!(choice.refusal);
            }
            if !choice.calls.is_empty() {
                turn["tool_calls"] = choice
                    .calls
                    .iter()
                    .map(|call| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}))
                    .collect();
            }
            turns.push(turn);
            turns.extend(choice.calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call.id, "content": "done"})));
            if choice.calls.is_empty() {
                turns.push(json!({"role": "user", "content": "Go on."}));
            }
        }
        Dialect::Messages => {
            turns.push(json!({"role": "assistant", "content": choice.content}));
            let results =
                choice.calls.iter().map(|call| json!({"type": "tool_result", "tool_use_id": call.id, "content": "done"}));
            let mut content = results.collect::<Vec<_>>();
            if content.is_empty() {
                content.push(json!({"type": "text", "text": "Go on."}));
            }
            turns.push(json!({"role": "user", "content": content}));
        }
        Dialect::Responses => {
            let mut input = turns;
            input.extend(choice.content.iter().cloned());
            input.extend(choice.content.iter().filter_map(result_of));
            if input.len() == 1 + choice.content.len() {
                input.push(json!({"role": "user", "content": "Go on."}));
            }
            return json!({"model": "m", "input": input});
        }
        other => panic!("there is no client for {other}"),
    }
    json!({"model": "m", "max_tokens": 1024, "messages": turns})
}

/// The result that a client sends for an item of `responses`, if it is a call for the client.
fn result_of(item: &Value) -> Option<Value> {
    let id = &item["call_id"];
    Some(match text(item, "/type") {
        "function_call" => json!({"type": "function_call_output", "call_id": id, "output": "done"}),
        "custom_tool_call" => json!({"type": "custom_tool_call_output", "call_id": id, "output": "done"}),
        "shell_call" if !text(item, "/environment/type").starts_with("container") => {
            json!({"type": "shell_call_output", "call_id": id, "output": []})
        }
        "apply_patch_call" => json!({"type": "apply_patch_call_output", "call_id": id, "status": "completed"}),
        "computer_call" => json!({"type": "computer_call_output", "call_id": id, "output": {"type": "computer_screenshot"}}),
        "mcp_approval_request" => json!({"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": true}),
        _ => return None,
    })
}

/// What a provider refuses about a request.
///
/// # Errors
/// The reason, as a provider's 400 would give it.
pub fn check_request(dialect: Dialect, request: &Value) -> Result<(), String> {
    match dialect {
        Dialect::ChatCompletions => check_chat(array(request, "/messages")),
        Dialect::Messages => check_messages(array(request, "/messages")),
        Dialect::Responses => check_responses(array(request, "/input")),
        other => panic!("there is no provider for {other}"),
    }
}

fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

fn check_chat(turns: &[Value]) -> Result<(), String> {
    let mut open: HashSet<&str> = HashSet::new();
    for (number, turn) in turns.iter().enumerate() {
        let at = format!("messages[{number}]");
        match text(turn, "/role") {
            "tool" => {
                let id = text(turn, "/tool_call_id");
                require(open.remove(id), || format!("{at}: there is no open tool call {id:?}"))?;
            }
            role => {
                require(open.is_empty(), || format!("{at}: the tool calls {open:?} have no result"))?;
                let calls = array(turn, "/tool_calls");
                let says = !text(turn, "/content").is_empty() || !text(turn, "/refusal").is_empty();
                require(says || !calls.is_empty(), || format!("{at}: the {role} says nothing"))?;
                require(turn.get("tool_calls").is_none() || !calls.is_empty(), || format!("{at}: tool_calls is empty"))?;
                for call in calls {
                    let name = text(call, "/function/name");
                    let named =
                        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
                    require(named, || format!("{at}: {name:?} is not the name of a function"))?;
                    let arguments = text(call, "/function/arguments");
                    require(serde_json::from_str::<Value>(arguments).is_ok(), || format!("{at}: {arguments:?} is not JSON"))?;
                    require(!text(call, "/id").is_empty() && open.insert(text(call, "/id")), || {
                        format!("{at}: the ids of calls must differ")
                    })?;
                }
            }
        }
    }
    require(open.is_empty(), || format!("the tool calls {open:?} have no result"))
}

fn check_messages(turns: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (number, turn) in turns.iter().enumerate() {
        let at = format!("messages[{number}]");
        let expected = if number % 2 == 0 { "user" } else { "assistant" };
        require(text(turn, "/role") == expected, || format!("{at}: the roles must take turns"))?;
        if turn["content"].is_string() {
            require(!text(turn, "/content").is_empty(), || format!("{at}: content is empty"))?;
            continue;
        }
        let blocks = array(turn, "/content");
        require(!blocks.is_empty(), || format!("{at}: content is empty"))?;
        let mut results = blocks
            .iter()
            .filter(|block| text(block, "/type") == "tool_result")
            .map(|block| text(block, "/tool_use_id"))
            .collect::<Vec<_>>();
        let mut expected = core::mem::take(&mut open);
        results.sort_unstable();
        expected.sort_unstable();
        require(results == expected, || format!("{at}: tool_result for {results:?}, but tool_use {expected:?}"))?;
        for (index, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content[{index}]");
            match text(block, "/type") {
                "text" => {
                    require(!text(block, "/text").trim().is_empty(), || format!("{at}: text must have more than white space"))?
                }
                "thinking" => require(!text(block, "/signature").is_empty(), || format!("{at}: the signature is missing"))?,
                "tool_use" => {
                    require(block["input"].is_object(), || format!("{at}: the input is not an object"))?;
                    require(!text(block, "/name").is_empty(), || format!("{at}: the name is missing"))?;
                    open.push(text(block, "/id"));
                }
                other => {
                    require(!other.is_empty(), || format!("{at}: the type is missing"))?;
                }
            }
            let after_call = blocks[..index].iter().any(|earlier| text(earlier, "/type") == "tool_use");
            let call = text(block, "/type") == "tool_use";
            require(!after_call || call, || format!("{at}: tool_use must be followed by tool_result at once"))?;
        }
    }
    require(open.is_empty(), || format!("the tool calls {open:?} have no result"))
}

fn check_responses(input: &[Value]) -> Result<(), String> {
    let mut open: HashSet<&str> = HashSet::new();
    let mut answered: HashSet<&str> = HashSet::new();
    for (number, item) in input.iter().enumerate() {
        let at = format!("input[{number}]");
        let next = input.get(number + 1);
        match text(item, "/type") {
            "" | "message" => {
                let parts = array(item, "/content");
                let says = |part: &Value| !text(part, "/text").is_empty() || !text(part, "/refusal").is_empty();
                let is_empty = text(item, "/content").is_empty() && (parts.is_empty() || !parts.iter().all(says));
                require(!is_empty, || format!("{at}: the message says nothing"))?;
            }
            "reasoning" => {
                let led_to = next.is_some_and(|next| text(next, "/role") != "user" && text(next, "/type") != "reasoning");
                require(led_to, || format!("{at}: reasoning without its required following item"))?;
            }
            "function_call" => {
                let arguments = text(item, "/arguments");
                require(serde_json::from_str::<Value>(arguments).is_ok(), || format!("{at}: {arguments:?} is not JSON"))?;
                require(!text(item, "/name").is_empty(), || format!("{at}: the name is missing"))?;
                require(open.insert(text(item, "/call_id")), || format!("{at}: the ids of calls must differ"))?;
            }
            "custom_tool_call" | "shell_call" | "apply_patch_call" | "computer_call" => {
                require(open.insert(text(item, "/call_id")), || format!("{at}: the ids of calls must differ"))?;
            }
            kind if kind.ends_with("_output") => {
                let id = text(item, "/call_id");
                require(open.contains(id) && answered.insert(id), || format!("{at}: there is no open tool call {id:?}"))?;
            }
            _ => {}
        }
    }
    require(open == answered, || format!("the tool calls {open:?} have no result, only {answered:?}"))
}
