//! A store in memory: bounded, and the same whether it stands in a worker, in a bucket that a proxy shares, or in a test.

use hashbrown::HashMap;

use super::entry::{Change, Entry, apply};
use super::{Operation, StateError, Stored};
use crate::time::Timestamp;

/// What an entry takes besides its key and value, about.
const ENTRY_BYTES: usize = 48;

/// How much a table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Most keys.
    pub keys: usize,
    /// Most bytes, of keys and values together.
    pub bytes: usize,
}

impl Default for TableLimits {
    /// 65,536 keys in 16 MiB.
    fn default() -> Self {
        Self { keys: 65_536, bytes: 16 * 1024 * 1024 }
    }
}

/// Keys and what stands under them. What has expired makes room once room is needed.
#[derive(Clone, Debug, Default)]
pub struct Table {
    limits: TableLimits,
    entries: HashMap<String, Entry>,
    bytes: usize,
    /// Nothing expires before this.
    earliest: Timestamp,
    has_changed: bool,
}

impl Table {
    /// Makes an empty one with these bounds.
    pub fn new(limits: TableLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Carries out an operation on what stands under `key`.
    ///
    /// # Errors
    /// [`StateError::Full`] when there is no room, [`StateError::OtherKind`] when something else stands there.
    pub fn carry_out(&mut self, key: &str, operation: &Operation, now: Timestamp) -> Result<Stored, StateError> {
        let known = self.entries.get(key).filter(|entry| entry.expires() > now);
        let (change, stored) = apply(known, operation, now)?;
        match change {
            Change::Keep => {}
            Change::Remove => self.remove(key),
            Change::Set(entry) => self.set(key, entry, now)?,
        }
        Ok(stored)
    }

    /// Counts its bytes, about.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any operation has changed it, since it was made or read.
    pub const fn has_changed(&self) -> bool {
        self.has_changed
    }

    fn set(&mut self, key: &str, entry: Entry, now: Timestamp) -> Result<(), StateError> {
        let known = self.entries.get(key).map_or(0, |known| cost(key, known));
        let added = cost(key, &entry);
        let fits = |table: &Self| {
            let keys = table.entries.len().saturating_add(usize::from(known == 0));
            let bytes = table.bytes.saturating_sub(known).saturating_add(added);
            keys <= table.limits.keys && bytes <= table.limits.bytes
        };
        if !fits(self) && self.earliest <= now {
            self.forget_expired(key, now);
        }
        if !fits(self) {
            return Err(StateError::Full);
        }
        self.earliest = if self.entries.is_empty() { entry.expires() } else { self.earliest.min(entry.expires()) };
        self.bytes = self.bytes.saturating_sub(known).saturating_add(added);
        self.entries.insert(key.to_owned(), entry);
        self.has_changed = true;
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(cost(key, &entry));
            self.has_changed = true;
        }
    }

    /// Forgets what has expired, but for `except`, which is about to be set anew.
    fn forget_expired(&mut self, except: &str, now: Timestamp) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let stays = entry.expires() > now || key == except;
            if !stays {
                *bytes = bytes.saturating_sub(cost(key, entry));
            }
            stays
        });
        self.earliest = self.entries.values().map(Entry::expires).min().unwrap_or_default();
    }

    /// Writes what has not expired as bytes, for [`Self::read`].
    pub fn write(&self, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes);
        for (key, entry) in self.entries.iter().filter(|(_, entry)| entry.expires() > now) {
            let (kind, expires) = match entry {
                Entry::Counter { expires, .. } => (0, expires),
                Entry::Value { expires, .. } => (1, expires),
            };
            out.push(kind);
            out.extend_from_slice(&expires.as_unix_micros().to_le_bytes());
            write_bytes(key.as_bytes(), &mut out);
            match entry {
                Entry::Counter { value, .. } => out.extend_from_slice(&value.to_le_bytes()),
                Entry::Value { bytes, .. } => write_bytes(bytes, &mut out),
            }
        }
        out
    }

    /// Reads what [`Self::write`] wrote; `None` when it is something else.
    pub fn read(limits: TableLimits, mut bytes: &[u8]) -> Option<Self> {
        let mut table = Self::new(limits);
        while let Some((kind, rest)) = bytes.split_first() {
            bytes = rest;
            let expires = Timestamp::from_unix_micros(read_number(&mut bytes)?);
            let key = core::str::from_utf8(read_bytes(&mut bytes)?).ok()?.to_owned();
            let entry = match kind {
                0 => Entry::Counter { value: read_number(&mut bytes)?, expires },
                1 => Entry::Value { bytes: read_bytes(&mut bytes)?.to_vec(), expires },
                _ => return None,
            };
            table.bytes = table.bytes.saturating_add(cost(&key, &entry));
            table.earliest = if table.entries.is_empty() { expires } else { table.earliest.min(expires) };
            table.entries.insert(key, entry);
        }
        Some(table)
    }
}

/// The bytes that an entry takes.
const fn cost(key: &str, entry: &Entry) -> usize {
    key.len().saturating_add(entry.bytes()).saturating_add(ENTRY_BYTES)
}

/// Writes bytes with their number before them. No key and no value has as many as do not fit into it.
fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn read_bytes<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (read, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(read)
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::state::Counter;

    const LIMITS: TableLimits = TableLimits { keys: 2, bytes: 400 };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(Duration::from_secs(seconds))
    }

    fn put(value: &str, seconds: u64) -> Operation {
        Operation::Put { value: value.as_bytes().to_vec(), time_to_live: Duration::from_secs(seconds), only_if_absent: false }
    }

    fn get(table: &mut Table, key: &str, now: Timestamp) -> Option<String> {
        match table.carry_out(key, &Operation::Get, now).unwrap() {
            Stored::Value(value) => value.map(|bytes| String::from_utf8(bytes).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_is_there_for_its_time_and_no_longer() {
        let mut table = Table::new(LIMITS);
        assert_eq!(table.carry_out("a", &put("1", 10), at(0)), Ok(Stored::Value(None)));
        assert_eq!(get(&mut table, "a", at(9)), Some("1".to_owned()));
        assert_eq!(get(&mut table, "a", at(10)), None);
        let absent = Operation::Put { value: b"2".to_vec(), time_to_live: Duration::from_secs(5), only_if_absent: true };
        assert_eq!(table.carry_out("a", &absent, at(9)), Ok(Stored::Value(Some(b"1".to_vec()))));
        assert_eq!(get(&mut table, "a", at(9)), Some("1".to_owned()), "the one that was there stays");
        assert_eq!(table.carry_out("a", &absent, at(11)), Ok(Stored::Value(None)));
        assert_eq!(get(&mut table, "a", at(12)), Some("2".to_owned()));
        assert_eq!(table.carry_out("a", &Operation::Remove, at(12)), Ok(Stored::Value(Some(b"2".to_vec()))));
        assert_eq!(table.bytes(), 0);
    }

    #[test]
    fn a_full_table_takes_nothing_new_until_something_has_expired() {
        let mut table = Table::new(LIMITS);
        for key in ["a", "b"] {
            assert!(table.carry_out(key, &put("1", 10), at(0)).is_ok());
        }
        assert_eq!(table.carry_out("c", &put("1", 10), at(1)), Err(StateError::Full), "too many keys");
        assert_eq!(table.carry_out("a", &put(&"1".repeat(310), 20), at(1)), Err(StateError::Full), "too many bytes");
        assert!(table.carry_out("a", &put("2", 20), at(1)).is_ok(), "what is there may change");
        assert!(table.carry_out("c", &put("1", 10), at(10)).is_ok(), "b has expired");
        assert_eq!(get(&mut table, "a", at(10)), Some("2".to_owned()));
        assert_eq!(table.carry_out("d", &put("1", 10), at(10)), Err(StateError::Full));
    }

    #[test]
    fn a_table_is_the_same_once_it_was_written_and_read() {
        let mut table = Table::new(LIMITS);
        let add = Operation::Add { by: 7, limit: None, window: Duration::from_secs(60) };
        assert!(table.carry_out("count", &add, at(1)).is_ok());
        assert!(table.carry_out("välue", &put("ü", 10), at(1)).is_ok());
        let written = table.write(at(2));
        let mut read = Table::read(LIMITS, &written).unwrap();
        assert_eq!(read.bytes(), table.bytes());
        assert!(!read.has_changed());
        assert_eq!(get(&mut read, "välue", at(2)), Some("ü".to_owned()));
        let counter = Counter { value: 14, is_added: true, resets_at: at(60) };
        assert_eq!(read.carry_out("count", &add, at(2)), Ok(Stored::Counter(counter)));
        assert!(Table::read(LIMITS, &table.write(at(100))).unwrap().entries.is_empty(), "what has expired is not written");
        for length in 1..written.len() {
            // Cut anywhere it is either not read or is one of the entries.
            assert!(Table::read(LIMITS, &written[..length]).is_none_or(|table| table.entries.len() == 1));
        }
        assert!(Table::read(LIMITS, b"something else").is_none());
    }
}
