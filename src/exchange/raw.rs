//! Raw access: policies at the client's edge of the chain, which see bodies as bytes.
//!
//! A request meets them before any other policy: what they make of it is read as if the client had sent it. Of an answer they see
//! what all others let go, and what they make of it leaves as it is. Nothing is promised of that: neither that readers read the same
//! in it, nor that it is what its dialect says.

use core::mem;

use serde_json::{Map, json};

use super::pipeline::Pipeline;
use crate::decision::Decision;
use crate::event::Severity;
use crate::policy::{Instance, Place, RawAction, RawChunkAction, Refusal, Shared};

/// Most bytes that one call of a raw hook may add to what it is shown of an answer: a proxy that pauses has room for them.
pub(super) const MAX_RAW_GROWTH: usize = 64 * 1024;

/// What raw hooks of an answer have come to.
#[derive(Debug, Default)]
pub(super) struct RawEdge {
    /// A whole body, as far as it came.
    kept: Vec<u8>,
    /// Bytes that hooks have added to the answer.
    grown: usize,
    /// The last bytes were shown, or one of the hooks went beyond its bound.
    is_over: bool,
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Yes,
    /// It does not leave.
    Refused(Refusal),
    /// The rest of it does not leave.
    Broken,
}

/// The instances with raw hooks, in the order of the chain.
fn instances(pipeline: &Pipeline) -> impl DoubleEndedIterator<Item = &dyn Instance> {
    pipeline.stages().iter().filter(|stage| stage.interests().raw).map(|stage| &*stage.instance)
}

/// Runs a hook, and concludes from what it did where it has not concluded something itself.
fn run<T>(shared: &Shared, hook: impl FnOnce() -> T, decision: impl FnOnce(&T) -> Option<Decision>) -> T {
    shared.enter_hook(Place::START, false);
    let action = hook();
    if let Some(decision) = decision(&action) {
        shared.outcome.infer(decision);
    }
    action
}

const fn decision_of(action: &RawAction) -> Option<Decision> {
    match action {
        RawAction::Keep => None,
        RawAction::Replace(_) => Some(Decision::Rewrite),
        RawAction::Refuse(_) => Some(Decision::Refuse),
    }
}

/// Shows the body of a request to raw hooks, the outermost first. Another body in its place, where there is one.
pub(super) fn edit_request(shared: &Shared, pipeline: &Pipeline, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let mut changed: Option<Vec<u8>> = None;
    for instance in instances(pipeline).rev() {
        let shown = changed.as_deref().unwrap_or(body);
        match run(shared, || instance.on_raw_request(shown), decision_of) {
            RawAction::Keep => {}
            RawAction::Replace(body) if body.len() <= shared.chain.limits.max_request_bytes => changed = Some(body),
            RawAction::Replace(_) => {
                let bound = "limits.max_request_bytes";
                tell_of_growth(shared, "request", bound);
                return Err(Refusal::new(413, format!("A policy would make the request longer than {bound} allows.")));
            }
            RawAction::Refuse(refusal) => return Err(refusal),
        }
    }
    Ok(changed)
}

fn tell_of_growth(shared: &Shared, what: &str, bound: &str) {
    shared.outcome.conclude(Decision::Refuse, Some("RAW_TOO_LARGE"));
    let summary = format!("a raw policy would make the {what} longer than {bound} allows");
    shared.fail("raw_too_large", Severity::Error, summary, Map::from_iter([("bound".to_owned(), json!(bound))]));
}

impl RawEdge {
    /// Bytes of a whole body that it keeps.
    pub(super) const fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Shows bytes of a stream that are to leave, and puts what becomes of them into `out`; `is_last` once no more come.
    pub(super) fn stream(
        &mut self,
        shared: &Shared,
        pipeline: &Pipeline,
        came: Vec<u8>,
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Passed {
        if self.is_over || (came.is_empty() && !is_last) {
            return Passed::Yes;
        }
        self.is_over = is_last;
        let mut bytes = came;
        for instance in instances(pipeline) {
            let decide = |action: &RawChunkAction| (*action != RawChunkAction::Keep).then_some(Decision::Rewrite);
            if let RawChunkAction::Replace(replaced) = run(shared, || instance.on_raw_chunk(&bytes, is_last), decide) {
                if !self.may_grow(shared, bytes.len(), replaced.len()) {
                    self.is_over = true;
                    return Passed::Broken;
                }
                bytes = replaced;
            }
        }
        out.append(&mut bytes);
        Passed::Yes
    }

    /// Keeps bytes of a whole body that is to leave, and shows it once it is complete.
    pub(super) fn whole(
        &mut self,
        shared: &Shared,
        pipeline: &Pipeline,
        came: &[u8],
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Passed {
        if self.is_over {
            return Passed::Yes;
        }
        let most = shared.chain.limits.max_response_bytes.saturating_add(shared.chain.limits.max_rewritten_bytes);
        if self.kept.len().saturating_add(came.len()) > most {
            (self.kept, self.is_over) = (Vec::new(), true);
            tell_of_growth(shared, "answer", "limits.max_response_bytes");
            return Passed::Broken;
        }
        self.kept.extend_from_slice(came);
        if !is_last {
            return Passed::Yes;
        }
        self.is_over = true;
        let mut body = mem::take(&mut self.kept);
        for instance in instances(pipeline) {
            match run(shared, || instance.on_raw_response(&body), decision_of) {
                RawAction::Keep => {}
                RawAction::Refuse(refusal) => return Passed::Refused(refusal),
                RawAction::Replace(replaced) if self.may_grow(shared, body.len(), replaced.len()) => body = replaced,
                RawAction::Replace(_) => return Passed::Broken,
            }
        }
        out.append(&mut body);
        Passed::Yes
    }

    /// Counts what a hook adds; false where it is more than may be.
    fn may_grow(&mut self, shared: &Shared, from: usize, to: usize) -> bool {
        let added = to.saturating_sub(from);
        self.grown = self.grown.saturating_add(added);
        let bound = if added > MAX_RAW_GROWTH {
            "the 65536 bytes that a call may add"
        } else if self.grown > shared.chain.limits.max_rewritten_bytes {
            "limits.max_rewritten_bytes"
        } else {
            return true;
        };
        tell_of_growth(shared, "answer", bound);
        false
    }
}
