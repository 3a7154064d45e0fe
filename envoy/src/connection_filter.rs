//! The connection filter: the module as a network filter in front of the HTTP connection manager (see [`crate::connections`]).

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::Action;
use serde_json::{Value, json};

use crate::connections::{self, Connection, Stage};
use crate::host;
use crate::http2::{StreamEnd, Written};

/// How soon what was ended is closed, a connection over HTTP/1.1, a stream over HTTP/2. Not in the callback in which the end is
/// written: it would be lost.
const CLOSES_AFTER: Duration = Duration::from_millis(10);

/// What ends a response that comes in chunks.
const END_OF_CHUNKS: &[u8] = b"0\r\n\r\n";

/// Tells the client that no other request is answered on the connection: one that came while it is closed would be lost.
const CLOSE: &[u8] = b"connection: close\r\n";

/// Longest head of a response that is looked at.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Whether a plugin with this configuration, `{"connection_filter": {}}`, is the connection filter.
pub(crate) fn is_configured(json: &[u8]) -> bool {
    serde_json::from_slice::<Value>(json).is_ok_and(|configuration| configuration == json!({"connection_filter": {}}))
}

/// What is to be closed.
#[derive(Debug)]
pub(crate) enum Ended {
    /// A connection.
    Connection(u32),
    /// A stream, whose connection goes on.
    Stream(Rc<StreamEnd>),
}

/// All that is to be closed.
pub(crate) type Closing = Rc<RefCell<Vec<Ended>>>;

/// Closes what is to be closed. In a tick of the root `root`.
pub(crate) fn close(closing: &Closing, root: u32) {
    let ended = closing.try_borrow_mut().map(|mut closing| core::mem::take(&mut *closing)).unwrap_or_default();
    for each in ended {
        match each {
            Ended::Connection(context_id) if host::act_for(context_id) => host::close_connection(),
            // The provider may have ended it: then its context can still be acted for, and there is nothing to act on.
            Ended::Stream(end) if !end.is_gone() && host::act_for(end.context_id) => host::reset_stream(),
            Ended::Connection(_) | Ended::Stream(_) => {}
        }
    }
    host::act_for(root);
    host::tick_never();
}

/// A connection as the SDK sees it.
pub(crate) struct ConnectionContext {
    context_id: u32,
    connection: Option<(u64, Rc<Connection>)>,
    closing: Closing,
}

impl ConnectionContext {
    pub(crate) const fn new(context_id: u32, closing: Closing) -> Self {
        Self { context_id, connection: None, closing }
    }

    fn close_soon(&self, ended: impl IntoIterator<Item = Ended>) {
        if let Ok(mut closing) = self.closing.try_borrow_mut() {
            closing.extend(ended);
        }
        host::tick_every(CLOSES_AFTER);
    }

    /// Ends streams over HTTP/2.
    fn end_streams(&self, connection: &Connection, size: usize) {
        let Written::Changed { bytes, ended } = connection.end_streams(&host::written(size)) else { return };
        host::replace_written(size, &bytes);
        if !ended.is_empty() {
            self.close_soon(ended.into_iter().map(Ended::Stream));
        }
    }
}

impl Drop for ConnectionContext {
    fn drop(&mut self) {
        if let Some((id, _)) = &self.connection {
            connections::remove(*id);
        }
    }
}

impl Context for ConnectionContext {}

impl StreamContext for ConnectionContext {
    fn on_new_connection(&mut self) -> Action {
        self.connection = connections::add();
        Action::Continue
    }

    /// What the proxy writes to the client.
    fn on_upstream_data(&mut self, size: usize, _: bool) -> Action {
        let Some((_, connection)) = &self.connection else { return Action::Continue };
        if connection.awaits_ends() {
            self.end_streams(connection, size);
            return Action::Continue;
        }
        match connection.stage() {
            Stage::Idle | Stage::Open => {}
            // The provider may end before the connection is closed: the client has its end.
            Stage::Ended => host::replace_written(size, &[]),
            Stage::HeadDue => {
                let written = host::written(size);
                connection.set_stage(match Head::of(&written) {
                    Head::Interim => Stage::HeadDue,
                    Head::Chunked { first_line } => {
                        let (line, rest) = written.split_at_checked(first_line).unwrap_or((&written, &[]));
                        host::replace_written(size, &[line, CLOSE, rest].concat());
                        Stage::Open
                    }
                    Head::Other => Stage::Idle,
                });
            }
            Stage::EndDue => {
                host::append_to_written(size, END_OF_CHUNKS);
                connection.set_stage(Stage::Ended);
                self.close_soon([Ended::Connection(self.context_id)]);
            }
        }
        Action::Continue
    }
}

/// The head of a response, as it is written to the client.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// Another follows it (1xx).
    Interim,
    /// Of a response that ends with an empty chunk; how long its first line is.
    Chunked { first_line: usize },
    /// Of one that cannot be ended: of another version of HTTP, with a length, encoded.
    Other,
}

impl Head {
    fn of(written: &[u8]) -> Self {
        let looked_at = written.get(..MAX_HEAD_BYTES).unwrap_or(written);
        let Some(end) = memchr::memmem::find(looked_at, b"\r\n\r\n") else { return Self::Other };
        let head = looked_at.get(..end).unwrap_or_default();
        if !head.starts_with(b"HTTP/1.1 ") {
            return Self::Other;
        }
        if head.starts_with(b"HTTP/1.1 1") {
            return Self::Interim;
        }
        let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let first_line = lines.next().map_or(0, |line| line.len().saturating_add(2));
        let has = |name: &[u8], value: &[u8]| {
            lines.clone().any(|line| {
                let (field, content) = line.split_at_checked(name.len()).unwrap_or_default();
                let content = content.strip_prefix(b":").map(<[u8]>::trim_ascii);
                field.eq_ignore_ascii_case(name) && content.is_some_and(|content| content.eq_ignore_ascii_case(value))
            })
        };
        let is_encoded =
            lines.clone().any(|line| line.get(..ENCODING.len()).is_some_and(|name| name.eq_ignore_ascii_case(ENCODING)));
        if has(b"transfer-encoding", b"chunked") && !is_encoded { Self::Chunked { first_line } } else { Self::Other }
    }
}

const ENCODING: &[u8] = b"content-encoding:";

#[cfg(test)]
mod tests {
    use super::{Head, is_configured};

    #[test]
    fn the_connection_filter_is_a_plugin_of_its_own() {
        assert!(is_configured(br#"{"connection_filter": {}}"#));
        for other in [&b""[..], b"{}", br#"{"policy":{"id":"p"}}"#, br#"{"connection_filter":{},"policy":{"id":"p"}}"#] {
            assert!(!is_configured(other));
        }
    }

    #[test]
    fn only_responses_in_chunks_can_be_ended() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        assert_eq!(Head::of(head), Head::Chunked { first_line: 17 });
        assert_eq!(Head::of(b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n"), Head::Interim);
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..],
            b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n",
            b"\0\0\x12\x04\0\0\0\0\0\0\x03",
            b"",
        ] {
            assert_eq!(Head::of(other), Head::Other);
        }
    }
}
