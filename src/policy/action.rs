//! What hooks return.

use std::borrow::Cow;

use crate::block::Chunk;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestAction {
    /// It goes to the provider (and to the next policy) as it is.
    SendRequest,
    /// It goes to the provider (and to the next policy) with this body.
    SendRequestBody(Vec<u8>),
    /// It does not leave; the client gets this text as a normal answer of its dialect.
    SendResponse(String),
    /// It does not leave; the client gets an error of its dialect.
    Refuse {
        /// HTTP status, 400 to 599.
        status: u16,
        /// What the client is told.
        message: String,
    },
}

/// What becomes of a non-streamed response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseAction {
    /// It goes on to the block hooks, and then to the client.
    SendResponse,
    /// The client gets this text as a normal answer in its place.
    SendText(String),
}

/// What becomes of a streamed response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamAction {
    /// It flows.
    SendStreamingResponse,
    /// The client gets this text as a normal, finished stream; the provider's stream is read for observation only.
    BlockStream(String),
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
    /// It is dropped.
    Drop,
    /// This chunk goes on in its place.
    Replace(Chunk),
}
