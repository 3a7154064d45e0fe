//! What an answer cost, in tokens, as the provider says it in each dialect.

use serde::{Deserialize, Serialize};

use crate::dialect::{Frame, FrameRole};
use crate::wire::json::{Malformed, Reader};

/// Tokens of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

/// What was read of it so far. Streams say it in pieces, and say it again as it grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UsageReader {
    input: Option<u64>,
    output: Option<u64>,
}

impl UsageReader {
    /// Reads what `json`, an event's data or a whole body that was decoded to `frame`, says of it. Events that bring text
    /// and nothing else are not looked at.
    pub(crate) fn read(&mut self, json: &[u8], frame: &Frame, is_whole: bool) {
        let may_say_it = is_whole || frame.role != FrameRole::Content || frame.slots.is_empty() || !frame.finishes.is_empty();
        if !may_say_it || frame.role == FrameRole::Free {
            return;
        }
        let Ok(json) = core::str::from_utf8(json) else { return };
        // What could not be read was found out before.
        let _ = self.object(json, &mut Reader::new(json), 0);
    }

    /// Gives what is known of it; `None` where the provider said nothing.
    pub(crate) fn usage(&self) -> Option<Usage> {
        (self.input.is_some() || self.output.is_some())
            .then(|| Usage { input_tokens: self.input.unwrap_or_default(), output_tokens: self.output.unwrap_or_default() })
    }

    /// Looks for `usage` in a frame, and in the message or response that it is about.
    fn object(&mut self, json: &str, reader: &mut Reader<'_>, depth: u32) -> Result<(), Malformed> {
        if reader.peek() != Some(b'{') {
            return reader.skip();
        }
        reader.object(|reader, key| match key {
            "usage" => self.counts(json, reader),
            "message" | "response" if depth == 0 => self.object(json, reader, 1),
            _ => reader.skip(),
        })
    }

    fn counts(&mut self, json: &str, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if reader.peek() != Some(b'{') {
            return reader.skip();
        }
        reader.object(|reader, key| {
            let place = match key {
                "prompt_tokens" | "input_tokens" => &mut self.input,
                "completion_tokens" | "output_tokens" => &mut self.output,
                _ => return reader.skip(),
            };
            let number = reader.optional_value()?.and_then(|value| json.get(value.start..value.end));
            if let Some(count) = number.and_then(|number| number.parse().ok()) {
                *place = Some(count);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> Option<Usage> {
        let mut reader = UsageReader::default();
        events.iter().for_each(|event| reader.read(event.as_bytes(), &Frame::default(), false));
        reader.usage()
    }

    #[test]
    fn each_dialect_says_it_in_its_place() {
        let known = Some(Usage { input_tokens: 12, output_tokens: 34 });
        let chat = r#"{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}}"#;
        assert_eq!(read(&[chat]), known);
        let messages = [
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":12,"output_tokens":1}}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":34}}"#,
        ];
        assert_eq!(read(&messages), known);
        let responses = r#"{"type":"response.completed","response":{"output":[],"usage":{"input_tokens":12,
            "input_tokens_details":{"cached_tokens":3},"output_tokens":34}}}"#;
        assert_eq!(read(&[responses]), known);
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        for event in [
            r#"{"usage":null}"#,
            r#"{"usage":{"prompt_tokens":"12"}}"#,
            r#"{"usage":7}"#,
            "[DONE]",
            r#"{"a":{"usage":{"input_tokens":1}}}"#,
        ] {
            assert_eq!(read(&[event]), None, "{event}");
        }
    }
}
