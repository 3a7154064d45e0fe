//! Checksums, and what else tells a value from what only looks like it.

/// The digits of a match, without what stands between them.
pub(super) fn digits(text: &[char]) -> impl DoubleEndedIterator<Item = u32> + '_ {
    text.iter().filter_map(|character| character.to_digit(10))
}

/// A payment card: a range that is given out, and the sum of Luhn.
pub(super) fn is_card(text: &[char]) -> bool {
    let count = digits(text).count();
    let head =
        |length: usize| digits(text).take(length).fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(digit));
    let is_known = match count {
        13 => head(1) == 4,
        14 => matches!(head(3), 300..=305) || matches!(head(2), 36 | 38 | 39),
        15 => matches!(head(2), 34 | 37),
        16 => {
            head(1) == 4
                || matches!(head(2), 51..=55 | 62 | 65)
                || matches!(head(4), 2221..=2720 | 3528..=3589 | 6011 | 6440..=6499)
                || matches!(head(2), 50 | 56..=58 | 63 | 67)
        }
        17..=19 => head(1) == 4 && count == 19 || matches!(head(2), 50 | 56..=58 | 62 | 63 | 67),
        _ => false,
    };
    is_known && luhn(0, text).is_multiple_of(10)
}

/// The sum of Luhn, of the digits from the last to the first, over `start`.
pub(super) fn luhn(start: u32, text: &[char]) -> u32 {
    digits(text).rev().enumerate().fold(start, |sum, (at, digit)| {
        let doubled = digit.saturating_mul(2);
        sum.saturating_add(if at.is_multiple_of(2) { digit } else { (doubled % 10).saturating_add(doubled / 10) })
    })
}

/// How long account numbers are, by country (ISO 13616).
#[rustfmt::skip]
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22), ("BI", 27), ("BR", 29),
    ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27), ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29),
    ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27), ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27), ("GT", 28),
    ("HN", 28), ("HR", 21), ("HU", 28), ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20),
    ("LB", 28), ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25), ("MC", 27), ("MD", 24), ("ME", 22), ("MK", 19),
    ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18), ("NO", 15), ("OM", 23), ("PK", 24), ("PL", 28), ("PS", 29),
    ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33), ("SA", 24), ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24),
    ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28), ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22),
    ("VG", 24), ("XK", 20), ("YE", 30),
];

/// An account number: as long as its country has them, and the sum of mod 97.
pub(super) fn is_iban(text: &[char]) -> bool {
    let symbols = || text.iter().filter(|character| **character != ' ');
    let country: String = symbols().take(2).collect();
    let length = IBAN_LENGTHS.iter().find(|(known, _)| *known == country).map(|(_, length)| *length);
    if length != Some(symbols().count()) {
        return false;
    }
    let rotated = symbols().skip(4).chain(symbols().take(4));
    let rest = rotated.fold(0_u32, |rest, symbol| {
        let value = symbol.to_digit(36).unwrap_or_default();
        let shift = if value < 10 { 10 } else { 100 };
        rest.saturating_mul(shift).saturating_add(value) % 97
    });
    rest == 1
}

/// A US social security number that can have been given out.
pub(super) fn is_ssn(text: &[char]) -> bool {
    let text: String = text.iter().collect();
    let mut parts = text.split(['-', ' ']);
    let (area, group, serial) = (parts.next(), parts.next(), parts.next());
    // Printed as an example on millions of cards, and in advertisements.
    let is_example = matches!(text.as_str(), "078-05-1120" | "219-09-9999" | "123-45-6789");
    matches!((area, group, serial), (Some(area), Some(group), Some(serial)) if is_given_ssn(area, group, serial)) && !is_example
}

/// Whether the parts of a social security number can have been given out.
pub(super) fn is_given_ssn(area: &str, group: &str, serial: &str) -> bool {
    !matches!(area, "000" | "666") && !area.starts_with('9') && group != "00" && serial != "0000"
}

/// A telephone number with a country's code: 8 to 15 digits.
pub(super) fn is_phone(text: &[char]) -> bool {
    (8..=15).contains(&digits(text).count())
}

/// An address of the internet that is not one of documentation, of the machine itself, or a version.
pub(super) fn is_ipv4(text: &[char]) -> bool {
    let text: String = text.iter().collect();
    let Ok(address) = text.parse::<core::net::Ipv4Addr>() else { return false };
    let [first, ..] = address.octets();
    // In versions the first number is small as a rule, in addresses of hosts it is not; 10.x.x.x is one that people use.
    first >= 10 && !address.is_loopback() && !address.is_broadcast() && !address.is_documentation() && first != 255
}

/// An IPv6 address that names a host.
pub(super) fn is_ipv6(text: &[char]) -> bool {
    let text: String = text.iter().collect();
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let is_ours = |address: core::net::Ipv6Addr| !address.is_loopback() && !address.is_unspecified();
    // `::` within code leads to names such as `fe::be`: a host has at least four groups, or three and a gap of the well-known prefixes.
    groups >= 3 && text.chars().any(|character| character.is_ascii_digit()) && text.parse().is_ok_and(is_ours)
}

/// The head of a JSON web token: base64url of an object with `alg`.
pub(super) fn is_jwt(text: &[char]) -> bool {
    let head = text.iter().take_while(|character| **character != '.');
    let (mut bits, mut count, mut bytes) = (0_u32, 0_u8, Vec::with_capacity(text.len()));
    for symbol in head {
        let Some(value) = base64url(*symbol) else { return false };
        bits = (bits << 6 | value) & 0xff_ffff;
        count = count.saturating_add(6);
        if count >= 8 {
            count = count.saturating_sub(8);
            bytes.push(u8::try_from(bits.wrapping_shr(u32::from(count)) & 0xff).unwrap_or_default());
        }
    }
    let Ok(head) = core::str::from_utf8(&bytes) else { return false };
    head.trim_start().starts_with('{') && head.contains("\"alg\"")
}

fn base64url(symbol: char) -> Option<u32> {
    let code = u32::from(symbol);
    match symbol {
        'A'..='Z' => Some(code.saturating_sub(65)),
        'a'..='z' => Some(code.saturating_sub(71)),
        '0'..='9' => Some(code.saturating_add(4)),
        '-' => Some(62),
        '_' => Some(63),
        _ => None,
    }
}

const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token of GitHub: the last six of its 36 symbols are the CRC-32 of those before, in base 62.
pub(super) fn is_github_token(text: &[char]) -> bool {
    let body = text.get(4..34).unwrap_or_default();
    let sum = text.get(34..40).unwrap_or_default();
    let crc = !body.iter().fold(u32::MAX, |crc, symbol| {
        let mut crc = crc ^ (u32::from(*symbol) & 0xff);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
        crc
    });
    let given = sum.iter().try_fold(0_u64, |number, symbol| {
        let value = BASE62.chars().position(|known| known == *symbol)?;
        Some(number.saturating_mul(62).saturating_add(u64::try_from(value).ok()?))
    });
    sum.len() == 6 && given == Some(u64::from(crc))
}

/// Not one that stands in documentation.
pub(super) fn is_no_example(text: &[char]) -> bool {
    let text: String = text.iter().collect();
    !text.to_ascii_uppercase().contains("EXAMPLE") && !text.contains("xxxxxxxx") && !text.contains("XXXXXXXX")
}

/// An e-mail address that is not a name with a version (`package@1.2.3`), nor an image of double width (`icon@2x.png`).
pub(super) fn is_email(text: &[char]) -> bool {
    let text: String = text.iter().collect();
    let Some((_, domain)) = text.rsplit_once('@') else { return false };
    let is_host = domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
    is_host && !domain.starts_with("2x.") && !domain.starts_with("3x.")
}
