//! Verdicts that are kept, so that a judge is not asked again about the same call.

use core::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use weir::document::{DocumentDuration, DocumentError};
use weir::fingerprint::digest;
use weir::judge::{Judge, MAX_EXPLANATION_CHARS, Verdict};
use weir::state::Scope;

use super::Context;
use super::question::Call;
use crate::json::read_object;
use crate::text::one_line;

/// Most calls of an exchange that are known to have been asked about.
const MAX_ASKED: usize = 256;

/// How long verdicts are kept, and by whom.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct CacheConfig {
    #[serde(default = "CacheConfig::default_for")]
    r#for: DocumentDuration,
    #[serde(default = "CacheConfig::default_scope")]
    scope: Scope,
}

impl CacheConfig {
    const fn default_for() -> DocumentDuration {
        DocumentDuration(Duration::from_secs(600))
    }

    const fn default_scope() -> Scope {
        Scope::Worker
    }

    /// Makes the cache of a policy whose verdicts depend on this besides the call.
    pub(super) fn build(self, judge: &Judge, depends_on: &[&str]) -> Result<Cache, DocumentError> {
        if !(Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600)).contains(&self.r#for.0) {
            return Err(DocumentError::new("cache.for", "must be between 1s and 30days"));
        }
        let judge = [judge.cluster.as_str(), &judge.authority, &judge.path, &judge.model];
        let parts: Vec<&[u8]> = judge.iter().chain(depends_on).map(|part| part.as_bytes()).collect();
        Ok(Cache { time_to_live: self.r#for.0, scope: self.scope, basis: digest(&parts) })
    }
}

/// Keeps verdicts.
#[derive(Debug)]
pub(super) struct Cache {
    time_to_live: Duration,
    scope: Scope,
    /// A hash of all that verdicts depend on besides the call and the revision of the document, which the key of the store lacks, too.
    basis: String,
}

/// The calls that were asked about in this exchange, with the verdicts that came.
pub(super) type Asked = Vec<(String, Option<Verdict>)>;

impl Cache {
    pub(super) fn describe(&self) -> Value {
        json!({"for_s": self.time_to_live.as_secs(), "scope": self.scope.name()})
    }

    pub(super) fn key(&self, call: &Call<'_>, cx: &Context) -> String {
        let revision = cx.policy_revision().to_le_bytes();
        let parts =
            [self.basis.as_bytes(), &revision, call.tool.as_bytes(), &[u8::from(call.server_side)], call.arguments.as_bytes()];
        digest(&parts)
    }

    /// Gives what a judge said of the same call before. Where it is asked about one at the moment in this exchange, that is awaited.
    pub(super) async fn find(&self, key: &str, cx: &Context) -> Option<Verdict> {
        let look =
            || cx.scratchpad(|tally| tally.asked.iter().find(|(known, _)| known == key).map(|(_, verdict)| verdict.clone()));
        match look() {
            Some(None) => {
                // That call stands before this one.
                cx.turn().await;
                return look().flatten();
            }
            Some(known) => return known,
            None => cx.scratchpad(|tally| {
                if tally.asked.len() < MAX_ASKED {
                    tally.asked.push((key.to_owned(), None));
                }
            }),
        }
        // A store that fails is one that knows nothing: the judge is asked.
        let bytes = cx.state(self.scope).get(key).await.ok()??;
        let kept = read_object(&bytes)?;
        let probability = kept.get("probability").and_then(Value::as_f64).filter(|known| (0.0..=1.0).contains(known))?;
        let verdict = Verdict { probability, explanation: kept.get("explanation")?.as_str()?.to_owned() };
        note(key, &verdict, cx);
        Some(verdict)
    }

    /// Keeps what a judge has said.
    pub(super) fn keep(&self, key: &str, verdict: &Verdict, cx: &Context) {
        note(key, verdict, cx);
        let explanation = one_line(&verdict.explanation, MAX_EXPLANATION_CHARS);
        let kept = json!({"probability": verdict.probability, "explanation": explanation}).to_string();
        let _carried_out_all_the_same = cx.state(self.scope).put(key, kept.as_bytes(), self.time_to_live);
    }
}

fn note(key: &str, verdict: &Verdict, cx: &Context) {
    cx.scratchpad(|tally| {
        if let Some((_, known)) = tally.asked.iter_mut().find(|(known, _)| known == key) {
            *known = Some(verdict.clone());
        }
    });
}
