//! What Envoy knows of the caller.

use std::collections::BTreeMap;

use proxy_wasm::types::MapType;
use weir::caller::{Caller, CredentialHash, UserSource};

use crate::{host, shared_data};

/// Headers that a credential comes in; the first that is there counts.
const CREDENTIAL_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// The namespace of a route's metadata whose texts policies see.
const METADATA: &[&str] = &["xds", "route_metadata", "filter_metadata", "weir"];

/// Longest text that is taken of a property, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Most entries of a route's metadata.
const MAX_METADATA: usize = 64;

/// Asks for all of it. While the request's head is handled.
pub(crate) fn read() -> Caller {
    let certificate = ["uri_san_peer_certificate", "dns_san_peer_certificate", "subject_peer_certificate"];
    Caller {
        policy_user: None,
        user_source: UserSource::None,
        credential: credential(),
        peer: certificate.into_iter().find_map(|name| text(&["connection", name])),
        peer_address: text(&["source", "address"]).map(|address| without_port(&address).to_owned()),
        route_name: text(&["xds", "route_name"]),
        route_metadata: host::property(METADATA).map(|pairs| texts(&pairs)).unwrap_or_default(),
    }
}

/// A hash of the credential. Without a salt there is none: who could guess the credential could find it out.
fn credential() -> Option<CredentialHash> {
    let credential = CREDENTIAL_HEADERS
        .into_iter()
        .find_map(|name| host::header(MapType::HttpRequestHeaders, name).filter(|value| !value.is_empty()))?;
    Some(CredentialHash::new(&shared_data::salt()?, &credential))
}

fn text(path: &[&str]) -> Option<String> {
    host::property(path).and_then(as_text).filter(|text| !text.is_empty())
}

/// Texts come as they are, other values as bytes that are mostly none.
fn as_text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT_BYTES && !text.contains('\0'))
}

fn without_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => address,
    }
}

/// The texts of a map as the ABI lays it out: their number, the lengths of each name and value, then names and values, each
/// with a zero behind.
fn texts(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let all = bytes;
    let Some(count) = take_length(&mut bytes).filter(|count| *count <= MAX_METADATA) else { return BTreeMap::new() };
    let Some(mut contents) = count.checked_mul(8).and_then(|lengths| lengths.checked_add(4)).and_then(|at| all.get(at..)) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let (Some(name), Some(value)) = (take_length(&mut bytes), take_length(&mut bytes)) else { break };
        let (Some(name), Some(value)) = (take_bytes(&mut contents, name), take_bytes(&mut contents, value)) else { break };
        if let (Some(name), Some(value)) = (as_text(name.to_vec()), as_text(value.to_vec())) {
            found.insert(name, value);
        }
    }
    found
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// So many bytes, and the zero behind them.
fn take_bytes<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest.split_first()?.1;
    Some(taken)
}
