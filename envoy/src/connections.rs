//! The client connections of a worker, as far as the connection filter looks after them.
//!
//! No call of the proxy lets an HTTP filter end a response that has begun: it can drain the provider's stream, or break both
//! off. A network filter of the same module can, because it sees what is written to the client: it puts the end of a chunked
//! response behind its last bytes, and closes the connection, which makes the proxy cancel the provider's stream.
//!
//! ```text
//! Idle ──governed stream begins──► HeadDue ──its head, chunked──► Open ──its last bytes are due──► EndDue ──written──► Ended
//!   ▲                                 │
//!   └──────── any other head ─────────┘
//! ```

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::host;

/// Most connections of a worker that are looked after; responses of others are drained.
const MAX_CONNECTIONS: usize = 65_536;

thread_local! {
    /// By the proxy's ids. A module has one thread in each worker, and connections stay with theirs.
    static CONNECTIONS: RefCell<HashMap<u64, Rc<Connection>>> = RefCell::default();
}

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
pub(crate) struct Connection(Cell<Stage>);

impl Connection {
    /// How far the response on it is.
    pub(crate) const fn stage(&self) -> Stage {
        self.0.get()
    }

    /// Notes how far it is now.
    pub(crate) fn set_stage(&self, stage: Stage) {
        self.0.set(stage);
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
        let connection = Rc::new(Connection(Cell::new(Stage::Idle)));
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
