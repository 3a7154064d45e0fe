//! The client connections of a worker, as far as the connection filter looks after them.
//!
//! No call of the proxy lets an HTTP filter end a response that has begun: it can drain the provider's stream, or break both
//! off. A network filter of the same module can, because it sees what is written to the client: it puts the end of a chunked
//! response behind its last bytes, and closes the connection, which makes the proxy cancel the provider's stream.
//!
//! Over HTTP/1.1 a connection has one response at a time:
//!
//! ```text
//! Idle ──governed stream begins──► HeadDue ──its head, chunked──► Open ──its last bytes are due──► EndDue ──written──► Ended
//!   ▲                                 │
//!   └──────── any other head ─────────┘
//! ```
//! Over HTTP/2 it has many, whose ends are told apart by their marks ([`crate::http2`]); the connection stays.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::host;
use crate::http2::{self, StreamEnd, Written};

/// Most connections of a worker that are looked after; responses of others are drained.
const MAX_CONNECTIONS: usize = 65_536;

thread_local! {
    /// By the proxy's ids. A module has one thread in each worker, and connections stay with theirs.
    static CONNECTIONS: RefCell<HashMap<u64, Rc<Connection>>> = RefCell::default();
}

/// Most ends of a connection over HTTP/2 that are awaited at a time; further streams are drained.
const MAX_ENDS: usize = 128;

/// How far the response on a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// None that may be ended is under way.
    Idle,
    /// What is written next begins with the head of one that may be.
    HeadDue,
    /// Its end can be written.
    Open,
    /// What is written next is the last of it.
    EndDue,
    /// Its end was written; the connection is to be closed.
    Ended,
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Over HTTP/1.1.
    stage: Cell<Stage>,
    /// Over HTTP/2: the ends of streams that are due, or behind which the proxy may write something still.
    ends: RefCell<Vec<Rc<StreamEnd>>>,
    /// Over HTTP/2: what is written is not of whole frames.
    is_unreadable: Cell<bool>,
}

impl Connection {
    /// How far the response on it is.
    pub(crate) const fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Notes how far it is now.
    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.set(stage);
    }

    /// Ends the stream of that context behind its last bytes, over HTTP/2; they are to end with the mark. `None` where that
    /// cannot be done.
    pub(crate) fn end_stream(&self, context_id: u32) -> Option<Rc<StreamEnd>> {
        let mut ends = self.ends.try_borrow_mut().ok()?;
        ends.retain(StreamEnd::is_open);
        if self.is_unreadable.get() || ends.len() >= MAX_ENDS {
            return None;
        }
        let end = Rc::new(StreamEnd::new(context_id)?);
        ends.push(Rc::clone(&end));
        Some(end)
    }

    /// Whether ends of streams are awaited.
    pub(crate) fn awaits_ends(&self) -> bool {
        self.ends.try_borrow().is_ok_and(|ends| !ends.is_empty())
    }

    /// Puts the ends of streams into what is written over HTTP/2.
    pub(crate) fn end_streams(&self, written: &[u8]) -> Written {
        let Ok(mut ends) = self.ends.try_borrow_mut() else { return Written::Unreadable };
        let ended = http2::end_streams(written, &ends);
        if ended == Written::Unreadable {
            // What comes next need not begin with a frame.
            self.is_unreadable.set(true);
            ends.clear();
        } else {
            ends.retain(StreamEnd::is_open);
        }
        ended
    }
}

/// The connection of the stream or connection whose callback runs.
pub(crate) fn current() -> Option<Rc<Connection>> {
    let id = host::connection_id()?;
    CONNECTIONS.try_with(|connections| connections.try_borrow().ok()?.get(&id).cloned()).ok()?
}

/// Looks after the connection whose callback runs, where there is room for it.
pub(crate) fn add() -> Option<(u64, Rc<Connection>)> {
    let id = host::connection_id()?;
    let added = CONNECTIONS.try_with(|connections| {
        let mut connections = connections.try_borrow_mut().ok().filter(|connections| connections.len() < MAX_CONNECTIONS)?;
        let connection =
            Rc::new(Connection { stage: Cell::new(Stage::Idle), ends: RefCell::default(), is_unreadable: Cell::new(false) });
        connections.insert(id, Rc::clone(&connection));
        Some((id, connection))
    });
    added.ok()?
}

/// Forgets a connection.
pub(crate) fn remove(id: u64) {
    // Where it cannot be reached the worker comes to its end.
    let _ = CONNECTIONS.try_with(|connections| connections.try_borrow_mut().map(|mut connections| connections.remove(&id)));
}
