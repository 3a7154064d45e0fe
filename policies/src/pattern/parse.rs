//! Reads patterns: the part of the usual syntax of regular expressions that a stream can be searched for.

use core::fmt;
use core::iter::Peekable;
use core::str::Chars;

use super::set::CharSet;
use crate::normal;

/// How deep groups may be nested.
const MAX_DEPTH: usize = 32;

/// Most repetitions that a pattern may ask for.
const MAX_REPETITIONS: u32 = 1000;

/// A pattern, read.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Set(CharSet),
    Concat(Vec<Self>),
    Alternate(Vec<Self>),
    Repeat {
        node: Box<Self>,
        min: u32,
        max: Option<u32>,
    },
    /// A group, by its number: 1 is the first.
    Group(usize, Box<Self>),
}

/// A pattern with what may not stand beside it.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) node: Node,
    /// How many groups it has.
    pub(super) groups: usize,
    pub(super) before: Option<CharSet>,
    pub(super) after: Option<CharSet>,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternError(pub(crate) String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn error<T>(message: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError(message.into()))
}

/// Reads a pattern.
pub(super) fn parse(pattern: &str) -> Result<Parsed, PatternError> {
    let (ignore_case, rest) = pattern.strip_prefix("(?i)").map_or((false, pattern), |rest| (true, rest));
    let (before, rest) = take_before(rest, ignore_case)?;
    let (after, rest) = take_after(rest, ignore_case)?;
    let mut parser = Parser::new(rest, ignore_case);
    let node = parser.alternation()?;
    match parser.rest.next() {
        None => Ok(Parsed { node, groups: parser.groups, before, after }),
        Some(_) => error("has a closing parenthesis too many"),
    }
}

fn take_before(pattern: &str, ignore_case: bool) -> Result<(Option<CharSet>, &str), PatternError> {
    if let Some(rest) = pattern.strip_prefix(r"\b") {
        return Ok((Some(CharSet::word()), rest));
    }
    let Some(inner) = pattern.strip_prefix("(?<!") else { return Ok((None, pattern)) };
    let mut parser = Parser::new(inner, ignore_case);
    let set = parser.neighbour()?;
    let consumed = inner.len().saturating_sub(parser.rest.map(char::len_utf8).sum());
    Ok((Some(set), inner.get(consumed..).unwrap_or_default()))
}

fn take_after(pattern: &str, ignore_case: bool) -> Result<(Option<CharSet>, &str), PatternError> {
    if let Some(rest) = pattern.strip_suffix(r"\b")
        && !rest.ends_with('\\')
    {
        return Ok((Some(CharSet::word()), rest));
    }
    let Some(at) = pattern.rfind("(?!") else { return Ok((None, pattern)) };
    let (rest, ahead) = pattern.split_at_checked(at).unwrap_or((pattern, ""));
    let inner = ahead.strip_prefix("(?!").unwrap_or_default();
    let mut parser = Parser::new(inner, ignore_case);
    let set = parser.neighbour()?;
    if parser.rest.next().is_some() {
        return error("has (?!…) before its end: it can stand at the end only");
    }
    Ok((Some(set), rest))
}

struct Parser<'p> {
    rest: Peekable<Chars<'p>>,
    ignore_case: bool,
    depth: usize,
    /// How many groups have begun.
    groups: usize,
}

impl<'p> Parser<'p> {
    fn new(text: &'p str, ignore_case: bool) -> Self {
        Self { rest: text.chars().peekable(), ignore_case, depth: 0, groups: 0 }
    }

    fn accept(&mut self, character: char) -> bool {
        self.rest.next_if_eq(&character).is_some()
    }

    /// One set, and the parenthesis behind it.
    fn neighbour(&mut self) -> Result<CharSet, PatternError> {
        match self.item()? {
            Node::Set(set) if self.accept(')') => Ok(set),
            _ => error("can look at one character beside it, (?<![a-z]) at its beginning and (?![a-z]) at its end"),
        }
    }

    fn alternation(&mut self) -> Result<Node, PatternError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return error(format!("nests groups deeper than {MAX_DEPTH}"));
        }
        let mut branches = vec![self.concatenation()?];
        while self.accept('|') {
            branches.push(self.concatenation()?);
        }
        self.depth = self.depth.saturating_sub(1);
        let single = if branches.len() == 1 { branches.pop() } else { None };
        Ok(single.unwrap_or(Node::Alternate(branches)))
    }

    fn concatenation(&mut self) -> Result<Node, PatternError> {
        let mut items = Vec::new();
        while let Some(next) = self.rest.peek()
            && !matches!(next, '|' | ')')
        {
            let item = self.item()?;
            items.push(self.repeated(item)?);
        }
        Ok(if items.is_empty() { Node::Empty } else { Node::Concat(items) })
    }

    fn repeated(&mut self, node: Node) -> Result<Node, PatternError> {
        let (min, max) = match self.rest.peek() {
            Some('?') => (0, Some(1)),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('{') => return self.counted(node),
            _ => return Ok(node),
        };
        self.rest.next();
        self.repeat(node, min, max)
    }

    fn repeat(&mut self, node: Node, min: u32, max: Option<u32>) -> Result<Node, PatternError> {
        if matches!(self.rest.peek(), Some('?' | '+' | '*' | '{')) {
            return error("has two repetitions behind each other; lazy and possessive ones mean nothing on a stream");
        }
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    fn counted(&mut self, node: Node) -> Result<Node, PatternError> {
        self.rest.next();
        let min = self.number()?;
        let max =
            if self.accept(',') { if self.rest.peek() == Some(&'}') { None } else { Some(self.number()?) } } else { Some(min) };
        if !self.accept('}') || max.is_some_and(|max| max < min) {
            return error("has a repetition that is not {n}, {n,} or {n,m} (write \\{ for a brace)");
        }
        self.repeat(node, min, max)
    }

    fn number(&mut self) -> Result<u32, PatternError> {
        let (mut number, mut is_given) = (0_u32, false);
        while let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(10)) {
            self.rest.next();
            is_given = true;
            number = number.saturating_mul(10).saturating_add(digit);
        }
        match (is_given, number) {
            (true, 0..=MAX_REPETITIONS) => Ok(number),
            (true, _) => error(format!("repeats something more than {MAX_REPETITIONS} times")),
            (false, _) => error("has a repetition that is not {n}, {n,} or {n,m} (write \\{ for a brace)"),
        }
    }

    fn item(&mut self) -> Result<Node, PatternError> {
        match self.rest.next() {
            Some('(') => self.group(),
            Some('[') => Ok(Node::Set(self.class()?)),
            Some('.') => Ok(Node::Set(CharSet::any())),
            Some('\\') => self.escape(),
            Some('^' | '$') => {
                error("has an anchor: on a stream a match can stand anywhere (write \\^ or \\$ for the character)")
            }
            Some(wrong @ ('*' | '+' | '?' | '{')) => error(format!("has a {wrong} with nothing before it to repeat")),
            Some(character) => Ok(self.literal(character)),
            None => error("ends too early"),
        }
    }

    fn group(&mut self) -> Result<Node, PatternError> {
        let captures = !self.accept('?');
        if !captures && !self.accept(':') {
            return error("has a group that is neither (…) nor (?:…); (?i) can stand at its beginning only");
        }
        self.groups = self.groups.saturating_add(usize::from(captures));
        let number = self.groups;
        let inner = self.alternation()?;
        if !self.accept(')') {
            return error("has a group that is not closed");
        }
        Ok(if captures { Node::Group(number, Box::new(inner)) } else { inner })
    }

    /// What a character is in the normalised view.
    fn literal(&self, character: char) -> Node {
        let mapped = normal::map(character);
        let sets = mapped.iter().map(|mapped| Node::Set(self.cased(CharSet::single(*mapped))));
        match (mapped.first(), mapped.get(1)) {
            (Some(only), None) => Node::Set(self.cased(CharSet::single(*only))),
            _ => Node::Concat(sets.collect()),
        }
    }

    fn cased(&self, set: CharSet) -> CharSet {
        if self.ignore_case { set.without_case() } else { set }
    }

    fn escape(&mut self) -> Result<Node, PatternError> {
        match self.escaped()? {
            Escaped::Set(set) => Ok(Node::Set(set)),
            Escaped::Character(character) => Ok(self.literal(character)),
        }
    }

    fn escaped(&mut self) -> Result<Escaped, PatternError> {
        let set = match self.rest.next() {
            Some('d') => CharSet::digits(),
            Some('D') => CharSet::digits().negated(),
            Some('w') => CharSet::word(),
            Some('W') => CharSet::word().negated(),
            Some('s') => CharSet::space(),
            Some('S') => CharSet::space().negated(),
            Some('n') => return Ok(Escaped::Character('\n')),
            Some('r') => return Ok(Escaped::Character('\r')),
            Some('t') => return Ok(Escaped::Character('\t')),
            Some('x') => return self.code().map(Escaped::Character),
            Some('b') => return error("has \\b within it: it can stand at its beginning and at its end"),
            Some(character) if !character.is_alphanumeric() => return Ok(Escaped::Character(character)),
            Some(character) => return error(format!("has \\{character}, which is not known here")),
            None => return error("ends in a backslash"),
        };
        Ok(Escaped::Set(set))
    }

    /// `\x41` or `\x{1f600}`.
    fn code(&mut self) -> Result<char, PatternError> {
        let is_braced = self.accept('{');
        let (mut code, mut digits) = (0_u32, 0_u8);
        while digits < if is_braced { 6 } else { 2 } {
            let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(16)) else { break };
            self.rest.next();
            code = code.saturating_mul(16).saturating_add(digit);
            digits = digits.saturating_add(1);
        }
        let is_whole = if is_braced { digits > 0 && self.accept('}') } else { digits == 2 };
        match char::from_u32(code).filter(|_| is_whole) {
            Some(character) => Ok(character),
            None => error("has a \\x that is not \\x41 or \\x{1f600}"),
        }
    }

    fn class(&mut self) -> Result<CharSet, PatternError> {
        let is_negated = self.accept('^');
        let (mut set, mut is_first) = (CharSet::default(), true);
        loop {
            let first = match self.rest.next() {
                Some(']') if !is_first => break,
                Some('[') => return error("has a [ within a class (write \\[ for the character)"),
                Some('\\') => self.escaped()?,
                Some(character) => Escaped::Character(character),
                None => return error("has a class that is not closed"),
            };
            is_first = false;
            match first {
                Escaped::Set(other) => set.add(&other),
                Escaped::Character(first) => set.add(&self.range(first)?),
            }
        }
        set = self.cased(set.normalised());
        if is_negated {
            set = set.negated();
        }
        if set.is_empty() { error("has a class that no character is in") } else { Ok(set) }
    }

    fn range(&mut self, first: char) -> Result<CharSet, PatternError> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || ahead.peek().is_none_or(|next| *next == ']') {
            return Ok(CharSet::single(first));
        }
        self.rest.next();
        let last = match self.rest.next() {
            Some('\\') => match self.escaped()? {
                Escaped::Character(last) => last,
                Escaped::Set(_) => return error("has a range that ends in a set"),
            },
            Some(last) => last,
            None => return error("has a class that is not closed"),
        };
        if last < first { error("has a range whose end comes before its beginning") } else { Ok(CharSet::range(first, last)) }
    }
}

enum Escaped {
    Set(CharSet),
    Character(char),
}
