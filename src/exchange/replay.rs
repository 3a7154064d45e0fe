//! An answer that a policy gave in the provider's place, on its way through the policies behind it.

use super::pipeline::Pipeline;
use super::response::Governed;
use super::{RequestProgress, ResponseProgress};
use crate::answer::Answer;
use crate::dialect::reply::Reply;
use crate::policy::Shared;

/// An answer, and who gave it.
pub(super) struct Given {
    pub(super) answer: Answer,
    /// The stage of the policy.
    pub(super) stage: usize,
}

/// The answer under way, as if the provider had sent it.
pub(super) struct Replay {
    governed: Box<Governed>,
    content_type: &'static str,
    out: Vec<u8>,
}

impl Replay {
    pub(super) const fn new(governed: Box<Governed>, content_type: &'static str) -> Self {
        Self { governed, content_type, out: Vec::new() }
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.governed.kept_bytes().saturating_add(self.out.len())
    }

    /// Reads all of it.
    pub(super) fn feed(&mut self, shared: &Shared, pipeline: &mut Pipeline, body: &[u8]) -> ResponseProgress {
        self.governed.feed(shared, pipeline, body, true, &mut self.out)
    }

    /// Goes on with what waits.
    pub(super) fn wake(&mut self, shared: &Shared, pipeline: &mut Pipeline) -> ResponseProgress {
        self.governed.wake(shared, pipeline, &mut self.out)
    }

    /// What becomes of the request: an answer, once nothing waits any more.
    pub(super) fn settle(self, progress: ResponseProgress) -> Result<RequestProgress, Self> {
        match progress {
            ResponseProgress::Waiting => Err(self),
            ResponseProgress::Answer(reply) => Ok(RequestProgress::Answer(reply)),
            ResponseProgress::Flowing | ResponseProgress::Finished => {
                Ok(RequestProgress::Answer(Reply::new(200, self.content_type, self.out)))
            }
        }
    }
}
