//! What frames of chat.completions are made of.

use super::echo;
use crate::dialect::plain::Schema;
use crate::dialect::plain::schema::Class::{Calls, Frame, Text};
use crate::dialect::plain::schema::{Class, EventName, Kind, Label, Member, Object};

/// See [`Schema`].
pub(in crate::dialect) static SCHEMA: Schema = Schema {
    event: &CHUNK,
    body: &COMPLETION,
    carriers: &CARRIERS,
    anchors: &["choices", "usage", "error"],
    event_name: EventName::Missing,
    idle: None,
    unended: &[],
    terminator: Some("[DONE]"),
    label: Some(Label { member: "object", word: "chat.completion.chunk", content: "delta" }),
    joined: Some(["content", "refusal"]),
};

/// What carries text or calls in this API or in those that clients and gateways translate from and to it.
const CARRIERS: [(&str, Class); 42] = [
    ("choices", Frame),
    ("chunk", Frame),
    ("chunks", Frame),
    ("completion", Frame),
    ("delta", Frame),
    ("message", Frame),
    ("messages", Frame),
    ("response", Frame),
    ("output", Frame),
    ("outputs", Frame),
    ("candidates", Frame),
    ("generations", Frame),
    ("content", Frame),
    ("contents", Frame),
    ("parts", Frame),
    ("data", Frame),
    ("text", Text),
    ("content_block", Frame),
    ("generated_text", Text),
    ("output_text", Text),
    ("refusal", Text),
    ("reasoning", Text),
    ("reasoning_content", Text),
    ("reasoning_text", Text),
    ("reasoning_details", Text),
    ("reasoning_items", Text),
    ("thinking", Text),
    ("thinking_blocks", Text),
    ("thought", Text),
    ("thoughts", Text),
    ("summary", Text),
    ("parsed", Frame),
    ("transcript", Text),
    ("explanation", Text),
    ("tool_calls", Calls),
    ("tool_call", Calls),
    ("function_call", Calls),
    ("function", Calls),
    ("arguments", Calls),
    ("input", Calls),
    ("partial_json", Frame),
    ("parsed_arguments", Calls),
];

const STRING: Kind = Kind::String;

static CHUNK: Object = Object {
    members: &[
        Member::new("id", STRING),
        Member::new("object", STRING),
        Member::new("created", Kind::Integer),
        Member::new("model", STRING),
        Member::new("system_fingerprint", STRING),
        Member::new("service_tier", STRING),
        Member::new("obfuscation", STRING),
        Member::new("choices", Kind::Entries { of: &CHUNK_CHOICE, index: "index" }),
        Member::new("usage", Kind::Object(&USAGE)),
        Member::new("error", Kind::Instead("choices")),
        Member::new("prompt_filter_results", Kind::Opaque),
    ],
    variants: &[],
};

static COMPLETION: Object = Object {
    members: &[
        Member::new("id", STRING),
        Member::new("object", STRING),
        Member::new("created", Kind::Integer),
        Member::new("model", STRING),
        Member::new("system_fingerprint", STRING),
        Member::new("service_tier", STRING),
        Member::new("choices", Kind::Entries { of: &CHOICE, index: "index" }),
        Member::new("usage", Kind::Object(&USAGE)),
        Member::new("error", Kind::Instead("choices")),
        Member::new("prompt_filter_results", Kind::Opaque),
    ],
    variants: &[],
};

const INDEX: Member = Member::with_default("index", Kind::Index, "0");
const FINISH_REASON: Member = Member::new("finish_reason", STRING);
const LOGPROBS: Member = Member::new("logprobs", Kind::Echo { kind: &SPELLED, class: Text, is_echo: echo::spells_text });
const FILTER_RESULTS: Member = Member::new("content_filter_results", Kind::Opaque);

static CHUNK_CHOICE: Object = Object {
    members: &[INDEX, Member::new("delta", Kind::Object(&MESSAGE)), FINISH_REASON, LOGPROBS, FILTER_RESULTS],
    variants: &[],
};

static CHOICE: Object = Object {
    members: &[INDEX, Member::new("message", Kind::Object(&MESSAGE)), FINISH_REASON, LOGPROBS, FILTER_RESULTS],
    variants: &[],
};

/// A message, or the delta of one.
static MESSAGE: Object = Object {
    members: &[
        Member::new("role", Kind::Word(&["assistant"])),
        Member::new("content", Kind::Either(&STRING, &Kind::Array(&Kind::Object(&PART)))),
        Member::new("refusal", STRING),
        Member::new("reasoning_content", STRING),
        Member::new("reasoning", STRING),
        REASONING_DETAILS,
        THINKING_BLOCKS,
        Member::new("tool_calls", Kind::Array(&Kind::Object(&CALL))),
        Member::new("function_call", Kind::Object(&FUNCTION)),
        Member::new("audio", Kind::Object(&AUDIO)),
        Member::new("annotations", Kind::Array(&Kind::Free)),
    ],
    variants: &[],
};

/// OpenRouter's and LiteLLM's: what the reasoning says, once more, with what a provider wants to have back.
const REASONING_DETAILS: Member =
    Member::new("reasoning_details", Kind::Echo { kind: &THOUGHTS, class: Text, is_echo: echo::says_reasoning });
const THINKING_BLOCKS: Member = Member { name: "thinking_blocks", ..REASONING_DETAILS };

static THOUGHTS: Kind = Kind::Array(&Kind::Object(&THOUGHT));

static THOUGHT: Object = Object {
    members: &[
        Member::new("type", STRING),
        Member::new("id", STRING),
        Member::new("index", Kind::Integer),
        Member::new("format", STRING),
        Member::new("text", STRING),
        Member::new("summary", STRING),
        Member::new("thinking", STRING),
        Member::new("signature", STRING),
        Member::new("data", STRING),
    ],
    variants: &[],
};

static PART: Object = Object {
    members: &[
        Member::new("type", STRING),
        Member::new("text", STRING),
        Member::new("refusal", STRING),
        Member::new("thinking", Kind::Either(&STRING, &Kind::Array(&Kind::Object(&THINKING_PART)))),
    ],
    variants: &[],
};

static THINKING_PART: Object = Object { members: &[Member::new("type", STRING), Member::new("text", STRING)], variants: &[] };

static AUDIO: Object = Object {
    members: &[
        Member::new("id", STRING),
        Member::new("data", STRING),
        Member::new("transcript", STRING),
        Member::new("expires_at", Kind::Integer),
    ],
    variants: &[],
};

/// How the call is told apart, and how its arguments are written, is for the decoder to see.
static CALL: Object = Object {
    members: &[
        Member::new("index", Kind::Scalar),
        Member::new("id", STRING),
        Member::new("type", Kind::Word(&["function", "custom"])),
        Member::new("function", Kind::Object(&FUNCTION)),
        Member::new("custom", Kind::Object(&CUSTOM)),
    ],
    variants: &[],
};

static FUNCTION: Object =
    Object { members: &[Member::new("name", STRING), Member::new("arguments", Kind::Opaque)], variants: &[] };

static CUSTOM: Object = Object { members: &[Member::new("name", STRING), Member::new("input", Kind::Opaque)], variants: &[] };

static USAGE: Object = Object {
    members: &[
        Member::new("prompt_tokens", Kind::Integer),
        Member::new("completion_tokens", Kind::Integer),
        Member::new("total_tokens", Kind::Integer),
        Member::new("prompt_tokens_details", Kind::Object(&TOKEN_DETAILS)),
        Member::new("completion_tokens_details", Kind::Object(&TOKEN_DETAILS)),
    ],
    variants: &[],
};

static TOKEN_DETAILS: Object = Object {
    members: &[
        Member::new("cached_tokens", Kind::Integer),
        Member::new("audio_tokens", Kind::Integer),
        Member::new("text_tokens", Kind::Integer),
        Member::new("image_tokens", Kind::Integer),
        Member::new("reasoning_tokens", Kind::Integer),
        Member::new("accepted_prediction_tokens", Kind::Integer),
        Member::new("rejected_prediction_tokens", Kind::Integer),
    ],
    variants: &[],
};

static SPELLED: Kind = Kind::Object(&LOGPROBS_FIELDS);

static LOGPROBS_FIELDS: Object = Object {
    members: &[
        Member::new("content", Kind::Array(&Kind::Object(&TOKEN))),
        Member::new("refusal", Kind::Array(&Kind::Object(&TOKEN))),
    ],
    variants: &[],
};

static TOKEN: Object = Object {
    members: &[
        Member::new("token", STRING),
        Member::new("logprob", Kind::Number),
        Member::new("bytes", Kind::Array(&Kind::Index)),
        Member::new("top_logprobs", Kind::Array(&Kind::Object(&TOP_TOKEN))),
    ],
    variants: &[],
};

static TOP_TOKEN: Object = Object {
    members: &[
        Member::new("token", STRING),
        Member::new("logprob", Kind::Number),
        Member::new("bytes", Kind::Array(&Kind::Index)),
    ],
    variants: &[],
};
