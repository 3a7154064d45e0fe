//! CacheResponse: answers a request again as it was answered before.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir::answer::Answer;
use weir::decision::Decision;
use weir::dialect::{self, Dialect};
use weir::document::{DocumentDuration, DocumentError, PolicyConfig, parse};
use weir::event::Severity;
use weir::exchange::{End, EndReason, Request};
use weir::fingerprint::digest;
use weir::policy::{Hold, Interests, Policy, PolicyContext, RequestAction, SharedPolicy};
use weir::state::{MAX_VALUE_BYTES, Scope};

use crate::json::read_object;

/// Longest request that is looked for.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// What does not change what is answered: how the answer is sent, and who asks for what records.
const NOT_IN_KEY: [&str; 6] = ["stream", "stream_options", "user", "metadata", "store", "safety_identifier"];

/// Gives the answer to a request that was answered before: the same request to the same path, whatever the order of its members, their
/// spacing and whether it is streamed. Policies behind it take the answer for the provider's; those before it do not see that there was none.
///
/// Kept are answers that came whole with status 200, of at most 16 KiB as JSON, for a time to live. Where the store is full nothing more
/// is kept until something expires.
///
/// Events: `cache.hit`, `cache.stored`, `cache.skipped`. Reason code: `CACHED`, with the decision `allow`.
#[derive(Debug)]
pub struct CacheResponse(Config);

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default = "Config::default_time_to_live")]
    time_to_live: DocumentDuration,
    #[serde(default)]
    share: Share,
    #[serde(default = "Config::default_scope")]
    scope: Scope,
    /// Whether answers to requests that ask for chance are kept, too.
    #[serde(default)]
    with_temperature: bool,
}

impl Config {
    const fn default_time_to_live() -> DocumentDuration {
        DocumentDuration(Duration::from_secs(600))
    }

    const fn default_scope() -> Scope {
        Scope::Worker
    }
}

/// Who gets the answers that were given to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Share {
    /// Who has the same credential, and the same trusted name.
    #[default]
    Credential,
    /// Everybody.
    All,
}

impl CacheResponse {
    /// The key of a request, or why it has none.
    fn key(&self, request: &Request, cx: &PolicyContext<String>) -> Result<String, &'static str> {
        let (Some(dialect), Some(endpoint)) = (request.dialect.filter(|dialect| *dialect != Dialect::McpTool), request.endpoint)
        else {
            return Err("not_cacheable");
        };
        if request.model.is_empty() {
            // What answers is said elsewhere, or changes without a word.
            return Err("no_model");
        }
        if request.body.len() > MAX_REQUEST_BYTES {
            return Err("request_too_long");
        }
        let Some(Value::Object(mut body)) = read_object(&request.body) else { return Err("unreadable") };
        let temperature = body.get("temperature").and_then(Value::as_f64);
        if !self.0.with_temperature && temperature.is_some_and(|temperature| temperature > 0.0) {
            return Err("temperature");
        }
        match dialect::request::read(endpoint, &request.body) {
            Ok(facts) if facts.stored_input.is_none() => {}
            Ok(_) => return Err("stored_input"),
            Err(_) => return Err("unreadable"),
        }
        NOT_IN_KEY.iter().for_each(|key| drop(body.remove(*key)));
        let caller = cx.caller();
        let owner = match (self.0.share, caller.credential) {
            (Share::All, _) => String::new(),
            (Share::Credential, Some(credential)) => format!("{credential}|{}", caller.quota_subject()),
            (Share::Credential, None) => return Err("no_credential"),
        };
        // Members are in order: the map of serde_json is sorted.
        let body = Value::Object(body).to_string();
        // The path can name a deployment, and a version.
        Ok(digest(&[owner.as_bytes(), dialect.name().as_bytes(), request.path.as_bytes(), body.as_bytes()]))
    }
}

fn skip(why: &'static str, cx: &PolicyContext<String>) {
    cx.emit("cache.skipped", format!("Not cached: {why}"), Severity::Debug, json!({ "why": why }));
}

impl Policy<String> for CacheResponse {
    fn greatest_hold(&self) -> Hold {
        Hold::Nothing
    }

    fn interests(&self) -> Interests {
        Interests::ALL
    }

    fn describe(&self) -> Value {
        json!({"time_to_live_s": self.0.time_to_live.0.as_secs(), "share": self.0.share, "scope": self.0.scope.name(),
            "with_temperature": self.0.with_temperature})
    }

    async fn on_request(&self, request: &Request, cx: &PolicyContext<String>) -> RequestAction {
        let key = match self.key(request, cx) {
            Ok(key) => key,
            Err(why) => {
                skip(why, cx);
                return RequestAction::SendRequest;
            }
        };
        match cx.state(self.0.scope).get(&key).await {
            Ok(Some(known)) => {
                if let Ok(answer) = serde_json::from_slice::<Answer>(&known) {
                    cx.conclude(Decision::Allow, "CACHED");
                    cx.emit("cache.hit", "Answered from the cache", Severity::Info, json!({"bytes": known.len(), "key": key}));
                    return RequestAction::SendResponse(answer.through_policies());
                }
            }
            Ok(None) => {}
            Err(error) => skip(error.name(), cx),
        }
        cx.scratchpad(|known| *known = key);
        cx.record_answer();
        RequestAction::SendRequest
    }

    fn on_stream_complete(&self, end: &End, cx: &PolicyContext<String>) {
        let key = cx.scratchpad(core::mem::take);
        if key.is_empty() {
            return;
        }
        if end.reason != EndReason::Completed || end.status != 200 {
            return skip("not_completed", cx);
        }
        let Some(answer) = cx.recorded_answer() else { return skip("not_recorded", cx) };
        let Ok(json) = serde_json::to_vec(&answer) else { return skip("not_recorded", cx) };
        if json.len() > MAX_VALUE_BYTES {
            return skip("answer_too_long", cx);
        }
        let _carried_out_all_the_same = cx.state(self.0.scope).put(&key, &json, self.0.time_to_live.0);
        cx.emit("cache.stored", "Kept the answer", Severity::Debug, json!({"bytes": json.len(), "key": key}));
    }
}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let config: Config = parse(config.with)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600)).contains(&config.time_to_live.0) {
        return Err(DocumentError::new("time_to_live", "must be between 1s and 30days"));
    }
    Ok(SharedPolicy::new("CacheResponse", CacheResponse(config)))
}
