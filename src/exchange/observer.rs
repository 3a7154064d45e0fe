//! What an observed exchange is for the policies: as if the proxy had held it.
//!
//! The policies decide here about copies: of what they let through, held or changed nothing goes anywhere. What they are asked
//! about can come too early for them, because nobody waits for them: then it is kept, within a bound.

use super::{Effect, EndReason, Governing, Observation, RequestProgress, ResponseMode, Resumed};
use crate::head::ResponseHead;
use crate::time::{Now, Timestamp};

/// A response whose head came before the policies have let the request pass.
#[derive(Debug)]
struct Early {
    status: u16,
    content_type: Vec<u8>,
    content_encoding: Vec<u8>,
    head_ends: bool,
    body: Vec<u8>,
    ends: bool,
}

/// Where the request stands for the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Undecided,
    Sent,
    /// It would not have left: no answer of the provider would have come.
    Answered,
}

/// What is kept beside an observed exchange.
#[derive(Debug)]
pub(super) struct Observer {
    request: Request,
    early: Option<Box<Early>>,
    /// The policies look at the response.
    reads_response: bool,
    /// Nothing of the exchange is looked at any more.
    has_given_up: bool,
    /// What they would have sent; empty between calls, it keeps its memory for the next.
    sunk: Vec<u8>,
    /// The status that the client got.
    status: u16,
    /// The exchange ended then, and verdicts are awaited still.
    ended: Option<(EndReason, Timestamp)>,
}

/// Most memory that is kept for what would have been sent.
const KEPT_CAPACITY: usize = 64 * 1024;

impl Observer {
    pub(super) const fn new() -> Self {
        Self {
            request: Request::Undecided,
            early: None,
            reads_response: false,
            has_given_up: false,
            sunk: Vec::new(),
            status: 0,
            ended: None,
        }
    }

    /// Whether the exchange has ended and verdicts are awaited still.
    pub(super) const fn is_finishing(&self) -> bool {
        self.ended.is_some()
    }

    /// The policies have, or have not yet, decided about the request.
    pub(super) fn note_request(&mut self, governing: &mut Governing, progress: RequestProgress, now: Timestamp) {
        if self.has_given_up {
            return;
        }
        self.request = match progress {
            RequestProgress::Hold => return,
            RequestProgress::Send | RequestProgress::SendBody(_) | RequestProgress::Observe => Request::Sent,
            RequestProgress::Answer(_) => Request::Answered,
        };
        let Some(early) = self.early.take() else { return };
        let head =
            ResponseHead { status: early.status, content_type: &early.content_type, content_encoding: &early.content_encoding };
        let _it_has_left = self.open(governing, &head, early.head_ends, now);
        self.look(governing, &early.body, early.ends, Now::At(now));
    }

    /// The response's head came. Whether its body is to be looked at.
    pub(super) fn response_head(
        &mut self,
        governing: &mut Governing,
        head: &ResponseHead<'_>,
        end: bool,
        now: Timestamp,
    ) -> ResponseMode {
        self.status = head.status;
        match self.request {
            Request::Sent => self.open(governing, head, end, now),
            Request::Answered => ResponseMode::Pass,
            Request::Undecided => {
                self.early = Some(Box::new(Early {
                    status: head.status,
                    content_type: head.content_type.to_vec(),
                    content_encoding: head.content_encoding.to_vec(),
                    head_ends: end,
                    body: Vec::new(),
                    ends: false,
                }));
                ResponseMode::Observe
            }
        }
    }

    fn open(&mut self, governing: &mut Governing, head: &ResponseHead<'_>, end: bool, now: Timestamp) -> ResponseMode {
        if self.request == Request::Answered {
            return ResponseMode::Pass;
        }
        match governing.handle_response_head(head, end, now) {
            ResponseMode::Pass | ResponseMode::Observe => ResponseMode::Pass,
            ResponseMode::Refuse => {
                // It is concluded; the answer that would have come goes nowhere.
                self.reads_response = true;
                self.look(governing, &[], false, Now::At(now));
                self.reads_response = false;
                ResponseMode::Pass
            }
            ResponseMode::Stream | ResponseMode::Whole => {
                self.reads_response = true;
                ResponseMode::Observe
            }
        }
    }

    /// Bytes of the response came.
    pub(super) fn look(&mut self, governing: &mut Governing, chunk: &[u8], end: bool, now: Now) {
        if let Some(early) = &mut self.early {
            if early.body.len().saturating_add(chunk.len()) > governing.max_held_bytes {
                let passed = early.body.len().saturating_add(chunk.len());
                self.early = None;
                governing.count_passed(passed);
                let summary = "more of the response came than is kept while the request is undecided; it is not looked at";
                governing.fail_to_observe("unobserved", summary);
                return;
            }
            early.body.extend_from_slice(chunk);
            early.ends |= end;
            return;
        }
        if !self.reads_response {
            return governing.count_passed(chunk.len());
        }
        let mut sunk = core::mem::take(&mut self.sunk);
        let _nothing_follows_from_it = governing.handle_response_body(chunk, end, now, &mut sunk);
        sunk.clear();
        sunk.shrink_to(KEPT_CAPACITY);
        self.sunk = sunk;
    }

    /// There is no memory to look at what came.
    pub(super) fn give_up(&mut self, governing: &mut Governing, chunk: &[u8]) {
        let early = self.early.take();
        if core::mem::replace(&mut self.reads_response, false) || early.is_some() {
            governing.stop_looking();
            governing.fail_to_observe("unobserved", "the worker's memory is used up: the rest of the response is not looked at");
        }
        governing.count_passed(chunk.len().saturating_add(early.map_or(0, |early| early.body.len())));
    }

    /// There is no memory to look at the request: its answer is none that a policy could say anything about.
    pub(super) fn give_up_request(&mut self, governing: &mut Governing) {
        self.request = Request::Answered;
        governing.stop_looking();
        governing.fail_to_observe("unobserved", "the worker's memory is used up: the exchange is not looked at");
    }

    /// There is no memory to look at what is left of the exchange.
    pub(super) fn give_up_rest(&mut self, governing: &mut Governing) {
        if core::mem::replace(&mut self.has_given_up, true) {
            return;
        }
        self.early = None;
        self.reads_response = false;
        self.give_up_request(governing);
        super::request::drop_body(&governing.shared);
    }

    /// The status that the client got, where no answer of a provider's had one.
    pub(super) const fn note_status(&mut self, status: u16) {
        if self.status == 0 {
            self.status = status;
        }
    }

    /// Bytes of a response that are kept until the request is decided.
    pub(super) fn kept_bytes(&self) -> usize {
        self.early.as_ref().map_or(0, |early| early.body.len())
    }

    /// Something that hooks waited for came.
    pub(super) fn resume(&mut self, governing: &mut Governing, resumed: Resumed, now: Timestamp) {
        if let Resumed::Request(progress) = resumed {
            self.note_request(governing, progress, now);
        }
        if governing.next_deadline().is_none() {
            self.finish(governing);
        }
    }

    /// The exchange is over: at once, or once the verdicts are there that are awaited.
    pub(super) fn end(&mut self, governing: &mut Governing, reason: EndReason, now: Timestamp) {
        self.ended = Some((reason, now));
        if governing.next_deadline().is_none() {
            self.finish(governing);
        }
    }

    /// Ends it, if it has ended.
    pub(super) fn finish(&mut self, governing: &mut Governing) {
        let Some((reason, ended)) = self.ended.take() else { return };
        governing.count_passed(self.early.take().map_or(0, |early| early.body.len()));
        governing.status = self.status;
        governing.handle_end(reason, ended);
    }
}

impl Governing {
    /// Tells that a part of an observed exchange is not looked at.
    fn fail_to_observe(&self, word: &'static str, summary: &str) {
        self.shared.fail(word, crate::event::Severity::Warning, summary.to_owned(), serde_json::Map::new());
    }

    /// Bytes passed that no policy looks at.
    const fn count_passed(&mut self, bytes: usize) {
        self.response_bytes = self.response_bytes.saturating_add(bytes as u64);
    }

    /// Nothing more of the response is looked at.
    fn stop_looking(&mut self) {
        self.pipeline.abandon();
        self.phase = super::Phase::Passing;
        self.shared.push_effect(Effect::Observe(Observation::FailedOpen("unobserved")));
    }
}
