//! Who makes a request, as far as the host knows.

use core::fmt;
use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::document::DocumentError;

/// Facts about the caller. The host gives them with the request's head; what it does not know stays `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user that the header names, or else that the peer has proved to be. The engine reads it itself.
    pub policy_user: Option<String>,
    /// Where that name comes from.
    pub user_source: UserSource,
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

/// Where the name of a user comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserSource {
    /// There is no name.
    #[default]
    None,
    /// A header that anybody may have written.
    Header,
    /// A header that the document trusts: something in front of the proxy writes it.
    TrustedHeader,
    /// The peer's certificate.
    Peer,
}

impl UserSource {
    /// Gives the word that events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Header => "header",
            Self::TrustedHeader => "trusted_header",
            Self::Peer => "peer",
        }
    }
}

/// How callers are told: the `identity` of a policy document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// The header that names the user.
    pub user_header: String,
    /// Whether clients cannot write that header themselves.
    pub trust_user_header: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Self { user_header: "x-policy-user".to_owned(), trust_user_header: false }
    }
}

impl Identity {
    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if self.user_header.is_empty() || !self.user_header.bytes().all(is_token) {
            return Err(DocumentError::new("identity.user_header", "must be the name of a header, in lower case"));
        }
        Ok(())
    }
}

impl Caller {
    /// Takes in what the header says; without it the peer's certificate names the user.
    pub(crate) fn name_user(&mut self, header: Option<String>, identity: &Identity) {
        self.user_source = match (&header, &self.peer) {
            (Some(_), _) if identity.trust_user_header => UserSource::TrustedHeader,
            (Some(_), _) => UserSource::Header,
            (None, Some(_)) => UserSource::Peer,
            (None, None) => UserSource::None,
        };
        self.policy_user = header.or_else(|| self.peer.clone());
    }

    /// Gives whom quotas count for: the user where the name can be trusted, or else the peer's certificate, the credential, the
    /// address. Nobody has checked the credential here: who sends another one is another subject, until the provider refuses it.
    pub fn quota_subject(&self) -> String {
        if let (Some(user), UserSource::TrustedHeader) = (&self.policy_user, self.user_source) {
            return format!("user:{user}");
        }
        if let Some(peer) = &self.peer {
            return format!("peer:{peer}");
        }
        if let Some(credential) = self.credential {
            return format!("credential:{credential}");
        }
        self.peer_address.as_ref().map_or_else(|| "anonymous".to_owned(), |address| format!("address:{address}"))
    }
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
    fn quotas_count_for_what_a_caller_cannot_change_at_will() {
        let trusting = Identity { trust_user_header: true, ..Identity::default() };
        let named = || Some("ann".to_owned());
        let mut caller = Caller { peer_address: Some("10.0.0.1".to_owned()), ..Caller::default() };
        caller.name_user(named(), &Identity::default());
        assert_eq!((caller.user_source, caller.quota_subject()), (UserSource::Header, "address:10.0.0.1".to_owned()));
        caller.name_user(named(), &trusting);
        assert_eq!((caller.user_source, caller.quota_subject()), (UserSource::TrustedHeader, "user:ann".to_owned()));
        caller.credential = Some(CredentialHash::new(b"salt", b"key"));
        caller.name_user(None, &trusting);
        assert!(caller.quota_subject().starts_with("credential:"));
        caller.peer = Some("spiffe://a/b".to_owned());
        caller.name_user(None, &trusting);
        assert_eq!((caller.user_source, caller.quota_subject()), (UserSource::Peer, "peer:spiffe://a/b".to_owned()));
        assert_eq!(Caller::default().quota_subject(), "anonymous");
    }

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
