//! What becomes of the provider's stream once the client's was ended before it.

use core::time::Duration;

use serde::Deserialize;

use crate::document::{DocumentDuration, DocumentError};

/// Longest time for which a stream may be read on.
const MAX_DRAIN: Duration = Duration::from_secs(3600);

/// What a policy document says about it (`after_block`): `"drain"`, `{"drain_for": "2s"}` or `"cancel"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AfterBlock {
    /// The stream is read to its end, and dropped: the client's connection stays whole.
    #[default]
    Drain,
    /// It is read on for this long, then broken off.
    DrainFor(DocumentDuration),
    /// It is broken off at once, where the host can end the client's response in an orderly way before; else it is drained.
    Cancel,
}

impl AfterBlock {
    pub(crate) fn check(self) -> Result<(), DocumentError> {
        match self {
            Self::DrainFor(duration) if duration.0.is_zero() || duration.0 > MAX_DRAIN => {
                Err(DocumentError::new("after_block.drain_for", "must be more than 0 and at most 1h"))
            }
            Self::Drain | Self::DrainFor(_) | Self::Cancel => Ok(()),
        }
    }
}

/// What became of the rest of a provider's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It was read, and dropped.
    Drained,
    /// It was broken off; the client's response had ended in an orderly way.
    Cancelled,
    /// It was broken off with the client's response, whose last bytes had been sent.
    BrokenOff,
}

impl Rest {
    /// Gives its word in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Cancelled => "cancelled",
            Self::BrokenOff => "broken_off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AfterBlock;
    use crate::document::{Document, Registry};

    fn read(after_block: &str) -> Result<AfterBlock, String> {
        let json = format!(r#"{{"policy":{{"id":"p"}},"after_block":{after_block}}}"#);
        let document = Document::parse(&json, &Registry::default(), &|_| None).map_err(|error| error.to_string())?;
        Ok(document.chain.after_block)
    }

    #[test]
    fn documents_say_what_becomes_of_the_rest() {
        assert_eq!(read(r#""drain""#), Ok(AfterBlock::Drain));
        assert_eq!(read(r#""cancel""#), Ok(AfterBlock::Cancel));
        let two_seconds = crate::document::DocumentDuration(core::time::Duration::from_secs(2));
        assert_eq!(read(r#"{"drain_for":"2s"}"#), Ok(AfterBlock::DrainFor(two_seconds)));
        let error = read(r#"{"drain_for":"0s"}"#);
        assert_eq!(error, Err("after_block.drain_for: must be more than 0 and at most 1h".to_owned()));
        assert!(read(r#""stop""#).is_err_and(|error| error.starts_with("after_block: ")));
    }
}
