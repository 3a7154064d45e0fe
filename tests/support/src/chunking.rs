//! Ways to cut a body into chunks.

pub use weir_driver::{at, bytes, events};

/// The body with CRLF at the end of every line.
pub fn crlf(body: &[u8]) -> Vec<u8> {
    let mut converted = Vec::with_capacity(body.len() + body.len() / 16);
    for byte in body {
        if *byte == b'\n' && converted.last() != Some(&b'\r') {
            converted.push(b'\r');
        }
        converted.push(*byte);
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_lost() {
        let body = b"data: a\n\ndata: b\n\n";
        for chunks in [at(body, &[3, 0, 99, 3, 18, 9]), bytes(body), events(body)] {
            assert_eq!(chunks.concat(), body);
        }
        assert_eq!(events(body).len(), 2);
        assert_eq!(crlf(b"a\nb\r\n\n"), b"a\r\nb\r\n\r\n");
    }
}
