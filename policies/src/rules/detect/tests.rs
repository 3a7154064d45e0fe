//! What each detector must find, and what it must not.

use crate::rules::finder::{Finder, Output};
use crate::rules::search::{Effect, Search, Sought};
use std::sync::Arc;

use super::*;
use crate::pattern::Pattern;

fn search(names: &[&str]) -> Search {
    let detectors = names.iter().flat_map(|name| find(name));
    let sought = detectors.map(|detector| Sought {
        rule: 0,
        pattern: Arc::new(
            Pattern::new(detector.pattern, detector.is_whole, detector.captures)
                .unwrap_or_else(|error| panic!("{} {error}", detector.name)),
        ),
        check: detector.check,
        allowed: Vec::new().into(),
    });
    Search::new(&[], &|_| true, sought.collect(), Vec::new(), vec![Effect::Replace("*".to_owned())].into()).unwrap()
}

fn redacted(search: &Search, text: &str, cut: usize) -> String {
    let (mut finder, mut out) = (Finder::default(), Output::default());
    finder.feed(search, &text[..cut], &mut out);
    finder.feed(search, &text[cut..], &mut out);
    finder.finish(search, &mut out);
    out.edited.text
}

/// A value joined from parts, so that nobody who searches for keys takes the tests for a leak.
macro_rules! value {
    ($($part:expr),+) => { [$($part),+].concat() };
}

/// The values of `samples.json`, which the end-to-end tests read, too: in parts, for the same reason.
fn must_match() -> Vec<(&'static str, String)> {
    #[derive(serde::Deserialize)]
    struct Sample {
        detect: &'static str,
        parts: Vec<String>,
    }
    let samples: Vec<Sample> = serde_json::from_str(include_str!("samples.json")).unwrap();
    samples.into_iter().map(|sample| (sample.detect, sample.parts.concat())).collect()
}

#[test]
fn what_it_is_for_is_found_at_every_cut() {
    for (name, value) in must_match() {
        let search = search(&[name]);
        for text in [value.clone(), format!("it is {value} today"), format!("\"{value}\",")] {
            let expected = text.replace(&value, "*");
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                assert_eq!(redacted(&search, &text, cut), expected, "{name}: {text}");
            }
        }
    }
}

#[rustfmt::skip]
fn must_match_behind_its_word() -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("passport", "Passport No.: ", value!("C01X", "00T47")),
        ("passport", "my passport number is ", value!("5335", "80231")),
        ("passport", "\"passport_number\": \"", value!("X123", "4567")),
        ("passport", "Reisepass Nr. ", value!("L8J4", "07P3Z")),
        ("driving_licence", "driver's license: ", value!("D123", "4567")),
        ("driving_licence", "Driving licence no ", value!("MORGA657", "054SM9IJ")),
        ("driving_licence", "DL# ", value!("A123-456-", "78-901")),
        ("us_ssn_bare", "SSN: ", value!("5362", "21234")),
        ("us_ssn_bare", "social security number is ", value!("5362", "21234")),
        ("us_ssn_bare", "\"ssn\":\"", value!("5362", "21234")),
        ("secret_assignment", "DB_PASSWORD=", value!("k7#mQ2", "vX9!pL4z")),
        ("secret_assignment", "api_key: \"", value!("9f8a7b6c5d4e", "3f2a1b0c9d8e")),
        ("secret_assignment", "config['auth_token'] = '", value!("Zx81Kq0vBn52", "LmT7")),
        ("secret_assignment", "client_secret => ", value!("a8B3c9D2e7F1", "g6H0")),
    ]
}

#[test]
fn what_says_too_little_by_itself_is_found_behind_its_word_alone() {
    for (name, word, value) in must_match_behind_its_word() {
        let search = search(&[name]);
        for (before, after) in [("", ""), ("see ", " today"), ("see ", "\", next")] {
            let text = format!("{before}{word}{value}{after}");
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                assert_eq!(redacted(&search, &text, cut), format!("{before}{word}*{after}"), "{name}: {text}");
            }
        }
        let alone = format!("it is {value} today");
        assert_eq!(redacted(&search, &alone, 0), alone, "{name}");
    }
}

#[test]
fn what_stands_behind_the_word_and_is_no_such_value_stays() {
    for (name, text) in [
        (
            "passport",
            "passport number required; passport-local 0.6.1; passport: strategy; passport photos 35x45; passport 0000000",
        ),
        ("passport", "passports1234567 passport 12345678901 passport a_1234567x"),
        ("driving_licence", "driver's license required, driving licence holders since 2019; dl class=\"terms\" dl 2024-01"),
        ("us_ssn_bare", "ssn: 000123456 ssn 666123456 ssn 987654321 ssn 123456789 ssn 536001234 ssn 536220000 ssn 5362212345"),
        ("us_ssn_bare", "order 536221234, session 536221234"),
        ("secret_assignment", "password: changeme_please token = get_token_from_env secret: my-secret-value-2024 token: string"),
        ("secret_assignment", "password = os.environ['DB_PASSWORD'] api_key = ${API_KEY_2024_01} secret: xxxxxxxxxxxxxxxx"),
        ("secret_assignment", "max_tokens: 1234567890123 token_count=000000000000 passwordField = document.getElementById42"),
        ("secret_assignment", "tokenizer: bert-base-uncased-v2-12 pwd=/home/user/projects/2024 secret_name: production-db-01"),
        ("secret_assignment", "key: k7mQ2vX9pL4z monkey=k7mQ2vX9pL4z"),
    ] {
        assert_eq!(redacted(&search(&[name]), text, 0), text, "{name}");
    }
}

#[test]
fn every_detector_has_something_that_it_must_find() {
    let (by_form, by_word) = (must_match(), must_match_behind_its_word());
    let tried: Vec<&str> = by_form.iter().map(|(name, _)| *name).chain(by_word.iter().map(|(name, ..)| *name)).collect();
    for detector in all() {
        assert!(tried.contains(&detector.name), "{}", detector.name);
    }
}

#[test]
fn what_only_looks_like_it_is_not_found() {
    let search = search(&["personal", "secrets"]);
    for text in [
        // Times, dates, versions, numbers.
        "2026-11-28T19:31:04.123456Z",
        "1760000000",
        "1760000000123",
        "1760000000123456789",
        "2026-11-28 19:31:04,123 +0000",
        "1.2.3.4",
        "v10.0.19041",
        "0.0.0.0 127.0.0.1 192.0.2.1 255.255.255.0",
        "3.141592653589793238462643383279",
        "4111111111111112",
        "1234567812345678",
        "000-12-3456 666-12-3456 900-12-3456 123-45-6789",
        "+12 +1234 a+49301234567 1+4930123456",
        // Hashes and ids.
        "550e8400-e29b-41d4-a716-446655440000",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "0123456789abcdef0123456789abcdef",
        "sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
        // Code.
        "std::collections::HashMap; a::b::c; fe::be::ef",
        "#[derive(Debug)] @media (max-width: 4em) { }",
        "icon@2x.png user@host @scope/package@1.2.3",
        "ctrl+shift+p cmd+k",
        "https://example.com/path?user=a:b@c",
        "http://user@host.example/",
        "sk-learn sk_test ghp_short xoxb-1 hf_home npm_config_registry",
        "AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY----- begins the file",
        "eyJub3QiOiJhIGhlYWQifQ.eyJzdWIiOiIxIn0.abc",
        "ghp_abcdefghijABCDEFGHIJ0123456789000000",
        "DE89 3704 0044 0532 0130 01",
        "12:34:56 00:1a:2b:3c:4d:5e",
    ] {
        assert_eq!(redacted(&search, text, 0), text);
    }
}

#[test]
fn a_wrong_check_digit_is_nothing() {
    for (name, text) in [
        ("national", "11010519491231002A 110105194912310021 436 123 458 943 476 5918 2341 2341 2345 021000022 1234567892"),
        ("national", "12345678A X1234567A 86095742718 44051401358 123 456 781 900101-1234567 S1234567E RSSMRA85T10A562T"),
        ("national", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"),
        ("national", "1760000001 550e8400-e29b-41d4-a716-446655440000 da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("exfiltration", "[a](https://example.com/page) ![a](local.png) a[0](x) [b](https://example.com/a)"),
        ("tool_call_text", "tool_call <tool> [TOOLS] ```json\n{\"a\": 1}\n``` ```json\n{\"name\": \"x\", \"version\": 1}\n```"),
    ] {
        assert_eq!(redacted(&search(&[name]), text, 0), text, "{name}");
    }
}

#[test]
fn what_follows_a_private_key_stays() {
    let key = value!("-----BEGIN ", "PRIVATE KEY-----\nMIIEpAIBAAKCAQEAxyz0123456789abcdef\n-----END ", "PRIVATE KEY-----");
    assert_eq!(redacted(&search(&["secrets"]), &format!("a {key}\nand text."), 0), "a *\nand text.");
}

/// Measures by hand how often detectors find something in ordinary code and prose:
/// `WEIR_TEXTS=<folder> cargo test -p weir-policies --lib false_positives -- --ignored --nocapture`.
#[test]
#[ignore = "needs a folder of texts, and eyes"]
#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn false_positives() {
    let names: Vec<&str> = {
        let mut names: Vec<&str> = all().map(|detector| detector.name).collect();
        names.dedup();
        names
    };
    let searches: Vec<Search> = names.iter().map(|name| search(&[name])).collect();
    let (mut bytes, mut found) = (0, vec![Vec::new(); names.len()]);
    let mut folders = vec![std::path::PathBuf::from(std::env::var_os("WEIR_TEXTS").expect("WEIR_TEXTS names a folder"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let is_text = entry
                .path()
                .extension()
                .is_some_and(|kind| ["rs", "md", "toml", "txt", "c", "py", "js"].iter().any(|known| kind == *known));
            let Some(text) = std::fs::read_to_string(entry.path()).ok().filter(|text| is_text && text.len() < 1_000_000) else {
                continue;
            };
            bytes += text.len();
            for (search, found) in searches.iter().zip(&mut found) {
                for line in text.lines() {
                    let hits = line_hits(search, line);
                    if hits > 0 {
                        found.extend(std::iter::repeat_n(line.chars().take(160).collect::<String>(), hits));
                    }
                }
            }
        }
    }
    let megabytes = bytes as f64 / 1e6;
    println!("{megabytes:.1} MB");
    for (name, found) in names.iter().zip(&found) {
        println!("{name}: {} ({:.3} per MB)", found.len(), found.len() as f64 / megabytes);
        let step = (found.len() / 12).max(1);
        found.iter().step_by(step).take(12).for_each(|line| println!("    {}", line.trim()));
    }
}

fn line_hits(search: &Search, line: &str) -> usize {
    let (mut finder, mut out) = (Finder::default(), Output::default());
    finder.feed(search, line, &mut out);
    finder.finish(search, &mut out);
    out.hits.len()
}
