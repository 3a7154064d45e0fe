//! The newest entries in memory. One task reads them from the store while somebody watches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::watch;

use crate::log::Gate;
use crate::store::{Cursor, Entry, Store, StoreError};

/// The most bytes of entries that wait for slow readers, whatever their number.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How often the store is asked for what other collectors appended.
const POLL: Duration = Duration::from_millis(100);
/// How long the store is left alone after it failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long reading goes on when nobody watches any more.
const IDLE: Duration = Duration::from_secs(30);
/// How many entries are read of a shard at a time.
const CHUNK: usize = 64;

/// An entry that arrived, with what readers are sent of it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) entry: Arc<Entry>,
    /// How far the store was read with it.
    pub(crate) cursor: Cursor,
    /// How many events had arrived before it.
    pub(crate) events_before: u64,
    messages: OnceLock<Vec<Bytes>>,
    all: OnceLock<Bytes>,
}

impl Arrival {
    /// Gives the message of each event; the last one says how far the reader has come.
    pub(crate) fn messages(&self) -> &[Bytes] {
        self.messages.get_or_init(|| {
            let message = |stored: crate::store::Stored<'_>| {
                let mut text = String::from("data: ");
                stored.write_json(&mut text);
                text.push_str("\n\n");
                Bytes::from(text)
            };
            self.entry.events().map(message).collect()
        })
    }

    /// Gives all messages as one text, with the cursor.
    pub(crate) fn all(&self) -> &Bytes {
        self.all.get_or_init(|| {
            let mut text = self.messages().concat();
            text.extend_from_slice(self.cursor_message().as_bytes());
            Bytes::from(text)
        })
    }

    /// Gives the message that carries the cursor alone: a browser remembers it, and scripts see nothing of it.
    pub(crate) fn cursor_message(&self) -> String {
        format!("id: {}\n\n", self.cursor)
    }
}

/// What is new, shared by everyone who watches.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Store,
    ring: Mutex<Ring>,
    /// Grows whenever the ring or the state of the store changes.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    arrivals: VecDeque<Arc<Arrival>>,
    bytes: usize,
    /// Number of the first arrival that is still here.
    first: u64,
    /// How many events arrived in all.
    events: u64,
    /// How far the store was read before the first arrival, and until now; `None` before the task runs.
    base: Option<Cursor>,
    end: Cursor,
    reachable: bool,
    running: bool,
    asked: Instant,
}

/// Where a reader stands in the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    next: u64,
    events: u64,
}

/// What a reader gets next.
#[derive(Debug)]
pub(crate) enum Next {
    Arrivals(Vec<Arc<Arrival>>),
    /// The reader was too slow for so many events; they are in the history.
    Skipped(u64),
    Store {
        reachable: bool,
    },
    Nothing,
}

/// What arrived behind a cursor.
#[derive(Debug)]
pub(crate) struct Since {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) cursor: Cursor,
}

impl Hub {
    pub(crate) fn new(store: Store) -> Self {
        let ring = Ring {
            arrivals: VecDeque::new(),
            bytes: 0,
            first: 0,
            events: 0,
            base: None,
            end: Cursor::default(),
            reachable: true,
            running: false,
            asked: Instant::now(),
        };
        Self { store, ring: Mutex::new(ring), changed: watch::Sender::default() }
    }

    /// Joins behind everything that has arrived. Where the store was read up to by then.
    pub(crate) async fn join(self: &Arc<Self>) -> Result<(Place, Cursor), StoreError> {
        self.start().await?;
        let ring = self.ring();
        let next = ring.first.saturating_add(ring.arrivals.len() as u64);
        Ok((Place { next, events: ring.events }, ring.end.clone()))
    }

    /// Makes sure that somebody reads the store.
    async fn start(self: &Arc<Self>) -> Result<(), StoreError> {
        {
            let mut ring = self.ring();
            ring.asked = Instant::now();
            if ring.running {
                return Ok(());
            }
        }
        let end = self.store.end().await?;
        let mut ring = self.ring();
        if !ring.running {
            ring.running = true;
            ring.arrivals.clear();
            ring.bytes = 0;
            ring.base = Some(end.clone());
            ring.end = end;
            let hub = Arc::clone(self);
            tokio::spawn(async move { hub.read().await });
        }
        Ok(())
    }

    /// Reads the store until nobody has watched for a while.
    async fn read(&self) {
        let gate = Gate::default();
        loop {
            let cursor = {
                let mut ring = self.ring();
                if ring.asked.elapsed() > IDLE && self.changed.receiver_count() == 0 {
                    ring.running = false;
                    return;
                }
                ring.end.clone()
            };
            match self.fetch(&cursor).await {
                Ok(entries) => {
                    let any = !entries.is_empty();
                    self.push(entries);
                    if !any {
                        self.store.arrival(&cursor, POLL).await;
                    }
                }
                Err(error) => {
                    if gate.pass().is_some() {
                        tracing::warn!("watchers wait for the store: {error}");
                    }
                    self.set_reachable(false);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn fetch(&self, cursor: &Cursor) -> Result<Vec<Arc<Entry>>, StoreError> {
        let shards = u16::try_from(self.store.shards()).unwrap_or(1);
        let fetches = (0..shards).map(|shard| self.store.fetch_after(shard, cursor.of(shard), CHUNK));
        let fetched = try_join_all(fetches).await?;
        let mut entries: Vec<_> = fetched.into_iter().flat_map(|fetched| fetched.entries).collect();
        entries.sort_by_key(|entry| (entry.id, entry.shard));
        Ok(entries)
    }

    fn push(&self, entries: Vec<Arc<Entry>>) {
        self.set_reachable(true);
        if entries.is_empty() {
            return;
        }
        let mut ring = self.ring();
        for entry in entries {
            ring.end.advance(entry.shard, entry.id);
            ring.bytes = ring.bytes.saturating_add(cost(&entry));
            let count = entry.events().count() as u64;
            let arrival = Arrival {
                cursor: ring.end.clone(),
                events_before: ring.events,
                entry,
                messages: OnceLock::new(),
                all: OnceLock::new(),
            };
            ring.events = ring.events.saturating_add(count);
            ring.arrivals.push_back(Arc::new(arrival));
        }
        while ring.bytes > MAX_BYTES && ring.arrivals.len() > 1 {
            let Some(oldest) = ring.arrivals.pop_front() else { break };
            ring.bytes = ring.bytes.saturating_sub(cost(&oldest.entry));
            ring.first = ring.first.saturating_add(1);
            ring.base = Some(oldest.cursor.clone());
        }
        drop(ring);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn set_reachable(&self, reachable: bool) {
        let changed = std::mem::replace(&mut self.ring().reachable, reachable) != reachable;
        if changed {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Gives a reader what it has not seen, up to some bytes.
    pub(crate) fn next(&self, place: &mut Place, reachable: &mut bool, most_bytes: usize) -> Next {
        let ring = self.ring();
        if *reachable != ring.reachable {
            *reachable = ring.reachable;
            return Next::Store { reachable: ring.reachable };
        }
        let Some(oldest) = ring.arrivals.front() else { return Next::Nothing };
        if place.next < ring.first {
            let skipped = oldest.events_before.saturating_sub(place.events);
            *place = Place { next: ring.first, events: oldest.events_before };
            return Next::Skipped(skipped);
        }
        let start = usize::try_from(place.next.saturating_sub(ring.first)).unwrap_or(usize::MAX).min(ring.arrivals.len());
        let mut bytes = 0_usize;
        let mut arrivals = Vec::new();
        for arrival in ring.arrivals.range(start..) {
            bytes = bytes.saturating_add(arrival.entry.bytes());
            if bytes > most_bytes && !arrivals.is_empty() {
                break;
            }
            arrivals.push(Arc::clone(arrival));
        }
        let Some(last) = arrivals.last() else { return Next::Nothing };
        place.next = place.next.saturating_add(arrivals.len() as u64);
        place.events = last.events_before.saturating_add(last.entry.events().count() as u64);
        Next::Arrivals(arrivals)
    }

    /// Is told when there may be something new.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Gives what arrived behind `cursor`: from memory when it is there, else from the store, of which a part comes at a
    /// time.
    pub(crate) async fn since(self: &Arc<Self>, cursor: &Cursor) -> Result<Since, StoreError> {
        self.start().await?;
        {
            let ring = self.ring();
            if !ring.reachable {
                return Err(StoreError::TimedOut);
            }
            if ring.base.as_ref().is_some_and(|base| cursor.covers(base)) {
                let unseen = |arrival: &&Arc<Arrival>| arrival.entry.id > cursor.of(arrival.entry.shard);
                let entries = ring.arrivals.iter().filter(unseen).map(|arrival| Arc::clone(&arrival.entry)).collect();
                let mut end = cursor.clone();
                for (shard, id) in (0_u16..).zip(&ring.end.0) {
                    end.advance(shard, *id);
                }
                return Ok(Since { entries, cursor: end });
            }
            if cursor.0.len() != ring.end.0.len() {
                return Err(StoreError::OtherShards);
            }
        }
        let entries = self.fetch(cursor).await?;
        let mut end = cursor.clone();
        for entry in &entries {
            end.advance(entry.shard, entry.id);
        }
        Ok(Since { entries, cursor: end })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an arrival takes: the entry, its messages and all of them once more.
fn cost(entry: &Entry) -> usize {
    entry.bytes().saturating_mul(4)
}
