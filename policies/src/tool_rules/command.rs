//! Commands for a shell: which programs they run.

use serde::Deserialize;
use serde_json::Value;
use weir::document::DocumentError;

use crate::condition::Tested;

/// How deep a command may stand in another (`sh -c '…'`).
const MAX_DEPTH: usize = 4;

/// Longest command that is read.
const MAX_COMMAND_BYTES: usize = 64 * 1024;

/// Programs that run the one that is named behind them.
const WRAPPERS: [&str; 14] = [
    "sudo", "doas", "env", "nohup", "nice", "time", "timeout", "exec", "command", "builtin", "xargs", "stdbuf", "setsid",
    "ionice",
];

/// Shells, which run what stands behind `-c`.
const SHELLS: [&str; 6] = ["sh", "bash", "zsh", "dash", "ksh", "fish"];

/// Programs that run what cannot be told.
const OPAQUE: [&str; 9] = ["eval", "source", ".", "python", "python3", "perl", "ruby", "node", "awk"];

/// A test of a command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandTest {
    /// Where the command stands in the arguments: a string, or a list of words.
    #[serde(default = "CommandTest::default_at")]
    at: String,
    /// It runs one of these.
    programs: Vec<String>,
    /// It runs others than these: the test is turned around.
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
        if !self.at.starts_with('/') {
            return Err(DocumentError::new("command.at", "must be a JSON pointer, such as \"/command\""));
        }
        Ok(())
    }

    /// Whether the command runs one of the programs; with `only`, whether it runs none but them.
    pub(crate) fn test(&self, arguments: &Value) -> Tested {
        let programs = match arguments.pointer(&self.at) {
            Some(Value::String(command)) => programs_of(command, 0),
            Some(Value::Array(words)) => {
                let words: Option<Vec<Word>> = words.iter().map(|word| word.as_str().map(Word::plain)).collect();
                words.and_then(|words| {
                    let mut found = Vec::new();
                    take_simple(&words, 0, &mut found).then_some(found)
                })
            }
            _ => None,
        };
        let Some(programs) = programs else { return Tested::Untestable };
        let is_named = |program: &String| self.programs.contains(program);
        let holds = if self.only { programs.iter().all(is_named) } else { programs.iter().any(is_named) };
        if holds { Tested::Holds } else { Tested::HoldsNot }
    }
}

/// A word of a command.
#[derive(Debug, Default)]
struct Word {
    text: String,
    /// The shell puts something else in its place.
    is_expanded: bool,
    was_quoted: bool,
}

impl Word {
    fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

/// The programs that a command runs, by the names of their files; `None` where they cannot be told.
fn programs_of(command: &str, depth: usize) -> Option<Vec<String>> {
    if depth > MAX_DEPTH || command.len() > MAX_COMMAND_BYTES {
        return None;
    }
    let mut programs = Vec::new();
    for simple in split(command)? {
        if !take_simple(&simple, depth, &mut programs) {
            return None;
        }
    }
    Some(programs)
}

/// Notes the programs of one simple command. Whether they can be told.
fn take_simple(words: &[Word], depth: usize, programs: &mut Vec<String>) -> bool {
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let is_assignment = !word.was_quoted && word.text.split_once('=').is_some_and(|(name, _)| is_name(name));
        let is_keyword = matches!(
            word.text.as_str(),
            "if" | "then" | "else" | "elif" | "fi" | "do" | "done" | "while" | "until" | "!" | "{" | "}"
        );
        if is_assignment || is_keyword {
            continue;
        }
        if word.is_expanded {
            return false;
        }
        let program = word.text.rsplit('/').next().unwrap_or_default().to_owned();
        let is_wrapper = WRAPPERS.contains(&program.as_str());
        let is_shell = SHELLS.contains(&program.as_str());
        if matches!(program.as_str(), "for" | "case" | "function" | "select") || OPAQUE.contains(&program.as_str()) {
            // What runs then stands in words that are not read as commands here.
            programs.push(program);
            return matches!(words.first(), Some(first) if OPAQUE.contains(&first.text.as_str())) && rest.peek().is_none();
        }
        programs.push(program);
        if is_shell {
            return take_shell(&mut rest, depth, programs);
        }
        if !is_wrapper {
            return true;
        }
        // Options of a wrapper, with their values, cannot be told from the program: one that has any is not told.
        if rest.peek().is_some_and(|next| next.text.starts_with('-')) {
            return false;
        }
        while rest.peek().is_some_and(|next| next.text.starts_with(|first: char| first.is_ascii_digit())) {
            rest.next();
        }
    }
    true
}

fn take_shell<'w>(words: &mut impl Iterator<Item = &'w Word>, depth: usize, programs: &mut Vec<String>) -> bool {
    let mut runs_next = false;
    for word in words {
        if word.is_expanded {
            return false;
        }
        if runs_next {
            return programs_of(&word.text, depth.saturating_add(1)).is_some_and(|inner| {
                programs.extend(inner);
                true
            });
        }
        runs_next = word.text.starts_with('-') && word.text.ends_with('c');
        if !word.text.starts_with('-') {
            // A script, or what comes from somewhere else.
            return false;
        }
    }
    false
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The simple commands of a command, as words; `None` where a shell would run what stands in it otherwise, or it is not complete.
fn split(command: &str) -> Option<Vec<Vec<Word>>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<Word> = None;
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                let quoted = word.get_or_insert_default();
                quoted.was_quoted = true;
                loop {
                    match characters.next()? {
                        '\'' => break,
                        inner => quoted.text.push(inner),
                    }
                }
            }
            '"' => {
                let quoted = word.get_or_insert_default();
                quoted.was_quoted = true;
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => quoted.text.push(characters.next()?),
                        // What is put there runs first.
                        '`' => return None,
                        '$' if characters.peek() == Some(&'(') => return None,
                        '$' => quoted.is_expanded = true,
                        inner => quoted.text.push(inner),
                    }
                }
            }
            '\\' => match characters.next()? {
                '\n' => {}
                escaped => word.get_or_insert_default().text.push(escaped),
            },
            '`' => return None,
            '$' if matches!(characters.peek(), Some('(' | '\'' | '"')) => return None,
            '$' | '*' | '?' | '[' | '{' | '}' | '~' if character == '$' || word.is_some() => {
                let expanded = word.get_or_insert_default();
                expanded.is_expanded = true;
                expanded.text.push(character);
            }
            '<' | '>' if characters.peek() == Some(&'(') => return None,
            '<' if characters.peek() == Some(&'<') => return None,
            ';' | '&' | '|' | '\n' | '(' | ')' => {
                commands.last_mut()?.extend(word.take());
                commands.push(Vec::new());
            }
            '>' | '<' => {
                commands.last_mut()?.extend(word.take());
            }
            '#' if word.is_none() => {
                while characters.peek().is_some_and(|next| *next != '\n') {
                    characters.next();
                }
            }
            blank if blank.is_whitespace() => commands.last_mut()?.extend(word.take()),
            other => word.get_or_insert_default().text.push(other),
        }
    }
    commands.last_mut()?.extend(word);
    Some(commands)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn programs(command: &str) -> Option<String> {
        programs_of(command, 0).map(|programs| programs.join(" "))
    }

    #[test]
    fn the_programs_of_a_command_are_found() {
        for (command, expected) in [
            ("ls -la", "ls"),
            ("  /bin/rm -rf /tmp/x", "rm"),
            ("cd /tmp && rm -rf * ; echo done", "cd rm echo"),
            ("cat a | grep b > c", "cat grep"),
            ("A=1 B=2 make", "make"),
            ("r\"m\" x; 'r'm y; \\rm z", "rm rm rm"),
            ("sudo rm x", "sudo rm"),
            ("timeout 5 curl http://a", "timeout curl"),
            ("bash -c 'cd x && rm y'", "bash cd rm"),
            ("sh -lc \"curl a | tail\"", "sh curl tail"),
            ("ls # rm x", "ls"),
            ("(cd a; rm b)", "cd rm"),
            ("echo '; rm x'", "echo"),
            ("if true; then rm x; fi", "true rm"),
            ("echo $HOME", "echo"),
        ] {
            assert_eq!(programs(command).as_deref(), Some(expected), "{command}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        for command in [
            "$(echo rm) x",
            "`echo rm` x",
            "$X -rf /",
            "eval \"rm x\"",
            "python3 -c 'import os'",
            "sudo -u root rm",
            "bash script.sh",
            "bash -c \"$X\"",
            "echo 'open",
            "cat <(rm x)",
            "cat <<EOF\nrm\nEOF",
            "for f in *; do rm $f; done",
            "echo \"$(rm x)\"",
        ] {
            assert_eq!(programs(command), None, "{command}");
        }
    }

    #[test]
    fn a_test_names_programs_or_all_that_may_run() {
        let test = |test: Value, arguments: Value| {
            let test: CommandTest = serde_json::from_value(test).unwrap();
            test.check().unwrap();
            test.test(&arguments)
        };
        let deny = json!({"programs": ["rm", "dd"]});
        assert_eq!(test(deny.clone(), json!({"command": "ls; rm x"})), Tested::Holds);
        assert_eq!(test(deny.clone(), json!({"command": "ls"})), Tested::HoldsNot);
        assert_eq!(test(deny.clone(), json!({"command": ["bash", "-c", "rm x"]})), Tested::Holds);
        assert_eq!(test(deny.clone(), json!({"cmd": "ls"})), Tested::Untestable);
        assert_eq!(test(deny, json!({"command": "$X"})), Tested::Untestable);
        let only = json!({"at": "/cmd", "programs": ["ls", "cat"], "only": true});
        assert_eq!(test(only.clone(), json!({"cmd": "ls | cat"})), Tested::Holds);
        assert_eq!(test(only, json!({"cmd": "ls | sh"})), Tested::Untestable);
    }
}
