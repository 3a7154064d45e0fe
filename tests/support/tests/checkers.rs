//! The checkers are checked: real streams are legal, and each rule finds what breaks it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use std::collections::BTreeSet;

use weir::dialect::Dialect;
use weir_test_support::{corpus, fixtures, legality};

const DIALECTS: [Dialect; 4] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool];

/// Fixtures that are meant to break rules, as providers do, with the rules.
const ILLEGAL_FIXTURES: [(&str, &[&str]); 3] = [
    ("bare_chunks", &["a choice has an index", "a tool call delta has an index", "every choice has a finish_reason"]),
    (
        "calls_without_index",
        &["a tool call delta has an index", "finish_reason tool_calls says that there is a call", "the message is not empty"],
    ),
    ("late_id_and_name", &["the first delta of a tool call has its id and name"]),
];

#[test]
fn fixtures_are_legal() {
    for dialect in DIALECTS {
        for fixture in fixtures::streams(dialect) {
            let mut rules =
                legality::stream(dialect, fixture.body).into_iter().map(|violation| violation.rule).collect::<Vec<_>>();
            rules.dedup();
            let expected = ILLEGAL_FIXTURES.iter().find(|(name, _)| *name == fixture.name).map_or(&[][..], |(_, rules)| rules);
            assert_eq!(rules, expected, "{}", fixture.name);
        }
        for fixture in fixtures::wholes(dialect) {
            legality::assert_whole(dialect, fixture.body);
        }
    }
}

/// Recordings that break rules, because several answers were put into one file or the provider itself did.
const ILLEGAL_RECORDINGS: [(&str, &[&str]); 17] = [
    (
        "cerebras--cererebras-structured-output-tools.1.sse",
        &[
            "finish_reason comes after the content",
            "finish_reason comes once in a choice",
            "id and name of a tool call stay",
            "id, object, created and model stay",
            "the arguments of a tool call are a JSON object",
        ],
    ),
    (
        "mistral--mistral-tool-call.sse",
        &["a tool call delta has an index", "finish_reason tool_calls says that there is a call", "the message is not empty"],
    ),
    ("moonshotai--moonshotai-stream.sse", &["the object is a chat.completion.chunk"]),
    ("xai--xai-text.sse", &["id, object, created and model stay"]),
    ("anthropic--anthropic-programmatic-tool-calling.1.sse", &["nothing follows the end"]),
    (
        "anthropic--anthropic-tool-search-deferred-bm25.sse",
        &["after the first tool_use comes nothing else", "nothing follows the end"],
    ),
    ("anthropic--anthropic-tool-search-regex.1.sse", &["nothing follows the end"]),
    ("anthropic--duplicate-message-start.sse", &["message_start comes once"]),
    (
        "anthropic--spliced-message-start.sse",
        &[
            "a delta belongs to the open block",
            "a stop belongs to the open block",
            "after the first tool_use comes nothing else",
            "block indices are contiguous from 0",
            "blocks do not interleave",
            "message_start comes once",
            "the input of a tool call is a JSON object",
            "thinking comes first",
        ],
    ),
    ("anthropic-sdk--basic_response.sse", &["a blank line ends every event"]),
    ("anthropic-sdk--tool_use_response.sse", &["a blank line ends every event"]),
    ("azure--azure-reasoning-encrypted-content.1.sse", &["nothing follows the end", "sequence numbers count the events from 0"]),
    (
        "openai--openai-reasoning-encrypted-content.1.sse",
        &["nothing follows the end", "sequence numbers count the events from 0"],
    ),
    (
        "openai--github-copilot-id-rotation.1.sse",
        &[
            "an item keeps its id, type and name",
            "item_id is the id that the item began with",
            "the end repeats what was sent",
            "the id of the response stays",
        ],
    ),
    ("openai--openai-custom-tool.1.sse", &["sequence numbers count the events from 0"]),
    // Whoever recorded these left out events.
    (
        "openai--openai-phase.1.sse",
        &[
            "an event belongs to an item that has begun",
            "done repeats the deltas",
            "every item ends before the response",
            "output indices are dense from 0",
            "sequence numbers count the events from 0",
            "the end repeats what was sent",
        ],
    ),
    ("openai--openai-shell-container.1.sse", &["done repeats the deltas"]),
];

#[test]
fn recorded_streams_are_legal() {
    for dialect in DIALECTS {
        for recorded in corpus::streams(dialect) {
            let violations = legality::stream(dialect, &recorded.body);
            let rules = violations.iter().map(|violation| violation.rule).collect::<BTreeSet<_>>();
            let expected = ILLEGAL_RECORDINGS.iter().find(|(name, _)| *name == recorded.name).map_or(&[][..], |(_, rules)| rules);
            assert_eq!(rules, expected.iter().copied().collect(), "{}: {violations:#?}", recorded.name);
        }
    }
}

/// What to change in a legal stream, and the rule that must find it.
struct Breakage {
    dialect: Dialect,
    fixture: &'static str,
    from: &'static str,
    to: &'static str,
    rule: &'static str,
}

const fn chat(fixture: &'static str, from: &'static str, to: &'static str, rule: &'static str) -> Breakage {
    Breakage { dialect: Dialect::ChatCompletions, fixture, from, to, rule }
}

const fn messages(fixture: &'static str, from: &'static str, to: &'static str, rule: &'static str) -> Breakage {
    Breakage { dialect: Dialect::Messages, fixture, from, to, rule }
}

const fn responses(fixture: &'static str, from: &'static str, to: &'static str, rule: &'static str) -> Breakage {
    Breakage { dialect: Dialect::Responses, fixture, from, to, rule }
}

const BREAKAGES: [Breakage; 50] = [
    chat("text", "data: [DONE]\n\n", "", "[DONE] comes last"),
    chat("text", "data: [DONE]\n\n", "data: [DONE]\n\ndata: [DONE]\n\n", "nothing follows the end"),
    chat("text", "data: [DONE]\n\n", "data: [DONE]", "a blank line ends every event"),
    chat("text", "\"finish_reason\":\"stop\"", "\"finish_reason\":null", "every choice has a finish_reason"),
    chat(
        "text",
        "\"delta\":{\"content\":\" aus\"},\"logprobs\":null,\"finish_reason\":null",
        "\"delta\":{\"content\":\" aus\"},\"logprobs\":null,\"finish_reason\":\"stop\"",
        "finish_reason comes after the content",
    ),
    chat("text", "\"created\":1760601842", "\"created\":1", "id, object, created and model stay"),
    chat(
        "tool_call",
        "\"finish_reason\":\"tool_calls\"",
        "\"finish_reason\":\"stop\"",
        "a call makes the finish_reason tool_calls",
    ),
    chat(
        "text",
        "\"finish_reason\":\"stop\"",
        "\"finish_reason\":\"tool_calls\"",
        "finish_reason tool_calls says that there is a call",
    ),
    chat("parallel_tool_calls", "\"index\":1,\"id\"", "\"index\":2,\"id\"", "indices of tool calls are dense from 0"),
    chat("tool_call", "\"name\":\"get_weather\"", "\"name\":\"\"", "the first delta of a tool call has its id and name"),
    chat("tool_call", "\\\"celsius\\\"}", "", "the arguments of a tool call are a JSON object"),
    chat(
        "tool_call",
        "\"index\":0,\"function\":{\"arguments\":\"\\\":\\\"Par\"}",
        "\"index\":0,\"custom\":{\"input\":\"\\\":\\\"Par\"}",
        "a tool call is a function or a custom tool from its beginning to its end",
    ),
    chat(
        "tool_call",
        "\"function\":{\"arguments\":\"\\\":\\\"Par\"}",
        "\"function\":{\"name\":\"run_shell\",\"arguments\":\"\\\":\\\"Par\"}",
        "id and name of a tool call stay",
    ),
    chat("refusal", "\"object\"", "\"id\":\"\",\"object\"", "data is JSON"),
    messages("text", "event: message_start\n", "", "the event line equals the type"),
    messages("tool_use", "\"index\":1", "\"index\":2", "block indices are contiguous from 0"),
    messages("tool_use", "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\"", "a call makes the stop_reason tool_use"),
    messages(
        "text",
        "\"stop_reason\":\"end_turn\"",
        "\"stop_reason\":\"tool_use\"",
        "stop_reason tool_use says that there is a call",
    ),
    messages("text", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "", "message_stop comes last"),
    messages(
        "tool_use",
        "\"partial_json\":\"\\\"celsius",
        "\"partial_json\":\"celsius",
        "the input of a tool call is a JSON object",
    ),
    messages("text", "\"type\":\"text_delta\",\"text\"", "\"type\":\"text_delta\",\"lost\"", "no text block is empty"),
    messages("thinking", "\"type\":\"signature_delta\"", "\"type\":\"input_json_delta\"", "a delta fits its block"),
    messages(
        "tool_use",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "",
        "blocks do not interleave",
    ),
    messages(
        "tool_use",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
        "",
        "every block is closed before message_delta",
    ),
    messages(
        "server_tool_use",
        "\"type\":\"server_tool_use\"",
        "\"type\":\"tool_use\"",
        "after the first tool_use comes nothing else",
    ),
    messages("server_tool_use", "\"tool_use_id\":\"srv", "\"tool_use_id\":\"x", "a tool result belongs to a call before it"),
    responses("text", "event: response.created\n", "", "the event line equals the type"),
    responses("text", "\"sequence_number\":4,", "\"sequence_number\":5,", "sequence numbers count the events from 0"),
    responses("text", "response.created", "response.in_progress", "response.created comes first"),
    responses("text", "response.in_progress", "response.created", "response.created comes once"),
    responses(
        "text",
        "\"status\":\"in_progress\",\"error\"",
        "\"status\":\"completed\",\"error\"",
        "a response begins without output",
    ),
    responses("text", "response.completed", "response.x", "the response is ended"),
    responses("text", "\"output_index\":0", "\"output_index\":1", "output indices are dense from 0"),
    responses("text", "\"content_index\":0", "\"content_index\":1", "part indices are dense from 0"),
    responses("text", "\"delta\":\" aus\"", "\"delta\":\" in\"", "done repeats the deltas"),
    responses("text", "response.output_text.delta", "response.refusal.delta", "a delta fits its part"),
    responses(
        "text",
        "\"content\":[]",
        "\"content\":[{\"type\":\"output_text\",\"text\":\"x\"}]",
        "a message begins without content",
    ),
    responses("text", "response.output_item.done", "response.x", "every item ends before the response"),
    responses("text", "\"status\":\"completed\",\"error\"", "\"status\":\"failed\",\"error\"", "the status is that of the event"),
    responses("text", "\"output\":[{", "\"output\":[],\"x\":[{", "the output is not empty"),
    responses("text", "\"output\":[{", "\"output\":[{\"x\":1,", "the end repeats what was sent"),
    responses("tool_call", "\\\"celsius\\\"}", "", "the arguments of a tool call are a JSON object"),
    responses(
        "text",
        "\"sequence_number\":19,\"output_index\":0,\"item\":{\"id\":\"msg_",
        "\"sequence_number\":19,\"output_index\":0,\"item\":{\"id\":\"other_",
        "an item keeps its id, type and name",
    ),
    responses("text", "response.content_part.added", "response.x", "an event belongs to an open part"),
    responses("local_shell", "\"delta\":\"rm\"", "\"delta\":\"ls\"", "done repeats the deltas"),
    responses("local_shell", "\"output_index\"", "\"index\"", "an event says which item it is about"),
    responses("local_shell", "\"command_index\":1", "\"command_index\":2", "command indices are dense from 0"),
    responses("call_cut_by_max_output_tokens", "{\"reason\":\"max_output_tokens\"}", "null", "an incomplete response says why"),
    responses("reasoning", "\"summary_index\":0", "\"summary_index\":1", "part indices are dense from 0"),
    responses(
        "text",
        "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"Gr",
        "{\"type\":\"refusal\",\"annotations\":[],\"logprobs\":[],\"refusal\":\"Gr",
        "a part keeps its type",
    ),
];

#[test]
fn each_rule_finds_what_breaks_it() {
    for Breakage { dialect, fixture, from, to, rule } in BREAKAGES {
        let legal = String::from_utf8(fixtures::stream(dialect, fixture).to_vec()).unwrap();
        assert!(legal.contains(from), "{fixture} has no {from}");
        let replaced =
            if rule == "id, object, created and model stay" { legal.replacen(from, to, 1) } else { legal.replace(from, to) };
        let found = legality::stream(dialect, replaced.as_bytes());
        assert!(found.iter().any(|violation| violation.rule == rule), "{fixture}: {rule}: {found:#?}");
    }
}
