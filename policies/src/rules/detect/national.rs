//! Numbers that states and banks give, with their check digits, and addresses of coins: to be asked for by name, since short numbers
//! are also other things.

use super::Detector;
use super::checks::{digits, luhn};

pub(super) const DETECTORS: &[Detector] = &[
    Detector::checked("cn_resident_id", r"\b[1-9]\d{16}[\dXx]\b", is_chinese),
    Detector::checked("ca_sin", r"(?<![A-Za-z0-9_\-.])[1-79]\d{2}[ \-]\d{3}[ \-]\d{3}(?![A-Za-z0-9_\-])", is_luhn),
    Detector::checked("uk_nhs", r"(?<![A-Za-z0-9_\-.])\d{3}[ \-]?\d{3}[ \-]?\d{4}(?![A-Za-z0-9_\-])", is_nhs),
    Detector::checked("in_aadhaar", r"(?<![A-Za-z0-9_\-.])[2-9]\d{3}[ \-]?\d{4}[ \-]?\d{4}(?![A-Za-z0-9_\-])", is_verhoeff),
    Detector::checked("us_aba", r"(?<![A-Za-z0-9_\-.])[0-3]\d{8}(?![A-Za-z0-9_\-])", is_aba),
    Detector::checked("us_npi", r"(?<![A-Za-z0-9_\-.])[12]\d{9}(?![A-Za-z0-9_\-])", is_npi),
    Detector::checked("es_dni", r"\b(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z]\b", is_spanish),
    Detector::checked("de_tax_id", r"(?<![A-Za-z0-9_\-.])[1-9]\d{10}(?![A-Za-z0-9_\-])", is_german),
    Detector::checked("pl_pesel", r"(?<![A-Za-z0-9_\-.])\d{11}(?![A-Za-z0-9_\-])", is_polish),
    Detector::checked("au_tfn", r"(?<![A-Za-z0-9_\-.])\d{3} ?\d{3} ?\d{3}(?![A-Za-z0-9_\-])", is_australian),
    Detector::checked("kr_rrn", r"(?<![A-Za-z0-9_\-.])\d{6}-[1-4]\d{6}(?![A-Za-z0-9_\-])", is_korean),
    Detector::checked("sg_nric", r"\b[STFGM]\d{7}[A-Z]\b", is_singaporean),
    Detector::checked("it_fiscal_code", r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b", is_italian),
    Detector::checked("btc_address", r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", is_bitcoin),
    Detector::new("btc_address", r"\bbc1[qp][02-9ac-hj-np-z]{38}"),
    Detector::checked("eth_address", r"\b0x[0-9A-Fa-f]{40}\b", is_ethereum),
];

/// The sum of digits with weights.
fn weighted(text: &[char], weights: &[u32]) -> u32 {
    digits(text).zip(weights).fold(0, |sum, (digit, weight)| sum.saturating_add(digit.saturating_mul(*weight)))
}

fn last(text: &[char]) -> Option<char> {
    text.last().copied()
}

/// The symbol at a place of an alphabet.
fn symbol(alphabet: &str, at: u32) -> Option<char> {
    alphabet.chars().nth(usize::try_from(at).ok()?)
}

fn has_several_digits(text: &[char]) -> bool {
    let first = digits(text).next();
    digits(text).any(|digit| Some(digit) != first)
}

/// ISO 7064, mod 11-2, and a date of birth.
fn is_chinese(text: &[char]) -> bool {
    let sum = weighted(text.get(..17).unwrap_or_default(), &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let number = |from: usize, to: usize| {
        digits(text.get(from..to).unwrap_or_default()).fold(0, |all: u32, digit| all.saturating_mul(10).saturating_add(digit))
    };
    let is_date = matches!(number(6, 10), 1900..=2099) && matches!(number(10, 12), 1..=12) && matches!(number(12, 14), 1..=31);
    is_date && symbol("10X98765432", sum % 11) == last(text).map(|check| check.to_ascii_uppercase())
}

fn is_luhn(text: &[char]) -> bool {
    has_several_digits(text) && luhn(0, text).is_multiple_of(10)
}

/// Mod 11; ten digits.
fn is_nhs(text: &[char]) -> bool {
    let check = 11_u32.saturating_sub(weighted(text, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11);
    has_several_digits(text) && check != 10 && digits(text).last() == Some(check % 11)
}

/// Aadhaar numbers have the check digit of Verhoeff.
fn is_verhoeff(text: &[char]) -> bool {
    const TURNED: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let turn = |digit: u32, times: usize| {
        (0..times % 8)
            .fold(digit, |digit, _| usize::try_from(digit).ok().and_then(|digit| TURNED.get(digit)).copied().unwrap_or_default())
    };
    // The product in the dihedral group of order ten.
    let product = |one: u32, other: u32| match (one < 5, other < 5) {
        (true, true) => one.saturating_add(other) % 5,
        (true, false) => (one.saturating_add(other) % 5).saturating_add(5),
        (false, true) => (one.saturating_add(5).saturating_sub(other) % 5).saturating_add(5),
        (false, false) => one.saturating_add(5).saturating_sub(other) % 5,
    };
    has_several_digits(text) && digits(text).rev().enumerate().fold(0, |sum, (at, digit)| product(sum, turn(digit, at))) == 0
}

fn is_aba(text: &[char]) -> bool {
    let head = digits(text).take(2).fold(0_u32, |all, digit| all.saturating_mul(10).saturating_add(digit));
    matches!(head, 1..=12 | 21..=32)
        && has_several_digits(text)
        && weighted(text, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// The sum of Luhn, with 80840 before the number.
fn is_npi(text: &[char]) -> bool {
    luhn(24, text).is_multiple_of(10)
}

fn is_spanish(text: &[char]) -> bool {
    let head = match text.first() {
        Some('Y') => 1,
        Some('Z') => 2,
        _ => 0,
    };
    let number = digits(text).fold(head, |all: u32, digit| all.saturating_mul(10).saturating_add(digit));
    symbol("TRWAGMYFPDXBNJZSQVHLCKE", number % 23) == last(text)
}

/// ISO 7064, mod 11-10; one digit stands twice or three times among the first ten.
fn is_german(text: &[char]) -> bool {
    let product = digits(text).take(10).fold(10_u32, |product, digit| {
        let sum = digit.saturating_add(product) % 10;
        (if sum == 0 { 10 } else { sum }).saturating_mul(2) % 11
    });
    let counts = |wanted: u32| digits(text).take(10).filter(|digit| *digit == wanted).count();
    let repeated = (0..10).filter(|digit| counts(*digit) > 1).count();
    repeated == 1 && (0..10).all(|digit| counts(digit) <= 3) && digits(text).last() == Some(11_u32.saturating_sub(product) % 10)
}

fn is_polish(text: &[char]) -> bool {
    let sum = weighted(text, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    let pair =
        |from: usize| digits(text).skip(from).take(2).fold(0, |all: u32, digit| all.saturating_mul(10).saturating_add(digit));
    let is_date = matches!(pair(2) % 20, 1..=12) && matches!(pair(4), 1..=31);
    is_date && digits(text).last() == Some(10_u32.saturating_sub(sum % 10) % 10)
}

fn is_australian(text: &[char]) -> bool {
    has_several_digits(text) && weighted(text, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

fn is_korean(text: &[char]) -> bool {
    let sum = weighted(text, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let pair =
        |from: usize| digits(text).skip(from).take(2).fold(0, |all: u32, digit| all.saturating_mul(10).saturating_add(digit));
    matches!(pair(2), 1..=12) && matches!(pair(4), 1..=31) && digits(text).last() == Some(11_u32.saturating_sub(sum % 11) % 10)
}

fn is_singaporean(text: &[char]) -> bool {
    let sum = weighted(text, &[2, 7, 6, 5, 4, 3, 2]);
    let (alphabet, start) = match text.first() {
        Some('S') => ("JZIHGFEDCBA", 0),
        Some('T') => ("JZIHGFEDCBA", 4),
        Some('F') => ("XWUTRQPNMLK", 0),
        Some('G') => ("XWUTRQPNMLK", 4),
        _ => ("KLJNPQRTUWX", 3),
    };
    let at = sum.saturating_add(start) % 11;
    let at = if text.first() == Some(&'M') { 10_u32.saturating_sub(at) } else { at };
    symbol(alphabet, at) == last(text)
}

fn is_italian(text: &[char]) -> bool {
    const ODD: [u32; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value = |(at, character): (usize, &char)| {
        let place = match character.to_digit(36) {
            Some(digit @ 0..=9) => digit,
            Some(letter) => letter.saturating_sub(10),
            None => 0,
        };
        // The first place is an odd one.
        if at.is_multiple_of(2) {
            usize::try_from(place).ok().and_then(|place| ODD.get(place)).copied().unwrap_or_default()
        } else {
            place
        }
    };
    let sum = text.iter().take(15).enumerate().map(value).fold(0_u32, u32::saturating_add);
    symbol("ABCDEFGHIJKLMNOPQRSTUVWXYZ", sum % 26) == last(text)
}

/// Base 58 of 25 bytes, the last four of which are of the twice taken SHA-256 of the others.
fn is_bitcoin(text: &[char]) -> bool {
    use sha2::{Digest, Sha256};
    const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for character in text {
        let Some(value) = BASE58.chars().position(|known| known == *character) else { return false };
        let mut carry = u32::try_from(value).unwrap_or_default();
        for byte in bytes.iter_mut().rev() {
            carry = carry.saturating_add(u32::from(*byte).saturating_mul(58));
            *byte = u8::try_from(carry & 0xff).unwrap_or_default();
            carry >>= 8;
        }
        if carry > 0 {
            return false;
        }
    }
    let Some((body, sum)) = bytes.split_at_checked(21) else { return false };
    Sha256::digest(Sha256::digest(body)).starts_with(sum)
}

/// Forty hexadecimal digits in both cases: in one case they are a hash as well as an address.
fn is_ethereum(text: &[char]) -> bool {
    let digits = || text.iter().skip(2);
    digits().any(char::is_ascii_uppercase) && digits().any(char::is_ascii_lowercase)
}
