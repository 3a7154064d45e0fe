//! The engine alone, without a proxy or an operating system: the scripts that also run natively and in a proxy's place.
#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]
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

use std::sync::Arc;

use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir::dialect::Dialect;
use weir::id::CallId;
use weir_test_support::native::{self, Outcome};
use weir_test_support::script::{Script, document};
use weir_test_support::{chunking, fixtures, fuzzing, policies};

const DIALECTS: [Dialect; 3] = [Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses];

fn play(script: &Script) -> Outcome {
    native::play(script, &policies::registry())
}

#[test]
fn a_stream_that_no_policy_touches_leaves_byte_for_byte() {
    let chain = Arc::new(native::load(&document(json!([{"use": "no_op"}])), &policies::registry()).unwrap());
    for dialect in DIALECTS {
        for fixture in fixtures::streams(dialect).iter().filter(|fixture| fixture.is_plain()) {
            for chunks in [chunking::bytes(fixture.body), chunking::events(fixture.body), vec![fixture.body.to_vec()]] {
                let out = native::stream_through(&chain, dialect, chunks.iter().map(Vec::as_slice));
                assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(fixture.body), "{}", fixture.name);
            }
        }
    }
}

#[test]
fn the_parsers_hold_on_the_seeds() {
    for (name, target, seeds) in fuzzing::targets() {
        if name != "exchange" {
            seeds.iter().for_each(|seed| target(seed));
        }
    }
}

#[test]
fn ids_are_random() {
    assert_ne!(CallId::random().unwrap(), CallId::random().unwrap());
}
