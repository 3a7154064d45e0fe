//! What frames of messages are made of.

use crate::dialect::plain::Schema;
use crate::dialect::plain::schema::Class::{Calls, Frame, Text};
use crate::dialect::plain::schema::{ANY_MEMBER, Class, EventName, Kind, Member, Object, Variant};

/// See [`Schema`].
pub(in crate::dialect) static SCHEMA: Schema = Schema {
    event: &EVENT,
    body: &BODY,
    carriers: &CARRIERS,
    anchors: &["type", "error"],
    event_name: EventName::Free,
    idle: Some(("ping", r#"{"type":"ping"}"#)),
    unended: &[r#"{"type":"message_stop"}"#, r#"{"type": "message_stop"}"#],
    terminator: Some("[DONE]"),
    label: None,
    joined: None,
};

/// What carries text or calls in this API or in those that clients and gateways translate from and to it.
const CARRIERS: [(&str, Class); 41] = [
    ("delta", Frame),
    ("message", Frame),
    ("messages", Frame),
    ("content", Frame),
    ("contents", Frame),
    ("content_block", Frame),
    ("content_blocks", Frame),
    ("blocks", Frame),
    ("parts", Frame),
    ("chunk", Frame),
    ("chunks", Frame),
    ("choices", Frame),
    ("response", Frame),
    ("output", Frame),
    ("outputs", Frame),
    ("completion", Frame),
    ("candidates", Frame),
    ("generations", Frame),
    ("partial_json", Frame),
    ("text", Text),
    ("generated_text", Text),
    ("output_text", Text),
    ("refusal", Text),
    ("explanation", Text),
    ("thinking", Text),
    ("thinking_blocks", Text),
    ("reasoning", Text),
    ("reasoning_content", Text),
    ("reasoning_details", Text),
    ("summary", Text),
    ("parsed", Frame),
    ("parsed_output", Frame),
    ("transcript", Text),
    ("tool_calls", Calls),
    ("tool_call", Calls),
    ("tool_use", Calls),
    ("function_call", Calls),
    ("function", Calls),
    ("arguments", Calls),
    ("input", Calls),
    ("parsed_arguments", Calls),
];

const STRING: Kind = Kind::String;
const EMPTY: &str = "\"\"";
const TYPE: Member = Member::new("type", STRING);
const INDEX: Member = Member::new("index", Kind::Index);

/// What stands in an object of a type that is not known stays: policies see its strings.
const ANYTHING: Member = Member::new(ANY_MEMBER, Kind::Opaque);

static EVENT: Object = Object {
    members: &[TYPE],
    variants: &[
        Variant { of: Some("content_block_delta"), members: &[INDEX, Member::new("delta", Kind::Object(&DELTA))] },
        Variant { of: Some("content_block_start"), members: &[INDEX, Member::new("content_block", Kind::Object(&BLOCK))] },
        Variant { of: Some("content_block_stop"), members: &[INDEX] },
        Variant { of: Some("message_start"), members: &[Member::new("message", Kind::Object(&MESSAGE))] },
        Variant {
            of: Some("message_delta"),
            members: &[Member::new("delta", Kind::Object(&MESSAGE_DELTA)), Member::new("usage", Kind::Object(&USAGE))],
        },
        Variant { of: Some("message_stop"), members: &[] },
        Variant { of: Some("ping"), members: &[] },
        Variant { of: Some("error"), members: &[Member::new("error", Kind::Opaque)] },
        Variant { of: Some("*"), members: &[ANYTHING] },
        Variant { of: None, members: &[Member::new("error", Kind::Opaque)] },
    ],
};

static DELTA: Object = Object {
    members: &[TYPE],
    variants: &[
        Variant { of: Some("text_delta"), members: &[Member::with_default("text", STRING, EMPTY)] },
        Variant { of: Some("input_json_delta"), members: &[Member::with_default("partial_json", STRING, EMPTY)] },
        Variant { of: Some("thinking_delta"), members: &[Member::with_default("thinking", STRING, EMPTY)] },
        Variant { of: Some("signature_delta"), members: &[Member::with_default("signature", STRING, EMPTY)] },
        Variant { of: Some("citations_delta"), members: &[Member::new("citation", Kind::Opaque)] },
        Variant { of: Some("compaction_delta"), members: &[Member::new("content", STRING)] },
    ],
};

const TOOL_USE: [Member; 5] = [
    Member::new("id", STRING),
    Member::new("name", STRING),
    Member::new("input", Kind::Opaque),
    Member::new("toolset_name", STRING),
    Member::new("caller", Kind::Opaque),
];

const TOOL_RESULT: [Member; 2] = [Member::new("tool_use_id", STRING), Member::new("content", Kind::Opaque)];

/// A content block, or the beginning of one.
static BLOCK: Object = Object {
    members: &[TYPE],
    variants: &[
        Variant {
            of: Some("text"),
            members: &[Member::with_default("text", STRING, EMPTY), Member::new("citations", Kind::Array(&Kind::Opaque))],
        },
        Variant { of: Some("tool_use"), members: &TOOL_USE },
        Variant { of: Some("*_tool_use"), members: &TOOL_USE },
        Variant { of: Some("tool_result"), members: &TOOL_RESULT },
        Variant { of: Some("*_tool_result"), members: &TOOL_RESULT },
        Variant {
            of: Some("thinking"),
            members: &[Member::with_default("thinking", STRING, EMPTY), Member::new("signature", STRING)],
        },
        Variant { of: Some("redacted_thinking"), members: &[Member::new("data", STRING)] },
        Variant { of: Some("compaction"), members: &[Member::new("content", STRING)] },
        Variant { of: Some("*"), members: &[ANYTHING] },
    ],
};

static MESSAGE: Object = Object {
    members: &[
        TYPE,
        Member::new("id", STRING),
        Member::new("role", Kind::Word(&["assistant"])),
        Member::new("model", STRING),
        Member::new("content", Kind::Array(&Kind::Object(&BLOCK))),
        Member::new("stop_reason", STRING),
        Member::new("stop_sequence", STRING),
        Member::new("stop_details", Kind::Object(&DETAILS)),
        Member::new("usage", Kind::Object(&USAGE)),
    ],
    variants: &[],
};

static MESSAGE_DELTA: Object = Object {
    members: &[
        Member::new("stop_reason", STRING),
        Member::new("stop_sequence", STRING),
        Member::new("stop_details", Kind::Object(&DETAILS)),
    ],
    variants: &[],
};

static DETAILS: Object = Object { members: &[TYPE, ANYTHING], variants: &[] };

static USAGE: Object = Object {
    members: &[
        Member::new("input_tokens", Kind::Integer),
        Member::new("output_tokens", Kind::Integer),
        Member::new("cache_creation_input_tokens", Kind::Integer),
        Member::new("cache_read_input_tokens", Kind::Integer),
    ],
    variants: &[],
};

/// A message, or an error.
static BODY: Object = Object {
    members: &[
        TYPE,
        Member::new("id", STRING),
        Member::new("role", Kind::Word(&["assistant"])),
        Member::new("model", STRING),
        Member::new("content", Kind::Array(&Kind::Object(&BLOCK))),
        Member::new("stop_reason", STRING),
        Member::new("stop_sequence", STRING),
        Member::new("stop_details", Kind::Object(&DETAILS)),
        Member::new("usage", Kind::Object(&USAGE)),
        Member::new("error", Kind::Opaque),
    ],
    variants: &[],
};
