//! Headers that repeat what the body says: who routes by the headers must see the same as who reads the body.

use std::borrow::Cow;

/// Since this version of the protocol the headers must be there. Versions are dates and compare as such.
const MIRRORED_SINCE: &str = "2026-07-28";

/// What a request's head says about its body; empty where absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    /// `accept`
    pub(crate) accept: Vec<u8>,
    /// `mcp-protocol-version`
    pub(crate) protocol_version: Vec<u8>,
    /// `mcp-method`
    pub(crate) method: Vec<u8>,
    /// `mcp-name`
    pub(crate) name: Vec<u8>,
}

/// What the body says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    pub(super) method: &'a str,
    /// The name or URI of what is asked for, where the method has one.
    pub(super) name: Option<&'a str>,
    pub(super) protocol_version: Option<&'a str>,
}

impl Headers {
    /// Whether an event stream is all that the client takes.
    pub(super) fn streams_only(&self) -> bool {
        let takes = |media_type: &[u8]| {
            self.accept.split(|byte| *byte == b',').any(|range| {
                range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(media_type)
            })
        };
        takes(b"text/event-stream") && !takes(b"application/json") && !takes(b"application/*") && !takes(b"*/*")
    }

    /// Whether the protocol demands the headers.
    pub(super) fn are_required(&self, said: &Said<'_>) -> bool {
        let is_recent = |version: &[u8]| is_date(version) && version >= MIRRORED_SINCE.as_bytes();
        is_recent(&self.protocol_version) || said.protocol_version.is_some_and(|version| is_recent(version.as_bytes()))
    }

    /// Compares with what a request says; an error is what is wrong.
    pub(super) fn check_request(&self, said: &Said<'_>) -> Result<(), String> {
        let required = self.are_required(said);
        if let Some(version) = said.protocol_version {
            compare("MCP-Protocol-Version", &self.protocol_version, version, required)?;
        }
        compare("Mcp-Method", &self.method, said.method, required)?;
        match said.name {
            Some(name) => compare("Mcp-Name", &self.name, name, required),
            None => Ok(()),
        }
    }

    /// Compares with what a notification says, for which no header is required.
    pub(super) fn check_notification(&self, method: &str) -> Result<(), String> {
        compare("Mcp-Method", &self.method, method, false)
    }
}

fn compare(header: &str, value: &[u8], said: &str, required: bool) -> Result<(), String> {
    match value {
        [] if required => Err(format!("Header mismatch: the {header} header is missing")),
        [] => Ok(()),
        value if means(value, said) => Ok(()),
        _ => Err(format!("Header mismatch: the {header} header does not match the request body")),
    }
}

fn is_date(version: &[u8]) -> bool {
    version.len() == MIRRORED_SINCE.len()
        && version.iter().zip(MIRRORED_SINCE.bytes()).all(|(byte, like)| match like {
            b'-' => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Whether a header's value is `text`, plain or in the form for what a header cannot hold: `=?base64?…?=`.
fn means(value: &[u8], text: &str) -> bool {
    let encoded = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?="));
    let expected: Cow<'_, [u8]> = match encoded {
        Some(_) => Cow::Owned(base64(text.as_bytes())),
        None => Cow::Borrowed(text.as_bytes()),
    };
    value.is_ascii() && encoded.unwrap_or(value) == expected.as_ref()
}

/// Standard base64 (RFC 4648). To encode is enough for comparing, and leaves one form for every text.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).unwrap_or_default();
            out.push(if at > group.len() { b'=' } else { ALPHABET.get(digit).copied().unwrap_or(b'=') });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("Hello, 世界", "SGVsbG8sIOS4lueVjA=="),
        ] {
            assert_eq!(String::from_utf8(base64(text.as_bytes())).unwrap(), encoded);
        }
    }

    #[test]
    fn a_value_is_compared_as_what_it_means() {
        assert!(means(b"get_weather", "get_weather"));
        assert!(means("=?base64?SGVsbG8sIOS4lueVjA==?=".as_bytes(), "Hello, 世界"));
        assert!(means(b"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="));
        for value in ["Get_weather", "get_weather,get_weather", "=?base64?Z2V0X3dlYXRoZXI?=", "=?BASE64?Z2V0X3dlYXRoZXI=?="] {
            assert!(!means(value.as_bytes(), "get_weather"), "{value}");
        }
        assert!(!means("é".as_bytes(), "é"), "no header may hold it as it is");
        assert!(!means(b"=?base64?literal?=", "=?base64?literal?="), "plain text of that form must be encoded");
    }

    #[test]
    fn the_headers_are_required_from_their_version_on() {
        let headers = |version: &str| Headers { protocol_version: version.as_bytes().to_vec(), ..Headers::default() };
        for (version, required) in
            [("", false), ("2025-11-25", false), ("2026-07-28", true), ("2027-01-01", true), ("latest", false)]
        {
            assert_eq!(headers(version).are_required(&Said::default()), required, "{version}");
        }
        let said = Said { protocol_version: Some("2026-07-28"), ..Said::default() };
        assert!(headers("").are_required(&said), "the body says so");
    }

    #[test]
    fn an_accept_header_tells_whether_only_streams_are_taken() {
        let headers = |accept: &str| Headers { accept: accept.as_bytes().to_vec(), ..Headers::default() };
        assert!(headers("text/event-stream").streams_only());
        assert!(headers("Text/Event-Stream;q=1").streams_only());
        for accept in ["", "application/json, text/event-stream", "text/event-stream, */*", "application/json"] {
            assert!(!headers(accept).streams_only(), "{accept}");
        }
    }
}
