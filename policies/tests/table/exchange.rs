//! What the tests of this table have in common: chains that are played, and what becomes of it.

use std::sync::Arc;

use serde_json::{Value, json};
use weir::caller::{Caller, CredentialHash};
use weir::dialect::Dialect;
use weir::document::Document;
use weir_driver::{Outcome, Player, Recording, RequestOutcome, ServiceReply, Split};
use weir_test_support::answer::{Answer, Said};
use weir_test_support::client::Message;
use weir_test_support::{client, legality, script};

pub(crate) const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

pub(crate) const RM: Said<'static> =
    Said::Call { id: "call_1", name: "shell", arguments: &["{\"command\"", ":\"rm -rf /srv\",\"n\":1}"] };

pub(crate) const LS: Said<'static> = Said::Call { id: "call_2", name: "shell", arguments: &["{\"command\"", ":\"ls\",\"n\":2}"] };

pub(crate) const TEXT: Said<'static> = Said::Text(&["I will ", "do it."]);

pub(crate) fn player(chain: &Value) -> Player {
    player_of(&json!({"policy": {"id": "table"}, "chain": chain, "identity": {"trust_user_header": true},
        "judges": {"one": {"cluster": "judge", "model": "m"}, "two": {"cluster": "judge", "model": "n"}}}))
}

pub(crate) fn player_of(document: &Value) -> Player {
    let document = Document::parse(&document.to_string(), &weir_policies::registry(), &|_| None)
        .unwrap_or_else(|error| panic!("{error}: {document}"));
    let caller = Caller { credential: Some(CredentialHash::new(b"salt", b"key")), ..Caller::default() };
    Player::new(Arc::new(document.chain)).caller(caller)
}

/// The exchange with a request's body and an answer, streamed or whole.
pub(crate) fn recording(dialect: Dialect, streamed: bool, change: impl Fn(&mut Value), said: &[Said<'static>]) -> Recording {
    let mut body = script::request_body(dialect, streamed);
    change(&mut body);
    let answer = Answer { said: said.to_vec(), cut: false };
    let recording = Recording::post(script::path(dialect), body.to_string());
    if streamed { recording.streamed(answer.streamed(dialect)) } else { recording.whole(answer.whole(dialect)) }
}

pub(crate) fn unchanged(_: &mut Value) {}

/// Plays it, and gives what the client makes of it where it got an answer.
pub(crate) fn play(player: &Player, recording: &Recording) -> Outcome {
    let outcome = player.play(&recording.steps(&Split::Events));
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    outcome
}

pub(crate) fn message(dialect: Dialect, streamed: bool, outcome: &Outcome) -> Message {
    if streamed {
        legality::assert_stream(dialect, &outcome.client);
        client::streamed(dialect, &outcome.client)
    } else {
        legality::assert_whole(dialect, &outcome.client);
        client::whole(dialect, &outcome.client)
    }
}

/// Runs `check` for each cell of the table.
pub(crate) fn each(mut check: impl FnMut(Dialect, bool)) {
    for dialect in DIALECTS {
        for streamed in [true, false] {
            check(dialect, streamed);
        }
    }
}

pub(crate) fn reason(outcome: &Outcome) -> String {
    outcome.enforcement()["reason_code"].as_str().unwrap_or_default().to_owned()
}

/// A whole exchange with an answer that says `said`.
pub(crate) fn answer(chain: &Value, dialect: Dialect, streamed: bool, said: &[Said<'static>]) -> (Outcome, Message) {
    let outcome = play(&player(chain), &recording(dialect, streamed, unchanged, said));
    let message = message(dialect, streamed, &outcome);
    (outcome, message)
}

/// A conversation in which the model has called `shell` with `ls` so often.
pub(crate) fn with_history(dialect: Dialect, calls: usize, name: &str) -> impl Fn(&mut Value) {
    let arguments = json!({"n": 2, "command": "ls"});
    let items: Vec<Value> = (0..calls)
        .map(|number| match dialect {
            Dialect::ChatCompletions => json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": format!("c{number}"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}}]}),
            Dialect::Messages => json!({"role": "assistant", "content": [
                {"type": "tool_use", "id": format!("c{number}"), "name": name, "input": arguments}]}),
            _ => json!({"type": "function_call", "call_id": format!("c{number}"), "name": name, "arguments": arguments.to_string()}),
        })
        .collect();
    move |body: &mut Value| {
        body[if dialect == Dialect::Responses { "input" } else { "messages" }] = items.clone().into();
    }
}

/// A call of `shell` with this command.
pub(crate) fn shell(command: &'static str) -> Said<'static> {
    let arguments: &'static str = json!({ "command": command }).to_string().leak();
    Said::Call { id: "call_3", name: "shell", arguments: vec![arguments].leak() }
}

pub(crate) fn decision(outcome: &Outcome) -> String {
    outcome.enforcement()["decision"].as_str().unwrap_or_default().to_owned()
}

/// A request whose history has this result of a tool.
pub(crate) fn with_result(dialect: Dialect, result: &'static str) -> impl Fn(&mut Value) {
    move |body| match dialect {
        Dialect::ChatCompletions => {
            let call = json!({"id": "call_1", "type": "function", "function": {"name": "shell", "arguments": "{}"}});
            body["messages"] = json!([{"role": "user", "content": "Go."}, {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": result}]);
        }
        Dialect::Messages => {
            let call = json!({"type": "tool_use", "id": "call_1", "name": "shell", "input": {}});
            let content = json!({"type": "tool_result", "tool_use_id": "call_1", "content": result});
            body["messages"] = json!([{"role": "user", "content": "Go."}, {"role": "assistant", "content": [call]},
                {"role": "user", "content": [content]}]);
        }
        _ => {
            body["input"] = json!([{"role": "user", "content": "Go."},
                {"type": "function_call", "call_id": "call_1", "name": "shell", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": result}]);
        }
    }
}

pub(crate) fn sent(outcome: &Outcome) -> String {
    match &outcome.request {
        RequestOutcome::SentBody(body) => String::from_utf8(body.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Judges: the model `m` finds harm, the model `n` none.
pub(crate) fn judged(chain: &Value) -> Player {
    player(chain).answering(|question| {
        let body: Value = serde_json::from_slice(&question.body).unwrap();
        ServiceReply::verdict(if body["model"] == "m" { 0.9 } else { 0.1 })
    })
}
