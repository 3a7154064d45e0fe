//! The plain form of events and whole bodies of responses.
//!
//! What an item, a part or an event of a type that is not known holds is a text as a whole, so that nothing of it is taken
//! out; what the known ones hold beyond what is listed stays by the rule of unknown members.

use crate::dialect::plain::schema::Class::{Calls, Frame, Text};
use crate::dialect::plain::schema::{ANY_MEMBER, Class, EventName, Kind, Member, Object, Schema, Variant};

pub(in crate::dialect) static SCHEMA: Schema = Schema {
    event: &EVENT,
    body: &RESPONSE,
    carriers: &CARRIERS,
    anchors: &["type"],
    event_name: EventName::LikeType,
    idle: None,
    unended: &[],
    terminator: Some("[DONE]"),
    label: None,
    joined: None,
};

/// Whatever member there is.
const ANY: Member = Member::new(ANY_MEMBER, Kind::Opaque);

const fn of(r#type: &'static str, members: &'static [Member]) -> Variant {
    Variant { of: Some(r#type), members }
}

const fn string(name: &'static str) -> Member {
    Member::new(name, Kind::String)
}

const fn index(name: &'static str) -> Member {
    Member::new(name, Kind::Index)
}

const fn opaque(name: &'static str) -> Member {
    Member::new(name, Kind::Opaque)
}

/// What a call asks for. Some servers write the object itself: the decoder says that clients do not read it alike.
const fn text_or_object(name: &'static str) -> Member {
    Member::with_default(name, TEXT_OR_OBJECT, "\"\"")
}

/// A string that clients add to what they have: of one that is missing some add the word "undefined".
const DELTA: Member = Member::with_default("delta", Kind::String, "\"\"");

const TEXT_OR_OBJECT: Kind = Kind::Either(&Kind::String, &AN_OBJECT);

static AN_OBJECT: Kind = Kind::Object(&Object { members: &[ANY], variants: &[] });

const OF_RESPONSE: &[Member] = &[Member::new("response", Kind::Object(&RESPONSE))];

static EVENT: Object = Object {
    members: &[
        string("type"),
        index("sequence_number"),
        index("output_index"),
        index("content_index"),
        string("item_id"),
        string("obfuscation"),
    ],
    variants: &[
        of("response.output_text.delta", &[DELTA, opaque("logprobs")]),
        of("response.output_text.done", &[string("text"), opaque("logprobs")]),
        of(
            "response.output_text.annotation.added",
            &[index("annotation_index"), Member::new("annotation", Kind::Object(&ANNOTATION))],
        ),
        of("response.refusal.delta", &[DELTA]),
        of("response.refusal.done", &[string("refusal")]),
        of("response.reasoning_text.delta", &[DELTA]),
        of("response.reasoning_text.done", &[string("text")]),
        of("response.reasoning_summary_text.delta", &[index("summary_index"), DELTA]),
        of("response.reasoning_summary_text.done", &[index("summary_index"), string("text")]),
        of("response.reasoning_summary_part.*", &[index("summary_index"), Member::new("part", Kind::Object(&PART))]),
        of("response.content_part.*", &[Member::new("part", Kind::Object(&PART))]),
        of("response.audio.transcript.delta", &[DELTA]),
        of("response.audio.transcript.done", &[string("transcript")]),
        of("response.output_audio_transcript.delta", &[DELTA]),
        of("response.output_audio_transcript.done", &[string("transcript")]),
        of("response.audio.*", &[opaque("delta")]),
        of("response.function_call_arguments.delta", &[DELTA]),
        of("response.function_call_arguments.done", &[string("name"), text_or_object("arguments")]),
        of("response.mcp_call_arguments.delta", &[DELTA]),
        of("response.mcp_call_arguments.done", &[string("name"), text_or_object("arguments")]),
        of("response.custom_tool_call_input.delta", &[DELTA]),
        of("response.custom_tool_call_input.done", &[text_or_object("input")]),
        of("response.code_interpreter_call_code.delta", &[DELTA]),
        of("response.code_interpreter_call_code.done", &[string("code")]),
        of("response.apply_patch_call_operation_diff.delta", &[DELTA]),
        of("response.apply_patch_call_operation_diff.done", &[string("diff")]),
        of("response.shell_call_command.*", &[index("command_index"), string("command"), string("delta")]),
        of("response.shell_call_output_content.*", &[index("command_index"), opaque("delta"), opaque("output")]),
        of("response.output_item.*", &[Member::new("item", Kind::Object(&ITEM))]),
        of("response.created", OF_RESPONSE),
        of("response.queued", OF_RESPONSE),
        of("response.in_progress", OF_RESPONSE),
        of("response.completed", OF_RESPONSE),
        of("response.incomplete", OF_RESPONSE),
        of("response.failed", OF_RESPONSE),
        of("error", &[opaque("error"), opaque("code"), opaque("message"), opaque("param")]),
        of("*", &[ANY]),
    ],
};

static RESPONSE: Object = Object {
    members: &[
        string("id"),
        string("object"),
        string("status"),
        string("model"),
        Member::new("created_at", Kind::Number),
        Member::new("completed_at", Kind::Number),
        opaque("error"),
        Member::new("incomplete_details", Kind::Object(&DETAILS)),
        Member::new("output", Kind::Array(&Kind::Object(&ITEM))),
        string("output_text"),
        // What was asked for, and how.
        opaque("instructions"),
        opaque("metadata"),
        opaque("prompt"),
        opaque("reasoning"),
        opaque("text"),
        opaque("tool_choice"),
        opaque("tools"),
        opaque("usage"),
    ],
    variants: &[],
};

static DETAILS: Object = Object { members: &[string("reason")], variants: &[] };

/// A call of any other type.
const CALL: &[Member] = &[
    string("call_id"),
    string("name"),
    opaque("action"),
    opaque("actions"),
    opaque("arguments"),
    opaque("code"),
    opaque("command"),
    opaque("commands"),
    opaque("input"),
    opaque("operation"),
    opaque("output"),
    opaque("queries"),
    opaque("results"),
    opaque("revised_prompt"),
];

static ENVIRONMENT: Object = Object { members: &[string("type"), opaque("skills")], variants: &[] };

static ITEM: Object = Object {
    members: &[string("type"), string("id"), string("status")],
    variants: &[
        of("message", &[string("role"), PARTS]),
        of("reasoning", &[PARTS, Member::new("summary", Kind::Array(&Kind::Object(&PART))), string("encrypted_content")]),
        of("function_call", &[string("call_id"), string("name"), text_or_object("arguments")]),
        of("custom_tool_call", &[string("call_id"), string("name"), text_or_object("input")]),
        of(
            "mcp_call",
            &[string("call_id"), string("name"), Member::new("arguments", TEXT_OR_OBJECT), opaque("output"), opaque("error")],
        ),
        of("mcp_approval_request", &[string("name"), Member::new("arguments", TEXT_OR_OBJECT)]),
        of("mcp_list_tools", &[opaque("tools"), opaque("error")]),
        of("code_interpreter_call", &[string("call_id"), string("name"), string("code"), opaque("outputs")]),
        of("program", &[string("call_id"), string("name"), string("code"), opaque("outputs")]),
        of("tool_search_call", &[string("call_id"), string("execution"), opaque("arguments")]),
        of("shell_call", &[string("call_id"), opaque("action"), Member::new("environment", Kind::Object(&ENVIRONMENT))]),
        of("local_shell_call", &[string("call_id"), opaque("action")]),
        of("apply_patch_call", &[string("call_id"), opaque("operation")]),
        of("computer_call", &[string("call_id"), opaque("action"), opaque("actions"), opaque("pending_safety_checks")]),
        of("*_call", CALL),
        of("*_output", &[string("call_id"), opaque("output"), opaque("tools"), opaque("acknowledged_safety_checks")]),
        of("compaction", &[string("encrypted_content")]),
        of("additional_tools", &[opaque("tools")]),
        of("mcp_approval_response", &[]),
        of("*", &[ANY]),
    ],
};

const PARTS: Member = Member::new("content", Kind::Array(&A_PART));

static A_PART: Kind = Kind::Object(&PART);

static PART: Object = Object {
    members: &[string("type"), Member::new("annotations", Kind::Array(&Kind::Object(&ANNOTATION)))],
    variants: &[
        of("output_text", &[string("text"), opaque("logprobs")]),
        of("refusal", &[string("refusal")]),
        of("output_audio", &[string("transcript"), opaque("data")]),
        // A part of any other type has a text, if anything.
        of("*", &[string("text"), string("transcript")]),
        Variant { of: None, members: &[string("text"), string("transcript")] },
    ],
};

static ANNOTATION: Object =
    Object { members: &[string("type"), string("title"), string("url"), string("filename")], variants: &[] };

/// What some client shows or carries out, wherever it finds it.
static CARRIERS: [(&str, Class); 40] = [
    ("answer", Text),
    ("arguments", Calls),
    ("audio", Text),
    ("body", Frame),
    ("choices", Frame),
    ("chunk", Frame),
    ("code", Calls),
    ("command", Calls),
    ("commands", Calls),
    ("completion", Text),
    ("content", Frame),
    ("data", Frame),
    ("delta", Frame),
    ("diff", Calls),
    ("function", Calls),
    ("function_call", Calls),
    ("input", Frame),
    ("item", Frame),
    ("items", Frame),
    ("logprobs", Text),
    ("message", Frame),
    ("messages", Frame),
    ("name", Calls),
    ("output", Frame),
    ("output_parsed", Text),
    ("output_text", Text),
    ("parsed", Text),
    ("parsed_arguments", Calls),
    ("part", Frame),
    ("partial_json", Calls),
    ("parts", Frame),
    ("reasoning", Text),
    ("reasoning_content", Text),
    ("refusal", Text),
    ("response", Frame),
    ("summary", Text),
    ("text", Text),
    ("thinking", Text),
    ("tool_calls", Calls),
    ("transcript", Text),
];
