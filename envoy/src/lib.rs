//! The glue between Weir's engine and Envoy: carries out, through proxy-wasm, what the engine decides.
//!
//! A plugin is a `cdylib` of one line: `weir_envoy::plugin!(weir_policies::registry);`
//!
//! What Envoy allows in which phase is narrower than the ABI suggests, and a wrong call stops every stream of a worker.
//! Therefore all calls go through the module `host`, and the states that allow them are types in `request` and `response`.
#![forbid(unsafe_code)]

mod after_block;
mod caller;
mod callouts;
mod connection_filter;
mod connections;
mod events;
mod handover;
mod host;
mod http2;
mod learned;
mod memory;
mod metrics;
mod plugin;
mod request;
mod response;
mod root;
mod settings;
mod shared_data;
mod stream;
mod telemetry;

use std::sync::OnceLock;

use weir::document::Registry;

#[doc(hidden)]
pub use proxy_wasm;

/// The policies that documents can name; set once, when the module is loaded.
static REGISTRY: OnceLock<fn() -> Registry> = OnceLock::new();

/// Makes a module of these policies: registers the filter with the proxy. Called by [`plugin!`].
pub fn start(registry: fn() -> Registry) {
    // A module is initialised once; should a host do it twice, the policies are the same.
    let _ = REGISTRY.set(registry);
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}

fn registry() -> Registry {
    REGISTRY.get().map_or_else(Registry::default, |registry| registry())
}

/// Defines the entry point of a module whose policies are those of `$registry`, a `fn() -> Registry`.
#[macro_export]
macro_rules! plugin {
    ($registry:expr) => {
        // In a constant, so that the SDK's entry point is no public item of the plugin.
        const _: () = {
            $crate::proxy_wasm::main! {{
                $crate::start($registry);
            }}
        };
    };
}
