use super::*;
use crate::dialect::{DecodeError, Frame};

/// Reads an answer as it would come without the arrangement that takes away what answers nothing.
fn read_unarranged(answer: &str) -> Result<(), DecodeError> {
    let mut asked = Asked::default();
    let request = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run","arguments":{}}}"#;
    assert!(read(request, &Headers::default(), &mut asked).is_ok());
    Decoder::new(asked.into()).event(b"message", answer.as_bytes(), &mut Frame::default(), &mut |_| {})
}

#[test]
fn what_the_arrangement_takes_away_is_not_read() {
    let cases = [
        ("an answer to nothing", r#"{"jsonrpc":"2.0","id":2,"result":{}}"#),
        ("a result without an id", r#"{"jsonrpc":"2.0","result":{}}"#),
        ("two answers to one request", r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":1,"result":{}}]"#),
    ];
    for (case, answer) in cases {
        assert!(matches!(read_unarranged(answer), Err(DecodeError::Unreachable(_))), "{case}");
    }
    assert_eq!(read_unarranged(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), Ok(()));
}
