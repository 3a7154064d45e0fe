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
            let facts = RequestFacts { model: model.to_owned(), stream };
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
    assert_eq!(read(Endpoint::MessageBatches, b""), Ok(RequestFacts::default()));
    assert_eq!(read(MESSAGES, b"{\"a\":\"\xff\"}"), Err(DecodeError::Utf8 { at: 6 }));
}
