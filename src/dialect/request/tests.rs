use super::*;
use crate::dialect::Dialect;

const CHAT: Endpoint = Endpoint::Dialect(Dialect::ChatCompletions);
const MESSAGES: Endpoint = Endpoint::Dialect(Dialect::Messages);

#[test]
fn model_and_stream_are_read() {
    let cases = [
        (r#"{"model":"m","stream":true,"messages":[]}"#, "m", true),
        (r#" {"model":"a\"b","stream":false}"#, "a\"b", false),
        (r#"{"stream":null,"unknown":{"model":"x"}}"#, "", false),
        (r#"{"str\u0065am":true}"#, "", true),
    ];
    for (body, model, stream) in cases {
        for endpoint in [CHAT, MESSAGES] {
            let facts = RequestFacts { model: model.to_owned(), stream, stored_input: None };
            assert_eq!(read(endpoint, body.as_bytes()), Ok(facts), "{body}");
        }
    }
}

#[test]
fn requests_that_readers_could_take_differently_are_refused() {
    let cases: [(&[u8], usize); 8] = [
        (b"", 0),
        (b"  [1]", 2),
        (b"{\"model\":\"m\"", 12),
        (br#"{"stream":true,"stream":false}"#, 24),
        (br#"{"stream":true,"str\u0065am":false}"#, 29),
        (br#"{"messages":[],"messages":[]}"#, 26),
        (br#"{"stream":"true"}"#, 10),
        (br#"{"model":3}"#, 9),
    ];
    for (body, at) in cases {
        let error = read(CHAT, body).unwrap_err();
        let DecodeError::Malformed { at: found } = error else { panic!("{error}") };
        assert_eq!(found, at, "{}", String::from_utf8_lossy(body));
    }
    for key in ["Messages", "SYSTEM", "Stream", "In\\u0050ut", "tool\\u017f", "Previous_response_id"] {
        let body = format!(r#"{{"messages":[],"{key}":[]}}"#);
        assert!(read(CHAT, body.as_bytes()).is_err(), "{body}");
    }
    assert_eq!(read(Endpoint::MessageBatches, b""), Ok(RequestFacts::default()));
    assert_eq!(read(MESSAGES, b"{\"a\":\"\xff\"}"), Err(DecodeError::Utf8 { at: 6 }));
}

#[test]
fn what_refers_to_input_that_stands_at_the_provider_is_named() {
    let responses = Endpoint::Dialect(Dialect::Responses);
    for (body, stored_input) in [
        (r#"{"input":"Hi"}"#, None),
        (r#"{"input":null,"previous_response_id":null,"conversation":null}"#, None),
        (r#"{"input":[{"role":"user","content":"Hi"},{"type":"message","id":"msg_1","role":"assistant","content":[]}]}"#, None),
        (r#"{"input":[{"type":"function_call_output","call_id":"c","output":"x"}]}"#, None),
        (r#"{"input":"Hi","previous_response_id":"resp_1"}"#, Some("previous_response_id")),
        (r#"{"conversation":{"id":"conv_1"},"input":"Hi"}"#, Some("conversation")),
        (r#"{"conversation":"conv_1"}"#, Some("conversation")),
        (r#"{"input":[{"role":"user","content":"Hi"},{"id":"msg_1","type":"item_reference"}]}"#, Some("item_reference")),
        (r#"{"input":[{"id":"msg_1"}]}"#, Some("item_reference")),
        (r#"{"input":[{"id":"msg_1","type":null}]}"#, Some("item_reference")),
        (r#"{"input":[{"id":"msg_1","type":"item\u005freference"}]}"#, Some("item_reference")),
    ] {
        assert_eq!(read(responses, body.as_bytes()).map(|facts| facts.stored_input), Ok(stored_input), "{body}");
        assert_eq!(read(CHAT, body.as_bytes()).map(|facts| facts.stored_input), Ok(None), "{body}");
    }
}
