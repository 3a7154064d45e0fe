//! One and the same answer of a model, in the words of each dialect.

use serde_json::{Value, json};
use weir::dialect::Dialect;

/// A part of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// Text, cut like this into deltas.
    Text(&'a [&'a str]),
    /// A tool call.
    Call {
        /// The provider's id of it.
        id: &'a str,
        /// Name of the tool.
        name: &'a str,
        /// The arguments, cut like this into deltas.
        arguments: &'a [&'a str],
    },
}

/// What a model answers. Text comes before tool calls: not every dialect lets it follow.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// Its parts.
    pub said: Vec<Said<'a>>,
    /// Whether it was cut off because it grew too long.
    pub cut: bool,
}

impl Answer<'_> {
    /// The answer as a stream of `dialect`.
    pub fn streamed(&self, dialect: Dialect) -> Vec<u8> {
        match dialect {
            Dialect::ChatCompletions => self.chat_stream(),
            Dialect::Messages => self.messages_stream(),
            Dialect::Responses => self.responses_stream(),
            other => panic!("{other} is not written here yet"),
        }
    }

    /// The answer as a whole JSON body of `dialect`.
    ///
    /// # Panics
    /// When it breaks off within a call: that is no whole body of every dialect.
    pub fn whole(&self, dialect: Dialect) -> Vec<u8> {
        match dialect {
            Dialect::ChatCompletions => self.chat_body(),
            Dialect::Messages => self.messages_body(),
            Dialect::Responses => self.response(self.said.iter().map(Said::item).collect()),
            other => panic!("{other} is not written here yet"),
        }
        .to_string()
        .into_bytes()
    }

    /// The finish reason, of those for an answer that is complete, that calls tools, and that is cut off.
    fn finish(&self, [complete, calls, cut]: [&'static str; 3]) -> &'static str {
        if self.cut {
            cut
        } else if self.said.iter().any(|said| matches!(said, Said::Call { .. })) {
            calls
        } else {
            complete
        }
    }

    fn chat_finish(&self) -> &'static str {
        self.finish(["stop", "tool_calls", "length"])
    }

    fn chat_stream(&self) -> Vec<u8> {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        let mut calls = 0;
        for said in &self.said {
            match said {
                Said::Text(pieces) => deltas.extend(pieces.iter().map(|piece| json!({"content": piece}))),
                Said::Call { id, name, arguments } => {
                    let function = json!({"name": name, "arguments": ""});
                    deltas.push(json!({"tool_calls": [{"index": calls, "id": id, "type": "function", "function": function}]}));
                    deltas.extend(
                        arguments.iter().map(|piece| json!({"tool_calls": [{"index": calls, "function": {"arguments": piece}}]})),
                    );
                    calls += 1;
                }
            }
        }
        let chunk = |delta: Value, finish: Value| {
            let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            let chunk =
                json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
            format!("data: {chunk}\n\n")
        };
        let mut stream: String = deltas.into_iter().map(|delta| chunk(delta, Value::Null)).collect();
        stream += &chunk(json!({}), json!(self.chat_finish()));
        (stream + "data: [DONE]\n\n").into_bytes()
    }

    fn chat_body(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": null, "refusal": null});
        for said in &self.said {
            match said {
                Said::Text(pieces) => message["content"] = json!(pieces.concat()),
                Said::Call { id, name, arguments } => {
                    let function = json!({"name": name, "arguments": arguments.concat()});
                    let call = json!({"id": id, "type": "function", "function": function});
                    match message["tool_calls"].as_array_mut() {
                        Some(calls) => calls.push(call),
                        None => message["tool_calls"] = json!([call]),
                    }
                }
            }
        }
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": self.chat_finish()});
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
        json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage})
    }

    fn messages_finish(&self) -> &'static str {
        self.finish(["end_turn", "tool_use", "max_tokens"])
    }

    fn messages_stream(&self) -> Vec<u8> {
        let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
        let mut events = vec![json!({"type": "message_start", "message": message})];
        for (index, said) in self.said.iter().enumerate() {
            let (block, deltas): (Value, Vec<Value>) = match said {
                Said::Text(pieces) => {
                    let delta = |piece| json!({"type": "text_delta", "text": piece});
                    (json!({"type": "text", "text": ""}), pieces.iter().map(delta).collect())
                }
                Said::Call { id, name, arguments } => {
                    let delta = |piece| json!({"type": "input_json_delta", "partial_json": piece});
                    (json!({"type": "tool_use", "id": id, "name": name, "input": {}}), arguments.iter().map(delta).collect())
                }
            };
            events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
            events.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
            let is_cut = self.cut && index + 1 == self.said.len();
            events.extend((!is_cut).then(|| json!({"type": "content_block_stop", "index": index})));
        }
        let delta = json!({"stop_reason": self.messages_finish(), "stop_sequence": null});
        events.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}));
        events.push(json!({"type": "message_stop"}));
        let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
        events.iter().map(event).collect::<String>().into_bytes()
    }

    fn messages_body(&self) -> Value {
        let block = |said: &Said<'_>| match said {
            Said::Text(pieces) => json!({"type": "text", "text": pieces.concat()}),
            Said::Call { id, name, arguments } => {
                let input: Value = serde_json::from_str(&arguments.concat()).expect("a whole body has whole arguments");
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
        };
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": self.said.iter().map(block).collect::<Value>(), "stop_reason": self.messages_finish(),
            "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}})
    }

    fn responses_stream(&self) -> Vec<u8> {
        let mut begun = self.response(json!([]));
        begun["status"] = json!("in_progress");
        begun["incomplete_details"] = Value::Null;
        let mut events = vec![json!({"type": "response.created", "response": begun})];
        let mut items = Vec::new();
        for (index, said) in self.said.iter().enumerate() {
            let is_cut = self.cut && index + 1 == self.said.len();
            let mut item = said.item();
            let mut begins = item.clone();
            begins["status"] = json!("in_progress");
            let id = item["id"].clone();
            let place = |mut event: Value| {
                event["output_index"] = json!(index);
                if event.get("item").is_none() {
                    event["item_id"] = id.clone();
                }
                event
            };
            match said {
                Said::Text(pieces) => {
                    let part = item["content"][0].clone();
                    let mut empty = part.clone();
                    empty["text"] = json!("");
                    begins["content"] = json!([]);
                    let in_part = |mut event: Value| {
                        event["content_index"] = json!(0);
                        place(event)
                    };
                    events.push(place(json!({"type": "response.output_item.added", "item": begins})));
                    events.push(in_part(json!({"type": "response.content_part.added", "part": empty})));
                    let delta = |piece| in_part(json!({"type": "response.output_text.delta", "delta": piece, "logprobs": []}));
                    events.extend(pieces.iter().map(delta));
                    events.push(in_part(json!({"type": "response.output_text.done", "text": pieces.concat(), "logprobs": []})));
                    events.push(in_part(json!({"type": "response.content_part.done", "part": part})));
                }
                Said::Call { name, arguments, .. } => {
                    begins["arguments"] = json!("");
                    events.push(place(json!({"type": "response.output_item.added", "item": begins})));
                    let delta = |piece| place(json!({"type": "response.function_call_arguments.delta", "delta": piece}));
                    events.extend(arguments.iter().map(delta));
                    let done =
                        json!({"type": "response.function_call_arguments.done", "name": name, "arguments": arguments.concat()});
                    events.extend((!is_cut).then(|| place(done)));
                }
            }
            if is_cut {
                item["status"] = json!("incomplete");
            }
            events.push(place(json!({"type": "response.output_item.done", "item": item})));
            items.push(item);
        }
        let end = if self.cut { "response.incomplete" } else { "response.completed" };
        events.push(json!({"type": end, "response": self.response(items.into())}));
        let event = |(number, mut event): (usize, Value)| {
            event["sequence_number"] = json!(number);
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
        };
        events.into_iter().enumerate().map(event).collect::<String>().into_bytes()
    }

    fn response(&self, output: Value) -> Value {
        let [status, details] = if self.cut {
            [json!("incomplete"), json!({"reason": "max_output_tokens"})]
        } else {
            [json!("completed"), Value::Null]
        };
        json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": null,
            "incomplete_details": details, "model": "m", "output": output, "parallel_tool_calls": true, "tool_choice": "auto",
            "tools": [], "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}})
    }
}

impl Said<'_> {
    /// The part as an item of a response.
    fn item(&self) -> Value {
        match self {
            Said::Text(pieces) => {
                let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": pieces.concat()});
                json!({"id": "msg_1", "type": "message", "status": "completed", "content": [part], "role": "assistant"})
            }
            Said::Call { id, name, arguments } => {
                let item_id = format!("fc_{id}");
                json!({"id": item_id, "type": "function_call", "status": "completed", "arguments": arguments.concat(), "call_id": id, "name": name})
            }
        }
    }
}
