//! What hooks learn of an exchange's end.

use serde_json::{Value, json};
use weir::decision::Decision;
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::chunking;
use weir_test_support::script::{JudgeReply, JudgeRule, Script, Step, document};

use crate::{play, test};

fn ended(script: &Script) -> Value {
    let outcome = play(script);
    let [event] = outcome.events_of("caller.ended")[..] else { panic!("one event was expected") };
    Value::Object(event.metadata.clone())
}

#[test]
fn usage_is_read_in_each_dialect_streamed_and_whole() {
    // A chain that looks at answers: where nobody does, nothing is read.
    let chain = || document(json!([{"use": "caller"}, {"use": "watch"}]));
    let answer = Answer { said: vec![Said::Text(&["Hi."])], cut: false };
    for dialect in [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses] {
        let whole = ended(&Script::whole(dialect, chain(), vec![answer.whole(dialect)]));
        assert_eq!(whole["usage"], json!({"input_tokens": 1, "output_tokens": 1}), "{dialect}");
        assert_eq!((&whole["reason"], &whole["status"], &whole["streamed"]), (&json!("completed"), &json!(200), &json!(false)));
        if dialect != Dialect::ChatCompletions {
            let streamed = ended(&Script::events(dialect, chain(), &answer.streamed(dialect)));
            assert_eq!(streamed["usage"], whole["usage"], "{dialect}");
        }
    }
    let usage = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9,\"total_tokens\":16}}\n\ndata: [DONE]\n\n";
    let stream = String::from_utf8(answer.streamed(Dialect::ChatCompletions)).unwrap().replace("data: [DONE]\n\n", usage);
    let streamed = ended(&Script::events(Dialect::ChatCompletions, chain(), stream.as_bytes()));
    assert_eq!(streamed["usage"], json!({"input_tokens": 7, "output_tokens": 9}));
}

#[test]
fn an_end_says_why_and_with_which_decision() {
    let answer = Answer { said: vec![Said::Text(&["one ", "two"])], cut: false };
    let chain = json!([{"use": "caller"}, {"use": "uppercase"}]);
    let script = Script::events(Dialect::Messages, document(chain), &answer.streamed(Dialect::Messages));
    let gone = ended(&script.interrupted(5, Step::ClientGone));
    assert_eq!((&gone["reason"], &gone["decision"]), (&json!("client_gone"), &json!("rewrite")));
    assert_eq!(gone["usage"]["input_tokens"], 1, "what was said so far is known");
}

#[test]
fn an_end_before_a_call_is_decided_is_no_permission() {
    let call = Said::Call { id: "call_1", name: "get_weather", arguments: &["{\"city\":", "\"Paris\"}"] };
    let answer = Answer { said: vec![Said::Text(&["Let me see."]), call], cut: false };
    let chain = || document(json!([{"use": "caller"}, {"use": "ask_judge"}]));
    for dialect in [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses] {
        let body = answer.streamed(dialect);
        let events = chunking::events(&body).len();
        let script = |reply| Script::events(dialect, chain(), &body).judged(JudgeRule::new("", reply));
        for step in [Step::ClientGone, Step::UpstreamReset] {
            // Behind the call's first delta, and behind all of it, with the judge still asked.
            let first = chunking::events(&body).iter().position(|event| event.windows(6).any(|word| word == b"call_1"));
            for chunks in [first.unwrap() + 1, events] {
                let outcome = play(&script(JudgeReply::Silence).interrupted(chunks, step.clone()));
                assert_eq!(outcome.decision, Decision::Undecided, "{dialect}: {step:?} behind {chunks} of {events}");
                assert_eq!(outcome.enforcement()["reason_code"], "UNDECIDED", "{dialect}");
                assert!(!outcome.text().contains("call_1"), "{dialect}: {}", outcome.text());
            }
        }
        assert_eq!(play(&script(JudgeReply::Verdict(0.1))).decision, Decision::Allow, "{dialect}");
        let before = play(&script(JudgeReply::Silence).interrupted(first_text(&body), Step::ClientGone));
        assert_eq!(before.decision, Decision::Allow, "{dialect}: nothing was held");
    }
}

/// How many events come up to the first text.
fn first_text(body: &[u8]) -> usize {
    let is_text = |event: &Vec<u8>| String::from_utf8_lossy(event).contains("Let me see.");
    chunking::events(body).iter().position(is_text).unwrap() + 1
}
