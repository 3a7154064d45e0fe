//! Rollout: whether what a chain decides about an exchange is done, or only told.
//!
//! A document is tried in the shadow first, then on a share of the exchanges (a canary), then on all. Which exchanges a canary
//! has is told by integers alone, so that every host tells it alike:
//!
//! ```
//! use weir::rollout::bucket;
//!
//! // The first four bytes of SHA-256 of seed, a zero byte and key, as a number, times a million, shifted by 32 bits.
//! assert_eq!(bucket("2026-11", b"ann"), 588_789);
//! ```

mod guard;
mod policies;
mod sequential;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use self::guard::{Guard, GuardState};
pub(crate) use self::guard::{Tally, tally};
pub(crate) use self::policies::check_policies;
pub use self::sequential::{Arms, Comparison};
use crate::dialect::Dialect;
use crate::document::{DocumentDuration, DocumentError};

/// The buckets of a canary: one is 0.0001 % of the keys.
pub const BUCKETS: u32 = 1_000_000;

/// Most bytes of a seed.
const MAX_SEED_BYTES: usize = 128;

/// Most steps that are written down.
const MAX_STEPS: usize = 32;

/// What is done with decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are told.
    Shadow,
    /// On a share of the exchanges they are done, on all others told.
    Canary,
    /// They are done.
    #[default]
    Enforced,
    /// They are told, because they were done before and that went wrong.
    Rollback,
}

impl Mode {
    /// Gives the word that documents and events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Enforced => "enforced",
            Self::Rollback => "rollback",
        }
    }
}

/// By what an exchange is put into a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// By `policy_user`: who has a name stays where they are.
    #[default]
    User,
    /// By the header that names the session.
    Session,
    /// By the exchange: each is drawn anew.
    None,
}

/// A share of all keys, as a number of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Gives how many of the [`BUCKETS`] it has.
    pub const fn buckets(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percentage = f64::deserialize(deserializer)?;
        let buckets = percentage * 10_000.0;
        let is_whole = (buckets - buckets.round()).abs() < 1e-6;
        if !(0.0..=f64::from(BUCKETS)).contains(&buckets) || !is_whole {
            return Err(serde::de::Error::custom("must be between 0 and 100, in steps of 0.0001"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was found to be within the bounds")]
        Ok(Self(buckets.round() as u32))
    }
}

/// A step that a canary is to go through: written down for who drives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The share.
    pub percentage: Share,
    /// How long it is to stay.
    pub hold: DocumentDuration,
    /// How many exchanges it is to have seen.
    #[serde(default)]
    pub min_exchanges: u64,
}

/// The `rollout` of a policy document, or of a policy in its chain.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// What is done with decisions.
    pub mode: Mode,
    /// The share of a canary.
    pub percentage: Option<Share>,
    /// What buckets are drawn with. Kept over revisions, nobody changes arms.
    pub seed: Option<String>,
    /// By what exchanges are put into buckets.
    pub sticky: Sticky,
    /// The header that names the session; `x-session-id` where absent.
    pub session_header: Option<String>,
    /// Modes of dialects that have one of their own.
    pub targets: BTreeMap<Dialect, Mode>,
    /// Steps to come.
    pub steps: Vec<Step>,
    /// When it rolls itself back.
    pub rollback: Option<Guard>,
    /// What the exchanges of this process share about rolling back.
    #[serde(skip)]
    pub(crate) state: Arc<GuardState>,
}

/// The header that names the session where a document names none.
pub const SESSION_HEADER: &str = "x-session-id";

impl Rollout {
    /// Gives the header that names the session.
    pub fn session_header(&self) -> &str {
        self.session_header.as_deref().unwrap_or(SESSION_HEADER)
    }

    /// Whether anything but the enforced mode can come of it.
    pub fn is_plain(&self) -> bool {
        self.mode == Mode::Enforced && self.targets.is_empty() && self.rollback.is_none()
    }

    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let error = |field: &str, message: &str| Err(DocumentError::new(format!("rollout.{field}"), message));
        let has_canary = self.mode == Mode::Canary || self.targets.values().any(|mode| *mode == Mode::Canary);
        if has_canary && self.percentage.is_none() {
            return error("percentage", "a canary needs its share");
        }
        match &self.seed {
            None if has_canary => return error("seed", "a canary needs a seed; keep it over revisions, and nobody changes arms"),
            Some(seed) if seed.is_empty() || seed.len() > MAX_SEED_BYTES || seed.contains('\0') => {
                return error("seed", "must have 1 to 128 bytes, none of them zero");
            }
            _ => {}
        }
        if self.steps.len() > MAX_STEPS {
            return error("steps", "must be at most 32");
        }
        if !self.steps.is_sorted_by_key(|step| step.percentage) {
            return error("steps", "must not lower the percentage: that would move keys out");
        }
        if self.session_header.as_ref().is_some_and(String::is_empty) {
            return error("session_header", "must not be empty");
        }
        self.rollback.as_ref().map_or(Ok(()), Guard::check)
    }

    /// Assigns an exchange to its arm.
    pub(crate) fn assign(&self, key: &Key<'_>, dialect: Option<Dialect>, is_rolled_back: bool) -> Standing {
        let mode = dialect.and_then(|dialect| self.targets.get(&dialect).copied()).unwrap_or(self.mode);
        let standing = Standing { mode, ..Standing::default() };
        match mode {
            Mode::Shadow | Mode::Rollback => Standing { is_enforced: false, ..standing },
            Mode::Enforced => Self::roll_back(standing, is_rolled_back),
            Mode::Canary => Self::roll_back(self.draw(key, standing), is_rolled_back),
        }
    }

    fn roll_back(standing: Standing, is_rolled_back: bool) -> Standing {
        if is_rolled_back { Standing { mode: Mode::Rollback, is_enforced: false, ..standing } } else { standing }
    }

    fn draw(&self, key: &Key<'_>, standing: Standing) -> Standing {
        let (word, key) = match self.sticky {
            Sticky::User => ("user", key.user),
            Sticky::Session => ("session", key.session),
            Sticky::None => ("exchange", Some(key.exchange)),
        };
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Standing { is_enforced: false, key: Some("missing"), ..standing };
        };
        let bucket = bucket(self.seed.as_deref().unwrap_or_default(), key);
        let share = self.percentage.unwrap_or_default().buckets();
        Standing { is_enforced: bucket < share, key: Some(word), bucket: Some(bucket), ..standing }
    }
}

/// What an exchange can be told by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key<'k> {
    pub(crate) user: Option<&'k [u8]>,
    pub(crate) session: Option<&'k [u8]>,
    pub(crate) exchange: &'k [u8],
}

/// Where an exchange stands in the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is done with its decisions.
    pub mode: Mode,
    /// Whether what is decided is done.
    pub is_enforced: bool,
    /// Of a canary: by what it was put into its bucket; `missing` where there was nothing, which leaves it to the control arm.
    pub key: Option<&'static str>,
    /// Of a canary: its bucket.
    pub bucket: Option<u32>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { mode: Mode::Enforced, is_enforced: true, key: None, bucket: None }
    }
}

/// Puts a key into one of the [`BUCKETS`].
pub fn bucket(seed: &str, key: &[u8]) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(seed.as_bytes());
    hasher.update([0]);
    hasher.update(key);
    let hash: [u8; 32] = hasher.finalize().into();
    let first = hash.first_chunk().map_or(0, |first| u32::from_be_bytes(*first));
    u32::try_from(u64::from(first).saturating_mul(u64::from(BUCKETS)).wrapping_shr(32)).unwrap_or_default()
}

/// How long a rollout remembers at the most.
pub(crate) const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
