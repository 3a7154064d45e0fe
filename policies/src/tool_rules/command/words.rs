//! The words of a command, as shells split it.

use core::iter::Peekable;
use core::str::Chars;

use super::Why;

/// A word of a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) text: String,
    /// The shell puts something else in the place of a part of it.
    has_variable: bool,
    /// What that is may be several words, or none.
    pub(super) may_split: bool,
    /// It may stand for names of files, or for several words.
    has_glob: bool,
    /// So many bytes at its beginning stand there as they are: neither quoted nor put there.
    bare: usize,
    has_more: bool,
}

impl Word {
    /// Takes a word that no shell reads.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), bare: text.len(), ..Self::default() }
    }

    fn push(&mut self, character: char) {
        self.text.push(character);
        if !self.has_more {
            self.bare = self.text.len();
        }
    }

    fn push_quoted(&mut self, character: char) {
        self.has_more = true;
        self.text.push(character);
    }

    /// Says why it cannot be told what the word is when it is used, if so.
    pub(super) fn unknown(&self) -> Option<Why> {
        if self.has_variable {
            return Some("variable");
        }
        // A test, and a group.
        let is_syntax = self.bare == self.text.len() && matches!(self.text.as_str(), "[" | "[[" | "{" | "}");
        if self.has_glob && !is_syntax { Some("glob") } else { None }
    }

    /// Splits `NAME=value`, `NAME+=value` and `NAME[…]=value`.
    pub(super) fn assignment(&self) -> Option<(&str, &str)> {
        let at = self.text.find('=').filter(|at| *at < self.bare)?;
        let (name, value) = self.text.split_at_checked(at)?;
        let name = name.strip_suffix('+').unwrap_or(name);
        let name = name.split_once('[').filter(|(_, index)| index.ends_with(']')).map_or(name, |(name, _)| name);
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_begun = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        (is_name && is_begun).then(|| (name, value.strip_prefix('=').unwrap_or(value)))
    }
}

/// The simple commands of a command, as words; why not, where a shell would run what stands in it otherwise, or it is not complete.
pub(super) fn split(command: &str) -> Result<Vec<Vec<Word>>, Why> {
    let mut splitter = Splitter { characters: command.chars().peekable(), ..Splitter::default() };
    while let Some(character) = splitter.characters.next() {
        splitter.take(character)?;
    }
    splitter.end_command();
    Ok(splitter.commands)
}

struct Splitter<'c> {
    characters: Peekable<Chars<'c>>,
    commands: Vec<Vec<Word>>,
    /// The command under way.
    words: Vec<Word>,
    word: Option<Word>,
    /// The next word is where a redirection leads, and none of the command.
    redirects: bool,
}

impl Default for Splitter<'_> {
    fn default() -> Self {
        Self { characters: "".chars().peekable(), commands: Vec::new(), words: Vec::new(), word: None, redirects: false }
    }
}

const INCOMPLETE: Why = "incomplete";
const SUBSTITUTION: Why = "substitution";

impl Splitter<'_> {
    fn take(&mut self, character: char) -> Result<(), Why> {
        match character {
            '\0' => return Err(INCOMPLETE),
            '\'' => self.take_single_quoted()?,
            '"' => self.take_double_quoted()?,
            '\\' => match self.characters.next().ok_or(INCOMPLETE)? {
                '\n' => {}
                escaped => self.word().push_quoted(escaped),
            },
            // What is put there runs first.
            '`' => return Err(SUBSTITUTION),
            '$' => self.take_variable(false)?,
            '*' | '?' | '[' | '{' | '}' => {
                let word = self.word();
                word.has_glob = true;
                word.push(character);
            }
            ';' | '&' | '|' | '\n' | '(' | ')' => self.end_command(),
            '<' | '>' => self.take_redirection(character)?,
            '#' if self.word.is_none() => {
                while self.characters.peek().is_some_and(|next| *next != '\n') {
                    self.characters.next();
                }
            }
            ' ' | '\t' | '\r' => self.end_word(),
            other => self.word().push(other),
        }
        Ok(())
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !core::mem::take(&mut self.redirects) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirects = false;
        if !self.words.is_empty() {
            self.commands.push(core::mem::take(&mut self.words));
        }
    }

    fn take_single_quoted(&mut self) -> Result<(), Why> {
        self.word().has_more = true;
        loop {
            match self.characters.next().ok_or(INCOMPLETE)? {
                '\'' => return Ok(()),
                inner => self.word().push_quoted(inner),
            }
        }
    }

    fn take_double_quoted(&mut self) -> Result<(), Why> {
        self.word().has_more = true;
        loop {
            match self.characters.next().ok_or(INCOMPLETE)? {
                '"' => return Ok(()),
                '\\' => match self.characters.next().ok_or(INCOMPLETE)? {
                    '\n' => {}
                    escaped @ ('$' | '`' | '"' | '\\') => self.word().push_quoted(escaped),
                    other => {
                        self.word().push_quoted('\\');
                        self.word().push_quoted(other);
                    }
                },
                '`' => return Err(SUBSTITUTION),
                '$' => self.take_variable(true)?,
                inner => self.word().push_quoted(inner),
            }
        }
    }

    fn take_variable(&mut self, is_quoted: bool) -> Result<(), Why> {
        match self.characters.peek() {
            // `$(…)`; and `$'…'`, whose escapes can hide every character.
            Some('(') => return Err(SUBSTITUTION),
            Some('\'' | '"') if !is_quoted => return Err("escapes"),
            Some('{') => {
                // What stands within must be plain: quotes and commands in it are read by rules of their own.
                let mut rest = self.characters.clone();
                let within = rest.by_ref().skip(1).find(|next| "}'\"\\`$({\n".contains(*next));
                if within != Some('}') {
                    return Err(SUBSTITUTION);
                }
                self.characters = rest;
            }
            _ => {}
        }
        let word = self.word();
        word.has_variable = true;
        word.may_split |= !is_quoted;
        word.push_quoted('$');
        Ok(())
    }

    fn take_redirection(&mut self, character: char) -> Result<(), Why> {
        match self.characters.peek() {
            Some('(') => return Err(SUBSTITUTION),
            Some('<') if character == '<' => return Err("here_document"),
            Some('>' | '&') => {
                self.characters.next();
            }
            Some('|') if character == '>' => {
                self.characters.next();
            }
            _ => {}
        }
        // The digits before it are the number of what is redirected.
        let is_number = |word: &Word| word.bare == word.text.len() && word.text.bytes().all(|byte| byte.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word();
        self.redirects = true;
        Ok(())
    }
}
