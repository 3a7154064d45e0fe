//! As much HTTP/1.1 as both ends of a benchmark need: heads, bodies by length or in chunks, connections that are
//! used again. A framework would do more work per event than the proxy that is being measured.

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEADERS: usize = 64;
const READ_SIZE: usize = 64 * 1024;

/// A socket with the bytes that were read from it and not used yet.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    unread: BytesMut,
}

/// What matters of a request that has arrived whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) exchange: Option<u64>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, unread: BytesMut::new() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).await.context("writing to the proxy")
    }

    /// Reads whatever comes next; `false` once the peer has closed.
    async fn fill(&mut self) -> Result<bool> {
        self.unread.reserve(READ_SIZE);
        Ok(self.socket.read_buf(&mut self.unread).await.context("reading from the proxy")? > 0)
    }

    /// The next request, or `None` when the peer has closed the connection between two requests.
    pub(crate) async fn read_request(&mut self) -> Result<Option<Request>> {
        let Some(length) = self.read_head().await? else {
            return Ok(None);
        };
        let (mut decoder, exchange) = {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut head = httparse::Request::new(&mut headers);
            head.parse(&self.unread[..length]).context("the proxy sent a broken request head")?;
            (BodyDecoder::for_request(head.headers)?, exchange_number(head.headers)?)
        };
        self.unread.advance(length);
        let mut body = Vec::new();
        while !decoder.decode(&mut self.unread, &mut body)? {
            if !self.fill().await? {
                bail!("the proxy closed the connection in the middle of a request body");
            }
        }
        Ok(Some(Request { exchange }))
    }

    /// Reads the head of a response: its status and a decoder for its body.
    pub(crate) async fn read_response_head(&mut self) -> Result<(u16, BodyDecoder)> {
        let Some(length) = self.read_head().await? else { bail!("the proxy closed the connection without an answer") };
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        head.parse(&self.unread[..length]).context("the proxy sent a broken response head")?;
        let status = head.code.context("the response has no status")?;
        let decoder = BodyDecoder::for_response(head.headers)?;
        self.unread.advance(length);
        Ok((status, decoder))
    }

    /// Decodes what is there of a body, after waiting for more of it where nothing is.
    pub(crate) async fn read_body(&mut self, decoder: &mut BodyDecoder, body: &mut Vec<u8>) -> Result<bool> {
        loop {
            let before = body.len();
            if decoder.decode(&mut self.unread, body)? {
                return Ok(true);
            }
            if body.len() > before {
                return Ok(false);
            }
            if !self.fill().await? {
                bail!("the proxy closed the connection in the middle of an answer");
            }
        }
    }

    /// Waits for a whole head and gives its length.
    async fn read_head(&mut self) -> Result<Option<usize>> {
        loop {
            if let Some(end) = memmem::find(&self.unread, b"\r\n\r\n") {
                return Ok(Some(end + 4));
            }
            if !self.fill().await? {
                if self.unread.is_empty() {
                    return Ok(None);
                }
                bail!("the proxy closed the connection in the middle of a head");
            }
        }
    }
}

/// The header by which the provider's end of an exchange finds the client's end.
pub(crate) const EXCHANGE_HEADER: &str = "x-bench-exchange";

fn exchange_number(headers: &[httparse::Header<'_>]) -> Result<Option<u64>> {
    let Some(value) = header(headers, EXCHANGE_HEADER) else {
        return Ok(None);
    };
    let number = str::from_utf8(value)?.parse().with_context(|| format!("{EXCHANGE_HEADER} is not a number"))?;
    Ok(Some(number))
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Takes the framing of HTTP/1.1 off a body, however it was cut into reads.
#[derive(Debug)]
pub(crate) enum BodyDecoder {
    Length(usize),
    ChunkSize,
    ChunkData(usize),
    ChunkEnd,
    Trailers,
    Complete,
}

impl BodyDecoder {
    fn for_request(headers: &[httparse::Header<'_>]) -> Result<Self> {
        // A request without a length has no body.
        Ok(Self::from_headers(headers)?.unwrap_or(Self::Complete))
    }

    fn for_response(headers: &[httparse::Header<'_>]) -> Result<Self> {
        Self::from_headers(headers)?.context("the answer has neither a length nor chunks")
    }

    fn from_headers(headers: &[httparse::Header<'_>]) -> Result<Option<Self>> {
        if header(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
            return Ok(Some(Self::ChunkSize));
        }
        let Some(value) = header(headers, "content-length") else {
            return Ok(None);
        };
        Ok(Some(Self::Length(str::from_utf8(value)?.parse().context("content-length is not a number")?)))
    }

    /// Moves body bytes from `input` to `body`; `true` once the body is complete.
    fn decode(&mut self, input: &mut BytesMut, body: &mut Vec<u8>) -> Result<bool> {
        loop {
            match *self {
                Self::Length(missing) => {
                    let left = missing - take(missing, input, body);
                    *self = if left == 0 { Self::Complete } else { Self::Length(left) };
                    if left > 0 {
                        return Ok(false);
                    }
                }
                Self::ChunkSize => {
                    let Some(line) = take_line(input) else {
                        return Ok(false);
                    };
                    let digits = line[..].split(|byte| *byte == b';').next().unwrap_or_default();
                    let size = usize::from_str_radix(str::from_utf8(digits)?.trim(), 16)
                        .context("the size of a chunk is not a hexadecimal number")?;
                    *self = if size == 0 { Self::Trailers } else { Self::ChunkData(size) };
                }
                Self::ChunkData(missing) => {
                    let left = missing - take(missing, input, body);
                    *self = if left == 0 { Self::ChunkEnd } else { Self::ChunkData(left) };
                    if left > 0 {
                        return Ok(false);
                    }
                }
                Self::ChunkEnd => {
                    if take_line(input).is_none() {
                        return Ok(false);
                    }
                    *self = Self::ChunkSize;
                }
                Self::Trailers => {
                    let Some(line) = take_line(input) else {
                        return Ok(false);
                    };
                    if line.is_empty() {
                        *self = Self::Complete;
                    }
                }
                Self::Complete => return Ok(true),
            }
        }
    }
}

fn take(wanted: usize, input: &mut BytesMut, body: &mut Vec<u8>) -> usize {
    let taken = wanted.min(input.len());
    body.extend_from_slice(&input[..taken]);
    input.advance(taken);
    taken
}

fn take_line(input: &mut BytesMut) -> Option<BytesMut> {
    let end = memmem::find(input, b"\r\n")?;
    let line = input.split_to(end);
    input.advance(2);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::{BodyDecoder, Buf, BytesMut};

    #[test]
    fn a_chunked_body_is_the_same_however_it_was_cut() {
        let wire = b"4\r\nweir\r\n6;name=value\r\n\r\ndam\n\r\n0\r\nx-trailer: 1\r\n\r\nnext";
        for cut in 0..=wire.len() {
            let (mut decoder, mut input, mut body) = (BodyDecoder::ChunkSize, BytesMut::from(&wire[..cut]), Vec::new());
            let complete = decoder.decode(&mut input, &mut body).unwrap();
            assert_eq!(complete, cut >= wire.len() - 4, "the body ends where the empty line after the trailers ends");
            input.extend_from_slice(&wire[cut..]);
            assert!(decoder.decode(&mut input, &mut body).unwrap());
            assert_eq!(body, b"weir\r\ndam\n");
            assert_eq!(input.chunk(), b"next", "bytes of the next message stay");
        }
    }

    #[test]
    fn a_size_that_is_no_number_is_refused() {
        let mut input = BytesMut::from(&b"weir\r\n"[..]);
        assert!(BodyDecoder::ChunkSize.decode(&mut input, &mut Vec::new()).is_err());
    }
}
