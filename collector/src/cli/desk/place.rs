//! Where the fields of a YAML or JSON file stand.

use std::collections::HashMap;
use std::fmt::Write as _;

use granit_parser::{Event, Marker, Parser, Span};

/// A position in a file, as editors count: from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn of(marker: Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col().saturating_add(1) }
    }
}

/// The places of all fields, by paths such as `chain[0].with.threshold`: of members where their keys stand, of others where the
/// value begins.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<String, Place>);

impl Places {
    /// Reads a text that is known to be YAML or JSON; of what the reader does not understand nothing is known.
    pub(crate) fn of(text: &str) -> Self {
        let mut walk = Walk::default();
        for step in Parser::new_from_str(text) {
            let Ok((event, span)) = step else { break };
            walk.take(&event, span);
        }
        Self(walk.places)
    }

    /// Finds a field, or what it stands in: what is missing has no place of its own.
    pub(crate) fn find(&self, path: &str) -> Place {
        let mut path = path.trim_start_matches('.');
        loop {
            if let Some(place) = self.0.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.0.get("").copied().unwrap_or(Place::START),
            }
        }
    }
}

/// What is open around an event of the parser.
enum Open {
    /// An object, and the member whose value comes next; none where a key does.
    Object {
        path: String,
        member: Option<Member>,
    },
    Array {
        path: String,
        next: usize,
    },
    /// What has no path.
    Strange {
        depth: usize,
    },
}

enum Member {
    Named(String),
    /// Its key is an object or an array itself, or an alias: no document has one.
    Strange,
}

#[derive(Default)]
struct Walk {
    places: HashMap<String, Place>,
    open: Vec<Open>,
}

impl Walk {
    fn take(&mut self, event: &Event<'_>, span: Span) {
        if let Some(Open::Strange { depth }) = self.open.last_mut() {
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => *depth = depth.saturating_add(1),
                Event::MappingEnd | Event::SequenceEnd if *depth > 0 => *depth = depth.saturating_sub(1),
                Event::MappingEnd | Event::SequenceEnd => {
                    self.open.pop();
                }
                _ => {}
            }
            return;
        }
        match event {
            Event::Scalar(text, ..) => self.scalar(text, span),
            Event::Alias(_) => {
                let _path = self.value(span);
            }
            Event::MappingStart(..) => {
                let open = match self.value(span) {
                    Some(path) => Open::Object { path, member: None },
                    None => Open::Strange { depth: 0 },
                };
                self.open.push(open);
            }
            Event::SequenceStart(..) => {
                let open = match self.value(span) {
                    Some(path) => Open::Array { path, next: 0 },
                    None => Open::Strange { depth: 0 },
                };
                self.open.push(open);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, span: Span) {
        if let Some(Open::Object { path, member: member @ None }) = self.open.last_mut() {
            let dot = if path.is_empty() { "" } else { "." };
            let own = format!("{path}{dot}{text}");
            self.places.insert(own.clone(), Place::of(span.start));
            *member = Some(Member::Named(own));
            return;
        }
        let _path = self.value(span);
    }

    /// Gives the path of a value that begins, where it has one.
    fn value(&mut self, span: Span) -> Option<String> {
        let path = match self.open.last_mut() {
            None => String::new(),
            Some(Open::Object { member, .. }) => match member.take() {
                Some(Member::Named(path)) => return Some(path),
                Some(Member::Strange) => return None,
                None => {
                    *member = Some(Member::Strange);
                    return None;
                }
            },
            Some(Open::Array { path, next }) => {
                let mut own = path.clone();
                let _cannot_fail = write!(own, "[{next}]");
                *next = next.saturating_add(1);
                own
            }
            Some(Open::Strange { .. }) => return None,
        };
        self.places.insert(path.clone(), Place::of(span.start));
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> (usize, usize) {
        let place = Places::of(text).find(path);
        (place.line, place.column)
    }

    const YAML: &str = "# what it is for\npolicy: {id: p}\nchain:\n  - use: rules\n    with:\n      rules:\n      - id: a\n        message: >-\n          long\n          text\n      - {id: b, 'with': x}\n  - use: no_op\n";

    #[test]
    fn fields_of_yaml_are_where_their_keys_stand() {
        assert_eq!(at(YAML, "policy.id"), (2, 10));
        assert_eq!(at(YAML, "chain[0].with.rules[0].message"), (8, 9));
        assert_eq!(at(YAML, "chain[0].with.rules[1]"), (11, 9));
        assert_eq!(at(YAML, "chain[0].with.rules[1].with"), (11, 17));
        assert_eq!(at(YAML, "chain[1].use"), (12, 5));
    }

    #[test]
    fn what_is_missing_is_where_it_would_stand() {
        assert_eq!(at(YAML, "chain[1].with.judge"), (12, 5), "of the entry");
        assert_eq!(at(YAML, "chain[7].use"), (3, 1), "of the chain");
        assert_eq!(at(YAML, ""), (2, 1), "of the document");
        assert_eq!(at("", "policy"), (1, 1));
    }

    #[test]
    fn json_has_places_too() {
        let json = "{\n\t\"policy\": {\"id\": \"p\"},\n\t\"chain\": [\n\t\t{\"use\": \"é\", \"with\": {}}\n\t]\n}\n";
        assert_eq!(at(&json.replace('\t', " "), "chain[0].with"), (4, 16));
    }

    #[test]
    fn anchors_merges_and_strange_keys_do_not_shift_what_follows() {
        let yaml = "base: &base {a: 1}\none:\n  <<: *base\n  b: 2\n? [x, {y: z}]\n: 3\nlist: [*base, {c: 1}]\n";
        assert_eq!(at(yaml, "one.b"), (4, 3));
        assert_eq!(at(yaml, "one.a"), (2, 1), "of what it was merged into");
        assert_eq!(at(yaml, "list[1].c"), (7, 16));
    }
}
