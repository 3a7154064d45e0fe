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
            Pattern::new(detector.pattern, detector.is_whole, false).unwrap_or_else(|error| panic!("{} {error}", detector.name)),
        ),
        check: detector.check,
        allowed: Vec::new().into(),
    });
    Search::new(&[], &|_| true, sought.collect(), None, vec![Effect::Replace("*".to_owned())].into()).unwrap()
}

fn redacted(search: &Search, text: &str, cut: usize) -> String {
    let (mut finder, mut out) = (Finder::default(), Output::default());
    finder.feed(search, &text[..cut], &mut out);
    finder.feed(search, &text[cut..], &mut out);
    finder.finish(search, &mut out);
    out.text
}

/// A value joined from parts, so that nobody who searches for keys takes the tests for a leak.
macro_rules! value {
    ($($part:expr),+) => { [$($part),+].concat() };
}

#[rustfmt::skip]
fn must_match() -> Vec<(&'static str, String)> {
    vec![
        ("email", value!("jane.doe+x@mail.example.co", ".uk")),
        ("email", value!("a@b.io")),
        ("payment_card", value!("4111 1111 ", "1111 1111")),
        ("payment_card", value!("5555555555", "554444")),
        ("payment_card", value!("2223-0031-", "2200-3222")),
        ("payment_card", value!("3782 822463 ", "10005")),
        ("payment_card", value!("6011111111", "111117")),
        ("iban", value!("DE89 3704 0044 ", "0532 0130 00")),
        ("iban", value!("GB29NWBK6016", "1331926819")),
        ("iban", value!("NO93 8601 ", "1117 947")),
        ("us_ssn", value!("536-22-", "1234")),
        ("phone", value!("+49 30 ", "901820")),
        ("phone", value!("+1 (415) ", "555-2671")),
        ("phone", value!("+4479111", "23456")),
        ("ipv4", value!("93.184.", "216.34")),
        ("ipv6", value!("2001:470:1f0b:", "83::2")),
        ("ipv6", value!("2a00:1450:4001:0828:", "0000:0000:0000:200e")),
        ("jwt", value!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.", "eyJzdWIiOiIxMjM0In0.", "abc_def-ghi")),
        ("private_key", value!("-----BEGIN RSA ", "PRIVATE KEY-----\nMIIEpAIBAAKCAQEAxyz0123456789abcdef\nAAAA\n-----END RSA ", "PRIVATE KEY-----")),
        ("private_key", value!("-----BEGIN ", "PRIVATE KEY-----\\nMIIEpAIBAAKCAQEAxyz0123456789abcdef\\n-----END ", "PRIVATE KEY-----")),
        ("url_credentials", value!("postgres://admin:", "s3cr3t@db.internal:5432")),
        ("url_credentials", value!("redis://:", "hunter22@cache")),
        ("aws_access_key", value!("AKIA", "Z7Q3M5N2P4R6S2T3")),
        ("google_api_key", value!("AIza", "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY")),
        ("github_token", value!("ghp_", "abcdefghijABCDEFGHIJ0123456789", "2C2O59")),
        ("github_token", value!("github_pat_", "11ABCDEFG0abcdefghijkl_", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL")),
        ("npm_token", value!("npm_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8")),
        ("anthropic_key", value!("sk-ant-", "api03-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8-_s9T0AA")),
        ("openai_key", value!("sk-", "proj-a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8")),
        ("openai_key", value!("sk-", "a1B2c3D4e5F6g7H8i9J0T3BlbkFJk1L2m3N4o5P6q7R8s9T0")),
        ("huggingface_token", value!("hf_", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH")),
        ("gitlab_token", value!("glpat-", "a1B2c3D4e5F6g7H8i9J0")),
        ("slack_token", value!("xoxb-", "123456789012-1234567890123-a1B2c3D4e5F6g7H8i9J0k1L2")),
        ("slack_token", value!("https://hooks.slack.com/", "services/T00000000/B00000000/a1B2c3D4e5F6g7H8i9J0k1L2")),
        ("stripe_key", value!("sk_", "live_a1B2c3D4e5F6g7H8i9J0k1L2")),
        ("stripe_key", value!("whsec_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6")),
    ]
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

#[test]
fn every_detector_has_something_that_it_must_find() {
    let tried: Vec<&str> = must_match().iter().map(|(name, _)| *name).collect();
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
fn what_follows_a_private_key_stays() {
    let key = value!("-----BEGIN ", "PRIVATE KEY-----\nMIIEpAIBAAKCAQEAxyz0123456789abcdef\n-----END ", "PRIVATE KEY-----");
    assert_eq!(redacted(&search(&["secrets"]), &format!("a {key}\nand text."), 0), "a *\nand text.");
}
