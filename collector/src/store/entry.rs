//! What a store keeps: the events that came together, in one entry.

use std::fmt::Write as _;
use std::sync::Arc;

use super::position::{EntryId, Position};

/// Events of one sender with consecutive numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The shard where it stands.
    pub shard: u16,
    /// Its place there.
    pub id: EntryId,
    /// When it arrived, in milliseconds since 1970.
    pub received_ms: u64,
    /// Who sent it.
    pub sender: Arc<str>,
    /// The number of its first event.
    pub sequence: u64,
    /// Whether something else had been stored under these numbers.
    pub conflict: bool,
    /// The events as they were sent, one a line.
    pub body: String,
}

/// One event of an [`Entry`].
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    entry: &'a Entry,
    /// Its place in the store.
    pub position: Position,
    /// Its number among the events of its sender.
    pub sequence: u64,
    /// The event itself, as it was sent.
    pub event: &'a str,
}

impl Entry {
    /// Gives its events, oldest first.
    pub fn events(&self) -> impl Iterator<Item = Stored<'_>> {
        (0_u32..).zip(self.body.split('\n')).map(|(index, event)| Stored {
            entry: self,
            position: Position { entry: self.id, shard: self.shard, index },
            sequence: self.sequence.saturating_add(u64::from(index)),
            event,
        })
    }

    /// Gives how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.body.len().saturating_add(self.sender.len())
    }
}

impl<'a> Stored<'a> {
    /// Gives the entry that it came with.
    pub fn entry(&self) -> &'a Entry {
        self.entry
    }

    /// Writes it as JSON with the event unchanged; the event is always the last member.
    pub fn write_json(&self, out: &mut String) {
        // Writing to a String cannot fail, and neither can a string become JSON.
        let sender = serde_json::to_string(self.entry.sender.as_ref()).unwrap_or_default();
        let conflict = if self.entry.conflict { r#""conflict":true,"# } else { "" };
        let _ = write!(
            out,
            r#"{{"position":"{}","received_ms":{},"sender":{sender},"sequence":{},{conflict}"event":{}}}"#,
            self.position, self.entry.received_ms, self.sequence, self.event
        );
    }
}
