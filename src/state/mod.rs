//! State across exchanges: counters with windows, and values with a time to live, in a store that the host gives.
//!
//! A hook reaches it through [`PolicyContext::state`](crate::policy::PolicyContext::state). Each request becomes an
//! [`Effect::Store`] that the host carries out, at once or later; the hook awaits the
//! answer, whichever it is. A hook that cannot wait may drop what it gets: the request is carried out all the same.
//!
//! ```
//! use core::time::Duration;
//! use weir::exchange::Request;
//! use weir::policy::{Policy, PolicyContext, Refusal, RequestAction};
//! use weir::state::Scope;
//!
//! /// Lets each user make so many requests a minute.
//! #[derive(Debug)]
//! struct RequestLimit {
//!     most: u64,
//! }
//!
//! impl Policy for RequestLimit {
//!     async fn on_request(&self, request: &Request, cx: &PolicyContext) -> RequestAction {
//!         let user = request.policy_user.as_deref().unwrap_or("nobody");
//!         let minute = Duration::from_secs(60);
//!         match cx.state(Scope::Proxy).add_within(user, 1, self.most, minute).await {
//!             Ok(counter) if counter.is_added => RequestAction::SendRequest,
//!             Ok(_) => RequestAction::Refuse(Refusal::new(429, "Too many requests.")),
//!             Err(error) => RequestAction::Refuse(Refusal::new(503, error.to_string())),
//!         }
//!     }
//! }
//! ```

mod entry;
mod table;

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer};

pub use self::table::{Table, TableLimits};
use crate::document::read_text;
use crate::effect::Effect;
use crate::policy::Shared;
use crate::time::Timestamp;
use crate::wait::Waiting;

/// Longest key that a policy may use, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Most requests to the store that one exchange makes.
pub const MAX_STORE_REQUESTS: u32 = 256;

/// How long a store may take. Those of a worker and of a proxy answer at once.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Who shares the state. In documents a word: `worker` or `proxy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The exchanges of one worker thread.
    Worker,
    /// The exchanges of one proxy process.
    Proxy,
}

impl Scope {
    /// Gives the word that documents use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Proxy => "proxy",
        }
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |word| match word {
            "worker" => Ok(Self::Worker),
            "proxy" => Ok(Self::Proxy),
            "fleet" => Err("the scope \"fleet\" is not there yet; there are \"worker\" and \"proxy\"".to_owned()),
            _ => Err(format!("there is no scope {word:?}; there are \"worker\" and \"proxy\"")),
        })
    }
}

/// Identifies a request to the store within its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreRequestId(pub u32);

/// A request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRequest {
    /// Comes back with the answer.
    pub id: StoreRequestId,
    /// Which store.
    pub scope: Scope,
    /// The key, within a namespace of the policy document and the policy's class.
    pub key: String,
    /// A policy asks that is observed beside enforced ones: what it keeps stands in a store of its own, so that it takes neither
    /// counts nor room from theirs.
    pub is_beside: bool,
    /// What is to be done.
    pub operation: Operation,
}

/// What a store is to do, in one step that nothing else comes between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Add to a counter, answer with [`Stored::Counter`].
    Add {
        /// How much; may be negative, to give back. The counter stays at 0 or above.
        by: i64,
        /// Add only where the sum is not above this.
        limit: Option<u64>,
        /// How long the counter counts before it begins anew; windows begin at multiples of their length since the Unix epoch.
        window: Duration,
    },
    /// Read a value, answer with [`Stored::Value`].
    Get,
    /// Keep a value, answer with the one that was there.
    Put {
        /// The value.
        value: Vec<u8>,
        /// How long it is kept.
        time_to_live: Duration,
        /// Leave the value that is there, if there is one.
        only_if_absent: bool,
    },
    /// Forget a value, answer with it.
    Remove,
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A counter, as it stands behind the operation.
    Counter(Counter),
    /// A value as it stood before the operation; `None` where there was none.
    Value(Option<Vec<u8>>),
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// How far it has come.
    pub value: u64,
    /// Whether it was added to; false where that would have been above the limit.
    pub is_added: bool,
    /// When it begins anew.
    pub resets_at: Timestamp,
}

/// Why the store did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateError {
    /// The key is longer than [`MAX_KEY_BYTES`].
    KeyTooLong,
    /// The value is longer than [`MAX_VALUE_BYTES`].
    ValueTooLong,
    /// The exchange has made [`MAX_STORE_REQUESTS`] before.
    TooMany,
    /// The store has as many keys or bytes as it may.
    Full,
    /// The key is one of a counter where a value was asked for, or the other way round.
    OtherKind,
    /// Others wrote again and again in between.
    Contended,
    /// No answer in time.
    TimedOut,
    /// The store cannot be reached, or answered something else than was asked.
    Unavailable,
}

impl StateError {
    /// Gives a word for events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyTooLong => "key_too_long",
            Self::ValueTooLong => "value_too_long",
            Self::TooMany => "too_many_store_requests",
            Self::Full => "store_full",
            Self::OtherKind => "other_kind",
            Self::Contended => "store_contended",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "store_unavailable",
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyTooLong => write!(f, "the key is longer than {MAX_KEY_BYTES} bytes"),
            Self::ValueTooLong => write!(f, "the value is longer than {MAX_VALUE_BYTES} bytes"),
            Self::TooMany => write!(f, "the exchange has made {MAX_STORE_REQUESTS} requests to the store before"),
            Self::Full => f.write_str("the store is full"),
            Self::OtherKind => f.write_str("a counter stands where a value was asked for, or the other way round"),
            Self::Contended => f.write_str("others wrote to the store again and again in between"),
            Self::TimedOut => f.write_str("the store did not answer in time"),
            Self::Unavailable => f.write_str("the store cannot be reached"),
        }
    }
}

impl core::error::Error for StateError {}

/// The state of one scope, as a policy reaches it. Keys are the policy's own: neither another class of policies nor
/// another policy document sees them.
pub struct State<'c> {
    shared: &'c Shared,
    scope: Scope,
    class: &'static str,
}

impl<'c> State<'c> {
    pub(crate) const fn new(shared: &'c Shared, scope: Scope, class: &'static str) -> Self {
        Self { shared, scope, class }
    }

    /// Adds to a counter of this window; a window that is over is forgotten.
    pub fn add(&self, key: &str, by: i64, window: Duration) -> Waiting<Result<Counter, StateError>> {
        self.count(key, Operation::Add { by, limit: None, window })
    }

    /// Adds to a counter unless that would bring it above `limit`.
    pub fn add_within(&self, key: &str, by: i64, limit: u64, window: Duration) -> Waiting<Result<Counter, StateError>> {
        self.count(key, Operation::Add { by, limit: Some(limit), window })
    }

    /// Reads a value.
    pub fn get(&self, key: &str) -> Waiting<Result<Option<Vec<u8>>, StateError>> {
        self.value(key, Operation::Get)
    }

    /// Keeps a value for so long; gives the one that was there.
    pub fn put(&self, key: &str, value: &[u8], time_to_live: Duration) -> Waiting<Result<Option<Vec<u8>>, StateError>> {
        self.value(key, Operation::Put { value: value.to_vec(), time_to_live, only_if_absent: false })
    }

    /// Keeps a value for so long unless there is one; gives the one that was there.
    pub fn put_if_absent(&self, key: &str, value: &[u8], time_to_live: Duration) -> Waiting<Result<Option<Vec<u8>>, StateError>> {
        self.value(key, Operation::Put { value: value.to_vec(), time_to_live, only_if_absent: true })
    }

    /// Forgets a value; gives it.
    pub fn remove(&self, key: &str) -> Waiting<Result<Option<Vec<u8>>, StateError>> {
        self.value(key, Operation::Remove)
    }

    fn count(&self, key: &str, operation: Operation) -> Waiting<Result<Counter, StateError>> {
        if let Err(error) = check(key, &operation) {
            return Waiting::settled(Err(error));
        }
        let now = self.shared.now();
        let Some((id, waiting)) = self.shared.waits.with(|waits| waits.counter(now)) else {
            return Waiting::settled(Err(StateError::TooMany));
        };
        self.send(id, key, operation);
        waiting
    }

    fn value(&self, key: &str, operation: Operation) -> Waiting<Result<Option<Vec<u8>>, StateError>> {
        if let Err(error) = check(key, &operation) {
            return Waiting::settled(Err(error));
        }
        let now = self.shared.now();
        let Some((id, waiting)) = self.shared.waits.with(|waits| waits.value(now)) else {
            return Waiting::settled(Err(StateError::TooMany));
        };
        self.send(id, key, operation);
        waiting
    }

    fn send(&self, id: StoreRequestId, key: &str, operation: Operation) {
        let key = format!("{}/{}/{key}", self.shared.chain.id, self.class);
        let is_beside = self.shared.part.beside.is_some();
        self.shared.push_effect(Effect::Store(StoreRequest { id, scope: self.scope, key, is_beside, operation }));
    }
}

fn check(key: &str, operation: &Operation) -> Result<(), StateError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StateError::KeyTooLong);
    }
    match operation {
        Operation::Put { value, .. } if value.len() > MAX_VALUE_BYTES => Err(StateError::ValueTooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_and_the_fleet_is_refused_by_name() {
        assert_eq!(serde_json::from_str::<Scope>("\"proxy\"").unwrap(), Scope::Proxy);
        assert_eq!(serde_json::from_str::<Scope>("\"worker\"").unwrap(), Scope::Worker);
        let refusal = |json| serde_json::from_str::<Scope>(json).unwrap_err().to_string();
        assert!(refusal("\"fleet\"").starts_with("the scope \"fleet\" is not there yet"));
        assert!(refusal("\"galaxy\"").starts_with("there is no scope \"galaxy\""));
    }

    #[test]
    fn keys_and_values_have_bounds() {
        let put = |length| Operation::Put { value: vec![0; length], time_to_live: Duration::from_secs(1), only_if_absent: false };
        assert_eq!(check(&"k".repeat(MAX_KEY_BYTES), &put(MAX_VALUE_BYTES)), Ok(()));
        assert_eq!(check(&"k".repeat(MAX_KEY_BYTES + 1), &Operation::Get), Err(StateError::KeyTooLong));
        assert_eq!(check("k", &put(MAX_VALUE_BYTES + 1)), Err(StateError::ValueTooLong));
    }
}
