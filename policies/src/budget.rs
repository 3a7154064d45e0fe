//! Budget: so many tokens of an hour, a day or a month.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir::block::{ContentBlock, ToolCallBlock, build_text_chunk};
use weir::decision::Decision;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::{End, Request};
use weir::limits::FailureMode;
use weir::policy::{
    DeltaAction, FinishReason, Hold, Interests, OutputEnd, Policy, PolicyContext, Refusal, RequestAction, SharedPolicy,
    StreamingContext,
};
use weir::state::{Counter, Scope, StateError};
use weir::time::Timestamp;
use weir::wait::Waiting;

use crate::calendar::Span;
use crate::meter;
use crate::quota::{Per, default_scope};

/// Tokens that are reserved at a time, at the least; an eighth of what was used where that is more. A policy may ask the store so
/// often only.
const STEP: u64 = 64;

/// Lets each subject use so many tokens of a span.
///
/// What is let go is reserved before: the tokens of the request (estimated) when it comes, those of the answer in steps while it
/// streams. Where nothing more can be reserved the answer ends, in its dialect's words for an answer that grew too long. So
/// streams that run at the same time do not use more than there is, but for the error of the estimate; when an exchange is over,
/// whoever ended it, what it used is charged by what the provider says, and what was reserved beyond is given back, unless the span that
/// it was reserved in is over. Where the store fails in mid-stream the answer ends, or goes on unmetered, as `on_error` says. A whole
/// answer is paid for when it comes: it is charged, and not cut.
///
/// Events: `budget.exhausted`, `budget.charged`, `budget.failed`. Reason codes: `BUDGET_EXHAUSTED`, `BUDGET_UNCHECKED`.
#[derive(Debug)]
pub struct Budget(Config);

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    tokens: u64,
    every: Span,
    #[serde(default)]
    of: Of,
    #[serde(default)]
    per: Per,
    #[serde(default = "default_scope")]
    scope: Scope,
    #[serde(default = "Config::default_message")]
    message: String,
    /// Put behind an answer that is ended.
    #[serde(default)]
    notice: Option<String>,
    #[serde(default)]
    on_error: FailureMode,
}

impl Config {
    fn default_message() -> String {
        "The token budget is used up.".to_owned()
    }

    /// The counter of `whose`. Budgets of one chain that differ do not share one: a counter of another span begins anew.
    fn key(&self, whose: &str) -> String {
        let of = match self.of {
            Of::Total => "total",
            Of::Output => "output",
        };
        format!("{}/{}/{of}|{whose}", self.tokens, self.every.name())
    }
}

/// Which tokens count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Of {
    /// Those of request and answer.
    #[default]
    Total,
    /// Those of the answer.
    Output,
}

/// What is known of one exchange.
#[derive(Default)]
pub(crate) struct Spent {
    key: String,
    bytes: meter::Bytes,
    is_streamed: bool,
    /// What was reserved of the answer's tokens.
    reserved: u64,
    /// What was reserved of the request's.
    reserved_input: u64,
    /// What of both was reserved in the window that ends there: what was reserved in others is over with them.
    in_window: u64,
    window_end: Timestamp,
    asked: Option<(u64, Waiting<Result<Counter, StateError>>)>,
    is_exhausted: bool,
    /// Nothing is metered: the store failed, and the document lets that pass.
    is_open: bool,
}

impl Spent {
    /// So many tokens were added to the counter.
    fn note(&mut self, tokens: u64, counter: &Counter) {
        let known = if self.window_end == counter.resets_at { self.in_window } else { 0 };
        (self.in_window, self.window_end) = (known.saturating_add(tokens), counter.resets_at);
    }
}

/// Whether a piece of an answer can be paid for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paid {
    Yes,
    /// Nothing is left.
    No,
    /// The store failed, and the document does not let that pass.
    Unchecked,
}

type Cx = PolicyContext<Spent>;

impl Budget {
    fn exhausted(&self, counter: Option<Counter>, cx: &Cx) {
        let details = json!({"limit": self.0.tokens, "used": counter.map(|counter| counter.value), "every": self.0.every,
            "subject": cx.caller().quota_subject()});
        cx.emit("budget.exhausted", format!("The budget of {} tokens is used up", self.0.tokens), Severity::Warning, details);
    }

    fn fail(&self, error: StateError, cx: &Cx) -> bool {
        let is_open = self.0.on_error == FailureMode::Allow;
        let summary = format!("Tokens cannot be counted: {error}");
        cx.emit("budget.failed", summary, Severity::Error, json!({"error": error.name(), "failed_open": is_open}));
        cx.count_failure("budget");
        if is_open {
            cx.count_failed_open("budget");
        }
        is_open
    }

    /// Reserves `tokens` for the key; by nothing, it only asks.
    fn reserve(&self, key: &str, tokens: u64, cx: &Cx) -> Waiting<Result<Counter, StateError>> {
        let by = i64::try_from(tokens).unwrap_or(i64::MAX);
        cx.state(self.0.scope).add_within(key, by, self.0.tokens, self.0.every.window(cx.now()))
    }

    /// A piece of the answer came: whether it can be paid for.
    fn pay(&self, delta: &str, cx: &StreamingContext<Spent>) -> Paid {
        let mut failed = None;
        let paid = cx.scratchpad(|spent| {
            spent.bytes.add_output(delta);
            if !spent.is_streamed || spent.is_open || spent.is_exhausted {
                return Paid::Yes;
            }
            if let Some((tokens, mut waiting)) = spent.asked.take() {
                match Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(counter)) if counter.is_added => {
                        spent.reserved = spent.reserved.saturating_add(tokens);
                        spent.note(tokens, &counter);
                    }
                    // The rest that there is was not reserved: it is less than a step.
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => {
                        failed = Some(error);
                        spent.is_exhausted = true;
                        return Paid::Unchecked;
                    }
                    Poll::Pending => spent.asked = Some((tokens, waiting)),
                }
            }
            let used = spent.bytes.output_tokens();
            spent.is_exhausted = used > spent.reserved && spent.asked.is_none();
            let step = STEP.max(used / 8);
            if !spent.is_exhausted && spent.asked.is_none() && used.saturating_add(step / 2) >= spent.reserved {
                spent.asked = Some((step, self.reserve(&spent.key, step, cx)));
            }
            if spent.is_exhausted { Paid::No } else { Paid::Yes }
        });
        match failed {
            Some(error) if self.fail(error, cx) => {
                cx.scratchpad(|spent| (spent.is_open, spent.is_exhausted) = (true, false));
                Paid::Yes
            }
            _ => paid,
        }
    }

    fn take_delta<'d>(&self, delta: &str, choice: u32, cx: &StreamingContext<Spent>) -> DeltaAction<'d> {
        match self.pay(delta, cx) {
            Paid::Yes => return DeltaAction::Forward,
            Paid::No => {
                cx.conclude(Decision::Rewrite, "BUDGET_EXHAUSTED");
                self.exhausted(None, cx);
            }
            Paid::Unchecked => cx.conclude(Decision::Rewrite, "BUDGET_UNCHECKED"),
        }
        if let Some(notice) = &self.0.notice {
            // Whoever ended the output before has said something of their own.
            let _ = cx.send(build_text_chunk(choice, notice.as_str()));
        }
        cx.end_output(OutputEnd::because(FinishReason::Length));
        DeltaAction::Drop
    }
}

impl Policy<Spent> for Budget {
    fn greatest_hold(&self) -> Hold {
        Hold::Nothing
    }

    fn interests(&self) -> Interests {
        Interests { request: true, response: true, content: true, reasoning: true, tool_calls: true, ..Interests::NONE }
    }

    fn describe(&self) -> Value {
        json!({"tokens": self.0.tokens, "every": self.0.every, "of": self.0.of, "per": self.0.per, "scope": self.0.scope.name(),
            "on_error": self.0.on_error})
    }

    async fn on_request(&self, request: &Request, cx: &Cx) -> RequestAction {
        let key = self.0.key(&self.0.per.key(request, &cx.caller().quota_subject()));
        let bytes = meter::Bytes::of_request(request);
        let input = if self.0.of == Of::Total { bytes.input_tokens() } else { 0 };
        // With the request goes the first step of the answer, or what is left where that is less.
        let mut reserved = Err(StateError::Unavailable);
        for output in [STEP, 1] {
            reserved = self.reserve(&key, input.saturating_add(output), cx).await;
            if let Ok(counter) = reserved
                && counter.is_added
            {
                cx.scratchpad(|spent| {
                    *spent = Spent {
                        key: key.clone(),
                        bytes,
                        is_streamed: request.stream,
                        reserved: output,
                        reserved_input: input,
                        ..Spent::default()
                    };
                    spent.note(input.saturating_add(output), &counter);
                });
                return RequestAction::SendRequest;
            }
        }
        match reserved {
            Ok(counter) => {
                self.exhausted(Some(counter), cx);
                cx.conclude(Decision::Refuse, "BUDGET_EXHAUSTED");
                let refusal = Refusal::new(429, self.0.message.as_str()).with_code("budget_exhausted");
                RequestAction::Refuse(refusal.with_retry_after(counter.resets_at.since(cx.now())))
            }
            Err(error) if self.fail(error, cx) => {
                cx.scratchpad(|spent| spent.is_open = true);
                RequestAction::SendRequest
            }
            Err(_) => {
                cx.conclude(Decision::Refuse, "BUDGET_UNCHECKED");
                let message = "Tokens cannot be counted at the moment. Try again later.";
                RequestAction::Refuse(Refusal::new(503, message).with_code("budget_unchecked"))
            }
        }
    }

    fn on_content_delta<'d>(&self, delta: &'d str, block: &ContentBlock, cx: &StreamingContext<Spent>) -> DeltaAction<'d> {
        self.take_delta(delta, block.choice(), cx)
    }

    fn on_tool_call_delta<'d>(&self, delta: &'d str, block: &ToolCallBlock, cx: &StreamingContext<Spent>) -> DeltaAction<'d> {
        self.take_delta(delta, block.choice(), cx)
    }

    fn on_stream_complete(&self, end: &End, cx: &Cx) {
        let mut spent = cx.scratchpad(core::mem::take);
        if spent.key.is_empty() {
            return;
        }
        let mut reserved = spent.reserved.saturating_add(spent.reserved_input);
        // What was asked for and not looked at any more is reserved if it was added.
        if let Some((tokens, mut waiting)) = spent.asked.take()
            && let Poll::Ready(Ok(counter)) = Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop()))
            && counter.is_added
        {
            reserved = reserved.saturating_add(tokens);
            spent.note(tokens, &counter);
        }
        let (input, output) = spent.bytes.both(end);
        let used = if self.0.of == Of::Total { input.saturating_add(output) } else { output };
        // Given back is only what this window was charged: that of another would be paid by who is counted now.
        let most_back = if spent.window_end > cx.now() { spent.in_window } else { 0 };
        let correction = i128::from(used).saturating_sub(i128::from(reserved)).max(i128::from(most_back).saturating_neg());
        let correction = i64::try_from(correction).unwrap_or_default();
        if correction != 0 {
            let window = self.0.every.window(cx.now());
            let _carried_out_all_the_same = cx.state(self.0.scope).add(&spent.key, correction, window);
        }
        let by = if end.usage.is_some() { "usage" } else { "estimate" };
        let details = json!({"tokens": used, "by": by, "subject": cx.caller().quota_subject()});
        cx.emit("budget.charged", format!("Charged {used} tokens"), Severity::Debug, details);
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let config: Config = parse(config.with)?;
    if config.tokens == 0 {
        return Err(DocumentError::new("tokens", "must be at least 1"));
    }
    Ok(SharedPolicy::new("Budget", Budget(config)))
}
