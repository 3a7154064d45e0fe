//! What belongs to a person: addresses, numbers of cards and accounts, telephones.

use super::Detector;
use super::checks::{is_card, is_email, is_iban, is_ipv4, is_ipv6, is_phone, is_ssn};

pub(super) const DETECTORS: &[Detector] = &[
    Detector::checked_early(
        "email",
        r"(?<![A-Za-z0-9._%+\-@/])[A-Za-z0-9_][A-Za-z0-9._%+\-]{0,63}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}",
        is_email,
    ),
    Detector::checked("payment_card", r"(?<![A-Za-z0-9_.\-+])[2-6]\d{3}(?:[ \-]?\d){9,15}(?![A-Za-z0-9_\-])", is_card),
    Detector::checked("iban", r"\b[A-Z]{2}\d{2} ?[A-Z0-9]{4}(?: ?[A-Z0-9]{4}){1,6}(?: ?[A-Z0-9]{1,3})?\b", is_iban),
    Detector::checked("us_ssn", r"(?<![A-Za-z0-9_\-.])\d{3}-\d{2}-\d{4}(?![A-Za-z0-9_\-])", is_ssn),
    Detector::checked("phone", r"(?<![A-Za-z0-9_+\-.)])\+[1-9]\d{0,2}(?:[ .\-]?\(?\d{1,4}\)?){2,6}(?![A-Za-z0-9_])", is_phone),
    Detector::checked("ipv4", r"(?<![A-Za-z0-9_.\-])(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9_\-])", is_ipv4),
    Detector::checked("ipv6", r"(?<![A-Za-z0-9_:.])(?:[0-9A-Fa-f]{1,4}:|:){2,8}(?:[0-9A-Fa-f]{1,4})?(?![A-Za-z0-9_:])", is_ipv6),
];
