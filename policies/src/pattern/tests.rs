use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text, false, false).unwrap_or_else(|error| panic!("{text} {error}"))
}

fn error(text: &str) -> String {
    Pattern::new(text, false, false).unwrap_err().0
}

#[test]
fn the_syntax_is_that_of_regular_expressions() {
    for (text, matches, others) in [
        ("ab|cd", &["ab", "cd"][..], &["ad", "abc", ""][..]),
        ("a(?:b|c)d?", &["ab", "acd"], &["ad", "abdd"]),
        ("x{2,3}", &["xx", "xxx"], &["x", "xxxx"]),
        ("x{2}y", &["xxy"], &["xy", "xxxy"]),
        (r"[a-c\-.]\d", &["a1", "-2", ".3"], &["d1", "aa"]),
        (r"[^a-z]b", &["1b", "Äb"], &["ab"]),
        (r"\w\s\S", &["_ x", "a\t1"], &["- x", "a  "]),
        (r"\x41\x{e9}?\.", &["A.", "Ae."], &["B.", "Aéé."]),
        ("(?i)ab[c-d]", &["AB C".split(' ').next().unwrap_or_default(), "aBD"][1..], &["abe"]),
        ("[]a]b", &["]b", "ab"], &["b"]),
        ("a.c", &["abc", "a🌊c"], &["a\nc"]),
    ] {
        let pattern = pattern(text);
        for matching in matches {
            assert!(pattern.dfa.matches(matching.chars()), "{text} {matching}");
        }
        for other in others {
            assert!(!pattern.dfa.matches(other.chars()), "{text} {other}");
        }
    }
}

#[test]
fn what_can_wait_is_known_beforehand() {
    for (text, wait) in [
        ("secret", 5),
        ("sk-[A-Za-z0-9]{20,}", 22),
        ("a+", 0),
        ("ab?c", 2),
        ("a(?:bc)+", 2),
        (r"\d{3}-\d{4}(?!\d)", 8),
        ("x[0-9]{4,100}", 4),
    ] {
        assert_eq!(pattern(text).wait, wait, "{text}");
    }
}

#[test]
fn a_pattern_without_a_finite_point_of_commitment_is_refused() {
    for text in ["a.*b", "BEGIN[a-z]+END", "\"[^\"]*\"", r"sk-\w{20,}\b"] {
        assert!(error(text).starts_with("has no finite point of commitment"), "{text}");
    }
}

#[test]
fn what_is_not_understood_is_refused_in_words() {
    for (text, part) in [
        ("", "empty text"),
        ("a*", "empty text"),
        ("(a", "not closed"),
        ("a)", "parenthesis"),
        ("[a", "not closed"),
        ("^a", "anchor"),
        ("a+?", "two repetitions"),
        ("*a", "nothing before it"),
        ("a{3,2}", "repetition"),
        ("a{2000}", "more than 1000 times"),
        (r"\pL", "not known"),
        (r"a\bb", "beginning"),
        ("(?=a)b", "neither"),
        ("a(?!b)c", "before its end"),
        ("[z-a]", "range"),
        ("[[:alpha:]]", "within a class"),
        ("(?:(?:a{1000}){1000}){1000}", "too large"),
        ("(?:a|b)*a(?:a|b){20}", "too large"),
    ] {
        let error = error(text);
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(error(&format!("{}a{}", "(".repeat(100), ")".repeat(100))).contains("deeper"));
}

#[test]
fn a_group_can_be_captured() {
    let pattern = Pattern::new(r"(?i)password\s{0,3}[:=]\s{0,3}([^\s]{6,})", false, true).unwrap();
    let text: Vec<char> = "Password = hunter2x".chars().collect();
    assert_eq!(pattern.capture.unwrap().find(&text), (11, 19));
    let pattern = Pattern::new(r#"key="([a-z]{1,9})""#, false, true).unwrap();
    let text: Vec<char> = "key=\"abc\"".chars().collect();
    assert_eq!((pattern.is_whole, pattern.capture.unwrap().find(&text)), (true, (5, 8)));
    for wrong in ["abc", "(a)(b)", "a(?:(b))?c", "((a))"] {
        assert!(Pattern::new(wrong, false, true).is_err() || wrong == "((a))", "{wrong}");
    }
}

/// Where the group is, by trying every place.
fn tried(capture: &Capture, text: &[char]) -> (usize, usize) {
    let matches = |dfa: &Dfa, from: usize, to: usize| dfa.matches(text[from..to].iter().copied());
    let is_start = |at: &usize| matches(&capture.before, 0, *at) && matches(&capture.from, *at, text.len());
    let start = (0..text.len()).find(is_start).unwrap_or_default();
    let is_end = |at: &usize| capture.behind.as_ref().is_some_and(|behind| matches(behind, *at, text.len()));
    (start, (start..=text.len()).rev().find(is_end).unwrap_or(text.len()))
}

#[test]
fn a_group_is_found_where_trying_every_place_finds_it_and_in_one_pass() {
    for pattern in ["a*(b+)", "(a|ab)", "a+(a+)", "[ab]{0,3}(b[ab]*)a?", "a?(b*)b*", "(a+)[ab]+"] {
        let capture = capture(&parse::parse(pattern).unwrap().node).unwrap();
        for bits in 0..256_u32 {
            for length in 1..=8 {
                let text: Vec<char> = (0..length).map(|at| if bits >> at & 1 == 1 { 'b' } else { 'a' }).collect();
                assert_eq!(capture.find(&text), tried(&capture, &text), "{pattern} {text:?}");
            }
        }
    }
    // In as many passes as it has places this would not end.
    let capture = capture(&parse::parse("a*(a*b)").unwrap().node).unwrap();
    let long: Vec<char> = core::iter::repeat_n('a', 1 << 20).chain(['b']).collect();
    assert_eq!(capture.find(&long), (0, long.len()));
}

#[test]
fn groups_are_found_as_regular_expressions_have_them() {
    for (text, matched, expected) in [
        ("(a{1,3})(a{0,2})", "aaa", &["aaa", ""][..]),
        ("(a{0,3})(a)", "aaa", &["aa", "a"]),
        ("(a|ab)(c|bcd)(d?)", "abcd", &["a", "bcd", ""]),
        ("(?:(a)|(b)){1,3}", "ab", &["a", "b"]),
        ("((a)(b?)){1,3}", "aba", &["a", "a", ""]),
        ("(x)?y", "y", &["-"]),
        (r"(?i)(\w{1,9})@(corp|dev)\.example", "ann@DEV.example", &["ann", "DEV"]),
        ("(a{0,2}){0,2}b", "aaab", &["a"]),
        ("(?:(a{0,2})){0,2}c", "c", &[""]),
        ("no", "no", &[]),
    ] {
        let (pattern, groups) = Pattern::with_groups(text).unwrap_or_else(|error| panic!("{text} {error}"));
        let matched: Vec<char> = matched.chars().collect();
        assert!(pattern.is_whole && pattern.dfa.matches(matched.iter().copied()), "{text}");
        let found = groups.find(&matched).unwrap().into_iter();
        let found: Vec<String> =
            found.map(|span| span.map_or_else(|| "-".to_owned(), |(start, end)| matched[start..end].iter().collect())).collect();
        assert_eq!(found, expected, "{text}");
        assert_eq!(groups.count(), expected.len(), "{text}");
    }
}

#[test]
fn groups_are_found_in_bounded_time() {
    // Tried one after the other, the ways through this would be more than 2^25.
    let (_, groups) = Pattern::with_groups("(?:(a?)(a?)){25}b").unwrap();
    let text: Vec<char> = core::iter::repeat_n('a', 25).chain(['b']).collect();
    assert!(groups.find(&text).is_some());
    assert!(groups.find(&text[..25]).is_none());
    assert!(groups.find(&[text.as_slice(); 9].concat()).is_none(), "no match is that long");
    let message = |text: &str| Pattern::with_groups(text).unwrap_err().0;
    assert!(message("(a{500}|b{500}|c{500}|d{500}|e{500})").contains("too large for groups"));
    assert!(message("a(b{1,512})").contains("513 characters: a template can be for 512"));
    assert!(Pattern::with_groups("a(b{1,511})").is_ok());
    assert!(message(&"(a)".repeat(33)).contains("more than 32 groups"));
    assert!(message("(a+)b").starts_with("has no finite point of commitment"));
}
