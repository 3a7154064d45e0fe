//! Summaries in the place of texts in which a rule matches.

use serde_json::{Value, json};
use weir::document::Document;
use weir_driver::{Outcome, Player, Recording, RequestOutcome, ServiceReply, Split};
use weir_test_support::answer::Said;
use weir_test_support::script;

use crate::exchange::{
    DIALECTS, LS, TEXT, decision, each, message, play, player, player_of, reason, recording, sent, unchanged, with_result,
};

/// A rule by which texts with `nightingale` are summarised.
fn summary_rule(summary: &Value, rule: &Value) -> Value {
    let mut settings = json!({"judge": "one", "max_bytes": 64, "message": "[withheld]"});
    settings.as_object_mut().unwrap().extend(summary.as_object().unwrap().clone());
    let mut own = json!({"id": "bird", "match": {"terms": ["nightingale"]}, "action": "summary", "category": "birds"});
    own.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    json!([{"use": "rules", "with": {"summary": settings, "rules": [own]}}])
}

const SINGS: Said<'static> = Said::Text(&["The night", "ingale ", "sings at dawn."]);

#[test]
fn a_rule_puts_a_summary_in_the_place_of_an_answers_text_and_leaves_others_as_they_are() {
    each(|dialect, streamed| {
        let player = player(&summary_rule(&json!({}), &json!({"answer": ["text"]}))).answering(|question| {
            let body: Value = serde_json::from_slice(&question.body).unwrap();
            assert!(body["messages"][1]["content"].as_str().unwrap().contains("The nightingale sings at dawn."));
            ServiceReply::content("A bird sings.")
        });
        let outcome = play(&player, &recording(dialect, streamed, unchanged, &[SINGS, LS]));
        let said = message(dialect, streamed, &outcome);
        assert_eq!((said.only().text.as_str(), said.only().calls.len()), ("A bird sings.", 1), "{dialect} {streamed}");
        assert!(!String::from_utf8_lossy(&outcome.client).contains("ingale"), "{dialect} {streamed}");
        assert_eq!((decision(&outcome), reason(&outcome)), ("summary".to_owned(), "RULE_SUMMARISED".to_owned()));
        assert_eq!(outcome.enforcement()["triggered_categories"], json!(["birds"]));
        assert_eq!(outcome.enforcement()["denylist_hits"], json!(["bird"]));
        let told = &outcome.events_of("rules.summarised")[0].metadata;
        assert_eq!((&told["rules"], &told["bytes"], &told["summary_bytes"]), (&json!(["bird"]), &json!(30), &json!(13)));
        let by_rule = &outcome.events_of("rules.matched")[0].metadata["by_rule"];
        assert_eq!(*by_rule, json!({"bird": {"action": "summary", "request": 0, "answer": 1}}));
        let other = play(&player, &recording(dialect, streamed, unchanged, &[TEXT, LS]));
        assert_eq!(message(dialect, streamed, &other).only().text, "I will do it.", "{dialect} {streamed}");
        assert_eq!((decision(&other), other.callouts.len()), ("allow".to_owned(), 0));
    });
}

#[test]
fn a_rule_puts_the_same_summary_in_the_place_of_a_result_of_a_tool_without_what_other_rules_take_out() {
    each(|dialect, streamed| {
        let mut chain = summary_rule(&json!({}), &json!({"answer": [], "request": ["tool_result"]}));
        let key = json!({"id": "key", "match": {"terms": ["hunter2"]}});
        chain[0]["with"]["rules"].as_array_mut().unwrap().push(key);
        let player = player(&chain).answering(|question| {
            let body = String::from_utf8_lossy(&question.body).into_owned();
            assert!(body.contains("nightingale [redacted]") && !body.contains("hunter2"), "{body}");
            ServiceReply::content("A bird.")
        });
        let recording = recording(dialect, streamed, with_result(dialect, "nightingale hunter2"), &[TEXT]);
        let (first, again) = (play(&player, &recording), play(&player, &recording));
        assert_eq!((first.callouts.len(), again.callouts.len()), (1, 0), "{dialect} {streamed}");
        assert_eq!(sent(&first), sent(&again));
        assert!(sent(&first).contains("A bird.") && !sent(&first).contains("nightingale"), "{}", sent(&first));
        assert_eq!((decision(&first), reason(&first)), ("summary".to_owned(), "RULE_SUMMARISED".to_owned()));
        assert_eq!(message(dialect, streamed, &first).only().text, "I will do it.");
    });
}

#[test]
fn every_rule_that_matched_is_told_of_where_one_summary_takes_the_place_of_the_text() {
    each(|dialect, streamed| {
        let mut chain = summary_rule(&json!({}), &json!({}));
        // Shorter than what stands for a match: none of them hides the next.
        let at = json!({"id": "time", "match": {"terms": ["at"]}, "action": "summary", "request": [], "category": "times"});
        let dawn = json!({"id": "light", "match": {"terms": ["dawn"]}, "action": "summary", "request": []});
        chain[0]["with"]["rules"].as_array_mut().unwrap().extend([at, dawn]);
        let player = player(&chain).answering(|_| ServiceReply::content("A bird sings."));
        let outcome = play(&player, &recording(dialect, streamed, unchanged, &[SINGS]));
        assert_eq!(outcome.callouts.len(), 1, "{dialect} {streamed}");
        assert_eq!(outcome.events_of("rules.summarised")[0].metadata["rules"], json!(["bird", "time", "light"]));
        assert_eq!(outcome.enforcement()["triggered_categories"], json!(["birds", "times"]));
    });
}

#[test]
fn a_text_in_which_a_rule_matched_does_not_pass_without_its_summary_unless_it_may() {
    let replies: [fn() -> ServiceReply; 9] = [
        ServiceReply::broken,
        ServiceReply::not_sent,
        ServiceReply::silence,
        || ServiceReply::response(500, "{}"),
        || ServiceReply::response(200, "nightingale"),
        || ServiceReply::response(200, r#"{"choices":[{"message":{"content":7}}]}"#),
        || ServiceReply::response(200, " ".repeat(70_000)),
        || ServiceReply::content(""),
        || ServiceReply::content("This summary is longer than the sixty-four bytes that the policy allows."),
    ];
    each(|dialect, streamed| {
        for reply in replies {
            for (on_error, expected) in [("block", "[withheld]"), ("allow", "The nightingale sings at dawn.")] {
                let chain = summary_rule(&json!({"on_error": on_error}), &json!({}));
                let player = player(&chain).answering(move |_| reply());
                let said = "The nightingale sings at dawn.";
                let in_request = play(&player, &recording(dialect, streamed, with_result(dialect, said), &[TEXT]));
                let body = if in_request.request == RequestOutcome::Sent { said.to_owned() } else { sent(&in_request) };
                assert!(body.contains(expected), "{dialect} {on_error}: {body}");
                let in_answer = play(&player, &recording(dialect, streamed, unchanged, &[SINGS]));
                assert_eq!(message(dialect, streamed, &in_answer).only().text, expected, "{dialect} {streamed} {on_error}");
                let (decided, code) = if on_error == "block" { ("refuse", "SUMMARY_FAILED") } else { ("allow", "ALLOW") };
                for outcome in [&in_request, &in_answer] {
                    assert_eq!((decision(outcome).as_str(), reason(outcome).as_str()), (decided, code), "{dialect} {streamed}");
                    assert_eq!(outcome.events_of("rules.summary_failed").len(), 1);
                    assert_eq!(outcome.enforcement()["triggered_categories"], json!(["birds"]));
                }
            }
        }
    });
}

#[test]
fn a_rule_that_cannot_summarise_is_refused_by_its_name_when_it_is_loaded() {
    let refused = |chain: Value, path: &str, words: &[&str]| {
        let document = json!({"policy": {"id": "p"}, "chain": chain, "judges": {"one": {"cluster": "c", "model": "m"}}});
        let error = Document::parse(&document.to_string(), &weir_policies::registry(), &|_| None).unwrap_err();
        assert_eq!(error.path, format!("chain[0].with.{path}"), "{error}");
        assert!(words.iter().all(|word| error.message.contains(word)), "{error}");
    };
    let none = json!({});
    for scope in ["reasoning", "refusal", "tool_argument"] {
        refused(summary_rule(&none, &json!({"answer": [scope]})), "rules[0].answer", &["bird", scope]);
    }
    refused(summary_rule(&none, &json!({"request": ["tool_argument"]})), "rules[0].request", &["bird", "tool_argument"]);
    refused(summary_rule(&json!({"judge": "nobody"}), &none), "summary.judge", &[]);
    refused(summary_rule(&json!({"max_bytes": 1}), &none), "summary.max_bytes", &[]);
    refused(summary_rule(&none, &json!({"action": "redact"})), "summary", &[]);
    let mut without_model = summary_rule(&none, &none);
    without_model[0]["with"].as_object_mut().unwrap().remove("summary");
    refused(without_model, "rules[0].action", &["bird"]);
    let mut mixed = summary_rule(&none, &none);
    mixed[0]["with"]["rules"].as_array_mut().unwrap().push(json!({"id": "other", "match": {"terms": ["owl"]}}));
    refused(mixed, "rules[0].answer", &["bird", "other", "text"]);
}

/// A result of an MCP server with these texts, as JSON and as an event stream.
fn results(texts: &[&str]) -> [Recording; 2] {
    let content: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": content}});
    let call = script::mcp_call(1, "read", &json!({"path": "nightingale"}));
    let recording = Recording::post("/mcp", call.to_string()).header("accept", "application/json, text/event-stream");
    [recording.clone().whole(result.to_string()), recording.streamed(format!("event: message\ndata: {result}\n\n"))]
}

#[test]
fn a_rule_puts_a_summary_in_the_place_of_each_result_of_an_mcp_server_in_which_it_matches() {
    for recording in results(&["The nightingale sings.", "It rains."]) {
        let player = player(&summary_rule(&json!({}), &json!({}))).answering(|question| {
            let body = String::from_utf8_lossy(&question.body).into_owned();
            assert!(body.contains("nightingale sings") && !body.contains("rains"), "{body}");
            ServiceReply::content("A bird sings.")
        });
        let outcome = play(&player, &recording);
        let text = outcome.text();
        assert!(text.contains("A bird sings.") && text.contains("It rains.") && !text.contains("nightingale"), "{text}");
        assert_eq!((outcome.callouts.len(), outcome.request.clone()), (1, RequestOutcome::Sent), "{text}");
        assert_eq!((decision(&outcome), reason(&outcome)), ("summary".to_owned(), "RULE_SUMMARISED".to_owned()));

        let silent = play(&player.answering(|_| ServiceReply::silence()), &recording);
        let text = silent.text();
        assert!(text.contains("[withheld]") && text.contains("It rains.") && !text.contains("nightingale"), "{text}");
        assert_eq!(reason(&silent), "SUMMARY_FAILED");
    }
}

/// Plays a stream of events of `messages` in which a rule matches, and of which no model may be asked.
fn unwritable(limits: &Value, on_error: &str, events: &[Value]) -> Outcome {
    let stream: String =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect();
    let body = script::request_body(weir::dialect::Dialect::Messages, true);
    let recording = Recording::post("/v1/messages", body.to_string()).streamed(stream);
    let chain = summary_rule(&json!({"on_error": on_error}), &json!({}));
    let document = json!({"policy": {"id": "table"}, "chain": chain, "limits": limits,
        "judges": {"one": {"cluster": "judge", "model": "m"}}});
    let outcome = play(&player_of(&document), &recording);
    assert_eq!(outcome.callouts.len(), 0, "{}", outcome.text());
    outcome
}

fn begin() -> Value {
    let message = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": null,
        "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}});
    json!({"type": "message_start", "message": message})
}

fn text_block(index: usize) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}})
}

fn text_delta(index: usize, text: &str) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}})
}

fn end(index: usize) -> Vec<Value> {
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    vec![
        json!({"type": "content_block_stop", "index": index}),
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

/// The metadata of the event that there is no summary.
fn failed(outcome: &Outcome) -> Value {
    json!(outcome.events_of("rules.summary_failed")[0].metadata)
}

#[test]
fn a_text_that_is_longer_than_what_is_kept_of_it_has_no_summary_whether_a_rule_matched_or_not() {
    for (start, rules) in [("nightingale ", json!(["bird"])), ("a bird ", json!([]))] {
        let rest = "and on and on ".repeat(400);
        let mut events = vec![begin(), text_block(0), text_delta(0, start), text_delta(0, &rest)];
        events.extend(end(0));
        for (on_error, is_withheld) in [("block", true), ("allow", false)] {
            let outcome = unwritable(&json!({"max_response_bytes": 4096}), on_error, &events);
            assert_eq!(outcome.text().contains("[withheld]"), is_withheld, "{start} {on_error}");
            assert_eq!(outcome.text().contains(start), !is_withheld, "{start} {on_error}");
            assert_eq!((&failed(&outcome)["error"], &failed(&outcome)["rules"]), (&json!("text_incomplete"), &rules), "{start}");
        }
    }
}

#[test]
fn a_text_that_clients_read_differently_has_no_summary() {
    let mut events = vec![begin(), text_block(0), text_delta(0, "the night"), text_block(0), text_delta(0, "ingale sings")];
    events.extend(end(0));
    for on_error in ["block", "allow"] {
        let outcome = unwritable(&json!({}), on_error, &events);
        assert_eq!(failed(&outcome)["error"], "text_incomplete", "{on_error}: {}", outcome.text());
        assert_eq!(outcome.text().contains("[withheld]"), on_error == "block", "{}", outcome.text());
        assert_eq!(outcome.text().contains("ingale"), on_error == "allow", "{}", outcome.text());
    }
}

#[test]
fn what_is_of_unknown_type_is_dropped_where_a_rule_matches_since_no_summary_can_stand_in_its_place() {
    for (word, is_dropped) in [("nightingale", true), ("owl", false)] {
        let block = json!({"type": "song", "words": format!("the {word} sings")});
        let mut events = vec![begin(), json!({"type": "content_block_start", "index": 0, "content_block": block})];
        events.extend(end(0));
        let outcome = unwritable(&json!({}), "block", &events);
        assert_eq!(!outcome.text().contains(word), is_dropped, "{}", outcome.text());
        assert_eq!(decision(&outcome), if is_dropped { "refuse" } else { "allow" });
        if is_dropped {
            assert_eq!(failed(&outcome)["error"], "text_incomplete");
        }
    }
}

/// A player whose model numbers its summaries by the texts.
fn numbering(fields: &Value) -> Player {
    player(&summary_rule(fields, &json!({"answer": []}))).answering(|question| {
        let body = String::from_utf8_lossy(&question.body).into_owned();
        let number: String = body.split("nightingale ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        ServiceReply::content(&format!("Bird {number}.")).after(1)
    })
}

/// A request whose user says these texts, one a message.
fn saying(texts: Vec<String>) -> impl Fn(&mut Value) {
    move |body| {
        let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let field = if body.get("input").is_some() { "input" } else { "messages" };
        body[field] = messages.into();
    }
}

fn birds(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("nightingale {number} sings")).collect()
}

#[test]
fn the_texts_of_a_request_are_summarised_at_the_same_time_each_once() {
    each(|dialect, streamed| {
        let player = numbering(&json!({}));
        let mut texts = birds(5);
        texts.push(texts[2].clone());
        let recording = recording(dialect, streamed, saying(texts), &[TEXT]);
        let mut playing = player.begin();
        // The model has answered none of them.
        let mut asked = Vec::new();
        for step in recording.steps(&Split::Events) {
            playing.take(&step);
            asked.push((playing.outcome().callouts.len(), playing.outcome().request.clone()));
        }
        assert!(asked.contains(&(5, RequestOutcome::Held)), "{dialect} {streamed}: {asked:?}");
        drop(playing.finish());
        let outcome = play(&player.anew(), &recording);
        let body: Value = serde_json::from_str(&sent(&outcome)).unwrap();
        let messages = body.get("messages").or_else(|| body.get("input")).unwrap().as_array().unwrap();
        let said: Vec<_> = messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
        assert_eq!(said, ["Bird 0.", "Bird 1.", "Bird 2.", "Bird 3.", "Bird 4.", "Bird 2."], "{dialect} {streamed}");
        assert_eq!(play(&player, &recording).callouts.len(), 0, "they are kept");
    });
}

#[test]
fn of_a_request_no_more_than_32_texts_are_summarised_and_the_others_are_for_on_error() {
    for dialect in DIALECTS {
        for (on_error, others) in [("block", "[withheld]"), ("allow", "nightingale")] {
            let outcome = play(&numbering(&json!({"on_error": on_error})), &recording(dialect, true, saying(birds(40)), &[TEXT]));
            assert_eq!(outcome.callouts.len(), 32, "{dialect}");
            let body = sent(&outcome);
            assert!(body.contains("\"Bird 31.\"") && !body.contains("Bird 32") && !body.contains("nightingale 31 "), "{body}");
            assert_eq!(body.matches(others).count(), 8, "{dialect} {on_error}: {body}");
            let failed = outcome.events_of("rules.summary_failed");
            assert_eq!(failed.len(), 8, "{dialect}");
            assert!(failed.iter().all(|event| event.metadata["error"] == "too_many_texts"));
            assert_eq!(decision(&outcome), if on_error == "block" { "refuse" } else { "summary" }, "{dialect}");
        }
    }
}

#[test]
fn evidence_shows_the_summarised_text_without_what_the_rule_found() {
    for dialect in DIALECTS {
        let document = json!({"policy": {"id": "table"}, "chain": summary_rule(&json!({}), &json!({})),
            "evidence": {"before": true, "after": true}, "judges": {"one": {"cluster": "judge", "model": "m"}}});
        let player = player_of(&document).answering(|_| ServiceReply::content("A nightingale's song."));
        let outcome = play(&player, &recording(dialect, true, unchanged, &[SINGS]));
        let changes = outcome.enforcement()["changes"].clone();
        assert_eq!(changes[0]["before"]["text"], "The [redacted] sings at dawn.", "{dialect}: {changes}");
        assert!(!outcome.enforcement().to_string().contains("ightingale"), "{dialect}: {changes}");
    }
}
