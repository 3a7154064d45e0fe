//! The module under test.

use std::path::PathBuf;

/// The built module.
#[derive(Debug)]
pub struct Module {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its imports: module and name.
    pub imports: Vec<(String, String)>,
}

/// Reads the built module: that of the environment variable `WEIR_WASM`, or `target/weir.wasm`.
///
/// # Panics
/// When there is none.
pub fn module() -> Module {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/weir.wasm");
    let path = std::env::var_os("WEIR_WASM").map_or(built, PathBuf::from);
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; build it with `make wasm`, or name it in WEIR_WASM", path.display()));
    let engine = wasmi::Engine::default();
    let parsed = wasmi::Module::new(&engine, &bytes).expect("the file is no WebAssembly module that the interpreter can run");
    let imports = parsed.imports().map(|import| (import.module().to_owned(), import.name().to_owned())).collect();
    Module { bytes, imports }
}
