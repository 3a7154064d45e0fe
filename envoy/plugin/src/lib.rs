//! weir.wasm: the glue with the built-in policies.

weir_envoy::plugin!(weir_policies::registry);
