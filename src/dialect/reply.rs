//! Answers and errors that Weir gives itself, in the words of each dialect.

use super::{Dialect, Ending};

/// A whole HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Value of the `content-type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What an answer of Weir's own says.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Id of the exchange; the answer's id is made of it.
    pub call_id: &'a str,
    /// The model that the request asked for.
    pub model: &'a str,
    /// Unix time in seconds.
    pub created: u64,
    /// The text; must not be empty.
    pub text: &'a str,
    /// How the answer ends.
    pub ending: Ending,
}

/// An answer that clients parse as a normal one, with status 200; as a stream if `streamed`.
pub fn answer(dialect: Dialect, answer: &Answer<'_>, streamed: bool) -> Reply {
    let _ = (dialect, answer, streamed);
    Reply { status: 200, content_type: "application/json", body: Vec::new() }
}

/// An error in the dialect's own shape (OpenAI's where no dialect is known). `code` is a machine-readable word such as `policy_refused`.
pub fn error(dialect: Option<Dialect>, status: u16, code: &str, message: &str) -> Reply {
    let _ = (dialect, code, message);
    Reply { status, content_type: "application/json", body: Vec::new() }
}
