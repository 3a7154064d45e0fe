//! JSON Schemas of policy documents, made from the types that they are read into. A schema knows the shape; what documents
//! mean, [`Documents::parse`](super::Documents::parse) alone can tell.

use std::borrow::Cow;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use super::projects::RawProjects;
use super::{DocumentDuration, RawDocument};
use crate::rollout::{Rollout, Share};
use crate::route::{AllowedRoute, Endpoint, PathPattern};
use crate::state::Scope;

/// Makes the schema of a type of configuration. Nothing in it refers to definitions elsewhere.
pub fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = SchemaGenerator::from(settings).into_root_schema_for::<T>().to_value();
    plain(&mut schema);
    schema
}

/// Makes the schema of what a filter is configured with, given those of the policies that documents can name, by their names:
/// each of what stands under `with`.
pub fn documents(policies: &[(&'static str, Value)]) -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Weir's policy documents",
        "description": "A policy document, or one for each of several projects.",
        "type": "object",
        "if": {"required": ["projects"]},
        "then": of::<RawProjects>(),
        "else": {"$ref": "#/definitions/document"},
        "definitions": definitions(policies),
    })
}

/// Makes the definitions that schemas of documents refer to: `document`, `project`, `entry`, `settings` and the policies.
pub fn definitions(policies: &[(&'static str, Value)]) -> Map<String, Value> {
    let document = of::<RawDocument>();
    let mut project = document.clone();
    // These are the filter's: they stand beside projects.
    for field in ["events", "envoy"] {
        project.get_mut("properties").and_then(Value::as_object_mut).map(|properties| properties.remove(field));
    }
    let settings = json!({"type": "object", "description": "Settings of the proxy's side, which only the filter knows."});
    let mut definitions: Map<String, Value> = policies.iter().map(|(name, with)| (definition(name), with.clone())).collect();
    let others = [("document", document), ("project", project), ("entry", entry(policies)), ("settings", settings)];
    definitions.extend(others.map(|(name, schema)| (name.to_owned(), schema)));
    definitions
}

fn definition(policy: &str) -> String {
    format!("with.{policy}")
}

/// Describes an entry of a chain: which policy, and the configuration that this one takes.
fn entry(policies: &[(&'static str, Value)]) -> Value {
    let names: Vec<_> = policies.iter().map(|(name, _)| *name).collect();
    let cases: Vec<_> = policies
        .iter()
        .map(|(name, with)| {
            let is_needed = with.get("required").and_then(Value::as_array).is_some_and(|fields| !fields.is_empty());
            let mut then = json!({"properties": {"with": {"$ref": format!("#/definitions/{}", definition(name))}}});
            if let Some(then) = then.as_object_mut().filter(|_| is_needed) {
                then.insert("required".to_owned(), json!(["with"]));
            }
            json!({"if": {"properties": {"use": {"const": name}}}, "then": then})
        })
        .collect();
    let mut rollout = of::<Rollout>();
    if let Some(rollout) = rollout.as_object_mut() {
        rollout.insert("description".to_owned(), json!("Whether what it decides is done, where the document's rollout does it."));
        // These are the document's.
        for field in ["rollback", "session_header"] {
            rollout.get_mut("properties").and_then(Value::as_object_mut).map(|properties| properties.remove(field));
        }
    }
    json!({
        "type": "object",
        "description": "A policy of the chain.",
        "properties": {
            "use": {"enum": names, "description": "Which policy."},
            "with": {"description": "How it is configured."},
            "rollout": rollout,
        },
        "required": ["use"],
        "additionalProperties": false,
        "allOf": cases,
    })
}

/// Takes the marks of links out of descriptions: what they lead to is not there.
fn plain(schema: &mut Value) {
    match schema {
        Value::String(text) => *text = text.replace("[`", "`").replace("`]", "`"),
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(members) => members.values_mut().for_each(plain),
        _ => {}
    }
}

/// An entry of a chain.
pub(super) struct Entry;

/// The document of a project.
pub(super) struct Project;

/// The part that concerns the proxy alone.
pub(super) struct Settings;

/// Says what the JSON of a type is that reads itself.
macro_rules! describe {
    ($($type:ty, $name:literal: $schema:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

describe! {
    Entry, "Entry": json_schema!({"$ref": "#/definitions/entry"});
    Project, "Project": json_schema!({"$ref": "#/definitions/project"});
    Settings, "Settings": json_schema!({"$ref": "#/definitions/settings"});
    DocumentDuration, "Duration": json_schema!({
        "type": "string",
        "pattern": "^\\s*(0|([0-9]+\\s*[a-zA-Zµ]+\\s*)+)$",
        "description": "A duration such as \"200ms\", \"5s\" or \"1h 30m\".",
    });
    Share, "Share": json_schema!({"type": "number", "minimum": 0, "maximum": 100, "description": "Percent, in steps of 0.0001."});
    Scope, "Scope": json_schema!({"enum": [Self::Worker.name(), Self::Proxy.name()]});
    PathPattern, "PathPattern": json_schema!({
        "type": "string",
        "pattern": "^/",
        "description": "A path; * stands for one segment, and ** at the end for all that is below.",
    });
    AllowedRoute, "AllowedRoute": json_schema!({
        "type": "string",
        "pattern": "^[A-Z]+ /",
        "description": "A method and a path, such as \"GET /v1/files/*\".",
    });
    Endpoint, "Endpoint": json_schema!({"enum": Self::names()});
}
