//! MCP: a call of a tool that tells how far it is until it has a result.

use serde_json::{Value, json};

use super::{TOOL, TextAnswer, frame, text_of_event};

const REQUEST_ID: u32 = 7;

pub(super) fn request_body() -> Value {
    json!({"jsonrpc": "2.0", "id": REQUEST_ID, "method": "tools/call", "params": {
        "name": TOOL,
        "arguments": {"machine": "build-3", "command": "du --max-depth 1 /var/cache"},
        "_meta": {"progressToken": REQUEST_ID},
    }})
}

pub(super) fn text_answer(fragments: usize, size: usize, words: &str) -> TextAnswer {
    let progress = |number: usize, text: &str| {
        message(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
            "progressToken": REQUEST_ID, "progress": number, "total": fragments, "message": text,
        }}))
    };
    let text = |number: usize| frame(&progress(number, &text_of_event(size, words, |text| progress(number, text))));
    let result = message(&json!({"jsonrpc": "2.0", "id": REQUEST_ID, "result": {
        "content": [{"type": "text", "text": "812M\t/var/cache/apt\n9.4G\t/var/cache"}], "isError": false,
    }}));
    TextAnswer { opening: Vec::new(), text: (1..=fragments).map(text).collect(), ending: vec![frame(&result)] }
}

fn message(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}
