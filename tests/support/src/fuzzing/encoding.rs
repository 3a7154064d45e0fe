//! Encoded requests: the libraries that decode them must not panic, whatever comes.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::json;
use weir::dialect::Dialect;

use super::Choices;
use crate::native::{self, RequestOutcome};
use crate::policies;
use crate::script::{self, Script, Step, document};

const ENCODINGS: [&str; 3] = ["gzip", "deflate", "zstd"];

/// Longest request that is taken, in bytes: what decodes to more is refused.
const LIMIT: usize = 64 * 1024;

/// A request whose body comes encoded, in two chunks: what leaves is within the bound, and the same however it is cut.
pub fn encoding(data: &[u8]) {
    let mut choices = Choices(data);
    let encoding = choices.pick(&ENCODINGS);
    let cut = choices.below(data.len());
    let (head, tail) = choices.0.split_at(cut.min(choices.0.len()));
    let [in_two, whole] = [vec![head.to_vec(), tail.to_vec()], vec![choices.0.to_vec()]].map(|chunks| request(encoding, chunks));
    assert_eq!(in_two, whole, "the verdict does not depend on the chunks");
    if let RequestOutcome::SentBody(body) = whole {
        assert!(body.len() <= LIMIT, "what is decoded is bounded");
    }
}

fn request(encoding: &str, chunks: Vec<Vec<u8>>) -> RequestOutcome {
    let mut document = document(json!([{"use": "may_rewrite"}]));
    document["limits"] = json!({"max_request_bytes": LIMIT});
    let mut script = Script::request_to(script::path(Dialect::Messages), document, chunks);
    if let Some(Step::RequestHead { headers, .. }) = script.steps.first_mut() {
        headers.push(("content-encoding".to_owned(), encoding.as_bytes().to_vec()));
    }
    native::play(&script, &policies::registry()).request
}

/// Bodies in each encoding, behind the bytes that choose it.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let request = script::request_body(Dialect::Messages, true).to_string();
    let long = format!(r#"{{"model": "m", "messages": [], "padding": "{}"}}"#, "once more, ".repeat(400));
    let bodies = [request.as_bytes(), long.as_bytes(), b"", b"{}"];
    let encoded = bodies.map(|body| [gzip(body), zlib(body), compress_to_vec(body, CompressionLevel::Fastest)]);
    let chosen = encoded.into_iter().flat_map(|each| (0..).zip(each));
    chosen.map(|(encoding, body)| [&[0, encoding, 0, 9][..], &body].concat()).collect()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
