//! Each policy over all dialects, streamed and whole: the same decision, and the same for the client.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod cached_answers;
mod categories;
mod exchange;
mod judges;
mod policy_rollouts;
mod quotas;
mod requests;
mod rewriting;
mod summaries;
mod summaries_by_rules;
mod texts;
mod tools;
