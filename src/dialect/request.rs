//! What the engine reads of a request body.

use super::{DecodeError, Dialect};

/// The facts of a request that the engine and the policies need at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model that was asked for; empty when the request names none.
    pub model: String,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
}

/// Reads the facts of a request body.
///
/// # Errors
/// When the body is not a request of `dialect`, or one that readers could understand differently.
pub fn read(dialect: Dialect, body: &[u8]) -> Result<RequestFacts, DecodeError> {
    let _ = (dialect, body);
    Ok(RequestFacts::default())
}
