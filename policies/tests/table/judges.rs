//! Verdicts that are kept, and policies that ask at once.

use core::time::Duration;

use serde_json::{Value, json};
use weir::time::Timestamp;
use weir_driver::{Outcome, Recording, RequestOutcome, ServiceReply};
use weir_test_support::answer::Said;
use weir_test_support::script;

use crate::exchange::{LS, RM, TEXT, each, judged, message, play, player, player_of, reason, recording, unchanged};

fn caching(fields: &Value) -> Value {
    let mut with = json!({"judge": "one", "cache": {"for": "1m"}});
    with.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!([{"use": "tool_call_judge", "with": with}])
}

#[test]
fn a_verdict_decides_again_about_the_same_call_and_the_event_says_so() {
    each(|dialect, streamed| {
        for (judge, event) in [("one", "judge.blocked"), ("two", "judge.passed")] {
            let player = judged(&caching(&json!({"judge": judge})));
            let ask = |said: &[Said<'static>]| play(&player, &recording(dialect, streamed, unchanged, said));
            let (first, again) = (ask(&[TEXT, RM]), ask(&[TEXT, RM]));
            assert_eq!((first.callouts.len(), again.callouts.len()), (1, 0), "{dialect} {streamed} {judge}");
            let is_cached = |outcome: &Outcome| outcome.events_of(event)[0].metadata.get("cached").cloned();
            assert_eq!((is_cached(&first), is_cached(&again)), (None, Some(json!(true))), "{dialect} {judge}");
            assert_eq!(again.events_of("judge.summary")[0].metadata["cached"], 1, "{dialect}");
            assert_eq!(message(dialect, streamed, &again).only().text, message(dialect, streamed, &first).only().text);
            assert_eq!((reason(&again), again.client), (reason(&first), first.client), "{dialect} {streamed} {judge}");

            let spaced =
                Said::Call { id: "call_9", name: "shell", arguments: &["{ \"n\": 1, \"command\": ", "\"rm -rf /srv\" }"] };
            assert_eq!(ask(&[spaced]).callouts.len(), 0, "{dialect}: the same arguments in another order");
            assert_eq!(ask(&[LS]).callouts.len(), 1, "{dialect}: other arguments");
            let later = player.clone().at(Timestamp::from_unix(Duration::from_secs(1_760_000_061)));
            assert_eq!(play(&later, &recording(dialect, streamed, unchanged, &[RM])).callouts.len(), 1, "{dialect}: too old");
        }
    });
}

#[test]
fn a_verdict_decides_again_about_the_same_call_of_mcp() {
    for (judge, status) in [("one", RequestOutcome::Answered), ("two", RequestOutcome::Sent)] {
        let player = judged(&caching(&json!({"judge": judge})));
        let call = |id: u32| {
            let call = script::mcp_call(id, "shell", &json!({"command": "rm -rf /srv"}));
            let recording = Recording::post("/mcp", call.to_string()).header("accept", "application/json, text/event-stream");
            play(&player, &recording.whole(json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}).to_string()))
        };
        let (first, again) = (call(1), call(2));
        assert_eq!((first.callouts.len(), again.callouts.len()), (1, 0), "{judge}");
        assert_eq!((first.request, again.request), (status.clone(), status), "{judge}");
    }
}

#[test]
fn of_the_same_calls_of_one_answer_the_judge_is_asked_about_the_first() {
    const AGAIN: Said<'static> =
        Said::Call { id: "call_7", name: "shell", arguments: &["{\"command\":\"rm -rf /srv\",\"n\":1}"] };
    each(|dialect, streamed| {
        for (cache, questions) in [(json!({}), 2), (json!({"cache": null}), 3)] {
            for (judge, calls) in [("one", 0), ("two", 3)] {
                let mut fields = cache.clone();
                fields["judge"] = json!(judge);
                let outcome = play(&judged(&caching(&fields)), &recording(dialect, streamed, unchanged, &[RM, LS, AGAIN]));
                assert_eq!(outcome.callouts.len(), questions, "{dialect} {streamed} {judge}");
                assert_eq!(message(dialect, streamed, &outcome).only().calls.len(), calls, "{dialect} {streamed} {judge}");
            }
        }
    });
}

#[test]
fn what_a_verdict_depends_on_keeps_it_apart_and_failures_are_not_kept() {
    each(|dialect, streamed| {
        let recording = recording(dialect, streamed, unchanged, &[RM]);
        let first = judged(&caching(&json!({})));
        assert_eq!(play(&first, &recording).callouts.len(), 1);
        for (changed, fields) in [
            ("nothing", json!({})),
            ("the judge", json!({"judge": "two"})),
            ("the instructions", json!({"instructions": "Other."})),
            ("the threshold", json!({"threshold": 0.95})),
        ] {
            let asked = play(&first.clone().chain(judged(&caching(&fields))), &recording).callouts.len();
            assert_eq!(asked, usize::from(changed != "nothing"), "{dialect} {changed}");
        }
        let mut revised = player_of(&json!({"policy": {"id": "table", "revision": 2}, "chain": caching(&json!({})),
            "judges": {"one": {"cluster": "judge", "model": "m"}}}));
        revised = revised.answering(|_| ServiceReply::verdict(0.1));
        let revised = play(&first.clone().chain(revised.clone()), &recording);
        assert_eq!(revised.callouts.len(), 1, "{dialect}: another revision");

        let failing = player(&caching(&json!({})));
        assert_eq!(reason(&play(&failing, &recording)), "TOOL_CALL_UNCHECKED", "{dialect}");
        let healed = play(&failing.clone().answering(|_| ServiceReply::verdict(0.1)), &recording);
        assert_eq!((healed.callouts.len(), reason(&healed)), (1, "ALLOW".to_owned()), "{dialect}");
    });
}

#[test]
fn parallel_asks_all_at_once_and_counts() {
    each(|dialect, streamed| {
        for (decide, judges, expected) in [
            ("any", json!([{"judge": "one"}, {"judge": "two"}]), "refuse"),
            ("all", json!([{"judge": "one"}, {"judge": "two"}]), "allow"),
            ("majority", json!([{"judge": "one"}, {"judge": "two"}, {"judge": "two"}]), "allow"),
            ("majority", json!([{"judge": "one"}, {"judge": "one"}, {"judge": "two"}]), "refuse"),
        ] {
            let chain = json!([{"use": "parallel", "with": {"panel": {"judges": judges, "decide": decide}}}]);
            let outcome = play(&judged(&chain), &recording(dialect, streamed, unchanged, &[RM]));
            assert_eq!(outcome.enforcement()["decision"], expected, "{dialect} {decide}");
            assert_eq!(outcome.callouts.len(), judges.as_array().unwrap().len());
        }
    });
}
