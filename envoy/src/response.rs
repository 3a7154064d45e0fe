//! The response's way through the proxy.
//!
//! ```text
//!            ┌─ Passing: not governed
//! head ──────┤            ┌──────── nothing can leave, a judge is out ────────┐
//!            └─ Open: Flowing                                                 Paused
//!                         └◄───── there is something to send, or the end ─────┘
//! ```
//! While a response is paused the proxy's buffer holds *ballast*: newlines in place of what is held, as many as can still
//! leave. A judge's answer comes outside the body's callbacks, and there nothing longer may be put into the buffer than it
//! is known to take: beyond its limit Envoy falls, and no call tells the limit. Ballast makes Envoy
//! check the limit in a callback, where it ends the stream in an orderly way. Should anything ever let the ballast go,
//! empty lines say nothing in an event stream and in JSON.

use core::time::Duration;

use proxy_wasm::types::{Action, BufferType, MapType};
use weir::dialect::reply::Reply;
use weir::exchange::{Exchange, ResponseHead, ResponseMode, ResponseProgress, Resumed};
use weir::time::{Now, Timestamp};

use crate::host;
use crate::learned::{LEAST_BUFFER, Place};
use crate::stream::Stream;

/// Room beside what is known to be able to leave: a judge's answer can make a replacement of what comes next, too.
const SPARE_BALLAST: usize = 4 * 1024;

/// Longest body whose head is held until the body is decided.
const HEAD_HOLD_MAX: usize = 512 * 1024;

/// Longest whole body that is paused even where no trailers were seen yet: short enough for every sensible buffer.
const WHOLE_PAUSE_MAX: usize = 16 * 1024;

/// Headers by which it is decided how a response is read.
const DECIDING_HEADERS: &[&str] = &["content-type", "content-encoding"];

/// The proxy gives up this soon after a pause if it is for the ballast; later, it is for what came on top of it.
const BALLAST_CHECKED_WITHIN: Duration = Duration::from_millis(2);

/// Where the response stands.
#[derive(Debug, Default)]
pub(crate) enum ResponseState {
    /// What comes passes.
    #[default]
    Passing,
    /// What comes passes at once, and the engine is shown it.
    Observed,
    /// The engine is fed with it.
    Open(Open),
}

/// A response that the engine is fed with.
#[derive(Debug)]
pub(crate) struct Open {
    /// It is no stream: everything leaves at the end.
    whole: bool,
    /// The head has not left.
    head_held: bool,
    /// What may leave, and could not yet.
    unsent: Vec<u8>,
    flow: Flow,
    /// The upstream's end came.
    ended: bool,
    /// No body came since a pause ended outside a callback.
    was_resumed: bool,
    /// All of it is in the proxy's buffer, and leaves with the next tick.
    leaves_with_tick: bool,
}

/// Whether the proxy forwards the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Each callback has the new bytes; what it leaves in the buffer is sent.
    Flowing,
    /// The buffer has this many bytes of ballast, since then; each callback has them and the new bytes.
    Paused { ballast: usize, since: Timestamp },
}

/// What stands for an answer of Weir's own once the provider's head has left.
fn in_place(reply: Reply, exchange: &Exchange) -> Vec<u8> {
    if reply.status < 300 { reply.body } else { exchange.answer_after_head() }
}

/// Whether two slices are the same, sixteen bytes at once: what Wasm has to compare slices with goes byte by byte.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((one, rest_of_one), (other, rest_of_other)) = (one.as_chunks::<16>(), other.as_chunks::<16>());
    one.len() == other.len()
        && rest_of_one == rest_of_other
        && one.iter().zip(other).all(|(one, other)| u128::from_ne_bytes(*one) == u128::from_ne_bytes(*other))
}

impl ResponseState {
    /// Whether what comes passes unread.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::Passing)
    }

    /// Whether all that is left of it leaves with the next tick.
    pub(crate) const fn leaves_with_tick(&self) -> bool {
        matches!(self, Self::Open(Open { leaves_with_tick: true, .. }))
    }

    /// Whether the upstream's end came, and left.
    pub(crate) const fn has_left(&self) -> bool {
        matches!(self, Self::Open(Open { ended: true, flow: Flow::Flowing, .. }))
    }
}

impl Stream {
    pub(crate) fn handle_response_headers(&mut self, end: bool) -> Action {
        // Weir's own answer to a request comes by as a response.
        if self.over {
            return Action::Continue;
        }
        let header = |name| host::header(MapType::HttpResponseHeaders, name);
        let [status, content_type, content_encoding, content_length] =
            [":status", "content-type", "content-encoding", "content-length"].map(|name| header(name).unwrap_or_default());
        let head = ResponseHead {
            status: host::parse_number(&status).unwrap_or_default(),
            content_type: &content_type,
            content_encoding: &content_encoding,
        };
        if self.request.is_held() && !(400..600).contains(&head.status) {
            // It cannot be an answer to a request that has not left, and no policy would see it.
            self.fail("early_response", "a provider answered a request of which it had the head alone");
            return self.refuse(502, "early_response", "The provider answered before it had the request.");
        }
        let mode = self.exchange.handle_response_head(&head, end, host::now());
        if matches!(mode, ResponseMode::Stream | ResponseMode::Whole)
            && let Some(name) = host::repeated_header(MapType::HttpResponseHeaders, DECIDING_HEADERS)
        {
            let message =
                format!("The provider's response has the header {name} more than once: readers differ in which they take.");
            return self.answer_failure(502, "header_repeated", &message);
        }
        let mut open = Open {
            whole: false,
            head_held: false,
            unsent: Vec::new(),
            flow: Flow::Flowing,
            ended: end,
            was_resumed: false,
            leaves_with_tick: false,
        };
        match mode {
            ResponseMode::Pass => {}
            ResponseMode::Observe => self.response = ResponseState::Observed,
            ResponseMode::Refuse => {
                let mut out = Vec::new();
                let refusal = self.exchange.handle_response_body(&[], false, Now::Clock(host::now), &mut out);
                let _ = self.carry_out_effects(&mut out);
                if let ResponseProgress::Answer(reply) = refusal {
                    return self.answer(&reply);
                }
                open.unsent = out;
                self.response = ResponseState::Open(open);
            }
            ResponseMode::Stream => self.response = ResponseState::Open(open),
            ResponseMode::Whole => {
                open.whole = true;
                open.head_held = !end
                    && self.plugin.holds_heads()
                    && self.plugin.learned.shows_bodies_of_held_heads()
                    && host::parse_number(&content_length).is_some_and(|length: usize| length <= HEAD_HOLD_MAX);
                self.response = ResponseState::Open(open);
            }
        }
        let ResponseState::Open(open) = &mut self.response else {
            let _ = self.carry_out_effects(&mut Vec::new());
            return Action::Continue;
        };
        let mut out = core::mem::take(&mut open.unsent);
        let head_held = open.head_held;
        let _ = self.carry_out_effects(&mut out);
        self.keep_for_later(&out);
        if !end {
            // A changed body would be cut off at the old length; and what leaves is decoded.
            host::remove_header(MapType::HttpResponseHeaders, "content-length");
            host::remove_header(MapType::HttpResponseHeaders, "content-encoding");
            if mode == ResponseMode::Stream {
                self.prepare_ending();
            }
            if let Some(content_type) = self.exchange.response_content_type() {
                host::set_header(MapType::HttpResponseHeaders, "content-type", content_type);
            }
        }
        if head_held { Action::Pause } else { Action::Continue }
    }

    /// Shows the engine what passes; what it says about it goes nowhere.
    fn observe_response(&mut self, size: usize, end: bool) -> Action {
        let new = host::body(BufferType::HttpResponseBody, 0, size);
        let mut unused = self.plugin.take_buffer();
        let _nothing_follows_from_it = if self.has_memory_for(size) {
            self.exchange.handle_response_body(&new, end, Now::Clock(host::now), &mut unused)
        } else {
            self.exchange.handle_shortage(&new, end, host::now(), &mut unused)
        };
        let _nothing_to_resume = self.carry_out_effects(&mut unused);
        self.plugin.give_buffer_back(unused);
        if end {
            self.response = ResponseState::Passing;
        }
        Action::Continue
    }

    pub(crate) fn handle_response_body(&mut self, size: usize, end: bool) -> Action {
        if let ResponseState::Observed = self.response {
            return self.observe_response(size, end);
        }
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        if self.over {
            return Action::Pause;
        }
        let read = match open.flow {
            Flow::Flowing => 0,
            Flow::Paused { ballast, .. } => {
                if ballast >= LEAST_BUFFER {
                    self.plugin.learned.see_buffered(&Place::ask, ballast, host::now());
                }
                ballast
            }
        };
        let is_short_of_memory = !self.has_memory_for(size.saturating_sub(read));
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        open.ended = end;
        let asked_before = self.callouts.count();
        let mut out = self.plugin.take_buffer();
        out.append(&mut open.unsent);
        let new = host::body(BufferType::HttpResponseBody, read, size);
        let progress = if is_short_of_memory {
            self.plugin
                .log_at_intervals("worker_memory", "the worker's memory is used up: requests are refused, and responses cut");
            self.exchange.handle_shortage(&new, end, host::now(), &mut out)
        } else {
            self.exchange.handle_response_body(&new, end, Now::Clock(host::now), &mut out)
        };
        let progress = match self.carry_out_effects(&mut out) {
            Resumed::Response(progress) => progress,
            Resumed::Nothing | Resumed::Request(_) => progress,
        };
        let trailers_can_hurt = self.trailers_can_hurt();
        // With the text before the question the last occasion could leave to say what the answer is: the provider may be silent.
        let has_asked = self.callouts.count() > asked_before;
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        if self.exchange.is_response_streamed() {
            // Whatever its head announced.
            open.whole = false;
            open.head_held = false;
        }
        if let ResponseProgress::Answer(reply) = progress {
            if open.head_held {
                return self.answer(&reply);
            }
            // The head has left: the status can no longer say it, the body can.
            out.extend_from_slice(&in_place(reply, &self.exchange));
            return self.send_in_callback(size, end, out);
        }
        let is_over = progress == ResponseProgress::Finished;
        // Where trailers can come nothing may be left to send when they do, unless the body is paused.
        let held = self.exchange.max_release_bytes();
        let may_leave_now = match progress {
            ResponseProgress::Waiting => !(end || out.is_empty() || open.head_held || trailers_can_hurt || has_asked),
            ResponseProgress::Finished => true,
            _ => end || !(open.head_held || trailers_can_hurt || (open.whole && held <= WHOLE_PAUSE_MAX)),
        };
        if !may_leave_now {
            return self.pause_in_callback(size, out);
        }
        // What a paused body is too short for leaves later.
        let room = if open.flow == Flow::Flowing { usize::MAX } else { size };
        if is_over && !end && out.len() <= room {
            self.end_early(&mut out, room);
        }
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        if open.flow == Flow::Flowing && !open.head_held && is_same(&out, &new) {
            open.was_resumed = false;
            // What leaves is what came: the proxy has it already.
            self.plugin.give_buffer_back(out);
            return Action::Continue;
        }
        self.send_in_callback(size, end, out)
    }

    /// Trailers end the body where the body's own callbacks did not say so.
    pub(crate) fn handle_response_trailers(&mut self) -> Action {
        if let ResponseState::Observed = self.response {
            return self.observe_response(0, true);
        }
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        if self.over {
            return Action::Pause;
        }
        self.plugin.learned.see_trailers(Place::ask(), host::now());
        if self.ending.bars_trailers() {
            // The client has the end: trailers may not come behind it, and nothing else ends the provider's stream.
            self.over = true;
            host::reset_stream();
            return Action::Pause;
        }
        open.ended = true;
        let mut out = core::mem::take(&mut open.unsent);
        let progress = self.exchange.handle_response_body(&[], true, Now::Clock(host::now), &mut out);
        let progress = match self.carry_out_effects(&mut out) {
            Resumed::Response(progress) => progress,
            Resumed::Nothing | Resumed::Request(_) => progress,
        };
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        if let ResponseProgress::Answer(reply) = progress {
            if open.head_held {
                return self.answer(&reply);
            }
            out.extend_from_slice(&in_place(reply, &self.exchange));
        } else if progress == ResponseProgress::Waiting && open.flow != Flow::Flowing {
            open.unsent = out;
            return Action::Pause;
        } else if progress == ResponseProgress::Waiting {
            return self
                .break_off("trailers", "a response ended with trailers while a judge was asked: nothing can be sent any more");
        }
        match open.flow {
            Flow::Paused { ballast, .. } => {
                open.flow = Flow::Flowing;
                if out.len() > ballast {
                    self.exchange.shorten_end(&mut out, ballast);
                    let _ = self.carry_out_effects(&mut Vec::new());
                }
                host::replace_body(BufferType::HttpResponseBody, ballast, &out);
                Action::Continue
            }
            Flow::Flowing if out.is_empty() => Action::Continue,
            _ => self.break_off("trailers", "a response ended with trailers before all of it could be sent"),
        }
    }

    /// Goes on with the response outside its own callbacks.
    pub(crate) fn resume_response(&mut self, progress: ResponseProgress, out: Vec<u8>) {
        let trailers_can_hurt = self.trailers_can_hurt();
        let ResponseState::Open(open) = &mut self.response else { return };
        open.unsent.extend_from_slice(&out);
        if open.leaves_with_tick {
            // What the proxy's buffer has is no ballast.
            return;
        }
        let Flow::Paused { ballast, .. } = open.flow else {
            // It leaves with the next bytes, or at the end.
            if let ResponseProgress::Answer(reply) = progress {
                open.unsent.extend_from_slice(&in_place(reply, &self.exchange));
            }
            return;
        };
        let is_over = progress == ResponseProgress::Finished;
        let is_decided = match progress {
            ResponseProgress::Answer(reply) if open.head_held => {
                self.answer(&reply);
                return;
            }
            ResponseProgress::Answer(reply) => {
                open.unsent.extend_from_slice(&in_place(reply, &self.exchange));
                true
            }
            ResponseProgress::Waiting => !open.unsent.is_empty() && !open.ended && !trailers_can_hurt,
            ResponseProgress::Flowing | ResponseProgress::Finished => true,
        };
        if !is_decided || (open.whole && !open.ended) {
            return;
        }
        let mut out = core::mem::take(&mut open.unsent);
        if open.ended && out.len() > ballast {
            self.exchange.shorten_end(&mut out, ballast);
            let _ = self.carry_out_effects(&mut Vec::new());
        }
        let ResponseState::Open(open) = &mut self.response else { return };
        open.unsent = out.split_off(out.len().min(ballast));
        let is_over = is_over && !open.ended && open.unsent.is_empty();
        open.flow = Flow::Flowing;
        open.was_resumed = true;
        if is_over {
            self.end_early(&mut out, ballast);
        }
        host::replace_body(BufferType::HttpResponseBody, ballast, &out);
        host::resume_response();
    }

    /// Lets go of what waits for the tick.
    pub(crate) fn resume_with_tick(&mut self) {
        let ResponseState::Open(open) = &mut self.response else { return };
        if core::mem::take(&mut open.leaves_with_tick) {
            open.flow = Flow::Flowing;
            host::resume_response();
        }
    }

    /// Keeps what may leave for the next occasion.
    pub(crate) fn keep_for_later(&mut self, out: &[u8]) {
        if let ResponseState::Open(open) = &mut self.response {
            open.unsent.extend_from_slice(out);
        }
    }

    /// The proxy gave up because of what it was to buffer. If that was the ballast alone, later exchanges hold less.
    pub(crate) fn learn_buffer_size(&mut self) {
        let ResponseState::Open(Open { flow: Flow::Paused { ballast, since }, .. }) = self.response else { return };
        self.plugin.metrics.count("errors", "proxy_buffer_exceeded", 1);
        if host::now().since(since) <= BALLAST_CHECKED_WITHIN
            && self.plugin.learned.see_refused(Place::ask(), ballast, host::now())
        {
            self.plugin.warn(
                "proxy.buffer_exceeded",
                &format!(
                    "the proxy could not buffer {ballast} bytes of a response and broke it off; raise the listener's \
                     per_connection_buffer_limit_bytes, or the route's request_body_buffer_limit, above limits.max_held_bytes; \
                     for some time less is held there"
                ),
            );
        }
    }

    /// Whether something that may leave was not sent.
    pub(crate) const fn has_unsent(&self) -> bool {
        matches!(&self.response, ResponseState::Open(open) if !open.unsent.is_empty() || open.leaves_with_tick)
    }

    /// Whether something would be lost if the response ended with trailers next.
    fn trailers_can_hurt(&self) -> bool {
        self.exchange.is_holding_response()
            && self.plugin.learned.knows_places()
            && self.plugin.learned.may_end_with_trailers(&Place::ask, host::now())
    }

    fn send_in_callback(&mut self, size: usize, end: bool, mut out: Vec<u8>) -> Action {
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        if let Flow::Paused { .. } = open.flow {
            // A paused body must not grow beyond what the proxy was seen to buffer.
            if end && out.len() > size {
                self.exchange.shorten_end(&mut out, size);
                let _ = self.carry_out_effects(&mut Vec::new());
            }
            let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
            open.unsent = out.split_off(out.len().min(size));
        }
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        open.head_held = false;
        host::replace_body(BufferType::HttpResponseBody, size, &out);
        // Where an end without bytes is the first that comes behind a resume, Envoy shows the buffer of the pause: what is put
        // into it leaves with another resume, and with nothing else.
        if end && size == 0 && open.was_resumed && !out.is_empty() {
            open.flow = Flow::Paused { ballast: out.len(), since: host::now() };
            open.leaves_with_tick = true;
            self.plugin.give_buffer_back(out);
            return Action::Pause;
        }
        open.was_resumed = false;
        open.flow = Flow::Flowing;
        self.plugin.give_buffer_back(out);
        Action::Continue
    }

    fn pause_in_callback(&mut self, size: usize, unsent: Vec<u8>) -> Action {
        let needed = self.exchange.max_release_bytes().saturating_add(unsent.len()).saturating_add(SPARE_BALLAST);
        let unread = self.exchange.max_unread_replacements();
        let ResponseState::Open(open) = &mut self.response else { return Action::Continue };
        open.unsent = unsent;
        let learned = &self.plugin.learned;
        let seen = || learned.buffered_bytes(&Place::ask, host::now()).unwrap_or_default();
        let (ballast, since) = match open.flow {
            // Not the callback's time: to work on a long block takes a while.
            Flow::Flowing if unread == 0 => (needed, host::now()),
            // For what is not certain there is room where the buffer is large enough.
            Flow::Flowing => (needed.saturating_add(unread).min(needed.max(WHOLE_PAUSE_MAX).max(seen())), host::now()),
            // In a pause the proxy checks nothing: it gets no more than it was seen to buffer.
            Flow::Paused { since, .. } if needed > size => (needed.min(size.max(seen())), since),
            Flow::Paused { since, .. } => (needed.saturating_add(unread).min(size), since),
        };
        if size != ballast || open.flow == Flow::Flowing {
            host::replace_body(BufferType::HttpResponseBody, size, &vec![b'\n'; ballast]);
        }
        open.was_resumed = false;
        open.flow = Flow::Paused { ballast, since };
        Action::Pause
    }

    /// Breaks the stream off, because what is left of it cannot be sent: closed, and counted.
    fn break_off(&mut self, word: &'static str, message: &str) -> Action {
        self.fail(word, message);
        self.over = true;
        self.broken_off = true;
        host::reset_stream();
        Action::Pause
    }
}
