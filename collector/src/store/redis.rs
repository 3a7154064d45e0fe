//! The store that several collectors share: shards in Redis, each a stream of entries with what is known of its senders.
//!
//! The keys of a shard carry one hash tag, so that they live in one slot of a Redis Cluster, as a script demands; the
//! shards lie in different slots. A sender belongs to the shard that the hash of its id names.

mod link;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use redis::streams::{StreamId, StreamRangeReply};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Script, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::timeout;

use self::link::Link;
use super::numbers::{MAX_CONFLICTS, MAX_GAPS, MAX_RECENT};
use super::position::{Cursor, EntryId};
use super::{Appended, Entry, Fetched, Limits, MAX_SENDERS, Sender, StoreError};
use crate::event::{Batch, DIGEST_BYTES};
use crate::log::Transitions;

/// How long one question to Redis may take, connecting included. Senders wait this long for a refusal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an append waits for replicas.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the settings that all collectors share are read again.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(10);
/// How long the runs of a sender are remembered that says nothing.
const RUNS_SECONDS: u64 = 7 * 24 * 60 * 60;
/// The most shards.
const MAX_SHARDS: usize = 256;

/// Says how Redis is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// One server.
    Single,
    /// A Redis Cluster; the addresses are some of its nodes.
    Cluster,
    /// A master that sentinels watch; the addresses are theirs.
    Sentinel {
        /// The name of the master.
        service: String,
    },
}

/// Says where the store is.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://` or, with TLS, `rediss://`, with user and password where there are some.
    pub urls: Vec<String>,
    /// How it is deployed.
    pub deployment: Deployment,
    /// What keys begin with.
    pub prefix: String,
    /// How many shards a new store gets. One that is there keeps its own.
    pub shards: usize,
    /// How many replicas must have an event before it is acknowledged.
    pub replicas: u32,
    /// The certificate that signs those of Redis, in PEM, where the system does not know it.
    pub ca: Option<Vec<u8>>,
}

/// Keeps events in Redis.
pub struct RedisStore {
    link: Link,
    append: Script,
    append_code: &'static str,
    prefix: String,
    replicas: u32,
    shards: AtomicUsize,
    settings: Mutex<Settings>,
    arrivals: Notify,
    reachable: Transitions,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    limits: Limits,
    read: Option<Instant>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Part of a batch whose events are the same to the store, as far as is known.
struct Part {
    first: u64,
    digests: Vec<u8>,
    body: String,
    count: usize,
    keep_conflicts: bool,
}

/// What the script answers.
struct Reply {
    word: String,
    missing: u64,
    dropped: u64,
    classes: String,
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let (word, missing, dropped, classes) = FromRedisValue::from_redis_value(value)?;
        Ok(Self { word, missing, dropped, classes })
    }
}

impl RedisStore {
    /// Makes a store that connects when it is first used, so that a collector may start before its Redis.
    pub fn new(options: &RedisOptions, limits: Limits) -> Result<Self, RedisError> {
        let append_code = include_str!("append.lua");
        Ok(Self {
            link: Link::new(options)?,
            append: Script::new(append_code),
            append_code,
            prefix: options.prefix.clone(),
            replicas: options.replicas,
            shards: AtomicUsize::new(options.shards.clamp(1, MAX_SHARDS)),
            settings: Mutex::new(Settings { limits, read: None }),
            arrivals: Notify::new(),
            reachable: Transitions::new("the store answers again", "the store fails"),
        })
    }

    pub(super) async fn append(&self, batch: &Batch<'_>, now: u64) -> Result<Appended, StoreError> {
        self.read_settings().await?;
        let mut parts = vec![Part::of(batch)];
        let mut appended = Appended::default();
        // A part that is not the same to the store all over comes back as parts that are.
        while let Some(part) = parts.pop() {
            let reply = self.append_part(batch, &part, now).await?;
            appended.missing = appended.missing.saturating_add(reply.missing);
            appended.dropped = appended.dropped.saturating_add(reply.dropped);
            match reply.word.as_str() {
                "mixed" => parts.extend(part.split(&reply.classes).into_iter().rev()),
                "K" => appended.duplicates = appended.duplicates.saturating_add(part.count),
                "C" if part.keep_conflicts => appended.conflicts = appended.conflicts.saturating_add(part.count),
                "C" => parts.push(Part { keep_conflicts: true, ..part }),
                "O" => return Err(StoreError::TooOld { number: part.first }),
                _ => {}
            }
        }
        self.arrivals.notify_waiters();
        Ok(appended)
    }

    async fn append_part(&self, batch: &Batch<'_>, part: &Part, now: u64) -> Result<Reply, StoreError> {
        let shard = self.shard_of(&batch.sender);
        let Settings { limits, .. } = *self.settings();
        let shards = self.shards() as u64;
        let per_shard = |all: u64| all.checked_div(shards).unwrap_or(all).max(1);
        let key = |name: &str| self.key(shard, name);
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(6);
            for name in ["events", "sizes", "totals", "senders", "senders:times"] {
                command.arg(key(name));
            }
            command.arg(key(&format!("runs:{}", batch.sender)));
            command.arg(batch.sender.as_ref()).arg(part.first).arg(part.count).arg(batch.dropped).arg(now);
            command.arg(part.digests.as_slice()).arg(&part.body).arg(u8::from(part.keep_conflicts));
            command.arg(per_shard(limits.events)).arg(per_shard(limits.bytes)).arg(limits.oldest_ms(now));
            command.arg(per_shard(MAX_SENDERS as u64)).arg(MAX_GAPS).arg(MAX_RECENT).arg(MAX_CONFLICTS).arg(RUNS_SECONDS);
            command
        };
        let stream = key("events");
        let reply = match self.write(&stream, command("EVALSHA", self.append.get_hash())).await {
            Err(StoreError::Redis(error)) if error.code() == Some("NOSCRIPT") => {
                self.write(&stream, command("EVAL", self.append_code)).await
            }
            reply => reply,
        };
        reply.and_then(|value| Ok(Reply::from_redis_value(value).map_err(RedisError::from)?))
    }

    /// Sends a command that writes, and waits until enough replicas have what it wrote.
    async fn write(&self, key: &str, command: Cmd) -> Result<Value, StoreError> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command);
        if self.replicas > 0 {
            pipeline.cmd("WAIT").arg(self.replicas).arg(REPLICA_TIMEOUT.as_millis() as u64);
        }
        let mut answers = self.answer(self.link.ask_all(key, pipeline)).await?.into_iter();
        let answer = answers.next().unwrap_or(Value::Nil);
        if self.replicas > 0 {
            let have: u32 = answers.next().map_or(Ok(0), FromRedisValue::from_redis_value).map_err(RedisError::from)?;
            if have < self.replicas {
                let refusal = StoreError::TooFewReplicas { have, needed: self.replicas };
                self.reachable.failed(&refusal);
                return Err(refusal);
            }
        }
        Ok(answer)
    }

    pub(super) async fn fetch_before(&self, shard: u16, before: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        let mut command = redis::cmd("XREVRANGE");
        let before = if before == EntryId::END { "+".to_owned() } else { before.to_string() };
        command.arg(self.key(shard, "events")).arg(before).arg("-").arg("COUNT").arg(limit);
        self.fetch(shard, command, limit).await
    }

    pub(super) async fn fetch_after(&self, shard: u16, after: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.key(shard, "events")).arg(format!("({after}")).arg("+").arg("COUNT").arg(limit);
        self.fetch(shard, command, limit).await
    }

    async fn fetch(&self, shard: u16, command: Cmd, limit: usize) -> Result<Fetched, StoreError> {
        let reply: StreamRangeReply = self.answer(self.link.ask(&self.key(shard, "events"), command)).await?;
        let read = reply.ids.into_iter().filter_map(|entry| {
            let id = entry.id.parse().ok()?;
            Some((id, decode(shard, id, entry)))
        });
        Ok(Fetched::decoded(read.collect(), limit))
    }

    pub(super) async fn end(&self) -> Result<Cursor, StoreError> {
        self.read_settings().await?;
        let ends = (0..self.shard_count()).map(async |shard| {
            let key = self.key(shard, "events");
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&key).arg("+").arg("-").arg("COUNT").arg(1);
            let reply: StreamRangeReply = self.answer(self.link.ask(&key, command)).await?;
            Ok::<_, StoreError>(reply.ids.first().and_then(|entry| entry.id.parse().ok()).unwrap_or_default())
        });
        Ok(Cursor(try_join_all(ends).await?))
    }

    /// Waits until something may have come: an append of this collector, or `poll` for those of others.
    pub(super) async fn arrival(&self, poll: Duration) {
        let _ = timeout(poll, self.arrivals.notified()).await;
    }

    pub(super) async fn senders(&self) -> Result<Vec<Sender>, StoreError> {
        self.read_settings().await?;
        let shards = (0..self.shard_count()).map(async |shard| {
            let key = self.key(shard, "senders");
            let mut command = redis::cmd("HGETALL");
            command.arg(&key);
            let kept: Vec<(String, String)> = self.answer(self.link.ask(&key, command)).await?;
            Ok::<_, StoreError>(kept.into_iter().filter_map(|(name, words)| sender(name, &words)).collect::<Vec<_>>())
        });
        let mut senders: Vec<_> = try_join_all(shards).await?.into_iter().flatten().collect();
        senders.sort_by(|one, other| one.sender.cmp(&other.sender));
        Ok(senders)
    }

    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.read_settings().await?;
        let probes = (0..self.shard_count()).map(async |shard| {
            let key = self.key(shard, "probe");
            let mut command = redis::cmd("SET");
            command.arg(&key).arg(1).arg("PX").arg(60_000);
            self.write(&key, command).await
        });
        try_join_all(probes).await?;
        Ok(())
    }

    pub(super) fn shards(&self) -> usize {
        self.shards.load(Ordering::Relaxed)
    }

    fn shard_count(&self) -> u16 {
        u16::try_from(self.shards()).unwrap_or(1)
    }

    pub(super) fn limits(&self) -> Limits {
        self.settings().limits
    }

    pub(super) async fn set_limits(&self, limits: Limits) -> Result<(), StoreError> {
        let key = self.settings_key();
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg("limits").arg(serde_json::to_string(&limits).unwrap_or_default());
        self.write(&key, command).await?;
        self.settings().limits = limits;
        Ok(())
    }

    /// Reads the settings that all collectors share, now and then; whoever is the first sets them.
    async fn read_settings(&self) -> Result<(), StoreError> {
        let Settings { limits, read } = *self.settings();
        if read.is_some_and(|read| read.elapsed() < SETTINGS_INTERVAL) {
            return Ok(());
        }
        let key = self.settings_key();
        for (field, value) in
            [("shards", self.shards().to_string()), ("limits", serde_json::to_string(&limits).unwrap_or_default())]
        {
            if read.is_none() {
                let mut command = redis::cmd("HSETNX");
                command.arg(&key).arg(field).arg(value);
                let _: u64 = self.answer(self.link.ask(&key, command)).await?;
            }
        }
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg("shards").arg("limits");
        let (shards, kept): (usize, String) = self.answer(self.link.ask(&key, command)).await?;
        let kept: Limits = serde_json::from_str(&kept).unwrap_or(limits);
        if read.is_none() && (kept != limits || shards != self.shards()) {
            tracing::warn!(
                "the store has settings of its own, and they hold: {shards} shards, {kept:?}; PUT /v1/settings changes them"
            );
        }
        self.shards.store(shards.clamp(1, MAX_SHARDS), Ordering::Relaxed);
        *self.settings() = Settings { limits: kept, read: Some(Instant::now()) };
        Ok(())
    }

    /// Keeps a text for a while, for every collector; with `None` it goes.
    pub(crate) async fn keep(&self, name: &str, value: Option<&str>, seconds: u64) -> Result<(), StoreError> {
        let key = format!("{{{}}}:{name}", self.prefix);
        let command = match value {
            Some(value) => redis::cmd("SET").arg(&key).arg(value).arg("EX").arg(seconds).clone(),
            None => redis::cmd("DEL").arg(&key).clone(),
        };
        self.answer(self.link.ask::<Value>(&key, command)).await.map(drop)
    }

    /// Gives what [`Self::keep`] keeps.
    pub(crate) async fn kept(&self, name: &str) -> Result<Option<String>, StoreError> {
        let key = format!("{{{}}}:{name}", self.prefix);
        let command = redis::cmd("GET").arg(&key).clone();
        self.answer(self.link.ask(&key, command)).await
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings_key(&self) -> String {
        format!("{{{}}}:settings", self.prefix)
    }

    fn key(&self, shard: u16, name: &str) -> String {
        format!("{{{}:{shard}}}:{name}", self.prefix)
    }

    fn shard_of(&self, sender: &str) -> u16 {
        let [a, b, ..] = <[u8; 32]>::from(Sha256::digest(sender.as_bytes()));
        u16::from_be_bytes([a, b]).checked_rem(self.shard_count()).unwrap_or_default()
    }

    /// Waits for an answer, for a bounded time, and logs when Redis goes and when it comes back.
    async fn answer<T>(&self, question: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let answer = match timeout(ANSWER_TIMEOUT, question).await {
            Ok(answer) => answer.map_err(StoreError::from),
            Err(_) => {
                self.link.forget().await;
                Err(StoreError::TimedOut)
            }
        };
        match &answer {
            Ok(_) => self.reachable.worked(),
            // The script is sent whole, then.
            Err(StoreError::Redis(error)) if error.code() == Some("NOSCRIPT") => false,
            Err(error) => self.reachable.failed(error),
        };
        answer
    }
}

impl Part {
    fn of(batch: &Batch<'_>) -> Self {
        let mut part = Self {
            first: batch.sequence,
            digests: Vec::with_capacity(batch.events.len().saturating_mul(DIGEST_BYTES)),
            body: String::with_capacity(batch.events.iter().map(|event| event.json.len().saturating_add(1)).sum()),
            count: batch.events.len(),
            keep_conflicts: false,
        };
        for event in &batch.events {
            if !part.digests.is_empty() {
                part.body.push('\n');
            }
            part.digests.extend_from_slice(&event.digest());
            part.body.push_str(&event.json);
        }
        part
    }

    /// Cuts the part where the class of its events changes.
    fn split(&self, classes: &str) -> Vec<Self> {
        let mut parts: Vec<(u8, Self)> = Vec::new();
        let events = self.body.split('\n').zip(self.digests.chunks(DIGEST_BYTES));
        for ((number, class), (event, digest)) in (self.first..).zip(classes.bytes()).zip(events) {
            match parts.last_mut() {
                Some((last, part)) if *last == class => {
                    part.count = part.count.saturating_add(1);
                    part.digests.extend_from_slice(digest);
                    part.body.push('\n');
                    part.body.push_str(event);
                }
                _ => {
                    let part =
                        Self { first: number, digests: digest.to_vec(), body: event.to_owned(), count: 1, keep_conflicts: false };
                    parts.push((class, part));
                }
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }
}

/// An entry of a stream; `None`, with a line in the log, for what a collector did not write.
fn decode(shard: u16, id: EntryId, entry: StreamId) -> Option<Entry> {
    let decoded = || {
        let (count, body): (usize, String) = (entry.get("n")?, entry.get("b")?);
        let sender: String = entry.get("s")?;
        if body.split('\n').count() != count || !body.split('\n').all(|event| event.starts_with('{')) {
            return None;
        }
        Some(Entry {
            shard,
            id,
            received_ms: entry.get("t")?,
            sender: Arc::from(sender),
            sequence: entry.get("q")?,
            conflict: entry.get::<u8>("c").is_some(),
            body,
        })
    };
    let decoded = decoded();
    if decoded.is_none() {
        tracing::debug!("skipped entry {id} of shard {shard}: no collector wrote it");
    }
    decoded
}

fn sender(name: String, words: &str) -> Option<Sender> {
    let mut words = words.split(' ').map(|word| word.parse().ok());
    let mut next = || words.next().flatten();
    let next_sequence = next()?;
    let _floor: u64 = next()?;
    let (missing, dropped, conflicts, last_seen_ms) = (next()?, next()?, next()?, next()?);
    Some(Sender { sender: name, next_sequence, missing, dropped, conflicts, last_seen_ms })
}
