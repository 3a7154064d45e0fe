//! What Wasm itself costs per chunk: the yardstick that Weir is measured against.
//!
//! The configuration string chooses: `read` copies every chunk of a response into the module and looks no further,
//! `noop` takes the callback and leaves the chunk with the host. Anything else is refused when the module is loaded.
#![allow(missing_docs, reason = "proxy_wasm::main! exports a function without documentation")]

use std::hint::black_box;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { work: Work::Noop }));
}}

#[derive(Clone, Copy)]
enum Work {
    Noop,
    Read,
}

struct Root {
    work: Work,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.work = match self.get_plugin_configuration().as_deref() {
            Some(b"noop") => Work::Noop,
            Some(b"read") => Work::Read,
            _ => {
                // Nothing can be done about a host that does not take a log line.
                let _ = hostcalls::log(LogLevel::Error, "the configuration must be the string noop or read");
                return false;
            }
        };
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { work: self.work }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    work: Work,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        if matches!(self.work, Work::Read) {
            // Without black_box the compiler may drop the copy that is being measured.
            let _ = black_box(hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size));
        }
        Action::Continue
    }
}
