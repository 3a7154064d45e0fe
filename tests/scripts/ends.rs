//! What hooks learn of an exchange's end.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir_test_support::answer::{Answer, Said};
use weir_test_support::script::{Script, Step, document};

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
