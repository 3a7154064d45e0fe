//! See `weir_test_support::fuzzing::decode_mcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_test_support::fuzzing::decode_mcp(data));
