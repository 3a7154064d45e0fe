//! The store that outlives a collector and that several collectors share: one Redis Stream.
//!
//! Every key carries the same hash tag, so that they live in one slot of a Redis Cluster, as a script demands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{Appended, Limits, Position, Sender, StoreError, Stored, TAIL_CHUNK};
use crate::event::Batch;

/// How long one question to Redis may take, connecting included. Senders wait this long for a refusal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a tail waits inside Redis before it asks again; a dead connection is noticed after this.
const TAIL_BLOCK: Duration = Duration::from_secs(2);

/// Keeps events in Redis.
pub struct RedisStore {
    client: Client,
    connection: ConnectionManager,
    append: Script,
    keys: Keys,
    limits: Limits,
    reachable: AtomicBool,
}

#[derive(Debug)]
struct Keys {
    stream: String,
    seen: String,
    seen_before: String,
    senders: String,
    sender_times: String,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("keys", &self.keys).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// A store in the Redis at `url`, with keys that begin with `prefix`. Connects when it is first used, so that a
    /// collector may start before its Redis.
    pub fn new(url: &str, prefix: &str, limits: Limits) -> Result<Self, RedisError> {
        let client = Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_number_of_retries(1);
        let key = |name: &str| format!("{{{prefix}}}:{name}");
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client.clone(), config)?,
            client,
            append: Script::new(include_str!("append.lua")),
            keys: Keys {
                stream: key("events"),
                seen: key("seen"),
                seen_before: key("seen:before"),
                senders: key("senders"),
                sender_times: key("senders:times"),
            },
            limits,
            reachable: AtomicBool::new(true),
        })
    }

    pub(super) async fn append(&self, batch: &Batch<'_>, now: u64) -> Result<Appended, StoreError> {
        let mut call = self.append.prepare_invoke();
        call.key(&self.keys.stream)
            .key(&self.keys.seen)
            .key(&self.keys.seen_before)
            .key(&self.keys.senders)
            .key(&self.keys.sender_times)
            .arg(batch.sender.as_ref())
            .arg(batch.sequence)
            .arg(batch.dropped)
            .arg(now)
            .arg(self.limits.history)
            .arg(self.limits.duplicate_window)
            .arg(self.limits.senders);
        for event in &batch.events {
            call.arg(event.id.as_ref()).arg(event.json.as_ref());
        }
        let mut connection = self.connection.clone();
        let result: Vec<u64> = self.answer(call.invoke_async(&mut connection)).await?;
        let mut numbers = result.into_iter();
        Ok(Appended {
            missing: numbers.next().unwrap_or_default(),
            dropped: numbers.next().unwrap_or_default(),
            duplicates: numbers.filter_map(|index| usize::try_from(index).ok()).collect(),
        })
    }

    pub(super) async fn history(&self, before: Option<Position>, limit: usize) -> Result<Vec<Arc<Stored>>, StoreError> {
        let newest = before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.keys.stream).arg(newest).arg("-").arg("COUNT").arg(limit);
        let mut connection = self.connection.clone();
        let reply: StreamRangeReply = self.answer(command.query_async(&mut connection)).await?;
        Ok(reply.ids.into_iter().filter_map(decode).map(Arc::new).collect())
    }

    pub(super) async fn senders(&self) -> Result<Vec<Sender>, StoreError> {
        #[derive(Deserialize)]
        struct Kept {
            next_sequence: u64,
            missing: u64,
            dropped: u64,
            last_seen_ms: u64,
        }
        let mut command = redis::cmd("HGETALL");
        command.arg(&self.keys.senders);
        let mut connection = self.connection.clone();
        let kept: BTreeMap<String, String> = self.answer(command.query_async(&mut connection)).await?;
        let sender = |(sender, json): (String, String)| {
            let Kept { next_sequence, missing, dropped, last_seen_ms } = serde_json::from_str(&json).ok()?;
            Some(Sender { sender, next_sequence, missing, dropped, last_seen_ms })
        };
        Ok(kept.into_iter().filter_map(sender).collect())
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.connection.clone();
        self.answer(redis::cmd("PING").query_async(&mut connection)).await
    }

    /// Waits for an answer, for a bounded time, and logs when Redis goes and when it comes back.
    async fn answer<T>(&self, question: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let answer = match timeout(ANSWER_TIMEOUT, question).await {
            Ok(answer) => answer.map_err(StoreError::from),
            Err(_) => Err(StoreError::TimedOut),
        };
        match &answer {
            Ok(_) if !self.reachable.swap(true, Ordering::Relaxed) => {
                tracing::info!("the store answers again")
            }
            Err(error) if self.reachable.swap(false, Ordering::Relaxed) => {
                tracing::warn!("the store fails: {error}")
            }
            _ => {}
        }
        answer
    }
}

/// Reads what arrives in a [`RedisStore`], whoever appended it.
///
/// It has a connection of its own, because waiting inside Redis blocks everything else on the same connection.
pub struct RedisTail {
    store: Arc<RedisStore>,
    connection: Option<MultiplexedConnection>,
    after: Position,
}

impl fmt::Debug for RedisTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTail").field("after", &self.after).finish_non_exhaustive()
    }
}

impl RedisTail {
    pub(super) fn new(store: Arc<RedisStore>, after: Position) -> Self {
        Self { store, connection: None, after }
    }

    pub(super) async fn next(&mut self) -> Result<Vec<Arc<Stored>>, StoreError> {
        // Taken out while it is used: after an error, or when this future is dropped, a new one is opened.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let reply = self.read(&mut connection).await?;
        self.connection = Some(connection);

        let keys = reply.into_iter().flat_map(|reply| reply.keys);
        let entries: Vec<StreamId> = keys.flat_map(|key| key.ids).collect();
        if let Some(last) = entries.last().and_then(|last| last.id.parse().ok()) {
            self.after = last;
        }
        Ok(entries.into_iter().filter_map(decode).map(Arc::new).collect())
    }

    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(TAIL_BLOCK.saturating_add(ANSWER_TIMEOUT)));
        Ok(self.store.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    async fn read(&self, connection: &mut MultiplexedConnection) -> Result<Option<StreamReadReply>, RedisError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(TAIL_CHUNK).arg("BLOCK").arg(TAIL_BLOCK.as_millis());
        command.arg("STREAMS").arg(&self.store.keys.stream).arg(self.after.to_string());
        command.query_async(connection).await
    }
}

/// An entry of the stream as an event; `None`, with a line in the log, for what a collector did not write.
fn decode(entry: StreamId) -> Option<Stored> {
    let stored = || {
        let position: Position = entry.id.parse().ok()?;
        let sender: String = entry.get("sender")?;
        let event: String = entry.get("event")?;
        Some(Stored {
            position,
            received_ms: position.milliseconds,
            sender: Arc::from(sender),
            sequence: entry.get("sequence")?,
            event: RawValue::from_string(event).ok()?,
        })
    };
    let stored = stored();
    if stored.is_none() {
        tracing::warn!("skipped entry {} of the stream: no collector wrote it", entry.id);
    }
    stored
}
