//! A client's view of an answer: what the official libraries accumulate, and what they send back in the next turn.

mod accumulate;
mod next_turn;
mod responses;

pub use accumulate::{Call, Choice, Message, streamed, whole};
pub use next_turn::{check_request, next_request};
