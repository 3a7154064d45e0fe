//! What is new, for everyone who watches: one reader of the store, each event serialised once, bounded by bytes.

mod hub;
mod stream;

pub(crate) use hub::Hub;
pub(crate) use stream::get_stream;
