//! The built-in policies in weir.wasm itself: every fixture, streamed in any chunks and whole, comes out as the engine
//! alone has it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_host_tests::{Plugin, player};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document};
use weir_test_support::{chunking, fixtures};

const DIALECTS: [Dialect; 2] = [Dialect::ChatCompletions, Dialect::Messages];

/// A chain that asks nobody, whatever the answer.
fn quiet_chains() -> [Value; 3] {
    [
        json!([{"use": "no_op"}]),
        json!([{"use": "content_only"}]),
        json!([{"use": "content_transform", "with": {"replace": [{"find": "weather", "with": "climate"}], "case": "upper"}}]),
    ]
}

/// Every way in which a judge can take a question.
fn replies() -> [JudgeReply; 7] {
    [
        JudgeReply::Verdict(0.0),
        JudgeReply::Verdict(1.0),
        JudgeReply::Content("certainly not JSON".to_owned()),
        JudgeReply::Response { status: 500, body: Vec::new() },
        JudgeReply::Broken,
        JudgeReply::NotSent,
        JudgeReply::Silence,
    ]
}

fn play(script: &Script) {
    let _ = player::play(script, Plugin::Weir, &weir_policies::registry());
}

/// The fixtures of a dialect as scripts: streamed event by event, streamed in odd chunks, whole.
fn scripts(dialect: Dialect, chain: &Value) -> Vec<Script> {
    let document = || document(chain.clone());
    let streams = fixtures::streams(dialect).iter().flat_map(|fixture| {
        let odd = fixture.body.chunks(97).map(<[u8]>::to_vec).collect();
        [Script::events(dialect, document(), fixture.body), Script::streamed(dialect, document(), odd)]
    });
    let wholes = fixtures::wholes(dialect)
        .iter()
        .map(|fixture| Script::whole(dialect, document(), chunking::at(fixture.body, &[10, 100])));
    streams.chain(wholes).collect()
}

#[test]
fn chains_that_ask_nobody() {
    for dialect in DIALECTS {
        for chain in quiet_chains() {
            scripts(dialect, &chain).iter().for_each(play);
        }
    }
}

#[test]
fn a_judge_of_tool_calls() {
    let chain = json!([{"use": "tool_call_judge", "with": {"judge": "main"}}]);
    for dialect in DIALECTS {
        for script in scripts(dialect, &chain) {
            for reply in replies() {
                for delay in [0, 3, usize::MAX] {
                    play(&script.clone().judged(JudgeRule::new("", reply.clone()).after(delay)));
                }
            }
        }
    }
}

#[test]
fn peers_that_leave_while_the_judge_thinks() {
    let chain = json!([{"use": "tool_call_judge", "with": {"judge": "main"}}]);
    for (dialect, fixture) in [(Dialect::ChatCompletions, "parallel_tool_calls"), (Dialect::Messages, "parallel_tool_use")] {
        let body = fixtures::stream(dialect, fixture);
        for chunks in 0..chunking::events(body).len() {
            for step in [Step::ClientGone, Step::UpstreamReset] {
                let script = Script::events(dialect, document(chain.clone()), body)
                    .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)).after(5));
                play(&script.interrupted(chunks, step));
            }
        }
    }
}
