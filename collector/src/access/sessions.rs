//! Sessions of people: a random id in a cookie stands for the roles of the token that they signed in with.
//!
//! Cookies do not know ports, so that other servers of the same host see them: they hold no token, they only read, they
//! end after some hours and when people sign out. The store knows the hash of an id.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use super::tokens::{InvalidToken, Roles, random_hex, to_hex};
use crate::store::{Store, StoreError};

/// How long a session lasts.
pub(super) const SECONDS: u64 = 12 * 60 * 60;
/// The most sessions of a collector that keeps them itself; the one that ends first goes first.
const MAX_SESSIONS: usize = 10_000;
/// The name of the cookie.
const COOKIE: &str = "weir_session";

/// The sessions of a collector whose store is its own; those of a shared store lie there.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, (Roles, Instant)>>);

impl Sessions {
    /// Opens a session; gives the cookie that stands for it.
    pub(super) async fn open(&self, store: &Store, roles: Roles, secure: bool) -> Result<String, StoreError> {
        let id = random_hex().map_err(|error: InvalidToken| StoreError::Disk(error.to_string()))?;
        let hash = hash(&id);
        match store {
            Store::Redis(redis) => redis.keep(&format!("session:{hash}"), Some(&roles.to_string()), SECONDS).await?,
            Store::Local(_) => {
                let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                sessions.retain(|_, (_, end)| *end > now);
                if sessions.len() >= MAX_SESSIONS
                    && let Some(first) = sessions.iter().min_by_key(|(_, (_, end))| *end).map(|(hash, _)| hash.clone())
                {
                    sessions.remove(&first);
                }
                sessions.insert(hash, (roles, now.checked_add(Duration::from_secs(SECONDS)).unwrap_or(now)));
            }
        }
        let secure = if secure { "; Secure" } else { "" };
        Ok(format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SECONDS}{secure}"))
    }

    /// Gives the roles of a session that has not ended.
    pub(super) async fn roles(&self, store: &Store, id: &str) -> Option<Roles> {
        let hash = hash(id);
        match store {
            Store::Redis(redis) => redis.kept(&format!("session:{hash}")).await.ok()??.parse().ok(),
            Store::Local(_) => {
                let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                sessions.get(&hash).filter(|(_, end)| *end > Instant::now()).map(|(roles, _)| *roles)
            }
        }
    }

    /// Ends a session; gives the cookie that takes it from the browser.
    pub(super) async fn close(&self, store: &Store, id: &str) -> Result<String, StoreError> {
        let hash = hash(id);
        match store {
            Store::Redis(redis) => redis.keep(&format!("session:{hash}"), None, 0).await?,
            Store::Local(_) => drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash)),
        }
        Ok(format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"))
    }
}

fn hash(id: &str) -> String {
    to_hex(&Sha256::digest(id.as_bytes()))
}

/// Gives the id of the session that a request shows.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}
