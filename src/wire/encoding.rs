//! Content encodings: bodies that come compressed are read as what they say.
//!
//! A body is one gzip member, zlib stream or zstd frame and nothing else: of several, or of what follows, some readers
//! take the first alone.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Largest window of a zstd frame in bytes; RFC 9659 allows no larger one in HTTP.
const MAX_ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

/// How much is decoded at a time.
const STEP: usize = 16 * 1024;

/// The names of the encodings that can be read, as `accept-encoding` lists them.
pub const READABLE: &str = "gzip, deflate, zstd";

/// An encoding that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

/// No encoding of this name can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownEncoding;

impl Encoding {
    /// Reads a `content-encoding`; `None` where there is none. Of several some readers undo the first alone.
    pub(crate) fn parse(value: &[u8]) -> Result<Option<Self>, UnknownEncoding> {
        let value = value.to_ascii_lowercase();
        if value.split(|byte| *byte == b',').all(|name| matches!(name.trim_ascii(), b"" | b"identity" | b"none")) {
            return Ok(None);
        }
        match value.trim_ascii() {
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"deflate" => Ok(Some(Self::Deflate)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(UnknownEncoding),
        }
    }

    /// Whether what came is decoded before all came.
    pub(crate) const fn streams(self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate)
    }
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EncodingError {
    /// It is broken, breaks off, or goes on after its end.
    Corrupt,
    /// It decodes to more than the bound.
    TooLong,
}

/// Decodes one body.
pub(crate) enum Decoder {
    Gzip(Box<GzDecoder<Sink>>),
    Deflate { stream: Box<Decompress>, ended: bool },
    Zstd(Vec<u8>),
}

impl Decoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Gzip => Self::Gzip(Box::new(GzDecoder::new(Sink::default()))),
            Encoding::Deflate => Self::Deflate { stream: Box::new(Decompress::new(true)), ended: false },
            Encoding::Zstd => Self::Zstd(Vec::new()),
        }
    }

    /// How many bytes wait to be decoded.
    pub(crate) const fn pending(&self) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate { .. } => 0,
            Self::Zstd(frame) => frame.len(),
        }
    }

    /// Decodes what came, and appends it to `out`, at most `limit` bytes of it. Of zstd all comes out at the end.
    pub(crate) fn feed(&mut self, chunk: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), EncodingError> {
        match self {
            Self::Gzip(decoder) => {
                decoder.get_mut().room = limit;
                let written = decoder.write_all(chunk).and_then(|()| decoder.flush());
                let sink = decoder.get_mut();
                out.append(&mut sink.bytes);
                match written {
                    Ok(()) => Ok(()),
                    Err(_) if sink.is_full => Err(EncodingError::TooLong),
                    Err(_) => Err(EncodingError::Corrupt),
                }
            }
            Self::Deflate { stream, ended } => inflate(stream, ended, chunk, limit, out),
            Self::Zstd(frame) => {
                if frame.len().saturating_add(chunk.len()) > longest_frame(limit) {
                    return Err(EncodingError::TooLong);
                }
                frame.extend_from_slice(chunk);
                Ok(())
            }
        }
    }

    /// The body has ended: makes sure that it is whole.
    pub(crate) fn finish(&mut self, limit: usize, out: &mut Vec<u8>) -> Result<(), EncodingError> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish().map_err(|_| EncodingError::Corrupt),
            Self::Deflate { ended: true, .. } => Ok(()),
            Self::Deflate { .. } => Err(EncodingError::Corrupt),
            Self::Zstd(frame) => decode_frame(frame, limit, out),
        }
    }
}

/// A bounded place for what a decoder writes.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    bytes: Vec<u8>,
    room: usize,
    is_full: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.room = room;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn inflate(
    stream: &mut Decompress,
    ended: &mut bool,
    chunk: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodingError> {
    let (mut rest, mut room) = (chunk, limit);
    let mut step = vec![0; STEP];
    loop {
        if *ended {
            return if rest.is_empty() { Ok(()) } else { Err(EncodingError::Corrupt) };
        }
        let (read_before, written_before) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(rest, &mut step, FlushDecompress::None).map_err(|_| EncodingError::Corrupt)?;
        let read = usize::try_from(stream.total_in().saturating_sub(read_before)).unwrap_or(usize::MAX);
        let written = usize::try_from(stream.total_out().saturating_sub(written_before)).unwrap_or(usize::MAX);
        room = room.checked_sub(written).ok_or(EncodingError::TooLong)?;
        out.extend_from_slice(step.get(..written).unwrap_or_default());
        rest = rest.get(read..).unwrap_or_default();
        *ended = status == Status::StreamEnd;
        if !*ended && read == 0 && written == 0 {
            // All was read: what is missing comes with the next chunk.
            return Ok(());
        }
    }
}

/// What `limit` bytes are at most as a zstd frame, with room for blocks that do not compress: twice what zstd's own
/// encoder needs for them (`ZSTD_COMPRESSBOUND`).
const fn longest_frame(limit: usize) -> usize {
    limit.saturating_add(limit >> 7).saturating_add(1024)
}

fn decode_frame(frame: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), EncodingError> {
    let mut rest = frame;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_ZSTD_WINDOW);
    decoder.reset(&mut rest).map_err(|_| EncodingError::Corrupt)?;
    let mut room = limit;
    loop {
        let is_finished =
            decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBytes(STEP)).map_err(|_| EncodingError::Corrupt)?;
        let decoded = decoder.collect().unwrap_or_default();
        room = room.checked_sub(decoded.len()).ok_or(EncodingError::TooLong)?;
        out.extend_from_slice(&decoded);
        if is_finished {
            break;
        }
    }
    let is_intact = decoder.get_checksum_from_data().is_none_or(|sum| decoder.get_calculated_checksum() == Some(sum));
    if rest.is_empty() && is_intact { Ok(()) } else { Err(EncodingError::Corrupt) }
}

#[cfg(test)]
mod tests;
