//! The collector: takes the events of Weir's filters, keeps them, and shows them.
//!
//! ```text
//! filters ──POST /v1/events──▶ ingest ──▶ store (Redis, one or many | disk | memory)
//!                                           │
//! page, weir tail, weir export ◀──api, live─┘
//! ```
//!
//! [`app`] is the whole HTTP surface as a value; [`serve`] runs it on a listener until it is told to stop.

mod access;
mod api;
mod app;
mod event;
mod health;
mod ingest;
mod live;
mod log;
mod metrics;
mod query;
mod serve;
mod store;
mod ui;

pub use access::{Access, InvalidToken, Role, Roles, Tokens, new_token};
pub use app::{Collector, app};
pub use event::{Batch, Event, Kind, MAX_BATCH_EVENTS, MAX_EVENT_BYTES, MAX_EVENT_DEPTH, Malformed};
pub use ingest::MAX_BODY_BYTES;
pub use query::{FIELDS, InvalidQuery, Query};
pub use serve::{ConnectionLimits, serve};
pub use store::{
    Appended, Cursor, Deployment, Entry, EntryId, InvalidPosition, Limits, LocalStore, Position, RedisOptions, RedisStore, Scan,
    Sender, Store, StoreError, Stored,
};
