//! Reads the history of all shards in one order, newest first.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::position::{EntryId, Position};
use super::{Entry, Store, StoreError};

/// How many entries are read of a shard at a time: they have up to 4 MiB each.
const CHUNK: usize = 16;

/// A reader of entries, newest first, that goes on until nothing is left.
#[derive(Debug)]
pub struct Scan {
    store: Store,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    /// Up to which entry is read next; `None` when nothing is left.
    before: Option<EntryId>,
    entries: VecDeque<Arc<Entry>>,
}

impl Scan {
    /// Starts with the entry of the last event before `before`, or the newest of all.
    pub(super) fn new(store: Store, before: Option<Position>) -> Self {
        let bound = |shard: usize| match before {
            None => EntryId::END,
            // The entry of the position itself may have events before it.
            Some(position) if shard <= usize::from(position.shard) => position.entry,
            Some(position) => position.entry.before(),
        };
        let shards = (0..store.shards()).map(|shard| Shard { before: Some(bound(shard)), entries: VecDeque::new() }).collect();
        Self { store, shards }
    }

    /// Gives the next entry; `None` when nothing is left.
    pub async fn next(&mut self) -> Result<Option<Arc<Entry>>, StoreError> {
        self.fill().await?;
        let newest = self
            .shards
            .iter_mut()
            .filter(|shard| !shard.entries.is_empty())
            .max_by_key(|shard| shard.entries.front().map(|entry| (entry.id, entry.shard)));
        Ok(newest.and_then(|shard| shard.entries.pop_front()))
    }

    /// Reads on in every shard of which nothing is at hand. What no collector wrote is no end of the history.
    async fn fill(&mut self) -> Result<(), StoreError> {
        let store = &self.store;
        let fetches = (0_u16..).zip(&mut self.shards).map(async |(number, shard)| {
            while shard.entries.is_empty()
                && let Some(before) = shard.before
            {
                let fetched = store.fetch_before(number, before, CHUNK).await?;
                shard.before = fetched.last.map(EntryId::before);
                shard.entries.extend(fetched.entries);
            }
            Ok::<_, StoreError>(())
        });
        try_join_all(fetches).await?;
        Ok(())
    }
}
