//! See `weir_test_support::fuzzing::encoding`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_test_support::fuzzing::encoding(data));
