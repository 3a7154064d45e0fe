//! `weir schema`: JSON Schemas of policy documents, of files of cases, and of each policy's configuration.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use weir_engine::document::schema;

use super::test::Cases;

/// The arguments of `weir schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// `document`, `cases`, or the name of a policy: what stands under its `with`
    #[arg(default_value = "document")]
    name: String,
    /// Write all of them into this folder instead
    #[arg(long, conflicts_with = "name")]
    folder: Option<PathBuf>,
}

impl Schema {
    pub(crate) fn run(self) -> Result<(), String> {
        let schemas = all();
        match &self.folder {
            Some(folder) => write(folder, &schemas).map_err(|error| format!("{}: {error}", folder.display())),
            None => {
                let found = schemas.iter().find(|(name, _)| *name == self.name);
                let (_, schema) = found.ok_or_else(|| {
                    let names: Vec<_> = schemas.iter().map(|(name, _)| *name).collect();
                    format!("there is no schema {:?}; there are: {}", self.name, names.join(", "))
                })?;
                println!("{schema:#}");
                Ok(())
            }
        }
    }
}

fn write(folder: &Path, schemas: &[(&'static str, Value)]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, schema) in schemas {
        fs::write(folder.join(format!("{name}.json")), format!("{schema:#}\n"))?;
    }
    Ok(())
}

/// Makes all schemas, by their names.
fn all() -> Vec<(&'static str, Value)> {
    let policies = weir_policies::schema::schemas();
    let mut schemas = vec![("document", schema::documents(&policies)), ("cases", cases(&policies))];
    schemas.extend(policies.into_iter().map(|(name, with)| {
        let title = format!("What stands under `with` of the policy {name}");
        (name, headed(with, &title))
    }));
    schemas
}

/// Makes the schema of a file of cases, in which a document may stand.
fn cases(policies: &[(&'static str, Value)]) -> Value {
    let mut schema = headed(schema::of::<Cases>(), "Cases for weir test");
    let mut documents = schema::documents(policies);
    let mut definitions = Map::new();
    if let Some(fields) = documents.as_object_mut() {
        definitions = fields.remove("definitions").and_then(|found| found.as_object().cloned()).unwrap_or_default();
        fields.remove("$schema");
    }
    let path = json!({"type": "string", "description": "The path of its file, from that of the cases."});
    definitions.insert("documents".to_owned(), json!({"if": {"type": "string"}, "then": path, "else": documents}));
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("definitions".to_owned(), definitions.into());
    }
    if let Some(document) = schema.pointer_mut("/properties/document") {
        *document = json!({"$ref": "#/definitions/documents"});
    }
    schema
}

fn headed(mut schema: Value, title: &str) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        fields.insert("title".to_owned(), title.into());
    }
    schema
}
