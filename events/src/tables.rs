//! The fields of batches and events, as tables.

use crate::{Kind, MAX_BATCH_EVENTS, MAX_NAME_BYTES, MAX_NUMBER, MAX_SUMMARY_BYTES, Severity};

/// Describes what a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string of 1 to so many bytes.
    Text(usize),
    /// A whole number of at most [`MAX_NUMBER`].
    Number,
    /// So many hexadecimal digits.
    Hex(usize),
    /// A [`Kind`].
    Kind,
    /// A [`Severity`].
    Severity,
    /// Any JSON object.
    Object,
    /// A list of at most [`MAX_BATCH_EVENTS`] events.
    Events,
}

/// Describes one field of the wire format.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it may hold.
    pub form: Form,
    /// Whether it must be there and not `null`.
    pub required: bool,
    /// What it says, for the reference.
    pub about: &'static str,
}

const fn field(name: &'static str, form: Form, required: bool, about: &'static str) -> Field {
    Field { name, form, required, about }
}

/// The fields of a batch.
pub const BATCH: [Field; 4] = [
    field(
        "sender",
        Form::Text(MAX_NAME_BYTES),
        true,
        "opaque id of whoever numbers the events: for a filter, one root context of one Wasm VM. Whoever starts anew takes a new id",
    ),
    field(
        "sequence",
        Form::Number,
        true,
        "number of the first event of this batch. A sender numbers its events from 0, in the order in which they arose; numbers of events that it dropped stay unused",
    ),
    field("dropped", Form::Number, false, "how many events this sender has dropped so far; 0 where it is absent"),
    field("events", Form::Events, true, "an empty list only tells `dropped`, and up to where numbers were used"),
];

/// The fields of an event.
pub const EVENT: [Field; 13] = [
    field("id", Form::Text(MAX_NAME_BYTES), true, "a name for people and links; it identifies nothing (see below)"),
    field("kind", Form::Kind, true, "what it is about"),
    field("time_ms", Form::Number, true, "when it happened, in milliseconds since 1970"),
    field(
        "event_type",
        Form::Text(MAX_NAME_BYTES),
        true,
        "what happened: `request.received`, `enforcement`, [what a policy did](../policies/README.md) (`judge.blocked`, …), [what went wrong or was let through](../envoy/README.md#what-can-be-seen) (`response_malformed`, `route_allowed`, …)",
    ),
    field("severity", Form::Severity, true, "how much it matters"),
    field("summary", Form::Text(MAX_SUMMARY_BYTES), true, "one line for people"),
    field("call_id", Form::Text(MAX_NAME_BYTES), false, "the exchange"),
    field("trace_id", Form::Hex(32), false, "W3C trace context"),
    field("span_id", Form::Hex(16), false, "W3C trace context"),
    field(
        "policy_target",
        Form::Text(MAX_NAME_BYTES),
        false,
        "`chat.completions`, `messages`, `responses`, `mcp_tool`; absent when the exchange is none of them",
    ),
    field(
        "policy_class",
        Form::Text(MAX_NAME_BYTES),
        false,
        "the policy that made the event, such as `ToolCallJudge`; absent for the engine's own",
    ),
    field("policy_config", Form::Object, false, "the configuration that the policy acted on, without secrets"),
    field("metadata", Form::Object, false, "whatever else belongs to it"),
];

impl Form {
    fn for_people(self) -> String {
        let words = |words: [&str; 4]| words.map(|word| format!("`{word}`")).join(", ");
        match self {
            Self::Text(most) => format!("string, 1–{most} bytes"),
            Self::Number => "whole number".to_owned(),
            Self::Hex(digits) => format!("{digits} hexadecimal digits"),
            Self::Kind => words(Kind::ALL.map(Kind::as_str)),
            Self::Severity => words(Severity::ALL.map(Severity::as_str)),
            Self::Object => "object".to_owned(),
            Self::Events => format!("list of 0–{MAX_BATCH_EVENTS} events"),
        }
    }

    fn schema(self) -> String {
        let words = |words: [&str; 4]| words.map(|word| format!("\"{word}\"")).join(",");
        match self {
            Self::Text(most) => format!(r#"{{"type":"string","minLength":1,"maxLength":{most}}}"#),
            Self::Number => format!(r#"{{"type":"integer","minimum":0,"maximum":{MAX_NUMBER}}}"#),
            Self::Hex(digits) => format!(r#"{{"type":"string","pattern":"^[0-9a-fA-F]{{{digits}}}$"}}"#),
            Self::Kind => format!(r#"{{"enum":[{}]}}"#, words(Kind::ALL.map(Kind::as_str))),
            Self::Severity => format!(r#"{{"enum":[{}]}}"#, words(Severity::ALL.map(Severity::as_str))),
            Self::Object => r#"{"type":"object"}"#.to_owned(),
            Self::Events => {
                format!(r##"{{"type":"array","maxItems":{MAX_BATCH_EVENTS},"items":{{"$ref":"#/components/schemas/Event"}}}}"##)
            }
        }
    }
}

/// Writes a table of `fields` in Markdown, for the reference.
pub fn markdown_table(fields: &[Field]) -> String {
    let line = |field: &Field| {
        let optional = if field.required { "" } else { ", optional" };
        format!("| `{}` | {}{optional} | {} |\n", field.name, field.form.for_people(), field.about)
    };
    format!("| field | type | |\n|---|---|---|\n{}", fields.iter().map(line).collect::<String>())
}

/// Writes the JSON schema of an object with `fields`; fields that are not listed are allowed, as on the wire.
pub fn json_schema(fields: &[Field]) -> String {
    let property = |field: &Field| {
        let schema = field.form.schema();
        let schema = if field.required { schema } else { format!(r#"{{"anyOf":[{schema},{{"type":"null"}}]}}"#) };
        format!(r#""{}":{schema}"#, field.name)
    };
    let properties: Vec<_> = fields.iter().map(property).collect();
    let required: Vec<_> = fields.iter().filter(|field| field.required).map(|field| format!("\"{}\"", field.name)).collect();
    format!(r#"{{"type":"object","required":[{}],"properties":{{{}}}}}"#, required.join(","), properties.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_json_and_names_every_field() {
        for fields in [&BATCH[..], &EVENT[..]] {
            let schema: serde_json::Value = serde_json::from_str(&json_schema(fields)).expect("JSON");
            for field in fields {
                assert!(schema["properties"][field.name].is_object(), "{}", field.name);
            }
        }
    }

    #[test]
    fn words_on_the_wire_are_what_serde_writes() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.as_str());
        }
        for severity in Severity::ALL {
            assert_eq!(serde_json::to_value(severity).expect("JSON"), severity.as_str());
        }
    }
}
