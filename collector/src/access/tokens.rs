//! Tokens and what they allow. Kept as hashes: whoever reads the file, or the memory of the process, has no token.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Names what a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends events.
    Ingest,
    /// Reads events.
    Read,
    /// Reads events; what acts on exchanges will ask for it.
    Operate,
    /// Everything, settings included.
    Admin,
}

impl Role {
    const ALL: [(&'static str, Self); 4] =
        [("ingest", Self::Ingest), ("read", Self::Read), ("operate", Self::Operate), ("admin", Self::Admin)];
}

impl FromStr for Role {
    type Err = InvalidToken;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, role)| *role).ok_or_else(|| InvalidToken(format!("{name:?} is no role: ingest, read, operate, admin")))
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    fn bit(role: Role) -> u8 {
        match role {
            Role::Ingest => 1,
            Role::Read => 2,
            Role::Operate => 4,
            Role::Admin => 8,
        }
    }

    /// Gives the set with one role more.
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | Self::bit(role))
    }

    /// Whether a role is in it.
    pub fn has(self, role: Role) -> bool {
        self.0 & Self::bit(role) != 0
    }
}

impl FromStr for Roles {
    type Err = InvalidToken;

    fn from_str(names: &str) -> Result<Self, Self::Err> {
        names.split(',').try_fold(Self::default(), |roles, name| Ok(roles.with(name.trim().parse()?)))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Role::ALL.iter().filter(|(_, role)| self.has(*role)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

/// The tokens that a collector knows.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<[Known]>);

#[derive(Clone, Debug)]
struct Known {
    roles: Roles,
    hash: [u8; 32],
}

impl Tokens {
    /// Makes the set of the single token of `--token`, which sends and reads.
    pub fn single(token: &str) -> Result<Self, InvalidToken> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !(16..=512).contains(&token.len()) || !token.bytes().all(fits) {
            return Err(InvalidToken(
                "a token has 16 to 512 characters out of A-Z a-z 0-9 - . _ ~ + / =; `weir token` makes one".to_owned(),
            ));
        }
        let roles = Roles::default().with(Role::Ingest).with(Role::Read);
        Ok(Self(Arc::new([Known { roles, hash: Sha256::digest(token.as_bytes()).into() }])))
    }

    /// Reads a file of lines `NAME ROLES sha256:HASH`; lines that are empty or begin with `#` say nothing.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let lines = (1_usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let known = lines.map(|(number, line)| {
            let fail = |what: &str| InvalidToken(format!("line {number}: {what}; a line reads `NAME ROLES sha256:HASH`"));
            let mut words = line.split_whitespace();
            let (Some(_), Some(roles), Some(hash), None) = (words.next(), words.next(), words.next(), words.next()) else {
                return Err(fail("it has not three words"));
            };
            let roles = roles.parse().map_err(|error: InvalidToken| fail(&error.0))?;
            let hash =
                hash.strip_prefix("sha256:").and_then(from_hex).ok_or_else(|| fail("the hash has not 64 hexadecimal digits"))?;
            Ok(Known { roles, hash })
        });
        Ok(Self(known.collect::<Result<Vec<_>, _>>()?.into()))
    }

    /// Joins two sets.
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(other.0.iter()).cloned().collect())
    }

    /// Gives what a token allows, in a time that does not tell which one it resembles.
    pub(crate) fn roles(&self, shown: &str) -> Option<Roles> {
        let hash: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        let mut found = None;
        for known in self.0.iter() {
            let same: Choice = known.hash.ct_eq(&hash);
            if bool::from(same) {
                found = Some(known.roles);
            }
        }
        found
    }
}

/// Makes a token, and the line of the file that knows it.
pub fn new_token(name: &str, roles: Roles) -> Result<(String, String), InvalidToken> {
    if name.is_empty() || name.contains(char::is_whitespace) || name.starts_with('#') {
        return Err(InvalidToken("a name is one word".to_owned()));
    }
    let token = format!("weir_{}", random_hex()?);
    let hash = to_hex(&Sha256::digest(token.as_bytes()));
    Ok((token, format!("{name} {roles} sha256:{hash}")))
}

/// Gives 256 random bits in hexadecimal digits.
pub(super) fn random_hex() -> Result<String, InvalidToken> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| InvalidToken(format!("the system gives no random bytes: {error}")))?;
    Ok(to_hex(&bytes))
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0_usize..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at.saturating_add(2))?, 16).ok()?;
    }
    Some(bytes)
}

/// A text is no token, role or file of tokens, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidToken(String);

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_known_by_its_line_alone() {
        let roles = "ingest,read".parse().expect("roles");
        let (token, line) = new_token("filters", roles).expect("a token");
        assert!(!line.contains(&token));
        let tokens = Tokens::parse(&format!("# who sends\n\n{line}\n")).expect("a file");
        assert_eq!(tokens.roles(&token), Some(roles));
        assert_eq!(tokens.roles(&format!("{token}0")), None);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, message) in [
            ("a read", "line 1: it has not three words"),
            ("\na reed sha256:00", "line 2: \"reed\" is no role"),
            ("a read sha256:00", "line 1: the hash"),
        ] {
            assert!(Tokens::parse(text).expect_err(text).to_string().contains(message), "{text}");
        }
    }
}
