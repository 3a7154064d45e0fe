//! The glue with the policies of the tests.

weir_envoy::plugin!(weir_test_support::policies::registry);
