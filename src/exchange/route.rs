//! Which dialect, if any, a request speaks.

use crate::chain::Chain;
use crate::dialect::Dialect;
use crate::limits::Verdict;

/// What is to be done with a request, as its method and path show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// It is a request of this dialect, which the chain governs.
    Governed(Dialect),
    /// It is no concern of the chain.
    Ungoverned,
    /// Its path is unknown, and this is what the document says about that.
    Unknown(Verdict),
}

/// Finds the route of a request.
///
/// Servers differ in what they make of another case, doubled slashes and percent-encoding; all such spellings of an
/// endpoint are governed as that endpoint, so that none of them is a way around the chain.
pub(super) fn route(chain: &Chain, method: &[u8], path: &[u8]) -> Route {
    let dialect = match normalize(path).as_str() {
        "/v1/chat/completions" => Some(Dialect::ChatCompletions),
        "/v1/messages" => Some(Dialect::Messages),
        _ => None,
    };
    match dialect {
        Some(dialect) if method == b"POST" => {
            if chain.targets.contains(&dialect) {
                Route::Governed(dialect)
            } else {
                Route::Ungoverned
            }
        }
        _ if is_allowed(chain, path) => Route::Ungoverned,
        _ => Route::Unknown(chain.routes.unknown),
    }
}

/// Allowed paths are compared as they are written: a way past the chain must not be found by a lenient reading.
fn is_allowed(chain: &Chain, path: &[u8]) -> bool {
    let Some(path) = path.split(|byte| *byte == b'?').next().and_then(|path| core::str::from_utf8(path).ok()) else {
        return false;
    };
    // Some servers cut `;…` off a segment before they resolve `..`, others take `\` for `/`.
    let has_dots = path.split('/').any(|segment| segment == "." || segment == "..");
    let is_lenient = has_dots || path.contains(['%', ';', '\\']) || path.contains("//");
    !is_lenient
        && chain.routes.allow.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(prefix) => path.len() > prefix.len() && path.starts_with(prefix),
            None => path == allowed,
        })
}

/// The path without query, percent-decoded, in lower case, without dot segments, with single slashes and none at its end.
fn normalize(path: &[u8]) -> String {
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let mut normal = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = take_byte(rest) {
        rest = after;
        normal.push(byte.to_ascii_lowercase());
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in normal.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", String::from_utf8_lossy(&segments.join(&b'/')))
}

/// The first byte, percent-decoded, and what follows it.
fn take_byte(path: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', high, low, after @ ..] = path
        && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
    {
        return Some(((high << 4) | low, after));
    }
    path.split_first().map(|(byte, after)| (*byte, after))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_endpoint_is_governed() {
        let chain = Chain::new(Vec::new());
        for path in [
            "/v1/chat/completions",
            "/v1/chat/completions?api-version=1",
            "/V1/Chat/Completions",
            "//v1//chat/completions/",
            "/v1/chat%2Fcompletions",
            "/%76%31/chat/completions",
            "/v1/./chat/x/../completions",
            "/v1/models/../chat/completions",
        ] {
            assert_eq!(route(&chain, b"POST", path.as_bytes()), Route::Governed(Dialect::ChatCompletions), "{path}");
        }
        assert_eq!(route(&chain, b"POST", b"/v1/messages?beta=true"), Route::Governed(Dialect::Messages));
    }

    #[test]
    fn what_is_not_known_gets_the_verdict_of_the_document() {
        let mut chain = Chain::new(Vec::new());
        for (method, path) in [
            ("POST", "/v1/completions"),
            ("GET", "/v1/chat/completions"),
            ("POST", "/v1/messages/count_tokens"),
            ("POST", "/"),
            ("POST", "/v1/models/../embeddings"),
            ("POST", "/v1/models/%2e%2e/files"),
            ("POST", "/v1/models//x"),
            ("POST", "/v1/models/..;/chat/completions"),
            ("POST", "/v1/models/..\\chat\\completions"),
            ("POST", "/%"),
            ("POST", ""),
        ] {
            assert_eq!(route(&chain, method.as_bytes(), path.as_bytes()), Route::Unknown(Verdict::Block), "{method} {path}");
        }
        chain.routes.unknown = Verdict::Allow;
        assert_eq!(route(&chain, b"POST", b"/v1/completions"), Route::Unknown(Verdict::Allow));
    }

    #[test]
    fn allowed_paths_and_dialects_that_are_no_target_pass() {
        let mut chain = Chain::new(Vec::new());
        chain.targets = vec![Dialect::Messages];
        for path in ["/v1/models", "/v1/models?limit=1", "/v1/models/small"] {
            assert_eq!(route(&chain, b"GET", path.as_bytes()), Route::Ungoverned, "{path}");
        }
        assert_eq!(route(&chain, b"POST", b"/v1/chat/completions"), Route::Ungoverned);
    }
}
