//! weir.wasm.
