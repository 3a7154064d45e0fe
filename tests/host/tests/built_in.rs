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

use core::iter::repeat_n;
use core::time::Duration;

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_host_tests::{Plugin, player};
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document, mcp_call};
use weir_test_support::{chunking, fixtures};

/// The dialects that models answer in: calls come in responses.
const MODELS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

/// Calls come in requests.
const MCP: Dialect = Dialect::McpTool;

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
    for dialect in MODELS.into_iter().chain([MCP]) {
        for chain in quiet_chains() {
            scripts(dialect, &chain).iter().for_each(play);
        }
    }
}

fn judged() -> Value {
    json!([{"use": "tool_call_judge", "with": {"judge": "main"}}])
}

/// Some thousand exchanges: a dialect is a test of its own, so that they run side by side.
fn judge_tool_calls(dialect: Dialect) {
    for script in scripts(dialect, &judged()) {
        for reply in replies() {
            for delay in [0, 3, usize::MAX] {
                play(&script.clone().judged(JudgeRule::new("", reply.clone()).after(delay)));
            }
        }
    }
}

#[test]
fn a_judge_of_tool_calls_of_chat_completions() {
    judge_tool_calls(Dialect::ChatCompletions);
}

#[test]
fn a_judge_of_tool_calls_of_messages() {
    judge_tool_calls(Dialect::Messages);
}

#[test]
fn a_judge_of_tool_calls_of_responses() {
    judge_tool_calls(Dialect::Responses);
}

/// Puts steps before the response, which cannot come before the request has left.
fn meanwhile(mut script: Script, steps: impl IntoIterator<Item = Step>) -> Script {
    let is_response = |step: &Step| matches!(step, Step::ResponseHead { .. });
    let position = script.steps.iter().position(is_response).unwrap_or(script.steps.len());
    script.steps.splice(position..position, steps);
    script
}

/// As many steps in which nothing happens.
fn idle(steps: usize) -> impl Iterator<Item = Step> {
    repeat_n(Step::Elapse(Duration::ZERO), steps)
}

#[test]
fn a_judge_of_calls_in_requests() {
    for script in scripts(MCP, &judged()) {
        for reply in replies() {
            for delay in [0, 3] {
                play(&meanwhile(script.clone().judged(JudgeRule::new("", reply.clone()).after(delay)), idle(delay)));
            }
        }
    }
}

#[test]
fn a_judge_of_a_batch() {
    let calls = json!([mcp_call(1, "read_file", &json!({})), mcp_call(2, "delete_files", &json!({"path": "/"}))]);
    let answer = json!([{"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "read"}]}}]).to_string();
    for (content_type, body) in [("application/json", answer.clone()), ("text/event-stream", format!("data: {answer}\n\n"))] {
        for reply in replies() {
            let script = Script::request_to("/mcp", document(judged()), vec![calls.to_string().into_bytes()])
                .respond(content_type, vec![body.clone().into_bytes()])
                .judged(JudgeRule::new("delete_files", reply).after(3))
                .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)));
            // A question that is not answered is given up after five seconds.
            play(&meanwhile(script, idle(3).chain([Step::Elapse(Duration::from_secs(6))])));
        }
    }
}

#[test]
fn peers_that_leave_while_the_judge_thinks() {
    for (dialect, fixture) in [
        (Dialect::ChatCompletions, "parallel_tool_calls"),
        (Dialect::Messages, "parallel_tool_use"),
        (Dialect::Responses, "parallel_tool_calls"),
    ] {
        let body = fixtures::stream(dialect, fixture);
        for chunks in 0..chunking::events(body).len() {
            for step in [Step::ClientGone, Step::UpstreamReset] {
                let script = Script::events(dialect, document(judged()), body)
                    .judged(JudgeRule::new("", JudgeReply::Verdict(0.0)).after(5));
                play(&script.interrupted(chunks, step));
            }
        }
    }
}

#[test]
fn clients_that_leave_while_their_call_is_judged() {
    for steps in 0..8 {
        let script = Script::request(MCP, document(judged()), true).judged(JudgeRule::new("", JudgeReply::Verdict(0.0)).after(5));
        play(&meanwhile(script, idle(steps).chain([Step::ClientGone])));
    }
}
