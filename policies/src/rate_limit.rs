//! RateLimit: so many requests, and so many tokens, of a window.

use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use weir::block::{ContentBlock, ToolCallBlock};
use weir::decision::Decision;
use weir::document::{DocumentDuration, DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::{End, Request};
use weir::limits::FailureMode;
use weir::policy::{DeltaAction, Hold, Interests, Policy, PolicyContext, Refusal, RequestAction, SharedPolicy, StreamingContext};
use weir::state::{Counter, Scope, StateError};

use crate::meter;
use crate::quota::{Per, default_scope};

/// Lets so many requests, and requests for so many tokens, of each subject pass in a window; others get 429 with `retry-after`.
///
/// Tokens are counted when an exchange is over, by what the provider says, or estimated: the request that goes beyond the limit
/// passes, and the next does not.
///
/// Events: `rate_limited`, `rate_check_passed`, `rate_limit.failed`. Reason codes: `RATE_LIMITED`, `RATE_UNCHECKED`.
#[derive(Debug)]
pub struct RateLimit(Config);

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    requests: Option<Quota>,
    tokens: Option<Quota>,
    #[serde(default)]
    per: Per,
    #[serde(default = "default_scope")]
    scope: Scope,
    #[serde(default = "Config::default_message")]
    message: String,
    #[serde(default)]
    on_error: FailureMode,
}

/// So many in a window; windows begin at multiples of their length.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Quota {
    limit: u64,
    window: DocumentDuration,
}

impl Quota {
    /// The counter of `whose`. Quotas of one chain that differ do not share one: a counter of windows of another length begins anew.
    fn key(&self, what: &str, whose: &str) -> String {
        format!("{what}|{}/{}|{whose}", self.limit, self.window.0.as_secs())
    }
}

impl Config {
    fn default_message() -> String {
        "Too many requests. Try again later.".to_owned()
    }
}

/// What is known of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Metered {
    key: String,
    bytes: meter::Bytes,
}

type Cx = PolicyContext<Metered>;

impl RateLimit {
    fn refuse(&self, what: &str, counter: &Counter, quota: &Quota, cx: &Cx) -> RequestAction {
        let after = counter.resets_at.since(cx.now());
        cx.conclude(Decision::Refuse, "RATE_LIMITED");
        let details = json!({"what": what, "limit": quota.limit, "window_s": quota.window.0.as_secs(), "used": counter.value,
            "retry_after_s": after.as_secs_f64().ceil(), "subject": cx.caller().quota_subject()});
        cx.emit(
            "rate_limited",
            format!("Refused: {} {what} of {} are used", counter.value, quota.limit),
            Severity::Warning,
            details,
        );
        RequestAction::Refuse(Refusal::new(429, self.0.message.as_str()).with_code("rate_limited").with_retry_after(after))
    }

    fn fail(&self, error: StateError, cx: &Cx) -> Option<RequestAction> {
        let is_open = self.0.on_error == FailureMode::Allow;
        let summary = format!("Requests cannot be counted: {error}");
        cx.emit("rate_limit.failed", summary, Severity::Error, json!({"error": error.name(), "failed_open": is_open}));
        cx.count_failure("rate_limit");
        if is_open {
            cx.count_failed_open("rate_limit");
            return None;
        }
        cx.conclude(Decision::Refuse, "RATE_UNCHECKED");
        let message = "Requests cannot be counted at the moment. Try again later.";
        Some(RequestAction::Refuse(Refusal::new(503, message).with_code("rate_unchecked")))
    }
}

impl Policy<Metered> for RateLimit {
    fn greatest_hold(&self) -> Hold {
        Hold::Nothing
    }

    fn interests(&self) -> Interests {
        if self.0.tokens.is_some() {
            Interests { request: true, response: true, content: true, reasoning: true, tool_calls: true, ..Interests::NONE }
        } else {
            Interests::REQUESTS
        }
    }

    fn describe(&self) -> Value {
        let quota = |quota: &Quota| json!({"limit": quota.limit, "window_s": quota.window.0.as_secs()});
        json!({"requests": self.0.requests.as_ref().map(quota), "tokens": self.0.tokens.as_ref().map(quota), "per": self.0.per,
            "scope": self.0.scope.name(), "on_error": self.0.on_error})
    }

    async fn on_request(&self, request: &Request, cx: &Cx) -> RequestAction {
        let key = self.0.per.key(request, &cx.caller().quota_subject());
        cx.scratchpad(|metered| *metered = Metered { key: key.clone(), bytes: meter::Bytes::of_request(request) });
        let state = cx.state(self.0.scope);
        let mut used = None;
        if let Some(quota) = &self.0.tokens {
            match state.add(&quota.key("t", &key), 0, quota.window.0).await {
                Ok(counter) if counter.value >= quota.limit => return self.refuse("tokens", &counter, quota, cx),
                Ok(_) => {}
                Err(error) => {
                    if let Some(refused) = self.fail(error, cx) {
                        return refused;
                    }
                }
            }
        }
        if let Some(quota) = &self.0.requests {
            match state.add_within(&quota.key("r", &key), 1, quota.limit, quota.window.0).await {
                Ok(counter) if counter.is_added => used = Some(counter.value),
                Ok(counter) => return self.refuse("requests", &counter, quota, cx),
                Err(error) => {
                    if let Some(refused) = self.fail(error, cx) {
                        return refused;
                    }
                }
            }
        }
        let details = json!({"requests": used, "limit": self.0.requests.as_ref().map(|quota| quota.limit)});
        cx.emit("rate_check_passed", "Within the rate limit", Severity::Debug, details);
        RequestAction::SendRequest
    }

    fn on_content_delta<'d>(&self, delta: &'d str, _: &ContentBlock, cx: &StreamingContext<Metered>) -> DeltaAction<'d> {
        cx.scratchpad(|metered| metered.bytes.add_output(delta));
        DeltaAction::Forward
    }

    fn on_tool_call_delta<'d>(&self, delta: &'d str, _: &ToolCallBlock, cx: &StreamingContext<Metered>) -> DeltaAction<'d> {
        cx.scratchpad(|metered| metered.bytes.add_output(delta));
        DeltaAction::Forward
    }

    fn on_stream_complete(&self, end: &End, cx: &Cx) {
        let Some(quota) = &self.0.tokens else { return };
        let (key, bytes) = cx.scratchpad(|metered| (metered.key.clone(), metered.bytes));
        let tokens = bytes.tokens(end);
        if !key.is_empty() && tokens > 0 {
            let by = i64::try_from(tokens).unwrap_or(i64::MAX);
            let _carried_out_all_the_same = cx.state(self.0.scope).add(&quota.key("t", &key), by, quota.window.0);
        }
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let config: Config = parse(config.with)?;
    if config.requests.is_none() && config.tokens.is_none() {
        return Err(DocumentError::new("", "give requests or tokens, or both"));
    }
    for (name, quota) in [("requests", &config.requests), ("tokens", &config.tokens)] {
        let Some(quota) = quota else { continue };
        if !(Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 3600)).contains(&quota.window.0) {
            return Err(DocumentError::new(format!("{name}.window"), "must be between 1s and 366days"));
        }
    }
    Ok(SharedPolicy::new("RateLimit", RateLimit(config)))
}
