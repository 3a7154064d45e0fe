//! A file of the desk: YAML or JSON, with the places of its fields.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use weir_engine::document::{DocumentError, Documents};

use super::fault::Fault;
use super::place::{Place, Places};

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: PathBuf,
    pub(crate) value: Value,
    /// As the filter takes it: of a JSON file its own text, since repeated keys are no longer there in the value.
    json: String,
    places: Rc<Places>,
    /// Where in the file it stands: empty for all of it.
    prefix: String,
}

impl Source {
    /// Reads a file: JSON by its extension, all else YAML, which every JSON is, too.
    pub(crate) fn read(file: &Path) -> Result<Self, Fault> {
        let text = fs::read_to_string(file).map_err(|error| Fault::unreadable(file, &error))?;
        if file.extension().is_some_and(|extension| extension == "json") {
            let value = serde_json::from_str(&text).map_err(|error| {
                let place = Place { line: error.line().max(1), column: error.column().max(1) };
                Fault::of(file, place, "", &error.to_string())
            })?;
            // Tabs between tokens are no YAML everywhere; within strings no JSON has them.
            let places = Places::of(&text.replace('\t', " ")).into();
            return Ok(Self { file: file.to_owned(), value, json: text, places, prefix: String::new() });
        }
        let value: Value = serde_saphyr::from_str(&text).map_err(|error| {
            let place = error.location().map_or(Place::START, |at| Place {
                line: usize::try_from(at.line()).unwrap_or(usize::MAX),
                column: usize::try_from(at.column()).unwrap_or(usize::MAX),
            });
            Fault::of(file, place, "", &error.without_snippet().to_string())
        })?;
        let places = Places::of(&text).into();
        Ok(Self { file: file.to_owned(), json: value.to_string(), value, places, prefix: String::new() })
    }

    /// Gives it as JSON: of a JSON file its own text.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Makes a source of a field of it.
    pub(crate) fn field(&self, name: &str) -> Self {
        let value = self.value.get(name).cloned().unwrap_or_default();
        let (file, places) = (self.file.clone(), Rc::clone(&self.places));
        Self { file, json: value.to_string(), value, places, prefix: self.full(name) }
    }

    fn full(&self, path: &str) -> String {
        match (self.prefix.as_str(), path.trim_start_matches('.')) {
            (prefix, "") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        }
    }

    /// Tells what is wrong with a field.
    pub(crate) fn fault(&self, path: &str, message: &str) -> Fault {
        let path = self.full(path);
        Fault::of(&self.file, self.places.find(&path), &path, message)
    }

    /// Finds a field, or what it stands in.
    pub(crate) fn place(&self, path: &str) -> Place {
        self.places.find(&self.full(path))
    }

    /// Names the file, and the field of it that this is.
    pub(crate) fn name(&self) -> String {
        let field = if self.prefix.is_empty() { String::new() } else { format!("#{}", self.prefix) };
        format!("{}{field}", self.file.display())
    }

    /// Reads it as a policy document.
    pub(crate) fn documents(&self) -> Result<Documents, Fault> {
        read_documents(&self.json).map_err(|DocumentError { path, message }| self.fault(&path, &message))
    }

    /// Reads it as something else.
    pub(crate) fn read_as<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_path_to_error::deserialize(&self.value)
            .map_err(|error| self.fault(&error.path().to_string(), &error.inner().to_string()))
    }
}

/// Reads a policy document as the filter does; secrets that it takes from the environment are made up.
pub(crate) fn read_documents(json: &str) -> Result<Documents, DocumentError> {
    Documents::parse(json, &weir_policies::registry(), &|_| Some("a secret of the desk, which guards nothing".to_owned()))
}
