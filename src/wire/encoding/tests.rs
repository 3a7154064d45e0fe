use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const ENCODINGS: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];
const LIMIT: usize = 1 << 20;

fn encode(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Zstd => compress_to_vec(body, CompressionLevel::Fastest),
    }
}

fn decode<'c>(encoding: Encoding, chunks: impl IntoIterator<Item = &'c [u8]>, limit: usize) -> Result<Vec<u8>, EncodingError> {
    let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
    for chunk in chunks {
        decoder.feed(chunk, limit - out.len(), &mut out)?;
    }
    decoder.finish(limit - out.len(), &mut out)?;
    Ok(out)
}

fn text() -> Vec<u8> {
    (0..5000).flat_map(|number: u32| format!("{{\"number\":{number},\"square\":{}}}", number * number).into_bytes()).collect()
}

#[test]
fn encodings_are_known_by_their_names() {
    for (name, encoding) in [
        ("", None),
        (" identity ", None),
        ("gzip", Some(Encoding::Gzip)),
        ("GZip", Some(Encoding::Gzip)),
        ("x-gzip", Some(Encoding::Gzip)),
        ("deflate", Some(Encoding::Deflate)),
        ("zstd", Some(Encoding::Zstd)),
    ] {
        assert_eq!(Encoding::parse(name.as_bytes()), Ok(encoding), "{name}");
    }
    for name in ["br", "compress", "gzip, gzip", "identity, gzip", "dcz", "\u{e9}"] {
        assert_eq!(Encoding::parse(name.as_bytes()), Err(UnknownEncoding), "{name}");
    }
}

#[test]
fn what_was_encoded_is_decoded_however_it_is_cut() {
    for encoding in ENCODINGS {
        for body in [text(), b"{}".to_vec(), Vec::new()] {
            let encoded = encode(encoding, &body);
            for size in [1, 7, 1000, encoded.len()] {
                assert_eq!(decode(encoding, encoded.chunks(size), LIMIT).as_ref(), Ok(&body), "{encoding:?} by {size}");
            }
        }
    }
}

#[test]
fn gzip_and_deflate_come_out_as_they_come_in() {
    let (first, second) = (b"data: 1\n\n".as_slice(), b"data: 2\n\n".as_slice());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(first).unwrap();
    gzip.flush().unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(first).unwrap();
    zlib.flush().unwrap();
    let begun = [gzip.get_ref().clone(), zlib.get_ref().clone()];
    gzip.write_all(second).unwrap();
    zlib.write_all(second).unwrap();
    let whole = [gzip.finish().unwrap(), zlib.finish().unwrap()];
    for (encoding, (begun, whole)) in [Encoding::Gzip, Encoding::Deflate].into_iter().zip(begun.iter().zip(whole)) {
        assert!(encoding.streams());
        let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
        decoder.feed(begun, LIMIT, &mut out).unwrap();
        assert_eq!(out, first, "{encoding:?}");
        decoder.feed(&whole[begun.len()..], LIMIT, &mut out).unwrap();
        decoder.finish(LIMIT, &mut out).unwrap();
        assert_eq!(out, [first, second].concat(), "{encoding:?}");
    }
}

#[test]
fn what_is_cut_short_is_refused_at_every_length() {
    for encoding in ENCODINGS {
        let encoded = encode(encoding, b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello hello hello\"}]}");
        for length in 0..encoded.len() {
            assert_eq!(decode(encoding, [&encoded[..length]], LIMIT), Err(EncodingError::Corrupt), "{encoding:?} {length}");
        }
    }
}

#[test]
fn what_goes_on_after_its_end_is_refused() {
    for encoding in ENCODINGS {
        let encoded = encode(encoding, b"{}");
        for rest in [b"\0".as_slice(), b"garbage that is long", &encoded] {
            let body = [encoded.as_slice(), rest].concat();
            for size in [1, encoded.len(), body.len()] {
                assert_eq!(decode(encoding, body.chunks(size), LIMIT), Err(EncodingError::Corrupt), "{encoding:?} {rest:?}");
            }
        }
    }
}

#[test]
fn a_wrong_checksum_is_refused() {
    for encoding in ENCODINGS {
        let mut encoded = encode(encoding, &text());
        // Of gzip the last four bytes are the length, the four before the checksum.
        let from_end = if encoding == Encoding::Gzip { 5 } else { 1 };
        let at = encoded.len() - from_end;
        encoded[at] ^= 1;
        assert_eq!(decode(encoding, [encoded.as_slice()], LIMIT), Err(EncodingError::Corrupt), "{encoding:?}");
    }
    let mut wrong_length = encode(Encoding::Gzip, &text());
    *wrong_length.last_mut().unwrap() ^= 1;
    assert_eq!(decode(Encoding::Gzip, [wrong_length.as_slice()], LIMIT), Err(EncodingError::Corrupt));
}

#[test]
fn deflate_without_the_frame_that_http_demands_is_refused() {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"{}").unwrap();
    assert_eq!(decode(Encoding::Deflate, [encoder.finish().unwrap().as_slice()], LIMIT), Err(EncodingError::Corrupt));
}

#[test]
fn a_bomb_does_not_grow_beyond_the_limit() {
    let body = vec![b' '; 8_000_000];
    for encoding in ENCODINGS {
        let encoded = encode(encoding, &body);
        assert!(encoded.len() < 200_000, "{encoding:?}: {}", encoded.len());
        for size in [1000, encoded.len()] {
            assert_eq!(decode(encoding, encoded.chunks(size), LIMIT), Err(EncodingError::TooLong), "{encoding:?} by {size}");
        }
        assert_eq!(decode(encoding, [encoded.as_slice()], body.len()).unwrap().len(), body.len());
        assert_eq!(decode(encoding, [encoded.as_slice()], body.len() - 1), Err(EncodingError::TooLong));
    }
}

#[test]
fn no_more_of_a_zstd_frame_is_kept_than_what_may_come_of_it() {
    let next = |state: &u64| Some([13, -7, 17].iter().fold(*state, |x, by| x ^ if *by > 0 { x << by } else { x >> -by }));
    let noise: Vec<u8> = core::iter::successors(Some(88_172_645_463_325_252), next).map(|x| x as u8).take(500_000).collect();
    let encoded = encode(Encoding::Zstd, &noise);
    assert!(encoded.len() > noise.len(), "it does not compress");
    assert_eq!(decode(Encoding::Zstd, encoded.chunks(1000), noise.len()).as_ref(), Ok(&noise));
    let mut decoder = Decoder::new(Encoding::Zstd);
    let chunk = vec![0; 1000];
    while decoder.feed(&chunk, 100_000, &mut Vec::new()).is_ok() {}
    assert!((100_000..103_000).contains(&decoder.pending()), "{}", decoder.pending());
}

#[test]
fn a_zstd_window_beyond_what_http_allows_is_refused() {
    // Magic number, no single segment, a window of 16 MiB, an empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode(Encoding::Zstd, [frame.as_slice()], LIMIT), Err(EncodingError::Corrupt));
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode(Encoding::Zstd, [frame.as_slice()], LIMIT), Ok(Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A panic would fail it.
    #[test]
    fn damaged_bodies_are_refused_or_read_within_the_limit(
        which in 0_usize..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        size in 1_usize..500,
    ) {
        let body: Vec<u8> = text().into_iter().take(3000).collect();
        let mut encoded = encode(ENCODINGS[which], &body);
        for (index, byte) in changes {
            let at = index.index(encoded.len());
            encoded[at] = byte;
        }
        if let Ok(decoded) = decode(ENCODINGS[which], encoded.chunks(size), LIMIT) {
            prop_assert!(decoded.len() <= LIMIT);
        }
    }
}
