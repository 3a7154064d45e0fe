//! The message that takes the place of a blocked call.

use core::fmt;

/// Most bytes of a template.
const MAX_BYTES: usize = 4096;

/// A text with placeholders, checked when it is read, so that nothing is left to go wrong when a call is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Placeholder(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Tool,
    Explanation,
    Probability,
}

/// What the placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub(super) tool: &'a str,
    pub(super) explanation: &'a str,
    /// `None` when no judge gave one.
    pub(super) probability: Option<f64>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplateError {
    Empty,
    TooLong,
    UnknownPlaceholder(String),
    Unclosed,
    StrayBrace,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty: clients and providers refuse an answer without any text"),
            Self::TooLong => write!(f, "must have at most {MAX_BYTES} bytes"),
            Self::UnknownPlaceholder(name) => {
                write!(
                    f,
                    "there is no placeholder {{{name}}}; there are {{tool}}, {{explanation}} and {{probability}} \
                     (write {{{{ and }}}} for braces that are to stay)"
                )
            }
            Self::Unclosed => f.write_str("a { is not closed: write {{ for a brace that is to stay"),
            Self::StrayBrace => f.write_str("a } closes nothing: write }} for a brace that is to stay"),
        }
    }
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(TemplateError::TooLong);
        }
        let (mut segments, mut literal) = (Vec::new(), String::new());
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '{' if characters.next_if_eq(&'{').is_some() => literal.push('{'),
                '}' if characters.next_if_eq(&'}').is_some() => literal.push('}'),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match characters.next() {
                            Some('}') => break,
                            Some('{') | None => return Err(TemplateError::Unclosed),
                            Some(other) => name.push(other),
                        }
                    }
                    let placeholder = match name.as_str() {
                        "tool" => Placeholder::Tool,
                        "explanation" => Placeholder::Explanation,
                        "probability" => Placeholder::Probability,
                        _ => return Err(TemplateError::UnknownPlaceholder(name)),
                    };
                    if !literal.is_empty() {
                        segments.push(Segment::Literal(std::mem::take(&mut literal)));
                    }
                    segments.push(Segment::Placeholder(placeholder));
                }
                '}' => return Err(TemplateError::StrayBrace),
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self(segments))
    }

    /// The message. What the values contain is not searched for placeholders.
    pub(super) fn render(&self, values: Values<'_>) -> String {
        let mut message = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => message.push_str(text),
                Segment::Placeholder(Placeholder::Tool) => message.push_str(values.tool),
                Segment::Placeholder(Placeholder::Explanation) => message.push_str(values.explanation),
                Segment::Placeholder(Placeholder::Probability) => match values.probability {
                    Some(probability) => message.push_str(&format!("{probability:.2}")),
                    None => message.push_str("unknown"),
                },
            }
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_double_braces_stay() {
        let template = Template::parse("{{{tool}}} {explanation} (p={probability})").unwrap();
        let values = Values { tool: "{explanation}", explanation: "{tool} }", probability: Some(0.876) };
        assert_eq!(template.render(values), "{{explanation}} {tool} } (p=0.88)");
        let values = Values { tool: "rm", explanation: "deletes", probability: None };
        assert_eq!(template.render(values), "{rm} deletes (p=unknown)");
    }

    #[test]
    fn what_could_go_wrong_is_refused_when_it_is_read() {
        for (text, error) in [
            ("", TemplateError::Empty),
            (" \n", TemplateError::Empty),
            ("{reason}", TemplateError::UnknownPlaceholder("reason".to_owned())),
            ("{}", TemplateError::UnknownPlaceholder(String::new())),
            ("{ tool }", TemplateError::UnknownPlaceholder(" tool ".to_owned())),
            ("{tool", TemplateError::Unclosed),
            ("{", TemplateError::Unclosed),
            ("{to{tool}", TemplateError::Unclosed),
            ("tool}", TemplateError::StrayBrace),
            ("{tool}}", TemplateError::StrayBrace),
            (&"x".repeat(4097), TemplateError::TooLong),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            TemplateError::UnknownPlaceholder("reason".to_owned()).to_string(),
            "there is no placeholder {reason}; there are {tool}, {explanation} and {probability} \
             (write {{ and }} for braces that are to stay)"
        );
    }
}
