//! The engine alone, without a proxy or an operating system: the scripts that also run natively and in a proxy's place.
#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]

use std::sync::Arc;

use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir::id::CallId;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};
use weir_test_support::{chunking, client, fixtures, fuzzing, legality, native, policies};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

#[wasm_bindgen_test]
fn a_stream_that_no_policy_touches_leaves_byte_for_byte() {
    let chain = Arc::new(native::load(&document(json!([{"use": "no_op"}])), &policies::registry()).unwrap());
    for dialect in DIALECTS {
        for fixture in fixtures::streams(dialect) {
            for chunks in [chunking::bytes(fixture.body), chunking::events(fixture.body), vec![fixture.body.to_vec()]] {
                let out = native::stream_through(&chain, dialect, chunks.iter().map(Vec::as_slice));
                assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(fixture.body), "{}", fixture.name);
            }
        }
    }
}

#[wasm_bindgen_test]
fn a_tool_call_is_judged() {
    for (dialect, fixture) in [(Dialect::ChatCompletions, "tool_call"), (Dialect::Messages, "tool_use")] {
        for (verdict, decision, calls) in [(0.1, Decision::Allow, 1), (0.9, Decision::Refuse, 0)] {
            let script = Script::events(dialect, document(json!([{"use": "ask_judge"}])), fixtures::stream(dialect, fixture))
                .judged(JudgeRule::new("get_weather", JudgeReply::Verdict(verdict)));
            let outcome = native::play(&script, &policies::registry());
            legality::assert_stream(dialect, &outcome.client);
            assert_eq!((outcome.callouts.len(), outcome.decision), (1, decision));
            assert_eq!(client::streamed(dialect, &outcome.client).only().calls.len(), calls);
        }
    }
}

#[wasm_bindgen_test]
fn a_silent_judge_is_ended_by_its_deadline() {
    let script = Script::events(
        Dialect::Messages,
        document(json!([{"use": "ask_judge"}])),
        fixtures::stream(Dialect::Messages, "whole_input"),
    )
    .judged(JudgeRule::new("", JudgeReply::Silence));
    let outcome = native::play(&script, &policies::registry());
    legality::assert_stream(Dialect::Messages, &outcome.client);
    assert!(!outcome.stuck && !outcome.text().contains("/srv/data"));
}

#[wasm_bindgen_test]
fn the_parsers_hold_on_the_seeds() {
    for (name, target, seeds) in fuzzing::targets() {
        if name != "exchange" {
            seeds.iter().for_each(|seed| target(seed));
        }
    }
}

#[wasm_bindgen_test]
fn ids_are_random() {
    assert_ne!(CallId::random().unwrap(), CallId::random().unwrap());
}
