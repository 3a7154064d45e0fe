//! Searches the history, newest first, within a bounded time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::query::Query;
use crate::store::{Entry, EntryId, Position, Store, StoreError, Stored};

/// How long one search goes on; what it did not reach, the next one does.
const BUDGET: Duration = Duration::from_millis(1_500);

/// What a search found, and where the next one goes on.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Newest first.
    pub(super) events: Vec<Found>,
    /// Where the next page begins; `None` when everything was searched.
    pub(super) next: Option<Position>,
    /// How many events were looked at.
    pub(super) searched: u64,
}

/// An event that was found.
#[derive(Debug)]
pub(super) struct Found {
    entry: Arc<Entry>,
    index: usize,
}

impl Found {
    pub(super) fn stored(&self) -> Option<Stored<'_>> {
        self.entry.events().nth(self.index)
    }
}

/// Says what to look for.
pub(super) struct Search<'a> {
    pub(super) query: &'a Query,
    pub(super) before: Option<Position>,
    pub(super) from: Option<u64>,
    pub(super) limit: usize,
    /// Whether all events of a call are wanted of which one matches.
    pub(super) whole_calls: bool,
}

/// Gives the position behind everything that arrived before `to`.
pub(super) fn before_of(to: Option<u64>) -> Option<Position> {
    to.map(|milliseconds| Position { entry: EntryId { milliseconds, number: 0 }, ..Position::default() })
}

pub(super) async fn search(store: &Store, search: Search<'_>) -> Result<Page, StoreError> {
    let started = Instant::now();
    let mut scan = store.scan(search.before).await?;
    let mut page = Page::default();
    let mut calls = Calls::default();
    let mut last = None;
    while let Some(entry) = scan.next().await? {
        if search.from.is_some_and(|from| entry.id.milliseconds < from) {
            return Ok(page.finish(calls, None));
        }
        let events: Vec<_> = entry.events().enumerate().collect();
        for (index, stored) in events.into_iter().rev() {
            if search.before.is_some_and(|before| stored.position >= before) {
                continue;
            }
            if page.events.len() >= search.limit {
                return Ok(page.finish(calls, last));
            }
            page.searched = page.searched.saturating_add(1);
            last = Some(stored.position);
            let matches = search.query.matches(&stored);
            let found = || Found { entry: Arc::clone(&entry), index };
            if !search.whole_calls || search.query.is_empty() {
                page.events.extend(matches.then(found));
            } else {
                calls.take(&stored, matches, found(), &mut page.events);
            }
        }
        if started.elapsed() > BUDGET {
            return Ok(page.finish(calls, last));
        }
        // A long search leaves others their turn.
        tokio::task::yield_now().await;
    }
    Ok(page.finish(calls, None))
}

impl Page {
    fn finish(mut self, calls: Calls, next: Option<Position>) -> Self {
        if calls.any {
            self.events.sort_by_key(|found| std::cmp::Reverse(found.stored().map(|stored| stored.position)));
        }
        self.next = next;
        self
    }
}

/// How many events of calls are remembered that did not match yet.
const MAX_WAITING: usize = 20_000;

/// Calls of which something matched, and events that wait for that.
#[derive(Default)]
struct Calls {
    matched: HashSet<String>,
    waiting: std::collections::HashMap<String, Vec<Found>>,
    waiting_count: usize,
    any: bool,
}

impl Calls {
    fn take(&mut self, stored: &Stored<'_>, matches: bool, found: Found, events: &mut Vec<Found>) {
        let Some(call) = call_of(stored) else {
            events.extend(matches.then_some(found));
            return;
        };
        if matches && self.matched.insert(call.clone()) {
            let waited = self.waiting.remove(&call).unwrap_or_default();
            self.any |= !waited.is_empty();
            events.extend(waited);
        }
        if self.matched.contains(&call) {
            events.push(found);
        } else if self.waiting_count < MAX_WAITING {
            self.waiting_count = self.waiting_count.saturating_add(1);
            self.waiting.entry(call).or_default().push(found);
        }
    }
}

/// Gives the call that an event is about.
pub(super) fn call_of(stored: &Stored<'_>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Fields {
        call_id: Option<Value>,
    }
    let fields: Fields = serde_json::from_str(stored.event).ok()?;
    fields.call_id?.as_str().map(str::to_owned)
}
