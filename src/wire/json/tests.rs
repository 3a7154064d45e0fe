use super::*;
use proptest::prelude::*;

#[test]
fn ambiguous_objects_are_told_from_plain_ones() {
    let plain = ["{}", " {\"a\":{\"a\":1}} ", r#"{"a":[{"a":1},{"a":2}],"b":"\ud83d\ude00"}"#];
    for text in plain {
        assert!(is_unambiguous_object(text), "{text}");
    }
    let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(is_unambiguous_object(&nested(100)));
    let deep = nested(200);
    let bad = [
        "",
        "[]",
        "3",
        "{",
        "{}{}",
        "{} x",
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"b":{"a":1,"a":2}}"#,
        r#"{"a":"\ud83d"}"#,
        r#"{"\ude00":1}"#,
        r#"{"a":1e999}"#,
        r#"{"a":NaN}"#,
        r#"{"a":01}"#,
        "{\"a\":\"\n\"}",
        &deep,
    ];
    for text in bad {
        assert!(!is_unambiguous_object(text), "{text}");
    }
}

#[test]
fn the_canonical_form_of_an_object_says_the_same_in_one_way() {
    let cases = [
        (" { } ", "{}"),
        (
            r#"{"b":[1.0,{"\u0064":null,"c":true}],"a":"\u0061\/\ud83d\ude00\u0000"}"#,
            r#"{"a":"a/😀\u0000","b":[1.0,{"c":true,"d":null}]}"#,
        ),
        (
            r#"{"big":123456789012345678901234567890,"small":-0,"exponent":1E+2}"#,
            r#"{"big":123456789012345678901234567890,"exponent":1E+2,"small":-0}"#,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(canonical(text).as_deref(), Some(expected));
        assert_eq!(canonical(expected).as_deref(), Some(expected));
    }
    for ambiguous in [r#"{"a":1,"a":1}"#, "[]", r#"{"a":1e999}"#, "{"] {
        assert_eq!(canonical(ambiguous), None, "{ambiguous}");
    }
}

#[test]
fn an_object_closes_where_its_last_brace_stands() {
    let closes_at = |text: &str| {
        let mut scanner = ObjectScanner::default();
        text.char_indices().find_map(|(position, character)| {
            scanner.feed(character.encode_utf8(&mut [0; 4]));
            scanner.is_closed().then_some(position)
        })
    };
    assert_eq!(closes_at("{}"), Some(1));
    assert_eq!(closes_at(r#" {"a":[{}],"b":"}\"}\\"} x"#), Some(23));
    assert_eq!(closes_at(r#"{"a":{"b":1}"#), None);
    assert_eq!(closes_at("[{}]"), None);
    assert_eq!(closes_at("x {}"), None);
    assert_eq!(closes_at(""), None);
}

#[test]
fn edits_take_list_items_out_with_their_commas() {
    let list = "[ 1, 22 ,333 ]";
    let items = [2..3, 5..7, 9..12];
    let cases: &[(&[usize], &str)] = &[
        (&[], list),
        (&[0], "[ 22 ,333 ]"),
        (&[1], "[ 1 ,333 ]"),
        (&[2], "[ 1, 22 ]"),
        (&[0, 1], "[ 333 ]"),
        (&[0, 2], "[ 22 ]"),
        (&[1, 2], "[ 1 ]"),
        (&[0, 1, 2], "[  ]"),
    ];
    for (removed, expected) in cases {
        let mut edits = Edits::default();
        edits.remove_items(&items, |position| removed.contains(&position));
        let mut out = Vec::new();
        edits.apply(list.as_bytes(), &mut out);
        assert_eq!(core::str::from_utf8(&out).unwrap(), *expected, "{removed:?}");
    }
}

#[test]
fn members_are_removed_set_and_added_in_place() {
    let edit = |object: &str, removed: &[&str], set: &[(&str, String)]| {
        let mut edits = Edits::default();
        edits.edit_object(object, object, &members(object), removed, set);
        let mut out = Vec::new();
        edits.apply(object.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    };
    let set = [("b", "2".to_owned()), ("c", "3".to_owned())];
    assert_eq!(edit(r#"{"a":1.0,"b":null}"#, &[], &set), r#"{"c":3,"a":1.0,"b":2}"#);
    assert_eq!(edit(r#"{"a":1}"#, &["a"], &set), r#"{"c":3,"b":2}"#);
    assert_eq!(edit("{}", &[], &set), r#"{"c":3,"b":2}"#);
}

#[test]
fn broken_strings_are_errors() {
    let cases = [
        ("3", StringError::NotAString),
        ("\"", StringError::NotAString),
        (r#""\x""#, StringError::NotAString),
        (r#""\u12""#, StringError::NotAString),
        (r#""\u+123""#, StringError::NotAString),
        (r#""\ud800""#, StringError::LoneSurrogate),
        (r#""\ud800\n""#, StringError::LoneSurrogate),
        (r#""\ud800\ud800""#, StringError::LoneSurrogate),
        (r#""\udc00""#, StringError::LoneSurrogate),
    ];
    for (literal, expected) in cases {
        assert_eq!(unescape(literal, &mut String::new()), Err(expected), "{literal}");
    }
}

proptest! {
    #[test]
    fn strings_are_read_as_serde_json_reads_them(pieces in prop::collection::vec(prop::sample::select(vec![
        "a", "é", r"\n", r#"\""#, r"\\", r"\/", r"\u0041", r"\u00e9", r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\u0000", r"\b", r"\f",
    ]), 0..8)) {
        let literal = format!("\"{}\"", pieces.concat());
        let expected = serde_json::from_str::<String>(&literal).ok();
        let mut unescaped = String::new();
        let read = unescape(&literal, &mut unescaped).map(|borrowed| borrowed.map(str::to_owned));
        prop_assert_eq!(read.ok().map(|borrowed| borrowed.unwrap_or(unescaped)), expected);
    }
}

#[test]
fn what_some_readers_take_for_the_end_of_a_line_is_written_as_an_escape() {
    for (text, json) in [
        ("plain „e“ é", "\"plain „e“ é\""),
        ("a\u{2028}b\u{2029}\u{85}", r#""a\u2028b\u2029\u0085""#),
        ("\u{2027}\u{202a}\u{84}\u{86}\n\"", "\"\u{2027}\u{202a}\u{84}\u{86}\\n\\\"\""),
        ("", "\"\""),
    ] {
        assert_eq!(to_text(text), json);
        assert_eq!(serde_json::from_str::<String>(&to_text(text)).unwrap(), text);
    }
}
