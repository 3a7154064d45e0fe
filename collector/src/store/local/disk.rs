//! Entries in a file. One thread writes; what waits for it is committed together.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Change, Contents, lock};
use crate::event::Batch;
use crate::store::numbers::Numbers;
use crate::store::position::EntryId;
use crate::store::{Appended, Entry, Fetched, StoreError};

const ENTRIES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("entries");
const SENDERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("senders");

/// How many batches are committed together at most.
const MAX_TOGETHER: usize = 256;
/// How many batches wait for the thread at most; who comes then waits for a place.
const MAX_WAITING: usize = 1_024;

/// A file of entries, and the thread that writes to it.
pub(super) struct Disk {
    database: Arc<Database>,
    /// `None` when the store is going.
    jobs: Option<mpsc::SyncSender<Job>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Disk {
    /// Waits for the writer, so that whoever opens the file next finds it free.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// A batch that waits to be written.
struct Job {
    contents: Arc<Mutex<Contents>>,
    body: Vec<u8>,
    now: u64,
    done: oneshot::Sender<Result<Appended, StoreError>>,
}

/// What stands before the events of an entry.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    received_ms: u64,
    sender: std::borrow::Cow<'a, str>,
    sequence: u64,
    conflict: bool,
}

impl Disk {
    /// Opens the file and reads into `contents` what is known of senders and sizes.
    pub(super) fn open(path: &Path, contents: &mut Contents) -> Result<Self, StoreError> {
        let database = Database::create(path).map_err(StoreError::disk)?;
        make_tables(&database).map_err(StoreError::disk)?;
        load(&database, contents).map_err(StoreError::disk)?;
        let database = Arc::new(database);
        let (jobs, waiting) = mpsc::sync_channel(MAX_WAITING);
        let written = Arc::clone(&database);
        let writer = std::thread::Builder::new()
            .name("weir-store".to_owned())
            .spawn(move || write_all(&written, &waiting))
            .map_err(StoreError::disk)?;
        Ok(Self { database, jobs: Some(jobs), writer: Some(writer) })
    }

    pub(super) async fn append(
        &self,
        contents: &Arc<Mutex<Contents>>,
        batch: &Batch<'_>,
        now: u64,
    ) -> Result<Appended, StoreError> {
        let (done, answer) = oneshot::channel();
        let mut job = Job { contents: Arc::clone(contents), body: batch.to_json(), now, done };
        loop {
            let Some(jobs) = &self.jobs else { return Err(StoreError::Disk("the store is closed".to_owned())) };
            match jobs.try_send(job) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Full(waiting)) => job = waiting,
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(StoreError::Disk("the writer has ended".to_owned())),
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Disk("the writer has ended".to_owned())))
    }

    pub(super) fn fetch_before(&self, before: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        self.fetch(|table, entries| {
            for row in table.range(..=(before.milliseconds, before.number))?.rev().take(limit) {
                let (id, bytes) = row?;
                entries.push(decode(id.value(), bytes.value()));
            }
            Ok(())
        })
        .map(|entries| Fetched::decoded(entries, limit))
    }

    pub(super) fn fetch_after(&self, after: EntryId, limit: usize) -> Result<Fetched, StoreError> {
        self.fetch(|table, entries| {
            let from = (after.milliseconds, after.number.saturating_add(1));
            for row in table.range(from..)?.take(limit) {
                let (id, bytes) = row?;
                entries.push(decode(id.value(), bytes.value()));
            }
            Ok(())
        })
        .map(|entries| Fetched::decoded(entries, limit))
    }

    /// Whether the file can be written.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            self.database.begin_write()?.commit()?;
            Ok(())
        };
        write().map_err(StoreError::disk)
    }

    #[allow(clippy::type_complexity, reason = "a place to put what was read")]
    fn fetch(
        &self,
        read: impl FnOnce(
            &redb::ReadOnlyTable<(u64, u64), &'static [u8]>,
            &mut Vec<(EntryId, Option<Entry>)>,
        ) -> Result<(), redb::StorageError>,
    ) -> Result<Vec<(EntryId, Option<Entry>)>, StoreError> {
        let fetch = || -> Result<_, redb::Error> {
            let mut entries = Vec::new();
            let table = self.database.begin_read()?.open_table(ENTRIES)?;
            read(&table, &mut entries)?;
            Ok(entries)
        };
        fetch().map_err(StoreError::disk)
    }
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(SENDERS)?;
    write.open_table(ENTRIES)?;
    write.commit()?;
    Ok(())
}

fn load(database: &Database, contents: &mut Contents) -> Result<(), redb::Error> {
    let read = database.begin_read()?;
    let mut loaded = Contents { limits: contents.limits, ..Contents::default() };
    for row in read.open_table(SENDERS)?.iter()? {
        let (name, json) = row?;
        let numbers: Numbers = serde_json::from_slice(json.value()).unwrap_or_default();
        loaded.senders.insert(Arc::from(name.value()), numbers);
    }
    for row in read.open_table(ENTRIES)?.iter()? {
        let (id, bytes) = row?;
        let (_, Some(entry)) = decode(id.value(), bytes.value()) else { continue };
        loaded.count(&entry);
        if let Some(numbers) = loaded.senders.get_mut(&entry.sender) {
            numbers.remember(entry.sequence, entry.events().map(|stored| crate::event::digest(stored.event)).collect());
        }
    }
    *contents = loaded;
    Ok(())
}

fn write_all(database: &Database, waiting: &mpsc::Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let mut jobs = VecDeque::from([first]);
        while jobs.len() < MAX_TOGETHER
            && let Ok(job) = waiting.try_recv()
        {
            jobs.push_back(job);
        }
        write_together(database, jobs);
    }
}

fn write_together(database: &Database, jobs: VecDeque<Job>) {
    let Some(contents) = jobs.front().map(|job| Arc::clone(&job.contents)) else { return };
    let mut contents = lock(&contents);
    let batches: Vec<_> = jobs.iter().map(|job| Batch::parse(&job.body)).collect();
    let mut answers = Vec::with_capacity(batches.len());
    let mut changes = Vec::new();
    let reloaded = if contents.stale { load(database, &mut contents) } else { Ok(()) };
    let outcome = reloaded.and_then(|()| {
        for (batch, job) in batches.iter().zip(&jobs) {
            let answer = match batch {
                Ok(batch) => contents.runs(batch).map(|runs| {
                    let change = contents.change(batch, runs, job.now);
                    let appended = change.appended;
                    changes.push(change);
                    appended
                }),
                Err(malformed) => Err(StoreError::Disk(malformed.to_string())),
            };
            answers.push(answer);
        }
        let names = batches.iter().flatten().map(|batch| batch.sender.as_ref());
        commit(database, &contents, &changes, names)
    });
    let failure = outcome.err().map(|error| error.to_string());
    contents.stale = failure.is_some();
    answers.resize_with(jobs.len(), || Err(StoreError::TimedOut));
    drop(contents);
    for (job, answer) in jobs.into_iter().zip(answers) {
        let answer = match &failure {
            Some(message) => Err(StoreError::Disk(message.clone())),
            None => answer,
        };
        // Whoever asked may have gone.
        let _ = job.done.send(answer);
    }
}

fn commit<'a>(
    database: &Database,
    contents: &Contents,
    changes: &[Change],
    names: impl Iterator<Item = &'a str>,
) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut entries = write.open_table(ENTRIES)?;
        for change in changes {
            for entry in &change.added {
                entries.insert((entry.id.milliseconds, entry.id.number), encode(entry).as_slice())?;
            }
        }
        if let Some(trim) = changes.iter().filter_map(|change| change.trim).max() {
            entries.retain_in(..(trim.milliseconds, trim.number), |_, _| false)?;
        }
        let mut senders = write.open_table(SENDERS)?;
        for name in names {
            if let Some(numbers) = contents.senders.get(name) {
                senders.insert(name, serde_json::to_vec(numbers).unwrap_or_default().as_slice())?;
            }
        }
        // Those that are forgotten in memory go here with them, now and then.
        if changes.iter().any(|change| change.trim.is_some()) {
            senders.retain(|name, _| contents.senders.contains_key(name))?;
        }
    }
    write.commit()?;
    Ok(())
}

fn encode(entry: &Entry) -> Vec<u8> {
    let head = Head {
        received_ms: entry.received_ms,
        sender: entry.sender.as_ref().into(),
        sequence: entry.sequence,
        conflict: entry.conflict,
    };
    let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend_from_slice(entry.body.as_bytes());
    bytes
}

fn decode((milliseconds, number): (u64, u64), bytes: &[u8]) -> (EntryId, Option<Entry>) {
    let id = EntryId { milliseconds, number };
    let entry = || {
        let (head, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let head: Head<'_> = serde_json::from_str(head).ok()?;
        Some(Entry {
            shard: 0,
            id,
            received_ms: head.received_ms,
            sender: Arc::from(head.sender.as_ref()),
            sequence: head.sequence,
            conflict: head.conflict,
            body: body.to_owned(),
        })
    };
    (id, entry())
}
