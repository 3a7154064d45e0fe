//! The collector: takes the events of Weir's filters, keeps them in Redis or in memory, and shows them live.
//!
//! ```text
//! filters ──POST /v1/events──▶ ingest ──▶ store (Redis Streams | memory)
//!                                           │
//! browser ◀──page, history, live stream─────┘
//! ```
//!
//! [`app`] is the whole HTTP surface as a value; [`serve`] runs it on a listener until it is told to stop.

mod access;
mod app;
mod event;
mod ingest;
mod live;
mod metrics;
mod serve;
mod store;
mod ui;

pub use access::{Access, InvalidToken, Token};
pub use app::{Collector, app};
pub use event::{Batch, Event, Kind, MAX_BATCH_EVENTS, MAX_EVENT_BYTES, MAX_EVENT_DEPTH, Malformed};
pub use ingest::MAX_BODY_BYTES;
pub use serve::serve;
pub use store::{Appended, InvalidPosition, Limits, MemoryStore, Position, RedisStore, Sender, Store, StoreError, Stored, Tail};
