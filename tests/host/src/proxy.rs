//! The proxy's own state: what the module's calls read and write.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::Headers;

/// Statuses of the ABI.
pub(crate) mod status {
    pub(crate) const OK: i32 = 0;
    pub(crate) const NOT_FOUND: i32 = 1;
    pub(crate) const BAD_ARGUMENT: i32 = 2;
    pub(crate) const CAS_MISMATCH: i32 = 8;
    pub(crate) const INTERNAL_FAILURE: i32 = 10;
}

/// What a client has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The status; 0 as long as no head came.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers came.
    pub trailers: bool,
    /// The response ended properly.
    pub ended: bool,
    /// The response was broken off.
    pub reset: bool,
}

impl Client {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the upstream has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// The head; empty as long as none came.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// The request ended.
    pub ended: bool,
    /// The proxy gave the request up.
    pub cancelled: bool,
}

impl Upstream {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// A callout that the module made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// Its token.
    pub token: u32,
    /// The cluster.
    pub cluster: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The timeout in milliseconds.
    pub timeout: u32,
}

impl Callout {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// Which callouts are refused at once.
pub(crate) struct Refused(pub(crate) Box<dyn Fn(&Callout) -> bool>);

impl std::fmt::Debug for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Refused")
    }
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) headers: Headers,
    /// The head is being handled or held: the module may read and change it.
    pub(crate) head_open: bool,
    /// The head has gone on.
    pub(crate) head_left: bool,
    /// No body callbacks as long as the head is held (the module's knob is off).
    pub(crate) stop_all: bool,
    /// What came while `stop_all`.
    pub(crate) behind_head: Vec<u8>,
    /// The body's buffer: in a callback that was not paused the chunk, else all that came since the pause.
    pub(crate) buffer: Vec<u8>,
    /// The last body callback returned Pause.
    pub(crate) paused: bool,
    /// A body callback runs.
    pub(crate) in_body_callback: bool,
    /// No body came since a pause was ended: an end without bytes that comes now shows the buffer of the pause.
    pub(crate) was_resumed: bool,
    /// The end came: the next release ends the direction.
    pub(crate) ended: bool,
    /// Trailers came and are held or have gone on.
    pub(crate) trailers: bool,
    pub(crate) trailers_held: bool,
}

impl Half {
    pub(crate) const fn body_is_open(&self) -> bool {
        self.in_body_callback || self.paused
    }
}

/// A stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) request: Half,
    pub(crate) response: Half,
    pub(crate) client: Client,
    pub(crate) upstream: Upstream,
    pub(crate) received: u64,
    pub(crate) details: String,
    pub(crate) filter_state: BTreeMap<String, String>,
    /// The local reply passes through the response hooks.
    pub(crate) replied: bool,
    pub(crate) gone: bool,
    pub(crate) logging: bool,
}

/// What waits for the module's call to return.
#[derive(Debug)]
pub(crate) enum Deferred {
    ResumeRequest(u32),
    ResumeResponse(u32),
    Reply { stream: u32, status: u16, headers: Headers, body: Vec<u8> },
    Reset(u32),
}

/// What the workers of a process share. Clones are the same: a worker each.
#[derive(Clone, Debug, Default)]
pub struct SharedData(Rc<RefCell<SharedValues>>);

#[derive(Debug, Default)]
struct SharedValues {
    /// Each value with its version.
    values: BTreeMap<String, (Vec<u8>, u32)>,
    last_version: u32,
    conflicts: u32,
    refused: u32,
}

impl SharedData {
    /// Lets another worker write to the same key before each of the next `times` writes with a version.
    pub fn conflict(&self, times: u32) {
        self.0.borrow_mut().conflicts = times;
    }

    /// How many writes were refused because another worker had written in between.
    pub fn refused(&self) -> u32 {
        self.0.borrow().refused
    }

    /// The bytes of all values together.
    pub fn bytes(&self) -> usize {
        self.0.borrow().values.values().map(|(value, _)| value.len()).sum()
    }

    /// The number of keys.
    pub fn keys(&self) -> usize {
        self.0.borrow().values.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().values.get(key).cloned()
    }

    pub(crate) fn set(&self, key: &str, value: &[u8], version: u32) -> i32 {
        let mut shared = self.0.borrow_mut();
        if version != 0 && shared.conflicts > 0 {
            shared.conflicts -= 1;
            shared.last_version += 1;
            let last = shared.last_version;
            if let Some((_, known)) = shared.values.get_mut(key) {
                *known = last;
            }
        }
        if version != 0 && shared.values.get(key).is_some_and(|(_, known)| *known != version) {
            shared.refused += 1;
            return status::CAS_MISMATCH;
        }
        shared.last_version += 1;
        let last = shared.last_version;
        shared.values.insert(key.to_owned(), (value.to_vec(), last));
        status::OK
    }
}

/// The reply that a callback is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// The state that all calls of the module work on.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) now_ns: u64,
    pub(crate) configuration: Vec<u8>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) buffer_limit: usize,
    pub(crate) unreachable: BTreeSet<String>,
    pub(crate) refused: Refused,
    pub(crate) tick_period: u32,
    pub(crate) effective: u32,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) roots: BTreeSet<u32>,
    pub(crate) callouts: VecDeque<Callout>,
    pub(crate) refused_callouts: Vec<Callout>,
    pub(crate) next_token: u32,
    pub(crate) reply: Option<Reply>,
    pub(crate) deferred: Vec<Deferred>,
    pub(crate) shared_data: SharedData,
    /// Of every stream, by their paths with zeros between.
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) metrics: Vec<(String, u64)>,
    pub(crate) logs: Vec<(i32, String)>,
    pub(crate) done: BTreeSet<u32>,
    /// Why Envoy would have come down.
    pub(crate) crash: Option<String>,
    pub(crate) random: u64,
}

impl Proxy {
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.effective).filter(|stream| !stream.gone)
    }

    pub(crate) fn crash(&mut self, why: &str) {
        self.crash.get_or_insert_with(|| why.to_owned());
    }

    /// The header map of that kind, as far as it may be touched now.
    pub(crate) fn headers(&mut self, kind: i32, write: bool) -> Option<&mut Headers> {
        match kind {
            0 | 2 => {
                let stream = self.stream()?;
                let logging = stream.logging && !write;
                let half = if kind == 0 { &mut stream.request } else { &mut stream.response };
                (half.head_open || logging).then_some(&mut half.headers)
            }
            6 => self.reply.as_mut().map(|reply| &mut reply.headers),
            _ => None,
        }
    }

    /// The bytes of a buffer, as far as they may be read now.
    pub(crate) fn buffer(&mut self, kind: i32) -> Option<&[u8]> {
        match kind {
            0 | 1 => {
                let stream = self.stream()?;
                let half = if kind == 0 { &stream.request } else { &stream.response };
                half.body_is_open().then_some(half.buffer.as_slice())
            }
            4 => self.reply.as_ref().map(|reply| reply.body.as_slice()),
            7 => Some(&self.configuration),
            _ => None,
        }
    }

    /// Replaces part of a body, as far as that may be done now.
    pub(crate) fn set_buffer(&mut self, kind: i32, start: usize, size: usize, value: &[u8]) -> i32 {
        let limit = self.buffer_limit;
        let Some(stream) = self.stream() else { return status::BAD_ARGUMENT };
        let half = match kind {
            0 => &mut stream.request,
            1 => &mut stream.response,
            _ => return status::BAD_ARGUMENT,
        };
        if !half.body_is_open() {
            return status::BAD_ARGUMENT;
        }
        let length = half.buffer.len();
        if start == 0 {
            half.buffer.splice(..size.min(length), value.iter().copied());
        } else if start >= length {
            half.buffer.extend_from_slice(value);
        } else {
            return status::BAD_ARGUMENT;
        }
        if half.paused && half.buffer.len() > limit {
            let (now, phase) =
                (half.buffer.len(), if half.in_body_callback { "a paused body callback" } else { "a callout or tick" });
            self.crash(&format!("a body was set to {now} bytes in {phase}, with a limit of {limit}"));
        }
        status::OK
    }
}

/// The first value of a header.
pub(crate) fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
}
