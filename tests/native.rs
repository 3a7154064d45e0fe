//! The scripts, played against the engine alone.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

mod scripts;

use core::prelude::v1::test;

use weir_test_support::native::{self, Outcome};
use weir_test_support::policies;
use weir_test_support::script::Script;

fn play(script: &Script) -> Outcome {
    native::play(script, &policies::registry())
}
