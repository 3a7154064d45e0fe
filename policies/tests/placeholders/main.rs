//! Reversible placeholders in whole exchanges.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod arguments;
mod bounds;
mod configuration;
mod exchange;
mod requests;
mod texts;
