//! A policy with a rollout of its own: what it decides is told, the policies behind it act as if it were not there.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::native::{Outcome, RequestOutcome};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document, mcp_call};

use super::rollout::{DIALECTS, as_user, assert_passed, both, in_mode};
use crate::{play, test};

/// A chain whose first policies are in shadow, each by a rollout of its own.
fn behind_shadows(shadows: &[Value], enforced: &[Value]) -> Value {
    let shadows = shadows.iter().cloned().map(in_shadow);
    shadows.chain(enforced.iter().cloned()).collect()
}

fn in_shadow(mut entry: Value) -> Value {
    entry["rollout"] = json!({"mode": "shadow"});
    entry
}

fn refuse_request() -> Value {
    json!({"use": "act", "with": {"at": "request", "act": {"refuse": {"status": 429, "code": "over"}}}})
}

#[test]
fn a_chain_whose_every_policy_is_in_shadow_changes_no_byte() {
    let policies = [
        (refuse_request(), "refuse"),
        (json!({"use": "drop_text"}), "rewrite"),
        (json!({"use": "uppercase"}), "rewrite"),
        (json!({"use": "deny_tool", "with": {"name": "rm"}}), "refuse"),
        (json!({"use": "ask_judge"}), "refuse"),
    ];
    let chain = behind_shadows(&policies.clone().map(|(entry, _)| entry), &[]);
    for dialect in DIALECTS {
        for (script, body) in both(dialect, &document(chain.clone())) {
            let script = script.judged(JudgeRule::new("", JudgeReply::Verdict(0.9)).after(1_000));
            let outcome = play(&script);
            assert_passed(&outcome, &script, &body);
            let event = outcome.enforcement();
            assert_eq!((&event["decision"], &event["enforced"]), (&json!("allow"), &json!(true)), "{dialect}");
            for (place, (_, decision)) in policies.iter().enumerate() {
                let told = &event["policy_rollouts"][place];
                assert_eq!((&told["place"], &told["decision"]), (&json!(place), &json!(decision)), "{dialect}: {told}");
                assert_eq!((&told["rollout_mode"], &told["enforced"]), (&json!("shadow"), &json!(false)));
            }
        }
    }
}

#[test]
fn what_policies_in_shadow_decide_leaves_the_enforced_as_they_are() {
    let deny = json!({"use": "deny_tool", "with": {"name": "rm"}});
    for enforced in [vec![json!({"use": "uppercase"})], vec![deny], vec![json!({"use": "ask_judge"})]] {
        for shadow in [refuse_request(), json!({"use": "drop_text"}), json!({"use": "ask_judge"}), json!({"use": "hold_text"})] {
            let beside = behind_shadows(core::slice::from_ref(&shadow), &enforced);
            for dialect in DIALECTS {
                for (script, _) in both(dialect, &document(beside.clone())) {
                    let script = script.judged(JudgeRule::new("", JudgeReply::Verdict(0.9)).after(2));
                    let outcome = play_as_alone(&script);
                    let (event, alone) = (outcome.enforcement(), play(&alone_of(&script)).enforcement());
                    for field in ["decision", "effective_decision", "enforced", "reason_code", "decided_by", "judge_questions"] {
                        assert_eq!(event[field], alone[field], "{dialect} {beside} {field}");
                    }
                    assert!(event["policy_rollouts"][0]["decision"].is_string(), "{dialect} {beside}: {event}");
                }
            }
        }
    }
}

#[test]
fn a_canary_of_one_policy_enforces_it_in_one_arm() {
    let rollout = json!({"mode": "canary", "percentage": 58.8789, "seed": "2026-11"});
    let chain = json!([{"use": "uppercase", "rollout": rollout}, {"use": "watch"}]);
    for dialect in DIALECTS {
        for (user, is_enforced, key) in [("ann", false, "user"), ("bob", true, "user"), ("", false, "missing")] {
            for (script, body) in both(dialect, &document(chain.clone())) {
                let outcome = play(&as_user(script, user));
                let event = outcome.enforcement();
                let told = &event["policy_rollouts"][0];
                assert_eq!(outcome.client != body, is_enforced, "{dialect} {user}");
                assert_eq!((&told["enforced"], &told["rollout_key"]), (&json!(is_enforced), &json!(key)), "{dialect}: {told}");
                assert_eq!(event["decision"], if is_enforced { "rewrite" } else { "allow" });
                assert_eq!(told["policy"], "Uppercase");
            }
        }
    }
}

#[test]
fn a_verdict_that_comes_after_the_answer_has_ended_reaches_the_event_of_the_enforced() {
    let chain = behind_shadows(&[json!({"use": "ask_judge"})], &[json!({"use": "uppercase"})]);
    for dialect in DIALECTS {
        for (reply, decision) in [(JudgeReply::Verdict(0.9), "refuse"), (JudgeReply::Verdict(0.1), "allow")] {
            for (script, _) in both(dialect, &document(chain.clone())) {
                let outcome = play_as_alone(&script.judged(JudgeRule::new("", reply.clone()).after(1_000)));
                assert_eq!(outcome.events_of("enforcement").len(), 1, "{dialect}");
                let event = outcome.enforcement();
                assert_eq!(event["policy_rollouts"][0]["decision"], decision, "{dialect}");
                assert_eq!((&event["decision"], &event["status"]), (&json!("rewrite"), &json!(200)), "{dialect}");
            }
        }
    }
}

/// Plays it. What leaves, and when, is what leaves without the policies in shadow.
#[track_caller]
fn play_as_alone(script: &Script) -> Outcome {
    let (outcome, alone) = (play(script), play(&alone_of(script)));
    let chain = &script.document["chain"];
    assert_eq!(outcome.text(), alone.text(), "{chain}");
    assert_eq!((&outcome.request, outcome.status), (&alone.request, alone.status), "{chain}");
    let leaving = |outcome: &Outcome| -> Vec<_> {
        outcome.releases.iter().map(|release| (release.step, release.cause, release.bytes.clone())).collect()
    };
    assert_eq!(leaving(&outcome), leaving(&alone), "{chain}");
    assert_eq!(outcome.held_time, alone.held_time, "{chain}");
    outcome
}

/// The same exchange without the policies in shadow.
fn alone_of(script: &Script) -> Script {
    let mut alone = script.clone();
    if let Some(chain) = alone.document["chain"].as_array_mut() {
        chain.retain(|entry| entry["rollout"].is_null());
    }
    alone
}

#[test]
fn no_verdict_for_a_policy_in_shadow_is_told_and_harms_nobody() {
    for dialect in DIALECTS {
        for (script, body) in both(dialect, &document(json!([in_shadow(json!({"use": "ask_judge"}))]))) {
            for reply in [JudgeReply::Broken, JudgeReply::NotSent] {
                let script = script.clone().judged(JudgeRule::new("", reply));
                let outcome = play(&script);
                assert_passed(&outcome, &script, &body);
                let told = &outcome.enforcement()["policy_rollouts"][0];
                assert_eq!((&told["decision"], &told["judge_questions"]), (&json!("refuse"), &json!(1)), "{dialect}: {told}");
            }
        }
    }
}

#[test]
fn a_mode_of_a_target_counts_for_the_policy_alone() {
    for (mode, of_messages) in [("shadow", "enforced"), ("enforced", "shadow")] {
        let rollout = json!({"mode": mode, "targets": {"messages": of_messages}});
        let chain = json!([{"use": "uppercase", "rollout": rollout}]);
        for dialect in DIALECTS {
            let is_enforced = (if dialect == Dialect::Messages { of_messages } else { mode }) == "enforced";
            for (script, body) in both(dialect, &document(chain.clone())) {
                let outcome = play(&script);
                let event = outcome.enforcement();
                assert_eq!(outcome.client != body, is_enforced, "{dialect} {mode}");
                assert_eq!(event["policy_rollouts"][0]["enforced"], is_enforced, "{dialect} {mode}");
                assert_eq!((&event["enforced"], &event["rollout_mode"]), (&json!(true), &json!("enforced")));
            }
        }
    }
}

#[test]
fn a_document_in_shadow_enforces_no_policy_whatever_its_own_rollout_says() {
    // Bob is in the policy's canary, Ann is not.
    let rollout = json!({"mode": "canary", "percentage": 58.8789, "seed": "2026-11"});
    let chain = json!([in_shadow(json!({"use": "drop_text"})), {"use": "uppercase", "rollout": rollout}]);
    let document = in_mode(chain, &json!({"mode": "shadow"}));
    for dialect in DIALECTS {
        for (user, decision) in [("bob", "rewrite"), ("ann", "allow")] {
            for (script, body) in both(dialect, &document) {
                let script = as_user(script, user);
                let outcome = play(&script);
                assert_passed(&outcome, &script, &body);
                let event = outcome.enforcement();
                assert_eq!((&event["decision"], &event["enforced"]), (&json!(decision), &json!(false)), "{dialect} {user}");
                let told = event["policy_rollouts"].as_array().unwrap();
                assert_eq!(told.len(), 2, "{dialect} {user}: {told:?}");
                assert!(told.iter().all(|told| told["enforced"] == false), "{dialect} {user}: {told:?}");
            }
        }
    }
}

#[test]
fn what_a_policy_in_shadow_counts_takes_nothing_from_an_enforced_one() {
    for scope in ["worker", "proxy"] {
        let count = |most: u64| json!({"use": "count_requests", "with": {"scope": scope, "most": most}});
        for (most, decision) in [(0, "refuse"), (9, "allow")] {
            let chain = behind_shadows(&[count(most)], &[count(1)]);
            let outcome = play(&Script::events(Dialect::ChatCompletions, document(chain), b"data: [DONE]\n\n"));
            assert_eq!(outcome.request, RequestOutcome::Sent, "{scope}: the counter of the enforced one stands at 1");
            assert_eq!(outcome.enforcement()["policy_rollouts"][0]["decision"], decision, "{scope} {most}");
            let counted = outcome.events_of("count.counted");
            let enforced = counted.iter().filter(|event| !event.metadata.contains_key("observed_policy"));
            assert!(enforced.map(|event| &event.metadata["value"]).eq([&json!(1)]), "{scope}: {counted:?}");
        }
    }
}

#[test]
fn a_stream_that_a_policy_in_shadow_would_have_ended_goes_on_to_its_end() {
    let chain = behind_shadows(&[json!({"use": "block_stream", "with": {"text": "No."}})], &[json!({"use": "watch"})]);
    for after_block in [json!("cancel"), json!("drain"), json!({"drain_for": "1s"})] {
        let mut document = document(chain.clone());
        document["after_block"] = after_block;
        for dialect in DIALECTS {
            for (script, body) in both(dialect, &document) {
                let outcome = play_as_alone(&script);
                assert_eq!(outcome.text(), String::from_utf8_lossy(&body), "{dialect}");
                let event = outcome.enforcement();
                assert_eq!(event["policy_rollouts"][0]["decision"], "rewrite", "{dialect}");
                assert!(event["after_block"].is_null(), "{dialect}: nothing was ended");
            }
        }
    }
}

#[test]
fn a_request_that_a_policy_in_shadow_would_have_rewritten_or_answered_leaves_as_it_came() {
    let acts = [json!({"body": "{\"model\":\"other\",\"messages\":[]}"}), json!({"text": "From here."})];
    for act in acts {
        let policy = json!({"use": "act", "with": {"at": "request", "act": act}});
        for enforced in [vec![], vec![json!({"use": "see_requests"})], vec![json!({"use": "may_rewrite"})]] {
            let chain = behind_shadows(core::slice::from_ref(&policy), &enforced);
            for dialect in DIALECTS {
                for (script, body) in both(dialect, &document(chain.clone())) {
                    let outcome = play_as_alone(&script);
                    assert_eq!(
                        (&outcome.request, outcome.text()),
                        (&RequestOutcome::Sent, String::from_utf8_lossy(&body).into())
                    );
                    let told = &outcome.enforcement()["policy_rollouts"][0];
                    assert_eq!(told["decision"], "rewrite", "{dialect} {chain}: {told}");
                }
            }
        }
    }
}

/// A call of `name` and the server's answer.
fn mcp(document: Value, name: &str) -> (Script, Vec<u8>) {
    let request = mcp_call(1, name, &json!({"path": "/"})).to_string().into_bytes();
    let content = json!([{"type": "text", "text": "done"}]);
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": content}}).to_string().into_bytes();
    let script = Script::request_to("/mcp", document, vec![request]).respond("application/json", vec![answer.clone()]);
    (script, answer)
}

#[test]
fn calls_of_mcp_pass_a_policy_in_shadow_and_not_an_enforced_one() {
    let deny = |name: &str| json!({"use": "deny_tool", "with": {"name": name}});
    for (policy, decision) in [
        (deny("rm"), "refuse"),
        (json!({"use": "ask_judge"}), "refuse"),
        (json!({"use": "uppercase"}), "rewrite"),
        (json!({"use": "drop_text"}), "rewrite"),
    ] {
        let (script, answer) = mcp(document(json!([in_shadow(policy.clone())])), "rm");
        let script = script.judged(JudgeRule::new("", JudgeReply::Verdict(0.9)).after(1_000));
        let outcome = play(&script);
        assert_passed(&outcome, &script, &answer);
        let event = outcome.enforcement();
        assert_eq!(event["policy_rollouts"][0]["decision"], decision, "{policy}");
        assert_eq!((&event["decision"], &event["enforced"]), (&json!("allow"), &json!(true)), "{policy}");
    }
    let (script, _) = mcp(document(behind_shadows(&[deny("ls")], &[deny("rm")])), "rm");
    let outcome = play(&script);
    assert_eq!(outcome.request, RequestOutcome::Answered);
    let event = outcome.enforcement();
    assert_eq!((&event["decision"], &event["policy_rollouts"][0]["decision"]), (&json!("refuse"), &json!("allow")));
}

#[test]
fn a_request_that_nobody_governs_tells_of_no_policy() {
    let mut document = document(json!([in_shadow(json!({"use": "uppercase"})), {"use": "watch"}]));
    document["targets"] = json!(["messages"]);
    for (path, request) in [("/v1/chat/completions", RequestOutcome::Sent), ("/v1/unknown", RequestOutcome::Answered)] {
        let outcome = play(&Script::request_to(path, document.clone(), vec![b"{}".to_vec()]));
        assert_eq!(outcome.request, request, "{path}");
        assert!(outcome.events.iter().all(|event| !event.metadata.contains_key("policy_rollouts")), "{:?}", outcome.events);
    }
}

#[test]
fn events_of_a_policy_in_shadow_say_so() {
    let chain = behind_shadows(&[json!({"use": "ask_judge"})], &[json!({"use": "ask_judge", "with": {"threshold": 0.95}})]);
    for (script, _) in both(Dialect::Messages, &document(chain)) {
        let outcome = play(&script.judged(JudgeRule::new("", JudgeReply::Verdict(0.9))));
        let (blocked, passed) = (outcome.events_of("ask.blocked"), outcome.events_of("ask.passed"));
        assert_eq!((blocked.len(), passed.len()), (1, 1));
        assert_eq!(
            (&blocked[0].metadata["enforced"], &blocked[0].metadata["observed_policy"]),
            (&json!(false), &json!("AskJudge"))
        );
        assert!(!passed[0].metadata.contains_key("enforced") && !passed[0].metadata.contains_key("observed_policy"));
        let mut ids: Vec<_> = outcome.events.iter().map(|event| event.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), outcome.events.len(), "no two events have the same id");
    }
}
