//! Policy documents: the JSON that a filter is configured with. Every error names the path of the wrong field.

mod configuration;
mod projects;
#[cfg(feature = "schema")]
pub mod schema;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::after_block::AfterBlock;
use crate::caller::Identity;
use crate::chain::Chain;
use crate::dialect::Dialect;
use crate::evidence::Evidence;
use crate::judge::{Credential, Judge};
use crate::limits::Limits;
use crate::policy::SharedPolicy;
use crate::rollout::{Rollout, check_policies};
use crate::route::Routes;

pub(crate) use self::configuration::read_text;
pub use self::configuration::{DocumentDuration, DocumentError, parse};
pub use self::projects::Documents;

/// What a policy is made from.
#[derive(Clone, Copy, Debug)]
pub struct PolicyConfig<'a> {
    /// The `with` of its chain entry; `{}` where there is none.
    pub with: &'a str,
    /// The judges of the document.
    pub judges: &'a HashMap<String, Judge>,
    /// The variables that it can take secrets from.
    pub environment: Environment<'a>,
}

/// The variables that a document can name.
#[derive(Clone, Copy)]
pub struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // They hold secrets.
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment<'static> {
    /// No variables.
    pub const NONE: Self = Self(&|_| None);
}

impl<'a> Environment<'a> {
    /// Looks variables up with `find`.
    pub const fn new(find: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self(find)
    }

    /// Gives the value of a variable.
    ///
    /// # Errors
    /// When there is none; `field` is the path of what names it.
    pub fn variable(&self, name: &str, field: impl Into<String>) -> Result<String, DocumentError> {
        (self.0)(name).ok_or_else(|| {
            let message = format!("the VM has no variable {name:?}: name it in vm_config.environment_variables");
            DocumentError::new(field, message)
        })
    }
}

/// Makes a policy from its configuration; error paths are relative to `with`. It may capture what its policies share.
pub type Factory = Arc<dyn Fn(PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> + Send + Sync>;

/// The policies that documents can name with `use`.
#[derive(Clone, Default)]
pub struct Registry(Vec<(&'static str, Factory)>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Registry {
    /// Adds a policy under `name`; a later one of the same name takes the place of an earlier.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        factory: impl Fn(PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> + Send + Sync + 'static,
    ) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, Arc::new(factory)));
        self
    }

    fn factory(&self, name: &str) -> Option<&Factory> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, factory)| factory)
    }

    /// Lists the names that documents can say.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EventSink {
    /// Envoy cluster of the collector.
    pub cluster: String,
    /// Value of `:authority`; the cluster's name where absent.
    pub authority: Option<String>,
    /// Path of the collector's endpoint.
    #[serde(default = "EventSink::default_path")]
    pub path: String,
    /// Name of the environment variable that holds the collector's token.
    pub token_env: Option<String>,
    /// Most events a batch has.
    #[serde(default = "EventSink::default_max_batch")]
    pub max_batch: usize,
    /// How often batches are sent.
    #[serde(default = "EventSink::default_interval")]
    pub interval: DocumentDuration,
    /// Most events that wait; more are dropped, oldest first, and counted.
    #[serde(default = "EventSink::default_queue")]
    pub queue: usize,
}

impl EventSink {
    fn default_path() -> String {
        "/v1/events".to_owned()
    }

    const fn default_max_batch() -> usize {
        256
    }

    const fn default_interval() -> DocumentDuration {
        DocumentDuration(Duration::from_millis(200))
    }

    const fn default_queue() -> usize {
        10_000
    }
}

/// A document that was read.
#[derive(Debug)]
pub struct Document {
    /// What it makes of exchanges.
    pub chain: Chain,
    /// Where events go, if anywhere.
    pub events: Option<EventSink>,
    /// The part that concerns the proxy alone (`envoy`), as JSON; `{}` where absent.
    pub proxy: String,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawDocument {
    policy: RawIdentity,
    #[serde(default)]
    targets: Option<Vec<Dialect>>,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<schema::Entry>"))]
    chain: Vec<RawChainEntry>,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, RawJudge>"))]
    judges: HashMap<String, RawJudge>,
    events: Option<EventSink>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    routes: Routes,
    #[serde(default)]
    rollout: Rollout,
    #[serde(default)]
    identity: Identity,
    #[serde(default)]
    reason_codes: BTreeMap<String, String>,
    #[serde(default)]
    evidence: Evidence,
    #[serde(default)]
    after_block: AfterBlock,
    #[cfg_attr(feature = "schema", schemars(with = "Option<schema::Settings>"))]
    envoy: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    revision: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChainEntry {
    r#use: String,
    with: Option<Box<RawValue>>,
    rollout: Option<Rollout>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawJudge {
    cluster: String,
    authority: Option<String>,
    #[serde(default = "RawJudge::default_path")]
    path: String,
    model: String,
    #[serde(default = "RawJudge::default_timeout")]
    timeout: DocumentDuration,
    api_key: Option<String>,
    api_key_env: Option<String>,
}

impl RawJudge {
    fn default_path() -> String {
        "/v1/chat/completions".to_owned()
    }

    const fn default_timeout() -> DocumentDuration {
        DocumentDuration(Duration::from_secs(5))
    }
}

/// Longest deadline that a judge may be given: well below the idle timers of proxies and clients.
const MAX_JUDGE_TIMEOUT: Duration = Duration::from_secs(60);

impl Document {
    /// Reads a document. `environment` looks up the variables that it names.
    ///
    /// # Errors
    /// When anything in it is wrong, with the path of the field.
    pub fn parse(json: &str, registry: &Registry, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, DocumentError> {
        let raw: RawDocument = parse(json)?;
        if raw.policy.id.is_empty() {
            return Err(DocumentError::new("policy.id", "must not be empty"));
        }
        let variables = Environment::new(environment);
        let judges = raw
            .judges
            .into_iter()
            .map(|(name, judge)| Ok((name.clone(), read_judge(name, judge, variables)?)))
            .collect::<Result<HashMap<_, _>, DocumentError>>()?;
        let policies = raw
            .chain
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                make_policy(entry, registry, &judges, variables).map_err(|error| error.below(&format!("chain[{index}]")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_policies(&policies)?;
        check_raw(&policies)?;
        if let Some(sink) = &raw.events {
            check_sink(sink)?;
        }
        check_limits(&raw.limits)?;
        raw.routes.check()?;
        raw.rollout.check()?;
        raw.identity.check()?;
        raw.after_block.check()?;
        check_reason_codes(&raw.reason_codes)?;
        if raw.targets.as_ref().is_some_and(Vec::is_empty) {
            return Err(DocumentError::new("targets", "must name a dialect: without one nothing is governed"));
        }
        let targets = raw
            .targets
            .unwrap_or_else(|| vec![Dialect::ChatCompletions, Dialect::Messages, Dialect::Responses, Dialect::McpTool]);
        Ok(Self {
            chain: Chain {
                id: raw.policy.id,
                name: raw.policy.name,
                revision: raw.policy.revision,
                targets,
                policies,
                judges,
                limits: raw.limits,
                routes: raw.routes,
                rollout: raw.rollout,
                identity: raw.identity,
                reason_codes: raw.reason_codes,
                is_linked: true,
                evidence: raw.evidence.completed(environment)?,
                after_block: raw.after_block,
            },
            events: raw.events,
            proxy: raw.envoy.map_or_else(|| "{}".to_owned(), |envoy| envoy.get().to_owned()),
        })
    }
}

/// Checks that raw policies stand at the end: what they write, no other policy reads, and so none can be taken to have read it.
fn check_raw(policies: &[SharedPolicy]) -> Result<(), DocumentError> {
    let Some(first) = policies.iter().position(|policy| policy.interests().raw) else { return Ok(()) };
    let behind = policies.iter().enumerate().skip(first).find(|(_, policy)| !policy.interests().raw);
    match (policies.get(first), behind) {
        (Some(raw), Some((index, policy))) => {
            let message = format!(
                "{} stands behind {}, which has raw access, and would not see what that writes: put raw policies at the end of the chain",
                policy.name(),
                raw.name()
            );
            Err(DocumentError::new(format!("chain[{index}]"), message))
        }
        _ => Ok(()),
    }
}

fn make_policy(
    entry: RawChainEntry,
    registry: &Registry,
    judges: &HashMap<String, Judge>,
    environment: Environment<'_>,
) -> Result<SharedPolicy, DocumentError> {
    let Some(factory) = registry.factory(&entry.r#use) else {
        return Err(DocumentError::new(
            "use",
            format!("there is no policy {:?}; there are: {}", entry.r#use, registry.names().join(", ")),
        ));
    };
    let with = entry.with.as_deref().map_or("{}", RawValue::get);
    let policy = factory(PolicyConfig { with, judges, environment }).map_err(|error| error.below("with"))?;
    Ok(match entry.rollout {
        Some(rollout) => policy.in_rollout(rollout),
        None => policy,
    })
}

fn read_judge(name: String, judge: RawJudge, environment: Environment<'_>) -> Result<Judge, DocumentError> {
    let at = |field: &str| format!("judges.{name}.{field}");
    let timeout = judge.timeout.0;
    if timeout.is_zero() || timeout > MAX_JUDGE_TIMEOUT {
        return Err(DocumentError::new(
            at("timeout"),
            format!("must be more than 0 and at most {}s", MAX_JUDGE_TIMEOUT.as_secs()),
        ));
    }
    if !judge.path.starts_with('/') {
        return Err(DocumentError::new(at("path"), "must begin with a slash"));
    }
    for (field, value) in [("cluster", &judge.cluster), ("model", &judge.model)] {
        if value.is_empty() {
            return Err(DocumentError::new(at(field), "must not be empty"));
        }
    }
    let credential = match (judge.api_key, judge.api_key_env) {
        (Some(_), Some(_)) => return Err(DocumentError::new(at("api_key"), "give api_key or api_key_env, not both")),
        (Some(secret), None) => Some(Credential::new(secret)),
        (None, Some(variable)) => Some(Credential::new(environment.variable(&variable, at("api_key_env"))?)),
        (None, None) => None,
    };
    let authority = judge.authority.unwrap_or_else(|| judge.cluster.clone());
    Ok(Judge { name, cluster: judge.cluster, authority, path: judge.path, model: judge.model, timeout, credential })
}

fn check_sink(sink: &EventSink) -> Result<(), DocumentError> {
    let checks = [
        ("events.cluster", !sink.cluster.is_empty(), "must not be empty"),
        ("events.path", sink.path.starts_with('/'), "must begin with a slash"),
        ("events.max_batch", (1..=4096).contains(&sink.max_batch), "must be between 1 and 4096"),
        ("events.queue", (1..=1_000_000).contains(&sink.queue), "must be between 1 and 1000000"),
        (
            "events.interval",
            (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&sink.interval.0),
            "must be between 10ms and 60s",
        ),
    ];
    check_all(&checks)
}

fn check_limits(limits: &Limits) -> Result<(), DocumentError> {
    const MIB: usize = 1024 * 1024;
    let within = |bytes: usize, most: usize| (1024..=most).contains(&bytes);
    let checks = [
        ("limits.max_request_bytes", within(limits.max_request_bytes, 256 * MIB), "must be between 1024 and 268435456"),
        ("limits.max_response_bytes", within(limits.max_response_bytes, 256 * MIB), "must be between 1024 and 268435456"),
        ("limits.max_event_bytes", within(limits.max_event_bytes, 64 * MIB), "must be between 1024 and 67108864"),
        ("limits.max_rewritten_bytes", within(limits.max_rewritten_bytes, 64 * MIB), "must be between 1024 and 67108864"),
        ("limits.max_held_bytes", within(limits.max_held_bytes, 64 * MIB), "must be between 1024 and 67108864"),
    ];
    check_all(&checks)
}

/// Codes are words that programs compare.
fn check_reason_codes(codes: &BTreeMap<String, String>) -> Result<(), DocumentError> {
    let is_word = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    for (known, own) in codes {
        if !is_word(known) || !is_word(own) {
            let message = "must be of letters, digits, \"_\", \"-\" and \".\", at most 64, and stand for one that is so";
            return Err(DocumentError::new(format!("reason_codes.{known}"), message));
        }
    }
    Ok(())
}

fn check_all(checks: &[(&str, bool, &str)]) -> Result<(), DocumentError> {
    checks.iter().find(|(_, holds, _)| !holds).map_or(Ok(()), |(path, _, message)| Err(DocumentError::new(*path, *message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Interests, Policy};

    #[derive(Debug)]
    struct Plain;
    impl Policy for Plain {
        fn interests(&self) -> Interests {
            Interests::TOOL_CALLS
        }
    }

    fn plain(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct With {
            #[serde(default, rename = "threshold")]
            _threshold: f64,
        }
        let _: With = parse(config.with)?;
        Ok(SharedPolicy::new("Plain", Plain))
    }

    fn read(json: &str) -> Result<Document, DocumentError> {
        Document::parse(json, &Registry::default().with("plain", plain), &|name| (name == "KEY").then(|| "secret".to_owned()))
    }

    #[test]
    fn a_whole_document_is_read() {
        let document = read(
            r#"{"policy":{"id":"p","name":"P","revision":7},"targets":["messages"],"chain":[{"use":"plain","with":{"threshold":0.5}}],
                "judges":{"main":{"cluster":"judge","model":"small","timeout":"200ms","api_key_env":"KEY"}},
                "events":{"cluster":"collector","interval":"1s"},"limits":{"max_held_bytes":4096},
                "evidence":{"before":true,"salt_env":"KEY"},"envoy":{"request_hold":"headers"}}"#,
        )
        .unwrap();
        assert_eq!(document.chain.revision, 7);
        assert_eq!(document.chain.targets, [Dialect::Messages]);
        assert_eq!(document.chain.policies[0].name(), "Plain");
        let judge = document.chain.judge("main").unwrap();
        assert_eq!(judge.timeout, Duration::from_millis(200));
        assert_eq!(judge.credential.as_ref().unwrap().authorization(), "Bearer secret");
        assert!(!format!("{judge:?}").contains("secret"));
        assert_eq!(document.events.unwrap().max_batch, 256);
        assert_eq!(document.chain.limits.max_held_bytes, 4096);
        let evidence = &document.chain.evidence;
        assert!(evidence.before && !evidence.after);
        assert_eq!(evidence.salt, b"secret");
        assert_eq!(document.proxy, r#"{"request_hold":"headers"}"#);
    }

    #[test]
    fn a_factory_may_capture_what_its_policies_share() {
        let made = Arc::new(core::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let registry = Registry::default().with("counted", move |_| {
            counted.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            Ok(SharedPolicy::new("Plain", Plain))
        });
        let json = r#"{"policy":{"id":"p"},"chain":[{"use":"counted"},{"use":"counted"}]}"#;
        assert!(Document::parse(json, &registry, &|_| None).is_ok());
        assert_eq!(made.load(core::sync::atomic::Ordering::Relaxed), 2);
        assert_eq!(format!("{registry:?}"), r#"{"counted"}"#);
    }

    #[test]
    fn every_error_names_the_path_of_the_wrong_field() {
        for (json, path) in [
            ("", ""),
            ("{}", ""),
            (r#"{"policy":{"id":""}}"#, "policy.id"),
            (r#"{"policy":{"id":"p","revision":-1}}"#, "policy.revision"),
            (r#"{"policy":{"id":"p"},"polices":[]}"#, "polices"),
            (r#"{"policy":{"id":"p"},"targets":["responses "]}"#, "targets[0]"),
            (r#"{"policy":{"id":"p"},"targets":[]}"#, "targets"),
            (r#"{"policy":{"id":"p"},"chain":[{"use":"plain"},{"use":"nothing"}]}"#, "chain[1].use"),
            (r#"{"policy":{"id":"p"},"chain":[{"use":"plain","with":{"threshold":"high"}}]}"#, "chain[0].with.threshold"),
            (r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"j","model":"m","timeout":"fast"}}}"#, "judges.main.timeout"),
            (r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"j","model":"m","timeout":"2h"}}}"#, "judges.main.timeout"),
            (
                r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"j","model":"m","api_key_env":"NO"}}}"#,
                "judges.main.api_key_env",
            ),
            (r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"j","model":"m","path":"v1"}}}"#, "judges.main.path"),
            (r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"","model":"m"}}}"#, "judges.main.cluster"),
            (r#"{"policy":{"id":"p"},"judges":{"main":{"cluster":"j","model":""}}}"#, "judges.main.model"),
            (r#"{"policy":{"id":"p"},"routes":{"allow":["GET /v1/files","GET v1"]}}"#, "routes.allow[1]"),
            (r#"{"policy":{"id":"p"},"routes":{"map":[{"path":"/x","to":"chat"}]}}"#, "routes.map[0].to"),
            (r#"{"policy":{"id":"p"},"routes":{"unknown":"govern"}}"#, "routes.unknown"),
            (r#"{"policy":{"id":"p"},"routes":{"stored_input":"govern"}}"#, "routes.stored_input"),
            (r#"{"policy":{"id":"p"},"events":{"cluster":"c","queue":0}}"#, "events.queue"),
            (r#"{"policy":{"id":"p"},"limits":{"max_held_bytes":1}}"#, "limits.max_held_bytes"),
            (r#"{"policy":{"id":"p"},"evidence":{"max_bytes":4096}}"#, "evidence.max_bytes"),
            (r#"{"policy":{"id":"p"},"evidence":{"salt_env":"NO"}}"#, "evidence.salt_env"),
            (r#"{"policy":{"id":"p"},"evidence":{"texts":true}}"#, "evidence.texts"),
            (r#"{"policy":{"id":"p"},"limits":{"on_exceeded":"maybe"}}"#, "limits.on_exceeded"),
        ] {
            let error = read(json).unwrap_err();
            assert_eq!(error.path.trim_start_matches('.'), path, "{json}: {error}");
        }
    }
}
