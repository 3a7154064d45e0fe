//! Ways to cut a body into chunks.

/// The body cut at each of `positions`; those beyond it are ignored, and order and repetition do not matter.
pub fn at(body: &[u8], positions: &[usize]) -> Vec<Vec<u8>> {
    let mut positions = positions.iter().copied().filter(|position| (1..body.len()).contains(position)).collect::<Vec<_>>();
    positions.sort_unstable();
    positions.dedup();
    let mut chunks = Vec::with_capacity(positions.len() + 1);
    let mut start = 0;
    for end in positions.into_iter().chain([body.len()]) {
        chunks.push(body[start..end].to_vec());
        start = end;
    }
    chunks
}

/// Each byte a chunk of its own.
pub fn bytes(body: &[u8]) -> Vec<Vec<u8>> {
    body.iter().map(|byte| vec![*byte]).collect()
}

/// Each event a chunk of its own, as a provider sends them.
pub fn events(body: &[u8]) -> Vec<Vec<u8>> {
    let ends =
        (2..body.len()).filter(|end| body[..*end].ends_with(b"\n\n") || body[..*end].ends_with(b"\n\r\n")).collect::<Vec<_>>();
    at(body, &ends)
}

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
