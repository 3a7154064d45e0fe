use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

/// Whether the reader takes `document` for JSON, whatever it is.
fn is_skipped(document: &str) -> bool {
    let mut reader = Reader::new(document);
    reader.skip().and_then(|()| reader.end()).is_ok()
}

/// The value of each member of an object, and of each element of an array, by the same reader that decoders use.
fn rebuild(reader: &mut Reader<'_>) -> Result<serde_json::Value, Malformed> {
    let document = reader.source;
    match reader.peek() {
        Some(b'{') => {
            let mut object = serde_json::Map::new();
            reader.object(|reader, key| {
                object.insert(key.to_owned(), rebuild(reader)?);
                Ok::<_, Malformed>(())
            })?;
            Ok(object.into())
        }
        Some(b'[') => {
            let mut array = Vec::new();
            reader.array(|reader| {
                array.push(rebuild(reader)?);
                Ok::<_, Malformed>(())
            })?;
            Ok(array.into())
        }
        _ => {
            let Some(value) = reader.optional_value()? else { return Ok(serde_json::Value::Null) };
            let text = &document[value.start..value.end];
            match value.form {
                Form::PlainString => Ok(text[1..text.len() - 1].into()),
                Form::EscapedString => {
                    let mut unescaped = String::new();
                    crate::wire::json::unescape_into(&text[1..text.len() - 1], &mut unescaped)
                        .map_err(|_| Malformed { at: value.start })?;
                    Ok(unescaped.into())
                }
                Form::Array | Form::Other => serde_json::from_str(text).map_err(|_| Malformed { at: value.start }),
            }
        }
    }
}

/// The strings in a value, without its keys.
fn leaves(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(elements) => elements.iter().flat_map(leaves).collect(),
        serde_json::Value::Object(members) => members.values().flat_map(leaves).collect(),
        _ => Vec::new(),
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[ -~]{0,20}".prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    scalar.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[a-z\"\\\\é\n]{0,9}", inner, 0..6)
                .prop_map(|object| object.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// What a document is mutated with: tokens, and halves of them.
const TOKENS: [&str; 40] = [
    "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\t", "\n", "\r", "\u{b}", "\u{0}", "\u{1f}", "\u{7f}", "é", "\u{a0}", "0",
    "1", "-", "+", ".", "e", "E", "null", "true", "false", "nul", "\"a\"", "\"a\":", "\\n", "\\u", "\\u00e", "\\u00e9",
    "\\ud800", "\\x", "1e5", "-0", "01",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn values_are_read_as_serde_json_reads_them(value in any_json(), pretty in any::<bool>()) {
        let document = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut reader = Reader::new(&document);
        prop_assert_eq!(rebuild(&mut reader), serde_json::from_str(&document).map_err(|_| Malformed { at: 0 }), "{}", document);
        prop_assert_eq!(reader.end(), Ok(()));
        prop_assert!(is_skipped(&document));
    }

    #[test]
    fn the_strings_of_a_value_are_found_and_its_keys_are_not(value in any_json(), pretty in any::<bool>()) {
        let document = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut found = Vec::new();
        string_leaves(&document, 0..document.len(), |value| {
            found.push(serde_json::from_str::<String>(&document[value.start..value.end])?);
            Ok::<_, serde_json::Error>(())
        })
        .unwrap();
        prop_assert_eq!(found, leaves(&value), "{}", document);
    }

    #[test]
    fn mutated_documents_are_accepted_where_serde_json_accepts_them(
        value in any_json(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3, prop::sample::select(&TOKENS[..])), 1..4),
    ) {
        let mut characters: Vec<String> = value.to_string().chars().map(String::from).collect();
        for (position, removed, token) in mutations {
            let position = position.index(characters.len() + 1);
            let end = (position + removed).min(characters.len());
            characters.splice(position..end, [token.to_owned()]);
        }
        let document = characters.concat();
        prop_assert_eq!(is_skipped(&document), serde_json::from_str::<IgnoredAny>(&document).is_ok(), "{}", document);
        let expected = serde_json::from_str::<serde_json::Value>(&document);
        let mut reader = Reader::new(&document);
        let rebuilt = rebuild(&mut reader).ok().filter(|_| reader.end().is_ok());
        prop_assert_eq!(rebuilt, expected.ok(), "{}", document);
    }

    #[test]
    fn anything_is_accepted_where_serde_json_accepts_it(tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..12)) {
        let document = tokens.concat();
        prop_assert_eq!(is_skipped(&document), serde_json::from_str::<IgnoredAny>(&document).is_ok(), "{}", document);
        let index = { let mut reader = Reader::new(&document); reader.optional_u32().ok().filter(|_| reader.end().is_ok()) };
        prop_assert_eq!(index, serde_json::from_str::<Option<u32>>(&document).ok(), "{}", document);
    }
}

#[test]
fn numbers_are_what_json_calls_so() {
    let cases = [
        "0",
        "-0",
        "10",
        "1.5",
        "-1.25e+10",
        "1E5",
        "1e-5",
        "1e999",
        "",
        "-",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "٣",
        "4294967295",
        "4294967296",
        "-1",
        "1.0",
    ];
    for text in cases {
        assert_eq!(is_skipped(text), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
        let mut reader = Reader::new(text);
        let index = reader.optional_u32().ok().filter(|_| reader.end().is_ok());
        assert_eq!(index, serde_json::from_str::<Option<u32>>(text).ok(), "{text}");
    }
}

#[test]
fn what_is_skipped_may_be_nested_as_deeply_as_it_likes() {
    for depth in [1, 2, 63, 64, 65, 127, 128, 129, 200, 100_000] {
        let (open, close) = ([r#"[{"a":"#, "["].concat().repeat(depth), ["]", "}]"].concat().repeat(depth));
        assert!(is_skipped(&format!("{open}{close}")), "{depth}");
        let wrong = close.replacen(']', "}", 1);
        assert!(!is_skipped(&format!("{open}{wrong}")), "{depth}");
        let wrong = format!("{}{}", &close[..close.len() - 2], "]]");
        assert!(!is_skipped(&format!("{open}{wrong}")), "{depth}");
    }
}

#[test]
fn a_field_stands_once_even_if_it_is_null() {
    let read = |document: &str| {
        let mut field = Field::default();
        let mut reader = Reader::new(document);
        reader.object(|reader, key| if key == "a" { field.fill(reader, Reader::optional_u32) } else { reader.skip() })?;
        reader.end().map(|()| field.get())
    };
    assert_eq!(read(r#"{"b":[],"a":1,"b":{}}"#), Ok(Some(1)));
    assert_eq!(read(r#"{"a":null}"#), Ok(None));
    assert_eq!(read("{}"), Ok(None));
    assert_eq!(read(r#"{"a":null,"a":1}"#), Err(Malformed { at: 14 }));
    assert_eq!(read(r#"{"a":1,"\u0061":1}"#), Err(Malformed { at: 16 }));
    assert_eq!(read(r#"{"a":1,"\ud800":1}"#), Err(Malformed { at: 16 }));
    assert_eq!(read(r#"{"a":"1"}"#), Err(Malformed { at: 5 }));
    assert_eq!(read(r#"{"a":1}}"#), Err(Malformed { at: 7 }));
}
