//! The recorded provider streams, read in place. They are no part of the project.

use std::fs;
use std::path::PathBuf;

use weir::dialect::Dialect;

/// A stream with the name of its file.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The file's name.
    pub name: String,
    /// The dialect that it speaks.
    pub dialect: Dialect,
    /// The body.
    pub body: Vec<u8>,
}

/// The recorded streams of `dialect`; see [`files`].
pub fn streams(dialect: Dialect) -> Vec<Recorded> {
    let folder = match dialect {
        Dialect::ChatCompletions => "openai-chat",
        Dialect::Messages => "anthropic-messages",
        Dialect::Responses => "openai-responses",
        // Nobody has recorded any.
        Dialect::McpTool => return Vec::new(),
        other => panic!("the corpus has no folder for {other}"),
    };
    files(folder).into_iter().map(|(name, body)| Recorded { name, dialect, body }).collect()
}

/// Name and content of the files in that folder of the place that the environment variable `WEIR_CORPUS` names, sorted.
/// Where there is none, one line says so and the list is empty.
pub fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = std::env::var_os("WEIR_CORPUS").map(|root| PathBuf::from(root).join(folder));
    let Some(entries) = path.and_then(|path| fs::read_dir(path).ok()) else {
        eprintln!("skipped: no recorded streams of {folder} (WEIR_CORPUS names their place; `make test` sets it)");
        return Vec::new();
    };
    let mut files = entries
        .map(|entry| {
            let path = entry.expect("the folder can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a recorded stream can be read"))
        })
        .collect::<Vec<_>>();
    files.sort();
    files
}
