use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::pattern::Pattern;
use crate::rules::search::{Check, Sought, Term};
use crate::rules::template::{Rewriting, Template};

/// What a rule of a test looks for.
#[derive(Clone, Debug)]
enum Looks {
    Term(&'static str),
    Sensitive(&'static str),
    Pattern(&'static str),
    Captured(&'static str),
    Allowed(&'static str, &'static [&'static str]),
    Checked(&'static str, Check),
    /// A template takes the place of a match.
    Rewritten(&'static str),
}

fn search(rules: &[(Looks, &str)]) -> Search {
    let (mut terms, mut sought, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    for (rule, (looks, with)) in rules.iter().enumerate() {
        if let Looks::Rewritten(pattern) = looks {
            let (pattern, groups) = Pattern::with_groups(pattern).unwrap();
            let template = Template::parse(with, groups.count()).unwrap();
            effects.push(Effect::Rewrite(Rewriting { groups, template }));
            sought.push(Sought { rule, pattern: Arc::new(pattern), check: None, allowed: [].into() });
            continue;
        }
        effects.push(match *with {
            "!" => Effect::Refuse,
            "?" => Effect::Watch,
            with => Effect::Replace(with.to_owned()),
        });
        let mut add = |pattern: &str, check: Option<Check>, captures: bool, allowed: &[&str]| {
            let pattern = Arc::new(Pattern::new(pattern, check.is_some(), captures).unwrap());
            let allowed = allowed.iter().map(|value| value.chars().map(fold).collect()).collect();
            sought.push(Sought { rule, pattern, check, allowed });
        };
        match looks {
            Looks::Term(text) => terms.push(Term { rule, text: (*text).to_owned(), folds: true }),
            Looks::Sensitive(text) => terms.push(Term { rule, text: (*text).to_owned(), folds: false }),
            Looks::Pattern(pattern) => add(pattern, None, false, &[]),
            Looks::Captured(pattern) => add(pattern, None, true, &[]),
            Looks::Allowed(pattern, allowed) => add(pattern, None, false, allowed),
            Looks::Checked(pattern, check) => add(pattern, Some(*check), false, &[]),
            Looks::Rewritten(_) => {}
        }
    }
    Search::new(&terms, &|_| true, sought, Vec::new(), effects.into()).unwrap()
}

fn run(search: &Search, pieces: &[&str]) -> (String, Output) {
    let (mut finder, mut out) = (Finder::default(), Output::default());
    let (mut text, mut came) = (String::new(), 0);
    for piece in pieces {
        finder.feed(search, piece, &mut out);
        came += piece.len();
        assert!(finder.undecided() <= came);
        text += &std::mem::take(&mut out.edited.text);
    }
    finder.finish(search, &mut out);
    assert_eq!((finder.undecided(), finder.raw.as_str()), (0, ""));
    text += &out.edited.text;
    (text, out)
}

fn once(search: &Search, text: &str) -> String {
    run(search, &[text]).0
}

#[test]
fn terms_are_found_in_whatever_form_they_come() {
    let search = search(&[(Looks::Term("project nightingale"), "*")]);
    for text in [
        "project nightingale",
        "PROJECT Nightingale",
        "pro\u{200b}ject night\u{ad}ingale",
        "ｐｒｏｊｅｃｔ\u{3000}ｎｉｇｈｔｉｎｇａｌｅ",
        "𝓹𝓻𝓸𝓳𝓮𝓬𝓽 𝐧𝐢𝐠𝐡𝐭𝐢𝐧𝐠𝐚𝐥𝐞",
        "рrоjесt nіghtіngаlе",
        "p\u{301}roject nightingàle",
        "project\u{a0}nightin\u{e0041}gale",
    ] {
        assert_eq!(once(&search, &format!("the {text}.")), "the *.", "{text}");
    }
    assert_eq!(once(&search, "projects nightin\u{200b}"), "projects nightin\u{200b}");
}

#[test]
fn a_character_that_stands_for_several_goes_as_a_whole() {
    let search = search(&[(Looks::Term("in"), "*"), (Looks::Term("ef"), "+")]);
    assert_eq!(once(&search, "ﬁnd deﬂ ﬁ"), "*d d+ ﬁ");
}

#[test]
fn a_pattern_without_end_is_replaced_at_its_shortest_and_swallows_the_rest() {
    let search = search(&[(Looks::Pattern("sk-[a-z0-9]{4,}"), "*")]);
    let (mut finder, mut out) = (Finder::default(), Output::default());
    for (piece, text, undecided) in
        [("key sk-", "key ", 3), ("abc", "", 6), ("d", "*", 0), ("efghijklm", "", 0), ("nop, ", ", ", 0), ("s", "", 1)]
    {
        out.clear();
        finder.feed(&search, piece, &mut out);
        assert_eq!((out.edited.text.as_str(), finder.undecided()), (text, undecided), "{piece}");
    }
    assert_eq!(once(&search, "sk-abc sk-abcdefg"), "sk-abc *");
}

#[test]
fn what_is_invisible_behind_a_character_that_goes_goes_with_it() {
    let search = search(&[(Looks::Pattern("sk-[a-z0-9]{4,}"), "*"), (Looks::Term("owl"), "+")]);
    let hidden = "s\u{200b}k\u{200b}-\u{200b}a\u{200b}b\u{200b}c\u{200b}d\u{200b}e\u{200b}f\u{200b} o\u{200b}";
    for cut in (0..hidden.len()).filter(|cut| hidden.is_char_boundary(*cut)) {
        assert_eq!(run(&search, &[&hidden[..cut], &hidden[cut..]]).0, "* o\u{200b}", "{cut}");
    }
    assert_eq!(once(&search, "an owl\u{ad}\u{200b}s"), "an +s");
}

#[test]
fn what_follows_a_match_waits_only_while_it_could_belong_to_it() {
    let search = search(&[(Looks::Pattern(r"a@[a-z]{1,9}(?:\.[a-z]{2,9})+"), "*")]);
    let (mut finder, mut out) = (Finder::default(), Output::default());
    finder.feed(&search, "a@b.co.", &mut out);
    assert_eq!((out.edited.text.as_str(), finder.undecided()), ("*", 1));
    out.clear();
    finder.feed(&search, "u", &mut out);
    assert_eq!((out.edited.text.as_str(), finder.undecided()), ("", 2));
    finder.feed(&search, " ", &mut out);
    assert_eq!((out.edited.text.as_str(), finder.undecided()), (".u ", 0));
}

#[test]
fn overlapping_matches_go_as_one() {
    let search =
        search(&[(Looks::Term("foo bar"), "1"), (Looks::Term("bar secret"), "2"), (Looks::Pattern("secret[0-9]{2}"), "3")]);
    assert_eq!(once(&search, "a foo bar secret b"), "a 1 b");
    assert_eq!(once(&search, "foo bar secre"), "1 secre");
    assert_eq!(once(&search, "foo bar secret99!"), "1!");
    assert_eq!(once(&search, "bar secretfoo bar"), "21");
}

#[test]
fn what_watches_hides_nothing_and_is_told_of_once_where_it_overlaps_itself() {
    let search = search(&[
        (Looks::Term("project owl"), "?"),
        (Looks::Term("owl"), "?"),
        (Looks::Term("w"), "?"),
        (Looks::Pattern("[A-Za-z]{4,9} [A-Za-z]{3,9}"), "?"),
        (Looks::Pattern("[0-9]{3,}"), "?"),
    ]);
    for text in ["the project owl 12345", "the Project OWL 12345 "] {
        for cut in 0..text.len() {
            let (left, out) = run(&search, &[&text[..cut], &text[cut..]]);
            let mut hits = out.hits;
            hits.sort_unstable();
            assert_eq!((left.as_str(), &hits[..]), (text, &[0, 1, 2, 3, 4][..]), "{text} {cut}");
        }
    }
}

#[test]
fn of_terms_from_one_place_the_longest_wins() {
    let search = search(&[(Looks::Term("cat"), "dog"), (Looks::Term("cats"), "birds"), (Looks::Sensitive("At"), "@")]);
    assert_eq!(once(&search, "cat Cats catsdog hAt hat"), "dog birds birdsdog h@ hat");
}

#[test]
fn a_rule_that_refuses_counts_also_where_another_one_covers_it() {
    let search = search(&[(Looks::Term("project nightingale"), "*"), (Looks::Term("nightingale"), "!")]);
    let (text, out) = run(&search, &["a project nightin", "gale b"]);
    assert_eq!((text.as_str(), out.refused), ("a *", Some(1)));
    let (text, out) = run(&search, &["a nightingale b"]);
    assert_eq!((text.as_str(), out.refused), ("a ", Some(1)));
}

#[test]
fn neighbours_are_looked_at() {
    let search = search(&[(Looks::Pattern(r"\bcat\b"), "*"), (Looks::Pattern(r"(?<![0-9.])[0-9]{3}(?![0-9])"), "#")]);
    assert_eq!(once(&search, "cat concat cats cat"), "* concat cats *");
    assert_eq!(once(&search, "123 1234 .123 x123x"), "# 1234 .123 x#x");
    assert_eq!(run(&search, &["1", "23", "4 12", "3"]).0, "1234 #");
}

#[test]
fn a_key_stays_where_its_value_goes() {
    let search = search(&[(Looks::Captured(r"password: {0,2}([a-z]{3,})"), "*")]);
    let (mut finder, mut out) = (Finder::default(), Output::default());
    for (piece, text) in [("my password: ", "my "), ("hu", ""), ("n", "password: *"), ("ter", ""), (" ok", " ok")] {
        out.clear();
        finder.feed(&search, piece, &mut out);
        assert_eq!(out.edited.text, text, "{piece}");
    }
}

#[test]
fn allowed_values_stay_and_what_goes_on_from_them_does_not() {
    let search = search(&[(Looks::Allowed(r"\b[a-z]{1,5}@b\.[a-z]{2,}", &["me@b.com"]), "*")]);
    for (text, expected) in [
        ("me@b.com", "me@b.com"),
        ("Me@b.com".get(1..).unwrap_or_default(), "*"),
        ("to me@b.com, you@b.com", "to me@b.com, *"),
        ("me@b.comp me@b.co me@b.org", "* * *"),
    ] {
        for cut in 0..=text.len() {
            assert_eq!(run(&search, &[&text[..cut], &text[cut..]]).0, expected, "{text}");
        }
    }
}

#[test]
fn a_check_says_what_a_match_is() {
    let even: Check = |text| text.iter().filter_map(|digit| digit.to_digit(10)).sum::<u32>() % 2 == 0;
    let search = search(&[(Looks::Checked("x[0-9]{2,4}(?![0-9])", even), "*")]);
    assert_eq!(once(&search, "x11 x12 x1111 x11111"), "* x12 * x11111");
}

#[test]
fn hidden_text_is_taken_out_and_flags_stay() {
    let effects: Arc<[Effect]> = vec![Effect::Replace("*".to_owned())].into();
    let term = Term { rule: 0, text: "secret".to_owned(), folds: true };
    let search = Search::new(&[term], &|_| true, Vec::new(), vec![0], effects).unwrap();
    let wales = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}";
    assert_eq!(once(&search, &format!("a{wales}b")), format!("a{wales}b"));
    let (text, out) = run(&search, &["se\u{e0041}\u{e0042}", "\u{e0043}x s\u{e0041}ecret\u{e0041}!"]);
    assert_eq!(text, "sex *!");
    assert_eq!(out.hits.len(), 4);
}

#[test]
fn what_a_template_has_of_a_match_is_the_text_itself() {
    let search = search(&[(Looks::Rewritten(r"(\w{1,20})@(corp)\.example"), "<$2 ${1}|$0>")]);
    for (text, expected) in [
        ("to ann@corp.example now", "to <corp ann|ann@corp.example> now"),
        ("to JOSÉ@corp.example", "to <corp JOSÉ|JOSÉ@corp.example>"),
        ("a\u{200b}b@c\u{200b}orp.example\u{200b}.", "<c\u{200b}orp a\u{200b}b|a\u{200b}b@c\u{200b}orp.example>."),
        ("ａｎｎ@𝐜𝐨𝐫𝐩.example", "<𝐜𝐨𝐫𝐩 ａｎｎ|ａｎｎ@𝐜𝐨𝐫𝐩.example>"),
        ("ﬁ@corp.example", "<corp ﬁ|ﬁ@corp.example>"),
        ("ann@corp.exampl", "ann@corp.exampl"),
        ("a@corp.exampleb@corp.example", "<corp a|a@corp.example><corp b|b@corp.example>"),
    ] {
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            assert_eq!(run(&search, &[&text[..cut], &text[cut..]]).0, expected, "{text} {cut}");
        }
    }
    let search = self::search(&[(Looks::Rewritten("(i)(n)(d)"), "<$1$2$3>"), (Looks::Rewritten("(e)(f)"), "<$1$2>")]);
    assert_eq!(once(&search, "ﬁnd deﬂ"), "<ﬁnd> d<eﬂ>", "a character goes as a whole");
}

#[test]
fn what_is_rewritten_waits_only_while_it_can_change() {
    let search = search(&[(Looks::Rewritten("a(b{1,3})c"), "[$1]")]);
    let (mut finder, mut out) = (Finder::default(), Output::default());
    for (piece, text, undecided) in [("xa", "x", 1), ("bb", "", 3), ("c", "[bb]", 0), ("cab", "c", 2), ("d", "abd", 0)] {
        out.clear();
        finder.feed(&search, piece, &mut out);
        assert_eq!((out.edited.text.as_str(), finder.undecided()), (text, undecided), "{piece}");
    }
    // Another rule's match can begin in it.
    let search = self::search(&[(Looks::Rewritten("a(b{1,3})c"), "[$1]"), (Looks::Term("bcde"), "#")]);
    for (pieces, texts) in [(["abc", "d", "e"], ["", "", "[redacted]"]), (["abc", "d", "f"], ["", "", "[b]df"])] {
        let mut finder = Finder::default();
        for (piece, text) in pieces.iter().zip(texts) {
            out.clear();
            finder.feed(&search, piece, &mut out);
            assert_eq!(out.edited.text, text, "{piece}");
        }
    }
}

#[test]
fn what_another_rule_is_against_does_not_stay_in_a_template() {
    for (with, text, expected) in [
        ("#", "x abc y", "x [redacted] y"),
        ("#", "x abcd y", "x [redacted] y"),
        ("#", "x zabc y", "x # y"),
        ("!", "x abc y", "x [redacted]"),
        ("?", "x abc y", "x <bc> y"),
    ] {
        let other = match text {
            "x abcd y" => Looks::Term("cd"),
            "x zabc y" => Looks::Term("zab"),
            _ => Looks::Term("b"),
        };
        let search = search(&[(Looks::Rewritten("a(bc)"), "<$1>"), (other, with)]);
        for cut in 0..text.len() {
            assert_eq!(run(&search, &[&text[..cut], &text[cut..]]).0, expected, "{text} {cut}");
        }
    }
}

#[test]
fn an_expansion_counts_before_it_is_written() {
    let search = search(&[(Looks::Rewritten("(a{1,9})b"), "$1$1$1$1$1$1$1$1")]);
    let mut out = Output { edited: Edited::within(70), ..Output::default() };
    let mut finder = Finder::default();
    finder.feed(&search, "aaaaaaaaab", &mut out);
    assert_eq!((out.edited.text.len(), out.edited.exceeded), (72, false));
    finder.feed(&search, "aaaaaaaaab", &mut out);
    assert_eq!((out.edited.text.len(), out.edited.exceeded), (72, true));
}

/// Finds what every rule covers from every place, without an automaton over the stream.
fn covered(rules: &[(Looks, &str)], text: &[char]) -> Vec<bool> {
    let mut covered = vec![false; text.len()];
    for (looks, _) in rules {
        let compiled =
            if let Looks::Pattern(pattern) = looks { Some(Pattern::new(pattern, false, false).unwrap()) } else { None };
        for start in 0..text.len() {
            let end = match looks {
                Looks::Term(term) => {
                    let length = term.chars().count();
                    let is_match = text[start..].iter().copied().map(fold).take(length).eq(term.chars().map(fold));
                    is_match.then_some(start + length)
                }
                Looks::Pattern(_) => {
                    let pattern = compiled.as_ref().unwrap();
                    let is_blocked = start > 0 && pattern.before.as_ref().is_some_and(|set| set.contains(text[start - 1]));
                    let is_end = |end: &usize| {
                        let next = text.get(*end).copied();
                        let is_barred = next.zip(pattern.after.as_ref()).is_some_and(|(next, set)| set.contains(next));
                        !is_barred && pattern.dfa.matches(text[start..*end].iter().copied())
                    };
                    if is_blocked { None } else { (start + 1..=text.len()).rev().find(is_end) }
                }
                _ => None,
            };
            covered[start..end.unwrap_or(start)].fill(true);
        }
    }
    covered
}

const PATTERNS: &[&str] =
    &["ab", "a[bc]{2,}", "c(?:a|bc){1,3}", r"(?<!a)bc+", "[ab]{2,4}(?!c)", "b{2,}a?", "(?:ab){1,3}c", "cab?"];
const REWRITTEN: &[&str] = &["(a)b", "a(b{1,2})c?", "(a{1,3})b{0,2}", "(?:a|(b)c){1,2}", "(ab|a)(bc)?", "([abc]{2,4})x"];
const TERMS: &[&str] = &["a", "abc", "bca", "cc", "bab", "cabb", "aaaa"];

fn some_rules() -> impl Strategy<Value = Vec<(Looks, &'static str)>> {
    let looks = prop_oneof![
        proptest::sample::select(PATTERNS).prop_map(Looks::Pattern),
        proptest::sample::select(TERMS).prop_map(Looks::Term)
    ];
    let distinct = |rules: &Vec<(Looks, &str)>| {
        let mut terms: Vec<_> =
            rules.iter().filter_map(|(looks, _)| if let Looks::Term(term) = looks { Some(*term) } else { None }).collect();
        let count = terms.len();
        terms.sort_unstable();
        terms.dedup();
        terms.len() == count
    };
    proptest::collection::vec((looks, Just("")), 1..4).prop_filter("a term twice", distinct)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn exactly_what_rules_cover_goes_at_any_cut(rules in some_rules(), pieces in proptest::collection::vec("[abcx]{0,6}", 0..8)) {
        let text: Vec<char> = pieces.concat().chars().collect();
        let left: String = text.iter().zip(covered(&rules, &text)).filter(|(_, covered)| !covered).map(|(character, _)| *character).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(run(&search(&rules), &pieces).0, left);
    }

    /// Of the matches of one rule that overlap the first is rewritten, the longest from its place.
    #[test]
    fn matches_are_rewritten_as_regular_expressions_would_at_any_cut(
        pattern in proptest::sample::select(REWRITTEN), pieces in proptest::collection::vec("[abcx]{0,6}", 0..8)
    ) {
        let text: Vec<char> = pieces.concat().chars().collect();
        let (compiled, groups) = Pattern::with_groups(pattern).unwrap();
        let (mut expected, mut at) = (String::new(), 0);
        while at < text.len() {
            let is_match = |end: &usize| compiled.dfa.matches(text[at..*end].iter().copied());
            match (at + 1..=text.len()).rev().find(is_match) {
                Some(end) => {
                    let group = groups.find(&text[at..end]).unwrap()[0];
                    let group: String = group.map_or_else(String::new, |(from, to)| text[at + from..at + to].iter().collect());
                    expected += &format!("<{group}>");
                    at = end;
                }
                None => {
                    expected.push(text[at]);
                    at += 1;
                }
            }
        }
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(run(&search(&[(Looks::Rewritten(pattern), "<$1>")]), &pieces).0, expected);
    }

    /// Whatever stays of a match, nothing of it is what another rule is against.
    #[test]
    fn nothing_that_another_rule_covers_stays_in_what_is_rewritten(
        pattern in proptest::sample::select(REWRITTEN), others in some_rules(), pieces in proptest::collection::vec("[abcx]{0,6}", 0..8)
    ) {
        let text: Vec<char> = pieces.concat().chars().collect();
        let left: Vec<char> = text.iter().zip(covered(&others, &text)).filter(|(_, covered)| !covered).map(|(character, _)| *character).collect();
        let mut rules = others;
        rules.push((Looks::Rewritten(pattern), "$0"));
        let (search, whole) = (search(&rules), pieces.concat());
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let streamed = run(&search, &pieces).0;
        prop_assert_eq!(&streamed, &once(&search, &whole));
        let mut rest = left.iter();
        let stays = streamed.replace("[redacted]", "");
        prop_assert!(stays.chars().all(|character| rest.any(|other| *other == character)), "{:?} of {:?} for {:?}", streamed, left, whole);
    }

    /// What leaves is what is left of every text that begins so: nothing leaves too early. What waits could still go.
    #[test]
    fn no_more_and_no_less_waits_than_could_still_go(rules in some_rules(), text in "[abcx]{0,12}") {
        let (search, mut finder, mut out) = (search(&rules), Finder::default(), Output::default());
        finder.feed(&search, &text, &mut out);
        let sure = out.edited.text.clone();
        let (waiting, mut firsts) = (finder.undecided(), Vec::new());
        let continuations = ["", "a", "b", "c", "x", "aa", "ab", "ba", "bc", "cb", "ca", "cc", "bb", "bca", "abc", "bcc", "abb", "aaa", "bab"];
        for next in continuations {
            let whole: Vec<char> = text.chars().chain(next.chars()).collect();
            let covered = covered(&rules, &whole);
            let left: String = whole.iter().zip(&covered).filter(|(_, covered)| !**covered).map(|(character, _)| *character).collect();
            prop_assert!(left.starts_with(&sure), "{sure:?} left, and {left:?} is what may of {text:?} with {next:?}");
            firsts.push(covered.get(text.len() - waiting).copied());
        }
        // The first of what waits goes with one continuation and stays with another, or goes with what is replaced before it.
        if waiting > 0 {
            prop_assert!(firsts.contains(&Some(true)), "{waiting} of {text:?} wait for nothing");
        }
    }
}
