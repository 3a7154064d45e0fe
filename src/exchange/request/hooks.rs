//! Runs the hooks of requests, and lets the request leave.

use std::rc::Rc;

use serde_json::Map;

use super::answer::{error, local_answer, refuse};
use super::{Asking, MCP, Step};
use crate::decision::Decision;
use crate::dialect::{Dialect, Ending, reply};
use crate::exchange::RequestProgress;
use crate::exchange::pipeline::Pipeline;
use crate::head::Request;
use crate::policy::{HookOutput, Interests, RequestAction, Shared};

/// Runs the request hooks as far as they go.
pub(in crate::exchange) fn ask(shared: &Shared, pipeline: &Pipeline, mut asking: Asking) -> Step {
    loop {
        let hook = asking
            .hook
            .take()
            .or_else(|| pipeline.stages().get(asking.stage).map(|stage| stage.instance.on_request(shared.request())));
        let Some(mut hook) = hook else { break };
        let Some(output) = pipeline.advance(&mut hook) else {
            asking.hook = Some(hook);
            return Step::Asking(asking);
        };
        let stage = asking.stage;
        asking.stage = stage.saturating_add(1);
        match output {
            HookOutput::Request(RequestAction::SendRequest) => {}
            HookOutput::Request(RequestAction::SendRequestBody(body)) if rewrites(shared, stage) => {
                shared.conclude(Decision::Rewrite, None);
                asking.changed = true;
                shared.request.with(|request| *request = Rc::new(Request { body, ..without_body(request) }));
            }
            HookOutput::Request(RequestAction::SendResponse(text)) => {
                shared.conclude(Decision::Refuse, None);
                let request = shared.request();
                return Step::Decided(RequestProgress::Answer(match request.dialect {
                    Some(dialect) => local_answer(shared, dialect, &text, Ending::Stop, request.stream),
                    // What it asks for is no text: the answer can only be an error that says it.
                    None => reply::error(asking.endpoint.error_dialect(), 403, "policy_refused", &text),
                }));
            }
            HookOutput::Request(RequestAction::Refuse { status, message }) => {
                shared.conclude(Decision::Refuse, None);
                let reply = error(shared, asking.endpoint.error_dialect(), status.clamp(400, 599), "policy_refused", &message);
                return Step::Decided(RequestProgress::Answer(reply));
            }
            _ => {
                let message = "The request could not be checked by policy.";
                return refuse(shared, asking.endpoint, 500, "policy_failed", message, Map::new());
            }
        }
    }
    if asking.endpoint == MCP && shared.asked().is_known() {
        return Step::Calls { is_rewritten: asking.changed };
    }
    Step::Decided(leave(shared, asking.changed))
}

/// Whether the body may leave changed: a policy rewrites requests, or the calls in them.
pub(in crate::exchange) fn may_change(shared: &Shared) -> bool {
    let has_calls = shared.request().dialect == Some(Dialect::McpTool);
    let changes = |interests: Interests| interests.rewrites_request || (has_calls && interests.tool_calls);
    shared.chain.policies.iter().any(|policy| changes(policy.interests()))
}

/// The request leaves; what is kept of it is what policies ask for.
fn leave(shared: &Shared, is_changed: bool) -> RequestProgress {
    let body = if is_changed { Some(shared.request().body.clone()) } else { None };
    forget_body(shared);
    body.map_or(RequestProgress::Send, RequestProgress::SendBody)
}

/// Drops the body unless a policy wants to see it later.
pub(in crate::exchange) fn forget_body(shared: &Shared) {
    let keeps_body = shared.chain.policies.iter().any(|policy| policy.interests().request_body);
    if !keeps_body {
        shared.request.with(|request| *request = Rc::new(without_body(request)));
    }
}

/// Whether the policy said beforehand that it rewrites requests; the proxy may have let a fixed length go otherwise.
fn rewrites(shared: &Shared, stage: usize) -> bool {
    shared.chain.policies.get(stage).is_some_and(|policy| policy.interests().rewrites_request)
}

pub(super) fn without_body(request: &Request) -> Request {
    Request {
        endpoint: request.endpoint,
        dialect: request.dialect,
        model: request.model.clone(),
        stream: request.stream,
        policy_user: request.policy_user.clone(),
        trace: request.trace.clone(),
        body: Vec::new(),
    }
}
