//! The `envoy` section of a policy document: what concerns the proxy alone.

use serde::Deserialize;
use weir::document::{DocumentError, parse};

/// The section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// How much of a request is held until the policies have decided.
    pub(crate) request_hold: RequestHold,
    /// Whose names access logs get besides Weir's own.
    pub(crate) semantic_conventions: SemanticConventions,
}

/// Names of OpenTelemetry for what access logs show. They are experimental: each version is a choice of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum SemanticConventions {
    /// Weir's own alone.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Those for generative AI, version 0.1.
    #[serde(rename = "genai-0.1")]
    Genai0_1,
}

/// How much of a request is held until the policies have decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RequestHold {
    /// Head and body: a refused request never reaches the upstream. Needs `allow_on_headers_stop_iteration`.
    Headers,
    /// The body: the upstream sees the head of a refused request, and then its connection ends.
    #[default]
    Body,
}

impl Settings {
    /// Reads the section.
    pub(crate) fn parse(json: &str) -> Result<Self, DocumentError> {
        parse(json).map_err(|error| {
            let path = match error.path.as_str() {
                "" | "." => "envoy".to_owned(),
                path => format!("envoy.{path}"),
            };
            DocumentError::new(path, error.message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_or_refused_with_its_path() {
        assert_eq!(Settings::parse("{}").unwrap().request_hold, RequestHold::Body);
        assert_eq!(Settings::parse(r#"{"request_hold":"headers"}"#).unwrap().request_hold, RequestHold::Headers);
        assert_eq!(Settings::parse(r#"{"request_hold":"all"}"#).unwrap_err().path, "envoy.request_hold");
        assert_eq!(Settings::parse(r#"{"hold":"body"}"#).unwrap_err().path, "envoy.hold");
        assert_eq!(Settings::parse("[1]").unwrap_err().path, "envoy.[0]");
    }
}
