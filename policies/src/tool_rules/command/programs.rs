//! The programs that a command runs, and what makes that they cannot be told.

use super::Why;
use super::words::{self, Word};
use super::wrappers::{self, Options, Passes, SHELL};

/// How deep a command may stand in another (`sh -c '…'`).
const MAX_DEPTH: usize = 4;

/// Longest command that is read.
const MAX_COMMAND_BYTES: usize = 64 * 1024;

/// Words of the grammar, behind which a command stands.
const KEYWORDS: [&str; 12] = ["if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}"];

/// Variables by which the names of programs come to mean others; those that end in `*` stand for all that begin so.
const RENAMING: [&str; 5] = ["PATH", "LD_*", "DYLD_*", "BASH_FUNC_*", "NODE_OPTIONS"];

/// Variables whose values are commands.
const RUN: [&str; 9] =
    ["PAGER", "GIT_PAGER", "EDITOR", "VISUAL", "GIT_EDITOR", "GIT_SSH_COMMAND", "PROMPT_COMMAND", "PS4", "GIT_EXTERNAL_DIFF"];

/// Variables whose values say what is run before.
const READ: [&str; 3] = ["BASH_ENV", "ENV", "PERL5OPT"];

/// What a command runs, as far as it can be told.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// As they are named.
    pub(super) names: Vec<String>,
    /// Why there may be others.
    pub(super) unknown: Option<Why>,
    /// Why the names may mean others than they do as a rule.
    pub(super) renamed: Option<Why>,
}

/// What another program puts into a command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fed<'w> {
    /// Words behind its own.
    is_appended: bool,
    /// Something in the place of this.
    mark: Option<&'w str>,
}

impl Fed<'_> {
    fn changes(self, text: &str) -> bool {
        self.mark.is_some_and(|mark| text.contains(mark))
    }
}

/// The file that a program is: its name without where it stands.
pub(super) fn file_of(program: &str) -> &str {
    program.rsplit(['/', '\\']).next().unwrap_or(program)
}

impl Programs {
    /// Says that there may be others than those that are known.
    pub(super) fn lose_track(&mut self, why: Why) {
        self.unknown = self.unknown.or(Some(why));
    }

    /// Reads a command as a shell reads it.
    pub(super) fn read_script(&mut self, script: &str, depth: usize) {
        if depth > MAX_DEPTH || script.len() > MAX_COMMAND_BYTES {
            return self.lose_track("too_long");
        }
        match words::split(script) {
            Ok(commands) => commands.iter().for_each(|words| self.read_words(words, depth, Fed::default())),
            Err(why) => self.lose_track(why),
        }
    }

    /// Reads one simple command.
    pub(super) fn read_words<'w>(&mut self, words: &'w [Word], depth: usize, mut fed: Fed<'w>) {
        if depth > MAX_DEPTH {
            return self.lose_track("too_long");
        }
        let mut rest = words;
        let mut last = None::<Options>;
        while let Some((word, behind)) = rest.split_first() {
            rest = behind;
            if last.is_some() && word.may_split {
                // Among the words of a program, what is put there can be several of them.
                return self.lose_track("variable");
            }
            if let Some((name, value)) = word.assignment() {
                self.read_assignment(name, value, word, depth);
                continue;
            }
            if last.is_some()
                && let Some((name, value)) =
                    word.text.split_once('=').filter(|(name, _)| !name.is_empty() && !name.starts_with('-'))
            {
                // `env` takes any name, however it was quoted; others would look for a program that is called so.
                self.read_assignment(name, value, word, depth);
                self.renamed = self.renamed.or(Some("environment"));
                continue;
            }
            if KEYWORDS.contains(&word.text.as_str()) {
                continue;
            }
            if let Some(why) = word.unknown() {
                return self.lose_track(why);
            }
            if fed.changes(&word.text) {
                return self.lose_track("input");
            }
            // In zsh `=rm` stands for where rm is.
            if word.text.is_empty() || word.text.starts_with(['-', '=']) {
                return self.lose_track("option");
            }
            self.names.push(word.text.clone());
            let (options, is_input) = match wrappers::find(file_of(&word.text)) {
                None => return,
                Some(Passes::Words(options)) => (options, false),
                Some(Passes::Input(options)) => (options, true),
                Some(passes) => return self.read_passed(passes, rest, depth, fed),
            };
            let Some((taken, behind)) = split_options(rest, options) else { return self.lose_track("option") };
            if is_input {
                fed = Fed { is_appended: true, mark: mark_of(taken) };
                if behind.is_empty() {
                    // It prints what it gets.
                    return;
                }
            }
            (rest, last) = (behind, Some(options));
        }
        // Nothing stands behind a program that runs what stands behind it.
        if last.is_some_and(|options| options.is_shell_alone || fed.is_appended) {
            self.lose_track("input");
        }
    }

    fn read_assignment(&mut self, name: &str, value: &str, word: &Word, depth: usize) {
        let is_one = |known: &&str| known.strip_suffix('*').map_or(name == *known, |prefix| name.starts_with(prefix));
        if RENAMING.iter().any(is_one) {
            self.renamed = self.renamed.or(Some("environment"));
        } else if READ.contains(&name) {
            self.lose_track("environment");
        } else if RUN.contains(&name) {
            if word.unknown().is_some() {
                return self.lose_track("environment");
            }
            self.read_script(value, depth.saturating_add(1));
        }
    }

    /// Reads what a program is told to run by its `words`.
    fn read_passed(&mut self, passes: Passes, words: &[Word], depth: usize, fed: Fed<'_>) {
        match passes {
            Passes::Shell => self.read_shell(words, depth, fed),
            Passes::Exec => self.read_exec(words, depth),
            Passes::ExecFlag => {
                let runs = |word: &Word| word.may_split || (word.text.starts_with('-') && word.text.contains(['x', 'X']));
                if words.iter().any(runs) {
                    self.lose_track("option");
                }
            }
            Passes::Joined(options) => self.read_joined(options, words, depth, fed),
            Passes::Command(options) => self.read_command(options, words, depth, fed),
            Passes::Trap => {
                let operand = words.iter().find(|word| word.text != "--");
                match operand {
                    Some(word) if word.unknown().is_some() => self.lose_track("variable"),
                    Some(word) if !word.text.starts_with('-') => self.read_script(&word.text, depth.saturating_add(1)),
                    _ => {}
                }
            }
            Passes::Variables => {
                for word in words {
                    match word.assignment() {
                        Some((name, value)) => self.read_assignment(name, value, word, depth),
                        None if word.unknown().is_some() => self.lose_track("variable"),
                        None => {}
                    }
                }
            }
            Passes::Data => {}
            Passes::Otherwise(why) => self.lose_track(why),
            // They are read as they come.
            Passes::Words(_) | Passes::Input(_) => self.lose_track("option"),
        }
    }

    fn read_shell(&mut self, words: &[Word], depth: usize, fed: Fed<'_>) {
        let Some((taken, behind)) = split_options(words, SHELL) else { return self.lose_track("option") };
        // Behind an `o` in a group bash goes on with the group, and takes the next word all the same.
        let is_odd =
            |word: &Word| word.text.trim_end_matches(['o', 'O']).contains(['o', 'O']) && word.text.starts_with(['-', '+']);
        if taken.iter().any(|word| is_odd(word) && !word.text.starts_with("--")) {
            return self.lose_track("option");
        }
        let has_command = |word: &Word| word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('c');
        match behind.first() {
            Some(script) if taken.iter().any(has_command) => self.read_inner(script, depth, fed),
            Some(_) => self.lose_track("script"),
            // It reads what comes in.
            None => self.lose_track("input"),
        }
    }

    fn read_inner(&mut self, script: &Word, depth: usize, fed: Fed<'_>) {
        if script.unknown() == Some("variable") {
            self.lose_track("variable");
        } else if fed.changes(&script.text) {
            self.lose_track("input");
        } else {
            self.read_script(&script.text, depth.saturating_add(1));
        }
    }

    fn read_exec(&mut self, words: &[Word], depth: usize) {
        if words.iter().any(|word| word.may_split) {
            // It may stand for an option.
            return self.lose_track("variable");
        }
        let is_exec = |word: &Word| matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir");
        let mut rest = words;
        while let Some(at) = rest.iter().position(is_exec) {
            rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
            let end = rest.iter().position(|word| matches!(word.text.as_str(), ";" | "+")).unwrap_or(rest.len());
            let (command, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.read_words(command, depth.saturating_add(1), Fed { is_appended: false, mark: Some("{}") });
            rest = behind;
        }
    }

    fn read_joined(&mut self, options: Options, words: &[Word], depth: usize, fed: Fed<'_>) {
        let Some((_, behind)) = split_options(words, options) else { return self.lose_track("option") };
        if let Some(why) = behind.iter().find_map(Word::unknown) {
            return self.lose_track(why);
        }
        if fed.is_appended || behind.iter().any(|word| fed.changes(&word.text)) || (options.is_shell_alone && behind.is_empty()) {
            return self.lose_track("input");
        }
        let words: Vec<&str> = behind.iter().map(|word| word.text.as_str()).collect();
        self.read_script(&words.join(" "), depth.saturating_add(1));
    }

    fn read_command(&mut self, options: Options, words: &[Word], depth: usize, fed: Fed<'_>) {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let text = word.text.as_str();
            let attached = text.strip_prefix("--command=");
            let is_group = text.starts_with('-') && !text.starts_with("--") && text.ends_with('c');
            if word.unknown().is_some() {
                return self.lose_track("variable");
            }
            if let Some(script) = attached {
                return self.read_inner(&Word::plain(script), depth, fed);
            }
            if is_group || text == "--command" {
                return match words.next() {
                    Some(script) => self.read_inner(script, depth, fed),
                    None => self.lose_track("input"),
                };
            }
            let alone = core::slice::from_ref(word);
            if text.starts_with('-') && text.len() > 1 && split_options(alone, Options { values: "", ..options }).is_none() {
                return self.lose_track("option");
            }
        }
        // It runs a shell.
        self.lose_track("input");
    }
}

/// Splits the options of a program, with their values and its operands, from what stands behind them; `None` where an option
/// is not known: whether it has a value cannot be told.
fn split_options(words: &[Word], options: Options) -> Option<(&[Word], &[Word])> {
    let mut at = 0_usize;
    while let Some(word) = words.get(at) {
        let text = word.text.as_str();
        if !text.starts_with(['-', '+']) || text.len() == 1 {
            break;
        }
        if word.unknown().is_some() {
            return None;
        }
        at = at.saturating_add(1);
        if text == "--" {
            break;
        }
        at = at.saturating_add(usize::from(takes_next(text, options)?));
    }
    let end = at.saturating_add(options.operands).min(words.len());
    let (taken, behind) = words.split_at_checked(end)?;
    // What may be several words, or none, moves all behind it.
    (!taken.iter().any(|word| word.may_split)).then_some((taken, behind))
}

/// Whether the value of an option is the next word; `None` where the option is not known.
fn takes_next(text: &str, options: Options) -> Option<bool> {
    if let Some(long) = text.strip_prefix("--") {
        let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        return options.long.split(' ').find_map(|known| match known.strip_suffix('=') {
            Some(known) => (known == name).then_some(!has_value),
            None => (known == name).then_some(false),
        });
    }
    let mut letters = text.chars().skip(1);
    while let Some(letter) = letters.next() {
        if options.values.contains(letter) {
            return Some(letters.next().is_none());
        }
        let is_number = letter.is_ascii_digit() && options.flags.contains('#');
        if !is_number && !options.flags.contains(letter) {
            return None;
        }
    }
    Some(false)
}

/// What `-I` says that words are put in the place of.
fn mark_of(options: &[Word]) -> Option<&str> {
    let is_mark = |word: &Word| word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('I');
    let at = options.iter().rposition(is_mark)?;
    let attached = options.get(at)?.text.split_once('I').map(|(_, mark)| mark).filter(|mark| !mark.is_empty());
    attached.or_else(|| options.get(at.saturating_add(1)).map(|word| word.text.as_str()))
}
