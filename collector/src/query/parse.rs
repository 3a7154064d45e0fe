//! Reads a query.

use super::{Comparison, FIELDS, Field, InvalidQuery, Node, Test};

/// The longest query, in bytes.
const MAX_BYTES: usize = 4_096;
/// The most conditions of a query: each costs something on every event.
const MAX_CONDITIONS: usize = 64;
/// How deep parentheses and negations nest.
const MAX_DEPTH: usize = 16;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Or,
    Not,
    /// A word; whether a part of it was quoted.
    Word(String, bool),
}

pub(super) fn parse(text: &str) -> Result<Option<Node>, InvalidQuery> {
    if text.len() > MAX_BYTES {
        return Err(InvalidQuery(format!("a query has at most {MAX_BYTES} bytes")));
    }
    let tokens = tokens(text)?;
    if tokens.iter().filter(|token| matches!(token, Token::Word(..))).count() > MAX_CONDITIONS {
        return Err(InvalidQuery(format!("a query has at most {MAX_CONDITIONS} conditions")));
    }
    let mut reader = Reader { tokens: tokens.into_iter().peekable(), depth: 0 };
    let node = reader.alternatives()?;
    match reader.tokens.next() {
        Some(_) => Err(InvalidQuery("a `)` closes nothing".to_owned())),
        None => Ok(node),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, InvalidQuery> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&next) = rest.peek() {
        match next {
            _ if next.is_whitespace() => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '-' => tokens.push(Token::Not),
            _ => {
                tokens.push(word(&mut rest)?);
                continue;
            }
        }
        rest.next();
    }
    Ok(tokens)
}

fn word(rest: &mut core::iter::Peekable<core::str::Chars<'_>>) -> Result<Token, InvalidQuery> {
    let (mut word, mut quoted) = (String::new(), false);
    while let Some(next) = rest.next_if(|next| !next.is_whitespace() && !matches!(next, '(' | ')')) {
        if next != '"' {
            word.push(next);
            continue;
        }
        quoted = true;
        loop {
            match rest.next() {
                Some('"') => break,
                Some('\\') => word.extend(rest.next()),
                Some(other) => word.push(other),
                None => return Err(InvalidQuery("a `\"` is not closed".to_owned())),
            }
        }
    }
    Ok(match word.as_str() {
        "OR" if !quoted => Token::Or,
        "NOT" if !quoted => Token::Not,
        _ => Token::Word(word, quoted),
    })
}

struct Reader {
    tokens: core::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

impl Reader {
    fn alternatives(&mut self) -> Result<Option<Node>, InvalidQuery> {
        let mut alternatives = Vec::new();
        loop {
            let all = self.conditions()?;
            let is_or = self.tokens.next_if_eq(&Token::Or).is_some();
            match all {
                Some(node) => alternatives.push(node),
                None if is_or || !alternatives.is_empty() => {
                    return Err(InvalidQuery("OR stands between two conditions".to_owned()));
                }
                None => {}
            }
            if !is_or {
                return Ok(one_or(alternatives, Node::Any));
            }
        }
    }

    fn conditions(&mut self) -> Result<Option<Node>, InvalidQuery> {
        let mut conditions = Vec::new();
        while self.tokens.peek().is_some_and(|token| !matches!(token, Token::Or | Token::Close)) {
            conditions.push(self.condition()?);
        }
        Ok(one_or(conditions, Node::All))
    }

    fn condition(&mut self) -> Result<Node, InvalidQuery> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(InvalidQuery(format!("a query nests at most {MAX_DEPTH} levels")));
        }
        let node = match self.tokens.next() {
            Some(Token::Not) => Node::Not(Box::new(self.condition()?)),
            Some(Token::Open) => {
                let inner = self.alternatives()?.ok_or_else(|| InvalidQuery("parentheses hold nothing".to_owned()))?;
                if self.tokens.next() != Some(Token::Close) {
                    return Err(InvalidQuery("a `(` is not closed".to_owned()));
                }
                inner
            }
            Some(Token::Word(word, quoted)) => leaf(word, quoted)?,
            Some(Token::Or | Token::Close) | None => return Err(InvalidQuery("a condition is missing".to_owned())),
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(node)
    }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Option<Node> {
    if nodes.len() > 1 { Some(many(nodes)) } else { nodes.pop() }
}

fn leaf(word: String, quoted: bool) -> Result<Node, InvalidQuery> {
    let Some((name, value)) = word.split_once(':') else { return Ok(Node::Word(word.to_lowercase())) };
    let field = match name {
        "sender" => Field::Sender,
        "sequence" => Field::Sequence,
        "conflict" => Field::Conflict,
        _ => match FIELDS.iter().find(|(known, _)| *known == name) {
            Some((_, paths)) => Field::Event(paths.iter().map(|path| (*path).to_owned()).collect()),
            None if name.starts_with("metadata.") || name.starts_with("policy_config.") => Field::Event(vec![name.to_owned()]),
            // A quoted text may have colons.
            None if quoted => return Ok(Node::Word(word.to_lowercase())),
            None => {
                let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
                let message = format!(
                    "there is no field `{name}`; there are {}, sender, sequence, conflict and metadata.…; a text with a colon stands in quotes",
                    names.join(", ")
                );
                return Err(InvalidQuery(message));
            }
        },
    };
    Ok(Node::Field(field, test(name, value)?))
}

fn test(name: &str, value: &str) -> Result<Test, InvalidQuery> {
    let comparisons =
        [(">=", Comparison::AtLeast), ("<=", Comparison::AtMost), (">", Comparison::Above), ("<", Comparison::Below)];
    for (sign, comparison) in comparisons {
        if let Some(number) = value.strip_prefix(sign) {
            let read = number.parse().ok().filter(|number: &f64| number.is_finite());
            let number = read.ok_or_else(|| InvalidQuery(format!("{name}: `{number}` is not a number")))?;
            return Ok(Test::Number(comparison, number));
        }
    }
    if value.is_empty() {
        return Err(InvalidQuery(format!("{name}: a value is missing")));
    }
    Ok(Test::Like(value.split('*').map(str::to_owned).collect()))
}
