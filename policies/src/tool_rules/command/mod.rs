//! Commands for a shell: which programs they run.

mod programs;
#[cfg(test)]
mod tests;
mod words;
mod wrappers;

use serde::Deserialize;
use serde_json::Value;
use weir::document::DocumentError;

use self::programs::{Fed, Programs};
use self::words::Word;
use crate::condition::Tested;

/// Why it cannot be told what a command runs: a word for events.
pub(crate) type Why = &'static str;

/// A test of a command.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandTest {
    /// Where the command stands in the arguments: a string, or a list of words.
    #[serde(default = "CommandTest::default_at")]
    at: String,
    /// It runs one of these.
    programs: Vec<String>,
    /// It runs none but these: the test is turned around.
    #[serde(default)]
    only: bool,
}

impl CommandTest {
    fn default_at() -> String {
        "/command".to_owned()
    }

    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        if self.programs.is_empty() || self.programs.len() > 1_000 || self.programs.iter().any(String::is_empty) {
            return Err(DocumentError::new("command.programs", "must be 1 to 1000 names of programs"));
        }
        if !self.at.is_empty() && !self.at.starts_with('/') {
            let message = "must be a JSON pointer, such as \"/command\", or empty for all of it";
            return Err(DocumentError::new("command.at", message));
        }
        Ok(())
    }

    /// Whether the command runs one of the programs; with `only`, whether it runs none but them. Where that cannot be told, why.
    pub(crate) fn test(&self, arguments: &Value) -> (Tested, Option<Why>) {
        let mut found = Programs::default();
        match arguments.pointer(&self.at) {
            Some(Value::String(command)) => found.read_script(command, 0),
            Some(Value::Array(words)) => {
                let words: Option<Vec<Word>> = words.iter().map(|word| word.as_str().map(Word::plain)).collect();
                match words {
                    Some(words) => found.read_words(&words, 0, Fed::default()),
                    None => found.lose_track("no_command"),
                }
            }
            _ => found.lose_track("no_command"),
        }
        // What is known of it decides where that is enough.
        let (is_decided, decided, otherwise, unknown) = if self.only {
            let is_other = found.names.iter().any(|name| !self.allows(name));
            (is_other, Tested::HoldsNot, Tested::Holds, found.unknown.or(found.renamed))
        } else {
            (found.names.iter().any(|name| self.names(name)), Tested::Holds, Tested::HoldsNot, found.unknown)
        };
        match unknown {
            _ if is_decided => (decided, None),
            Some(why) => (Tested::Untestable, Some(why)),
            None => (otherwise, None),
        }
    }

    /// Whether a program may be one of these: wherever it stands, and whatever its case, which some file systems do not tell.
    fn names(&self, program: &str) -> bool {
        let file = programs::file_of(program);
        self.programs.iter().any(|named| named.eq_ignore_ascii_case(file) || named == program)
    }

    /// Whether a program is one of these for certain: found by its name alone, or where the system keeps its programs.
    fn allows(&self, program: &str) -> bool {
        let file = programs::file_of(program);
        let is_system =
            matches!(program.strip_suffix(file), Some("" | "/bin/" | "/sbin/" | "/usr/bin/" | "/usr/sbin/" | "/usr/local/bin/"));
        self.programs.iter().any(|named| named == program || (is_system && named == file))
    }
}
