//! A proxy-wasm host that runs the built `weir.wasm` in an interpreter and plays Envoy 1.40: its phases, its buffers and
//! their limit, its way of pausing and resuming, and its traps. What brings Envoy down ends a test with a panic that
//! says "Envoy would crash"; what the SDK would panic on does so in the module.
//!
//! ```text
//! let mut host = Host::new(&document).knob(true).buffer_limit(1 << 20).start();
//! let exchange = host.request("/v1/chat/completions", &body);
//! host.provider_answers(exchange, 200, "text/event-stream");
//! host.provider_sends(exchange, chunk);
//! host.judge_answers(verdict);
//! assert_eq!(host.client(exchange).body, …);
//! ```

mod abi;
mod host;
mod module;
pub mod player;
mod proxy;
pub mod scene;

pub use host::{Host, HostBuilder};
pub use module::{Module, Plugin};
pub use proxy::{Callout, Client, SharedData, Upstream};

/// Headers as the proxy keeps them.
pub type Headers = Vec<(String, Vec<u8>)>;
