//! The stream context: one for each exchange.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};
use weir::callout::MAX_REPLY_BYTES;
use weir::chain::Chain;
use weir::decision::Decision;
use weir::dialect::reply::{self, Reply};
use weir::exchange::{CalloutReply, EndReason, Exchange, Resumed};
use weir::id::CallId;
use weir::time::Timestamp;

use crate::after_block::Ending;
use crate::callouts::Callouts;
use crate::host;
use crate::learned::Place;
use crate::memory::{self, Kept};
use crate::plugin::Plugin;
use crate::request::RequestState;
use crate::response::ResponseState;

/// An exchange and where it stands with the proxy. The hooks for the request are in [`crate::request`], those for the
/// response in [`crate::response`].
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) plugin: Rc<Plugin>,
    /// The chain of its project.
    pub(crate) chain: Arc<Chain>,
    pub(crate) context_id: u32,
    pub(crate) exchange: Exchange,
    pub(crate) callouts: Callouts,
    pub(crate) request: RequestState,
    pub(crate) response: ResponseState,
    pub(crate) ending: Ending,
    /// Weir answered it or broke it off: nothing of it may be touched any more.
    pub(crate) over: bool,
    /// Weir broke it off.
    pub(crate) broken_off: bool,
    /// The root's tick looks after it.
    is_looked_after: bool,
    pub(crate) kept: Kept,
}

impl Stream {
    fn new(plugin: Rc<Plugin>, context_id: u32, now: Timestamp) -> Self {
        let call_id = CallId::random().unwrap_or_else(|_| {
            // Without randomness the time and the context tell exchanges of a worker apart.
            let bits = u128::from(now.as_unix_millis()).wrapping_shl(64) | u128::from(context_id);
            CallId::from_bytes(bits.to_be_bytes())
        });
        let chain = plugin.documents.choose(&project());
        let mut exchange = Exchange::new(Arc::clone(&chain), call_id, now);
        if let Some(bytes) = plugin.learned.refused_bytes(&Place::ask, now) {
            // Half, because a replacement may need room beside what it replaces.
            exchange.limit_held_bytes(bytes / 2);
        }
        Self {
            plugin,
            chain,
            context_id,
            exchange,
            callouts: Callouts::default(),
            request: RequestState::default(),
            response: ResponseState::default(),
            ending: Ending::default(),
            kept: Kept::default(),
            over: false,
            broken_off: false,
            is_looked_after: false,
        }
    }

    /// Gives an answer of Weir's own. The stream is over then.
    pub(crate) fn answer(&mut self, reply: &Reply) -> Action {
        self.over = true;
        host::answer(reply);
        Action::Pause
    }

    /// Answers with an error that the engine knows nothing of. The stream is over then.
    pub(crate) fn refuse(&mut self, status: u16, word: &'static str, message: &str) -> Action {
        let reply = self.exchange.refuse(status, word, message);
        self.answer(&reply)
    }

    /// Answers that Weir cannot do what it should. The stream is over then.
    pub(crate) fn answer_failure(&mut self, status: u16, word: &'static str, message: &str) -> Action {
        self.fail(word, message);
        self.refuse(status, word, message)
    }

    /// Counts and logs something that could not be done.
    pub(crate) fn fail(&self, word: &'static str, message: &str) {
        self.plugin.metrics.count("errors", word, 1);
        self.plugin.log_at_intervals(word, message);
    }

    /// Carries out what the exchange asks for; what that set going is returned.
    pub(crate) fn carry_out_effects(&mut self, out: &mut Vec<u8>) -> Resumed {
        self.callouts.carry_out(&mut self.exchange, &self.plugin, out)
    }

    /// Whether that callout is this stream's.
    pub(crate) fn asked(&self, token: u32) -> bool {
        self.callouts.contains(token)
    }

    /// A judge answered, or did not.
    pub(crate) fn handle_callout_reply(&mut self, token: u32, reply: Option<(u16, Vec<u8>)>) {
        let Some(id) = self.callouts.take(token) else { return };
        if self.over && !self.exchange.is_beside(id) {
            return;
        }
        let reply =
            reply.as_ref().map_or(CalloutReply::Broken, |(status, body)| CalloutReply::Response { status: *status, body });
        let mut out = Vec::new();
        let resumed = self.exchange.handle_callout_reply(id, reply, host::now(), &mut out);
        self.resume(resumed, out);
    }

    /// Time passed. Whether there is anything left to look after.
    pub(crate) fn handle_tick(&mut self, now: Timestamp) -> bool {
        self.is_looked_after = false;
        if self.over {
            return false;
        }
        self.refuse_head_held_in_vain(now);
        if self.over {
            return false;
        }
        self.send_put_off();
        if self.exchange.next_deadline().is_some_and(|deadline| deadline <= now) {
            let mut out = Vec::new();
            let resumed = self.exchange.handle_tick(now, &mut out);
            self.resume(resumed, out);
            self.note_kept();
        }
        self.resume_with_tick();
        self.break_off_rest(now);
        self.is_looked_after = self.is_waiting();
        self.is_looked_after
    }

    /// Sends what an observed exchange asks.
    fn send_put_off(&mut self) {
        if !self.callouts.has_put_off() {
            return;
        }
        // The proxy forgets what was asked for a stream when that is gone.
        host::act_for(self.plugin.root);
        self.callouts.send_put_off(&mut self.exchange, &self.plugin);
        host::act_for(self.context_id);
    }

    /// Goes on with an observed exchange whose stream is gone. In a callback of the root. Whether it still awaits anything.
    pub(crate) fn finish_observing(&mut self, now: Timestamp) -> bool {
        self.callouts.send_put_off(&mut self.exchange, &self.plugin);
        if self.exchange.next_deadline().is_some_and(|deadline| deadline <= now) {
            let _nothing_to_resume = self.exchange.handle_tick(now, &mut Vec::new());
            let _nothing_to_resume = self.carry_out_effects(&mut Vec::new());
        }
        self.note_kept();
        self.is_finishing()
    }

    /// Whether verdicts are awaited though the stream is gone.
    fn is_finishing(&self) -> bool {
        self.exchange.is_finishing()
    }

    /// Nobody can wait for its verdicts.
    pub(crate) fn abandon(&mut self) {
        self.exchange.handle_abandon();
        let _nothing_to_resume = self.carry_out_effects(&mut Vec::new());
        self.note_kept();
    }

    fn note_kept(&mut self) {
        let keeps = !self.over || self.is_finishing();
        self.kept.set(if keeps { self.exchange.kept_bytes() } else { 0 });
    }

    /// Whether there is memory to take in that many bytes. Where there is none for policies that are observed beside enforced ones,
    /// too, they do without.
    pub(crate) fn has_memory_for(&mut self, bytes: usize) -> bool {
        let observed = self.exchange.observed();
        if observed > 0 && !self.kept.may_observe(bytes.saturating_mul(observed)) {
            self.exchange.give_up_observed();
            self.note_kept();
        }
        self.kept.may_grow(bytes)
    }

    /// Whether there is memory to wait for what an observed exchange has asked.
    fn may_finish(&self) -> bool {
        self.kept.may_grow(0)
    }

    fn is_waiting(&self) -> bool {
        !self.over
            && (self.response.leaves_with_tick()
                || self.exchange.next_deadline().is_some()
                || self.ending.is_due()
                || self.request.is_head_held_on_trial())
    }

    /// Goes on outside a callback of the stream's own.
    fn resume(&mut self, resumed: Resumed, mut out: Vec<u8>) {
        let resumed = match self.carry_out_effects(&mut out) {
            Resumed::Nothing => resumed,
            later => later,
        };
        match resumed {
            Resumed::Nothing => self.keep_for_later(&out),
            Resumed::Request(progress) => self.resume_request(progress),
            Resumed::Response(progress) => self.resume_response(progress, out),
        }
    }

    fn handle_log(&mut self) {
        self.ending.note_gone();
        let details = host::property(&["response", "code_details"]).unwrap_or_default();
        if details == INTERNAL_REDIRECT && self.exchange.decision() == Decision::Allow {
            // The request goes on as another stream, whose event tells how it ended.
            self.over = true;
            return;
        }
        let rest = self.ending.rest();
        if let Some(rest) = rest {
            self.exchange.note_rest(rest);
        }
        let reason = if rest.is_some() { EndReason::Completed } else { self.end_reason(&details) };
        if reason == EndReason::ProxyBufferExceeded {
            self.learn_buffer_size();
        }
        if self.broken_off || self.has_unsent() {
            self.exchange.note_unsent();
        }
        self.exchange.handle_end(reason, host::now());
        // The stream is gone: whatever this sets going, nothing of it can be sent.
        let _ = self.carry_out_effects(&mut Vec::new());
        host::set_filter_state("weir.decision", self.exchange.effective_decision().name());
        host::set_filter_state("weir.held_ms", &self.exchange.held_time().as_millis().to_string());
        self.over = true;
    }

    /// Why the stream ended, by Envoy's words for it (`%RESPONSE_CODE_DETAILS%`).
    fn end_reason(&self, details: &[u8]) -> EndReason {
        let says = |word: &[u8]| details.windows(word.len()).any(|part| part == word);
        if self.broken_off {
            EndReason::BrokenOff
        } else if self.over || self.response.has_left() {
            EndReason::Completed
        } else if says(b"payload_too_large") {
            EndReason::ProxyBufferExceeded
        } else if details.starts_with(b"upstream") {
            // Before the words for a peer that resets: they stand behind it, and mean the provider.
            EndReason::UpstreamBroke
        } else if says(b"downstream") || says(b"remote_reset") {
            EndReason::ClientGone
        } else if details == b"via_upstream" || details.is_empty() {
            EndReason::Completed
        } else {
            EndReason::UpstreamBroke
        }
    }
}

/// Where a route names a project: whoever writes routes is believed before whoever sends requests.
const PROJECT_OF_ROUTE: &[&str] = &["xds", "route_metadata", "filter_metadata", "weir", "project"];

/// The header that names a project, where the route does not.
const PROJECT_HEADER: &str = "x-policy-project";

/// The project of the request whose head is being handled; empty where none is named.
fn project() -> Vec<u8> {
    let of_route = host::property(PROJECT_OF_ROUTE).filter(|name| !name.is_empty());
    of_route.or_else(|| host::header(MapType::HttpRequestHeaders, PROJECT_HEADER)).unwrap_or_default()
}

/// Envoy's word for a stream that goes on as another, because a route says that it follows redirects itself.
const INTERNAL_REDIRECT: &[u8] = b"internal_redirect";

/// The stream as the SDK sees it. The exchange begins with the request's head: a context can come to its end without
/// ever having seen one.
pub(crate) struct StreamContext {
    context_id: u32,
    plugin: Option<Rc<Plugin>>,
    stream: Option<Rc<RefCell<Stream>>>,
    /// Nothing of the response is read: its body must cost no more than it does a filter that does nothing.
    response_passes: bool,
}

impl StreamContext {
    pub(crate) const fn new(context_id: u32, plugin: Option<Rc<Plugin>>) -> Self {
        Self { context_id, plugin, stream: None, response_passes: false }
    }

    /// Runs a hook, and has the root's tick look after the stream if the hook left it waiting.
    fn run<T>(&mut self, otherwise: T, hook: impl FnOnce(&mut Stream) -> T) -> T {
        let Some(stream) = &self.stream else { return otherwise };
        let Ok(mut borrowed) = stream.try_borrow_mut() else { return otherwise };
        let result = hook(&mut borrowed);
        borrowed.note_kept();
        if borrowed.is_waiting() && !borrowed.is_looked_after {
            let plugin = Rc::clone(&borrowed.plugin);
            if let Ok(mut waiting) = plugin.waiting.try_borrow_mut() {
                waiting.push((self.context_id, Rc::downgrade(stream)));
                borrowed.is_looked_after = true;
            }
        }
        result
    }
}

impl Context for StreamContext {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, body_size: usize, _: usize) {
        let reply = host::callout_reply(num_headers, body_size, MAX_REPLY_BYTES.saturating_add(1));
        self.run((), |stream| stream.handle_callout_reply(token, reply));
    }
}

impl HttpContext for StreamContext {
    fn on_http_request_headers(&mut self, _: usize, end: bool) -> Action {
        let Some(plugin) = &self.plugin else {
            // No document was ever accepted; Envoy lets no request come then. To pass it would bypass every policy.
            host::answer(&reply::error(None, 503, "not_configured", "Weir has no policy document"));
            return Action::Pause;
        };
        if !memory::admits_exchange() {
            plugin.refuse_for_memory();
            host::answer(&reply::error(None, 503, "worker_memory", "The proxy is busy with too many requests; try again later."));
            return Action::Pause;
        }
        let stream = Stream::new(Rc::clone(plugin), self.context_id, host::now());
        self.stream = Some(Rc::new(RefCell::new(stream)));
        self.run(Action::Pause, |stream| stream.handle_request_headers(end))
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        self.run(Action::Continue, |stream| stream.handle_request_body(size, end))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.run(Action::Continue, Stream::handle_request_trailers)
    }

    fn on_http_response_headers(&mut self, _: usize, end: bool) -> Action {
        let (action, passes) = self.run((Action::Continue, true), |stream| {
            let action = stream.handle_response_headers(end);
            (action, stream.response.passes())
        });
        self.response_passes = passes;
        action
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if self.response_passes {
            return Action::Continue;
        }
        self.run(Action::Continue, |stream| stream.handle_response_body(size, end))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.run(Action::Continue, Stream::handle_response_trailers)
    }

    fn on_log(&mut self) {
        self.run((), Stream::handle_log);
        let Some(stream) = &self.stream else { return };
        let Ok((is_finishing, may_finish)) = stream.try_borrow().map(|stream| (stream.is_finishing(), stream.may_finish()))
        else {
            return;
        };
        if is_finishing && !(may_finish && self.plugin.as_ref().is_some_and(|plugin| plugin.keep_finishing(stream))) {
            self.run((), Stream::abandon);
        }
    }
}
