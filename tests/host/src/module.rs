//! The modules under test.

use std::path::PathBuf;
use std::sync::OnceLock;

use wasmi::{CompilationMode, Config, Engine};

/// A module that `make test` builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// `weir.wasm`: the file that the environment variable `WEIR_WASM` names, or `target/weir.wasm`.
    Weir,
    /// The glue with the policies of the tests.
    Test,
}

/// A built module.
#[derive(Debug)]
pub struct Module {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its imports: module and name.
    pub imports: Vec<(String, String)>,
    pub(crate) parsed: wasmi::Module,
}

impl Plugin {
    /// Reads the module, once.
    ///
    /// # Panics
    /// When there is none.
    pub fn module(self) -> &'static Module {
        static WEIR: OnceLock<Module> = OnceLock::new();
        static TEST: OnceLock<Module> = OnceLock::new();
        let read = match self {
            Self::Weir => &WEIR,
            Self::Test => &TEST,
        };
        read.get_or_init(|| Module::read(self.path()))
    }

    fn path(self) -> PathBuf {
        let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
        match self {
            Self::Weir => std::env::var_os("WEIR_WASM").map_or_else(|| target.join("weir.wasm"), PathBuf::from),
            Self::Test => target.join("wasm32-wasip1/wasm/weir_test_plugin.wasm"),
        }
    }
}

impl Module {
    fn read(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; `make test` builds it, `make wasm` weir.wasm alone", path.display()));
        let mut config = Config::default();
        // Each test runs a small part of the module.
        config.compilation_mode(CompilationMode::Lazy);
        let engine = Engine::new(&config);
        let parsed = wasmi::Module::new(&engine, &bytes).expect("the file is a WebAssembly module that the interpreter can run");
        let imports = parsed.imports().map(|import| (import.module().to_owned(), import.name().to_owned())).collect();
        Self { bytes, imports, parsed }
    }
}
