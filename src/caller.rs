//! Who makes a request, as far as the host knows.

use core::fmt;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Facts about the caller. The host gives them with the request's head; what it does not know stays `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The subject that `x-policy-user` names. The engine reads it itself.
    pub policy_user: Option<String>,
    /// The credential that the request came with.
    pub credential: Option<CredentialHash>,
    /// The identity that the peer has proved to the proxy with its certificate (mutual TLS).
    pub peer: Option<String>,
    /// The address of the peer.
    pub peer_address: Option<String>,
    /// The proxy's route.
    pub route_name: Option<String>,
    /// What the proxy's configuration says of the route to Weir: names and texts.
    pub route_metadata: BTreeMap<String, String>,
}

/// A hash of a credential, to know it again by: salted, so that it tells nothing to who does not have the salt. The
/// credential itself is never kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialHash([u8; 16]);

impl CredentialHash {
    /// Hashes a credential: the value of `authorization`, or of the header of a key. The same salt and credential give the
    /// same hash; scheme and blanks around do not count.
    pub fn new(salt: &[u8], credential: &[u8]) -> Self {
        let credential = credential.trim_ascii();
        let bearer = credential.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        let secret = bearer.map_or(credential, |scheme| credential.get(scheme.len()..).unwrap_or_default()).trim_ascii();
        let mut hasher = Sha256::new();
        hasher.update(u64::try_from(salt.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(salt);
        hasher.update(secret);
        let hash: [u8; 32] = hasher.finalize().into();
        let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self(*first)
    }
}

/// Thirty-two hexadecimal digits.
impl fmt::Display for CredentialHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CredentialHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_known_again_by_who_has_the_salt_alone() {
        let known = CredentialHash::new(b"salt", b"sk-123");
        assert_eq!(CredentialHash::new(b"salt", b"Bearer sk-123"), known, "the scheme does not count");
        assert_eq!(CredentialHash::new(b"salt", b" bearer  sk-123 "), known);
        assert_ne!(CredentialHash::new(b"other", b"sk-123"), known);
        assert_ne!(CredentialHash::new(b"salt", b"sk-124"), known);
        assert_ne!(CredentialHash::new(b"saltsk-", b"123"), known, "salt and credential are kept apart");
        assert_eq!(known.to_string().len(), 32);
    }
}
