//! The scripts, played against a built module in the emulated host: what comes of them is what the engine alone makes of
//! them.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

#[path = "../../scripts/mod.rs"]
mod scripts;

use core::prelude::v1::test;

use weir_host_tests::{Plugin, player};
use weir_test_support::native::Outcome;
use weir_test_support::policies;
use weir_test_support::script::Script;

#[track_caller]
fn play(script: &Script) -> Outcome {
    player::play(script, Plugin::Test, &policies::registry())
}
