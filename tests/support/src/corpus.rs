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

/// Recordings whose deltas were thinned out afterwards: what they repeat is not what they stream, which no provider sends,
/// and they do not leave as they came.
const THINNED_OUT: [&str; 2] = ["openai--openai-phase.1.sse", "openai--openai-shell-container.1.sse"];

/// The corpus' streams of `dialect`, from the folder that `WEIR_CORPUS` names, or `../shared/corpus` beside the
/// project. Where there is none, one line says so and the list is empty.
pub fn streams(dialect: Dialect) -> Vec<Recorded> {
    let folder = match dialect {
        Dialect::ChatCompletions => "openai-chat",
        Dialect::Messages => "anthropic-messages",
        Dialect::Responses => "openai-responses",
        // Nobody has recorded any.
        Dialect::McpTool => return Vec::new(),
        other => panic!("the corpus has no folder for {other}"),
    };
    let root = std::env::var_os("WEIR_CORPUS").map_or_else(beside_the_project, PathBuf::from);
    let path = root.join(folder);
    let Ok(entries) = fs::read_dir(&path) else {
        eprintln!("skipped: no recorded streams in {} (set WEIR_CORPUS to their folder)", path.display());
        return Vec::new();
    };
    let mut streams = entries
        .map(|entry| {
            let path = entry.expect("the folder can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Recorded { name, dialect, body: fs::read(&path).expect("a recorded stream can be read") }
        })
        .filter(|recorded| !THINNED_OUT.contains(&recorded.name.as_str()))
        .collect::<Vec<_>>();
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    streams
}

/// Where the corpus is if `WEIR_CORPUS` does not say.
fn beside_the_project() -> PathBuf {
    let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    workspace.join("../shared/corpus")
}
