//! The tests are in `tests/`; they run on wasm32-unknown-unknown alone (`tests/browser/run`).
