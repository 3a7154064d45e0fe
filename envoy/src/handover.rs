//! What outlives a root context of events that are not delivered: the process's shared data, in a fixed number of places.
//!
//! *Senders* note there, with every event, how far they are. One that has not been heard of for long is gone with its VM, and
//! whoever finds it tells the collector how many events are lost. *Remains* are what a root that goes could not deliver; the next
//! root that looks takes them over.

use core::time::Duration;

use weir::time::Timestamp;

use crate::host;

/// How many senders are noted: one for each worker and configuration.
const SENDERS: usize = 64;

/// How many remains can wait at a time.
const REMAINS: usize = 16;

/// Most bytes of events that are left to others; of more the oldest are dropped and counted.
pub(crate) const MAX_REMAINS_BYTES: usize = 4 * 1024 * 1024;

/// A sender that has not been heard of for so long is gone. Ticks come every 200 ms.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// Says that the places are there.
const READY: &str = "weir.events.ready";

/// Makes the places, unless the process has them. In `on_configure`: to write without a version overwrites what is there, and
/// the main thread configures the plugin before the workers do.
pub(crate) fn prepare() {
    if host::shared_data(READY).0.is_some() {
        return;
    }
    for name in (0..SENDERS).map(sender_name).chain((0..REMAINS).map(remains_name)) {
        if host::shared_data(&name).1.is_none() {
            let _ = host::set_shared_data(&name, &[], None);
        }
    }
    let _ = host::set_shared_data(READY, b"1", None);
}

/// How far a sender is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) sender: String,
    /// The number that its next event gets.
    pub(crate) next: u64,
    /// How many of them are neither delivered nor dropped.
    pub(crate) undelivered: u64,
    pub(crate) dropped: u64,
}

impl Progress {
    fn write(&self, now: Timestamp) -> String {
        format!("{} {} {} {} {}", self.sender, self.next, self.undelivered, self.dropped, now.as_unix_millis())
    }

    fn read(bytes: &[u8]) -> Option<(Self, Timestamp)> {
        let mut fields = core::str::from_utf8(bytes).ok()?.split(' ');
        let sender = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse::<u64>().ok();
        let progress = Self { sender, next: number()?, undelivered: number()?, dropped: number()? };
        Some((progress, Timestamp::from_unix_micros(number()?.saturating_mul(1000))))
    }
}

/// The place at which a sender notes how far it is.
#[derive(Debug)]
pub(crate) struct Note(String);

impl Note {
    /// Takes a free place; `None` where there is none.
    pub(crate) fn take(progress: &Progress, now: Timestamp) -> Option<Self> {
        let own = progress.write(now);
        (0..SENDERS).map(sender_name).find(|name| claim(name, own.as_bytes(), <[u8]>::is_empty).is_some()).map(Self)
    }

    /// Notes how far the sender is.
    pub(crate) fn write(&self, progress: &Progress, now: Timestamp) {
        // Without a version: the place is this sender's alone, and if it was taken for gone, it is not.
        let _ = host::set_shared_data(&self.0, progress.write(now).as_bytes(), None);
    }

    /// Gives the place back.
    pub(crate) fn clear(self) {
        let _ = host::set_shared_data(&self.0, &[], None);
    }
}

/// Takes note of senders that are gone and had events that nobody will deliver.
pub(crate) fn take_lost(now: Timestamp) -> Vec<Progress> {
    let is_gone = |bytes: &[u8]| Progress::read(bytes).is_some_and(|(_, heard)| now.since(heard) > SILENT_FOR);
    let gone = (0..SENDERS).map(sender_name).filter_map(|name| claim(&name, &[], is_gone));
    gone.filter_map(|bytes| Progress::read(&bytes)).map(|(progress, _)| progress).filter(|lost| lost.undelivered > 0).collect()
}

/// What a root could not deliver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) sender: String,
    /// The number of the first event.
    pub(crate) first: u64,
    pub(crate) dropped: u64,
    pub(crate) events: Vec<Vec<u8>>,
}

impl Remains {
    /// Leaves them to whoever looks next. Whether there was a place.
    pub(crate) fn leave(&self) -> bool {
        let mut bytes = format!("{} {} {}\n", self.sender, self.first, self.dropped).into_bytes();
        for event in &self.events {
            bytes.extend_from_slice(event);
            bytes.push(b'\n');
        }
        (0..REMAINS).any(|index| claim(&remains_name(index), &bytes, <[u8]>::is_empty).is_some())
    }

    /// Takes what another root has left.
    pub(crate) fn take() -> Option<Self> {
        let bytes = (0..REMAINS).find_map(|index| claim(&remains_name(index), &[], |bytes| !bytes.is_empty()))?;
        // Events are JSON as it is written here: no line end stands within one.
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let mut head = core::str::from_utf8(lines.next()?).ok()?.split(' ');
        let sender = head.next()?.to_owned();
        let mut number = || head.next()?.parse::<u64>().ok();
        let (first, dropped) = (number()?, number()?);
        let events = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        Some(Self { sender, first, dropped, events })
    }
}

/// Puts `value` where what stands there is as is wanted, unless somebody else was faster; what stood there.
fn claim(name: &str, value: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let (bytes, version) = host::shared_data(name);
    let bytes = bytes.unwrap_or_default();
    if !is_wanted(&bytes) {
        return None;
    }
    host::set_shared_data(name, value, Some(version?)).ok()?;
    Some(bytes)
}

fn sender_name(index: usize) -> String {
    format!("weir.events.sender.{index}")
}

fn remains_name(index: usize) -> String {
    format!("weir.events.remains.{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_as_it_was_written() {
        let progress = Progress { sender: "s".to_owned(), next: 7, undelivered: 3, dropped: 1 };
        let now = Timestamp::from_unix_micros(5_000);
        assert_eq!(Progress::read(progress.write(now).as_bytes()), Some((progress, now)));
        assert_eq!(Progress::read(b""), None);
    }
}
