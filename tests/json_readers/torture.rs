//! Documents that are written to be misread.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

/// Ways to write the value of a member.
const VALUES: [&str; 40] = [
    r#""a""#,
    r#""""#,
    "null",
    r#""\u0061\u002F\/""#,
    r#""\u0000""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d""#,
    r#""\ude00\ud83d""#,
    r#""\ud83d\u0061""#,
    r#""\uD83D\uDE00\\u0061""#,
    "\"\u{7f}\u{80}\u{2028}\u{feff}\"",
    "\"\t\"",
    "\"\u{0}\"",
    r#""\x61""#,
    r#""\u00e""#,
    r#""\U0061""#,
    r#""\'""#,
    "'a'",
    "0",
    "-0",
    "00",
    "1",
    "1.0",
    "1.",
    ".5",
    "+1",
    "1e2",
    "1e400",
    "-1E-400",
    "123456789012345678901234567890",
    "4294967296",
    "\"1\"",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    "undefined",
    "[]",
    "{}",
    r#"{"text":"a","content":"a"}"#,
];

/// Ways to write a string that all read alike.
const STRINGS: [&str; 3] = [r#""a""#, r#""\u00e9\ud83d\ude00\u0000\/""#, r#""plain, and longer than a word of the machine""#];

/// How deep values are nested: as deep as Weir looks, a little deeper, and beyond what Python reads.
const DEPTHS: [usize; 4] = [100, 127, 129, 1100];

/// Names of members that mean nothing, or are none.
const ODD_NAMES: [&str; 5] = [r#""__proto__""#, r#""x""#, r#""\ud800""#, r#""x\u0000""#, "x"];

/// What bytes are put into a document, or in place of others.
const BYTES: [&[u8]; 18] = [
    b" ",
    b"\t",
    b"\x0b",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\0",
    b",",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"//",
    b"1",
];

/// What is done to a document: where members are put into it, and where how many of its bytes give way to others.
type Torture = (Vec<(usize, String)>, Vec<(usize, usize, &'static [u8])>);

/// Ways to write a value, often a string that clients want to find there.
pub(crate) fn values() -> BoxedStrategy<String> {
    let nested = |[open, close]: [&str; 2], depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let deep = [["[", "]"], [r#"{"a":"#, "}"]];
    let deep = deep.into_iter().flat_map(|brackets| DEPTHS.map(|depth| nested(brackets, depth)));
    let all: Vec<String> = VALUES.into_iter().map(str::to_owned).chain(deep).collect();
    prop_oneof![prop::sample::select(all), prop::sample::select(&STRINGS[..]).prop_map(str::to_owned)].boxed()
}

/// The names in `document`, as they stand there and in disguise, and some others.
fn names(document: &str) -> Vec<String> {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                names.extend(members.keys().cloned());
                members.values().for_each(|value| collect(value, names));
            }
            Value::Array(elements) => elements.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut own = BTreeSet::new();
    collect(&serde_json::from_str(document).unwrap(), &mut own);
    let written = |name: &String| {
        let (first, rest) = name.split_at(1);
        let escaped = format!("\"\\u{:04x}{rest}\"", first.as_bytes()[0]);
        [format!("\"{name}\""), escaped, format!("\"{}{rest}\"", first.to_uppercase())]
    };
    own.iter().flat_map(written).chain(ODD_NAMES.map(str::to_owned)).collect()
}

fn tortures(document: &str) -> impl Strategy<Value = Torture> + use<> {
    let member = (prop::sample::select(names(document)), values()).prop_map(|(name, value)| format!("{name}:{value}"));
    let members = prop::collection::vec((any::<usize>(), member), 0..3);
    let change = (any::<usize>(), 0..3_usize, prop::sample::select(&BYTES[..]));
    (members, prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(change, 1..3)])
}

/// Puts members at the beginning of objects of `document`, or at their end, and changes its bytes.
fn torture(document: &str, (members, changes): &Torture) -> Vec<u8> {
    let mut document = document.to_owned();
    for (place, member) in members {
        let places: Vec<usize> = document.match_indices(['{', '}']).map(|(position, _)| position).collect();
        let position = places[place % places.len()];
        if document.as_bytes()[position] == b'{' {
            document.insert_str(position + 1, &format!("{member},"));
        } else {
            document.insert_str(position, &format!(",{member}"));
        }
    }
    let mut bytes = document.into_bytes();
    for (place, removed, added) in changes {
        let position = place % (bytes.len() + 1);
        let end = (position + removed).min(bytes.len());
        bytes.splice(position..end, added.iter().copied());
    }
    bytes
}

/// As many tortured forms of `document`, in which other values stand in place of the strings `holes`.
pub(crate) fn tortured(document: &str, holes: &[(&str, BoxedStrategy<String>)], count: usize) -> Vec<Vec<u8>> {
    let values: Vec<_> = holes.iter().map(|(_, values)| values.clone()).collect();
    let strategy = (values, tortures(document));
    let mut runner = TestRunner::deterministic();
    let generated = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    generated
        .map(|(values, how)| {
            let fill = |text: String, ((hole, _), value): (&(&str, _), String)| text.replace(&format!("\"{hole}\""), &value);
            torture(&holes.iter().zip(values).fold(document.to_owned(), fill), &how)
        })
        .collect()
}
