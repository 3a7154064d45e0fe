//! Answers and requests that grow in one respect: of `size` calls, texts, places, ids.

use serde_json::{Value, json};
use weir::dialect::Dialect;

use crate::events::*;

/// How what a shape writes is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The answer, in events.
    Stream,
    /// The answer, as one body.
    Whole,
    /// The request.
    Request,
}

/// What grows in one respect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) sent: Sent,
    pub(crate) write: fn(usize) -> String,
}

const fn shape(name: &'static str, dialect: Dialect, sent: Sent, write: fn(usize) -> String) -> Shape {
    Shape { name, dialect, sent, write }
}

use Dialect::{ChatCompletions as Chat, McpTool as Mcp, Messages, Responses};
use Sent::{Request, Stream, Whole};

/// Every shape.
pub(crate) const SHAPES: &[Shape] = &[
    shape("chat: calls in turn", Chat, Stream, |size| chat((0..size).map(|n| call_chunk(n, true)).collect())),
    shape("chat: calls of which each gets a delta at the end", Chat, Stream, |size| {
        chat((0..size).map(|n| call_chunk(n, false)).chain((0..size).map(more_chunk)).collect())
    }),
    shape("chat: calls and their deltas in one event", Chat, Stream, |size| {
        let begun = (0..size).map(|n| chat_call(Some(n), &long_id(n), "f", "{\"a\":"));
        let deltas = (0..4 * size).map(|n| json!({"index": n % size, "function": {"arguments": " "}}));
        chat(vec![chat_chunk(json!({"tool_calls": begun.chain(deltas).collect::<Vec<_>>()}))])
    }),
    shape("chat: calls with ids in place of indices", Chat, Stream, |size| {
        let begun = (0..size).map(|n| chat_chunk(json!({"tool_calls": [chat_call(None, &long_id(n), "f", "{\"a\":")]})));
        let more = (0..size).map(|n| chat_chunk(json!({"tool_calls": [chat_call(None, &long_id(n), "", "1}")]})));
        chat(begun.chain(more).collect())
    }),
    shape("chat: calls with ids in place of indices, in one event", Chat, Stream, |size| {
        let begun = (0..size).map(|n| chat_call(None, &long_id(n), "f", "{\"a\":"));
        let more = (0..4 * size).map(|n| chat_call(None, &long_id(n % size), "", " "));
        chat(vec![chat_chunk(json!({"tool_calls": begun.chain(more).collect::<Vec<_>>()}))])
    }),
    shape("chat: calls with odd indices", Chat, Stream, |size| {
        let odd = |n: usize, arguments: &str| {
            let mut call = chat_call(None, &long_id(n), "f", arguments);
            call["index"] = json!(format!("{n}"));
            chat_chunk(json!({"tool_calls": [call]}))
        };
        chat((0..size).map(|n| odd(n, "{\"a\":")).chain((0..size).map(|n| odd(n, "1}"))).collect())
    }),
    shape("chat: calls with one index", Chat, Stream, |size| {
        chat((0..size).map(|n| chat_chunk(json!({"tool_calls": [chat_call(Some(0), &long_id(n), "f", "{}")]}))).collect())
    }),
    shape("chat: calls of choices", Chat, Stream, |size| {
        let size = size / 8;
        let of_choice = |n: usize, call: Value| {
            let choice = json!({"index": n, "delta": {"tool_calls": [call]}, "finish_reason": null});
            json!({"id": "c", "choices": [choice]})
        };
        let begun = (0..size).map(|n| of_choice(n, chat_call(Some(0), "i", "f", "{\"a\":")));
        let more = (0..size).map(|n| of_choice(n, json!({"index": 0, "function": {"arguments": "1}"}})));
        let ends = (0..size).map(|n| json!({"id": "c", "choices": [{"index": n, "delta": {}, "finish_reason": "tool_calls"}]}));
        stream(begun.chain(more).chain(ends)) + "data: [DONE]\n\n"
    }),
    shape("chat: texts of choices", Chat, Stream, |size| {
        let size = size / 8;
        let text = |n: usize| json!({"id": "c", "choices": [{"index": n, "delta": {"content": "a secret"}}]});
        let ends = (0..size).map(|n| json!({"id": "c", "choices": [{"index": n, "delta": {}, "finish_reason": "stop"}]}));
        stream((0..size).map(text).chain((0..size).map(text)).chain(ends)) + "data: [DONE]\n\n"
    }),
    shape("chat: texts of choices in one event", Chat, Stream, |size| {
        let size = size / 8;
        let text = |n: usize| json!({"index": n, "delta": {"content": "a secret"}, "finish_reason": null});
        let choices: Vec<_> = (0..size).map(text).chain((0..size).map(text)).collect();
        stream([json!({"id": "c", "choices": choices})]) + "data: [DONE]\n\n"
    }),
    shape("chat: text", Chat, Stream, |size| chat((0..size).map(|_| chat_chunk(json!({"content": "a secret"}))).collect())),
    shape("chat: refusal", Chat, Stream, |size| chat((0..size).map(|_| chat_chunk(json!({"refusal": "a secret"}))).collect())),
    shape("chat: reasoning", Chat, Stream, |size| {
        chat((0..size).map(|_| chat_chunk(json!({"reasoning_content": "a secret"}))).collect())
    }),
    shape("chat: parts of the content", Chat, Stream, |size| {
        let parts: Vec<_> = (0..size).map(|_| json!({"type": "text", "text": "a secret"})).collect();
        chat(vec![chat_chunk(json!({"content": parts}))])
    }),
    shape("chat: legacy function_call", Chat, Stream, |size| {
        let begin = chat_chunk(json!({"function_call": {"name": "f", "arguments": "{\"a\":\""}}));
        let more = (0..size).map(|_| chat_chunk(json!({"function_call": {"arguments": "x"}})));
        chat([begin].into_iter().chain(more).collect())
    }),
    shape("chat: arguments of a call", Chat, Stream, |size| {
        let begin = chat_chunk(json!({"tool_calls": [chat_call(Some(0), "i", "f", "{\"a\":\"")]}));
        let more = (0..size).map(|_| chat_chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]})));
        let end = chat_chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"}"}}]}));
        chat([begin].into_iter().chain(more).chain([end]).collect())
    }),
    shape("chat: texts behind a call that is open", Chat, Stream, |size| {
        let begin = chat_chunk(json!({"tool_calls": [chat_call(Some(0), "i", "f", "{\"a\":\"")]}));
        chat([begin].into_iter().chain((0..size).map(|_| chat_chunk(json!({"content": "a secret"})))).collect())
    }),
    shape("chat: unknown events", Chat, Stream, |size| stream((0..size).map(|n| json!({"new": n, "text": "a secret"})))),
    shape("chat: finish reasons", Chat, Stream, |size| {
        stream((0..size).map(|_| json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})))
    }),
    shape("chat: usage", Chat, Stream, |size| stream((0..size).map(|n| json!({"usage": {"total_tokens": n}})))),
    shape("chat: whole calls", Chat, Whole, |size| {
        let calls: Vec<_> = (0..size).map(|n| chat_call(None, &long_id(n), "f", "{\"a\":1}")).collect();
        let message = json!({"role": "assistant", "content": "a secret", "tool_calls": calls});
        body(&json!({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}))
    }),
    shape("chat: whole texts of choices", Chat, Whole, |size| {
        let size = size / 8;
        let choice =
            |n: usize| json!({"index": n, "message": {"role": "assistant", "content": "a secret"}, "finish_reason": "stop"});
        body(&json!({"id": "c", "choices": (0..size).map(choice).collect::<Vec<_>>()}))
    }),
    shape("chat: a request's messages", Chat, Request, |size| {
        let message = |n: usize| json!({"role": "user", "content": format!("a secret {n}")});
        body(&json!({"model": "m", "messages": (0..size).map(message).collect::<Vec<_>>()}))
    }),
    shape("chat: a request's calls and results", Chat, Request, |size| {
        let call =
            |n: usize| json!({"role": "assistant", "tool_calls": [chat_call(None, &long_id(n), "f", "{\"a\":\"a secret\"}")]});
        let result = |n: usize| json!({"role": "tool", "tool_call_id": long_id(n), "content": "a secret"});
        body(&json!({"model": "m", "messages": (0..size).map(call).chain((0..size).map(result)).collect::<Vec<_>>()}))
    }),
    shape("chat: a request's tools", Chat, Request, |size| {
        let tool = |n: usize| json!({"type": "function", "function": {"name": format!("f{n}"), "description": "a secret"}});
        let messages = json!([{"role": "user", "content": "a secret"}]);
        body(&json!({"model": "m", "messages": messages, "tools": (0..size).map(tool).collect::<Vec<_>>()}))
    }),
    shape("messages: texts in turn", Messages, Stream, |size| {
        messages(
            (0..size).flat_map(|n| block(n, json!({"type": "text", "text": ""}), "text_delta", "text", "a secret")).collect(),
        )
    }),
    shape("messages: calls in turn", Messages, Stream, |size| messages((0..size).flat_map(tool_use).collect())),
    shape("messages: calls side by side", Messages, Stream, |size| messages(side_by_side((0..size).map(tool_use)))),
    shape("messages: calls of the provider's and their results", Messages, Stream, |size| {
        let call = |n: usize| json!({"type": "server_tool_use", "id": long_id(n), "name": "web_search", "input": {}});
        let result = |n: usize| json!({"type": "web_search_tool_result", "tool_use_id": long_id(n), "content": []});
        let calls = (0..size).flat_map(|n| block(n, call(n), "input_json_delta", "partial_json", "{\"q\":1}"));
        let results = (size..2 * size).flat_map(|n| {
            let mut events = block(n, result(n - size), "", "", "");
            events.remove(1);
            events
        });
        messages(calls.chain(results).collect())
    }),
    shape("messages: text", Messages, Stream, |size| messages(deltas("text", "text_delta", "text", "a secret", size))),
    shape("messages: thinking", Messages, Stream, |size| {
        messages(deltas("thinking", "thinking_delta", "thinking", "a secret", size))
    }),
    shape("messages: input of a call", Messages, Stream, |size| {
        let mut events = tool_use(0);
        let more = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": " "}});
        events.splice(1..1, core::iter::repeat_n(more, size));
        messages(events)
    }),
    shape("messages: citations", Messages, Stream, |size| {
        let mut events = block(0, json!({"type": "text", "text": ""}), "text_delta", "text", "a secret");
        let citation = json!({"type": "citations_delta", "citation": {"cited_text": "a secret"}});
        let more = json!({"type": "content_block_delta", "index": 0, "delta": citation});
        events.splice(2..2, core::iter::repeat_n(more, size));
        messages(events)
    }),
    shape("messages: unknown events", Messages, Stream, |size| {
        messages((0..size).map(|n| json!({"type": "new", "number": n, "text": "a secret"})).collect())
    }),
    shape("messages: pings behind a call", Messages, Stream, |size| {
        let mut events = tool_use(0);
        events.splice(1..1, core::iter::repeat_n(json!({"type": "ping"}), size));
        messages(events)
    }),
    shape("messages: whole calls", Messages, Whole, |size| {
        let call = |n: usize| json!({"type": "tool_use", "id": long_id(n), "name": "f", "input": {"a": 1}});
        let content: Vec<_> = [json!({"type": "text", "text": "a secret"})].into_iter().chain((0..size).map(call)).collect();
        body(&json!({"id": "m", "type": "message", "role": "assistant", "content": content, "stop_reason": "tool_use"}))
    }),
    shape("messages: whole texts", Messages, Whole, |size| {
        let content: Vec<_> = (0..size).map(|_| json!({"type": "text", "text": "a secret"})).collect();
        body(&json!({"id": "m", "type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}))
    }),
    shape("messages: a request's calls and results", Messages, Request, |size| {
        let call = |n: usize| json!({"type": "tool_use", "id": long_id(n), "name": "f", "input": {"a": "a secret"}});
        let result = |n: usize| json!({"type": "tool_result", "tool_use_id": long_id(n), "content": "a secret"});
        let [calls, results]: [Vec<_>; 2] = [(0..size).map(call).collect(), (0..size).map(result).collect()];
        let messages = json!([{"role": "assistant", "content": calls}, {"role": "user", "content": results}]);
        body(&json!({"model": "m", "max_tokens": 1, "messages": messages}))
    }),
    shape("responses: calls in turn", Responses, Stream, |size| {
        responses((0..size).flat_map(item_events).collect(), (0..size).map(call_item).collect())
    }),
    shape("responses: calls side by side", Responses, Stream, |size| {
        responses(side_by_side((0..size).map(item_events)), (0..size).map(call_item).collect())
    }),
    shape("responses: calls named by id alone", Responses, Stream, |size| {
        let mut events = side_by_side((0..size).map(item_events));
        events.iter_mut().for_each(|event| drop(event.as_object_mut().unwrap().remove("output_index")));
        responses(events, (0..size).map(call_item).collect())
    }),
    shape("responses: texts of items", Responses, Stream, |size| {
        responses((0..size).flat_map(text_events).collect(), (0..size).map(|n| text_item(n, 1)).collect())
    }),
    shape("responses: text", Responses, Stream, |size| {
        let mut events = text_events(0);
        let more = events[2].clone();
        events.splice(2..2, core::iter::repeat_n(more, size - 1));
        let text = "a secret".repeat(size);
        events[size + 2]["text"] = json!(text);
        events[size + 3]["part"]["text"] = json!(text);
        events[size + 4]["item"]["content"][0]["text"] = json!(text);
        let item = events[size + 4]["item"].clone();
        responses(events, vec![item])
    }),
    shape("responses: unknown events", Responses, Stream, |size| {
        responses((0..size).map(|n| json!({"type": "new.event", "number": n, "text": "a secret"})).collect(), Vec::new())
    }),
    shape("responses: whole calls", Responses, Whole, |size| {
        body(&response((0..size).map(call_item).chain([text_item(size, 1)]).collect()))
    }),
    shape("responses: a request's calls and results", Responses, Request, |size| {
        let result = |n: usize| json!({"type": "function_call_output", "call_id": long_id(n), "output": "a secret"});
        body(&json!({"model": "m", "input": (0..size).map(call_item).chain((0..size).map(result)).collect::<Vec<_>>()}))
    }),
    shape("mcp: content of a result", Mcp, Whole, |size| {
        let content: Vec<_> = (0..size).map(|_| json!({"type": "text", "text": "a secret"})).collect();
        body(&json!({"jsonrpc": "2.0", "id": 1, "result": {"content": content}}))
    }),
    shape("mcp: members of a structured result", Mcp, Whole, |size| {
        let members: serde_json::Map<_, _> = (0..size).map(|n| (format!("key{n}"), json!("a secret"))).collect();
        body(&json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [], "structuredContent": members}}))
    }),
    shape("mcp: notifications", Mcp, Stream, |size| {
        let notification = |n: usize| {
            let params = json!({"progressToken": 1, "progress": n, "message": "a secret"});
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        };
        let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}});
        stream((0..size).map(notification).chain([result]))
    }),
    shape("mcp: a request's calls", Mcp, Request, |size| body(&Value::Array((0..size).map(mcp_call).collect()))),
    shape("mcp: members of a request's arguments", Mcp, Request, |size| {
        let members: serde_json::Map<_, _> = (0..size).map(|n| (format!("key{n}"), json!("a secret"))).collect();
        body(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "f", "arguments": members}}))
    }),
];
