//! The assistant's message that came out is sent back in the next turn, and a strict provider accepts it.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::client;
use weir_test_support::fixtures;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, document};

use crate::{play, test};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

fn chains() -> [Value; 7] {
    [
        json!([]),
        json!([{"use": "ask_judge"}]),
        json!([{"use": "ask_judge", "with": {"message": null}}]),
        json!([{"use": "deny_tool", "with": {"name": "get_weather"}}]),
        json!([{"use": "deny_tool", "with": {"name": "delete_files", "with_call": true}}]),
        json!([{"use": "drop_text"}, {"use": "ask_judge", "with": {"message": null}}]),
        json!([{"use": "uppercase"}, {"use": "hold_text"}]),
    ]
}

fn judged(script: Script, harmful: &str) -> Vec<u8> {
    let script =
        script.judged(JudgeRule::new(harmful, JudgeReply::Verdict(0.9))).judged(JudgeRule::new("", JudgeReply::Verdict(0.1)));
    play(&script).client
}

/// Fixtures that this client can answer: not broken off, one choice, calls that have names, and text (audio goes back by
/// its id).
fn is_answerable(name: &str) -> bool {
    !["error", "two_choices", "calls_without_index", "late_id_and_name", "legacy_function_call", "custom_tool", "audio"]
        .contains(&name)
}

#[test]
fn a_streamed_message_is_accepted_in_the_next_turn() {
    for dialect in DIALECTS {
        for chain in chains() {
            for stream in fixtures::streams(dialect).iter().filter(|stream| is_answerable(stream.name)) {
                for harmful in ["get_weather", "delete_files", "web_search", ""] {
                    // Only a policy that looks at a cut call keeps it from the client.
                    if stream.name.contains("cut_by") && !chain.to_string().contains("ask_judge") {
                        continue;
                    }
                    let body = judged(Script::events(dialect, document(chain.clone()), stream.body), harmful);
                    let request = client::next_request(dialect, &client::streamed(dialect, &body));
                    let verdict = client::check_request(dialect, &request);
                    assert_eq!(verdict, Ok(()), "{dialect} {} with {chain}: {request:#}", stream.name);
                }
            }
        }
    }
}

#[test]
fn a_whole_message_is_accepted_in_the_next_turn() {
    for dialect in DIALECTS {
        for chain in chains() {
            for whole in fixtures::wholes(dialect).iter().filter(|whole| is_answerable(whole.name)) {
                for harmful in ["get_weather", "delete_files", "web_search", ""] {
                    let body = judged(Script::whole(dialect, document(chain.clone()), vec![whole.body.to_vec()]), harmful);
                    let request = client::next_request(dialect, &client::whole(dialect, &body));
                    let verdict = client::check_request(dialect, &request);
                    assert_eq!(verdict, Ok(()), "{dialect} {} with {chain}: {request:#}", whole.name);
                }
            }
        }
    }
}

#[test]
fn an_answer_to_the_request_itself_is_accepted_in_the_next_turn() {
    for dialect in DIALECTS {
        let chain = json!([{"use": "answer", "with": {"text": "Not today."}}]);
        let streamed = judged(Script::request(dialect, document(chain.clone()), true), "");
        let whole = judged(Script::request(dialect, document(chain), false), "");
        for message in [client::streamed(dialect, &streamed), client::whole(dialect, &whole)] {
            assert_eq!(message.only().text, "Not today.");
            assert_eq!(client::check_request(dialect, &client::next_request(dialect, &message)), Ok(()));
        }
    }
}

#[test]
fn the_strict_provider_refuses_what_providers_refuse() {
    let refuses = |dialect, turn: Value| {
        let request = json!({"messages": [{"role": "user", "content": "Hi"}, turn]});
        assert!(client::check_request(dialect, &request).is_err(), "{request}");
    };
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    refuses(Dialect::ChatCompletions, json!({"role": "assistant", "content": ""}));
    refuses(Dialect::ChatCompletions, json!({"role": "assistant", "content": "x", "tool_calls": []}));
    refuses(Dialect::ChatCompletions, json!({"role": "assistant", "tool_calls": [call]}));
    refuses(Dialect::Messages, json!({"role": "assistant", "content": []}));
    refuses(Dialect::Messages, json!({"role": "assistant", "content": [{"type": "text", "text": ""}]}));
    let tool = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
    refuses(Dialect::Messages, json!({"role": "assistant", "content": [tool]}));
}
