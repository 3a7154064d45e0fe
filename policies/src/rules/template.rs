//! Templates: what takes the place of a match, with parts of the match in it.

use crate::pattern::Groups;

/// Most references of a template.
const MAX_REFERENCES: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// What a group matched; 0 is all of the match.
    Group(usize),
}

/// A template with what finds its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewriting {
    pub(super) groups: Groups,
    pub(super) template: Template,
}

/// A template, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a template for a pattern with so many groups.
    pub(super) fn parse(text: &str, groups: usize) -> Result<Self, String> {
        let (mut parts, mut written, mut rest, mut references) = (Vec::new(), String::new(), text, 0_usize);
        while let Some((before, behind)) = rest.split_once('$') {
            written.push_str(before);
            if let Some(behind) = behind.strip_prefix('$') {
                written.push('$');
                rest = behind;
                continue;
            }
            let Some((number, behind)) = reference(behind) else {
                return Err("has a $ that is neither $0, ${1} nor $$, which stands for $".to_owned());
            };
            if number > groups {
                return Err(format!("refers to group {number}, and the pattern has {groups}"));
            }
            if !written.is_empty() {
                parts.push(Part::Text(core::mem::take(&mut written)));
            }
            parts.push(Part::Group(number));
            references = references.saturating_add(1);
            rest = behind;
        }
        written.push_str(rest);
        if !written.is_empty() {
            parts.push(Part::Text(written));
        }
        match references {
            0 => {
                Err("has nothing of the match in it, neither $0 nor ${1}: the action replace writes the same each time"
                    .to_owned())
            }
            1..=MAX_REFERENCES => Ok(Self(parts)),
            _ => Err(format!("has more than {MAX_REFERENCES} references")),
        }
    }

    /// What it is with these groups, part by part.
    pub(super) fn expanded<'t>(&'t self, group: impl Fn(usize) -> &'t str + Clone) -> impl Iterator<Item = &'t str> + Clone {
        self.0.iter().map(move |part| match part {
            Part::Text(text) => text.as_str(),
            Part::Group(number) => group(*number),
        })
    }
}

/// The number of the group that a text behind `$` refers to, and the rest.
fn reference(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = match text.strip_prefix('{') {
        Some(text) => text.split_once('}')?,
        None => text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?,
    };
    let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_filled_in() {
        let groups = ["all", "one", "two"];
        for (text, expected) in [
            ("$0", "all"),
            ("${1}@b", "one@b"),
            ("<$1-$2>", "<one-two>"),
            ("${1}0$$1 $$$1$$", "one0$1 $one$"),
            ("é${02}", "étwo"),
        ] {
            let template = Template::parse(text, 2).unwrap_or_else(|error| panic!("{text} {error}"));
            assert_eq!(template.expanded(|number| groups[number]).collect::<String>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_in_words() {
        for (text, part) in [
            ("", "nothing of the match"),
            ("$$1", "nothing of the match"),
            ("a$", "neither"),
            ("$a", "neither"),
            ("${1", "neither"),
            ("${}", "neither"),
            ("${+1}", "neither"),
            ("$3", "group 3, and the pattern has 2"),
            ("$10", "group 10"),
            (&"$1".repeat(33), "more than 32"),
        ] {
            let error = Template::parse(text, 2).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
