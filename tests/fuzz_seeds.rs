//! The fuzz targets on their seeds, and on what proptest makes up.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use proptest::prelude::*;
use weir_test_support::fuzzing;

#[test]
fn every_target_holds_on_its_seeds() {
    for (name, target, seeds) in fuzzing::targets() {
        assert!(!seeds.is_empty(), "{name} has seeds");
        for seed in seeds {
            target(&seed);
        }
    }
}

proptest! {
    // What is found becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_parser_holds_on_anything(data in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), any::<u8>()], 0..700)) {
        fuzzing::sse(&data);
    }

    #[test]
    fn an_exchange_holds_on_any_operations(data in prop::collection::vec(any::<u8>(), 0..120)) {
        fuzzing::exchange(&data);
    }
}
