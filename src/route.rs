//! Routes: which endpoint of an API a request is for, and what is done with it.
//!
//! Servers differ in what they make of another case, doubled slashes and percent-encoding. The dialects' endpoints, and
//! what is blocked, are found in all such spellings, so that none of them is a way around the chain. Endpoints of which
//! anything passes unread must be spelled plainly, so that no other reading makes a dialect's endpoint of them.

mod path;
#[cfg(test)]
mod tests;

use core::fmt;

use serde::{Deserialize, Deserializer};

pub use self::path::PathPattern;
use self::path::{Case, matches, normalize, strip, written};
use crate::dialect::Dialect;
use crate::document::{DocumentError, read_text};

/// An endpoint of the known APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// The one whose requests and responses are of this dialect.
    Dialect(Dialect),
    /// Anthropic's counting of tokens: a `messages` request that is answered with a number.
    CountTokens,
    /// Anthropic's message batches: many `messages` requests in one, whose results are fetched later.
    MessageBatches,
    /// OpenAI's batches, whose requests stand in a file that was sent before.
    Batches,
    /// OpenAI's embeddings.
    Embeddings,
    /// OpenAI's legacy completions.
    Completions,
    /// The list of models.
    Models,
    /// None: a browser asks whether a page of another origin may send a request.
    Preflight,
    /// None that is known.
    Unknown,
}

impl Endpoint {
    /// The name that policy documents and events use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialect(dialect) => dialect.name(),
            Self::CountTokens => "count_tokens",
            Self::MessageBatches => "message_batches",
            Self::Batches => "batches",
            Self::Embeddings => "embeddings",
            Self::Completions => "completions",
            Self::Models => "models",
            Self::Preflight => "preflight",
            Self::Unknown => "unknown",
        }
    }

    /// The dialect in which its clients expect errors; `None` for that of OpenAI's other endpoints.
    pub const fn error_dialect(self) -> Option<Dialect> {
        match self {
            Self::Dialect(dialect) => Some(dialect),
            Self::CountTokens | Self::MessageBatches => Some(Dialect::Messages),
            Self::Batches | Self::Embeddings | Self::Completions | Self::Models | Self::Preflight | Self::Unknown => None,
        }
    }

    /// Gives the names that documents can say.
    pub(crate) fn names() -> Vec<&'static str> {
        let mut names: Vec<_> = ENDPOINTS.iter().map(|(_, _, endpoint)| endpoint.name()).collect();
        names.dedup();
        names
    }

    /// The endpoint of that name.
    fn named(name: &str) -> Option<Self> {
        ENDPOINTS.iter().map(|(_, _, endpoint)| *endpoint).find(|endpoint| endpoint.name() == name)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The methods of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Methods {
    Any,
    Get,
    Post,
    /// Those of MCP: messages, a stream of messages, the end of a session.
    Mcp,
}

impl Methods {
    fn include(self, method: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Get => method == b"GET",
            Self::Post => method == b"POST",
            Self::Mcp => matches!(method, b"POST" | b"GET" | b"DELETE"),
        }
    }
}

/// Where the endpoints are.
const ENDPOINTS: &[(Methods, &str, Endpoint)] = &[
    (Methods::Post, "/v1/chat/completions", Endpoint::Dialect(Dialect::ChatCompletions)),
    (Methods::Post, "/v1/messages", Endpoint::Dialect(Dialect::Messages)),
    (Methods::Post, "/v1/responses", Endpoint::Dialect(Dialect::Responses)),
    (Methods::Mcp, "/mcp", Endpoint::Dialect(Dialect::McpTool)),
    (Methods::Post, "/v1/messages/count_tokens", Endpoint::CountTokens),
    (Methods::Any, "/v1/messages/batches", Endpoint::MessageBatches),
    (Methods::Any, "/v1/messages/batches/**", Endpoint::MessageBatches),
    (Methods::Any, "/v1/batches", Endpoint::Batches),
    (Methods::Any, "/v1/batches/**", Endpoint::Batches),
    (Methods::Post, "/v1/embeddings", Endpoint::Embeddings),
    (Methods::Post, "/v1/completions", Endpoint::Completions),
    (Methods::Get, "/v1/models", Endpoint::Models),
    (Methods::Get, "/v1/models/**", Endpoint::Models),
];

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RouteAction {
    /// The policies see it before it leaves. Of endpoints other than the dialects' the request alone is governed; what
    /// comes back passes unread.
    Govern,
    /// It passes ungoverned.
    Allow,
    /// It is refused.
    Block,
}

/// The `routes` of a policy document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Routes {
    /// What is done with [`Endpoint::CountTokens`].
    pub count_tokens: RouteAction,
    /// What is done with [`Endpoint::MessageBatches`].
    pub message_batches: RouteAction,
    /// What is done with [`Endpoint::Batches`]; never governed.
    pub batches: RouteAction,
    /// What is done with [`Endpoint::Embeddings`].
    pub embeddings: RouteAction,
    /// What is done with [`Endpoint::Completions`].
    pub completions: RouteAction,
    /// What is done with [`Endpoint::Models`]; never governed.
    pub models: RouteAction,
    /// What is done with all other paths; never governed.
    pub unknown: RouteAction,
    /// What is done with questions of browsers whether a page of another origin may send a request (`OPTIONS`, without a
    /// body), whatever the path; never governed.
    pub preflight: RouteAction,
    /// What is done with a `responses` request that refers to input which stands at the provider: an earlier response, a
    /// conversation, an item. That input is not there to be governed: it was, when it passed here first, but the provider
    /// keeps of its own answers what it said, not what the policies made of it.
    pub stored_input: RouteAction,
    /// Further requests that pass ungoverned. They may name an endpoint of the fields above, but none of a dialect's.
    pub allow: Vec<AllowedRoute>,
    /// Further places of endpoints, such as Azure's deployments.
    pub map: Vec<MappedRoute>,
    /// What may stand before the path of every endpoint.
    pub prefixes: Vec<PathPattern>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            count_tokens: RouteAction::Govern,
            message_batches: RouteAction::Block,
            batches: RouteAction::Block,
            embeddings: RouteAction::Govern,
            completions: RouteAction::Block,
            models: RouteAction::Allow,
            unknown: RouteAction::Block,
            preflight: RouteAction::Allow,
            stored_input: RouteAction::Allow,
            allow: Vec::new(),
            map: Vec::new(),
            prefixes: Vec::new(),
        }
    }
}

/// Requests that pass ungoverned: a method and a path, such as `GET /v1/files/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedRoute {
    method: String,
    path: PathPattern,
}

impl<'de> Deserialize<'de> for AllowedRoute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| {
            let is_method = |method: &str| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
            match text.split_once(' ').filter(|(method, _)| is_method(method)) {
                Some((method, path)) => Ok(Self { method: method.to_owned(), path: PathPattern::new(path)? }),
                None => Err("must be a method and a path, such as \"GET /v1/files/*\"".to_owned()),
            }
        })
    }
}

/// Another place of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MappedRoute {
    /// Where it is.
    pub path: PathPattern,
    /// The endpoint, by its name; its methods stay.
    #[serde(deserialize_with = "endpoint_by_name")]
    pub to: Endpoint,
}

fn endpoint_by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    read_text(deserializer, |name| {
        Endpoint::named(name).ok_or_else(|| format!("there is no endpoint {name:?}; there are: {}", Endpoint::names().join(", ")))
    })
}

/// What a request is for, and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) action: RouteAction,
}

impl Routes {
    /// Finds the route of a request; `targets` are the dialects that are governed.
    pub(crate) fn find(&self, targets: &[Dialect], method: &[u8], path: &[u8]) -> Route {
        let endpoint = self.endpoint(method, &normalize(path), Case::Ignored);
        if let Endpoint::Dialect(dialect) = endpoint {
            let action = if targets.contains(&dialect) { RouteAction::Govern } else { RouteAction::Allow };
            return Route { endpoint, action };
        }
        let written = written(path);
        let is_listed = |path| {
            self.allow
                .iter()
                .any(|allowed| allowed.method.as_bytes() == method && matches(allowed.path.as_str(), path, Case::Exact))
        };
        if written.is_some_and(is_listed) {
            return Route { endpoint, action: RouteAction::Allow };
        }
        let action = self.action(endpoint);
        let is_spelled_plainly = || written.is_some_and(|path| self.endpoint(method, path, Case::Exact) == endpoint);
        if action != RouteAction::Block && endpoint != Endpoint::Unknown && !is_spelled_plainly() {
            return Route { endpoint: Endpoint::Unknown, action: self.unknown };
        }
        Route { endpoint, action }
    }

    /// The route of a request of which all has come with its head.
    pub(crate) fn find_bodiless(&self, targets: &[Dialect], method: &[u8], path: &[u8]) -> Route {
        if method == b"OPTIONS" {
            return Route { endpoint: Endpoint::Preflight, action: self.preflight };
        }
        self.find(targets, method, path)
    }

    fn endpoint(&self, method: &[u8], path: &str, case: Case) -> Endpoint {
        let mapped = self.map.iter().filter(|mapped| matches(mapped.path.as_str(), path, case)).map(|mapped| mapped.to);
        let behind_prefixes = self.prefixes.iter().filter_map(|prefix| strip(prefix.as_str(), path, case));
        let known = core::iter::once(path).chain(behind_prefixes).flat_map(|path| {
            let here = move |entry: &&(Methods, &str, Endpoint)| entry.0.include(method) && matches(entry.1, path, case);
            ENDPOINTS.iter().filter(here).map(|(_, _, endpoint)| *endpoint)
        });
        let takes_method =
            |endpoint: &Endpoint| ENDPOINTS.iter().any(|(methods, _, known)| known == endpoint && methods.include(method));
        mapped.filter(takes_method).chain(known).next().unwrap_or(Endpoint::Unknown)
    }

    const fn action(&self, endpoint: Endpoint) -> RouteAction {
        match endpoint {
            Endpoint::Dialect(_) => RouteAction::Govern,
            Endpoint::CountTokens => self.count_tokens,
            Endpoint::MessageBatches => self.message_batches,
            Endpoint::Batches => self.batches,
            Endpoint::Embeddings => self.embeddings,
            Endpoint::Completions => self.completions,
            Endpoint::Models => self.models,
            Endpoint::Preflight => self.preflight,
            Endpoint::Unknown => self.unknown,
        }
    }

    /// Refuses actions that would not do what they say.
    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let without_text = [
            ("routes.batches", self.batches, "the requests of a batch stand in a file that was sent before"),
            ("routes.models", self.models, "such a request has no text"),
            ("routes.preflight", self.preflight, "such a request has no text"),
            ("routes.unknown", self.unknown, "where its text stands is not known"),
            ("routes.stored_input", self.stored_input, "it stands at the provider"),
        ];
        without_text.iter().find(|(_, action, _)| *action == RouteAction::Govern).map_or(Ok(()), |(path, _, why)| {
            Err(DocumentError::new(*path, format!("\"govern\" is not possible, because {why}: use \"block\" or \"allow\"")))
        })
    }
}
