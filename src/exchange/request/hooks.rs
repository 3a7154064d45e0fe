//! Runs the hooks of requests, and lets the request leave.

use std::rc::Rc;

use serde_json::Map;

use super::answer::{local_answer, refuse, refused};
use super::body::MAX_MODEL_CHARS;
use super::{Asking, MCP, Step};
use crate::answer::Answer;
use crate::decision::Decision;
use crate::dialect::{Dialect, reply, request};
use crate::event::shortened;
use crate::exchange::RequestProgress;
use crate::exchange::pipeline::Pipeline;
use crate::exchange::replay::Given;
use crate::head::Request;
use crate::policy::{HookOutput, Place, RequestAction, Shared};
use crate::route::Endpoint;

/// Runs the request hooks as far as they go.
pub(in crate::exchange) fn ask(shared: &Shared, pipeline: &Pipeline, mut asking: Asking) -> Step {
    loop {
        let hook = match (asking.hook.take(), pipeline.stages().get(asking.stage)) {
            (Some(hook), _) => Some(hook),
            (None, Some(stage)) if !stage.interests().request => {
                asking.stage = asking.stage.saturating_add(1);
                continue;
            }
            (None, stage) => stage.map(|stage| stage.instance.on_request(shared.request())),
        };
        let Some(mut hook) = hook else { break };
        shared.output.set_turn(true);
        let Some(output) = pipeline.advance(&mut hook, Place::START) else {
            asking.hook = Some(hook);
            return Step::Asking(asking);
        };
        let stage = asking.stage;
        asking.stage = stage.saturating_add(1);
        match output {
            HookOutput::Request(RequestAction::SendRequest) => {}
            HookOutput::Request(RequestAction::SendRequestBody(body)) if rewrites(shared, stage) => {
                shared.outcome.infer(Decision::Rewrite);
                asking.changed = true;
                if !take_body(shared, asking.endpoint, body) {
                    return failed(shared, asking.endpoint);
                }
            }
            HookOutput::Request(RequestAction::SendResponse(answer)) if may_pass_policies(shared, &answer) => {
                // The policies behind may still refuse the request that it answers.
                asking.given = Some(Given { answer, stage });
            }
            HookOutput::Request(RequestAction::SendResponse(answer)) => {
                shared.outcome.infer(Decision::Rewrite);
                let request = shared.request();
                let reply = match request.dialect {
                    Some(dialect) => local_answer(shared, dialect, &answer, request.stream),
                    // What it asks for is no text: the answer can only be an error that says it.
                    None => Ok(reply::error(asking.endpoint.error_dialect(), 403, "policy_refused", &answer.to_text())),
                };
                let Ok(reply) = reply else { return unsayable(shared, asking.endpoint) };
                return Step::Decided(RequestProgress::Answer(reply));
            }
            HookOutput::Request(RequestAction::Refuse(refusal)) => {
                shared.outcome.infer(Decision::Refuse);
                let reply = refused(shared, asking.endpoint.error_dialect(), refusal);
                return Step::Decided(RequestProgress::Answer(reply));
            }
            _ => return failed(shared, asking.endpoint),
        }
    }
    if asking.endpoint == MCP && shared.asked().is_known() {
        return Step::Calls { is_rewritten: asking.changed, given: asking.given };
    }
    if let Some(given) = asking.given {
        forget_body(shared);
        return Step::Given(given);
    }
    Step::Decided(leave(shared, asking.changed))
}

/// Whether an answer is to go through the policies behind the one that gave it, and can: they are to know what is answered.
fn may_pass_policies(shared: &Shared, answer: &Answer) -> bool {
    let is_known = match shared.request().dialect {
        Some(Dialect::McpTool) => shared.asked().is_known(),
        Some(_) => true,
        None => false,
    };
    answer.passes_policies && is_known
}

/// A policy gave an answer that the dialect cannot say.
pub(in crate::exchange) fn unsayable(shared: &Shared, endpoint: Endpoint) -> Step {
    let message = "The policy's answer cannot be said in this API.";
    refuse(shared, endpoint, 500, "policy_failed", message, Map::new())
}

/// Takes the body that a policy wrote: what it asks for is read again. Whether it can be read.
fn take_body(shared: &Shared, endpoint: Endpoint, body: Vec<u8>) -> bool {
    if endpoint == MCP {
        // Its messages are read once all hooks have let it pass.
        shared.request.with(|request| *request = Rc::new(Request { body, ..without_body(request) }));
        return true;
    }
    let Ok(facts) = request::read(endpoint, &body) else { return false };
    let model = shortened(&facts.model, MAX_MODEL_CHARS).to_owned();
    shared.request.with(|request| {
        *request = Rc::new(Request { body, model, stream: facts.stream, ..without_body(request) });
    });
    true
}

fn failed(shared: &Shared, endpoint: Endpoint) -> Step {
    let message = "The request could not be checked by policy.";
    refuse(shared, endpoint, 500, "policy_failed", message, Map::new())
}

/// Whether the body may leave changed: a policy rewrites requests, or the calls in them.
pub(in crate::exchange) fn may_change(shared: &Shared) -> bool {
    let has_calls = shared.request().dialect == Some(Dialect::McpTool);
    let interests = shared.interests();
    interests.rewrites_request || interests.raw || (has_calls && interests.tool_calls)
}

/// The request leaves; what is kept of it is what policies ask for.
fn leave(shared: &Shared, is_changed: bool) -> RequestProgress {
    let body = if is_changed { Some(shared.request().body.clone()) } else { None };
    forget_body(shared);
    body.map_or(RequestProgress::Send, RequestProgress::SendBody)
}

/// Drops the body unless a policy wants to see it later.
pub(in crate::exchange) fn forget_body(shared: &Shared) {
    if !shared.interests().request_body {
        drop_body(shared);
    }
}

/// Drops the body, whoever may want to see it.
pub(in crate::exchange) fn drop_body(shared: &Shared) {
    shared.request.with(|request| *request = Rc::new(without_body(request)));
}

/// Whether the policy said beforehand that it rewrites requests; the proxy may have let a fixed length go otherwise.
fn rewrites(shared: &Shared, stage: usize) -> bool {
    shared.policies().get(stage).is_some_and(|policy| policy.interests().rewrites_request)
}

pub(super) fn without_body(request: &Request) -> Request {
    Request {
        endpoint: request.endpoint,
        dialect: request.dialect,
        path: Rc::clone(&request.path),
        model: request.model.clone(),
        stream: request.stream,
        policy_user: request.policy_user.clone(),
        trace: request.trace.clone(),
        body: Vec::new(),
    }
}
