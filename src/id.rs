//! Ids of exchanges and of traces.

use core::fmt;

/// Identifies one exchange: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId([u8; 16]);

impl CallId {
    /// An id of these bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Gives its bits.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// A fresh random id.
    ///
    /// # Errors
    /// When the platform gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an exchange stands in a distributed trace (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// 16 lower-case hexadecimal digits: the caller's span.
    pub span_id: String,
}

impl TraceContext {
    /// Reads a `traceparent` header; `None` when it is not one.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(traceparent).ok()?;
        let mut fields = text.split('-');
        let version = fields.next()?;
        let trace_id = fields.next()?;
        let span_id = fields.next()?;
        let flags = fields.next()?;
        let is_hex = |field: &str, length: usize| {
            field.len() == length && field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let is_zero = |field: &str| field.bytes().all(|byte| byte == b'0');
        let well_formed =
            is_hex(version, 2) && version != "ff" && is_hex(trace_id, 32) && is_hex(span_id, 16) && is_hex(flags, 2);
        // Version 00 ends after the flags; later versions may add fields.
        let complete = version != "00" || fields.next().is_none();
        (well_formed && complete && !is_zero(trace_id) && !is_zero(span_id))
            .then(|| Self { trace_id: trace_id.to_owned(), span_id: span_id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_or_ignored() {
        let trace = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!((trace.trace_id.as_str(), trace.span_id.as_str()), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
        let broken: [&[u8]; 6] = [
            b"",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"\xff\xfe",
        ];
        assert!(broken.iter().all(|header| TraceContext::parse(header).is_none()));
    }

    #[test]
    fn random_ids_differ_and_print_as_hex() {
        let (one, other) = (CallId::random().unwrap(), CallId::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.to_string().len(), 32);
    }
}
