//! `drop_comments`: takes the comments out of streams, on which some clients choke.
//!
//! No hook sees a comment: it says nothing. So this policy has raw access, and stands at the end of the chain.

use serde::Deserialize;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::policy::{Interests, Policy, PolicyContext, RawChunkAction, SharedPolicy};

/// Drops comments. There is nothing to configure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DropComments {}

/// Where in the stream the last byte that came stands: chunks end anywhere.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    LineStart,
    Line,
    Comment,
    /// Behind the CR that ended a comment: a LF that follows belongs to it.
    CommentEnd,
}

impl Place {
    /// Whether the next byte stays.
    fn keeps(&mut self, byte: u8) -> bool {
        let (next, keeps) = match (*self, byte) {
            (Self::CommentEnd, b'\n') => (Self::LineStart, false),
            (Self::CommentEnd | Self::LineStart, b':') => (Self::Comment, false),
            (Self::Comment, b'\n') => (Self::LineStart, false),
            (Self::Comment, b'\r') => (Self::CommentEnd, false),
            (Self::Comment, _) => (Self::Comment, false),
            (Self::CommentEnd | Self::LineStart | Self::Line, b'\n' | b'\r') => (Self::LineStart, true),
            (Self::CommentEnd | Self::LineStart | Self::Line, _) => (Self::Line, true),
        };
        *self = next;
        keeps
    }
}

impl Policy<Place> for DropComments {
    fn interests(&self) -> Interests {
        Interests::RAW
    }

    fn on_raw_chunk(&self, chunk: &[u8], _: bool, cx: &PolicyContext<Place>) -> RawChunkAction {
        let kept: Vec<u8> = cx.scratchpad(|place| chunk.iter().copied().filter(|byte| place.keeps(*byte)).collect());
        if kept.len() == chunk.len() { RawChunkAction::Keep } else { RawChunkAction::Replace(kept) }
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let policy: DropComments = parse(config.with)?;
    Ok(SharedPolicy::new("DropComments", policy))
}
