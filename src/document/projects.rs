//! Several documents in one filter: one for each project.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::value::RawValue;

#[cfg(feature = "schema")]
use super::schema;
use super::{Document, DocumentError, EventSink, Registry, parse};
use crate::chain::Chain;

/// Most projects of a filter.
const MAX_PROJECTS: usize = 1_000;

/// What a filter is configured with: a policy document, or one for each of several projects.
#[derive(Clone, Debug)]
pub struct Documents {
    /// Where events go, if anywhere.
    pub events: Option<EventSink>,
    /// The part that concerns the proxy alone (`envoy`), as JSON; `{}` where absent.
    pub proxy: String,
    /// For requests that name no project.
    default: Arc<Chain>,
    projects: Option<HashMap<String, Arc<Chain>>>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    projects: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawProjects {
    #[cfg_attr(feature = "schema", schemars(with = "std::collections::BTreeMap<String, schema::Project>"))]
    projects: HashMap<String, Box<RawValue>>,
    default: Option<String>,
    events: Option<EventSink>,
    #[cfg_attr(feature = "schema", schemars(with = "Option<schema::Settings>"))]
    envoy: Option<Box<RawValue>>,
}

impl Documents {
    /// Salts the hashes of evidence in documents that name no salt of their own.
    pub fn salt_evidence(&mut self, salt: &[u8]) {
        let projects = self.projects.iter_mut().flat_map(HashMap::values_mut);
        for chain in core::iter::once(&mut self.default).chain(projects) {
            if chain.evidence.salt.is_empty() {
                // The default is the document of one of the projects: each of the two gets a copy of its own.
                Arc::make_mut(chain).evidence.salt = salt.to_vec();
            }
        }
    }

    /// Reads the configuration of a filter. `environment` looks up the variables that it names.
    ///
    /// # Errors
    /// When anything in it is wrong, with the path of the field.
    pub fn parse(json: &str, registry: &Registry, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, DocumentError> {
        let head: Head = parse(json)?;
        if head.projects.is_some() {
            return Self::parse_projects(json, registry, environment);
        }
        let document = Document::parse(json, registry, environment)?;
        Ok(Self { events: document.events, proxy: document.proxy, default: Arc::new(document.chain), projects: None })
    }

    fn parse_projects(
        json: &str,
        registry: &Registry,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DocumentError> {
        let raw: RawProjects = parse(json)?;
        if raw.projects.is_empty() || raw.projects.len() > MAX_PROJECTS {
            return Err(DocumentError::new("projects", "must have 1 to 1000 documents"));
        }
        let mut projects = HashMap::new();
        for (name, document) in raw.projects {
            let path = format!("projects.{name}");
            if name.is_empty() {
                return Err(DocumentError::new("projects", "a project must have a name"));
            }
            let document = Document::parse(document.get(), registry, environment).map_err(|error| error.below(&path))?;
            if document.events.is_some() || document.proxy != "{}" {
                let message = "events and envoy are the filter's: they stand beside projects, not in a project's document";
                return Err(DocumentError::new(path, message));
            }
            projects.insert(name, Arc::new(document.chain));
        }
        let default = match raw.default {
            None => Arc::new(Chain::unlinked()),
            Some(name) => {
                let known = projects.get(&name).cloned();
                known.ok_or_else(|| DocumentError::new("default", format!("there is no project {name:?}")))?
            }
        };
        if let Some(sink) = &raw.events {
            super::check_sink(sink)?;
        }
        let proxy = raw.envoy.map_or_else(|| "{}".to_owned(), |envoy| envoy.get().to_owned());
        Ok(Self { events: raw.events, proxy, default, projects: Some(projects) })
    }

    /// Chooses the document of a request, by the project that it names; an unknown one is linked to none, and refused.
    pub fn choose(&self, project: &[u8]) -> Arc<Chain> {
        let Some(projects) = &self.projects else { return Arc::clone(&self.default) };
        if project.is_empty() {
            return Arc::clone(&self.default);
        }
        let known = core::str::from_utf8(project).ok().and_then(|name| projects.get(name));
        known.map_or_else(|| Arc::new(Chain::unlinked()), Arc::clone)
    }

    /// Lists the chains of all documents.
    pub fn chains(&self) -> Vec<Arc<Chain>> {
        match &self.projects {
            None => vec![Arc::clone(&self.default)],
            Some(projects) => projects.values().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Documents, DocumentError> {
        Documents::parse(json, &Registry::default(), &|_| None)
    }

    #[test]
    fn one_document_is_for_all() {
        let documents = read(r#"{"policy":{"id":"p"},"events":{"cluster":"c"}}"#).unwrap();
        assert_eq!(documents.choose(b"").id, "p");
        assert_eq!(documents.choose(b"other").id, "p", "without projects the header means nothing");
        assert!(documents.events.is_some());
    }

    #[test]
    fn a_project_has_its_own_and_an_unknown_one_none() {
        let json = r#"{"projects":{"a":{"policy":{"id":"of-a"}},"b":{"policy":{"id":"of-b"}}},"default":"b","envoy":{"x":1}}"#;
        let documents = read(json).unwrap();
        assert_eq!(documents.choose(b"a").id, "of-a");
        assert_eq!(documents.choose(b"").id, "of-b");
        assert_eq!(documents.chains().len(), 2);
        assert_eq!(documents.proxy, r#"{"x":1}"#);
        for unknown in [&b"c"[..], b"\xFF", b"A"] {
            assert!(!documents.choose(unknown).is_linked);
        }
        assert!(!read(r#"{"projects":{"a":{"policy":{"id":"of-a"}}}}"#).unwrap().choose(b"").is_linked);
    }

    #[test]
    fn every_document_gets_the_salt_and_one_of_its_own_stays() {
        let json =
            r#"{"projects":{"a":{"policy":{"id":"p"}},"b":{"policy":{"id":"q"},"evidence":{"salt_env":"SALT"}}},"default":"a"}"#;
        let mut documents = Documents::parse(json, &Registry::default(), &|_| Some("own".to_owned())).unwrap();
        documents.salt_evidence(b"salt");
        let salt = |project: &[u8]| documents.choose(project).evidence.salt.clone();
        assert_eq!((salt(b""), salt(b"a"), salt(b"b")), (b"salt".to_vec(), b"salt".to_vec(), b"own".to_vec()));
    }

    #[test]
    fn mistakes_are_named() {
        for (json, path) in [
            (r#"{"projects":{}}"#, "projects"),
            (r#"{"projects":{"a":{"policy":{"id":""}}}}"#, "projects.a.policy.id"),
            (r#"{"projects":{"a":{"policy":{"id":"p"}}},"default":"b"}"#, "default"),
            (r#"{"projects":{"a":{"policy":{"id":"p"},"events":{"cluster":"c"}}}}"#, "projects.a"),
            (r#"{"projects":{"a":{"policy":{"id":"p"}}},"policy":{"id":"p"}}"#, "policy"),
        ] {
            assert_eq!(read(json).unwrap_err().path, path, "{json}");
        }
    }
}
