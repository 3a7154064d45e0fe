//! What hooks return.

use core::time::Duration;
use std::borrow::Cow;

use crate::answer::Answer;
use crate::block::Chunk;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestAction {
    /// It goes to the provider (and to the next policy) as it is.
    SendRequest,
    /// It goes to the provider (and to the next policy) with this body.
    SendRequestBody(Vec<u8>),
    /// It does not leave; the client gets this answer. One that passes the policies behind meets their request hooks first.
    SendResponse(Answer),
    /// It does not leave; the client gets an error of its dialect.
    Refuse(Refusal),
}

/// What becomes of a whole body that a policy sees as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawAction {
    /// It goes on as it is.
    Keep,
    /// These bytes go on in its place.
    Replace(Vec<u8>),
    /// It does not go on; the client gets an error of its dialect.
    Refuse(Refusal),
}

/// What becomes of bytes of a stream that a policy sees as such.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawChunkAction {
    /// They leave as they are.
    Keep,
    /// These bytes leave in their place; none, to keep them for later in the scratchpad.
    Replace(Vec<u8>),
}

/// The error that a client gets in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Refusal {
    /// Refuses with an HTTP status of 400 to 599 (others become the nearest of these) and what the client is told.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status: status.clamp(400, 599), code: "policy_refused".to_owned(), message: message.into(), headers: Vec::new() }
    }

    /// Sets the machine-readable word, where the dialect's errors have one; `policy_refused` if it is not set.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Tells clients when to try again: `retry-after`, in whole seconds, rounded up.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        self.with_header("retry-after", seconds.to_string())
    }

    /// Adds a header to the answer. One whose name or value HTTP does not allow is left out.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (mut name, value) = (name.into(), value.into());
        name.make_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_visible = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
        if !name.is_empty() && name.bytes().all(is_token) && value.bytes().all(is_visible) {
            self.headers.push((name, value));
        }
        self
    }
}

/// What becomes of a non-streamed response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseAction {
    /// It goes on to the block hooks, and then to the client.
    SendResponse,
    /// The client gets this answer in its place.
    SendAnswer(Answer),
}

/// What becomes of a streamed response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamAction {
    /// It flows.
    SendStreamingResponse,
    /// The client gets this answer in its place. The provider's stream is read for observation only, or not at all where
    /// the answer passes the policies behind.
    BlockStream(Answer),
}

/// What becomes of a delta, together with what the policy holds of the same block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeltaAction<'d> {
    /// What is held of the block goes on, and this delta after it.
    Forward,
    /// It waits with what is held, until a later delta or the end of the block decides.
    Hold,
    /// It and what is held are dropped.
    Drop,
    /// This text goes on in place of it and of what is held.
    Replace(Cow<'d, str>),
    /// The last bytes of it, with what is held before it, are undecided: as many wait, and what stands before them goes on as
    /// it came. Of a text; a tool call waits as a whole.
    HoldEnd(usize),
    /// As many bytes at the end of it, with what is held before it, are undecided: they wait, and `text` goes on in place of
    /// what stands before them.
    ReplaceHoldEnd {
        /// What goes on.
        text: Cow<'d, str>,
        /// How many bytes wait.
        hold: usize,
    },
}

impl DeltaAction<'_> {
    /// The same action, owning its text.
    pub(crate) fn into_owned(self) -> DeltaAction<'static> {
        match self {
            Self::Forward => DeltaAction::Forward,
            Self::Hold => DeltaAction::Hold,
            Self::Drop => DeltaAction::Drop,
            Self::Replace(text) => DeltaAction::Replace(Cow::Owned(text.into_owned())),
            Self::HoldEnd(hold) => DeltaAction::HoldEnd(hold),
            Self::ReplaceHoldEnd { text, hold } => DeltaAction::ReplaceHoldEnd { text: Cow::Owned(text.into_owned()), hold },
        }
    }
}

/// What becomes of a tool that is offered to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferAction {
    /// It is offered.
    Keep,
    /// The client does not hear of it.
    Remove,
}

/// What becomes of that which a policy holds of a block, when the block has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockAction {
    /// It goes on.
    Forward,
    /// It stays held beyond the end of the block: the next text of the same kind in the choice decides about it, or the end
    /// of the answer ([`Policy::on_text_end`](super::Policy::on_text_end)). Of a text; else it is dropped.
    Hold,
    /// It is dropped.
    Drop,
    /// A tool call goes on with these arguments in place of its own; all else of it stays as the provider wrote it. They can be
    /// edited with [`Arguments`](crate::arguments::Arguments). What is no tool call is dropped.
    ReplaceArguments(String),
    /// This chunk goes on in its place.
    Replace(Chunk),
}
