use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::RequestScope::{Assistant, System, ToolArgument, ToolDescription, ToolName, ToolResult, User};
use super::*;

/// The texts of `body`, as scope, path and characters.
fn texts(body: &Json) -> Vec<(RequestScope, String, String)> {
    let body = body.to_string();
    read(body.as_bytes()).unwrap().into_iter().map(|part| (part.scope, part.path, part.text.into_owned())).collect()
}

fn assert_texts(body: &Json, expected: &[(RequestScope, &str, &str)]) {
    let mut found = texts(body);
    let mut expected: Vec<_> =
        expected.iter().map(|(scope, path, text)| (*scope, (*path).to_owned(), (*text).to_owned())).collect();
    // serde_json's maps sort their keys.
    found.sort_by(|one, other| one.1.cmp(&other.1));
    expected.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(found, expected);
}

#[test]
fn a_message_is_read_whatever_type_it_claims_to_have() {
    let body = json!({"messages": [{"role": "user", "type": "thinking", "content": "Hi"}],
        "input": [{"type": "reasoning", "role": "user", "content": "Ho"}]});
    assert_texts(&body, &[(User, "messages[0].content", "Hi"), (User, "input[0].content", "Ho")]);
}

#[test]
fn tools_that_come_with_the_input_are_read() {
    let tool = json!({"type": "function", "name": "f", "description": "Does f."});
    let search = json!({"type": "tool_search_output", "call_id": "c", "tools": [tool]});
    let body = json!({"input": [search, {"type": "additional_tools", "tools": [{"name": "g"}]}]});
    assert_texts(
        &body,
        &[
            (ToolName, "input[0].tools[0].name", "f"),
            (ToolDescription, "input[0].tools[0].description", "Does f."),
            (ToolName, "input[1].tools[0].name", "g"),
        ],
    );
}

#[test]
fn a_member_in_another_case_is_refused() {
    for body in [
        r#"{"Messages":[]}"#,
        r#"{"messages":[{"role":"user","content":"a","Content":"b"}]}"#,
        r#"{"messages":[{"role":"user","ROLE":"system","content":"a"}]}"#,
        r#"{"input":[{"type":"function_call_output","output":"a","Output":"b"}]}"#,
        r#"{"tools":[{"type":"function","function":{"name":"a","Name":"b"}}]}"#,
    ] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
    assert!(read(br#"{"tools":[{"name":"a","parameters":{"properties":{"Name":{"Description":"b"}}}}]}"#).is_ok());
}

#[test]
fn arguments_of_earlier_calls_are_read_string_by_string() {
    let function = json!({"name": "f", "arguments": r#"{"a":"one","b":[2,{"c":"thr\u0065e"}]}"#});
    let body = json!({"messages": [
        {"role": "assistant", "tool_calls": [
            {"id": "1", "type": "function", "function": function},
            {"id": "2", "type": "custom", "custom": {"name": "g", "input": "free text"}}]},
        {"role": "assistant", "function_call": {"name": "h", "arguments": "no JSON {"}},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "3", "name": "i", "input": {"d": ["four"]}}]}],
        "input": [{"type": "function_call", "call_id": "4", "name": "j", "arguments": r#"{"e":"five"}"#},
            {"type": "custom_tool_call", "call_id": "5", "name": "k", "input": "six"},
            {"type": "shell_call", "call_id": "6", "action": {"commands": ["ls"]}}]});
    assert_texts(
        &body,
        &[
            (ToolArgument, "messages[0].tool_calls[0].function.arguments", "one"),
            (ToolArgument, "messages[0].tool_calls[0].function.arguments", "three"),
            (ToolArgument, "messages[0].tool_calls[1].custom.input", "free text"),
            (ToolArgument, "messages[1].function_call.arguments", "no JSON {"),
            (ToolArgument, "messages[2].content[0].input", "four"),
            (ToolArgument, "input[0].arguments", "five"),
            (ToolArgument, "input[1].input", "six"),
            (ToolArgument, "input[2].action", "ls"),
        ],
    );
}

#[test]
fn a_string_in_arguments_that_stand_in_a_string_is_replaced_alone() {
    let body = r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{ \"a\":\"x\\ny\", \"n\": 1.0, \"b\":\"z\"}"}}]}], "model":"m"}"#;
    let parts = read(body.as_bytes()).unwrap();
    let texts: Vec<_> = parts.iter().map(|part| part.text.as_ref()).collect();
    assert_eq!(texts, ["x\ny", "z"]);
    let mut rewrite = RequestRewrite::new(body.as_bytes());
    rewrite.replace(&parts[0], "quote \" and \\");
    rewrite.replace(&parts[1], "");
    let left = String::from_utf8(rewrite.into_body().unwrap()).unwrap();
    let outer: Json = serde_json::from_str(&left).unwrap();
    let arguments = outer["messages"][0]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(arguments, r#"{ "a":"quote \" and \\", "n": 1.0, "b":""}"#);
    assert!(left.ends_with(r#"}}]}], "model":"m"}"#), "{left}");
}

#[test]
fn what_the_model_thought_is_read_unless_it_is_sealed() {
    let body = json!({"messages": [
        {"role": "assistant", "reasoning_content": "one", "reasoning": "two", "content": [
            {"type": "thinking", "thinking": "three", "signature": ""},
            {"type": "thinking", "thinking": "signed", "signature": "s"},
            {"type": "redacted_thinking", "data": "sealed"}]}],
        "input": [{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "four"}],
                "content": [{"type": "reasoning_text", "text": "five"}]},
            {"type": "reasoning", "id": "r", "encrypted_content": "sealed", "summary": [{"type": "summary_text", "text": "sealed"}]}]});
    assert_texts(
        &body,
        &[
            (Assistant, "messages[0].reasoning_content", "one"),
            (Assistant, "messages[0].reasoning", "two"),
            (Assistant, "messages[0].content[0].thinking", "three"),
            (Assistant, "input[0].summary[0].text", "four"),
            (Assistant, "input[0].content[0].text", "five"),
        ],
    );
}

#[test]
fn predictions_documents_search_results_and_parts_of_unknown_type_are_read() {
    let body = json!({
        "prediction": {"type": "content", "content": [{"type": "text", "text": "one"}]},
        "documents": [{"data": {"snippet": "two"}, "title": "three"}, "four"],
        "input": [{"type": "file_search_call", "id": "f", "queries": ["five"], "results": [{"file_id": "f", "text": "six"}]},
            {"type": "hologram", "id": "h", "caption": {"en": "seven"}}]});
    assert_texts(
        &body,
        &[
            (Assistant, "prediction.content[0].text", "one"),
            (User, "documents", "two"),
            (User, "documents", "three"),
            (User, "documents", "four"),
            (ToolArgument, "input[0].queries", "five"),
            (ToolResult, "input[0].results[0].text", "six"),
            (User, "input[1]", "seven"),
        ],
    );
}

#[test]
fn titles_examples_and_grammars_of_tools_are_read() {
    let schema = json!({"type": "object", "title": "one", "properties": {
        "title": {"type": "string", "title": "two", "examples": ["three", 4]},
        "examples": {"type": "string", "description": "five"}}});
    let body = json!({"tools": [
        {"name": "f", "input_schema": schema, "input_examples": [{"a": "six"}]},
        {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "lark", "definition": "seven"}}]});
    assert_texts(
        &body,
        &[
            (ToolName, "tools[0].name", "f"),
            (ToolDescription, "tools[0].input_schema.title", "one"),
            (ToolDescription, "tools[0].input_schema.properties.title.title", "two"),
            (ToolDescription, "tools[0].input_schema.properties.title.examples", "three"),
            (ToolDescription, "tools[0].input_schema.properties.examples.description", "five"),
            (ToolDescription, "tools[0].input_examples", "six"),
            (ToolName, "tools[1].name", "g"),
            (ToolDescription, "tools[1].format.definition", "seven"),
        ],
    );
}

#[test]
fn texts_of_chat_completions() {
    let body = json!({
        "model": "m", "user": "u", "temperature": 0.5,
        "messages": [
            {"role": "developer", "content": "Be kind."},
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "name": "ada", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ]},
            {"role": "assistant", "content": null, "refusal": "No.", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"text\":\"x\"}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
            {"role": "function", "name": "f", "content": "43"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": {"type": "object", "properties": {
                "name": {"type": "string", "description": "A name."},
                "description": {"type": "array", "items": {"description": "An item."}},
            }}}},
            {"type": "custom", "custom": {"name": "g", "description": "Does g."}},
        ],
        "functions": [{"name": "h", "description": "Does h."}],
    });
    assert_texts(
        &body,
        &[
            (System, "messages[0].content", "Be kind."),
            (System, "messages[1].content[0].text", "Be brief."),
            (User, "messages[2].content[0].text", "What is this?"),
            (Assistant, "messages[3].refusal", "No."),
            (ToolResult, "messages[4].content[0].text", "42"),
            (ToolArgument, "messages[3].tool_calls[0].function.arguments", "x"),
            (ToolResult, "messages[5].content", "43"),
            (ToolName, "tools[0].function.name", "f"),
            (ToolDescription, "tools[0].function.description", "Does f."),
            (ToolDescription, "tools[0].function.parameters.properties.name.description", "A name."),
            (ToolDescription, "tools[0].function.parameters.properties.description.items.description", "An item."),
            (ToolName, "tools[1].custom.name", "g"),
            (ToolDescription, "tools[1].custom.description", "Does g."),
            (ToolName, "functions[0].name", "h"),
            (ToolDescription, "functions[0].description", "Does h."),
        ],
    );
}

#[test]
fn texts_of_messages() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let body = json!({
        "model": "m", "max_tokens": 9,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "AAAA"},
                {"type": "text", "text": "Hi"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"text": "x"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "42"}, image]},
                {"content": "43", "type": "tool_result", "tool_use_id": "t"},
                image,
                {"type": "text", "text": "And this?"},
                {"type": "source", "title": "T", "context": "C", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
                {"type": "source", "source": {"type": "content", "content": [{"type": "text", "text": "E"}, image]}},
                {"type": "source", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
                {"type": "search_result", "source": "https://example.com", "title": "S", "content": [{"type": "text", "text": "F"}]},
            ]},
        ],
        "tools": [{"name": "f", "description": "Does f.", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}],
    });
    assert_texts(
        &body,
        &[
            (System, "system[0].text", "Be kind."),
            (User, "messages[0].content", "Hello"),
            (Assistant, "messages[1].content[2].text", "Hi"),
            (ToolResult, "messages[2].content[0].content[0].text", "42"),
            (ToolArgument, "messages[1].content[3].input", "x"),
            (ToolResult, "messages[2].content[1].content", "43"),
            (User, "messages[2].content[3].text", "And this?"),
            (User, "messages[2].content[4].title", "T"),
            (User, "messages[2].content[4].context", "C"),
            (User, "messages[2].content[4].source.data", "D"),
            (User, "messages[2].content[5].source.content[0].text", "E"),
            (User, "messages[2].content[7].title", "S"),
            (User, "messages[2].content[7].content[0].text", "F"),
            (ToolName, "tools[0].name", "f"),
            (ToolDescription, "tools[0].description", "Does f."),
            (ToolName, "tools[1].name", "bash"),
        ],
    );
    assert_texts(&json!({"system": "Be kind.", "messages": []}), &[(System, "system", "Be kind.")]);
    let batch = json!({"requests": [{"custom_id": "1", "params": {"messages": [{"role": "user", "content": "Hello"}]}}]});
    assert_texts(&batch, &[(User, "requests[0].params.messages[0].content", "Hello")]);
}

#[test]
fn texts_of_responses() {
    let body = json!({
        "model": "m", "instructions": "Be kind.",
        "prompt": {"id": "p", "variables": {"city": "Paris", "photo": {"type": "input_image", "file_id": "f"},
            "more": {"type": "input_text", "text": "sunny"}}},
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}, {"type": "input_image", "image_url": "data:,"}]},
            {"type": "message", "role": "developer", "content": "Be brief."},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "AAAA"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "43"}]},
            {"type": "shell_call_output", "call_id": "e", "output": [{"stdout": "44", "stderr": "", "outcome": {"type": "exit"}}]},
            {"type": "code_interpreter_call", "code": "1", "outputs": [{"type": "logs", "logs": "45"}]},
        ],
        "tools": [{"type": "mcp", "server_label": "s", "server_description": "A server."},
            {"type": "namespace", "name": "n", "description": "Tools.", "tools": [{"type": "function", "name": "f", "parameters": {}}]}],
    });
    assert_texts(
        &body,
        &[
            (System, "instructions", "Be kind."),
            (User, "prompt.variables.city", "Paris"),
            (User, "prompt.variables.more.text", "sunny"),
            (User, "input[0].content[0].text", "Hello"),
            (System, "input[1].content", "Be brief."),
            (Assistant, "input[3].content[0].text", "Hi"),
            (ToolResult, "input[5].output", "42"),
            (ToolResult, "input[6].output[0].text", "43"),
            (ToolResult, "input[7].output[0].stdout", "44"),
            (ToolResult, "input[7].output[0].stderr", ""),
            (ToolArgument, "input[8].code", "1"),
            (ToolResult, "input[8].outputs[0].logs", "45"),
            (ToolDescription, "tools[0].server_description", "A server."),
            (ToolName, "tools[1].name", "n"),
            (ToolDescription, "tools[1].description", "Tools."),
            (ToolName, "tools[1].tools[0].name", "f"),
        ],
    );
    assert_texts(&json!({"input": "Hello"}), &[(User, "input", "Hello")]);
}

#[test]
fn texts_of_embeddings_and_completions() {
    assert_texts(&json!({"input": ["a", "b"]}), &[(User, "input[0]", "a"), (User, "input[1]", "b")]);
    assert_texts(&json!({"prompt": "a", "suffix": "b"}), &[(User, "prompt", "a"), (User, "suffix", "b")]);
    for tokens in [json!({"input": [1, 2]}), json!({"input": [[1], [2]]}), json!({"prompt": [[1]]})] {
        assert_eq!(read(tokens.to_string().as_bytes()), Err(DecodeError::Tokens), "{tokens}");
    }
}

#[test]
fn what_readers_could_take_differently_is_refused() {
    for body in [
        r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#,
        r#"{"messages":[{"role":"user","role":"system","content":"a"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a","t\u0065xt":"b"}]}]}"#,
        r#"{"messages":[],"messages":[]}"#,
        r#"{"messages":null,"messages":[]}"#,
        r#"{"tools":[{"name":"f","description":"a","description":"b"}]}"#,
        r#"{"requests":[{"params":{},"params":{}}]}"#,
        r#"{"messages":[{"role":"user","content":"\ud800"}]}"#,
        r#"{"messages":[{"role":"\ud800","content":"a"}]}"#,
        r#"{"messages":[{"role":"user","content":"a"}]"#,
        r#"{"messages":[{"role":"user","content":"a"}]}}"#,
        "{\"messages\":\"a\u{0}\"}",
    ] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn nesting_and_numbers_are_bounded() {
    for (open, close) in [("[", "]"), (r#"{"content":"#, "}")] {
        let nested = |levels: usize| format!("{{\"messages\":{}\"a\"{}}}", open.repeat(levels), close.repeat(levels));
        assert_eq!(read(nested(40).as_bytes()).unwrap().len(), 1);
        assert!(matches!(read(nested(5000).as_bytes()), Err(DecodeError::Malformed { .. })));
    }
    let deep = format!("{{\"tools\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(read(deep.as_bytes()), Err(DecodeError::Malformed { .. })));
    let many = |number: usize| json!({"input": vec!["a"; number]}).to_string();
    assert_eq!(read(many(MAX_REQUEST_PARTS).as_bytes()).unwrap().len(), MAX_REQUEST_PARTS);
    assert_eq!(read(many(MAX_REQUEST_PARTS + 1).as_bytes()), Err(DecodeError::TooManyParts));
}

#[test]
fn a_rewrite_keeps_every_other_byte() {
    let body = concat!(
        "\n{ \"z\" : 1.50e+3, \"messages\":[ {\"content\" : \"a\\u0062c\" ,\"role\":\"user\"}",
        ",{\"role\":\"user\",\"content\":[{\"text\":\"x\",\"a\":[ ]}]}] , \"a\":{\"b\":-0} }\r\n"
    );
    let parts = read(body.as_bytes()).unwrap();
    assert_eq!(parts.iter().map(|part| part.text.as_ref()).collect::<Vec<_>>(), ["abc", "x"]);
    let mut rewrite = RequestRewrite::new(body.as_bytes());
    rewrite.replace(&parts[1], "\"\\\n\u{1}é");
    let changed = String::from_utf8(rewrite.into_body().unwrap()).unwrap();
    assert_eq!(changed, body.replace("\"x\"", "\"\\\"\\\\\\n\\u0001é\""));
    assert_eq!(RequestRewrite::new(body.as_bytes()).into_body(), None);
}

/// A request with texts of all scopes, among members that nobody knows.
fn request() -> impl Strategy<Value = Json> {
    let text = "(?s).{0,20}";
    let block = prop_oneof![
        text.prop_map(|text| json!({"type": "text", "text": text, "zzz": 1})),
        text.prop_map(|text| json!({"type": "image", "source": {"type": "base64", "data": text}})),
        proptest::collection::vec(text, 0..3).prop_map(|texts| {
            let parts: Vec<_> = texts.into_iter().map(|text| json!({"type": "text", "text": text})).collect();
            json!({"type": "tool_result", "content": parts})
        }),
    ];
    let role = prop_oneof![Just("user"), Just("assistant"), Just("system"), Just("tool"), Just("other")];
    let content =
        prop_oneof![text.prop_map(Json::from), proptest::collection::vec(block, 0..4).prop_map(Json::from), Just(Json::Null)];
    let message =
        (role, content, text).prop_map(|(role, content, other)| json!({"role": role, "content": content, "unknown": other}));
    (proptest::collection::vec(message, 0..5), text, proptest::collection::vec(text, 0..3)).prop_map(
        |(messages, system, descriptions)| {
            let tools: Vec<_> = descriptions.into_iter().map(|text| json!({"name": "f", "description": text})).collect();
            json!({"messages": messages, "system": system, "tools": tools, "metadata": {"text": "x"}, "n": 1.0})
        },
    )
}

proptest! {
    #[test]
    fn replaced_texts_read_back_and_all_else_stays(
        request in request(),
        pretty in any::<bool>(),
        replacements in proptest::collection::vec(proptest::option::of("(?s).{0,20}"), 20),
    ) {
        let body = if pretty { serde_json::to_string_pretty(&request).unwrap() } else { request.to_string() };
        let parts = read(body.as_bytes()).unwrap();
        let mut rewrite = RequestRewrite::new(body.as_bytes());
        let mut expected = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let new = replacements[index % replacements.len()].as_deref();
            if let Some(new) = new {
                rewrite.replace(part, new);
            }
            expected.push((part.scope, part.path.clone(), new.unwrap_or(&part.text).to_owned()));
        }
        let changed = rewrite.into_body().unwrap_or_else(|| body.clone().into_bytes());
        let found = read(&changed).unwrap();
        let read_back: Vec<_> = found.iter().map(|part| (part.scope, part.path.clone(), part.text.to_string())).collect();
        prop_assert_eq!(read_back, expected);
        // What stands between the texts is the same, byte for byte.
        prop_assert_eq!(between(body.as_bytes(), &parts), between(&changed, &found));
    }
}

fn between<'b>(body: &'b [u8], parts: &[RequestPart<'_>]) -> Vec<&'b [u8]> {
    let starts = core::iter::once(0).chain(parts.iter().map(|part| part.literal.end));
    let ends = parts.iter().map(|part| part.literal.start).chain([body.len()]);
    starts.zip(ends).map(|(start, end)| &body[start..end]).collect()
}
