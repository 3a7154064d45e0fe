//! The request's way through the proxy: held until the engine decides.
//!
//! ```text
//!            ┌─ Passing: not governed, or decided
//! head ──────┤
//!            └─ Held ── body, trailers, a judge's answer or a deadline ──► Passing, or answered
//! ```
//! With `request_hold: body` the head leaves at once and the body waits. With `headers` both wait; the proxy calls back
//! for the body of a held head only if it is configured to. That it is not cannot be known: a filter before this one that
//! buffers looks the same. So a held head is never let go undecided. As long as no callback of this root's own has proven
//! the setting, a request whose body does not come although the proxy has received of it is refused.

use core::time::Duration;
use std::sync::Arc;

use proxy_wasm::types::{Action, BufferType, MapType};
use weir::exchange::{Exchange, RequestHead, RequestProgress, Resumed};
use weir::time::Timestamp;

use crate::caller;
use crate::callouts::Callouts;
use crate::host;
use crate::stream::Stream;

/// A body may always grow to this size: no sensible proxy buffers less.
const ALWAYS_FITS: usize = 64 * 1024;

/// How many times its length a request may have once it was rewritten, or decoded.
const REWRITTEN_FACTOR: usize = 2;
const DECODED_FACTOR: usize = 32;

/// How long the body of a held head may be behind the proxy's having received of it, before the proxy is known to show such
/// bodies at all: as long as a filter before this one may take with it.
const BODY_SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// Headers by which it is decided how a request is read. Only the first value of a header is: of these there must be one.
const DECIDING_HEADERS: &[&str] =
    &["content-type", "content-encoding", "content-length", "mcp-protocol-version", "mcp-method", "mcp-name"];

/// Where the request stands.
#[derive(Debug, Default)]
pub(crate) enum RequestState {
    /// What comes passes.
    #[default]
    Passing,
    /// What comes passes at once, and the engine is shown it.
    Observed,
    /// Nothing of the body leaves.
    Held(Held),
}

/// A request that is held.
#[derive(Debug)]
pub(crate) struct Held {
    head: Head,
    /// How long the body is, as the head says.
    announced: Option<usize>,
    /// A body callback came.
    has_begun: bool,
    /// Bytes of ballast before the body: newlines in place of what it may grow by.
    ballast: usize,
    /// How much the proxy holds, ballast and body. The engine gets it all at once, at the end: until then it would only take up
    /// the memory of a worker, which slow clients together could exhaust.
    size: usize,
}

/// The head of a held request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    /// It has left.
    Left,
    /// It is held, rightly: no body follows, or the body comes.
    Held,
    /// It is held, and it is not known yet whether the proxy will show the body. It had received this many bytes by then;
    /// once it has received more, the body is to come by the deadline.
    OnTrial { received: u64, deadline: Option<Timestamp> },
}

impl RequestState {
    /// Whether the policies have not decided yet.
    pub(crate) const fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// Whether the root's tick must find out if the body comes.
    pub(crate) const fn is_head_held_on_trial(&self) -> bool {
        matches!(self, Self::Held(Held { head: Head::OnTrial { .. }, .. }))
    }
}

impl Stream {
    pub(crate) fn handle_request_headers(&mut self, end: bool) -> Action {
        let header = |name: &str| host::header(MapType::HttpRequestHeaders, name);
        let chain = Arc::clone(&self.chain);
        let user_header = chain.identity.user_header.as_str();
        let [method, path, content_type, content_encoding, content_length, traceparent, policy_user, accept] =
            [":method", ":path", "content-type", "content-encoding", "content-length", "traceparent", user_header, "accept"]
                .map(|name| header(name).unwrap_or_default());
        let [mcp_protocol_version, mcp_method, mcp_name] =
            ["mcp-protocol-version", "mcp-method", "mcp-name"].map(|name| header(name).unwrap_or_default());
        let session = if chain.rollout.is_plain() && !chain.has_policy_rollouts() {
            Vec::new()
        } else {
            header(chain.rollout.session_header()).unwrap_or_default()
        };
        let caller = caller::read();
        let head = RequestHead {
            method: &method,
            path: &path,
            content_type: &content_type,
            content_encoding: &content_encoding,
            content_length: host::parse_number(&content_length),
            traceparent: &traceparent,
            policy_user: &policy_user,
            session: &session,
            accept: &accept,
            mcp_protocol_version: &mcp_protocol_version,
            mcp_method: &mcp_method,
            mcp_name: &mcp_name,
            caller: Some(&caller),
        };
        self.callouts = Callouts::new(&traceparent);
        let progress = self.exchange.handle_request_head(&head, end, host::now());
        match self.settle_request(progress) {
            RequestProgress::Send => {
                if self.exchange.reads_response() {
                    ask_for_plain_response();
                }
                Action::Continue
            }
            RequestProgress::Observe => {
                self.request = RequestState::Observed;
                Action::Continue
            }
            RequestProgress::Hold => match host::repeated_header(MapType::HttpRequestHeaders, DECIDING_HEADERS) {
                Some(name) => {
                    let message = format!("The header {name} comes more than once: readers differ in which they take.");
                    self.plugin.metrics.count("errors", "header_repeated", 1);
                    self.refuse(400, "header_repeated", &message)
                }
                None => self.hold_request(end, head.content_length),
            },
            RequestProgress::Answer(reply) => self.answer(&reply),
            RequestProgress::SendBody(_) => {
                self.answer_failure(500, "request_without_body", "a policy gave a body to a request that has none")
            }
        }
    }

    pub(crate) fn handle_request_body(&mut self, size: usize, end: bool) -> Action {
        if self.over {
            return Action::Pause;
        }
        if let RequestState::Observed = self.request {
            return self.observe_request(size, end);
        }
        let RequestState::Held(held) = &mut self.request else { return Action::Continue };
        if held.head != Head::Left {
            self.plugin.learned.see_body_of_held_head();
            held.head = Head::Held;
        }
        let limit = self.chain.limits.max_request_bytes;
        held.size = size;
        if !core::mem::replace(&mut held.has_begun, true) {
            held.ballast = ballast_for(&self.exchange, held.announced, limit);
            held.size = held.ballast.saturating_add(size);
            if held.ballast > 0 {
                host::replace_body(BufferType::HttpRequestBody, 0, &vec![b'\n'; held.ballast]);
            }
        }
        if !end && held.size.saturating_sub(held.ballast) <= limit {
            return Action::Pause;
        }
        self.read_request()
    }

    /// Trailers end the body where the body's own callbacks did not say so.
    pub(crate) fn handle_request_trailers(&mut self) -> Action {
        if self.over {
            return Action::Pause;
        }
        if let RequestState::Observed = self.request {
            return self.observe_request(0, true);
        }
        if !self.request.is_held() {
            return Action::Continue;
        }
        self.read_request()
    }

    /// Shows the engine what passes.
    fn observe_request(&mut self, size: usize, end: bool) -> Action {
        if !self.has_memory_for(size) {
            self.fail("worker_memory", "the worker's memory is used up: what is observed only is not looked at");
            self.request = RequestState::Passing;
            self.exchange.handle_request_shortage();
            let _nothing_to_resume = self.carry_out_effects(&mut Vec::new());
            return Action::Continue;
        }
        let body = host::body(BufferType::HttpRequestBody, 0, size);
        let _nothing_follows_from_it = self.exchange.handle_request_body(&body, end, host::now());
        let _nothing_to_resume = self.carry_out_effects(&mut Vec::new());
        if end {
            self.request = RequestState::Passing;
        }
        Action::Continue
    }

    /// Feeds the whole body, or as much of it as is too long.
    fn read_request(&mut self) -> Action {
        let RequestState::Held(held) = &self.request else { return Action::Continue };
        let Held { size, ballast, .. } = *held;
        let decoded = if self.exchange.is_request_encoded() { self.chain.limits.max_request_bytes } else { 0 };
        if !self.has_memory_for(size.saturating_sub(ballast).max(decoded)) {
            return self.answer_failure(503, "worker_memory", "The proxy is busy with too many long requests; try again later.");
        }
        let body = host::body(BufferType::HttpRequestBody, ballast, size);
        let progress = self.exchange.handle_request_body(&body, true, host::now());
        self.decide_request(progress)
    }

    /// Goes on with the request outside its own callbacks.
    pub(crate) fn resume_request(&mut self, progress: RequestProgress) {
        if self.decide_request(progress) == Action::Continue {
            host::resume_request();
        }
    }

    /// Refuses a request whose head is held and whose body is not shown, as long as it is not known that it will be.
    pub(crate) fn refuse_head_held_in_vain(&mut self, now: Timestamp) {
        let RequestState::Held(held) = &mut self.request else { return };
        let Head::OnTrial { received, deadline } = &mut held.head else { return };
        if self.plugin.learned.shows_bodies_of_held_heads() {
            held.head = Head::Held;
            return;
        }
        if host::number(RECEIVED_BYTES).is_none_or(|bytes| bytes <= *received) {
            return;
        }
        if now < *deadline.get_or_insert_with(|| now.after(BODY_SHOWN_WITHIN)) {
            return;
        }
        if self.plugin.learned.see_head_held_in_vain() {
            self.plugin.warn(
                "proxy.request_hold_unsupported",
                "envoy.request_hold is \"headers\", but no body of a held head was shown: the plugin lacks \
                 allow_on_headers_stop_iteration: true, or a filter before it holds bodies for long; such requests are refused",
            );
        }
        self.plugin.metrics.count("errors", "request_hold_unsupported", 1);
        let message = "The proxy is set to hold the heads of requests and shows no bodies of held heads.";
        self.refuse(500, "request_hold_unsupported", message);
    }

    fn hold_request(&mut self, end: bool, announced: Option<u64>) -> Action {
        ask_for_plain_response();
        let head = if !end && !self.plugin.holds_heads() {
            Head::Left
        } else if end || self.plugin.learned.shows_bodies_of_held_heads() {
            Head::Held
        } else {
            Head::OnTrial { received: host::number(RECEIVED_BYTES).unwrap_or_default(), deadline: None }
        };
        let announced = announced.and_then(|length| usize::try_from(length).ok());
        self.request = RequestState::Held(Held { head, announced, has_begun: false, ballast: 0, size: 0 });
        if head != Head::Left {
            return Action::Pause;
        }
        self.prepare_head_to_leave();
        Action::Continue
    }

    /// Once the head has left it cannot be corrected.
    fn prepare_head_to_leave(&self) {
        if self.exchange.may_rewrite_request() {
            host::remove_header(MapType::HttpRequestHeaders, "content-length");
            if self.exchange.is_request_encoded() {
                host::remove_header(MapType::HttpRequestHeaders, "content-encoding");
            }
        }
    }

    /// Carries out the effects, which may bring the progress forward.
    fn settle_request(&mut self, progress: RequestProgress) -> RequestProgress {
        match self.carry_out_effects(&mut Vec::new()) {
            Resumed::Request(progress) => progress,
            Resumed::Nothing | Resumed::Response(_) => progress,
        }
    }

    fn decide_request(&mut self, progress: RequestProgress) -> Action {
        match self.settle_request(progress) {
            RequestProgress::Hold => Action::Pause,
            RequestProgress::Answer(reply) => self.answer(&reply),
            RequestProgress::Send | RequestProgress::Observe => {
                if let RequestState::Held(Held { ballast: ballast @ 1.., .. }) = self.request {
                    host::replace_body(BufferType::HttpRequestBody, ballast, &[]);
                }
                self.request = RequestState::Passing;
                Action::Continue
            }
            RequestProgress::SendBody(body) => self.send_body(&body),
        }
    }

    fn send_body(&mut self, body: &[u8]) -> Action {
        let RequestState::Held(held) = &self.request else { return Action::Continue };
        if body.len() > held.size.max(ALWAYS_FITS) {
            return self.answer_failure(
                500,
                "rewritten_request_too_large",
                "a policy made a request longer than the proxy is known to buffer",
            );
        }
        host::replace_body(BufferType::HttpRequestBody, held.size, body);
        if held.head != Head::Left {
            host::set_header(MapType::HttpRequestHeaders, "content-length", &body.len().to_string());
            host::remove_header(MapType::HttpRequestHeaders, "content-encoding");
        }
        self.request = RequestState::Passing;
        Action::Continue
    }
}

/// How much ballast a request gets. A policy may make it longer than what came, and nothing longer may be put into the
/// buffer later than it is known to take; ballast makes Envoy check that in the first callback of the body, where it
/// refuses the request in an orderly way. With its ballast a request is not longer than the longest that is allowed.
fn ballast_for(exchange: &Exchange, announced: Option<usize>, limit: usize) -> usize {
    let factor = if exchange.is_request_encoded() { DECODED_FACTOR } else { REWRITTEN_FACTOR };
    match announced {
        Some(length) if exchange.may_rewrite_request() => {
            let needed = length.saturating_mul(factor).min(limit);
            if needed > ALWAYS_FITS { needed.saturating_sub(length) } else { 0 }
        }
        _ => 0,
    }
}

/// What is compressed cannot be read on its way back.
fn ask_for_plain_response() {
    host::set_header(MapType::HttpRequestHeaders, "accept-encoding", "identity");
}

/// Bytes of the request that the proxy has received, head and body.
const RECEIVED_BYTES: &[&str] = &["request", "total_size"];
