//! The wire rules of `chat.completions`: each test is one.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::client::{self, Message};
use weir_test_support::native::Outcome;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, fixtures, legality, sse};

use crate::{play, test};

const CHAT: Dialect = Dialect::ChatCompletions;

/// Streams a fixture through the judge: `harmful` is the tool that it has something against.
fn judged(fixture: &str, harmful: &str) -> (Outcome, Message) {
    let body = fixtures::stream(CHAT, fixture);
    let script = Script::events(CHAT, document(json!([{"use": "ask_judge"}])), body)
        .judged(JudgeRule::new(harmful, JudgeReply::Verdict(0.9)))
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
    let outcome = play(&script);
    let added = legality::added(&legality::stream(CHAT, body), legality::stream(CHAT, &outcome.client));
    legality::assert_none(&added, &outcome.client);
    let message = client::streamed(CHAT, &outcome.client);
    (outcome, message)
}

fn chain(chain: Value, fixture: &str) -> (Outcome, Message) {
    let outcome = play(&Script::events(CHAT, document(chain), fixtures::stream(CHAT, fixture)));
    legality::assert_stream(CHAT, &outcome.client);
    let message = client::streamed(CHAT, &outcome.client);
    (outcome, message)
}

#[track_caller]
fn assert_blocked(fixture: &str) {
    let (outcome, message) = judged(fixture, "/srv/data");
    let tools = message.choices.iter().flat_map(|choice| choice.tools()).collect::<Vec<_>>();
    assert!(!tools.contains(&"delete_files") && !outcome.text().contains("/srv"), "{}", outcome.text());
    let asked = outcome.callouts.iter().filter(|callout| String::from_utf8_lossy(&callout.body).contains("/srv/data")).count();
    assert_eq!(asked, 1, "the call was judged, once");
}

#[test]
fn several_calls_in_one_chunk_are_judged_each() {
    let (outcome, message) = judged("calls_in_one_chunk", "delete_files");
    assert_eq!((outcome.callouts.len(), message.only().tools()), (2, vec!["get_weather"]));
    assert!(!outcome.text().contains("/srv/data"), "{}", outcome.text());
}

#[test]
fn the_last_call_and_the_finish_reason_in_one_chunk() {
    let (_, message) = judged("calls_in_one_chunk", "");
    assert_eq!((message.only().finish.as_str(), message.only().calls.len()), ("stop", 0));
    let (outcome, _) = judged("calls_in_one_chunk", "nothing");
    assert_eq!(outcome.client, fixtures::stream(CHAT, "calls_in_one_chunk"));
}

#[test]
fn interleaved_indices() {
    assert_blocked("interleaved_tool_calls");
    let (_, message) = judged("interleaved_tool_calls", "delete_files");
    assert_eq!(message.only().calls[0].arguments, r#"{"city":"Paris","unit":"celsius"}"#);
}

#[test]
fn deltas_without_an_index() {
    assert_blocked("calls_without_index");
}

#[test]
fn an_id_or_a_name_that_arrives_late() {
    assert_blocked("late_id_and_name");
    let (outcome, _) = chain_unchecked(json!([{"use": "watch"}]), "late_id_and_name");
    let call = &outcome.events_of("watch.tool_call")[0].metadata;
    assert_eq!((&call["name"], &call["valid"]), (&json!("delete_files"), &json!(true)));
}

fn chain_unchecked(chain: Value, fixture: &str) -> (Outcome, Message) {
    let outcome = play(&Script::events(CHAT, document(chain), fixtures::stream(CHAT, fixture)));
    let message = client::streamed(CHAT, &outcome.client);
    (outcome, message)
}

#[test]
fn content_after_a_tool_call() {
    assert_blocked("content_after_call");
    let (_, message) = judged("content_after_call", "delete_files");
    assert!(message.only().text.contains("That was the call."), "{message:?}");
}

#[test]
fn content_and_a_tool_delta_in_one_chunk() {
    assert_blocked("content_and_call");
    let (_, message) = judged("content_and_call", "delete_files");
    assert!(message.only().text.starts_with("Now: done.") || message.only().text.ends_with("Now: done."), "{message:?}");
}

#[test]
fn text_flows_while_a_call_is_held() {
    let body = fixtures::stream(CHAT, "content_after_call");
    let chunks = chunking::events(body);
    let text = chunks.iter().position(|chunk| String::from_utf8_lossy(chunk).contains("That was")).unwrap();
    let script = Script::streamed(CHAT, document(json!([{"use": "ask_judge"}])), chunks)
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.9)).after(usize::MAX));
    let outcome = play(&script);
    legality::assert_stream(CHAT, &outcome.client);
    let request_and_head = 3;
    assert!(outcome.releases.iter().any(|release| release.step == request_and_head + text), "{:#?}", outcome.releases);
}

#[test]
fn the_usage_chunk_comes_after_the_finish_reason() {
    let (outcome, _) = judged("tool_call", "get_weather");
    let events = sse::read(&outcome.client);
    let position = |what: &str| events.iter().rposition(|event| event.data.contains(what)).unwrap();
    assert!(position("\"finish_reason\":\"stop\"") < position("\"prompt_tokens\":84"), "{}", outcome.text());
    assert_eq!(events.last().unwrap().data, "[DONE]");
}

#[test]
fn unknown_and_rare_fields_are_kept_when_a_chunk_is_changed() {
    let (outcome, message) = chain(json!([{"use": "uppercase"}]), "odd_fields");
    assert_eq!(message.only().text, "Aé🌊/");
    for kept in ["\"x_unknown\":{\"deep\":[[[]]],\"number\":1.50,\"big\":123456789012345678901234567890}", ": keep-alive"] {
        assert!(outcome.text().contains(kept), "{kept} is lost in {}", outcome.text());
    }
    let (outcome, _) = chain(json!([{"use": "uppercase"}]), "text");
    for kept in [
        "\"obfuscation\":\"9ZqT\"",
        "\"system_fingerprint\":\"fp_4c2851f862\"",
        "\"service_tier\":\"default\"",
        "\"logprobs\":null",
    ] {
        assert!(outcome.text().contains(kept), "{kept} is lost in {}", outcome.text());
    }
}

#[test]
fn the_logprobs_of_replaced_text_do_not_tell_it() {
    let text = String::from_utf8(fixtures::stream(CHAT, "odd_fields").to_vec()).unwrap();
    let body = text.replace("A\\u00e9", "secret").replace("\"token\":\"A\"", "\"token\":\"secret\"");
    let outcome = play(&Script::events(CHAT, document(json!([{"use": "uppercase"}])), body.as_bytes()));
    assert!(outcome.text().contains("SECRET") && !outcome.text().contains("secret"), "{}", outcome.text());
}

#[test]
fn the_logprobs_of_replaced_text_in_a_whole_body_do_not_tell_it() {
    let body = String::from_utf8(fixtures::whole(CHAT, "text").to_vec()).unwrap();
    let (_, from) = body.split_once("\"content\": ").unwrap();
    let (text, _) = from.split_once(",\n").unwrap();
    let logprobs = format!(r#""logprobs": {{"content":[{{"token":{text},"logprob":-0.1,"top_logprobs":[]}}],"refusal":null}}"#);
    let with_logprobs = body.replacen("\"logprobs\": null", &logprobs, 1);
    assert_ne!(body, with_logprobs);
    let outcome = play(&Script::whole(CHAT, document(json!([{"use": "uppercase"}])), vec![with_logprobs.clone().into_bytes()]));
    assert!(!outcome.text().contains("Weir") && outcome.text().contains("\"logprobs\": null"), "{}", outcome.text());
    let untouched = play(&Script::whole(CHAT, document(json!([{"use": "watch"}])), vec![with_logprobs.clone().into_bytes()]));
    assert_eq!(untouched.text(), with_logprobs);
}

#[test]
fn a_transcript_is_text_and_the_sound_of_what_was_changed_does_not_leave() {
    let (outcome, _) = chain(json!([{"use": "watch"}]), "audio");
    assert_eq!(outcome.client, fixtures::stream(CHAT, "audio"));
    let whole = fixtures::whole(CHAT, "audio");
    assert_eq!(play(&Script::whole(CHAT, document(json!([{"use": "watch"}])), vec![whole.to_vec()])).client, whole);
    let changed = play(&Script::whole(CHAT, document(json!([{"use": "uppercase"}])), vec![whole.to_vec()]));
    let changed: Value = serde_json::from_slice(&changed.client).unwrap();
    let audio = &changed["choices"][0]["message"]["audio"];
    let transcript = audio["transcript"].as_str().unwrap();
    assert!(!transcript.is_empty() && transcript == transcript.to_uppercase(), "{audio}");
    assert!(audio.get("data").is_none(), "{audio}");
}

#[test]
fn azures_first_chunk_passes_and_lends_its_empty_identity_to_no_other() {
    let (outcome, message) = chain(json!([{"use": "hold_text", "with": {"with": "Something else."}}]), "azure");
    assert_eq!(message.only().text, "Something else.");
    let events = sse::read(&outcome.client);
    assert!(events[0].data.contains("\"prompt_filter_results\":[{\"prompt_index\":0"), "{}", outcome.text());
    let ours = events.iter().find(|event| event.data.contains("Something else.")).unwrap();
    assert!(ours.data.contains("\"id\":\"chatcmpl-C7hTq2wZbX0mJrV5LkYd3NsEa91Pu\""), "{}", ours.data);
}

#[test]
fn a_server_that_leaves_out_indices_roles_and_the_finish_reason_is_governed_too() {
    let body = fixtures::stream(CHAT, "bare_chunks");
    for (probability, tools, text) in
        [(0.9, vec![], "I will delete.A tool call was blocked."), (0.1, vec!["delete_files"], "I will delete.")]
    {
        let script = Script::events(CHAT, document(json!([{"use": "ask_judge"}])), body);
        let outcome = play(&script.judged(JudgeRule::new("/srv/data", JudgeReply::Verdict(probability))));
        let message = client::streamed(CHAT, &outcome.client);
        assert_eq!((message.only().text.as_str(), message.only().tools()), (text, tools), "{}", outcome.text());
        let calls = client::streamed(CHAT, body).only().tools().len();
        assert_eq!(message.only().tools().len() == calls, probability < 0.5, "what passes says what came");
    }
}

#[test]
fn a_chunk_under_the_name_of_another_apis_event_leaves_without_the_name() {
    let came = String::from_utf8(fixtures::stream(CHAT, "text").to_vec()).unwrap();
    let body = came.replacen("data: ", "event: thread.message.delta\ndata: ", 1);
    let outcome = play(&Script::events(CHAT, document(json!([{"use": "watch"}])), body.as_bytes()));
    assert_eq!(outcome.text(), came);
}

#[test]
fn a_refusal_is_kept() {
    let (_, message) = chain(json!([{"use": "drop_text"}]), "refusal");
    assert_eq!(message.only().refusal, "I cannot help with that.");
}

#[test]
fn reasoning_is_kept() {
    let (_, message) = chain(json!([{"use": "uppercase"}]), "reasoning");
    assert_eq!((message.only().reasoning.as_str(), message.only().text.as_str()), ("The user wants a word.", "WEIR."));
}

#[test]
fn a_legacy_function_call_is_judged() {
    assert_blocked("legacy_function_call");
    let (_, message) = judged("legacy_function_call", "delete_files");
    assert_eq!(message.only().finish, "stop");
}

#[test]
fn what_a_policy_puts_in_place_of_a_legacy_function_call_is_one() {
    let policies = json!([{"use": "deny_tool", "with": {"name": "delete_files", "with_call": true}}]);
    let (streamed, message) = chain(policies.clone(), "legacy_function_call");
    assert_eq!(message.only().finish, "function_call");
    let body = fixtures::whole(CHAT, "legacy_function_call").to_vec();
    let whole = play(&Script::whole(CHAT, document(policies), vec![body]));
    legality::assert_whole(CHAT, &whole.client);
    for outcome in [streamed, whole] {
        let text = outcome.text();
        assert!(text.contains(r#""function_call":"#) && text.contains(r#""noop""#) && !text.contains("tool_calls"), "{text}");
    }
}

#[test]
fn a_custom_tool_is_judged() {
    let (outcome, message) = judged("custom_tool", "rm -rf /srv/data");
    assert_eq!(outcome.callouts.len(), 1, "free text counts as arguments");
    assert!(message.only().calls.is_empty() && !outcome.text().contains("rm -rf"), "{}", outcome.text());
}

#[test]
fn calls_in_whole_bodies_are_judged_whatever_their_form() {
    for fixture in ["custom_tool", "legacy_function_call", "two_choices", "parallel_tool_calls"] {
        let script = Script::whole(CHAT, document(json!([{"use": "ask_judge"}])), vec![fixtures::whole(CHAT, fixture).to_vec()])
            .judged(JudgeRule::new("/srv/data", JudgeReply::Verdict(0.9)))
            .judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
        let outcome = play(&script);
        legality::assert_whole(CHAT, &outcome.client);
        assert!(!outcome.text().contains("/srv/data"), "{fixture}: {}", outcome.text());
    }
}

#[test]
fn every_choice_is_governed_with_its_own_blocks() {
    assert_blocked("two_choices");
    let (_, message) = judged("two_choices", "delete_files");
    let [first, second] = message.choices.as_slice() else { panic!("two choices were expected: {message:?}") };
    assert_eq!((first.text.as_str(), first.finish.as_str()), ("First answer.", "stop"));
    assert!(second.text.contains("blocked") && second.finish == "stop", "{second:?}");
}

#[test]
fn finish_reason_comes_once_and_done_comes_once() {
    for fixture in ["tool_call", "parallel_tool_calls", "calls_in_one_chunk"] {
        let (outcome, _) = judged(fixture, "");
        assert_eq!(outcome.text().matches("data: [DONE]").count(), 1);
        assert_eq!(outcome.text().matches("\"finish_reason\":\"").count(), 1, "{}", outcome.text());
    }
}

#[test]
fn done_comes_only_if_the_upstream_ended_properly() {
    let body = fixtures::stream(CHAT, "text");
    let cut = body.windows(6).rposition(|window| window == b"data: ").unwrap();
    for chain in [json!([{"use": "no_op"}]), json!([{"use": "uppercase"}]), json!([{"use": "hold_text", "with": {}}])] {
        let outcome = play(&Script::events(CHAT, document(chain), &body[..cut]));
        assert!(!outcome.text().contains("[DONE]"), "{}", outcome.text());
    }
}

#[test]
fn parallel_calls_that_are_left_keep_distinct_dense_indices() {
    let (_, message) = chain(json!([{"use": "deny_tool", "with": {"name": "get_weather"}}]), "parallel_tool_calls");
    assert_eq!(message.only().tools(), ["delete_files"]);
    let (_, message) =
        chain(json!([{"use": "deny_tool", "with": {"name": "get_weather", "with_call": true}}]), "parallel_tool_calls");
    assert_eq!(message.only().tools(), ["noop", "delete_files"]);
}

#[test]
fn the_message_is_never_left_empty() {
    for (fixture, policy) in [
        ("calls_in_one_chunk", json!([{"use": "ask_judge", "with": {"message": null}}])),
        ("text", json!([{"use": "drop_text"}])),
    ] {
        let script = Script::events(CHAT, document(policy), fixtures::stream(CHAT, fixture))
            .judged(JudgeRule::new("", JudgeReply::Verdict(1.0)));
        let outcome = play(&script);
        legality::assert_stream(CHAT, &outcome.client);
        assert!(!client::streamed(CHAT, &outcome.client).only().text.is_empty(), "{}", outcome.text());
    }
}

#[test]
fn every_other_finish_reason_is_preserved() {
    let (_, message) = judged("call_cut_by_length", "nothing");
    assert_eq!((message.only().finish.as_str(), message.only().calls.len()), ("length", 0));
    let body = String::from_utf8(fixtures::stream(CHAT, "text").to_vec()).unwrap();
    for reason in ["length", "content_filter"] {
        let body = body.replace("\"finish_reason\":\"stop\"", &format!("\"finish_reason\":\"{reason}\""));
        let outcome = play(&Script::events(CHAT, document(json!([{"use": "uppercase"}])), body.as_bytes()));
        assert_eq!(client::streamed(CHAT, &outcome.client).only().finish, reason);
    }
}

#[test]
fn an_upstream_error_in_mid_stream_passes() {
    let (outcome, message) = judged("error", "nothing");
    assert_eq!(outcome.client, fixtures::stream(CHAT, "error"));
    assert!(message.error.is_some());
}

#[test]
fn a_stream_answered_in_the_providers_place_is_a_normal_one() {
    let (_, message) = chain(json!([{"use": "block_stream", "with": {"text": "Not today."}}]), "tool_call");
    assert_eq!((message.only().text.as_str(), message.only().finish.as_str()), ("Not today.", "stop"));
}

#[test]
fn finished_output_ends_at_once_and_the_hooks_go_on_seeing() {
    let body = fixtures::stream(CHAT, "tool_call");
    let outcome = play(&Script::events(CHAT, document(json!([{"use": "finish_after", "with": {"bytes": 8}}])), body));
    legality::assert_stream(CHAT, &outcome.client);
    let message = client::streamed(CHAT, &outcome.client);
    assert_eq!((message.only().text.as_str(), message.only().finish.as_str()), ("I will [the end]", "stop"));
    assert_eq!(outcome.events_of("finish.late_send")[0].metadata["refused"], json!(true));
    assert_eq!(outcome.events_of("finish.seen").len(), 1, "input goes on being processed after the output is finished");
}

#[test]
fn a_call_whose_rest_is_dropped_with_held_text_says_that_it_was_cut() {
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
    };
    let call = |function: Value| json!([{"index": 0, "id": "call_1", "type": "function", "function": function}]);
    let rest = json!([{"index": 0, "function": {"arguments": "1}"}}]);
    let chunks = [
        chunk(
            json!({"role": "assistant", "content": "Now:", "tool_calls": call(json!({"name": "f", "arguments": "{\"a\":"}))}),
            Value::Null,
        ),
        chunk(json!({"content": " it is done.", "tool_calls": rest}), Value::Null),
        chunk(json!({}), json!("tool_calls")),
    ];
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect();
    // The text is let go at its end, and finishes the answer there and then: its chunks have the call in them, too.
    let document = document(json!([{"use": "hold_text"}, {"use": "finish_after", "with": {"bytes": 10}}]));
    let outcome = play(&Script::streamed(CHAT, document, vec![body.into_bytes()]));
    legality::assert_stream(CHAT, &outcome.client);
    assert_eq!(client::streamed(CHAT, &outcome.client).only().finish, "length", "{}", outcome.text());
}

#[test]
fn a_call_that_is_written_anew_keeps_its_thought_signature() {
    let call = |elements: &str| {
        format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{elements}]}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    // The index is not the call's place: clients differ about it.
    let first = call(
        r#"{"index":7,"id":"x","type":"function","extra_content":{"google":{"thought_signature":"c2ln"}},"function":{"name":"get_weather","arguments":"{\"city\":"}}"#,
    );
    let second = call(r#"{"index":7,"thought_signature":"ignored: one set is enough","function":{"arguments":"\"Rome\"}"}}"#);
    let finish =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let body = [first, second, finish.to_owned()].concat();
    let script = Script::events(CHAT, document(json!([{"use": "ask_judge"}])), body.as_bytes())
        .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
    let outcome = play(&script);
    let text = outcome.text();
    assert!(text.contains(r#""extra_content":{"google":{"thought_signature":"c2ln"}}"#), "{text}");
    assert!(text.contains(r#""index":0,"id":"x""#) && text.contains(r#""arguments":"{\"city\":\"Rome\"}""#), "{text}");
}

#[test]
fn the_rest_of_a_call_does_not_say_again_whose_it_is() {
    let chunk = |call: Value| {
        let choices = json!([{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": null}]);
        format!(
            "data: {}\n\n",
            json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
        )
    };
    let begins =
        json!({"index": 0, "id": "x", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":"}});
    // Clients that join what they are told would carry out get_weatherget_weather, or get_weather_everywhere.
    for goes_on in [
        json!({"index": 0, "id": "x", "function": {"name": "get_weather", "arguments": "\"Rome\"}"}}),
        json!({"index": 0, "id": "y", "function": {"arguments": "\"Rome\"}", "name": "_everywhere"}}),
        json!({"index": 0, "function": {"name": "get_weather"}}),
    ] {
        let finish = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
        let body = [chunk(begins.clone()), chunk(goes_on), format!("data: {finish}\n\ndata: [DONE]\n\n")].concat();
        let outcome = play(&Script::events(CHAT, document(json!([{"use": "no_op"}])), body.as_bytes()));
        let text = outcome.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        let chunks = data.map(|data| serde_json::from_str::<Value>(data).unwrap()).collect::<Vec<_>>();
        let joined = |pointer: &str| {
            let pointer = format!("/choices/0/delta/tool_calls/0/{pointer}");
            chunks.iter().filter_map(|chunk| chunk.pointer(&pointer)?.as_str()).collect::<String>()
        };
        assert_eq!((joined("function/name").as_str(), joined("id").as_str()), ("get_weather", "x"), "{text}");
        let arguments = joined("function/arguments");
        assert!(["{\"city\":", "{\"city\":\"Rome\"}"].contains(&arguments.as_str()), "{text}");
    }
}
