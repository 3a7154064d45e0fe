//! Rules for categories that a service of moderations tells of.

use core::time::Duration;

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::document::Document;
use weir::exchange::Callout;
use weir_driver::{Outcome, Player, Recording, RequestOutcome, ServiceReply};
use weir_test_support::answer::Said;
use weir_test_support::script;

use crate::exchange::{
    DIALECTS, LS, TEXT, decision, each, message, play, player_of, reason, recording, sent, unchanged, with_result,
};

const KNIFE: &str = "He draws a knife.";
const DRAWS: Said<'static> = Said::Text(&["He draws ", "a kni", "fe."]);

type Service = fn(&Callout) -> ServiceReply;

/// A document with rules and the service that they ask.
fn document(moderation: &Value, rules: &[Value]) -> Value {
    let mut settings = json!({"judge": "labels", "message": "unchecked"});
    settings.as_object_mut().unwrap().extend(moderation.as_object().unwrap().clone());
    let service =
        json!({"cluster": "moderations", "path": "/v1/moderations", "model": "omni", "timeout": "2s", "api_key": "own"});
    json!({"policy": {"id": "table"}, "judges": {"labels": service, "writer": {"cluster": "judge", "model": "w"}},
        "chain": [{"use": "rules", "with": {"moderation": settings, "rules": rules}}]})
}

/// A rule against violence.
fn rule(fields: &Value) -> Value {
    let mut rule = json!({"id": "harm", "match": {"categories": ["violence"]}, "action": "refuse", "message": "refused"});
    let own = rule.as_object_mut().unwrap();
    own.extend(fields.as_object().unwrap().clone());
    own.retain(|_, value| !value.is_null());
    rule
}

/// The rule with an action other than to refuse.
fn acting(action: &str, fields: &Value) -> Value {
    let mut all = json!({"action": action, "message": null});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    rule(&all)
}

fn moderated(document: &Value) -> Player {
    player_of(document).answering(violent)
}

/// The service: texts with knives are violent.
fn violent(question: &Callout) -> ServiceReply {
    assert_eq!((question.cluster.as_str(), question.path.as_str()), ("moderations", "/v1/moderations"));
    assert_eq!(question.authorization.as_deref(), Some("Bearer own"));
    ServiceReply::moderation(question, |text| if text.contains("knife") { vec![("violence".to_owned(), 0.75)] } else { vec![] })
}

fn asked(outcome: &Outcome) -> Vec<Vec<String>> {
    let bodies = outcome.callouts.iter().map(|question| serde_json::from_slice::<Value>(&question.body).unwrap());
    let texts = |input: &Value| input.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    bodies.map(|body| texts(&body["input"])).collect()
}

/// A conversation with these texts of the user, one a message.
fn saying(texts: Vec<String>) -> impl Fn(&mut Value) {
    move |body| {
        let messages: Vec<_> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let field = if body.get("input").is_some() { "input" } else { "messages" };
        body[field] = messages.into();
    }
}

#[test]
fn a_text_of_a_refused_category_reaches_no_client_in_any_part() {
    each(|dialect, streamed| {
        let document = document(&json!({}), &[rule(&json!({"request": []}))]);
        let outcome = play(&moderated(&document), &recording(dialect, streamed, unchanged, &[DRAWS, LS]));
        assert_eq!(asked(&outcome), [[KNIFE]], "{dialect} {streamed}");
        let text = outcome.text();
        assert!(text.contains("refused") && !text.contains("draws"), "{dialect} {streamed}: {text}");
        // A call of chat.completions is a field of its own, and does not wait for a text.
        assert_eq!(text.contains("shell"), streamed && dialect == Dialect::ChatCompletions, "{dialect} {streamed}: {text}");
        assert_eq!((decision(&outcome), reason(&outcome)), ("refuse".to_owned(), "RULE_REFUSED".to_owned()));
        assert_eq!(outcome.enforcement()["triggered_categories"], json!(["violence"]));
        assert_eq!(outcome.enforcement()["denylist_hits"], json!(["harm"]));
        let told = &outcome.events_of("rules.categorised")[0].metadata;
        let expected = json!({"rules": ["harm"], "judge": "labels", "categories": {"violence": 0.75}, "place": 0});
        assert_eq!(json!(told), expected);
        let by_rule = &outcome.events_of("rules.matched")[0].metadata["by_rule"];
        assert_eq!(*by_rule, json!({"harm": {"action": "refuse", "request": 0, "answer": 1}}));

        let harmless = recording(dialect, streamed, unchanged, &[TEXT]);
        let outcome = play(&moderated(&document), &harmless);
        assert_eq!(outcome.client, harmless.response.as_ref().unwrap().body, "{dialect} {streamed}");
        assert_eq!((decision(&outcome), outcome.callouts.len()), ("allow".to_owned(), 1));
    });
}

#[test]
fn every_action_does_to_a_text_of_an_answer_what_it_does_to_a_match() {
    let expected = [
        ("redact", json!({}), "[redacted]", "rewrite", "RULE_REDACTED"),
        ("redact", json!({"with": "…"}), "…", "rewrite", "RULE_REDACTED"),
        ("replace", json!({"with": "A scene.", "reason_code": "SCENE"}), "A scene.", "rewrite", "SCENE"),
        ("escalate", json!({"category": "own"}), KNIFE, "escalate", "RULE_ESCALATED"),
        ("observe", json!({}), KNIFE, "allow", "ALLOW"),
    ];
    each(|dialect, streamed| {
        for (action, fields, text, decided, code) in &expected {
            let document = document(&json!({}), &[acting(action, fields)]);
            let outcome = play(&moderated(&document), &recording(dialect, streamed, unchanged, &[DRAWS, LS]));
            let said = message(dialect, streamed, &outcome);
            assert_eq!((said.only().text.as_str(), said.only().calls.len()), (*text, 1), "{dialect} {streamed} {action}");
            assert_eq!((decision(&outcome).as_str(), reason(&outcome).as_str()), (*decided, *code), "{dialect} {streamed}");
            let categories = if *action == "escalate" { json!(["own", "violence"]) } else { json!(["violence"]) };
            assert_eq!(outcome.enforcement()["triggered_categories"], categories, "{dialect} {streamed} {action}");
        }
    });
}

#[test]
fn a_text_of_a_category_is_summarised_once_whatever_other_rules_have_it_summarised() {
    each(|dialect, streamed| {
        let terms = json!({"id": "knives", "match": {"terms": ["knife"]}, "action": "summary"});
        let mut document = document(&json!({}), &[acting("summary", &json!({})), terms]);
        document["chain"][0]["with"]["summary"] = json!({"judge": "writer"});
        let player = player_of(&document).answering(|question| {
            if question.cluster == "judge" { ServiceReply::content("A scene.") } else { violent(question) }
        });
        let answer = play(&player, &recording(dialect, streamed, unchanged, &[DRAWS]));
        assert_eq!(message(dialect, streamed, &answer).only().text, "A scene.", "{dialect} {streamed}");
        let request = play(&player, &recording(dialect, streamed, with_result(dialect, KNIFE), &[TEXT]));
        assert!(sent(&request).contains("A scene.") && !sent(&request).contains("knife"), "{dialect} {streamed}");
        for outcome in [&answer, &request] {
            let told = &outcome.events_of("rules.summarised")[0].metadata;
            assert_eq!(told["rules"].as_array().unwrap().len(), 2, "{dialect} {streamed}: {told:?}");
            assert_eq!(outcome.enforcement()["triggered_categories"], json!(["violence"]), "{dialect} {streamed}");
            assert_eq!(decision(outcome), "summary");
        }
    });
}

#[test]
fn all_texts_of_a_request_are_asked_about_in_one_question_as_other_rules_left_them() {
    each(|dialect, streamed| {
        let secret = json!({"id": "key", "match": {"terms": ["hunter2"]}, "request": ["user"], "answer": []});
        let document = document(&json!({}), &[secret, acting("redact", &json!({"answer": []}))]);
        let texts = ["hunter2 opens", "He draws a knife.", "  ", "and closes"].map(ToOwned::to_owned).to_vec();
        let outcome = play(&moderated(&document), &recording(dialect, streamed, saying(texts), &[TEXT]));
        assert_eq!(asked(&outcome), [["[redacted] opens", KNIFE, "and closes"]], "{dialect} {streamed}");
        let body: Value = serde_json::from_str(&sent(&outcome)).unwrap();
        let messages = body.get("messages").or_else(|| body.get("input")).unwrap();
        let said: Vec<_> = messages.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap()).collect();
        assert_eq!(said, ["[redacted] opens", "[redacted]", "  ", "and closes"], "{dialect} {streamed}");
        assert_eq!(decision(&outcome), "rewrite");
        let question: Value = serde_json::from_slice(&outcome.callouts[0].body).unwrap();
        assert_eq!(question["model"], "omni");
    });
}

#[test]
fn every_action_does_to_a_text_of_a_request_what_it_does_to_a_match() {
    each(|dialect, streamed| {
        for (action, decided) in [("refuse", "refuse"), ("escalate", "escalate"), ("observe", "allow")] {
            let own = if action == "refuse" { rule(&json!({})) } else { acting(action, &json!({})) };
            let player = moderated(&document(&json!({}), &[own]));
            let outcome = play(&player, &recording(dialect, streamed, with_result(dialect, KNIFE), &[TEXT]));
            let expected = if action == "refuse" { RequestOutcome::Answered } else { RequestOutcome::Sent };
            assert_eq!((decision(&outcome).as_str(), &outcome.request), (decided, &expected), "{dialect} {streamed} {action}");
            assert_eq!(outcome.enforcement()["triggered_categories"], json!(["violence"]), "{dialect} {streamed} {action}");
            let place = outcome.events_of("rules.categorised")[0].metadata["place"].as_str().unwrap().to_owned();
            assert!(place.contains('['), "{place}");
        }
    });
}

#[test]
fn a_request_is_allowed_by_a_category_of_its_newest_message() {
    each(|dialect, streamed| {
        let own = rule(&json!({"action": "allow", "match": {"categories": ["banking"], "threshold": 0.6}}));
        let player = player_of(&document(&json!({}), &[own])).answering(|question| {
            ServiceReply::moderation(question, |text| vec![("banking".to_owned(), if text.contains("loan") { 0.6 } else { 0.1 })])
        });
        let ask = |texts: &[&str]| {
            let texts = texts.iter().map(ToString::to_string).collect();
            play(&player, &recording(dialect, streamed, saying(texts), &[TEXT]))
        };
        let (allowed, refused) = (ask(&["A poem.", "My loan?"]), ask(&["My loan?", "A poem."]));
        assert_eq!((allowed.request.clone(), decision(&allowed)), (RequestOutcome::Sent, "allow".to_owned()));
        assert_eq!(allowed.enforcement()["allowlist_hits"], json!(["harm"]));
        assert_eq!((refused.request.clone(), reason(&refused)), (RequestOutcome::Answered, "NOT_ALLOWED".to_owned()));
        let silent =
            play(&player.clone().answering(|_| ServiceReply::silence()), &recording(dialect, streamed, unchanged, &[TEXT]));
        assert_eq!((silent.request.clone(), reason(&silent)), (RequestOutcome::Answered, "MODERATION_FAILED".to_owned()));
    });
}

#[test]
fn a_threshold_stands_in_the_place_of_the_services_own_word() {
    each(|dialect, streamed| {
        for (threshold, refuses) in [(json!(0.76), false), (json!(0.75), true), (json!(0), true), (Value::Null, true)] {
            let own = rule(&json!({"match": {"categories": ["viol*"], "threshold": threshold}}));
            let outcome = play(&moderated(&document(&json!({}), &[own])), &recording(dialect, streamed, unchanged, &[DRAWS]));
            assert_eq!(decision(&outcome) == "refuse", refuses, "{dialect} {streamed} {threshold}");
        }
    });
}

#[test]
fn many_texts_are_asked_about_at_once_in_questions_of_a_bounded_size_and_no_more_than_may_be() {
    each(|dialect, streamed| {
        let ask = |texts: Vec<String>, settings: &Value| {
            let player = moderated(&document(settings, &[rule(&json!({"answer": []}))]));
            play(&player, &recording(dialect, streamed, saying(texts), &[TEXT]))
        };
        let many = |count: usize| (0..count).map(|number| format!("text {number}")).collect::<Vec<_>>();
        let outcome = ask(many(40), &json!({}));
        assert_eq!(asked(&outcome).iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8], "{dialect} {streamed}");
        assert_eq!(asked(&outcome).concat(), many(40));
        assert_eq!(ask(many(3), &json!({"texts_per_question": 1})).callouts.len(), 3, "{dialect} {streamed}");
        for (texts, error) in [(many(257), "too_many_texts"), (vec!["x".repeat(256 * 1024 + 1)], "text_too_long")] {
            let outcome = ask(texts, &json!({"texts_per_question": 32}));
            assert_eq!((outcome.request.clone(), reason(&outcome)), (RequestOutcome::Answered, "MODERATION_FAILED".to_owned()));
            assert_eq!(outcome.events_of("rules.moderation_failed")[0].metadata["error"], error, "{dialect} {streamed}");
        }
        // What is known of one question counts, whatever became of the others.
        let mut texts = many(16);
        texts.push(KNIFE.to_owned());
        let player = moderated(&document(&json!({"on_error": "allow"}), &[rule(&json!({}))])).answering(|question| {
            if question.body.windows(5).any(|word| word == b"knife") { violent(question) } else { ServiceReply::broken() }
        });
        let outcome = play(&player, &recording(dialect, streamed, saying(texts), &[TEXT]));
        assert_eq!((outcome.request.clone(), reason(&outcome)), (RequestOutcome::Answered, "RULE_REFUSED".to_owned()));
        assert_eq!(outcome.events_of("rules.moderation_failed")[0].metadata["texts"], 16, "{dialect} {streamed}");
    });
}

/// What a service may do that does not tell of categories, and what is told of it.
fn hostile() -> Vec<(Service, &'static str)> {
    vec![
        (|_| ServiceReply::broken(), "unreachable"),
        (|_| ServiceReply::not_sent(), "not_sent"),
        (|_| ServiceReply::silence(), "timed_out"),
        (|_| ServiceReply::response(500, "{}"), "status"),
        (
            |question| ServiceReply::response(302, ServiceReply::moderation(question, |_| vec![]).to_response().unwrap().1),
            "status",
        ),
        (|_| ServiceReply::response(200, "upstream connect error"), "not_an_answer"),
        (|_| ServiceReply::response(200, " ".repeat(70_000)), "answer_too_large"),
        (|_| ServiceReply::response(200, "[".repeat(60_000)), "not_an_answer"),
        (|_| ServiceReply::response(200, "{}"), "not_an_answer"),
        (|_| ServiceReply::response(200, r#"{"results":[]}"#), "not_an_answer"),
        (|_| told(&json!([{"categories": {"violence": false}}, {"categories": {"violence": false}}])), "not_an_answer"),
        (|_| told(&json!([{"flagged": true, "categories": {"violence": false}}])), "not_an_answer"),
        (|_| told(&json!([{"categories": {"violence": "no"}}])), "not_an_answer"),
        (|_| told(&json!([{"categories": {"violence": false}, "category_scores": {"violence": 1.5}}])), "not_an_answer"),
        (|_| told(&json!([{"categories": {"violence": false}, "category_scores": {"violence": -1}}])), "not_an_answer"),
        (|_| told(&json!([{"categories": {"violence": false, "x".repeat(129): false}}])), "not_an_answer"),
        (|_| told(&json!([{"categories": {"hate": false}}])), "unknown_category"),
        (|_| told(&json!([{"categories": {"violence": null}}])), "unknown_category"),
        (|_| told(&json!([{}])), "unknown_category"),
        (|_| ServiceReply::response(200, r#"{"results":[{"categories":{"violence":true,"violence":false}}]}"#), "not_an_answer"),
        (
            |_| {
                let many: serde_json::Map<_, _> = (0..300).map(|number| (format!("c{number}"), false.into())).collect();
                told(&json!([{ "categories": many }]))
            },
            "not_an_answer",
        ),
    ]
}

fn told(results: &Value) -> ServiceReply {
    ServiceReply::response(200, json!({ "results": results }).to_string())
}

#[test]
fn a_text_of_which_the_service_does_not_tell_passes_only_where_the_document_says_so() {
    each(|dialect, streamed| {
        for (reply, error) in hostile() {
            for on_error in ["block", "allow"] {
                let player = player_of(&document(&json!({ "on_error": on_error }), &[rule(&json!({}))])).answering(reply);
                let one = |body: &mut Value| saying(vec![KNIFE.to_owned()])(body);
                let in_request = play(&player, &recording(dialect, streamed, one, &[]));
                let unasked = |body: &mut Value| saying(vec![" ".to_owned()])(body);
                let in_answer = play(&player, &recording(dialect, streamed, unasked, &[DRAWS]));
                let (decided, code) = if on_error == "block" { ("refuse", "MODERATION_FAILED") } else { ("allow", "ALLOW") };
                for outcome in [&in_request, &in_answer] {
                    let context = format!("{dialect} {streamed} {on_error} {error}: {}", outcome.text());
                    assert_eq!((decision(outcome).as_str(), reason(outcome).as_str()), (decided, code), "{context}");
                    assert_eq!(outcome.text().contains("unchecked"), on_error == "block", "{context}");
                    let failed = &outcome.events_of("rules.moderation_failed")[0].metadata;
                    assert_eq!(
                        (&failed["error"], &failed["failed_open"]),
                        (&json!(error), &json!(on_error == "allow")),
                        "{context}"
                    );
                }
                assert_eq!(in_request.request == RequestOutcome::Sent, on_error == "allow", "{dialect} {error}");
                if on_error == "block" {
                    assert!(!in_answer.text().contains("draws"), "{dialect} {streamed} {error}");
                } else {
                    assert_eq!(message(dialect, streamed, &in_answer).only().text, KNIFE, "{dialect} {streamed} {error}");
                }
            }
        }
    });
}

#[test]
fn what_only_tells_of_texts_holds_none_and_withholds_none_that_could_not_be_asked_about() {
    each(|dialect, streamed| {
        for action in ["observe", "escalate"] {
            for (reply, is_told) in [(violent as Service, true), (|_| ServiceReply::silence(), false)] {
                let player = player_of(&document(&json!({}), &[acting(action, &json!({"request": []}))])).answering(reply);
                let recording = recording(dialect, streamed, unchanged, &[DRAWS]);
                let outcome = play(&player, &recording);
                assert_eq!(outcome.client, recording.response.as_ref().unwrap().body, "{dialect} {streamed} {action}");
                assert_eq!(outcome.events_of("rules.categorised").len(), usize::from(is_told), "{dialect} {streamed} {action}");
                assert_eq!(outcome.events_of("rules.moderation_failed").len(), usize::from(!is_told));
                if streamed {
                    let first = outcome.releases.iter().find(|release| release.bytes.windows(6).any(|word| word == b"a kni\""));
                    let last = outcome.releases.last().unwrap();
                    assert!(first.unwrap().step < last.step, "{dialect} {action}: text waited for the end");
                }
            }
        }
    });
}

#[test]
fn a_text_that_is_to_be_refused_is_held_until_the_service_has_answered_and_later_text_with_it() {
    each(|dialect, streamed| {
        let player = player_of(&document(&json!({}), &[rule(&json!({"request": []}))]))
            .answering(|question| ServiceReply::moderation(question, |_| vec![]).after(1));
        let recording = recording(dialect, streamed, unchanged, &[DRAWS]);
        let outcome = play(&player, &recording);
        assert_eq!(outcome.client, recording.response.as_ref().unwrap().body, "{dialect} {streamed}");
        let answered = outcome.releases.iter().position(|release| release.cause != weir_driver::Cause::Step);
        let draws = outcome.releases.iter().position(|release| release.bytes.windows(8).any(|word| word == b"He draws"));
        assert_eq!(draws, answered, "{dialect} {streamed}");
    });
}

#[test]
fn in_the_shadow_no_byte_changes_and_nothing_waits_and_what_would_have_been_is_told() {
    each(|dialect, streamed| {
        for reply in [violent as Service, |_| ServiceReply::silence()] {
            let mut document = document(&json!({}), &[rule(&json!({}))]);
            document["rollout"] = json!({"mode": "shadow"});
            let recording = recording(dialect, streamed, with_result(dialect, "ok"), &[DRAWS, LS]);
            let outcome = play(&player_of(&document).answering(reply), &recording);
            assert_eq!(outcome.request, RequestOutcome::Sent, "{dialect} {streamed}");
            assert_eq!(outcome.client, recording.response.as_ref().unwrap().body, "{dialect} {streamed}");
            assert_eq!(outcome.held_time, Duration::ZERO, "{dialect} {streamed}");
            assert!(outcome.releases.iter().all(|release| release.cause == weir_driver::Cause::Step), "{dialect} {streamed}");
            assert_eq!(decision(&outcome), "refuse", "{dialect} {streamed}");
            assert_eq!(outcome.enforcement()["enforced"], false);
        }
    });
}

#[test]
fn a_result_of_an_mcp_server_is_asked_about_as_a_whole() {
    for (action, expected) in [("refuse", "refused"), ("redact", "[redacted]"), ("observe", KNIFE)] {
        let own = if action == "refuse" { rule(&json!({})) } else { acting(action, &json!({})) };
        let mut document = document(&json!({}), &[own]);
        document["targets"] = json!(["mcp_tool"]);
        let call = script::mcp_call(1, "read", &json!({"path": "a knife"}));
        let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": KNIFE}, {"type": "text", "text": "ok"}]}});
        let recording = Recording::post("/mcp", call.to_string()).header("accept", "application/json, text/event-stream");
        let stream = format!("event: message\ndata: {result}\n\n");
        for recording in [recording.clone().whole(result.to_string()), recording.streamed(stream)] {
            let outcome = play(&moderated(&document), &recording);
            let told = asked(&outcome).concat();
            assert!(told.contains(&KNIFE.to_owned()) && !told.contains(&"a knife".to_owned()), "{action} {told:?}");
            let text = outcome.text();
            assert!(text.contains(expected), "{action}: {text}");
            assert_eq!(text.contains("draws"), action == "observe", "{action}: {text}");
        }
    }
}

#[test]
fn a_text_that_cannot_be_taken_as_a_whole_is_not_asked_about() {
    for dialect in DIALECTS {
        let mut document = document(&json!({}), &[rule(&json!({"request": []}))]);
        document["limits"] = json!({"max_response_bytes": 4096});
        let long: &'static str = "a knife ".repeat(700).leak();
        let outcome = play(&moderated(&document), &recording(dialect, true, unchanged, &[Said::Text(vec![long].leak())]));
        assert_eq!((reason(&outcome), outcome.callouts.len()), ("MODERATION_FAILED".to_owned(), 0), "{dialect}");
        assert_eq!(outcome.events_of("rules.moderation_failed")[0].metadata["error"], "text_incomplete", "{dialect}");
        assert!(!outcome.text().contains("knife"), "{dialect}");
    }
}

#[test]
fn evidence_shows_nothing_of_texts_where_a_rule_for_categories_keeps_some_from_leaving() {
    for (action, shown) in [("redact", "[redacted]"), ("observe", "He draws a [thing].")] {
        let mut document = document(&json!({}), &[acting(action, &json!({"request": []}))]);
        let term = json!({"use": "rules", "with": {"rules": [{"id": "t", "match": {"terms": ["knife"]}, "with": "[thing]"}]}});
        document["chain"].as_array_mut().unwrap().push(term);
        document["evidence"] = json!({"before": true});
        let outcome = play(&moderated(&document), &recording(Dialect::ChatCompletions, true, unchanged, &[DRAWS]));
        let changes = outcome.enforcement()["changes"].clone();
        assert_eq!(changes[0]["before"]["text"], shown, "{action}: {changes}");
    }
}

#[test]
fn a_rule_that_cannot_work_is_refused_by_its_name_when_it_is_loaded() {
    let refused = |document: &Value, path: &str, words: &[&str]| {
        let error = Document::parse(&document.to_string(), &weir_policies::registry(), &|_| None).unwrap_err();
        assert_eq!(error.path, format!("chain[0].with.{path}"), "{error}");
        assert!(words.iter().all(|word| error.message.contains(word)), "{error}");
    };
    let none = json!({});
    let one = |rule: Value| document(&json!({}), &[rule]);
    refused(&one(rule(&json!({"answer": ["tool_argument"]}))), "rules[0].answer", &["harm", "tool_argument"]);
    refused(&one(rule(&json!({"request": ["tool_argument"]}))), "rules[0].request", &["harm", "tool_argument"]);
    for scope in ["reasoning", "refusal"] {
        refused(&one(acting("redact", &json!({"answer": [scope]}))), "rules[0].answer", &["harm", scope]);
        refused(&one(acting("summary", &json!({"answer": [scope]}))), "rules[0].answer", &["harm", scope]);
    }
    refused(&one(rule(&json!({"match": {"categories": []}}))), "rules[0].match.categories", &[]);
    refused(&one(rule(&json!({"match": {"categories": ["a", ""]}}))), "rules[0].match.categories[1]", &[]);
    refused(&one(rule(&json!({"match": {"categories": ["a"], "threshold": 1.1}}))), "rules[0].match.threshold", &[]);
    refused(&one(rule(&json!({"match": {"terms": ["a"], "threshold": 0.1}}))), "rules[0].match.threshold", &["categories"]);
    refused(&one(rule(&json!({"match": {"categories": ["a"], "terms": ["a"]}}))), "rules[0].match", &[]);
    refused(&one(rule(&json!({"allowed": ["a"]}))), "rules[0].allowed", &[]);
    refused(&one(acting("redact", &json!({"reversible": true}))), "rules[0].reversible", &[]);
    refused(&document(&json!({"judge": "nobody"}), &[rule(&none)]), "moderation.judge", &[]);
    refused(&document(&json!({"judge": "writer"}), &[rule(&none)]), "moderation.judge", &["writer", "path"]);
    refused(&document(&json!({"message": " "}), &[rule(&none)]), "moderation.message", &[]);
    refused(&document(&json!({"texts_per_question": 33}), &[rule(&none)]), "moderation.texts_per_question", &[]);
    refused(&one(json!({"id": "t", "match": {"terms": ["a"]}})), "moderation", &[]);
    let mut without = one(rule(&none));
    without["chain"][0]["with"].as_object_mut().unwrap().remove("moderation");
    refused(&without, "rules[0].match.categories", &["harm"]);
    refused(&one(acting("rewrite", &json!({"template": "$0"}))), "rules[0].action", &["harm", "rewrite"]);
    let key = json!({"id": "key", "match": {"terms": ["owl"]}, "reversible": true, "answer": []});
    let mut restoring = document(&none, &[rule(&none), key]);
    restoring["chain"][0]["with"]["key"] = json!("0123456789abcdef0123456789abcdef");
    refused(&restoring, "rules[0].answer", &["harm", "placeholders"]);
    let edits = json!({"id": "other", "match": {"terms": ["owl"]}});
    refused(&document(&none, &[rule(&none), edits]), "rules[0].answer", &["harm", "other", "text"]);
}
