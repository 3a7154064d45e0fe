//! What an exchange costs in tokens, where the provider does not say it.

use weir::exchange::{End, Request};

/// Bytes of a token where nobody says how many there are. English text has 4 to 5, code and other scripts fewer: the estimate is
/// too low for these by up to a half, and too high for English by up to a fifth.
const BYTES_PER_TOKEN: u64 = 4;

/// Bytes of request and answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    input: u64,
    output: u64,
}

impl Bytes {
    pub(crate) fn of_request(request: &Request) -> Self {
        Self { input: request.body.len() as u64, output: 0 }
    }

    pub(crate) fn add_output(&mut self, delta: &str) {
        self.output = self.output.saturating_add(delta.len() as u64);
    }

    pub(crate) const fn input_tokens(self) -> u64 {
        self.input.div_ceil(BYTES_PER_TOKEN)
    }

    pub(crate) const fn output_tokens(self) -> u64 {
        self.output.div_ceil(BYTES_PER_TOKEN)
    }

    /// The tokens of an exchange that is over: what the provider says, or an estimate. One that never left costs nothing.
    pub(crate) fn tokens(self, end: &End) -> u64 {
        let (input, output) = self.both(end);
        input.saturating_add(output)
    }

    /// The same, of request and answer.
    pub(crate) fn both(self, end: &End) -> (u64, u64) {
        match end.usage {
            // Of a stream that broke off the provider may have said the request's part alone.
            Some(usage) => {
                (usage.input_tokens, usage.output_tokens.max(if usage.output_tokens <= 1 { self.output_tokens() } else { 0 }))
            }
            None if self.output == 0 && end.status != 200 => (0, 0),
            None => (self.input_tokens(), self.output_tokens()),
        }
    }
}
