//! Readers of chat.completions that are looser, or stricter, than the specification, each after a client that there is.
//! What leaves has to be the same to all of them.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a client makes of a stream, of all choices together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Content.
    pub text: String,
    /// Reasoning.
    pub reasoning: String,
    /// The calls, by choice and index: name and arguments.
    pub calls: BTreeMap<(u64, u64), (String, String)>,
}

/// A way to read.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// What it is like.
    pub name: &'static str,
    lines: Lines,
    /// Keys are the same whatever their case.
    folds: bool,
    /// Of several entries of `choices` the first counts, whatever its index.
    first_entry: bool,
    /// A chunk in which anything is of a wrong type does not count.
    drops_wrong_types: bool,
    /// A `message` or a `text` does where there is no `delta`, and a `chunk` where there are no `choices`.
    takes_others: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// Events, after the specification.
    Events,
    /// Lines that begin with `data:`, each for itself, where LF alone ends a line; blanks around it do not matter.
    Trimmed,
    /// Lines that end in anything that Unicode takes for the end of a line; those of JSON count without `data:`, too.
    Anything,
}

/// The readers.
pub const READERS: [Reader; 6] = [
    Reader { name: "specification", ..Reader::PLAIN },
    Reader { name: "lines, case of keys ignored", lines: Lines::Trimmed, folds: true, ..Reader::PLAIN },
    Reader { name: "any line with JSON", lines: Lines::Anything, ..Reader::PLAIN },
    Reader { name: "first entry alone", first_entry: true, ..Reader::PLAIN },
    Reader { name: "checks types", drops_wrong_types: true, first_entry: true, ..Reader::PLAIN },
    Reader { name: "takes what is there", takes_others: true, ..Reader::PLAIN },
];

impl Reader {
    const PLAIN: Self =
        Self { name: "", lines: Lines::Events, folds: false, first_entry: false, drops_wrong_types: false, takes_others: false };

    /// What this reader makes of `body`.
    pub fn read(self, body: &[u8]) -> Reading {
        let mut reading = Reading::default();
        for data in self.payloads(body) {
            if data.starts_with("[DONE]") {
                break;
            }
            let Ok(chunk) = serde_json::from_str::<Value>(&data) else { continue };
            let chunk = if self.folds { fold(chunk) } else { chunk };
            let is_error = self.drops_wrong_types && chunk.get("error").is_some();
            if is_error || (self.drops_wrong_types && !has_right_types(&chunk)) {
                continue;
            }
            let choices = match (&chunk["choices"], self.takes_others) {
                (Value::Null, true) => &chunk["chunk"]["choices"],
                (choices, _) => choices,
            };
            let limit = if self.first_entry { 1 } else { usize::MAX };
            for choice in choices.as_array().into_iter().flatten().take(limit) {
                self.choice(choice, &mut reading);
            }
        }
        reading
    }

    fn choice(self, choice: &Value, reading: &mut Reading) {
        let index = if self.first_entry { 0 } else { choice["index"].as_u64().unwrap_or(0) };
        let delta = match (&choice["delta"], self.takes_others) {
            (Value::Null, true) => &choice["message"],
            (delta, _) => delta,
        };
        if self.takes_others && delta.is_null() {
            reading.text.push_str(choice["text"].as_str().unwrap_or_default());
        }
        reading.text.push_str(delta["content"].as_str().unwrap_or_default());
        for key in ["reasoning_content", "reasoning"] {
            reading.reasoning.push_str(delta[key].as_str().unwrap_or_default());
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let known = reading.calls.entry((index, call["index"].as_u64().unwrap_or(0))).or_default();
            known.0.push_str(call["function"]["name"].as_str().unwrap_or_default());
            known.1.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
    }

    fn payloads(self, body: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(body);
        match self.lines {
            Lines::Events => crate::sse::read(body).into_iter().filter(|event| event.ended).map(|event| event.data).collect(),
            Lines::Trimmed => {
                let lines = text.split('\n').map(str::trim);
                lines.filter_map(|line| line.strip_prefix("data:")).map(|data| data.trim().to_owned()).collect()
            }
            Lines::Anything => {
                let ends = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
                let blank = |character: char| character.is_whitespace() || character == '\u{feff}';
                let lines = text.split(ends).map(|line| line.trim_matches(blank));
                lines
                    .filter_map(|line| {
                        line.strip_prefix("data:").or_else(|| (line.starts_with('{') || line == "[DONE]").then_some(line))
                    })
                    .map(|data| data.trim_matches(blank).to_owned())
                    .collect()
            }
        }
    }
}

/// `value` with all keys folded; of two that are the same then the last one counts.
fn fold(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let folded = |key: &str| key.replace('\u{17f}', "s").replace('\u{212a}', "k").to_lowercase();
            Value::Object(members.into_iter().map(|(key, value)| (folded(&key), fold(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(fold).collect()),
        scalar => scalar,
    }
}

fn has_right_types(chunk: &Value) -> bool {
    let is_string = |value: &Value| value.is_null() || value.is_string();
    let choice_is_right = |choice: &Value| {
        let delta = &choice["delta"];
        let call_is_right = |call: &Value| {
            call["index"].is_u64()
                && is_string(&call["id"])
                && is_string(&call["function"]["name"])
                && is_string(&call["function"]["arguments"])
        };
        choice["index"].is_u64()
            && is_string(&choice["finish_reason"])
            && (delta.is_null() || delta.is_object())
            && (delta["role"].is_null() || delta["role"] == "assistant")
            && is_string(&delta["content"])
            && delta["tool_calls"].as_array().into_iter().flatten().all(call_is_right)
    };
    is_string(&chunk["id"])
        && is_string(&chunk["model"])
        && (chunk["created"].is_null() || chunk["created"].is_number())
        && chunk["choices"].as_array().is_some_and(|choices| choices.iter().all(choice_is_right))
}
